/*-------------------------------------------------------------------------
 *
 * rows_private.h
 *	  Inside rows/: how a segment fills, and the shared list of open segments.
 *
 *-------------------------------------------------------------------------
 */
#ifndef VDB_ROWS_PRIVATE_H
#define VDB_ROWS_PRIVATE_H

#include "rows/rows.h"

/* Segments one backend may own at a time, whatever it inserts into. */
#define VDB_OPEN_PER_BACKEND	32

/* Most segments claimed by one flushed change: it has VDB_CHANGE_MAX_BLOCKS blocks. */
#define VDB_CLAIM_MAX			24

/* ---- how a segment fills: pure arithmetic (rows_fill.c) ---- */

/*
 * Where the next row of an open segment goes.  Volatile: it is never
 * stored in the pool, and no segment of an earlier run is appended to.
 */
typedef struct VdbSegmentFill
{
	VdbBlock	segment;
	VdbLogicalBlock first_lb;
	uint16		nslots;
	uint16		next_slot;			/* nslots: no slot is left */
	uint16		next_offset;		/* MAXALIGNed byte offset in next_block */
	uint8		next_block;			/* 0 to 7 */
} VdbSegmentFill;

extern void vdb_fill_init(VdbSegmentFill *fill, VdbBlock segment, VdbLogicalBlock first_lb,
						  uint16 nslots);
extern bool vdb_fill_find(const VdbSegmentFill *fill, uint32 image_bytes, uint8 *block,
						  uint16 *offset);
extern uint16 vdb_fill_add(VdbSegmentFill *fill, uint32 image_bytes, uint8 block, uint16 offset);
extern bool vdb_fill_back(VdbSegmentFill *fill, uint16 slot, uint8 block, uint16 offset);
extern uint32 vdb_fill_payload(uint16 nslots);
extern int	vdb_fill_choose_lbs(uint32 average_bytes);
extern uint32 vdb_row_image_bytes(uint32 tuple_bytes, uint8 hoff, bool *wide);

/* ---- open segments, in shared memory (rows_open.c) ---- */

/* A table, named so that no other table of the server is ever taken for it. */
typedef struct VdbOpenTable
{
	Oid			pool_db;
	Oid			pool_relnode;
	uint32		slot;
	uint32		generation;
} VdbOpenTable;

/* Can a backend go on in the segment that it appended to last? */
typedef enum VdbRetake
{
	VDB_RETAKE_DONE,
	VDB_RETAKE_BUSY,				/* another backend is at it */
	VDB_RETAKE_FAILED				/* closed, or without room */
} VdbRetake;

extern Size vdb_open_shmem_size(void);
extern void vdb_open_shmem_init(void *address, bool found);
extern int	vdb_open_enter(const VdbOpenTable *table, VdbBlock segment);
extern bool vdb_open_take(const VdbOpenTable *table, uint32 image_bytes, int idle_us,
						  VdbSegmentFill *fill, int *handle);
extern VdbRetake vdb_open_retake(const VdbOpenTable *table, int handle, VdbBlock segment,
								 uint32 image_bytes, VdbSegmentFill *fill);
extern void vdb_open_give(int handle, const VdbSegmentFill *fill);
extern void vdb_open_close(int handle);
extern bool vdb_open_status(const VdbOpenTable *table, VdbBlock segment, bool take);
extern VdbSegmentState vdb_open_state(const VdbOpenTable *table, VdbBlock segment);
extern void vdb_open_identify(const VdbTableRef *ref, VdbOpenTable *table);

/* ---- what this backend owns (rows_owned.c) ---- */

/* The average row length moves by 1/16 of each row's difference. */
#define VDB_AVERAGE_SHARE		16

typedef enum VdbOwnedState
{
	VDB_OWNED_SPARE,				/* claimed, nothing reserved in it yet */
	VDB_OWNED_CURRENT,
	VDB_OWNED_RETIRED				/* full, perhaps with places outstanding */
} VdbOwnedState;

typedef struct VdbAppender VdbAppender;

/* A segment this backend owns. */
typedef struct VdbOwned
{
	VdbAppender *appender;
	VdbOwnedState state;
	int			handle;				/* in the open-segment hash */
	VdbSegmentFill fill;
} VdbOwned;

/* What this backend knows of appending to one table.  Lives in a local hash. */
struct VdbAppender
{
	uint32		table_slot;			/* hash key */
	VdbOpenTable table;
	uint32		average_scaled;		/* bytes of a row image, times VDB_AVERAGE_SHARE */
	int			run;				/* segments to claim next */
	int			outstanding;		/* places reserved but not put */
	int			nretired;
	VdbOwned   *current;
	int			last_handle;		/* where it went on last; -1: nowhere */
	VdbBlock	last_segment;
};

extern int	vdb_owned_room(void);
extern VdbOwned *vdb_owned_add(VdbAppender *appender, int handle);
extern void vdb_owned_close(VdbOwned *owned);
extern void vdb_owned_give_all(const VdbAppender *except);
extern void vdb_owned_close_retired(VdbAppender *appender);
extern void vdb_owned_retire(VdbAppender *appender);
extern VdbOwned *vdb_owned_lowest_spare(const VdbAppender *appender);
extern void vdb_owned_forget_outstanding(void);
extern VdbAppender *vdb_appender_find(const VdbTableRef *ref);
extern VdbAppender *vdb_appender_get(const VdbTableRef *ref, uint32 image_bytes);
extern uint32 vdb_appender_average(const VdbAppender *appender);
extern void vdb_appenders_trim(void);

/* ---- places (rows_fill.c) ---- */

/* What media write as a whole, and what must lie in it: prefix and header, up to the flags. */
#define VDB_SECTOR_BYTES		512
#define VDB_ROW_HEADER_BYTES	32

/* ---- checks (rows_read.c) ---- */

/* NULL, or what is wrong with this header as the segment of lb. */
extern const char *vdb_segment_defect(const VdbTableRef *ref, const VdbSegmentHeader *header,
									  VdbLogicalBlock lb);

#endif							/* VDB_ROWS_PRIVATE_H */
