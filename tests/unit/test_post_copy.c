/* What post-copy is made of: pages that are missing, wanted, put in place while somebody waits; compressed frames; connections. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "memory/absent.h"
#include "migrate/link.h"
#include "migrate/pages.h"
#include "migrate/stream.h"

#define BASE  UINT64_C(0x80000000)
#define PAGES 200 /* no multiple of 64 */

static struct stream near, far;
static int ends[2];
static struct memory from, to;
static struct pages_set due;
static struct pages_target target;
static struct pages_counts counts;
static struct error failure;

static int setup(void **state)
{
	const int size = 4 << 20;

	(void)state;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return -1;
	(void)setsockopt(ends[0], SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size);
	stream_init(&near, ends[0], -1);
	stream_init(&far, ends[1], -1);
	near.version = far.version = STREAM_VERSION;
	counts = (struct pages_counts){0};
	memory_init(&from);
	memory_init(&to);
	if (memory_add_ram(&from, gpa(BASE), PAGES * GUEST_PAGE_SIZE, "ram", NULL) < 0 ||
	    memory_add_ram(&to, gpa(BASE), PAGES * GUEST_PAGE_SIZE, "ram", NULL) < 0)
		return -1;
	if (pages_set_init(&due, &from, NULL) < 0 || pages_target_init(&target, &to, NULL) < 0)
		return -1;
	for (unsigned i = 0; i < PAGES; i++)
		memset(from.regions[0].host + i * GUEST_PAGE_SIZE, i % 3 ? (int)i : 0, GUEST_PAGE_SIZE);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	pages_set_finish(&due);
	pages_target_finish(&target);
	memory_finish(&from);
	memory_finish(&to);
	stream_finish(&near);
	stream_finish(&far);
	close(ends[0]);
	close(ends[1]);
	return 0;
}

static bool in(const struct pages_set *set, unsigned page)
{
	return set->bits[0][page / 64] >> page % 64 & 1;
}

/* ---- Missing pages ---- */

static void missing_pages_are_told(void **state)
{
	struct stream_frame frame;

	(void)state;
	for (unsigned page = 0; page < PAGES; page += page < 70 ? 1 : 61)
		due.bits[0][page / 64] |= UINT64_C(1) << page % 64;
	assert_int_equal(pages_send_missing(&near, &due, &failure), 0);
	while (stream_receive(&far, 0, &frame, &failure) == 0)
		if (pages_receive_missing(&frame, &target.lacking, &failure) < 0)
			fail_msg("%s", failure.message);
	for (unsigned page = 0; page < PAGES; page++)
		if (in(&due, page) != in(&target.lacking, page))
			fail_msg("page %u: %d sent, %d came", page, in(&due, page), in(&target.lacking, page));
}

static void hostile_missing_pages_are_refused(void **state)
{
	static const struct {
		uint64_t address, last;
		size_t words, cut;
		const char *message;
	} table[] = {
		{BASE, 0, 5, 0, "outside"},
		{BASE + GUEST_PAGE_SIZE, 0, 1, 0, "outside"},
		{BASE - 64 * GUEST_PAGE_SIZE, 0, 1, 0, "outside"},
		{UINT64_MAX, 0, 1, 0, "outside"},
		{BASE, UINT64_C(1) << 8, 4, 0, "beyond"},
		{BASE, 0, 1, 3, "whole words"},
		{BASE, 0, 1, 8, "whole words"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		le64_t words[8] = {le64_put(table[i].address)};
		const struct stream_frame frame = {STREAM_MISSING, (const uint8_t *)words, 8 + 8 * table[i].words - table[i].cut};
		int r;

		words[table[i].words] = le64_put(table[i].last);
		r = pages_receive_missing(&frame, &target.lacking, &failure);
		if (r != -EPROTO || !strstr(failure.message, table[i].message))
			fail_msg("row %zu: %d, '%s' instead of '%s'", i, r, failure.message, table[i].message);
	}
	assert_int_equal(pages_set_count(&target.lacking), 0);
}

/* The page itself is in a frame of its own, also when it was sent before; of its neighbours those that were not. */
static void wanted_pages_come_first(void **state)
{
	struct pages_sender sender;
	struct stream_frame frame;

	(void)state;
	assert_int_equal(pages_sender_init(&sender, &near, &failure), 0);
	pages_set_fill(&due);
	due.bits[0][0] &= ~UINT64_C(0xf00);
	assert_int_equal(pages_send_wanted(&sender, &due, BASE + 10 * GUEST_PAGE_SIZE, &failure), 0);
	assert_int_equal(stream_expect(&far, STREAM_PAGES, 1000, &frame, &failure), 0);
	assert_int_equal(pages_receive(&frame, &target, &counts, &failure), 0);
	assert_int_equal(pages_set_count(&target.named), 1);
	assert_true(in(&target.named, 10));
	assert_int_equal(stream_expect(&far, STREAM_PAGES, 1000, &frame, &failure), 0);
	assert_int_equal(pages_receive(&frame, &target, &counts, &failure), 0);
	assert_int_equal(pages_set_count(&target.named), 13);
	assert_int_equal(pages_set_count(&due), PAGES - 16);
	assert_int_equal(pages_send_wanted(&sender, &due, BASE + PAGES * GUEST_PAGE_SIZE, &failure), -EFAULT);
	assert_int_equal(pages_send_wanted(&sender, &due, BASE + 1, &failure), -EFAULT);
	pages_sender_finish(&sender);
}

/* ---- Absent memory ---- */

static void *touch_all(void *arg)
{
	const volatile uint8_t *host = to.regions[0].host;

	(void)arg;
	for (unsigned page = 0; page < PAGES; page++)
		if (host[page * GUEST_PAGE_SIZE] != (page % 3 ? (uint8_t)page : 0))
			return (void *)(uintptr_t)(page + 1);
	return NULL;
}

/* What the attendant and the source's server do, in one. */
static void serve_one(int fd, struct pages_sender *sender)
{
	struct stream_frame frame;
	uint64_t address;
	uintptr_t host;
	int r = absent_next(fd, &host);

	if (r == 0) {
		usleep(200);
		return;
	}
	assert_int_equal(r, 1);
	if (pages_want(&target, host, &address) <= 0)
		return;
	assert_int_equal(pages_send_wanted(sender, &due, address, &failure), 0);
	while (stream_receive(&far, 0, &frame, &failure) == 0)
		assert_int_equal(pages_receive(&frame, &target, &counts, &failure), 0);
}

static void whoever_touches_absent_memory_has_it(void **state)
{
	struct pages_sender sender;
	pthread_t thread;
	void *wrong;
	int fd;

	(void)state;
	if (absent_open(&fd, &failure) < 0)
		skip();
	assert_int_equal(absent_begin(fd, &to, &failure), 0);
	assert_int_equal(pages_sender_init(&sender, &near, &failure), 0);
	target.absent = fd;
	pages_set_fill(&due);
	pages_set_fill(&target.lacking);
	assert_int_equal(pthread_create(&thread, NULL, touch_all, NULL), 0);
	while (pages_set_count(&target.lacking))
		serve_one(fd, &sender);
	absent_end(fd, &to);
	pthread_join(thread, &wrong);
	if (wrong)
		fail_msg("page %zu is wrong", (size_t)wrong - 1);
	pages_sender_finish(&sender);
	close(fd);
}

/* ---- Compressed frames ---- */

static void packed_pages_arrive(void **state)
{
	struct unpacker unpacker = {.context = NULL};
	struct pages_sender sender;
	struct stream_frame frame;
	struct packer *packer;
	unsigned packed = 0;

	(void)state;
	assert_int_equal(packer_new(&packer, PACK_ALWAYS, &failure), 0);
	assert_int_equal(pages_sender_init(&sender, &near, &failure), 0);
	sender.packer = packer;
	pages_set_fill(&due);
	assert_int_equal(pages_send(&sender, &due, &failure), 0);
	assert_true(near.bytes_sent < PAGES * GUEST_PAGE_SIZE / 10);
	while (stream_receive(&far, 0, &frame, &failure) == 0) {
		packed += frame.kind == STREAM_PACKED;
		assert_int_equal(unpacker_open(&unpacker, &frame, &failure), 0);
		assert_int_equal(frame.kind, STREAM_PAGES);
		assert_int_equal(pages_receive(&frame, &target, &counts, &failure), 0);
	}
	assert_int_not_equal(packed, 0);
	assert_memory_equal(to.regions[0].host, from.regions[0].host, PAGES * GUEST_PAGE_SIZE);
	unpacker_finish(&unpacker);
	pages_sender_finish(&sender);
	packer_free(packer);
}

static void hostile_packed_frames_are_refused(void **state)
{
	static const struct {
		uint32_t method, length;
		const char *message;
	} table[] = {{0, 100, "method"}, {2, 100, "method"}, {1, 0, "length"}, {1, STREAM_DATA_MAX + 1, "length"}, {1, 100, "damaged"}};
	struct unpacker unpacker = {.context = NULL};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		const le32_t bytes[] = {le32_put(table[i].method), le32_put(table[i].length), le32_put(0x12345678)};
		struct stream_frame frame = {STREAM_PACKED, (const uint8_t *)bytes, sizeof bytes};
		int r = unpacker_open(&unpacker, &frame, &failure);

		if (r != -EPROTO || !strstr(failure.message, table[i].message))
			fail_msg("row %zu: %d, '%s' instead of '%s'", i, r, failure.message, table[i].message);
	}
	unpacker_finish(&unpacker);
}

/* ---- Versions and connections ---- */

static void newer_kinds_need_the_newer_version(void **state)
{
	const le64_t address = le64_put(BASE);
	struct stream_frame frame;

	(void)state;
	near.version = 1;
	far.version = 0;
	assert_int_equal(stream_send_bytes(&near, STREAM_READY, NULL, 0, &failure), 0);
	assert_int_equal(stream_receive(&far, 1000, &frame, &failure), 0);
	assert_int_equal(far.version, 1);
	assert_int_equal(stream_send_bytes(&near, STREAM_WANT, &address, sizeof address, &failure), 0);
	assert_int_equal(stream_receive(&far, 1000, &frame, &failure), -EPROTO);
}

static void a_version_stays(void **state)
{
	struct stream_frame frame;

	(void)state;
	near.version = 1;
	assert_int_equal(stream_send_bytes(&near, STREAM_READY, NULL, 0, &failure), 0);
	assert_int_equal(stream_receive(&far, 1000, &frame, &failure), -EPROTO);
	assert_non_null(strstr(failure.message, "version"));
}

static void the_older_version_is_spoken(void **state)
{
	const le32_t older[] = {le32_put(1), le32_put(1)};

	(void)state;
	near.version = far.version = 0;
	assert_int_equal(stream_send_bytes(&near, STREAM_HELLO, older, sizeof older, &failure), 0);
	assert_int_equal(stream_greet(&far, false, &failure), 0);
	assert_int_equal(far.version, 1);
}

static void connections_say_what_they_are_for(void **state)
{
	static const char *const hostile[] = {
		"[]", "{}", "{\"name\":\"a/b\",\"token\":\"00112233445566778899aabbccddeeff\",\"role\":\"main\"}",
		"{\"name\":\"web\",\"token\":\"short\",\"role\":\"main\"}",
		"{\"name\":\"web\",\"token\":\"00112233445566778899aabbccddeeff\",\"role\":\"other\"}",
	};
	static const char good[] = "{\"name\":\"web\",\"token\":\"00112233445566778899aabbccddeeff\",\"role\":\"faults\"}";
	struct stream_frame frame = {STREAM_JOIN, (const uint8_t *)good, sizeof good - 1};
	char name[LINK_NAME_SIZE];
	struct link_letter letter;

	(void)state;
	assert_int_equal(link_read_join(&frame, name, &letter, &failure), 0);
	assert_string_equal(name, "web");
	assert_int_equal(letter.role, LINK_FAULTS);
	for (size_t i = 0; i < ARRAY_SIZE(hostile); i++) {
		frame.bytes = (const uint8_t *)hostile[i];
		frame.length = strlen(hostile[i]);
		if (link_read_join(&frame, name, &letter, &failure) != -EPROTO)
			fail_msg("taken: %s", hostile[i]);
	}
}

static void connections_are_handed_on(void **state)
{
	struct link_letter sent = {.role = LINK_MAIN, .version = 2}, taken;
	int fd, door[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, door), 0);
	assert_int_equal(link_take(door[1], &taken, &fd), -EAGAIN);
	assert_int_equal(link_deliver(door[0], &sent, ends[0], &failure), 0);
	assert_int_equal(link_take(door[1], &taken, &fd), 0);
	assert_memory_equal(&sent, &taken, sizeof sent);
	assert_int_equal(write(fd, "x", 1), 1);
	close(fd);
	sent.role = LINK_ROLES;
	assert_int_equal(link_deliver(door[0], &sent, ends[0], &failure), 0);
	assert_int_equal(link_take(door[1], &taken, &fd), -EPROTO);
	assert_int_equal(write(door[0], "nothing along", 13), 13);
	assert_int_equal(link_take(door[1], &taken, &fd), -EPROTO);
	close(door[0]);
	close(door[1]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(missing_pages_are_told),
		TEST(hostile_missing_pages_are_refused),
		TEST(wanted_pages_come_first),
		TEST(whoever_touches_absent_memory_has_it),
		TEST(packed_pages_arrive),
		TEST(hostile_packed_frames_are_refused),
		TEST(newer_kinds_need_the_newer_version),
		TEST(a_version_stays),
		TEST(the_older_version_is_spoken),
		TEST(connections_say_what_they_are_for),
		TEST(connections_are_handed_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
