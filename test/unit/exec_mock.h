/*
 * exec_mock.h
 *	  Stand-ins for the server around exec_filter.c, exec_group.c and exec_kernel.c.
 */
#ifndef EXEC_MOCK_H
#define EXEC_MOCK_H

#include "nodes/primnodes.h"

/* The types that filters know; left and right of mock_operator. */
enum
{
	MOCK_INT2, MOCK_INT4, MOCK_INT8, MOCK_OID, MOCK_FLOAT4, MOCK_FLOAT8, MOCK_DATE,
	MOCK_TIMESTAMPTZ, MOCK_TEXT, MOCK_TYPES
};

extern Oid	mock_type(int type);

/* 'strategy' is btree's, or 6: not equal. */
extern Oid	mock_operator(int left, int right, int strategy);

/* Equality of grouping columns. */
#define MOCK_INT4_EQ	1
#define MOCK_BYTEA_EQ	2
#define MOCK_FLOAT8_EQ	3

/* A parameter: a constant that isn't known when the filter is made. */
typedef struct MockParam
{
	Param		param;
	Const	   *value;
} MockParam;

extern MemoryContext mock_context(int number);
extern Size mock_bytes;				/* that any context has allocated */

extern bool mock_harmless;			/* may parameters be evaluated before a row has reached them? */
extern int	mock_at;				/* the row for which a clause is evaluated */
extern int	mock_calls;				/* clauses evaluated row by row */
extern Datum mock_array[3];			/* elements of the array made last */
extern int	mock_array_length;

/*
 * By the test: does row 'at' pass a clause that is evaluated row by row, and which column does that
 * read?
 */
extern bool mock_row_passes(const Node *clause, int at);
extern int	mock_row_attno(const Node *clause);

#endif							/* EXEC_MOCK_H */
