/*
 * rows_mock.h
 *	  A server, a pool and a map in a few hundred lines of memory, for testing
 *	  src/rows without any of them.
 */
#ifndef ROWS_MOCK_H
#define ROWS_MOCK_H

#include "rows/rows_private.h"
#include "access/xact.h"
#include "unit_shim.h"

#define MOCK_SEGMENTS	600

struct VdbPool
{
	char	   *memory;
	VdbPoolShared shared;
	uint32		free_segments;		/* how many may still be reserved */
	uint32		next_segment;
	int			nreserved;			/* reserved, neither claimed nor given back */
	int			fail_claim;			/* next claim: 1 error before, 2 error after it happened */
	uint32		limit_xid[16];		/* per epoch: first xid it can't know */
	uint32		limit_multi[16];	/* per epoch: first multixact id it can't know */
	VdbLogicalBlock next_lb;
	VdbBlock	lb_segment[65536];
	VdbLogicalBlock lb_first[65536];
	int			nclaims;
	bool		hold_publish;		/* a change's end leaves publishes out: a crash */
};

extern VdbPool mock_pool;
extern int	mock_locks_held;
extern int	mock_errcode;			/* of the last error */
extern int	mock_hints;
extern bool mock_recovery;
extern TransactionId mock_committed;	/* the one transaction that has committed */

extern void mock_start(void);		/* a new epoch with an empty pool */
extern void mock_extent(VdbLogicalBlock lb, VdbExtent *extent);
extern char *mock_bytes(VdbBlock block, uint16 offset);
extern char *mock_page_bytes(BlockNumber page);
extern void mock_transaction_end(bool commit);
extern void mock_subtransaction_abort(void);

/* Run body; false if it raised an error (mock_errcode says which). */
extern bool mock_try(void (*body) (void));

#endif							/* ROWS_MOCK_H */
