/*-------------------------------------------------------------------------
 *
 * exec_prune.h
 *	  What exec_qual.c and exec_prune.c share: compiled clauses.
 *
 *-------------------------------------------------------------------------
 */
#ifndef VDB_EXEC_PRUNE_H
#define VDB_EXEC_PRUNE_H

#include "pgtime.h"

#include "exec/exec.h"

typedef enum PruneKind
{
	PRUNE_UNKNOWN,					/* always may match */
	PRUNE_COMPARE,
	PRUNE_IN,						/* column = ANY (array) */
	PRUNE_NULL_TEST,
	PRUNE_AND,
	PRUNE_OR
} PruneKind;

/* How a comparison with another type agrees with the column's own order (exec_qual.c). */
typedef enum PruneOrder
{
	ORDER_NONE,						/* nothing is known: not used */
	ORDER_SAME,						/* the same order */
	ORDER_ZONE_CONSTANT,			/* the same; where the constant lies in it depends on the
									 * session's time zone */
	ORDER_ZONE_COLUMN				/* the column's values are converted by the session's time
									 * zone: nearly the same */
} PruneOrder;

/* Of a constant, in one scan */
typedef enum PruneState
{
	PRUNE_WAITS,					/* may fail, and no row has reached its clause yet */
	PRUNE_REACHED,					/* a row has: it is evaluated before the next block is read */
	PRUNE_KNOWN
} PruneState;

typedef struct PruneNode
{
	PruneKind	kind;
	int			column;				/* in the pruner's columns */
	bool		is_null;			/* PRUNE_NULL_TEST */
	int			strategy;			/* BT*StrategyNumber */
	PruneOrder	order;
	Oid			zone_cmp;			/* what the zone map must have been found with */
	Oid			collation;
	FmgrInfo	cmp;				/* (column type, constant type); ORDER_ZONE_COLUMN: (column
									 * type, timestamp) */
	bool		byval;
	int16		typlen;				/* of the column */
	Expr	   *arg;
	ExprState  *arg_state;			/* NULL: a constant, or plan time */
	bool		arg_byval;			/* constant; PRUNE_IN: the array */
	int16		arg_typlen;
	Oid			element_type;		/* PRUNE_IN */
	PruneState	state;
	bool		unusable;			/* this scan: a constant that can't be used */
	int			nvalues;			/* constants of this scan; null ones left out */
	Datum	   *values;
	Datum	   *low;				/* what a zone's greatest value is compared with; but for
									 * ORDER_ZONE_COLUMN: values */
	Datum	   *high;				/* its least value */
	List	   *children;
} PruneNode;

struct VdbPruner
{
	int			nclauses;
	PruneNode **clauses;			/* by place in the filter, NULL: not used */
	int			ncolumns;
	int		   *columns;			/* whose zone maps are asked; 0-based */
	bool		zoned;				/* some comparison depends on the session's time zone */
	pg_tz	   *zone;				/* the one that was asked last */
	bool		reached;			/* there are constants to evaluate */
	MemoryContext values;			/* constants of this scan */
	MemoryContext temp;				/* what comparison functions leave behind */
};

#endif							/* VDB_EXEC_PRUNE_H */
