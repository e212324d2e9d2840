/*
 * codec_table.c
 *	  Encodings by number, and their names.
 */
#include "codec_port.h"

#include "codec_private.h"

static const VdbCodecMethods *const vdb_codec_table[] = {
	[VDB_ENC_PLAIN] = &vdb_codec_plain,
	[VDB_ENC_CONSTANT] = &vdb_codec_constant,
	[VDB_ENC_RLE] = &vdb_codec_rle,
	[VDB_ENC_FOR] = &vdb_codec_for,
	[VDB_ENC_DELTA] = &vdb_codec_delta,
	[VDB_ENC_DICT] = &vdb_codec_dict,
	[VDB_ENC_ALLNULL] = &vdb_codec_allnull,
	[VDB_ENC_PLANES] = &vdb_codec_planes
};

StaticAssertDecl(lengthof(vdb_codec_table) == VDB_ENC_COUNT,
				 "every encoding has an entry");

/* Return the methods of an encoding, or NULL if the number is unknown. */
const VdbCodecMethods *
vdb_codec_methods(int encoding)
{
	const VdbCodecMethods *methods;

	if (encoding < 0 || encoding >= VDB_ENC_COUNT)
		return NULL;
	methods = vdb_codec_table[encoding];
	Assert(methods->number == encoding);
	return methods;
}

/* Return the name of an encoding, or NULL if the number is unknown. */
const char *
vdb_codec_encoding_name(int encoding)
{
	const VdbCodecMethods *methods = vdb_codec_methods(encoding);

	return methods == NULL ? NULL : methods->name;
}

/* Return the name of an encoding, with "+zstd" appended if zstd was used. */
const char *
vdb_codec_label(int encoding, bool zstd)
{
	const VdbCodecMethods *methods = vdb_codec_methods(encoding);

	if (methods == NULL)
		return NULL;
	return zstd ? methods->name_zstd : methods->name;
}

/* Return the number of an encoding by its name, or -1 if there is none. */
int
vdb_codec_encoding_number(const char *name)
{
	for (int encoding = 0; encoding < VDB_ENC_COUNT; encoding++)
	{
		if (strcmp(vdb_codec_table[encoding]->name, name) == 0)
			return encoding;
	}
	return -1;
}

/* Return a description of a status, as a clause of an error message. */
const char *
vdb_codec_status_text(VdbCodecStatus status)
{
	switch (status)
	{
		case VDB_CODEC_OK:
			return "ok";
		case VDB_CODEC_TRUNCATED:
			return "vector is cut short";
		case VDB_CODEC_CORRUPT:
			return "vector contradicts itself";
		case VDB_CODEC_VERSION:
			return "vector has an unknown format version or encoding";
		case VDB_CODEC_BAD_ZSTD:
			return "vector cannot be decompressed";
		case VDB_CODEC_BAD_CRC:
			return "a piece of the vector has another checksum than expected";
		case VDB_CODEC_NO_MEMORY:
			return "out of memory for a vector";
		case VDB_CODEC_TOO_BIG:
			return "vector has too many bytes";
		case VDB_CODEC_BAD_CALL:
			return "vector is of another kind or encoding than asked for";
	}
	return "unknown vector status";
}
