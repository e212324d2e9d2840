/*
 * freeze_test.c
 *	  The rules of am_freeze.c, over transactions and multixacts that are made up here.
 */
#include "pg_shim.h"
#include "unit_shim.h"

#include "access/htup_details.h"
#include "access/multixact.h"
#include "access/transam.h"

#include "am/am_freeze.h"

/*
 * Transactions have even or odd ids: those of even ones have committed.  Those from RUNNING on
 * have not ended.
 */
#define OLDEST_XMIN		1000
#define FREEZE_LIMIT	500
#define MULTI_CUTOFF	50
#define RUNNING			2000

#define ROW				vdb_row_make(7, 3)

#define LOCKED			MultiXactStatusForKeyShare
#define UPDATED			MultiXactStatusNoKeyUpdate

static MultiXactMember members[4];
static int	nmembers;
static bool multi_asked;

/* A multixact with these members: pairs of an id and a status, ended by 0. */
static void
set_members(const TransactionId *pairs)
{
	for (nmembers = 0; pairs[2 * nmembers] != 0; nmembers++)
	{
		members[nmembers].xid = pairs[2 * nmembers];
		members[nmembers].status = (MultiXactStatus) pairs[2 * nmembers + 1];
	}
	multi_asked = false;
}

int
GetMultiXactIdMembers(MultiXactId multi, MultiXactMember **copy, bool from_pgupgrade,
					  bool only_lock)
{
	multi_asked = true;
	if (nmembers == 0)
		return 0;
	*copy = malloc(sizeof(members));
	memcpy(*copy, members, sizeof(members));
	return nmembers;
}

bool
MultiXactIdIsRunning(MultiXactId multi, bool only_locks)
{
	multi_asked = true;
	for (int i = 0; i < nmembers; i++)
		if (members[i].xid >= RUNNING)
			return true;
	return false;
}

TransactionId
HeapTupleGetUpdateXid(HeapTupleHeader tuple)
{
	for (int i = 0; i < nmembers; i++)
		if (ISUPDATE_from_mxstatus(members[i].status))
			return members[i].xid;
	return InvalidTransactionId;
}

bool
vdb_row_only_locked(HeapTupleHeader hdr)
{
	if ((hdr->t_infomask & HEAP_XMAX_INVALID) || HEAP_XMAX_IS_LOCKED_ONLY(hdr->t_infomask))
		return true;
	return (hdr->t_infomask & HEAP_XMAX_IS_MULTI) && HeapTupleGetUpdateXid(hdr) % 2 == 1;
}

bool
TransactionIdDidCommit(TransactionId xid)
{
	return TransactionIdIsNormal(xid) && xid < RUNNING && xid % 2 == 0;
}

bool
TransactionIdPrecedes(TransactionId a, TransactionId b)
{
	if (!TransactionIdIsNormal(a) || !TransactionIdIsNormal(b))
		return a < b;
	return (int32) (a - b) < 0;
}

bool
MultiXactIdPrecedes(MultiXactId a, MultiXactId b)
{
	return (int32) (a - b) < 0;
}

void
pfree(void *pointer)
{
	free(pointer);
}

void
ExceptionalCondition(const char *condition, const char *type, const char *file, int line)
{
	fprintf(stderr, "%s:%d: %s\n", file, line, condition);
	abort();
}

static const VdbFreezeLimits limits = {OLDEST_XMIN, FREEZE_LIMIT, MULTI_CUTOFF};

/* A version; an xmax of 0 means none. */
static VdbVersion
make_version(uint8 where, TransactionId xmin, TransactionId xmax, uint16 infomask)
{
	VdbVersion	version;

	memset(&version, 0, sizeof(version));
	version.row = ROW;
	version.where = where;
	HeapTupleHeaderSetXmin(&version.hdr, xmin);
	HeapTupleHeaderSetXmax(&version.hdr, xmax);
	version.hdr.t_infomask = infomask | (xmax == 0 ? HEAP_XMAX_INVALID : 0);
	version.hdr.t_infomask2 = xmax == 0 ? 0 : HEAP_KEYS_UPDATED;
	vdb_row_to_tid(vdb_row_make(9, 9), &version.hdr.t_ctid);
	return version;
}

static bool
has_no_xmax(const VdbVersion *version)
{
	return HeapTupleHeaderGetRawXmax(&version->hdr) == InvalidTransactionId &&
		(version->hdr.t_infomask & HEAP_XMAX_BITS) == HEAP_XMAX_INVALID &&
		(version->hdr.t_infomask2 & HEAP_KEYS_UPDATED) == 0 &&
		vdb_tid_to_row(&version->hdr.t_ctid) == ROW;
}

/* Freeze a version; is the answer as expected, and the header unchanged where it is false? */
static bool
freezes(VdbVersion *version, bool expected)
{
	VdbVersion	before = *version;
	bool		changed = vdb_freeze_version(&limits, version);

	return changed == expected &&
		(changed || memcmp(&before.hdr, &version->hdr, SizeofHeapTupleHeader) == 0);
}

static void
test_xmin(void)
{
	VdbVersion	v = make_version(VDB_IN_POOL, 498, 0, HEAP_XMIN_COMMITTED);

	UNIT_CHECK(freezes(&v, true) && HeapTupleHeaderXminFrozen(&v.hdr), "old and committed");
	UNIT_CHECK(freezes(&v, false), "frozen already");
	v = make_version(VDB_IN_POOL, FREEZE_LIMIT, 0, HEAP_XMIN_COMMITTED);
	UNIT_CHECK(freezes(&v, false), "at the limit");
	v = make_version(VDB_IN_POOL, 498, 0, 0);
	UNIT_CHECK(freezes(&v, false), "not known to have committed");
	v = make_version(VDB_IN_POOL, 498, 0, HEAP_XMIN_INVALID);
	UNIT_CHECK(freezes(&v, false), "aborted");
	v = make_version(VDB_IN_STRIPE, 498, 0, HEAP_XMIN_COMMITTED);
	UNIT_CHECK(freezes(&v, false), "a stripe answers for its rows' xmin");
}

static void
test_plain_xmax(void)
{
	VdbVersion	v = make_version(VDB_IN_POOL, 1100, 499, HEAP_XMIN_COMMITTED);

	UNIT_CHECK(freezes(&v, true) && has_no_xmax(&v), "an aborted deleter");
	v = make_version(VDB_IN_POOL, 1100, 501, HEAP_XMIN_COMMITTED);
	UNIT_CHECK(freezes(&v, false), "one that is not old");
	v = make_version(VDB_IN_POOL, 1100, 498, HEAP_XMIN_COMMITTED);
	UNIT_CHECK(freezes(&v, false), "a committed one: somebody may see the row");
	v = make_version(VDB_IN_POOL, 1100, 498, HEAP_XMIN_COMMITTED | HEAP_XMAX_LOCK_ONLY);
	UNIT_CHECK(freezes(&v, true) && has_no_xmax(&v), "a locker");
	v = make_version(VDB_IN_POOL, 1100, 498, HEAP_XMIN_COMMITTED | HEAP_XMAX_INVALID);
	UNIT_CHECK(freezes(&v, true) && has_no_xmax(&v), "hinted to be invalid, and old");
	v = make_version(VDB_IN_POOL, 1100, 700, HEAP_XMIN_COMMITTED | HEAP_XMAX_INVALID);
	UNIT_CHECK(freezes(&v, false), "hinted to be invalid, and young");
	v = make_version(VDB_IN_STRIPE, 1100, 701, HEAP_XMIN_COMMITTED);
	UNIT_CHECK(freezes(&v, true) && has_no_xmax(&v), "of a striped row it need not get old");
	v = make_version(VDB_IN_STRIPE, 1100, 1001, HEAP_XMIN_COMMITTED);
	UNIT_CHECK(freezes(&v, false), "but it must have ended");
}

/* Freeze a version with a multixact of such members; flags: of the infomask. */
static bool
freeze_multi(VdbVersion *v, MultiXactId multi, uint16 flags, const TransactionId *pairs)
{
	set_members(pairs);
	*v = make_version(VDB_IN_POOL, 1100, multi, HEAP_XMIN_COMMITTED | HEAP_XMAX_IS_MULTI | flags);
	return vdb_freeze_version(&limits, v);
}

static void
test_multi(void)
{
	const TransactionId lockers[] = {490, LOCKED, 600, LOCKED, 0};
	const TransactionId young[] = {600, LOCKED, 0};
	const TransactionId running[] = {490, LOCKED, RUNNING, LOCKED, 0};
	const TransactionId updated[] = {491, LOCKED, 600, UPDATED, 0};
	const TransactionId aborted[] = {491, LOCKED, 601, UPDATED, 0};
	const TransactionId none[] = {0};
	VdbVersion	v;

	UNIT_CHECK(freeze_multi(&v, 60, HEAP_XMAX_LOCK_ONLY, lockers) && has_no_xmax(&v),
			   "an old member, all have ended");
	UNIT_CHECK(!freeze_multi(&v, 60, HEAP_XMAX_LOCK_ONLY, young), "neither it nor a member is old");
	UNIT_CHECK(!freeze_multi(&v, 60, HEAP_XMAX_LOCK_ONLY, running), "a member is running");
	UNIT_CHECK(freeze_multi(&v, 40, HEAP_XMAX_LOCK_ONLY, young) && has_no_xmax(&v),
			   "itself is old");
	UNIT_CHECK(freeze_multi(&v, 60, 0, updated), "an updater that has committed");
	UNIT_CHECK(HeapTupleHeaderGetRawXmax(&v.hdr) == 600 && (v.hdr.t_infomask & HEAP_XMAX_BITS) == 0,
			   "... stays alone");
	UNIT_CHECK(vdb_tid_to_row(&v.hdr.t_ctid) == vdb_row_make(9, 9),
			   "... and so does the next version");
	UNIT_CHECK(freeze_multi(&v, 60, 0, aborted) && has_no_xmax(&v), "an updater that has not");
	UNIT_CHECK(!freeze_multi(&v, 60, HEAP_XMAX_LOCK_ONLY, none), "one without members, not old");
	UNIT_CHECK(freeze_multi(&v, 60, HEAP_XMAX_INVALID | HEAP_XMAX_LOCK_ONLY, lockers) &&
			   has_no_xmax(&v),
			   "hinted to be invalid, with an old member");
	UNIT_CHECK(!freeze_multi(&v, 60, HEAP_XMAX_INVALID | HEAP_XMAX_LOCK_ONLY, young),
			   "hinted to be invalid, without one");
	(void) freeze_multi(&v, 40, HEAP_XMAX_INVALID | HEAP_XMAX_LOCK_ONLY, lockers);
	UNIT_CHECK(!multi_asked, "members of one before the cutoff may be lost: not asked for");
}

/* What is left of a version, from OLDEST_XMIN and multixact 100 down. */
static VdbOldestLeft
left_of(const VdbVersion *version)
{
	VdbOldestLeft left = {OLDEST_XMIN, 100};

	vdb_freeze_note_left(&left, version);
	return left;
}

static void
test_left(void)
{
	const TransactionId pairs[] = {490, LOCKED, 300, LOCKED, 0};
	VdbVersion	v = make_version(VDB_IN_POOL, 700, 0, HEAP_XMIN_COMMITTED);

	UNIT_CHECK(left_of(&v).xid == 700, "xmin");
	v = make_version(VDB_IN_POOL, 1200, 0, HEAP_XMIN_COMMITTED);
	UNIT_CHECK(left_of(&v).xid == OLDEST_XMIN, "a younger one changes nothing");
	v = make_version(VDB_IN_POOL, 700, 0, HEAP_XMIN_FROZEN);
	UNIT_CHECK(left_of(&v).xid == OLDEST_XMIN, "a frozen one does not count");
	v = make_version(VDB_IN_POOL, 700, 0, HEAP_XMIN_INVALID);
	UNIT_CHECK(left_of(&v).xid == OLDEST_XMIN, "nor one that aborted");
	v = make_version(VDB_IN_STRIPE, 700, 0, HEAP_XMIN_COMMITTED);
	UNIT_CHECK(left_of(&v).xid == OLDEST_XMIN, "nor one of a stripe");
	v = make_version(VDB_IN_STRIPE, 700, 800, HEAP_XMIN_COMMITTED);
	UNIT_CHECK(left_of(&v).xid == 800, "whose xmax does");
	v = make_version(VDB_IN_POOL, 900, 800, HEAP_XMIN_COMMITTED | HEAP_XMAX_INVALID);
	UNIT_CHECK(left_of(&v).xid == 800, "an xmax counts that is hinted to be invalid");
	set_members(pairs);
	v = make_version(VDB_IN_POOL, 900, 70, HEAP_XMIN_COMMITTED | HEAP_XMAX_IS_MULTI);
	UNIT_CHECK(left_of(&v).xid == 300 && left_of(&v).multi == 70,
			   "a multixact, and its oldest member");
}

/* What was frozen says nothing any more that must be kept: freezing and noting agree. */
static void
test_agree(void)
{
	unit_seed(1);
	for (int i = 0; i < 100000; i++)
	{
		static const uint16 flags[] = {0, HEAP_XMAX_LOCK_ONLY, HEAP_XMAX_INVALID};
		TransactionId xmin = 100 + (TransactionId) unit_random_below(1200);
		TransactionId xmax = 100 + (TransactionId) unit_random_below(1200);
		uint8		place = unit_random_below(2) == 0 ? VDB_IN_POOL : VDB_IN_STRIPE;
		uint16		flag = flags[unit_random_below(3)];
		VdbVersion	v = make_version(place, xmin, xmax, HEAP_XMIN_COMMITTED | flag);
		bool		deleted = xmax != 0 && flag == 0 && TransactionIdDidCommit(xmax);

		(void) vdb_freeze_version(&limits, &v);
		if (deleted)
			continue;			/* dead to all, if it is as old: not a version to freeze */
		if (!UNIT_CHECK(left_of(&v).xid >= FREEZE_LIMIT,
						"xmin %u, xmax %u, flags %x", xmin, xmax, flag) ||
			!UNIT_CHECK(!vdb_freeze_version(&limits, &v), "once is enough"))
			break;
	}
}

int
main(void)
{
	unit_run("freezing xmin", test_xmin);
	unit_run("freezing a plain xmax", test_plain_xmax);
	unit_run("freezing multixacts", test_multi);
	unit_run("the oldest ids that are left", test_left);
	unit_run("nothing old is left of what was frozen", test_agree);
	return unit_finish();
}
