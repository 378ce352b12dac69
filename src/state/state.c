#include "state/state.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/checked.h"

#define NAME_SIZE        32
#define SHADOW_ALIGNMENT 64

static const uint8_t section_magic[4] = {'D', 'S', 'E', 'C'};

struct section_header {
	uint8_t magic[4];
	le32_t version;
	char kind[NAME_SIZE];
	char instance[NAME_SIZE];
	le64_t length; /* of the payload */
};
_Static_assert(sizeof(struct section_header) == 80, "section header as in docs/internals/state.md");

struct field_header {
	le32_t type;
	le32_t count;
};
_Static_assert(sizeof(struct field_header) == 8, "field header as in docs/internals/state.md");

static const uint8_t sizes[] = {
	[STATE_BOOL] = 1, [STATE_U8] = 1, [STATE_U16] = 2, [STATE_U32] = 4, [STATE_U64] = 8,
};

static bool kind_byte(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
}

static bool instance_byte(char c)
{
	return c > ' ' && c <= '~';
}

/* A name is `legal` bytes, then NUL bytes to the end of its 32. */
static bool name_valid(const char *name, bool (*legal)(char))
{
	size_t length = strnlen(name, NAME_SIZE);

	if (length == NAME_SIZE)
		return false;
	for (size_t i = 0; i < NAME_SIZE; i++)
		if (i < length ? !legal(name[i]) : name[i] != '\0')
			return false;
	return true;
}

/* Little-endian integer of `size` bytes; the host's own order does not matter. */
static void put_element(uint8_t *to, uint64_t value, unsigned size)
{
	for (unsigned i = 0; i < size; i++)
		to[i] = (uint8_t)(value >> (8 * i));
}

static uint64_t get_element(const uint8_t *from, unsigned size)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < size; i++)
		value |= (uint64_t)from[i] << (8 * i);
	return value;
}

static uint64_t read_host(const uint8_t *from, enum state_type type)
{
	uint16_t u16;
	uint32_t u32;
	uint64_t u64;

	switch (type) {
	case STATE_BOOL:
		return *from != 0;
	case STATE_U8:
		return *from;
	case STATE_U16:
		memcpy(&u16, from, sizeof u16);
		return u16;
	case STATE_U32:
		memcpy(&u32, from, sizeof u32);
		return u32;
	case STATE_U64:
		break;
	}
	memcpy(&u64, from, sizeof u64);
	return u64;
}

static void write_host(uint8_t *to, enum state_type type, uint64_t value)
{
	uint16_t u16 = (uint16_t)value;
	uint32_t u32 = (uint32_t)value;

	switch (type) {
	case STATE_BOOL:
	case STATE_U8:
		*to = (uint8_t)value;
		return;
	case STATE_U16:
		memcpy(to, &u16, sizeof u16);
		return;
	case STATE_U32:
		memcpy(to, &u32, sizeof u32);
		return;
	case STATE_U64:
		memcpy(to, &value, sizeof value);
		return;
	}
}

static uint64_t row_bytes(const struct state_field *field)
{
	return (uint64_t)field->count * sizes[field->type];
}

static uint32_t row_count(const struct state_field *field)
{
	return field->rows ? field->rows : 1;
}

/* Of the saved field, where rows follow each other. */
static uint64_t field_bytes(const struct state_field *field)
{
	return row_count(field) * row_bytes(field);
}

/* From the field's first byte in the object to its last. */
static uint64_t field_extent(const struct state_field *field)
{
	return (uint64_t)(row_count(field) - 1) * field->stride + row_bytes(field);
}

/* Where an element is in the object. */
static size_t element_offset(const struct state_field *field, uint32_t element)
{
	return field->offset + (size_t)(element / field->count) * field->stride +
	       (size_t)(element % field->count) * sizes[field->type];
}

static void check_descriptor(const struct state_descriptor *d)
{
	assert(d->oldest >= 1 && d->oldest <= d->version);
	for (uint32_t i = 0; i < d->field_count; i++)
		assert(checked_span(d->fields[i].offset, field_extent(&d->fields[i]), d->object_size));
}

void state_writer_init(struct state_writer *w)
{
	*w = (struct state_writer){0};
}

void state_writer_finish(struct state_writer *w)
{
	free(w->bytes);
	state_writer_init(w);
}

/* `size` fresh bytes at the end of the buffer, or NULL once anything has failed. */
static uint8_t *extend(struct state_writer *w, size_t size)
{
	uint64_t need, room;
	uint8_t *bytes;

	if (w->failed)
		return NULL;
	if (!checked_add(w->length, size, &need) || !checked_multiply(need, 2, &room)) {
		w->failed = -ENOMEM;
		return NULL;
	}
	if (need > w->room) {
		bytes = realloc(w->bytes, room);
		if (!bytes) {
			w->failed = -ENOMEM;
			return NULL;
		}
		w->bytes = bytes;
		w->room = room;
	}
	w->length = need;
	return w->bytes + need - size;
}

/* Appends a header whose length is filled in by end_section; returns where the section starts. */
static size_t begin_section(struct state_writer *w, const char *kind, const char *instance, uint32_t version)
{
	struct section_header header = {.version = le32_put(version)};
	size_t start = w->length;
	uint8_t *to;

	memcpy(header.magic, section_magic, sizeof header.magic);
	memcpy(header.kind, kind, strnlen(kind, NAME_SIZE));
	memcpy(header.instance, instance, strnlen(instance, NAME_SIZE));
	if (!kind[0] || !name_valid(header.kind, kind_byte) || !name_valid(header.instance, instance_byte))
		w->failed = w->failed ? w->failed : -EINVAL;
	to = extend(w, sizeof header);
	if (to)
		memcpy(to, &header, sizeof header);
	return start;
}

static void end_section(struct state_writer *w, size_t start)
{
	uint64_t whole = w->length - start;
	le64_t length = le64_put(whole - sizeof(struct section_header)), sum;
	uint8_t *to = extend(w, sizeof sum);

	if (!to)
		return;
	memcpy(w->bytes + start + offsetof(struct section_header, length), &length, sizeof length);
	sum = le64_put(XXH64(w->bytes + start, whole, 0));
	memcpy(to, &sum, sizeof sum);
}

static void save_field(struct state_writer *w, const struct state_field *field, const void *object)
{
	struct field_header header = {le32_put(field->type), le32_put(state_field_elements(field))};
	const uint8_t *from = object;
	unsigned size = sizes[field->type];
	uint8_t *to = extend(w, sizeof header + field_bytes(field));

	if (!to)
		return;
	memcpy(to, &header, sizeof header);
	to += sizeof header;
	for (uint32_t i = 0; i < state_field_elements(field); i++)
		put_element(to + (size_t)i * size, read_host(from + element_offset(field, i), field->type), size);
}

void state_save(struct state_writer *w, const struct state_descriptor *d, const char *instance, const void *object)
{
	size_t start = begin_section(w, d->kind, instance, d->version);

	check_descriptor(d);
	for (uint32_t i = 0; i < d->field_count; i++)
		save_field(w, &d->fields[i], object);
	end_section(w, start);
}

void state_save_bytes(struct state_writer *w, const char *kind, const char *instance, uint32_t version,
		      const void *bytes, size_t length)
{
	size_t start = begin_section(w, kind, instance, version);
	uint8_t *to = extend(w, length);

	if (to && length)
		memcpy(to, bytes, length);
	end_section(w, start);
}

void state_reader_init(struct state_reader *r, const void *bytes, size_t length)
{
	*r = (struct state_reader){.bytes = bytes, .length = length};
}

static int refuse(struct error *e, size_t at, const char *why)
{
	return error_set(e, ERROR_FAILED, -EBADMSG, "the saved state is damaged at byte %zu: %s", at, why);
}

static int check_header(const struct section_header *header, size_t at, struct error *e)
{
	if (memcmp(header->magic, section_magic, sizeof header->magic) != 0)
		return refuse(e, at, "no section starts there");
	if (!header->kind[0] || !name_valid(header->kind, kind_byte) ||
	    !name_valid(header->instance, instance_byte))
		return refuse(e, at, "the section's name has bytes that no name can have");
	return 0;
}

int state_next(struct state_reader *r, struct state_section *section, struct error *e)
{
	const uint8_t *start = r->length > r->at ? r->bytes + r->at : NULL;
	size_t left = r->length - r->at;
	struct section_header header;
	uint64_t length;
	le64_t sum;
	int code;

	if (!start)
		return 0;
	if (left < sizeof header + sizeof sum)
		return refuse(e, r->at, "the section is cut short");
	memcpy(&header, start, sizeof header);
	code = check_header(&header, r->at, e);
	if (code)
		return code;
	length = le64_get(header.length);
	if (length > left - sizeof header - sizeof sum)
		return refuse(e, r->at, "the section is longer than what is there");
	memcpy(&sum, start + sizeof header + length, sizeof sum);
	if (le64_get(sum) != XXH64(start, sizeof header + length, 0))
		return refuse(e, r->at, "the checksum is wrong");
	memcpy(section->kind, header.kind, sizeof section->kind);
	memcpy(section->instance, header.instance, sizeof section->instance);
	section->version = le32_get(header.version);
	section->payload = start + sizeof header;
	section->length = length;
	r->at += sizeof header + length + sizeof sum;
	return 1;
}

static int misfit(const struct state_section *section, const char *what, const char *why, struct error *e)
{
	return error_set(e, ERROR_FAILED, -EBADMSG, "the saved state of '%s' (%s) does not fit: %s%s%s",
			 section->instance, section->kind, what, *what ? ": " : "", why);
}

/* Reads one field at payload + *at into the shadow. */
static int load_field(const struct state_section *section, size_t *at, const struct state_field *field,
		      uint8_t *shadow, struct error *e)
{
	unsigned size = sizes[field->type];
	uint64_t need = sizeof(struct field_header) + field_bytes(field);
	struct field_header header;
	const uint8_t *from;

	if (!checked_span(*at, need, section->length))
		return misfit(section, field->name, "bytes are missing", e);
	memcpy(&header, section->payload + *at, sizeof header);
	if (le32_get(header.type) != field->type || le32_get(header.count) != state_field_elements(field))
		return misfit(section, field->name, "it has another type or length", e);
	from = section->payload + *at + sizeof header;
	for (uint32_t i = 0; i < state_field_elements(field); i++) {
		uint64_t value = get_element(from + (size_t)i * size, size);

		if (field->type == STATE_BOOL && value > 1)
			return misfit(section, field->name, "neither true nor false", e);
		write_host(shadow + element_offset(field, i), field->type, value);
	}
	*at += need;
	return 0;
}

static void load_fallback(const struct state_field *field, uint8_t *shadow)
{
	for (uint32_t i = 0; i < state_field_elements(field); i++)
		write_host(shadow + element_offset(field, i), field->type, field->fallback);
}

static int load_fields(const struct state_section *section, const struct state_descriptor *d, uint8_t *shadow,
		       struct error *e)
{
	size_t at = 0;

	for (uint32_t i = 0; i < d->field_count; i++) {
		const struct state_field *field = &d->fields[i];
		int code = 0;

		if (field->since > section->version)
			load_fallback(field, shadow);
		else
			code = load_field(section, &at, field, shadow, e);
		if (code)
			return code;
	}
	return at == section->length ? 0 : misfit(section, "", "bytes are left over", e);
}

static void copy_field(const struct state_field *field, uint8_t *object, const uint8_t *shadow)
{
	for (uint32_t row = 0; row < row_count(field); row++) {
		size_t at = field->offset + (size_t)row * field->stride;

		memcpy(object + at, shadow + at, row_bytes(field));
	}
}

static void free_shadow(uint8_t **shadow)
{
	free(*shadow);
}

int state_load(const struct state_section *section, const struct state_descriptor *d, void *object,
	       struct error *e)
{
	size_t room = (d->object_size + SHADOW_ALIGNMENT - 1) & ~(size_t)(SHADOW_ALIGNMENT - 1);
	__attribute__((cleanup(free_shadow))) uint8_t *shadow = NULL;
	int code;

	check_descriptor(d);
	if (strncmp(section->kind, d->kind, sizeof section->kind) != 0)
		return misfit(section, "wanted kind", d->kind, e);
	if (section->version < d->oldest || section->version > d->version)
		return error_set(e, ERROR_FAILED, -EBADMSG,
				 "the saved state of '%s' (%s) has version %" PRIu32
				 "; this program reads %" PRIu32 " to %" PRIu32,
				 section->instance, section->kind, section->version, d->oldest, d->version);
	shadow = aligned_alloc(SHADOW_ALIGNMENT, room ? room : SHADOW_ALIGNMENT);
	if (!shadow)
		return error_set(e, ERROR_FAILED, -ENOMEM, "no memory to load the state of '%s'",
				 section->instance);
	memcpy(shadow, object, d->object_size);
	code = load_fields(section, d, shadow, e);
	if (!code && d->validate)
		code = d->validate(shadow, e);
	if (code)
		return code;
	/* Only the table's fields: the rest may hold locks that other threads use. */
	for (uint32_t i = 0; i < d->field_count; i++)
		copy_field(&d->fields[i], object, shadow);
	return 0;
}
