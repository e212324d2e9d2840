/*-------------------------------------------------------------------------
 *
 * exec_private.h
 *	  Declarations shared by the files of exec/: the scan's state, slices of rows, groups,
 *	  aggregates.
 *
 * A slice is a run of rows of one logical block (256 row numbers at most); striped rows of a slice
 * are also of one vector.  Each column that the scan reads lies in an array; at[i] is the place of
 * row i in all of these arrays.  A filter drops rows by removing their entries from at[].
 *
 *-------------------------------------------------------------------------
 */
#ifndef VDB_EXEC_PRIVATE_H
#define VDB_EXEC_PRIVATE_H

#include "lib/ilist.h"
#include "port/atomics.h"
#include "utils/memutils.h"

#include "exec/exec.h"

/* ---- the scan (exec_scan.c, exec_slice.c, exec_column.c) ---- */

/* State that the processes of a parallel scan share; the counters are for EXPLAIN. */
typedef struct VdbSharedScan
{
	VdbSharedCursor cursor;
	pg_atomic_uint64 stripes;
	pg_atomic_uint64 chunks;
	pg_atomic_uint64 pruned;
	pg_atomic_uint64 pool_rows;
	pg_atomic_uint64 striped_rows;
} VdbSharedScan;

/* Values of one column that the scan reads, for the current rows. */
typedef struct VdbColumnValues
{
	int			attno;
	Datum	   *values;				/* VDB_LB_ROWS of them; row by row: indexed by position -
									 * decoded_from; slices: indexed by at[] */
	bool	   *nulls;				/* indexed in the same way */
	bool		ready;				/* slices: decoded */
	VdbVectorBuffer vbuffer;		/* keeps the vector between logical blocks */
} VdbColumnValues;

typedef struct VdbFilter VdbFilter;

/* Row by row: how far core's filter is known to have got in this scan. */
typedef enum VdbRowProgress
{
	VDB_NO_ROW_YET,
	VDB_ROW_GIVEN,					/* the first row was returned to it */
	VDB_ROW_CHECKED					/* another row was asked for, so the first was checked */
} VdbRowProgress;

/* State of a custom scan. */

typedef struct VdbScanState
{
	CustomScanState css;
	VdbCursor	cursor;				/* slices: its row is the first one not yet taken */
	VdbBatch   *batch;				/* the cursor's batch */
	VdbPruner  *pruner;
	int			ncolumns;
	VdbColumnValues *columns;		/* the columns that the scan reads */
	int			max_attno;			/* the greatest attribute number among them */
	bool		started;			/* vdb_scan_start has run */
	uint32		decoded_from;		/* row by row: positions [from, to) are decoded */
	uint32		decoded_to;
	bool		decoded;			/* decoded_from and decoded_to are valid */
	VdbRowProgress checked;
	TupleTableSlot *heap_slot;		/* for rows from the pool */
	bool		sliced;				/* rows are taken from slices */
	VdbFilter  *filter;				/* slices: the filter, or NULL */
	int			current;			/* next row of the slice, when rows are returned one by one */
	int			nrows;				/* rows of the slice that passed the filter so far */
	uint16		at[VDB_LB_ROWS];	/* their places in the columns' arrays */
	uint8		index[VDB_LB_ROWS]; /* row indexes in the LB, of the slice's rows */
	VdbSharedScan *shared;			/* parallel: in dynamic shared memory, until shutdown */
	MemoryContext context;			/* the node's */
	/* counters saved from shared memory at shutdown */
	bool		have_counters;
	uint64		stripes;
	uint64		chunks;
	uint64		pruned;
	uint64		pool_rows;
	uint64		striped_rows;
} VdbScanState;

/* Return the scan state of a node that is one of our scans (exec_scan.c). */
extern VdbScanState *vdb_scan_state(PlanState *node);

/* Declare that the scan will be read by slices.  Called while the scan is being initialized. */
extern void vdb_scan_by_slices(VdbScanState *scan);

/*
 * Start the scan, at its first row and at the first after a rescan: takes the predicate lock, reads
 * the limit and prepares the pruner.
 */
extern void vdb_scan_start(VdbScanState *scan);

/*
 * Read the next slice of a scan that has started, and filter it (exec_slice.c).  Returns the number
 * of rows that passed, which is 0 only at the end.  By-reference Datums are valid until the next
 * call.  No LWLock may be held; may do I/O.
 */
extern int	vdb_slice_next(VdbScanState *scan);

/*
 * Return the next row that passes the filter, in the scan's slot, or NULL at the end.  Clauses that
 * aren't loops are evaluated for a row only when that row is asked for.
 */
extern TupleTableSlot *vdb_slice_next_row(VdbScanState *scan);

/* Decode a column into its arrays for this slice.  vdb_slice_next has done so for all columns. */
extern void vdb_slice_need(VdbScanState *scan, int column);

/*
 * Put row i of the slice into the scan's slot, for evaluating expressions: all columns, or those
 * listed.  The slot's values are valid as long as the slice.
 */
extern TupleTableSlot *vdb_slice_slot(VdbScanState *scan, int i);
extern TupleTableSlot *vdb_slice_fill(VdbScanState *scan, int i, const int *columns, int ncolumns);

/* Return the column's arrays, or NULL if the scan doesn't read it. */
extern VdbColumnValues *vdb_slice_column(VdbScanState *scan, int attno);

/* ---- the filter over slices (exec_filter.c) ---- */

/* Compile the scan's filter.  Returns NULL if it has none. */
extern VdbFilter *vdb_filter_create(VdbScanState *scan);

/* Forget the constants' values, since they may have changed with a rescan. */
extern void vdb_filter_rescan(VdbFilter *filter);

/* Return the number of clauses that run as loops. */
extern int	vdb_filter_vectorized(const VdbFilter *filter);

/* Apply the loops to a new slice, removing rows that don't pass from at[]. */
extern void vdb_filter_slice(VdbFilter *filter);

/* Return true if row i of the slice passes the clauses that aren't loops. */
extern bool vdb_filter_row(VdbFilter *filter, int i);

/* Compare a varlena, which may be toasted, with one that is not: return true if bytes are equal. */
extern bool vdb_same_bytes(Datum value, const struct varlena *bytes);

/* ---- inputs ---- */

/* A column of the slice, or the results of an expression; both indexed by at[]. */
typedef struct VdbInput
{
	const Datum *values;
	const bool *nulls;
} VdbInput;

/* Hash a value's bits.  Only the upper bits of the result are well mixed. */
static inline uint64
vdb_mix_bits(uint64 bits)
{
	return bits * UINT64CONST(0x9E3779B97F4A7C15);
}

/*
 * A cache of a slice's rows, looked up by the bits of one input.  Equal bits are the same value, so
 * a result computed for one row can be reused for another with the same bits.
 */
#define VDB_MEMO_SLOTS		256
#define VDB_MEMO_NONE		0xFFFF

typedef struct VdbMemo
{
	uint16		row[VDB_MEMO_SLOTS];
} VdbMemo;

/* Empty the cache.  Needed for each slice. */
static inline void
vdb_memo_reset(VdbMemo *memo)
{
	memset(memo, 0xFF, sizeof(*memo));
}

/*
 * Return an earlier row with the same bits as the one at 'row'.  If there is none, enter this row
 * and return -1.
 */
static inline int
vdb_memo_look(VdbMemo *memo, const VdbInput *input, int row)
{
	uint64		hash = vdb_mix_bits((uint64) input->values[row] ^ input->nulls[row]);
	uint16	   *slot = &memo->row[hash >> 56];
	int			other = *slot;

	if (other != VDB_MEMO_NONE && input->values[other] == input->values[row] &&
		input->nulls[other] == input->nulls[row])
		return other;
	*slot = (uint16) row;
	return -1;
}

/*
 * The size from which a scratch context is reset.  Functions of types and aggregates may leave
 * memory behind, which must not add up, not even within a slice.
 */
#define VDB_SCRATCH_BYTES	(1024 * 1024)

/* Reset a scratch context if it has grown past the limit. */
static inline void
vdb_scratch_trim(MemoryContext scratch)
{
	if (MemoryContextMemAllocated(scratch, false) > VDB_SCRATCH_BYTES)
		MemoryContextReset(scratch);
}

/* ---- groups (exec_group.c) ---- */

/*
 * The head of one group.  The memory behind it has the values of the grouping columns and of
 * columns that depend on them ('carried': taken from its first row), and the aggregates' states.
 * The offsets are the same for all groups of a set.
 */
typedef struct VdbGroup
{
	struct VdbGroup *next;			/* in order of appearance */
	uint32		hash;
} VdbGroup;

typedef struct VdbGroups VdbGroups;

/* Initialize the states of a new group (zeroed). */
typedef void (*VdbGroupInit) (void *arg, char *states);

/* A column of a set of groups. */
typedef struct VdbGroupColumn
{
	Oid			eq_op;				/* equality operator; InvalidOid: carried */
	Oid			type;
	Oid			collation;
} VdbGroupColumn;

/*
 * Create an empty set in the current memory context.  Columns with an equality operator come first
 * in columns[].  Groups live in 'context', which the caller owns and resets before
 * vdb_groups_reset.  The types' functions are called in 'scratch', which is trimmed by the set's
 * functions and otherwise reset by the caller.
 */
extern VdbGroups *vdb_groups_create(const VdbGroupColumn *columns, int ncolumns, Size state_bytes,
									MemoryContext context,
									MemoryContext scratch, VdbGroupInit init, void *init_arg);

/* Forget all groups.  The caller has reset the context that they lived in. */
extern void vdb_groups_reset(VdbGroups *groups);

/*
 * Set the inputs from which vdb_groups_find takes rows.  Must be called again whenever their values
 * change, and after a reset.
 */
extern void vdb_groups_begin(VdbGroups *groups, const VdbInput *inputs);

/*
 * Find the group of each row at[0..n), n <= VDB_LB_ROWS, and make those that are new.  Stops after
 * a row whose group takes the context over the limit (bytes).  Returns the number of rows done, at
 * least 1.
 */
extern int	vdb_groups_find(VdbGroups *groups, const uint16 *at, int n, Size limit,
							VdbGroup **found);

/* Return the only group of a set without columns; it is made if necessary. */
extern VdbGroup *vdb_groups_only(VdbGroups *groups);

/* Return the first group in order of appearance. */
extern VdbGroup *vdb_groups_first(const VdbGroups *groups);

/* Return the memory of a group's aggregate states. */
extern char *vdb_group_states(const VdbGroups *groups, VdbGroup *group);

/* Return a column's value in a group. */
extern Datum vdb_group_value(const VdbGroups *groups, VdbGroup *group, int column, bool *isnull);

/* ---- how many groups (exec_agg_estimate.c) ---- */

/*
 * Estimate the number of groups by these expressions among so many rows: core's estimate, or less
 * where the expressions have few values.
 */
extern double vdb_estimate_groups(PlannerInfo *root, List *exprs, double rows);

/* ---- aggregates (exec_aggregate.c, exec_kernel.c) ---- */

/*
 * A kernel: an aggregate's transition function as loops over slices.  A state is 'bytes' long, and
 * all zeroes at first.  In 'add' the state of row i is states[i] + offset; 'add_one' gets one state
 * for all rows.
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

/* Return the kernel of a transition function, or NULL if it has none. */
extern const VdbKernel *vdb_kernel_find(Oid transfn);

/* One aggregate of a running aggregation. */
typedef struct VdbAggregate VdbAggregate;

/*
 * Return true if this aggregate can be computed here.  Called at plan time.  *vectorized
 * (vectorized may be NULL) is set to true if it has a kernel.
 */
extern bool vdb_aggregate_known(const Aggref *aggref, bool *vectorized);

/*
 * Create an aggregate in the current memory context.  call_context is passed to transition
 * functions as their AggState: transition values live in its curaggcontext, and its tmpcontext is
 * for memory that they may leave behind at each call.
 */
extern VdbAggregate *vdb_aggregate_create(const Aggref *aggref, AggState *call_context);

/* Return the size of a state in bytes. */
extern Size vdb_aggregate_bytes(const VdbAggregate *aggregate);

/* Return true if the aggregate is computed by a kernel. */
extern bool vdb_aggregate_vectorized(const VdbAggregate *aggregate);

/* Initialize a state, which must be zeroed. */
extern void vdb_aggregate_init(VdbAggregate *aggregate, char *state);

/*
 * Add rows at[0..n) of the inputs (the aggregate's arguments) by the kernel.  states[i] + offset is
 * the state of row i's group; with 'one' all rows belong to the group of states[0].
 */
extern void vdb_aggregate_add(VdbAggregate *aggregate, char **states, Size offset, bool one,
							  const VdbInput *inputs, const uint16 *at, int n);

/*
 * Add the row at 'at' by calling the transition function, for an aggregate without a kernel.  The
 * function runs in the current memory context, and may leave memory behind there.
 */
extern void vdb_aggregate_call(VdbAggregate *aggregate, char *state, const VdbInput *inputs,
							   int at);

/*
 * Return the partial result, as core's partial Agg node would.  A by-reference result is palloc'd
 * or lies in the state.
 */
extern Datum vdb_aggregate_result(VdbAggregate *aggregate, char *state, bool *isnull);

#endif							/* VDB_EXEC_PRIVATE_H */
