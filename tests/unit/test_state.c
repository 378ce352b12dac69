#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "state/state.h"

struct toy {
	uint32_t outside; /* not saved */
	uint8_t bytes[3];
	bool flags[2];
	uint16_t half;
	uint32_t words[2];
	uint64_t big;
	uint8_t index;
};

static int validate(const void *shadow, struct error *e)
{
	const struct toy *toy = shadow;

	if (toy->index > 2 || toy->outside != 42)
		return error_set(e, ERROR_FAILED, -EINVAL, "index %u, outside %u", toy->index, toy->outside);
	return 0;
}

static const struct state_field fields[] = {
	STATE_FIELD(struct toy, bytes, STATE_U8), STATE_FIELD(struct toy, flags, STATE_BOOL),
	STATE_FIELD(struct toy, half, STATE_U16), STATE_FIELD(struct toy, words, STATE_U32),
	STATE_FIELD(struct toy, big, STATE_U64),  STATE_FIELD(struct toy, index, STATE_U8),
};

static const struct state_descriptor toy_state = {
	.kind = "toy",
	.version = 1,
	.oldest = 1,
	.object_size = sizeof(struct toy),
	.fields = fields,
	.field_count = ARRAY_SIZE(fields),
	.validate = validate,
};

static const struct toy sample = {
	.outside = 42,
	.bytes = {1, 2, 3},
	.flags = {true, false},
	.half = 0x1234,
	.words = {0x89abcdef, 7},
	.big = UINT64_C(0xfedcba9876543210),
	.index = 2,
};

/* Header, six fields with headers of 8 and 3 + 2 + 2 + 8 + 8 + 1 bytes, checksum. */
#define PAYLOAD_SIZE (6 * 8 + 24)
#define SECTION_SIZE (80 + PAYLOAD_SIZE + 8)

static struct state_writer writer;

static int setup(void **state)
{
	(void)state;
	state_writer_init(&writer);
	state_save(&writer, &toy_state, "toy0", &sample);
	return writer.failed;
}

static int teardown(void **state)
{
	(void)state;
	state_writer_finish(&writer);
	return 0;
}

static struct state_section only_section(void)
{
	struct state_section section;
	struct state_reader reader;

	state_reader_init(&reader, writer.bytes, writer.length);
	assert_int_equal(state_next(&reader, &section, NULL), 1);
	return section;
}

static void assert_refused(const struct state_section *section, const struct state_descriptor *d, int code)
{
	struct toy live = {.outside = 42, .big = 5}, before;
	struct error e = {0};

	memcpy(&before, &live, sizeof live);
	assert_int_equal(state_load(section, d, &live, &e), code);
	assert_true(e.message[0] != '\0');
	assert_memory_equal(&live, &before, sizeof live);
}

static void round_trip(void **state)
{
	struct state_section section = only_section();
	struct toy live = {.outside = 42};

	(void)state;
	assert_string_equal(section.kind, "toy");
	assert_string_equal(section.instance, "toy0");
	assert_int_equal(section.version, 1);
	assert_int_equal(section.length, PAYLOAD_SIZE);
	assert_int_equal(state_load(&section, &toy_state, &live, NULL), 0);
	assert_memory_equal(live.bytes, sample.bytes, sizeof live.bytes);
	assert_true(live.flags[0]);
	assert_false(live.flags[1]);
	assert_int_equal(live.half, sample.half);
	assert_memory_equal(live.words, sample.words, sizeof live.words);
	assert_int_equal(live.big, sample.big);
	assert_int_equal(live.index, 2);
}

/* The bytes that docs/internals/state.md promises. */
static void byte_format(void **state)
{
	static const uint8_t first_fields[] = {
		1, 0, 0, 0, 3, 0, 0, 0, 1,    2,    3, /* bytes: STATE_U8, 3 of them */
		0, 0, 0, 0, 2, 0, 0, 0, 1,    0,       /* flags: STATE_BOOL */
		2, 0, 0, 0, 1, 0, 0, 0, 0x34, 0x12,    /* half: STATE_U16 */
		3, 0, 0, 0, 2, 0, 0, 0, 0xef, 0xcd, 0xab, 0x89, 7,    0,    0,    0, /* words: STATE_U32 */
		4, 0, 0, 0, 1, 0, 0, 0, 0x10, 0x32, 0x54, 0x76, 0x98, 0xba, 0xdc, 0xfe,
	};
	static const char empty[32];

	(void)state;
	assert_int_equal(writer.length, SECTION_SIZE);
	assert_memory_equal(writer.bytes, "DSEC\1\0\0\0toy", 12);
	assert_memory_equal(writer.bytes + 8 + 3, empty, 29);
	assert_memory_equal(writer.bytes + 40, "toy0", 5);
	assert_int_equal(writer.bytes[72], PAYLOAD_SIZE);
	assert_memory_equal(writer.bytes + 80, first_fields, sizeof first_fields);
}

static void several_sections_in_order(void **state)
{
	struct state_section section;
	struct state_reader reader;
	struct error e = {0};

	(void)state;
	state_save_bytes(&writer, "ram", "", 9, "page", 4);
	state_save_bytes(&writer, "empty.one", "x", 1, NULL, 0);
	assert_int_equal(writer.failed, 0);
	state_reader_init(&reader, writer.bytes, writer.length);
	assert_int_equal(state_next(&reader, &section, &e), 1);
	assert_string_equal(section.kind, "toy");
	assert_int_equal(state_next(&reader, &section, &e), 1);
	assert_string_equal(section.kind, "ram");
	assert_string_equal(section.instance, "");
	assert_int_equal(section.version, 9);
	assert_int_equal(section.length, 4);
	assert_memory_equal(section.payload, "page", 4);
	assert_int_equal(state_next(&reader, &section, &e), 1);
	assert_int_equal(section.length, 0);
	assert_int_equal(state_next(&reader, &section, &e), 0);
	assert_int_equal(state_next(&reader, &section, &e), 0);
	state_reader_init(&reader, NULL, 0);
	assert_int_equal(state_next(&reader, &section, &e), 0);
}

static void every_truncation_is_seen(void **state)
{
	struct state_section section;
	struct state_reader reader;

	(void)state;
	for (size_t length = 1; length < writer.length; length++) {
		uint8_t *copy = malloc(length);
		struct error e = {0};

		memcpy(copy, writer.bytes, length);
		state_reader_init(&reader, copy, length);
		assert_int_equal(state_next(&reader, &section, &e), -EBADMSG);
		assert_true(e.message[0] != '\0');
		free(copy);
	}
}

static void every_flipped_bit_is_seen(void **state)
{
	struct state_section section;
	struct state_reader reader;

	(void)state;
	for (size_t bit = 0; bit < writer.length * 8; bit++) {
		writer.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		state_reader_init(&reader, writer.bytes, writer.length);
		assert_int_equal(state_next(&reader, &section, NULL), -EBADMSG);
		writer.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
}

static void payload_must_fit_exactly(void **state)
{
	struct state_section section = only_section(), other = section;
	uint8_t longer[PAYLOAD_SIZE + 1] = {0};

	(void)state;
	for (other.length = 0; other.length < section.length; other.length++)
		assert_refused(&other, &toy_state, -EBADMSG);
	memcpy(longer, section.payload, PAYLOAD_SIZE);
	other.payload = longer;
	other.length = sizeof longer;
	assert_refused(&other, &toy_state, -EBADMSG);
	other.length = PAYLOAD_SIZE;
	longer[4] = 4; /* count of the first field */
	assert_refused(&other, &toy_state, -EBADMSG);
	longer[4] = 3;
	longer[0] = STATE_BOOL;
	assert_refused(&other, &toy_state, -EBADMSG);
	longer[0] = STATE_U8;
	longer[11 + 8] = 2; /* a bool that is neither */
	assert_refused(&other, &toy_state, -EBADMSG);
}

static void kind_and_version_must_fit(void **state)
{
	struct state_section section = only_section();
	struct state_descriptor d = toy_state;

	(void)state;
	d.kind = "toys";
	assert_refused(&section, &d, -EBADMSG);
	d = toy_state;
	d.version = 3;
	d.oldest = 2;
	assert_refused(&section, &d, -EBADMSG);
	section.version = 2;
	assert_refused(&section, &toy_state, -EBADMSG);
	section.version = 0;
	assert_refused(&section, &toy_state, -EBADMSG);
}

static void validate_has_the_last_word(void **state)
{
	struct state_section section;
	struct toy bad = sample;

	(void)state;
	bad.index = 3;
	writer.length = 0;
	state_save(&writer, &toy_state, "toy0", &bad);
	section = only_section();
	assert_refused(&section, &toy_state, -EINVAL);
}

static void older_versions_get_the_fallback(void **state)
{
	static const struct state_field newer_fields[] = {
		STATE_FIELD(struct toy, bytes, STATE_U8),
		STATE_FIELD(struct toy, flags, STATE_BOOL),
		STATE_FIELD(struct toy, half, STATE_U16),
		STATE_FIELD_SINCE(struct toy, words, STATE_U32, 2, 9),
		STATE_FIELD_SINCE(struct toy, big, STATE_U64, 3, 11),
		STATE_FIELD(struct toy, index, STATE_U8),
	};
	struct state_descriptor d = toy_state;
	struct state_section section = only_section();
	uint8_t old[PAYLOAD_SIZE];
	struct toy live = {.outside = 42};
	const size_t head = 11 + 10 + 10, tail = 9;

	(void)state;
	d.fields = newer_fields;
	d.version = 3;
	memcpy(old, section.payload, head);
	memcpy(old + head, section.payload + PAYLOAD_SIZE - tail, tail);
	section.payload = old;
	section.length = head + tail;
	assert_int_equal(state_load(&section, &d, &live, NULL), 0);
	assert_int_equal(live.words[0], 9);
	assert_int_equal(live.words[1], 9);
	assert_int_equal(live.big, 11);
	assert_int_equal(live.half, 0x1234);
	assert_int_equal(live.index, 2);
	section.version = 2;
	assert_refused(&section, &d, -EBADMSG);
}

static void names_are_judged(void **state)
{
	static const char *const bad[] = {"", "Toy", "a b", "0123456789abcdef0123456789abcdef", "a/b"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		state_writer_finish(&writer);
		state_save_bytes(&writer, bad[i], "x", 1, "", 0);
		assert_int_equal(writer.failed, -EINVAL);
		assert_int_equal(writer.length, 0);
	}
	state_writer_finish(&writer);
	state_save_bytes(&writer, "ram", "a\nb", 1, "", 0);
	assert_int_equal(writer.failed, -EINVAL);
	state_save_bytes(&writer, "ram", "ok", 1, "", 0);
	assert_int_equal(writer.failed, -EINVAL);
	state_writer_finish(&writer);
	state_save_bytes(&writer, "0123456789abcdef0123456789abcde", "ok", 1, "", 0);
	assert_int_equal(writer.failed, 0);
}

static void large_sections(void **state)
{
	size_t size = 5000000;
	uint8_t *bytes = malloc(size);
	struct state_section section;
	struct state_reader reader;

	(void)state;
	memset(bytes, 0x5a, size);
	for (int i = 0; i < 3; i++)
		state_save_bytes(&writer, "ram", "ram0", 1, bytes, size);
	assert_int_equal(writer.failed, 0);
	state_reader_init(&reader, writer.bytes, writer.length);
	for (int i = 0; i < 4; i++)
		assert_int_equal(state_next(&reader, &section, NULL), 1);
	assert_int_equal(section.length, size);
	assert_memory_equal(section.payload, bytes, size);
	assert_int_equal(state_next(&reader, &section, NULL), 0);
	free(bytes);
}

struct shelf {
	struct {
		uint32_t size;
		uint8_t tag[2];
		uint32_t own; /* not saved */
	} boxes[3];
};

static const struct state_field shelf_fields[] = {
	STATE_FIELD_EACH(struct shelf, boxes, size, STATE_U32),
	STATE_FIELD_EACH(struct shelf, boxes, tag, STATE_U8),
};

static const struct state_descriptor shelf_state = {
	.kind = "shelf",
	.version = 1,
	.oldest = 1,
	.object_size = sizeof(struct shelf),
	.fields = shelf_fields,
	.field_count = ARRAY_SIZE(shelf_fields),
};

static void members_of_an_array_of_structs(void **state)
{
	const struct shelf shelf = {{{1, {2, 3}, 4}, {5, {6, 7}, 8}, {9, {10, 11}, 12}}};
	static const uint8_t payload[] = {3, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 5, 0, 0, 0, 9, 0, 0, 0,
					  1, 0, 0, 0, 6, 0, 0, 0, 2, 3, 6, 7, 10, 11};
	struct shelf live = {{{0, {0}, 40}, {0, {0}, 80}, {0, {0}, 120}}};
	struct state_section section;

	(void)state;
	state_writer_finish(&writer);
	state_save(&writer, &shelf_state, "shelf0", &shelf);
	section = only_section();
	assert_int_equal(section.length, sizeof payload);
	assert_memory_equal(section.payload, payload, sizeof payload);
	assert_int_equal(state_load(&section, &shelf_state, &live, NULL), 0);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(live.boxes[i].size, shelf.boxes[i].size);
		assert_memory_equal(live.boxes[i].tag, shelf.boxes[i].tag, 2);
		assert_int_equal(live.boxes[i].own, 10 * shelf.boxes[i].own);
	}
	section.length--;
	assert_int_equal(state_load(&section, &shelf_state, &live, NULL), -EBADMSG);
}

int main(void)
{
#define WITH_SECTION(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		WITH_SECTION(round_trip),
		WITH_SECTION(byte_format),
		WITH_SECTION(several_sections_in_order),
		WITH_SECTION(every_truncation_is_seen),
		WITH_SECTION(every_flipped_bit_is_seen),
		WITH_SECTION(payload_must_fit_exactly),
		WITH_SECTION(kind_and_version_must_fit),
		WITH_SECTION(validate_has_the_last_word),
		WITH_SECTION(older_versions_get_the_fallback),
		WITH_SECTION(names_are_judged),
		WITH_SECTION(large_sections),
		WITH_SECTION(members_of_an_array_of_structs),
	};

	return cmocka_run_group_tests_name("state", tests, NULL, NULL);
}
