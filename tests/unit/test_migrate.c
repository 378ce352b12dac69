/* What passes between source and destination: frames, pages, errands, and what is refused. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "migrate/disks.h"
#include "migrate/errand.h"
#include "migrate/pages.h"
#include "migrate/source.h"
#include "migrate/stream.h"

#define BASE  UINT64_C(0x80000000)
#define PAGES 300

static struct stream near, far;
static int ends[2];
static struct error failure;

static int setup(void **state)
{
	(void)state;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return -1;
	stream_init(&near, ends[0], -1);
	stream_init(&far, ends[1], -1);
	failure = (struct error){.kind = ERROR_NONE};
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	stream_finish(&near);
	stream_finish(&far);
	close(ends[0]);
	close(ends[1]);
	return 0;
}

static void send_it(enum stream_kind kind, const void *bytes, size_t length)
{
	if (stream_send_bytes(&near, kind, bytes, length, &failure) < 0)
		fail_msg("%s: %s", stream_kind_name(kind), failure.message);
}

static void refused(int code, const char *text)
{
	struct stream_frame frame;
	int r = stream_receive(&far, 1000, &frame, &failure);

	if (r != code || !strstr(failure.message, text))
		fail_msg("%d instead of %d, '%s' instead of '%s'", r, code, failure.message, text);
}

/* ---- Frames ---- */

static void frames_pass(void **state)
{
	struct stream_frame frame;

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		send_it(STREAM_STATE, "abc", 3);
		send_it(STREAM_READY, NULL, 0);
		assert_int_equal(stream_expect(&far, STREAM_STATE, 1000, &frame, &failure), 0);
		assert_int_equal(frame.length, 3);
		assert_memory_equal(frame.bytes, "abc", 3);
		assert_int_equal(stream_expect(&far, STREAM_READY, 1000, &frame, &failure), 0);
		assert_int_equal(frame.length, 0);
	}
}

/* Another process goes on where this one stopped: nothing was read ahead. */
static void it_is_handed_on(void **state)
{
	struct stream_frame frame;
	struct stream next;

	(void)state;
	send_it(STREAM_STATE, "1", 1);
	send_it(STREAM_STATE, "2", 1);
	assert_int_equal(stream_receive(&far, 1000, &frame, &failure), 0);
	stream_init(&next, ends[1], -1);
	next.received = 1;
	assert_int_equal(stream_receive(&next, 1000, &frame, &failure), 0);
	assert_int_equal(*frame.bytes, '2');
	stream_finish(&next);
}

/* The bytes of one frame, as they would go over the link. */
static size_t capture(uint8_t out[128])
{
	ssize_t length;

	send_it(STREAM_STATE, "some state", 10);
	length = recv(ends[1], out, 128, 0);
	assert_int_equal(length, STREAM_HEADER + 10);
	return (size_t)length;
}

static void each_flipped_bit_is_found(void **state)
{
	uint8_t bytes[128];
	size_t length = capture(bytes);

	(void)state;
	for (size_t bit = 0; bit < 8 * length; bit++) {
		uint8_t copy[128];
		struct stream_frame frame;
		int r, pair[2];

		memcpy(copy, bytes, length);
		copy[bit / 8] = (uint8_t)(copy[bit / 8] ^ 1u << bit % 8);
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
		assert_int_equal(write(pair[0], copy, length), length);
		close(pair[0]);
		far.fd = pair[1];
		far.received = 0;
		r = stream_receive(&far, 1000, &frame, &failure);
		if (r != -EPROTO && r != -EPIPE)
			fail_msg("bit %zu: %d", bit, r);
		close(pair[1]);
	}
	far.fd = ends[1];
}

static void order_is_kept(void **state)
{
	uint8_t bytes[128];
	size_t length = capture(bytes);

	(void)state;
	assert_int_equal(write(ends[0], bytes, length), length);
	assert_int_equal(write(ends[0], bytes, length), length);
	{
		struct stream_frame frame;

		assert_int_equal(stream_receive(&far, 1000, &frame, &failure), 0);
	}
	refused(-EPROTO, "out of order");
}

static void lengths_are_bounded(void **state)
{
	(void)state;
	send_it(STREAM_COMMIT, "short", 5);
	refused(-EPROTO, "wrong length");
}

static void a_cut_link_is_told(void **state)
{
	uint8_t bytes[128];
	size_t length = capture(bytes);

	(void)state;
	assert_int_equal(write(ends[0], bytes, length - 1), length - 1);
	shutdown(ends[0], SHUT_RDWR);
	refused(-EPIPE, "gone");
}

static void a_still_link_is_told(void **state)
{
	struct stream_frame frame;
	uint8_t *much = calloc(1, STREAM_DATA_MAX);
	int r = 0;

	(void)state;
	assert_int_equal(stream_receive(&far, 20, &frame, &failure), -ETIMEDOUT);
	near.stall_ms = 20;
	for (unsigned i = 0; r == 0 && i < 64; i++)
		r = stream_send_bytes(&near, STREAM_STATE, much, STREAM_DATA_MAX, &failure);
	assert_int_equal(r, -ETIMEDOUT);
	free(much);
}

static void waits_are_ended(void **state)
{
	struct stream_frame frame;
	int wake = eventfd(1, EFD_CLOEXEC);

	(void)state;
	far.wake = wake;
	assert_int_equal(stream_receive(&far, 20000, &frame, &failure), -ECANCELED);
	close(wake);
}

static void reasons_arrive(void **state)
{
	struct error why;

	(void)state;
	(void)error_set(&why, ERROR_STATE, -EBUSY, "no room\033[2J for web");
	stream_abort(&near, &why);
	refused(-ECONNABORTED, "no room?[2J for web");
}

/* Also to one who is just sending. */
static void reasons_arrive_amid_sending(void **state)
{
	uint8_t *much = calloc(1, STREAM_DATA_MAX);
	struct error why;
	int r = 0;

	(void)state;
	(void)error_set(&why, ERROR_STATE, -EBUSY, "it does not fit");
	stream_abort(&far, &why);
	shutdown(ends[1], SHUT_RDWR);
	for (unsigned i = 0; r == 0 && i < 64; i++)
		r = stream_send_bytes(&near, STREAM_STATE, much, STREAM_DATA_MAX, &failure);
	assert_int_equal(r, -ECONNABORTED);
	assert_string_equal(failure.message, "it does not fit");
	free(much);
}

static void versions_must_meet(void **state)
{
	const le32_t newer[] = {le32_put(STREAM_VERSION + 1), le32_put(STREAM_VERSION + 7)};

	(void)state;
	send_it(STREAM_HELLO, newer, sizeof newer);
	assert_int_equal(stream_greet(&far, false, &failure), -EPROTONOSUPPORT);
	assert_non_null(strstr(failure.message, "update"));
}

static void tokens(void **state)
{
	char one[MIGRATE_TOKEN_TEXT], other[MIGRATE_TOKEN_TEXT];

	(void)state;
	assert_int_equal(migrate_token(one, &failure), 0);
	assert_int_equal(migrate_token(other, &failure), 0);
	assert_true(migrate_token_valid(one));
	assert_string_not_equal(one, other);
	assert_false(migrate_token_valid(one + 1));
	one[3] = '/';
	assert_false(migrate_token_valid(one));
	assert_false(migrate_token_valid(NULL));
}

/* ---- Pages ---- */

static struct memory from, to;
static struct pages_set due;
static struct pages_target target;
static struct pages_counts counts;

static void make_memory(struct memory *memory)
{
	memory_init(memory);
	assert_int_equal(memory_add_ram(memory, gpa(BASE), PAGES * GUEST_PAGE_SIZE, "low", NULL), 0);
	assert_int_equal(memory_add_ram(memory, gpa(4 * BASE), 7 * GUEST_PAGE_SIZE, "high", NULL), 0);
}

static int pages_setup(void **state)
{
	make_memory(&from);
	make_memory(&to);
	counts = (struct pages_counts){0};
	if (pages_set_init(&due, &from, NULL) < 0 || pages_target_init(&target, &to, NULL) < 0)
		return -1;
	return setup(state);
}

static int pages_teardown(void **state)
{
	pages_set_finish(&due);
	pages_target_finish(&target);
	memory_finish(&from);
	memory_finish(&to);
	return teardown(state);
}

/* Frames fit into the socket, one after the other: as many as came are taken. */
static int take(void *opaque, size_t bytes, struct error *e)
{
	struct stream_frame frame;
	int r = 0;

	(void)opaque;
	(void)bytes;
	while (r == 0) {
		r = stream_receive(&far, 0, &frame, e);
		if (r == 0 && pages_receive(&frame, &target, &counts, e) < 0)
			fail_msg("%s", e->message);
	}
	return r == -ETIMEDOUT ? 0 : r;
}

static void transfer(void)
{
	uint64_t pages = pages_set_count(&due);
	struct pages_sender sender;
	int size = 8 << 20;

	setsockopt(ends[0], SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size);
	near.stall_ms = 1000;
	assert_int_equal(pages_sender_init(&sender, &near, &failure), 0);
	sender.pace = take;
	if (pages_send(&sender, &due, &failure) < 0)
		fail_msg("%s", failure.message);
	assert_int_equal(take(NULL, 0, &failure), 0);
	assert_int_equal(sender.counts.data + sender.counts.zero, pages);
	assert_int_equal(pages_set_count(&due), 0);
	pages_sender_finish(&sender);
}

static void same_memory(void)
{
	for (unsigned i = 0; i < from.count; i++)
		assert_memory_equal(to.regions[i].host, from.regions[i].host, from.regions[i].size);
}

/* All of it at first, then what changes: to other bytes, to zeros, and back. */
static void pages_arrive(void **state)
{
	(void)state;
	for (unsigned page = 0; page < PAGES; page++)
		if (rand() % 3)
			from.regions[0].host[page * GUEST_PAGE_SIZE + (unsigned)rand() % GUEST_PAGE_SIZE] = (uint8_t)(1 + rand() % 255);
	pages_set_fill(&due);
	assert_int_equal(pages_set_count(&due), PAGES + 7);
	transfer();
	same_memory();
	assert_int_equal(pages_set_count(&target.named), PAGES + 7);
	for (unsigned round = 0; round < 20; round++) {
		pages_set_clear(&due);
		for (unsigned n = 0; n < 40; n++) {
			unsigned page = (unsigned)rand() % PAGES;

			memset(from.regions[0].host + page * GUEST_PAGE_SIZE, rand() % 3, GUEST_PAGE_SIZE);
			due.bits[0][page / 64] |= UINT64_C(1) << page % 64;
		}
		transfer();
		same_memory();
	}
	assert_int_equal(counts.data + counts.zero >= PAGES + 7, true);
}

struct hostile {
	const char *what;
	uint32_t runs, reserved;
	struct {
		uint64_t address;
		uint32_t pages, kind;
	} run;
	size_t length; /* of the frame */
	const char *message;
};

#define ONE (8 + sizeof(struct pages_run))

static void hostile_pages_are_refused(void **state)
{
	static const struct hostile table[] = {
		{"too short", 1, 0, {BASE, 1, 1}, 7, "too short"},
		{"no runs", 0, 0, {BASE, 1, 1}, ONE, "number of runs"},
		{"too many runs", PAGES_RUNS + 1, 0, {BASE, 1, 1}, ONE, "number of runs"},
		{"runs that are not there", 2, 0, {BASE, 1, 1}, ONE, "number of runs"},
		{"something reserved", 1, 1, {BASE, 1, 1}, ONE, "number of runs"},
		{"an unknown kind", 1, 0, {BASE, 1, 2}, ONE, "unknown kind"},
		{"no pages", 1, 0, {BASE, 0, 1}, ONE, "no whole pages"},
		{"a crooked address", 1, 0, {BASE + 8, 1, 1}, ONE, "no whole pages"},
		{"before memory", 1, 0, {BASE - GUEST_PAGE_SIZE, 2, 1}, ONE, "outside"},
		{"beyond memory", 1, 0, {BASE, PAGES + 1, 1}, ONE, "outside"},
		{"far beyond", 1, 0, {BASE, UINT32_MAX, 1}, ONE, "outside"},
		{"around the end of addresses", 1, 0, {0 - GUEST_PAGE_SIZE, 2, 1}, ONE, "outside"},
		{"bytes that are not there", 1, 0, {BASE, 1, 0}, ONE + 4095, "less bytes"},
		{"bytes left over", 1, 0, {BASE, 1, 0}, ONE + 4097, "more bytes"},
		{"bytes of zeros", 1, 0, {BASE, 1, 1}, ONE + 4096, "more bytes"},
	};
	uint8_t *bytes = calloc(1, ONE + 8192);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		const struct hostile *h = &table[i];
		const le32_t head[] = {le32_put(h->runs), le32_put(h->reserved)};
		const struct pages_run run = {le64_put(h->run.address), le32_put(h->run.pages), le32_put(h->run.kind)};
		const struct stream_frame frame = {STREAM_PAGES, bytes, h->length};
		int r;

		memcpy(bytes, head, sizeof head);
		memcpy(bytes + 8, &run, sizeof run);
		r = pages_receive(&frame, &target, &counts, &failure);
		if (r != -EPROTO || !strstr(failure.message, h->message))
			fail_msg("%s: %d, '%s' instead of '%s'", h->what, r, failure.message, h->message);
	}
	free(bytes);
}

/* ---- Disks ---- */

static void take_disk(struct disks *disks, uint32_t disk, uint32_t kind, uint64_t offset, uint64_t length, size_t bytes,
		      const char *message)
{
	static uint8_t payload[24 + BLOCK_TRACK_PART + 1];
	const le32_t head[] = {le32_put(disk), le32_put(kind)};
	const le64_t place[] = {le64_put(offset), le64_put(length)};
	const struct stream_frame frame = {STREAM_DISK, payload, 24 + bytes};
	int r;

	memcpy(payload, head, sizeof head);
	memcpy(payload + 8, place, sizeof place);
	memset(payload + 24, 'd', sizeof payload - 24);
	r = disks_receive(disks, &frame, &failure);
	if (r != (message ? -EPROTO : 0) || (message && !strstr(failure.message, message)))
		fail_msg("disk %u, %llu at %llu: %d, '%s' instead of '%s'", disk, (unsigned long long)length,
			 (unsigned long long)offset, r, failure.message, message ? message : "");
}

static void disks_arrive_and_hostile_ones_are_refused(void **state)
{
	struct disks disks = {.count = 1};
	const uint64_t size = 3 * BLOCK_TRACK_PART + 512;
	char path[] = "/tmp/doppel-disk-XXXXXX";
	const struct block_options options = {.path = path, .format = BLOCK_RAW};
	int fd = mkostemp(path, O_CLOEXEC);
	char found[3];

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	assert_int_equal(block_open(&disks.disk[0].block, &options, &failure), 0);
	disks.disk[0].size = size;
	take_disk(&disks, 0, 0, BLOCK_TRACK_PART, BLOCK_TRACK_PART, BLOCK_TRACK_PART, NULL);
	take_disk(&disks, 0, 0, size - 512, 512, 512, NULL);
	take_disk(&disks, 0, 1, BLOCK_TRACK_PART, 512, 0, NULL);
	assert_int_equal(pread(fd, found, 3, BLOCK_TRACK_PART + 510), 3);
	assert_memory_equal(found, "\0\0d", 3);
	take_disk(&disks, 1, 0, 0, 512, 512, "no such disk");
	take_disk(&disks, 0, 2, 0, 512, 512, "length or kind");
	take_disk(&disks, 0, 0, 0, 0, 0, "length or kind");
	take_disk(&disks, 0, 0, 0, BLOCK_TRACK_PART + 1, BLOCK_TRACK_PART + 1, "length or kind");
	take_disk(&disks, 0, 0, size - 512, 1024, 1024, "beyond");
	take_disk(&disks, 0, 1, 0 - UINT64_C(512), 512, 0, "beyond");
	take_disk(&disks, 0, 0, 0, 512, 511, "number of bytes");
	take_disk(&disks, 0, 1, 0, 512, 512, "number of bytes");
	take_disk(&disks, 0, 0, 100, 512, 512, "length or kind");
	assert_int_equal(lseek(fd, 0, SEEK_END), size);
	assert_int_equal(block_close(disks.disk[0].block, &failure), 0);
	close(fd);
	unlink(path);
}

/* ---- Errands ---- */

static struct errands errands;
static struct loop *loop;

static int double_it(void *arg, struct error *e)
{
	int *value = arg;

	*value *= 2;
	loop_quit(loop);
	return *value < 0 ? error_set(e, ERROR_STATE, -EBUSY, "negative") : *value;
}

static void *run_errand(void *arg)
{
	struct error e;
	int *value = arg, r = errand_run(&errands, double_it, value, &e);

	*value = r == -EBUSY && strcmp(e.message, "negative") == 0 ? -1000 : r;
	return NULL;
}

static int errand_of(int value, bool closed)
{
	pthread_t thread;

	assert_int_equal(loop_new(&loop, &failure), 0);
	errands_init(&errands, loop);
	assert_int_equal(pthread_create(&thread, NULL, run_errand, &value), 0);
	if (closed)
		errands_close(&errands);
	else
		assert_int_equal(loop_run(loop, 20000), 0);
	pthread_join(thread, NULL);
	errands_close(&errands);
	errands_finish(&errands);
	loop_free(loop);
	return value;
}

static void errands_are_run(void **state)
{
	(void)state;
	assert_int_equal(errand_of(21, false), 42);
	assert_int_equal(errand_of(-21, false), -1000);
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(errand_of(21, true), -ECANCELED);
}

#define TEST(name)  cmocka_unit_test_setup_teardown(name, setup, teardown)
#define PAGED(name) cmocka_unit_test_setup_teardown(name, pages_setup, pages_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(frames_pass),
		TEST(it_is_handed_on),
		TEST(each_flipped_bit_is_found),
		TEST(order_is_kept),
		TEST(lengths_are_bounded),
		TEST(a_cut_link_is_told),
		TEST(a_still_link_is_told),
		TEST(waits_are_ended),
		TEST(reasons_arrive),
		TEST(reasons_arrive_amid_sending),
		TEST(versions_must_meet),
		cmocka_unit_test(tokens),
		PAGED(pages_arrive),
		PAGED(hostile_pages_are_refused),
		cmocka_unit_test(disks_arrive_and_hostile_ones_are_refused),
		cmocka_unit_test(errands_are_run),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
