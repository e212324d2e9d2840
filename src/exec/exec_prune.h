/*-------------------------------------------------------------------------
 *
 * exec_prune.h
 *	  Compiled clauses, shared by exec_qual.c and exec_prune.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef VDB_EXEC_PRUNE_H
#define VDB_EXEC_PRUNE_H

#include "pgtime.h"

#include "exec/exec.h"

/* Kind of a node of a compiled clause. */
typedef enum PruneKind
{
	PRUNE_UNKNOWN,					/* not understood: may always match */
	PRUNE_COMPARE,
	PRUNE_IN,						/* column = ANY (array) */
	PRUNE_NULL_TEST,
	PRUNE_AND,
	PRUNE_OR
} PruneKind;

/* How a comparison with another type agrees with the column's own order (exec_qual.c). */
typedef enum PruneOrder
{
	ORDER_NONE,						/* unknown: the comparison is not used */
	ORDER_SAME,						/* the same order */
	ORDER_ZONE_CONSTANT,			/* the same order; the constant's place in it depends on the
									 * session's time zone */
	ORDER_ZONE_COLUMN				/* nearly the same order, as the column's values are converted
									 * by the session's time zone */
} PruneOrder;

/* State of a constant in one scan. */
typedef enum PruneState
{
	PRUNE_WAITS,					/* may fail, and no row has reached its clause yet */
	PRUNE_REACHED,					/* reached: evaluated before the next block is read */
	PRUNE_KNOWN						/* evaluated */
} PruneState;

/* A node of a compiled clause. */
typedef struct PruneNode
{
	PruneKind	kind;
	int			column;				/* index into the pruner's columns */
	bool		is_null;			/* PRUNE_NULL_TEST */
	int			strategy;			/* BT*StrategyNumber */
	PruneOrder	order;
	Oid			zone_cmp;			/* the zone map must have been made with this function ... */
	Oid			collation;			/* ... and this collation */
	FmgrInfo	cmp;				/* (column type, constant type); ORDER_ZONE_COLUMN: (column
									 * type, timestamp) */
	bool		byval;
	int16		typlen;				/* of the column */
	Expr	   *arg;				/* the constant's expression */
	ExprState  *arg_state;			/* NULL: it is a Const, or this is plan time */
	bool		arg_byval;			/* type of the constant; PRUNE_IN: of the array */
	int16		arg_typlen;
	Oid			element_type;		/* PRUNE_IN */
	PruneState	state;
	bool		unusable;			/* the constant can't be used in this scan */
	int			nvalues;			/* number of constants in this scan, without null ones */
	Datum	   *values;				/* the constants */
	Datum	   *low;				/* compared with a zone's maximum; same as 'values' except for
									 * ORDER_ZONE_COLUMN */
	Datum	   *high;				/* compared with a zone's minimum; same as 'values' likewise */
	List	   *children;			/* PRUNE_AND, PRUNE_OR */
} PruneNode;

/* See exec.h. */
struct VdbPruner
{
	int			nclauses;
	PruneNode **clauses;			/* by place in the filter; NULL: not used */
	int			ncolumns;
	int		   *columns;			/* columns whose zone maps are needed; 0-based */
	bool		zoned;				/* some comparison depends on the session's time zone */
	pg_tz	   *zone;				/* the session's time zone when last used */
	bool		reached;			/* there are constants to evaluate */
	MemoryContext values;			/* holds the constants of this scan */
	MemoryContext temp;				/* for memory that comparison functions leave behind */
};

#endif							/* VDB_EXEC_PRUNE_H */
