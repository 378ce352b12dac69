#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "guest/tree.h"

static const char *const words[] = {"sh", "-c", "", NULL};
static const char *const variables[] = {"A=1", "B=", NULL};
static const struct guest_command command = {
	.tty = true, .rows = 25, .columns = 80, .directory = "/tmp", .user = "", .arguments = words, .environment = variables};

static void a_command_comes_back(void **state)
{
	struct guest_command back;
	uint8_t *bytes;
	size_t length;

	(void)state;
	assert_int_equal(guest_command_encode(&command, &bytes, &length), 0);
	assert_int_equal(guest_command_decode(bytes, length, &back), 0);
	assert_true(back.tty);
	assert_int_equal(back.rows, 25);
	assert_int_equal(back.columns, 80);
	assert_string_equal(back.directory, "/tmp");
	assert_string_equal(back.user, "");
	for (size_t i = 0; i < 3; i++)
		assert_string_equal(back.arguments[i], words[i]);
	assert_null(back.arguments[3]);
	assert_string_equal(back.environment[1], "B=");
	assert_null(back.environment[2]);
	guest_command_finish(&back);
	free(bytes);
}

static void no_part_of_a_command_is_one(void **state)
{
	struct guest_command back;
	uint8_t *bytes, *part;
	size_t length;

	(void)state;
	assert_int_equal(guest_command_encode(&command, &bytes, &length), 0);
	for (size_t i = 0; i < length; i++) {
		/* Of its true size, so that a read behind its end is seen. */
		part = malloc(i + 1);
		memcpy(part, bytes, i);
		assert_int_equal(guest_command_decode(part, i, &back), -EPROTO);
		free(part);
	}
	/* Counts that no payload pays for. */
	memset(bytes + 8, 0xff, 4);
	assert_int_equal(guest_command_decode(bytes, length, &back), -EPROTO);
	memset(bytes + 8, 0, 4);
	assert_int_equal(guest_command_decode(bytes, length, &back), -EPROTO);
	free(bytes);
}

static void names_are_components(void **state)
{
	static const char *const bad[] = {"..", ".", "a/b", "/", "/etc", "../x", NULL};
	static const char *const good[] = {"", "...", "a b", "-r", "\xff\n", ".x", NULL};
	struct guest_entry entry = {.kind = GUEST_FILE, .target = ""}, back;
	uint8_t bytes[GUEST_ENTRY_MAX];
	size_t length;

	(void)state;
	for (size_t i = 0; bad[i]; i++) {
		entry.name = bad[i];
		assert_int_equal(guest_entry_encode(&entry, bytes, &length), 0);
		assert_int_equal(guest_entry_decode(bytes, length, &back), -EPROTO);
	}
	for (size_t i = 0; good[i]; i++) {
		entry.name = good[i];
		assert_int_equal(guest_entry_encode(&entry, bytes, &length), 0);
		assert_int_equal(guest_entry_decode(bytes, length, &back), 0);
		assert_string_equal(back.name, good[i]);
	}
}

static void entries_keep_what_they_say(void **state)
{
	const struct guest_entry entry = {.kind = GUEST_LINK,
					  .mode = 04755,
					  .size = UINT64_C(1) << 40,
					  .modified_s = -5,
					  .modified_ns = 999999999,
					  .name = "n",
					  .target = "../t"};
	struct guest_entry back;
	uint8_t bytes[GUEST_ENTRY_MAX];
	size_t length;

	(void)state;
	assert_int_equal(guest_entry_encode(&entry, bytes, &length), 0);
	assert_int_equal(guest_entry_decode(bytes, length, &back), 0);
	assert_int_equal(back.kind, GUEST_LINK);
	assert_int_equal(back.mode, 04755);
	assert_int_equal(back.size, entry.size);
	assert_int_equal(back.modified_s, -5);
	assert_int_equal(back.modified_ns, 999999999);
	assert_string_equal(back.target, "../t");
	/* A link without a target, a time that is none, unknown kinds. */
	bytes[0] = GUEST_FILE;
	assert_int_equal(guest_entry_decode(bytes, length, &back), -EPROTO);
	bytes[0] = GUEST_KINDS;
	assert_int_equal(guest_entry_decode(bytes, length, &back), -EPROTO);
	bytes[0] = GUEST_LINK;
	memset(bytes + 24, 0xff, 4);
	assert_int_equal(guest_entry_decode(bytes, length, &back), -EPROTO);
}

static void versions_meet(void **state)
{
	uint8_t hello[GUEST_HELLO_SIZE];
	uint32_t version = 0;

	(void)state;
	guest_hello_encode(hello);
	assert_int_equal(guest_hello_decode(hello, sizeof hello, &version), 0);
	assert_int_equal(version, GUEST_VERSION_HIGHEST);
	hello[8] = 200;
	hello[12] = 201;
	assert_int_equal(guest_hello_decode(hello, sizeof hello, &version), -EPROTONOSUPPORT);
	hello[8] = 0;
	assert_int_equal(guest_hello_decode(hello, sizeof hello, &version), 0);
	assert_int_equal(version, GUEST_VERSION_HIGHEST);
	assert_int_equal(guest_hello_decode(hello, sizeof hello - 1, &version), -EPROTO);
	hello[0] = 'D';
	assert_int_equal(guest_hello_decode(hello, sizeof hello, &version), -EPROTO);
}

static void frames_come_in_pieces(void **state)
{
	const uint8_t bytes[] = {3, 0, 0, 0, GUEST_DATA, GUEST_STDERR, 0, 0, 'a', 'b', 'c'};
	struct wire_frame frame;
	struct wire wire;
	struct error e;
	int pair[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_int_equal(wire_init(&wire, pair[0], &e), 0);
	for (size_t i = 0; i < sizeof bytes; i++) {
		assert_int_equal(wire_next(&wire, &frame, &e), 0);
		assert_int_equal(write(pair[1], bytes + i, 1), 1);
		assert_int_equal(wire_read(&wire, &e), 0);
	}
	assert_int_equal(wire_next(&wire, &frame, &e), 1);
	assert_int_equal(frame.type, GUEST_DATA);
	assert_int_equal(frame.stream, GUEST_STDERR);
	assert_memory_equal(frame.bytes, "abc", frame.length);
	close(pair[1]);
	assert_int_equal(wire_read(&wire, &e), -EPIPE);
	wire_finish(&wire);
	close(pair[0]);
}

static void what_is_no_frame_is_refused(void **state)
{
	static const uint8_t bad[][WIRE_HEAD] = {
		{1, 0, 4, 0, GUEST_DATA, 0, 0, 0}, {0xff, 0xff, 0xff, 0xff, GUEST_DATA, 0, 0, 0},
		{0, 0, 0, 0, GUEST_DATA, 3, 0, 0}, {0, 0, 0, 0, GUEST_DATA, 0, 1, 0},
	};
	struct wire_frame frame;
	struct wire wire;
	struct error e;
	int pair[2];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
		assert_int_equal(wire_init(&wire, pair[0], &e), 0);
		assert_int_equal(write(pair[1], bad[i], WIRE_HEAD), WIRE_HEAD);
		assert_int_equal(wire_read(&wire, &e), 0);
		assert_int_equal(wire_next(&wire, &frame, &e), -EPROTO);
		wire_finish(&wire);
		close(pair[0]);
		close(pair[1]);
	}
}

static void what_is_not_taken_is_bounded(void **state)
{
	static const uint8_t chunk[GUEST_CHUNK];
	struct wire wire;
	struct error e;
	size_t count = 0;
	int pair[2], r = 0;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_int_equal(wire_init(&wire, pair[0], &e), 0);
	while (r == 0 && count++ < 1000) {
		r = wire_put(&wire, GUEST_DATA, 0, chunk, sizeof chunk);
		if (r == 0)
			r = wire_write(&wire, &e);
	}
	assert_int_equal(r, -ENOBUFS);
	assert_true(wire_waiting(&wire) <= WIRE_OUT);
	wire_finish(&wire);
	close(pair[0]);
	close(pair[1]);
}

static void names_of_paths(void **state)
{
	static const char *const pairs[][2] = {{"/a/b", "b"}, {"b", "b"},   {"a/b///", "b"}, {"/", ""},  {".", ""},
					       {"a/..", ""},  {"a/.", ""}, {"./x", "x"},    {"", ""}};
	char name[GUEST_NAME_MAX + 1], longest[GUEST_NAME_MAX + 2];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
		assert_int_equal(tree_name_of(pairs[i][0], name), 0);
		assert_string_equal(name, pairs[i][1]);
	}
	memset(longest, 'x', sizeof longest);
	longest[sizeof longest - 1] = '\0';
	assert_int_equal(tree_name_of(longest, name), -ENAMETOOLONG);
	assert_int_equal(tree_name_of(longest + 1, name), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_command_comes_back),
		cmocka_unit_test(no_part_of_a_command_is_one),
		cmocka_unit_test(names_are_components),
		cmocka_unit_test(entries_keep_what_they_say),
		cmocka_unit_test(versions_meet),
		cmocka_unit_test(frames_come_in_pieces),
		cmocka_unit_test(what_is_no_frame_is_refused),
		cmocka_unit_test(what_is_not_taken_is_bounded),
		cmocka_unit_test(names_of_paths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
