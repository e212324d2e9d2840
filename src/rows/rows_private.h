/*-------------------------------------------------------------------------
 *
 * rows_private.h
 *	  Internals of rows/: how a segment fills, and the shared list of open segments.
 *
 *-------------------------------------------------------------------------
 */
#ifndef VDB_ROWS_PRIVATE_H
#define VDB_ROWS_PRIVATE_H

#include "rows/rows.h"

/* Segments that one backend may own at a time, in all tables together. */
#define VDB_OPEN_PER_BACKEND	32

/* Most segments that one flushed change claims, as it has VDB_CHANGE_MAX_BLOCKS blocks. */
#define VDB_CLAIM_MAX			24

/* ---- how a segment fills: pure arithmetic (rows_fill.c) ---- */

/*
 * The place of the next row of an open segment.  This is volatile: it is never stored in the pool,
 * and no segment of an earlier run is appended to.
 */
typedef struct VdbSegmentFill
{
	VdbBlock	segment;
	VdbLogicalBlock first_lb;
	uint16		nslots;
	uint16		next_slot;			/* nslots if no slot is left */
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

/* Identity of a table that is unique in the server. */
typedef struct VdbOpenTable
{
	Oid			pool_db;
	Oid			pool_relnode;
	uint32		slot;
	uint32		generation;
} VdbOpenTable;

/* Result of an attempt to go on in the segment that this backend appended to last. */
typedef enum VdbRetake
{
	VDB_RETAKE_DONE,
	VDB_RETAKE_BUSY,				/* another backend owns it */
	VDB_RETAKE_FAILED				/* it is closed, or has no room */
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
extern bool vdb_open_status(const VdbOpenTable *table, VdbBlock segment, int64 idle_ms);
extern VdbSegmentState vdb_open_state(const VdbOpenTable *table, VdbBlock segment, int64 *idle_ms);
extern void vdb_open_identify(const VdbTableRef *ref, VdbOpenTable *table);

/* ---- what this backend owns (rows_owned.c) ---- */

/* The average row length moves by 1/16 of each row's difference. */
#define VDB_AVERAGE_SHARE		16

typedef enum VdbOwnedState
{
	VDB_OWNED_SPARE,				/* claimed, nothing reserved in it yet */
	VDB_OWNED_CURRENT,
	VDB_OWNED_RETIRED				/* full, but places may be outstanding */
} VdbOwnedState;

typedef struct VdbAppender VdbAppender;

/* A segment that this backend owns. */
typedef struct VdbOwned
{
	VdbAppender *appender;
	VdbOwnedState state;
	int			handle;				/* entry in the open-segment hash */
	VdbSegmentFill fill;
} VdbOwned;

/* What this backend knows about appending to one table; an entry of a local hash. */
struct VdbAppender
{
	uint32		table_slot;			/* hash key */
	VdbOpenTable table;
	uint32		average_scaled;		/* bytes of a row image, times VDB_AVERAGE_SHARE */
	int			run;				/* segments to claim next */
	int			outstanding;		/* places reserved but not put */
	int			nretired;
	VdbOwned   *current;
	int			last_handle;		/* entry it used last, or -1 */
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

/* ---- multixacts (rows_multi.c) ---- */

extern MultiXactId vdb_multi_make(TransactionId xmax, bool xmax_is_multi,
								  MultiXactStatus xmax_status, TransactionId xid,
								  MultiXactStatus status);
extern bool vdb_multi_must_flush(MultiXactId multi, const MultiXactMember *members, int nmembers);
extern void vdb_multi_init(void);

/* ---- places (rows_fill.c) ---- */

/*
 * The unit that media write as a whole, and the part of a row that must lie in one: prefix and
 * header, up to the flags.
 */
#define VDB_SECTOR_BYTES		512
#define VDB_ROW_HEADER_BYTES	32

/* ---- checks (rows_read.c) ---- */

/* Return NULL, or the name of the field that is wrong in this header for the segment of lb. */
extern const char *vdb_segment_defect(const VdbTableRef *ref, const VdbSegmentHeader *header,
									  VdbLogicalBlock lb);

#endif							/* VDB_ROWS_PRIVATE_H */
