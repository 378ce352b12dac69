/*
 * State descriptors: each field of a device's (or a hart's) state is named once, in one table, which serves
 * snapshot files, migration streams and inspection.
 *
 * A saved object is one section: kind, instance name, version, fields, checksum. Fields are stored in the
 * order of the table, each with its type and count, little-endian. An importer refuses a section that it does not
 * know, one of a newer version, one with bytes left over or missing, and one whose checksum is
 * wrong; it loads into a shadow copy, lets the object's own `validate` judge it, and only then changes the object.
 *
 * The byte format is in docs/internals/state.md.
 */
#ifndef DOPPEL_STATE_STATE_H
#define DOPPEL_STATE_STATE_H

#include "base/error.h"
#include "base/types.h"

enum state_type { STATE_BOOL, STATE_U8, STATE_U16, STATE_U32, STATE_U64 };

struct state_field {
	const char *name;
	uint32_t offset; /* of the first element in the object */
	enum state_type type;
	uint32_t count; /* elements, consecutive in the object; 1 for a scalar */
	/* A member of an array of structs: so many rows of `count` elements, a row every `stride` bytes. 0: one row. */
	uint32_t rows, stride;
	uint32_t since; /* first version that has the field; an older section leaves `fallback` in it */
	uint64_t fallback;
};

struct state_descriptor {
	const char *kind; /* "uart16550": at most 31 bytes of [a-z0-9._-] */
	uint32_t version; /* from 1; raised with each change of the table */
	uint32_t oldest;  /* oldest version that can still be loaded */
	uint32_t object_size;
	const struct state_field *fields;
	uint32_t field_count;
	/* Optional. Judges a loaded shadow of the object before anything is changed: -EINVAL and a message refuses it.
	 * The shadow's fields outside the table are those of the live object. */
	int (*validate)(const void *shadow, struct error *e);
};

/* Table entries: STATE_FIELD(struct uart, lcr, STATE_U8) for a scalar or an array of scalars. */
#define STATE_FIELD(type_, member, state_type_) STATE_FIELD_SINCE(type_, member, state_type_, 1, 0)
#define STATE_FIELD_SINCE(type_, member, state_type_, since_, fallback_)                                   \
	{                                                                                                  \
		.name = #member, .offset = offsetof(type_, member), .type = (state_type_),                 \
		.count = (uint32_t)(sizeof(((type_ *)0)->member) / STATE_SIZE_OF(state_type_)),            \
		.since = (since_), .fallback = (fallback_),                                                \
	}
/* The member of every struct in an array: STATE_FIELD_EACH(struct net, queues, size, STATE_U16). */
#define STATE_FIELD_EACH(type_, array, member, state_type_)                                                \
	{                                                                                                  \
		.name = #array "." #member, .offset = offsetof(type_, array[0].member),                    \
		.type = (state_type_),                                                                     \
		.count = (uint32_t)(sizeof(((type_ *)0)->array[0].member) / STATE_SIZE_OF(state_type_)),   \
		.rows = (uint32_t)(sizeof(((type_ *)0)->array) / sizeof(((type_ *)0)->array[0])),          \
		.stride = (uint32_t)sizeof(((type_ *)0)->array[0]), .since = 1,                            \
	}
#define STATE_SIZE_OF(t)                                                                                   \
	((t) == STATE_BOOL || (t) == STATE_U8 ? 1u : (t) == STATE_U16 ? 2u : (t) == STATE_U32 ? 4u : 8u)

/* Elements of a field in all. */
static inline uint32_t state_field_elements(const struct state_field *field)
{
	return field->count * (field->rows ? field->rows : 1);
}

/* A growing buffer that sections are appended to. state_writer_finish releases it. */
struct state_writer {
	uint8_t *bytes;
	size_t length, room;
	int failed; /* 0 or the first negative errno: later calls do nothing, so callers check once at the end */
};

void state_writer_init(struct state_writer *w);
void state_writer_finish(struct state_writer *w);

/* Appends one section for `object`. `instance` tells objects of one kind apart ("hart0"). */
void state_save(struct state_writer *w, const struct state_descriptor *d, const char *instance,
		const void *object);
/* Appends a section of raw bytes under a kind of its own (guest memory pages, a FIFO). */
void state_save_bytes(struct state_writer *w, const char *kind, const char *instance, uint32_t version,
		      const void *bytes, size_t length);

/* A cursor over sections held in memory; the bytes stay the caller's and are treated as hostile. */
struct state_reader {
	const uint8_t *bytes;
	size_t length, at;
};

struct state_section {
	char kind[32];
	char instance[32];
	uint32_t version;
	const uint8_t *payload; /* points into the reader's bytes */
	size_t length;
};

void state_reader_init(struct state_reader *r, const void *bytes, size_t length);
/* The next section, its checksum verified: 1, 0 at the clean end, or -EBADMSG with a message. */
MUST_USE int state_next(struct state_reader *r, struct state_section *section, struct error *e);
/* Loads a section into `object`; kind and every byte must fit, else -EBADMSG (or what validate
 * said) and the object is untouched. */
MUST_USE int state_load(const struct state_section *section, const struct state_descriptor *d, void *object,
			struct error *e);

#endif
