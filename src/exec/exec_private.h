/*-------------------------------------------------------------------------
 *
 * exec_private.h
 *	  What the files of exec/ share: the scan's state, slices of rows, groups, aggregates.
 *
 * A slice is a run of rows, all of one logical block (256 row numbers at most) and, on flash, of
 * one vector.  Each column that is wanted lies in an array; at[i] is the place of row i in all of
 * them.  So rows that a filter drops cost nothing but their place.
 *
 *-------------------------------------------------------------------------
 */
#ifndef VDB_EXEC_PRIVATE_H
#define VDB_EXEC_PRIVATE_H

#include "lib/ilist.h"
#include "port/atomics.h"
#include "utils/memutils.h"

#include "exec/exec.h"

/* ---- the scan (exec_scan.c, exec_slice.c) ---- */

/* What the processes of a parallel scan share. */
typedef struct VdbSharedScan
{
	VdbSharedCursor cursor;
	pg_atomic_uint64 stripes;
	pg_atomic_uint64 chunks;
	pg_atomic_uint64 pruned;
	pg_atomic_uint64 pool_rows;
	pg_atomic_uint64 striped_rows;
} VdbSharedScan;

/* One wanted column of the rows in hand. */
typedef struct VdbColumnValues
{
	int			attno;
	Datum	   *values;				/* VDB_LB_ROWS; row by row: by position - decoded_from;
									 * slices: by at[] */
	bool	   *nulls;
	bool		ready;				/* slices: decoded */
	VdbVectorBuffer vbuffer;
} VdbColumnValues;

typedef struct VdbFilter VdbFilter;

/* Row by row: what is known of core's filter in this scan. */
typedef enum VdbRowProgress
{
	VDB_NO_ROW_YET,
	VDB_ROW_GIVEN,					/* it has got the first row */
	VDB_ROW_CHECKED					/* and has come for another */
} VdbRowProgress;

typedef struct VdbScanState
{
	CustomScanState css;
	VdbCursor	cursor;				/* its row: in slices, the first that is not taken yet */
	VdbBatch   *batch;				/* the cursor's */
	VdbPruner  *pruner;
	int			ncolumns;
	VdbColumnValues *columns;
	int			max_attno;
	bool		started;
	uint32		decoded_from;		/* positions [from, to) of the stripe are decoded */
	uint32		decoded_to;
	bool		decoded;
	VdbRowProgress checked;
	TupleTableSlot *heap_slot;		/* rows from the pool */
	bool		sliced;				/* rows are taken from slices */
	VdbFilter  *filter;				/* slices; NULL: none */
	int			current;			/* next row of the slice, when rows are returned one by one */
	int			nrows;				/* of the slice, those that passed the filter so far */
	uint16		at[VDB_LB_ROWS];
	uint8		index[VDB_LB_ROWS]; /* in the LB, of the slice's rows */
	VdbSharedScan *shared;
	MemoryContext context;
	/* counters saved from shared memory at shutdown */
	bool		have_counters;
	uint64		stripes;
	uint64		chunks;
	uint64		pruned;
	uint64		pool_rows;
	uint64		striped_rows;
} VdbScanState;

/* exec_scan.c */
extern VdbScanState *vdb_scan_state(PlanState *node);	/* the node must be one of our scans */
extern void vdb_scan_by_slices(VdbScanState *scan); /* this is how it will be read; while it
													 * begins */
extern void vdb_scan_start(VdbScanState *scan);

/*
 * exec_slice.c.  Read the next slice of a scan that has started, and filter it: number of rows
 * left, 0 only at the end.  Datums by reference are good until the next call.  May do I/O; no lock
 * held.
 */
extern int	vdb_slice_next(VdbScanState *scan);

/*
 * The next row that passes the filter, in the scan's slot; NULL at the end.  Clauses that aren't
 * loops are evaluated no sooner.
 */
extern TupleTableSlot *vdb_slice_next_row(VdbScanState *scan);

/* Make the column's arrays hold the slice; needed after vdb_slice_next for no column. */
extern void vdb_slice_need(VdbScanState *scan, int column);

/*
 * Put row i of the slice into the scan's slot, for expressions: all columns, or those listed.  The
 * slot's values are good as long as the slice.
 */
extern TupleTableSlot *vdb_slice_slot(VdbScanState *scan, int i);
extern TupleTableSlot *vdb_slice_fill(VdbScanState *scan, int i, const int *columns, int ncolumns);

/* The column's arrays, or NULL if the scan doesn't read it. */
extern VdbColumnValues *vdb_slice_column(VdbScanState *scan, int attno);

/* ---- the filter over slices (exec_filter.c) ---- */

extern VdbFilter *vdb_filter_create(VdbScanState *scan);	/* NULL: no filter */
extern void vdb_filter_rescan(VdbFilter *filter);	/* constants may have changed */
extern int	vdb_filter_vectorized(const VdbFilter *filter); /* clauses that are loops */
extern void vdb_filter_slice(VdbFilter *filter);	/* thin a new slice out by these */
extern bool vdb_filter_row(VdbFilter *filter, int i);	/* does row i pass the other clauses? */

/* Has a varlena, perhaps toasted, the same bytes as one that is not toasted? */
extern bool vdb_same_bytes(Datum value, const struct varlena *bytes);

/* ---- inputs ---- */

/* A column of the slice or the results of an expression; both by at[]. */
typedef struct VdbInput
{
	const Datum *values;
	const bool *nulls;
} VdbInput;

/* A value's bits, mixed; the upper ones are the good ones. */
static inline uint64
vdb_mix_bits(uint64 bits)
{
	return bits * UINT64CONST(0x9E3779B97F4A7C15);
}

/*
 * Rows of a slice, found again by the bits of one input: who has worked something out for a row
 * need not do so for another with the same bits, which are the same value.
 */
#define VDB_MEMO_SLOTS		256
#define VDB_MEMO_NONE		0xFFFF

typedef struct VdbMemo
{
	uint16		row[VDB_MEMO_SLOTS];
} VdbMemo;

static inline void
vdb_memo_reset(VdbMemo *memo)
{
	memset(memo, 0xFF, sizeof(*memo));
}

/* An earlier row with the same bits as the one at 'row', or -1: then this one is remembered. */
static inline int
vdb_memo_look(VdbMemo *memo, const VdbInput *input, int row)
{
	uint16	   *slot = &memo->row[vdb_mix_bits((uint64) input->values[row] ^ input->nulls[row]) >> 56];
	int			other = *slot;

	if (other != VDB_MEMO_NONE && input->values[other] == input->values[row] &&
		input->nulls[other] == input->nulls[row])
		return other;
	*slot = (uint16) row;
	return -1;
}

/*
 * Functions of types and aggregates may leave memory behind: it is freed before it adds up, within
 * a slice too.
 */
#define VDB_SCRATCH_BYTES	(1024 * 1024)

static inline void
vdb_scratch_trim(MemoryContext scratch)
{
	if (MemoryContextMemAllocated(scratch, false) > VDB_SCRATCH_BYTES)
		MemoryContextReset(scratch);
}

/* ---- groups (exec_group.c) ---- */

/*
 * One group: its grouping columns, columns that depend on them ('carried': those of its first row),
 * and the aggregates' states.  Where in the memory behind it they lie is the same for all groups of
 * a set.
 */
typedef struct VdbGroup
{
	struct VdbGroup *next;			/* in order of appearance */
	uint32		hash;
} VdbGroup;

typedef struct VdbGroups VdbGroups;

/* Initialize the states of a new group (zeroed). */
typedef void (*VdbGroupInit) (void *arg, char *states);

typedef struct VdbGroupColumn
{
	Oid			eq_op;				/* InvalidOid: carried */
	Oid			type;
	Oid			collation;
} VdbGroupColumn;

/*
 * An empty set.  Those with an equality operator come first in columns[].  Groups live in
 * 'context', which the caller owns and resets before vdb_groups_reset.  The types' functions are
 * called in 'scratch', which is trimmed here and otherwise the caller's to reset.  The set itself
 * lives in the current memory context.
 */
extern VdbGroups *vdb_groups_create(const VdbGroupColumn *columns, int ncolumns, Size state_bytes,
									MemoryContext context,
									MemoryContext scratch, VdbGroupInit init, void *init_arg);
extern void vdb_groups_reset(VdbGroups *groups);

/*
 * From here on rows are those of these inputs; to be called again whenever their values change, and
 * after a reset.
 */
extern void vdb_groups_begin(VdbGroups *groups, const VdbInput *inputs);

/*
 * The group of each row at[0..n), n <= VDB_LB_ROWS; made if it is new.  Stops after a row whose
 * group takes the context over the limit.  Number of rows found, at least 1.
 */
extern int	vdb_groups_find(VdbGroups *groups, const uint16 *at, int n, Size limit,
							VdbGroup **found);

/* For a set without columns: its only group. */
extern VdbGroup *vdb_groups_only(VdbGroups *groups);

extern VdbGroup *vdb_groups_first(const VdbGroups *groups);
extern char *vdb_group_states(const VdbGroups *groups, VdbGroup *group);
extern Datum vdb_group_value(const VdbGroups *groups, VdbGroup *group, int column, bool *isnull);

/* ---- how many groups (exec_agg_estimate.c) ---- */

/*
 * Groups by these expressions among so many rows: core's estimate, or fewer where the expressions
 * have few values.
 */
extern double vdb_estimate_groups(PlannerInfo *root, List *exprs, double rows);

/* ---- aggregates (exec_aggregate.c, exec_kernel.c) ---- */

/*
 * A transition function as loops over slices.  A state is 'bytes' long, and all zeroes at first.
 * 'add' gets states by row: groups[i] + offset; 'add_one' gets one for all rows.
 */
typedef struct VdbKernel
{
	Oid			transfn;
	Size		bytes;
	void		(*add) (char **states, Size offset, const VdbInput *input, const uint16 *at, int n);
	void		(*add_one) (char *state, const VdbInput *input, const uint16 *at, int n);
	Datum		(*result) (const char *state,
						   bool *isnull);	/* the transition value; palloc'd if by reference */
} VdbKernel;

extern const VdbKernel *vdb_kernel_find(Oid transfn);	/* or NULL */

typedef struct VdbAggregate VdbAggregate;

/* Can this aggregate be computed here?  Plan time.  vectorized (may be NULL): by a kernel. */
extern bool vdb_aggregate_known(const Aggref *aggref, bool *vectorized);

/*
 * call_context: what transition functions are told they run in; its curaggcontext is where
 * transition values live, and its tmpcontext what they may leave behind at each call.
 */
extern VdbAggregate *vdb_aggregate_create(const Aggref *aggref, AggState *call_context);
extern Size vdb_aggregate_bytes(const VdbAggregate *aggregate);
extern bool vdb_aggregate_vectorized(const VdbAggregate *aggregate);
extern void vdb_aggregate_init(VdbAggregate *aggregate, char *state);	/* state: zeroed */

/*
 * By a kernel: take in rows at[0..n) of the inputs (its arguments); states[i] + offset is the state
 * of row i's group.  With 'one' they are all of states[0]'s.
 */
extern void vdb_aggregate_add(VdbAggregate *aggregate, char **states, Size offset, bool one,
							  const VdbInput *inputs, const uint16 *at, int n);

/*
 * Without one: take in the row at 'at'.  The transition function runs in the current memory
 * context, and may leave things there.
 */
extern void vdb_aggregate_call(VdbAggregate *aggregate, char *state, const VdbInput *inputs,
							   int at);

/*
 * The partial result, as core's Agg node hands it to its other half; palloc'd or in the state, if
 * by reference.
 */
extern Datum vdb_aggregate_result(VdbAggregate *aggregate, char *state, bool *isnull);

#endif							/* VDB_EXEC_PRIVATE_H */
