/*
 * codec_fuzz.c
 *	  Throw bytes at the decoder, and values at the encoder.
 *
 * The first byte picks the harness:
 *	 even	the rest is an encoded vector (at an offset of up to 7 bytes): open
 *			it and ask everything; any answer will do, a bad access will not
 *	 odd	the rest is values: encode, decode, compare; a difference aborts
 *
 * With clang: -fsanitize=fuzzer and LLVMFuzzerTestOneInput alone
 * (-DVDB_FUZZ_LIBFUZZER).  With any compiler: a main of its own that mutates
 * the corpus.
 *
 *	   codec_fuzz CORPUS-DIRECTORY ITERATIONS SEED
 *	   codec_fuzz --make-corpus CORPUS-DIRECTORY
 */
#include "codec_port.h"

#include <dirent.h>
#include <stdio.h>

#include "codec.h"

extern int	LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static VdbCodecWorkspace *ws;

/* Every byte of what is handed out must be there to be read. */
static void
touch(const uint8 *bytes, uint32 n)
{
	static volatile uint8 sink;

	for (uint32 i = 0; bytes != NULL && i < n; i++)
		sink = (uint8) (sink ^ bytes[i]);
}

/* ---- decoder ---- */

static void
ask_ints(const VdbVectorReader *reader)
{
	int64	   *out = malloc(reader->info.count * sizeof(int64) + 1);
	VdbCodecStatus status = vdb_codec_decode_int(reader, out);

	for (uint32 pos = 0; pos < reader->info.count; pos++)
	{
		int64		value;
		VdbCodecStatus one = vdb_codec_int_at(reader, pos, &value);

		/* a full decode that worked agrees with each position */
		if (status == VDB_CODEC_OK && (one != VDB_CODEC_OK || value != out[pos]))
			abort();
	}
	free(out);
}

static void
ask_fixed(const VdbVectorReader *reader)
{
	static const uint8 *out[VDB_VEC_MAX_COUNT];
	VdbCodecStatus status = vdb_codec_decode_fixed(reader, out);

	for (uint32 pos = 0; pos < reader->info.count; pos++)
	{
		const uint8 *value = NULL;
		VdbCodecStatus one = vdb_codec_fixed_at(reader, pos, &value);

		if (status == VDB_CODEC_OK && (one != VDB_CODEC_OK || value != out[pos]))
			abort();
		if (one == VDB_CODEC_OK)
			touch(value, reader->info.width);
	}
}

static void
ask_bytes(const VdbVectorReader *reader)
{
	static const uint8 *out[VDB_VEC_MAX_COUNT];
	static uint32 out_bytes[VDB_VEC_MAX_COUNT];
	VdbCodecStatus status = vdb_codec_decode_bytes(reader, out, out_bytes);
	uint64		budget = 1 << 22;

	for (uint32 pos = 0; pos < reader->info.count; pos++)
	{
		const uint8 *value = NULL;
		uint32		bytes = 0;
		VdbCodecStatus one = vdb_codec_bytes_at(reader, pos, &value, &bytes);

		if (status == VDB_CODEC_OK &&
			(one != VDB_CODEC_OK || value != out[pos] || bytes != out_bytes[pos]))
			abort();
		if (one != VDB_CODEC_OK)
			continue;
		/* entries may overlap in damaged vectors: bound the work */
		touch(value, (uint32) Min(bytes, budget));
		budget -= Min(bytes, budget);
		if (bytes > 0)
			touch(value + bytes - 1, 1);
		if (vdb_codec_payload_at(reader, pos, &value, &bytes) != VDB_CODEC_OK)
			abort();
	}
}

static void
ask_dictionary(const VdbVectorReader *reader)
{
	static uint16 codes[VDB_VEC_MAX_COUNT];
	uint32		size = vdb_codec_dict_size(reader);

	if (size == 0)
		return;
	if (vdb_codec_decode_codes(reader, codes) == VDB_CODEC_OK)
	{
		for (uint32 pos = 0; pos < reader->info.count; pos++)
		{
			if (codes[pos] >= size)
				abort();
		}
	}
	for (uint32 code = 0; code <= size; code++)
	{
		int64		value;
		const uint8 *image = NULL;
		uint32		bytes = 0;

		(void) vdb_codec_dict_int_at(reader, code, &value);
		if (vdb_codec_dict_item_at(reader, code, &image, &bytes) == VDB_CODEC_OK && bytes > 0)
			touch(image + bytes - 1, 1);
	}
}

/* ---- the same through the head and single frames ---- */

typedef struct Pieces
{
	const uint8 *bytes;
	size_t		size;
	VdbVectorPart part;
	uint8	   *frames[VDB_FRAMES_MAX];
	uint8	   *stored[VDB_FRAMES_MAX];
} Pieces;

static uint8 *
exact_copy(const uint8 *bytes, size_t size)
{
	uint8	   *copy = malloc(size > 0 ? size : 1);

	memcpy(copy, bytes, size);
	return copy;
}

static VdbCodecStatus
get_piece(void *arg, uint32 frame, const uint8 **raw)
{
	Pieces	   *pieces = arg;
	VdbFrameAddress place;
	VdbCodecStatus status = vdb_codec_part_frame(&pieces->part, frame, &place);

	if (status != VDB_CODEC_OK)
		return status;
	if (place.offset + place.stored_bytes > pieces->size)
		return VDB_CODEC_TRUNCATED;
	if (pieces->frames[frame] == NULL)
	{
		pieces->stored[frame] = exact_copy(pieces->bytes + place.offset, place.stored_bytes);
		pieces->frames[frame] = malloc(place.raw_bytes);
		status = vdb_codec_part_unpack(ws, &pieces->part, frame, pieces->stored[frame],
									   pieces->frames[frame]);
		if (status != VDB_CODEC_OK)
		{
			free(pieces->frames[frame]);
			free(pieces->stored[frame]);
			pieces->frames[frame] = pieces->stored[frame] = NULL;
		}
	}
	*raw = pieces->frames[frame];
	return status;
}

/* Ask a part for a position; what the whole vector has said must come again. */
static void
ask_part(Pieces *pieces, const VdbVectorReader *whole, uint32 pos)
{
	const VdbVectorReader *reader = &pieces->part.reader;
	const uint8 *a = NULL;
	const uint8 *b = NULL;
	uint32		a_bytes = reader->info.width;
	uint32		b_bytes = reader->info.width;
	int64		x = 0;
	int64		y = 0;
	VdbCodecStatus one;
	VdbCodecStatus all = VDB_CODEC_CORRUPT;

	if (reader->info.kind == VDB_VEC_INT)
	{
		one = vdb_codec_part_int_at(&pieces->part, pos, get_piece, pieces, &x);
		if (whole != NULL)
			all = vdb_codec_int_at(whole, pos, &y);
	}
	else if (reader->info.kind == VDB_VEC_FIXED)
	{
		one = vdb_codec_part_fixed_at(ws, &pieces->part, pos, get_piece, pieces, &a);
		if (whole != NULL)
			all = vdb_codec_fixed_at(whole, pos, &b);
	}
	else
	{
		one = vdb_codec_part_bytes_at(ws, &pieces->part, pos, get_piece, pieces, &a, &a_bytes);
		if (whole != NULL)
			all = vdb_codec_bytes_at(whole, pos, &b, &b_bytes);
	}
	if (one == VDB_CODEC_OK)
		touch(a, (uint32) Min(a_bytes, 4096));
	if (one == VDB_CODEC_OK && a != NULL && a_bytes > 0)
		touch(a + a_bytes - 1, 1);
	if (all == VDB_CODEC_OK &&
		(one != VDB_CODEC_OK || x != y || (a == NULL) != (b == NULL) || a_bytes != b_bytes ||
		 (a != NULL && memcmp(a, b, Min(a_bytes, 65536)) != 0)))
		abort();
}

static void
fuzz_part(const uint8 *bytes, size_t size, const VdbVectorReader *whole)
{
	static Pieces pieces;
	VdbPartSize need = {0};
	uint8	   *head = NULL;
	uint8	   *keep;
	size_t		have;

	do
	{
		have = need.need_bytes;
		free(head);
		head = exact_copy(bytes, have);
		if (vdb_codec_part_measure(head, have, &need) != VDB_CODEC_OK ||
			need.need_bytes > size)
		{
			free(head);
			if (whole != NULL)
				abort();
			return;
		}
	} while (need.need_bytes > have);

	if (need.frames > 0 && need.keep_bytes < (size_t) 1 << 26)
	{
		memset(&pieces, 0, sizeof(pieces));
		pieces.bytes = bytes;
		pieces.size = size;
		keep = malloc(need.keep_bytes);
		if (vdb_codec_part_open(ws, head, have, keep, need.keep_bytes, &pieces.part) ==
			VDB_CODEC_OK)
		{
			for (uint32 pos = 0; pos < pieces.part.reader.info.count; pos++)
				ask_part(&pieces, whole, pos);
		}
		else if (whole != NULL)
			abort();
		free(keep);
		for (size_t frame = 0; frame < VDB_FRAMES_MAX; frame++)
		{
			free(pieces.frames[frame]);
			free(pieces.stored[frame]);
		}
	}
	free(head);
}

static void
fuzz_decoder(const uint8_t *data, size_t size, size_t shift)
{
	uint8	   *copy = malloc(size + shift + 1);
	uint8	   *bytes;
	VdbVectorReader reader;
	uint8		bitmap[VDB_VEC_NULL_BYTES];

	/* the vector ends where the allocation does, so sanitizers see a step past */
	copy = realloc(copy, size + shift > 0 ? size + shift : 1);
	bytes = copy + shift;
	memcpy(bytes, data, size);
	if (vdb_codec_open(ws, bytes, size, NULL, 0, &reader) != VDB_CODEC_OK)
		fuzz_part(bytes, size, NULL);
	else
	{
		vdb_codec_decode_nulls(&reader, bitmap);
		if (reader.info.kind == VDB_VEC_INT)
			ask_ints(&reader);
		else if (reader.info.kind == VDB_VEC_FIXED)
			ask_fixed(&reader);
		else
			ask_bytes(&reader);
		ask_dictionary(&reader);
		fuzz_part(bytes, size, &reader);
	}
	free(copy);
}

/* ---- encoder ---- */

static bool
input_null(const VdbVectorInput *in, uint32 pos)
{
	return in->nulls != NULL && (in->nulls[pos >> 3] >> (pos & 7) & 1);
}

static void
compare(const VdbVectorInput *in, const VdbVectorReader *reader)
{
	for (uint32 pos = 0; pos < in->count; pos++)
	{
		const uint8 *got = NULL;
		uint32		bytes = 0;
		int64		value = 0;

		if (vdb_codec_is_null(reader, pos) != input_null(in, pos))
			abort();
		if (input_null(in, pos))
			continue;
		switch (in->kind)
		{
			case VDB_VEC_INT:
				if (vdb_codec_int_at(reader, pos, &value) != VDB_CODEC_OK ||
					value != in->values[pos])
					abort();
				break;
			case VDB_VEC_FIXED:
				if (vdb_codec_fixed_at(reader, pos, &got) != VDB_CODEC_OK ||
					memcmp(got, in->data + pos * in->width, in->width) != 0)
					abort();
				break;
			default:
				if (vdb_codec_payload_at(reader, pos, &got, &bytes) != VDB_CODEC_OK ||
					bytes != in->lens[pos] ||
					memcmp(got, in->ptrs[pos], bytes) != 0)
					abort();
		}
	}
}

/* Cut the data into values: the input's head tells kind, width and so on. */
static void
fuzz_encoder(const uint8_t *data, size_t size)
{
	static int64 values[VDB_VEC_MAX_COUNT];
	static const uint8 *ptrs[VDB_VEC_MAX_COUNT];
	static uint32 lens[VDB_VEC_MAX_COUNT];
	static uint8 nulls[VDB_VEC_NULL_BYTES];
	VdbVectorInput in = {.values = values,.ptrs = ptrs,.lens = lens};
	VdbEncodeOptions options;
	VdbEncodedVector out;
	VdbVectorReader reader;
	size_t		at = 4;

	if (size < 4)
		return;
	in.kind = data[0] % 3;
	in.image = (VdbImageMode) (data[0] / 3 % 3);
	in.width = in.kind == VDB_VEC_INT ? (uint16) (1 << data[1] % 4) :
		(uint16) (1 + data[1] % 40);
	options.force_encoding = data[2] % (VDB_ENC_COUNT + 1) - 1;
	options.zstd_level = data[3] % 3 - 1;
	in.nulls = data[3] & 0x80 ? nulls : NULL;
	memset(nulls, 0, sizeof(nulls));
	in.data = data + at;

	for (; in.count < VDB_VEC_MAX_COUNT && at < size; in.count++)
	{
		size_t		n = in.kind == VDB_VEC_BYTES ? data[at] % 150 : in.width;

		if (n > size - at)
			break;
		if (data[at] % 7 == 0)
			nulls[in.count >> 3] |= (uint8) (1 << (in.count & 7));
		if (in.kind == VDB_VEC_INT)
		{
			uint64		bits = 0;

			memcpy(&bits, data + at, n);
			values[in.count] = (int64) (bits << (64 - 8 * n)) >> (64 - 8 * n);
		}
		ptrs[in.count] = data + at;
		lens[in.count] = (uint32) n;
		at += Max(n, 1);
	}
	if (vdb_codec_encode(ws, &in, &options, &out) != VDB_CODEC_OK ||
		vdb_codec_open(ws, out.bytes, out.size_bytes, NULL, 0, &reader) != VDB_CODEC_OK)
		abort();
	compare(&in, &reader);
	fuzz_part(out.bytes, out.size_bytes, &reader);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (ws == NULL)
		ws = vdb_codec_workspace_create();
	if (size == 0)
		return 0;
	if (data[0] % 2 == 0)
		fuzz_decoder(data + 1, size - 1, data[0] / 2 % 8);
	else
		fuzz_encoder(data + 1, size - 1);
	return 0;
}

#ifndef VDB_FUZZ_LIBFUZZER

/* ---- a mutating main ---- */

#define MAX_SEEDS		256
#define MAX_INPUT_BYTES 65536

typedef struct Seed
{
	uint8	   *bytes;
	size_t		size;
} Seed;

static Seed seeds[MAX_SEEDS];
static size_t seed_count;
static uint64 random_state;

static uint64
random_below(uint64 limit)
{
	uint64		z = (random_state += UINT64_C(0x9E3779B97F4A7C15));

	z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
	z ^= z >> 31;
	return limit == 0 ? 0 : z % limit;
}

static void
load_corpus(const char *directory)
{
	DIR		   *dir = opendir(directory);
	struct dirent *entry;

	if (dir == NULL)
	{
		perror(directory);
		exit(2);
	}
	while ((entry = readdir(dir)) != NULL && seed_count < MAX_SEEDS)
	{
		char		path[4096];
		FILE	   *file;
		Seed	   *seed = &seeds[seed_count];

		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", directory, entry->d_name);
		file = fopen(path, "rb");
		if (file == NULL)
			continue;
		seed->bytes = malloc(MAX_INPUT_BYTES);
		seed->size = fread(seed->bytes, 1, MAX_INPUT_BYTES, file);
		fclose(file);
		seed_count++;
	}
	closedir(dir);
}

static void
mutate_once(uint8 *bytes, size_t *size)
{
	static const uint8 telling[] = {0, 1, 0x7F, 0x80, 0xFF, 8, 16, 32, 64, 65};
	/* headers decide most: half of the changes fall on the first 64 bytes */
	size_t		reach = random_below(2) == 0 ? Min(*size, 64) : *size;
	size_t		at = random_below(reach);
	size_t		n;

	if (*size == 0)
		return;
	switch (random_below(7))
	{
		case 0:
			bytes[at] ^= (uint8) (1 << random_below(8));
			break;
		case 1:
			bytes[at] = (uint8) random_below(256);
			break;
		case 2:
			bytes[at] = telling[random_below(sizeof(telling))];
			break;
		case 3:
			bytes[at] = (uint8) (bytes[at] + random_below(5) - 2);
			break;
		case 4:					/* cut */
			*size -= random_below(Min(*size, 40));
			break;
		case 5:					/* grow */
			n = Min(1 + random_below(40), MAX_INPUT_BYTES - *size);
			for (size_t i = 0; i < n; i++)
				bytes[*size + i] = (uint8) random_below(256);
			*size += n;
			break;
		default:				/* copy a piece elsewhere */
			n = 1 + random_below(Min(*size, 32));
			memmove(bytes + random_below(*size - n + 1),
					bytes + random_below(*size - n + 1), n);
			break;
	}
}

static void
mutate_corpus(uint64 iterations)
{
	uint8	   *bytes = malloc(MAX_INPUT_BYTES);

	for (size_t i = 0; i < seed_count; i++)
		(void) LLVMFuzzerTestOneInput(seeds[i].bytes, seeds[i].size);
	for (uint64 i = 0; i < iterations; i++)
	{
		const Seed *seed = &seeds[random_below(seed_count)];
		size_t		size = seed->size;
		uint64		changes = 1 + random_below(6);

		if (i > 0 && i % 1000000 == 0)
		{
			printf("%llu mutations\n", (unsigned long long) i);
			fflush(stdout);
		}
		memcpy(bytes, seed->bytes, size);
		while (changes-- > 0)
			mutate_once(bytes, &size);
		(void) LLVMFuzzerTestOneInput(bytes, size);
	}
	free(bytes);
}

/* ---- the corpus: one vector per kind, encoding, nulls and zstd ---- */

static void
write_seed(const char *directory, const char *name, uint8 harness,
		   const uint8 *bytes, size_t size)
{
	char		path[4096];
	FILE	   *file;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	file = fopen(path, "wb");
	if (file == NULL || fputc(harness, file) == EOF ||
		fwrite(bytes, 1, size, file) != size || fclose(file) != 0)
	{
		perror(path);
		exit(2);
	}
}

static void
make_corpus_of(const char *directory, uint8 kind, uint32 count, bool with_nulls,
			   int zstd_level)
{
	static int64 values[VDB_VEC_MAX_COUNT];
	static uint8 data[VDB_VEC_MAX_COUNT * 16];
	static const uint8 *ptrs[VDB_VEC_MAX_COUNT];
	static uint32 lens[VDB_VEC_MAX_COUNT];
	static uint8 nulls[VDB_VEC_NULL_BYTES];
	VdbVectorInput in = {.kind = kind,.image = (VdbImageMode) (count % 3),
		.width = kind == VDB_VEC_FIXED ? 16 : 8,.count = count,
		.nulls = with_nulls ? nulls : NULL,.values = values,.data = data,
		.ptrs = ptrs,.lens = lens
	};

	for (int encoding = 0; encoding < VDB_ENC_COUNT; encoding++)
	{
		VdbEncodeOptions options = {.force_encoding = encoding,.zstd_level = zstd_level};
		VdbEncodedVector out;
		char		name[80];
		uint64		far = count == VDB_VEC_MAX_COUNT ? 101 : 9;

		for (uint32 pos = 0; pos < count; pos++)
		{
			uint64		pick = encoding == VDB_ENC_CONSTANT ? 3 : pos / 5 % far;

			/* a common divisor or none */
			values[pos] = (int64) (pick * UINT64_C(0x12345678901) + (count == 130 ? pick & 1 : 0));
			memset(data + pos * 16, (int) pick, 16);
			ptrs[pos] = data + pick;
			lens[pos] = (uint32) (pick * 19 % 700);
		}
		memset(nulls, encoding == VDB_ENC_ALLNULL ? 0xFF : 0x21, sizeof(nulls));
		if (encoding != VDB_ENC_ALLNULL && count > 200)
		{
			/* few runs: the section is run-length */
			memset(nulls, 0, sizeof(nulls));
			nulls[3] = 0xFF;
		}
		if (vdb_codec_encode(ws, &in, &options, &out) != VDB_CODEC_OK)
			abort();
		if (out.encoding != encoding)
			continue;
		snprintf(name, sizeof(name), "%s-%s-%u%s%s",
				 kind == VDB_VEC_INT ? "int" : kind == VDB_VEC_FIXED ? "fixed" : "bytes",
				 vdb_codec_encoding_name(encoding), count, with_nulls ? "-nulls" : "",
				 out.zstd ? "-zstd" : "");
		write_seed(directory, name, 0, out.bytes, out.size_bytes);
	}
}

/* Values for the encoder: a head of four bytes as fuzz_encoder reads it */
static void
make_encoder_seeds(const char *directory)
{
	uint8		input[700];

	for (uint8 kind = 0; kind < 9; kind++)
	{
		char		name[80];

		input[0] = kind;
		input[1] = 3;
		input[2] = 0;
		input[3] = kind % 2 ? 0x82 : 1;
		for (size_t i = 4; i < sizeof(input); i++)
			input[i] = (uint8) (i % 8 == 4 ? i / 16 : i / 100);
		snprintf(name, sizeof(name), "values-%u", kind);
		write_seed(directory, name, 1, input, sizeof(input));
	}
}

static void
make_corpus(const char *directory)
{
	static const uint32 counts[] = {33, 130, 260};

	ws = vdb_codec_workspace_create();
	for (uint8 kind = 0; kind < 3; kind++)
		for (size_t c = 0; c < lengthof(counts); c++)
			make_corpus_of(directory, kind, counts[c], c != 1, c == 0 ? -1 : 0);
	/* several frames */
	for (uint8 kind = 0; kind < 3; kind++)
		make_corpus_of(directory, kind, VDB_VEC_MAX_COUNT, kind == 2, -1);
	make_encoder_seeds(directory);
	vdb_codec_workspace_free(ws);
}

int
main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "--make-corpus") == 0)
	{
		make_corpus(argv[2]);
		return 0;
	}
	if (argc != 4)
	{
		fprintf(stderr, "usage: codec_fuzz CORPUS ITERATIONS SEED\n");
		return 2;
	}
	load_corpus(argv[1]);
	if (seed_count == 0)
	{
		fprintf(stderr, "no corpus in %s\n", argv[1]);
		return 2;
	}
	random_state = strtoull(argv[3], NULL, 10);
	mutate_corpus(strtoull(argv[2], NULL, 10));
	printf("%zu seeds, %s mutations, seed %s: survived\n", seed_count, argv[2], argv[3]);
	vdb_codec_workspace_free(ws);
	for (size_t i = 0; i < seed_count; i++)
		free(seeds[i].bytes);
	return 0;
}

#endif							/* VDB_FUZZ_LIBFUZZER */
