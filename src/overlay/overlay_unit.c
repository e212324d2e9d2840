/*-------------------------------------------------------------------------
 *
 * overlay_unit.c
 *	  What the stubs of a unit say: which one counts, where a new one goes.
 *
 * Nothing is stored here.  The caller holds the LB's block lock.
 *
 * The last used stub that names a row counts for it.  A mass stub names several
 * rows of one window of VDB_MASS_ROWS, of which it says the same: that is what most
 * deletes and locks of whole tables need.  So every row without a next
 * version gets a mass stub, be it of one row, and a row is added to one that says the
 * same already, by one bit.
 *
 * That bit may survive the record that was to set it, as any store of a stub
 * may.  It then names a row more under the xmax for which the bit was set, and that
 * xmax never committed: all rows of a mass stub share the status of
 * one (incarnation, xid), or of a multixact, whose records are flushed.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "port/pg_bitutils.h"

#include "overlay/overlay_internal.h"

/* Does a stub, used or not, say something of the row? */
static inline bool
names_row(const VdbStub *stub, uint8 index)
{
	if ((stub->flags & VDB_STUB_USED) == 0)
		return false;
	if ((stub->flags & VDB_STUB_MASS) == 0)
		return stub->index == index;
	return index >= stub->index && index - stub->index < VDB_MASS_ROWS &&
		((vdb_mass_rows(stub) >> (index - stub->index)) & 1) != 0;
}

/* The place behind the unit's last stub: 0 .. capacity. */
int
vdb_unit_used(const VdbOverlayUnit *unit)
{
	int			n = unit->capacity;

	while (n > 0 && (vdb_overlay_stub_at(unit, n - 1)->flags & VDB_STUB_USED) == 0)
		n--;
	return n;
}

/* The place of the stub that counts for a row, or -1. */
int
vdb_unit_find(const VdbOverlayUnit *unit, uint8 index)
{
	for (int i = unit->capacity - 1; i >= 0; i--)
		if (names_row(vdb_overlay_stub_at(unit, i), index))
			return i;
	return -1;
}

/* ---- the two forms of a stub ---- */

/*
 * From what callers deal with, a stub of one row, to what is stored: a mass
 * stub unless there is a next version.  Marked as used.
 */
VdbStub
vdb_stub_pack(const VdbStub *stub, VdbLogicalBlock lb)
{
	VdbStub		packed = *stub;
	int			bit = stub->index % VDB_MASS_ROWS;

	Assert((stub->flags & VDB_STUB_MASS) == 0);
	packed.flags |= VDB_STUB_USED;
	if ((stub->flags & VDB_STUB_MOVED) || stub->next_lb != lb || stub->next_index != stub->index)
		return packed;
	packed.flags |= VDB_STUB_MASS;
	packed.index = stub->index - bit;
	packed.next_lb = bit < 32 ? (uint32) 1 << bit : 0;
	packed.next_index = bit < 32 ? 0 : 1 << (bit - 32);
	return packed;
}

/* And back: what a stored stub says of one of its rows. */
VdbStub
vdb_stub_unpack(const VdbStub *stored, VdbLogicalBlock lb, uint8 index)
{
	VdbStub		stub = *stored;

	if (stub.flags & VDB_STUB_MASS)
	{
		stub.flags &= ~VDB_STUB_MASS;
		stub.index = index;
		stub.next_index = index;
		stub.next_lb = lb;
	}
	return stub;
}

/* Two mass stubs that differ in their rows only? */
static inline bool
same_mass(const VdbStub *a, const VdbStub *b)
{
	return (a->flags & VDB_STUB_MASS) != 0 && a->flags == b->flags && a->index == b->index &&
		a->xmax == b->xmax && a->xmax_incarnation == b->xmax_incarnation &&
		a->cid == b->cid && a->infomask == b->infomask && a->infomask2 == b->infomask2;
}

/* ---- where a new stub goes ---- */

/*
 * May the stub that counts for a row be overwritten in place?  A crash that loses the
 * record may leave the old first word with (part of) the new rest, and
 * that must read as the old stub or as one that never happened.  So: where the
 * old one says by itself that it is void, or where both are of one
 * transaction, which is lost with the record.  And only where both are of one form and
 * name the same row and no other: neither may a bitmap be read as a next
 * version, nor may a row lose its stub.
 */
static bool
may_overwrite(const VdbStub *old, const VdbStub *new)
{
	if ((old->flags & VDB_STUB_MASS) != (new->flags & VDB_STUB_MASS) ||
		((old->flags & VDB_STUB_MASS) && vdb_mass_rows(old) != vdb_mass_rows(new)))
		return false;
	if ((old->infomask & HEAP_XMAX_INVALID) != 0)
		return true;
	return ((old->infomask | new->infomask) & HEAP_XMAX_IS_MULTI) == 0 &&
		old->xmax == new->xmax && old->xmax_incarnation == new->xmax_incarnation;
}

/*
 * The place for a row's new stub, packed.  *joins: there stands a mass stub to
 * which the row is to be added; no stub behind it names the row.  -1: the unit is full.
 */
int
vdb_unit_place_for(const VdbOverlayUnit *unit, uint8 index, const VdbStub *packed, bool *joins)
{
	const int	used = vdb_unit_used(unit);

	*joins = false;
	for (int i = used - 1; i >= 0; i--)
	{
		const VdbStub *stub = vdb_overlay_stub_at(unit, i);

		if (same_mass(stub, packed))
		{
			*joins = true;
			return i;
		}
		if (names_row(stub, index))
		{
			if (may_overwrite(stub, packed))
				return i;
			break;
		}
	}
	return used < unit->capacity ? used : -1;
}

/* ---- views and images ---- */

static inline void
view_row(VdbOverlayView *view, const VdbStub *stub, VdbLogicalBlock lb, uint8 index)
{
	int16	   *at = &view->stub_at[index];

	if (vdb_rowset_has(view->deleted, index))
		return;
	if (*at < 0)
		*at = view->nstubs++;
	view->stubs[*at] = vdb_stub_unpack(stub, lb, index);
}

/* Fill the view of a unit; NULL: of none.  Every xmax as it stands. */
void
vdb_unit_view(const VdbOverlayUnit *unit, VdbLogicalBlock lb, VdbOverlayView *view)
{
	view->nstubs = 0;
	vdb_rowset_fill(view->deleted, false);
	memset(view->stub_at, -1, sizeof(view->stub_at));
	if (unit != NULL)
	{
		memcpy(view->deleted, unit->deleted, sizeof(view->deleted));
		for (int i = 0; i < unit->capacity; i++)
		{
			const VdbStub *stub = vdb_overlay_stub_at(unit, i);

			if ((stub->flags & VDB_STUB_USED) == 0)
				continue;
			if ((stub->flags & VDB_STUB_MASS) == 0)
				view_row(view, stub, lb, stub->index);
			else
				for (uint64 rows = vdb_mass_rows(stub); rows != 0; rows &= rows - 1)
					view_row(view, stub, lb, stub->index + pg_rightmost_one_pos64(rows));
		}
	}
	view->any = view->nstubs > 0 || !vdb_rowset_is_empty(view->deleted);
}

/* An image of no stubs yet.  It gets its class when it is written. */
void
vdb_image_init(VdbUnitImage *image, const VdbTableRef *ref, VdbLogicalBlock lb,
			   const VdbRowSet deleted)
{
	memset(image, 0, sizeof(*image));
	image->header.lb = lb;
	image->header.table_slot = ref->slot;
	image->header.table_generation = ref->generation;
	memcpy(image->header.deleted, deleted, sizeof(image->header.deleted));
}

/*
 * Add a row's stub to an image that names the row nowhere yet: to a mass stub
 * that says the same, or in a place of its own.  What says nothing (see
 * vdb_header_needs_stub) is left out.
 */
void
vdb_image_add(VdbUnitImage *image, int *nstubs, const VdbStub *stub)
{
	VdbStub		packed = vdb_stub_pack(stub, image->header.lb);

	if ((stub->infomask & HEAP_XMAX_INVALID) && !(stub->infomask & HEAP_COMBOCID))
		return;
	if (packed.flags & VDB_STUB_MASS)
		for (int i = *nstubs - 1; i >= 0; i--)
		{
			VdbStub    *old = vdb_image_stub(image, i);

			if (!same_mass(old, &packed))
				continue;
			old->next_lb |= packed.next_lb;
			old->next_index |= packed.next_index;
			return;
		}
	Assert(*nstubs < VDB_LB_ROWS);
	*vdb_image_stub(image, (*nstubs)++) = packed;
}
