/*-------------------------------------------------------------------------
 *
 * stripe_verify.c
 *	  Read a whole stripe, to check it or to build its meta anew.
 *
 * Verification continues after damage.  Each step runs in a subtransaction, so that an error of
 * core's (a bad page checksum, a failed read) releases buffer pins and I/O state.  Only errors that
 * mean damage are caught.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "base/vdb_try.h"
#include "pages/pages.h"
#include "stripe/stripe_private.h"

typedef struct VdbVerify
{
	Relation	rel;
	VdbStripeAddress address;
	uint32		npages;
	VdbDamageCallback callback;
	void	   *arg;
	MemoryContext context;			/* context of the index */
	VdbStripeIndex index;
	VdbZone    *zones;
	VdbOpenVector open;
	int			attno;				/* column and chunk of the current step */
	int			chunk;
} VdbVerify;

typedef void (*VdbVerifyStep) (VdbVerify *verify);

/* See stripe.h. */
void
vdb_stripe_describe(Relation rel, VdbStripeAddress address, VdbStripeBuilt *built)
{
	VdbStripeIndex index;

	vdb_index_read(rel, address, CurrentMemoryContext, &index);
	memset(built, 0, sizeof(*built));
	built->meta.first_page = address.first_page;
	vdb_stripe_fill_meta(index.header, index.chunks, &built->meta);
	built->zones = vdb_index_read_zones(&index, rel);
	vdb_index_free(&index);
}

/* ---- steps; each raises ERRCODE_DATA_CORRUPTED for damage ---- */

/* Check the index. */
static void
verify_index(VdbVerify *verify)
{
	uint64		needed;

	vdb_index_read(verify->rel, verify->address, verify->context, &verify->index);
	needed = vdb_pages_needed(verify->index.header->total_bytes);
	if (verify->npages != needed)
		vdb_stripe_damaged(verify->rel, verify->address,
						   psprintf("Expected " UINT64_FORMAT " pages, found %u in its meta.",
									needed, verify->npages));
}

/* Check the zone maps. */
static void
verify_zones(VdbVerify *verify)
{
	MemoryContext old = MemoryContextSwitchTo(verify->context);

	verify->zones = vdb_index_read_zones(&verify->index, verify->rel);
	MemoryContextSwitchTo(old);
}

/* Decode all values of a vector. */
static VdbCodecStatus
decode_all(const VdbVectorReader *reader)
{
	static union
	{
		int64		ints[VDB_VECTOR_ROWS];
		const uint8 *images[VDB_VECTOR_ROWS];
	}			values;
	static uint32 lens[VDB_VECTOR_ROWS];

	switch (reader->info.kind)
	{
		case VDB_VEC_INT:
			return vdb_codec_decode_int(reader, values.ints);
		case VDB_VEC_FIXED:
			return vdb_codec_decode_fixed(reader, values.images);
		default:
			return vdb_codec_decode_bytes(reader, values.images, lens);
	}
}

/* Check all vectors of one column of one chunk, and its null count. */
static void
verify_column(VdbVerify *verify)
{
	const VdbStripeIndex *index = &verify->index;
	VdbVectorAddress at = {index, verify->rel, verify->attno, verify->chunk, 0};
	int			nvectors = (int) vdb_chunk_nvectors(&index->chunks[verify->chunk]);
	Size		zone_no = (Size) verify->chunk * index->header->ncolumns + verify->attno - 1;
	uint32		nulls = 0;

	for (at.vec = 0; at.vec < nvectors; at.vec++)
	{
		const VdbVectorReader *reader = &verify->open.reader;
		VdbCodecStatus status;

		CHECK_FOR_INTERRUPTS();
		vdb_vector_load(&at, verify->context, &verify->open);
		status = decode_all(reader);
		if (status != VDB_CODEC_OK)
			vdb_vector_damaged(&at, psprintf("%s.", vdb_codec_status_text(status)));
		nulls += reader->null_count;
	}
	at.vec = 0;
	if (verify->zones != NULL && nulls != verify->zones[zone_no].null_count)
		vdb_vector_damaged(&at,
						   psprintf("expected %u nulls in the chunk, found %u.",
									verify->zones[zone_no].null_count, nulls));
}

/* Decode all transaction ids. */
static void
verify_xmins(VdbVerify *verify)
{
	VdbStripe  *stripe = vdb_stripe_open(verify->rel, verify->address);

	for (int i = 0; i < stripe->index.header->nxmins; i++)
	{
		CommandId	cmin;

		(void) vdb_stripe_xmin(stripe, stripe->index.xmins[i].first_pos, &cmin);
	}
	vdb_stripe_release(stripe);
}

/* ---- running a step ---- */

/* Return whether an error means damage. */
static bool
error_is_damage(const ErrorData *error)
{
	int			class = ERRCODE_TO_CATEGORY(error->sqlerrcode);

	return error->sqlerrcode == ERRCODE_DATA_CORRUPTED ||
		error->sqlerrcode == ERRCODE_FEATURE_NOT_SUPPORTED ||
		class == ERRCODE_TO_CATEGORY(ERRCODE_IO_ERROR);
}

/* Make the message for an error.  Errors of pages need the step's column and chunk added. */
static char *
verify_message(const VdbVerify *verify, VdbVerifyStep step, const ErrorData *error)
{
	StringInfoData message;

	initStringInfo(&message);
	appendStringInfoString(&message, error->message);
	if (error->detail != NULL)
		appendStringInfo(&message, ": %s", error->detail);
	if (step == verify_column && strstr(message.data, "column \"") == NULL)
	{
		Form_pg_attribute att = TupleDescAttr(RelationGetDescr(verify->rel), verify->attno - 1);

		appendStringInfo(&message, " (chunk %d, column \"%s\" of stripe %u)",
						 verify->chunk, NameStr(att->attname), verify->address.stripe_id);
	}
	return message.data;
}

/* A step and its state, for vdb_try. */
typedef struct StepCall
{
	VdbVerifyStep step;
	VdbVerify  *verify;
} StepCall;

/* Callback of vdb_try: run the step. */
static void
call_step(void *arg)
{
	const StepCall *call = arg;

	call->step(call->verify);
}

/* Run a step in a subtransaction.  Reports damage and returns false if there is any. */
static bool
verify_step(VdbVerify *verify, VdbVerifyStep step)
{
	StepCall	call = {step, verify};
	ErrorData  *error = vdb_try(call_step, &call);

	if (error == NULL)
		return true;
	if (!error_is_damage(error))
		ReThrowError(error);
	verify->callback(verify->arg, verify_message(verify, step, error));
	FreeErrorData(error);
	return false;
}

/* See stripe.h. */
void
vdb_stripe_verify(Relation rel, VdbStripeAddress address, uint32 npages,
				  VdbDamageCallback callback, void *arg)
{
	VdbVerify	verify = {
		.rel = rel,
		.address = address,
		.npages = npages,
		.callback = callback,
		.arg = arg
	};

	verify.context = AllocSetContextCreate(CurrentMemoryContext, "VDB stripe verification",
										   ALLOCSET_DEFAULT_SIZES);
	(void) verify_step(&verify, verify_index);
	if (verify.index.bytes != NULL)
	{
		(void) verify_step(&verify, verify_zones);
		(void) verify_step(&verify, verify_xmins);
		for (int chunk = 0; chunk < (int) verify.index.header->nchunks; chunk++)
		{
			for (int attno = 1; attno <= verify.index.header->ncolumns; attno++)
			{
				verify.chunk = chunk;
				verify.attno = attno;
				(void) verify_step(&verify, verify_column);
			}
		}
	}
	MemoryContextDelete(verify.context);
}
