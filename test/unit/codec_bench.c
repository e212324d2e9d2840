/*
 * codec_bench.c
 *	  Speed of the codecs: per data set the encoding chosen, bytes, encode in
 *	  MB/s of values, decode in values/s, one position in ns.  Best of
 *	  many short rounds, so that other work on the machine counts little.
 */
#include "codec_port.h"

#include <stdio.h>
#include <time.h>

#include "codec.h"
#include "codec_private.h"
#include "unit_shim.h"

#define COUNT	VDB_VEC_MAX_COUNT
#define ROUNDS	100

static VdbCodecWorkspace *ws;
static uint8 *copy;
static size_t copy_bytes;
static int64 values[COUNT];
static const uint8 *ptrs[COUNT];
static uint32 lens[COUNT];
static volatile int64 sink;

static double
now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double) t.tv_sec * 1e9 + (double) t.tv_nsec;
}

/* Nanoseconds a call in the best round */
static double
best_ns(void (*body) (const VdbVectorInput *), const VdbVectorInput *in, int calls)
{
	double		best = 1e18;

	for (int round = 0; round < ROUNDS; round++)
	{
		double		start = now_ns();

		for (int call = 0; call < calls; call++)
			body(in);
		best = Min(best, (now_ns() - start) / calls);
	}
	return best;
}

static int	force = -1;
static int	level = 0;
static VdbEncodedVector out;
static VdbVectorReader reader;

static void
encode_once(const VdbVectorInput *in)
{
	VdbEncodeOptions options = {.force_encoding = force,.zstd_level = level};

	if (vdb_codec_encode(ws, in, &options, &out) != VDB_CODEC_OK)
		abort();
}

static void
decode_once(const VdbVectorInput *in)
{
	static int64 ints[COUNT];
	static const uint8 *images[COUNT];
	static uint32 bytes[COUNT];

	if (vdb_codec_open(ws, copy, copy_bytes, NULL, 0, &reader) != VDB_CODEC_OK)
		abort();
	if (in->kind == VDB_VEC_INT)
		(void) vdb_codec_decode_int(&reader, ints);
	else
		(void) vdb_codec_decode_bytes(&reader, images, bytes);
	sink += ints[5];
}

static void
point_once(const VdbVectorInput *in)
{
	static uint32 pos;
	const uint8 *image;
	uint32		bytes;
	int64		value = 0;

	pos = (pos + 997) % COUNT;
	if (in->kind == VDB_VEC_INT)
		(void) vdb_codec_int_at(&reader, pos, &value);
	else if (vdb_codec_bytes_at(&reader, pos, &image, &bytes) == VDB_CODEC_OK)
		value = image[0];
	sink += value;
}

static void
measure(const char *name, const VdbVectorInput *in, size_t raw_bytes)
{
	double		encode = best_ns(encode_once, in, level == 0 ? 50 : 5);
	double		decode;
	double		point;

	copy_bytes = out.size_bytes;
	copy = aligned_alloc(64, (copy_bytes + 63) / 64 * 64);
	memcpy(copy, out.bytes, copy_bytes);
	decode = best_ns(decode_once, in, 50);
	point = best_ns(point_once, in, 500);
	printf("%-26s %-16s %7zu -> %6zu bytes  encode %6.0f MB/s  "
		   "decode %7.0f ns %6.2f G values/s  point %4.0f ns\n", name,
		   vdb_codec_label(out.encoding, out.zstd), raw_bytes, copy_bytes,
		   (double) raw_bytes * 1000 / encode, decode, COUNT / decode, point);
	free(copy);
}

static void
bench_ints(void)
{
	VdbVectorInput in = {.kind = VDB_VEC_INT,.width = 8,.count = COUNT,.values = values};
	static const uint32 bits[] = {1, 3, 7, 8, 12, 16, 20, 31, 32, 40, 63};

	force = VDB_ENC_FOR;
	for (size_t b = 0; b < lengthof(bits); b++)
	{
		char		name[40];

		for (uint32 pos = 0; pos < COUNT; pos++)
			values[pos] = (int64) (unit_random() >> (64 - bits[b]));
		values[0] = 0;
		values[1] = (int64) (UINT64_MAX >> (64 - bits[b]));
		snprintf(name, sizeof(name), "for, %u bits", bits[b]);
		measure(name, &in, sizeof(values));
	}
	force = -1;
	for (uint32 pos = 0; pos < COUNT; pos++)
		values[pos] = (int64) (pos * 1000000 + unit_random_below(5000));
	measure("timestamps", &in, sizeof(values));
	for (uint32 pos = 0; pos < COUNT; pos++)
		values[pos] = (int64) (unit_random_below(50) * UINT64_C(0x0123456789ABCDEF));
	measure("50 values, unit", &in, sizeof(values));
	for (uint32 pos = 0; pos < COUNT; pos++)
		values[pos] += values[pos] & 1;
	measure("50 far values", &in, sizeof(values));
	for (uint32 pos = 0; pos < COUNT; pos++)
		values[pos] = (int64) (pos / 60 * 77777777);
	measure("runs of 60", &in, sizeof(values));
	for (uint32 pos = 0; pos < COUNT; pos++)
		values[pos] = (int64) unit_random();
	measure("random", &in, sizeof(values));
	for (uint32 pos = 0; pos < COUNT; pos++)
	{
		double		price = (double) unit_random_below(100000) / 100;

		memcpy(&values[pos], &price, sizeof(price));
	}
	level = 1;
	measure("prices as doubles, zstd 1", &in, sizeof(values));
	level = 0;
}

static void
bench_strings(void)
{
	static char text[COUNT][64];
	VdbVectorInput in = {.kind = VDB_VEC_BYTES,.image = VDB_IMAGE_SHORT,.count = COUNT,
		.ptrs = ptrs,.lens = lens
	};

	for (uint32 distinct = 20; distinct <= 2000000; distinct *= 100000)
	{
		size_t		raw = 0;

		for (uint32 pos = 0; pos < COUNT; pos++)
		{
			lens[pos] = (uint32) snprintf(text[pos], sizeof(text[pos]), "device-%u/sensor",
										  (unsigned) unit_random_below(distinct));
			ptrs[pos] = (const uint8 *) text[pos];
			raw += lens[pos];
		}
		for (level = 0; level < 2; level++)
			measure(distinct == 20 ? "20 strings" : "many strings", &in, raw);
	}
	level = 0;
}

int
main(void)
{
	ws = vdb_codec_workspace_create();
	unit_seed(7);
	printf("vectors of %d values, best of %d rounds\n", COUNT, ROUNDS);
	bench_ints();
	bench_strings();
	vdb_codec_workspace_free(ws);
	return 0;
}
