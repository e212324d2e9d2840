/*-------------------------------------------------------------------------
 *
 * exec_group.c
 *	  Find groups of rows by the values of the grouping columns.
 *
 * A group is found in two stages.  First, a row is compared with an earlier row of
 * its slice by the bits of their Datums: the same bits are the same value, and a
 * dictionary gives the same pointer for the same value.  If no such row is found,
 * the row is looked up in a hash table, which compares by value.  It compares bits
 * for types whose equality is that of their bits, bytes for text and bytea, and
 * calls the type's own functions for all others (floats with their two zeroes,
 * numeric, collations for which different strings are equal).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/detoast.h"
#include "common/hashfn.h"
#include "fmgr.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "base/vdb_compat.h"
#include "exec/exec_private.h"

/* How a column's values are compared. */
typedef enum KeyKind
{
	KEY_BITS,						/* by-value type, equal if the bits are */
	KEY_BYTES,						/* varlena, equal if the bytes are */
	KEY_FUNCTION					/* by the type's functions */
} KeyKind;

/* A column of a set of groups. */
typedef struct GroupKey
{
	KeyKind		kind;
	bool		byval;
	int16		typlen;
	uint64		mask;				/* KEY_BITS: the bits that are compared; leaves out those of
									 * sign extension */
	Oid			collation;
	FmgrInfo	equal;				/* KEY_FUNCTION */
	FmgrInfo	hash;				/* KEY_FUNCTION */
} GroupKey;

/* Entry of the hash table; the key is the group itself. */
typedef struct GroupEntry
{
	VdbGroup   *group;
	uint32		hash;
	char		status;
} GroupEntry;

/* See exec_private.h. */
struct VdbGroups
{
	int			ncolumns;
	int			nkeys;				/* grouping columns, which come first; the rest are carried */
	GroupKey   *keys;				/* all columns */
	Size		nulls_at;			/* offset in a group's memory of bool[ncolumns] */
	Size		values_at;			/* offset of Datum[ncolumns] */
	Size		states_at;			/* offset of the aggregates' states */
	Size		group_bytes;		/* size of a group */
	MemoryContext context;			/* of groups */
	MemoryContext scratch;			/* for what types' functions leave behind */
	VdbGroupInit init;
	void	   *init_arg;
	struct groups_hash *table;		/* NULL until needed */
	VdbGroup   *first;				/* groups in order of appearance */
	VdbGroup   *last;
	uint64		count;				/* number of groups */
	const VdbInput *inputs;			/* column values, by row */
	int			row;				/* the row that is looked up */
	uint16		memo_row[VDB_MEMO_SLOTS];	/* a row of the inputs by the hash of its bits */
	VdbGroup   *memo_group[VDB_MEMO_SLOTS]; /* and its group */
};

static bool probe_equals(VdbGroups *groups, const VdbGroup *group);

/*
 * The hash table of groups.  A lookup has a null key, which stands for the current
 * row of private_data (a VdbGroups).  While the table grows, nothing is compared.
 */
#define SH_PREFIX		groups
#define SH_ELEMENT_TYPE GroupEntry
#define SH_KEY_TYPE		VdbGroup *
#define SH_KEY			group
#define SH_HASH_KEY(tb, key) ((key)->hash)
#define SH_EQUAL(tb, a, b) probe_equals((VdbGroups *) (tb)->private_data, (b) == NULL ? (a) : (b))
#define SH_SCOPE		static inline
#define SH_STORE_HASH
#define SH_GET_HASH(tb, a) ((a)->hash)
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

/* ---- making ---- */

/* Return true if a by-value type's equality function compares bits. */
static bool
equal_by_bits(Oid function)
{
	switch (function)
	{
		case F_BOOLEQ:
		case F_CHAREQ:
		case F_INT2EQ:
		case F_INT4EQ:
		case F_INT8EQ:
		case F_OIDEQ:
		case F_DATE_EQ:
		case F_TIME_EQ:
		case F_TIMESTAMP_EQ:
		case F_TIMESTAMPTZ_EQ:
		case F_CASH_EQ:
		case F_ENUM_EQ:
			return true;
		default:
			return false;
	}
}

/* Choose how a grouping column's values are compared. */
static KeyKind
key_kind(const VdbGroupColumn *column, Oid function, bool byval)
{
	if (byval && equal_by_bits(function))
		return KEY_BITS;
	if (function == F_BYTEAEQ)
		return KEY_BYTES;
	/* without a collation (those of its parts conflict) hashing a row raises an error */
	if (function == F_TEXTEQ && OidIsValid(column->collation) &&
		get_collation_isdeterministic(column->collation))
		return KEY_BYTES;
	return KEY_FUNCTION;
}

/* Fill in a key from the description of its column. */
static void
make_key(GroupKey *key, const VdbGroupColumn *column)
{
	RegProcedure left;
	RegProcedure right;
	Oid			function;

	get_typlenbyval(column->type, &key->typlen, &key->byval);
	key->mask = key->byval &&
		key->typlen < 8 ? (UINT64CONST(1) << (8 * key->typlen)) - 1 : PG_UINT64_MAX;
	key->collation = column->collation;
	key->kind = KEY_FUNCTION;
	if (!OidIsValid(column->eq_op))
		return;
	function = get_opcode(column->eq_op);
	key->kind = key_kind(column, function, key->byval);
	if (key->kind != KEY_FUNCTION)
		return;
	if (!get_op_hash_functions(column->eq_op, &left, &right))
		elog(ERROR, "could not find hash function for hash operator %u", column->eq_op);
	fmgr_info(function, &key->equal);
	fmgr_info(right, &key->hash);
}

VdbGroups *
vdb_groups_create(const VdbGroupColumn *columns, int ncolumns, Size state_bytes,
				  MemoryContext context, MemoryContext scratch, VdbGroupInit init, void *init_arg)
{
	VdbGroups  *groups = palloc0(sizeof(VdbGroups));

	groups->ncolumns = ncolumns;
	groups->keys = palloc0(sizeof(GroupKey) * Max(ncolumns, 1));
	for (int i = 0; i < ncolumns; i++)
	{
		make_key(&groups->keys[i], &columns[i]);
		if (OidIsValid(columns[i].eq_op))
		{
			Assert(groups->nkeys == i);
			groups->nkeys++;
		}
	}
	groups->values_at = MAXALIGN(sizeof(VdbGroup));
	groups->states_at = groups->values_at + MAXALIGN(sizeof(Datum) * ncolumns);
	groups->nulls_at = groups->states_at + MAXALIGN(state_bytes);
	groups->group_bytes = groups->nulls_at + sizeof(bool) * ncolumns;
	groups->context = context;
	groups->scratch = scratch;
	groups->init = init;
	groups->init_arg = init_arg;
	return groups;
}

void
vdb_groups_reset(VdbGroups *groups)
{
	groups->table = NULL;		/* its memory was freed with the context */
	groups->first = groups->last = NULL;
	groups->count = 0;
	groups->inputs = NULL;		/* so were the groups of remembered rows */
}

/* ---- a group's parts ---- */

/* Return the array of a group's column values. */
static inline Datum *
group_values(const VdbGroups *groups, const VdbGroup *group)
{
	return (Datum *) ((char *) group + groups->values_at);
}

/* Return the array of a group's null flags. */
static inline bool *
group_nulls(const VdbGroups *groups, const VdbGroup *group)
{
	return (bool *) ((char *) group + groups->nulls_at);
}

char *
vdb_group_states(const VdbGroups *groups, VdbGroup *group)
{
	return (char *) group + groups->states_at;
}

Datum
vdb_group_value(const VdbGroups *groups, VdbGroup *group, int column, bool *isnull)
{
	Assert(column >= 0 && column < groups->ncolumns);
	*isnull = group_nulls(groups, group)[column];
	return group_values(groups, group)[column];
}

VdbGroup *
vdb_groups_first(const VdbGroups *groups)
{
	return groups->first;
}

/* ---- by value ---- */

/* Hash the bits of a by-value key. */
static inline uint32
hash_bits(uint64 bits)
{
	return (uint32) (vdb_mix_bits(bits) >> 32);
}

/* Hash the bytes of a varlena key, detoasted if necessary. */
static uint32
hash_bytes_of(Datum value)
{
	struct varlena *image = pg_detoast_datum_packed((struct varlena *) DatumGetPointer(value));
	uint32		hash = hash_bytes((unsigned char *) VARDATA_ANY(image), VARSIZE_ANY_EXHDR(image));

	if ((Pointer) image != DatumGetPointer(value))
		pfree(image);
	return hash;
}

/* Hash a value by its kind of key. */
static uint32
hash_value(GroupKey *key, Datum value)
{
	switch (key->kind)
	{
		case KEY_BITS:
			return hash_bits((uint64) value & key->mask);
		case KEY_BYTES:
			return hash_bytes_of(value);
		default:
			return DatumGetUInt32(FunctionCall1Coll(&key->hash, key->collation, value));
	}
}

/*
 * Return true if a stored value, which may be compressed, has the same bytes as a row's value.  The
 * same compressed image is the same value, and need not be decompressed.
 */
static bool
same_as_stored(const struct varlena *stored, Datum value)
{
	struct varlena *image;
	bool		same;

	if (!VARATT_IS_COMPRESSED(stored))
		return vdb_same_bytes(value, stored);
	if (VARSIZE_ANY(DatumGetPointer(value)) == VARSIZE(stored) &&
		memcmp(DatumGetPointer(value), stored, VARSIZE(stored)) == 0)
		return true;
	image = pg_detoast_datum_packed(unconstify(struct varlena *, stored));
	same = vdb_same_bytes(value, image);
	pfree(image);
	return same;
}

/* Compare a value stored in a group (a), which may be compressed, with a row's value (b). */
static bool
values_equal(GroupKey *key, Datum a, Datum b)
{
	switch (key->kind)
	{
		case KEY_BITS:
			return (((uint64) a ^ (uint64) b) & key->mask) == 0;
		case KEY_BYTES:
			return same_as_stored((struct varlena *) DatumGetPointer(a), b);
		default:
			return DatumGetBool(FunctionCall2Coll(&key->equal, key->collation, a, b));
	}
}

/* Return true if the current row belongs to the group. */
static bool
probe_equals(VdbGroups *groups, const VdbGroup *group)
{
	const Datum *values = group_values(groups, group);
	const bool *nulls = group_nulls(groups, group);

	for (int i = 0; i < groups->nkeys; i++)
	{
		const VdbInput *input = &groups->inputs[i];

		if (nulls[i] != input->nulls[groups->row])
			return false;
		if (!nulls[i] && !values_equal(&groups->keys[i], values[i], input->values[groups->row]))
			return false;
	}
	return true;
}

/* Hash the current row's grouping columns. */
static uint32
probe_hash(VdbGroups *groups)
{
	uint32		hash = 0;

	for (int i = 0; i < groups->nkeys; i++)
	{
		const VdbInput *input = &groups->inputs[i];
		uint32		one = input->nulls[groups->row] ? 0 :
			hash_value(&groups->keys[i], input->values[groups->row]);

		hash = hash_combine(hash, one);
	}
	return murmurhash32(hash);
}

/*
 * Copy a value into the current context, for a group.  A compressed value stays compressed, in
 * memory and in the partial result.
 */
static Datum
keep_key_value(const GroupKey *key, Datum value)
{
	if (key->byval)
		return value;
	if (key->typlen == -1)
	{
		struct varlena *image = (struct varlena *) DatumGetPointer(value);

		if (VARATT_IS_EXTERNAL(image))
			return PointerGetDatum(detoast_external_attr(image));
	}
	return datumCopy(value, false, key->typlen);
}

/* Make a group of the current row's values, and append it to the list. */
static VdbGroup *
new_group(VdbGroups *groups, uint32 hash)
{
	MemoryContext old = MemoryContextSwitchTo(groups->context);
	VdbGroup   *group = palloc0(groups->group_bytes);

	group->hash = hash;
	for (int i = 0; i < groups->ncolumns; i++)
	{
		const VdbInput *input = &groups->inputs[i];
		bool		isnull = input->nulls[groups->row];

		group_nulls(groups, group)[i] = isnull;
		if (!isnull)
			group_values(groups, group)[i] = keep_key_value(&groups->keys[i],
															input->values[groups->row]);
	}
	groups->init(groups->init_arg, vdb_group_states(groups, group));
	if (groups->last != NULL)
		groups->last->next = group;
	else
		groups->first = group;
	groups->last = group;
	groups->count++;
	MemoryContextSwitchTo(old);
	return group;
}

/* Find the current row's group in the hash table; it is made if it is new. */
static VdbGroup *
find_by_value(VdbGroups *groups)
{
	uint32		hash = probe_hash(groups);
	GroupEntry *entry;
	bool		found;

	if (groups->table == NULL)
		groups->table = groups_create(groups->context, 64, groups);
	entry = groups_insert_hash(groups->table, NULL, hash, &found);
	if (!found)
	{
		entry->group = NULL;
		entry->hash = hash;
		entry->group = new_group(groups, hash);
	}
	return entry->group;
}

/* ---- by bits ---- */

/* Hash the bits of a row's grouping columns to a slot of memo_row[]. */
static inline uint32
memo_slot(const VdbInput *inputs, int ncolumns, int row)
{
	uint64		bits = 0;

	for (int i = 0; i < ncolumns; i++)
		bits = vdb_mix_bits(bits ^ (uint64) inputs[i].values[row] ^ inputs[i].nulls[row]);
	return (uint32) (bits >> 56);
}

/* Return true if two rows have the same bits in all grouping columns. */
static inline bool
same_bits(const VdbInput *inputs, int ncolumns, int row, int other)
{
	for (int i = 0; i < ncolumns; i++)
	{
		if (inputs[i].values[row] != inputs[i].values[other] ||
			inputs[i].nulls[row] != inputs[i].nulls[other])
			return false;
	}
	return true;
}

VdbGroup *
vdb_groups_only(VdbGroups *groups)
{
	Assert(groups->ncolumns == 0);
	if (groups->first == NULL)
		(void) new_group(groups, 0);
	return groups->first;
}

void
vdb_groups_begin(VdbGroups *groups, const VdbInput *inputs)
{
	groups->inputs = inputs;
	memset(groups->memo_row, 0xFF, sizeof(groups->memo_row));
}

/* Find the group of a row of the inputs.  'scratch' must be the current memory context. */
static VdbGroup *
find_row(VdbGroups *groups, int row)
{
	uint32		slot = memo_slot(groups->inputs, groups->nkeys, row);
	uint16		other = groups->memo_row[slot];

	StaticAssertDecl(VDB_MEMO_SLOTS == 1 << 8, "memo_slot gives 8 bits");
	if (other == VDB_MEMO_NONE || !same_bits(groups->inputs, groups->nkeys, row, other))
	{
		groups->row = row;
		groups->memo_group[slot] = find_by_value(groups);
		groups->memo_row[slot] = (uint16) row;
		vdb_scratch_trim(groups->scratch);
	}
	return groups->memo_group[slot];
}

int
vdb_groups_find(VdbGroups *groups, const uint16 *at, int n, Size limit, VdbGroup **found)
{
	MemoryContext old = MemoryContextSwitchTo(groups->scratch);
	bool		full = false;
	int			i = 0;

	Assert(n > 0 && n <= VDB_LB_ROWS);
	Assert(n > 0 && n <= VDB_LB_ROWS && groups->inputs != NULL);
	while (i < n && !full)
	{
		uint64		count = groups->count;

		found[i] = find_row(groups, at[i]);
		i++;
		full = groups->count != count &&
			MemoryContextMemAllocated(groups->context, true) > limit;
	}
	MemoryContextSwitchTo(old);
	return i;
}
