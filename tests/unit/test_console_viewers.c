/* Those who look at a console from elsewhere: latest output, one writer, slow readers, hostile ones; and its log. */
#include "console_bench.h"

#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/log.h"
#include "machine/console.h"
#include "machine/console_log.h"
#include "machine/viewers.h"

static struct loop *loop;
static struct console *console;
static char folder[] = "/tmp/doppel-viewers-XXXXXX", log_path[64], aside_path[64];
static uint8_t typed[1024]; /* what the guest got */
static size_t typed_length, typed_room;
static void (*typed_more)(void *opaque);
static void *typed_opaque;

static size_t receive(void *line, const uint8_t *bytes, size_t length)
{
	size_t n = length < typed_room ? length : typed_room;

	(void)line;
	if (n > sizeof typed - typed_length)
		n = sizeof typed - typed_length;
	memcpy(typed + typed_length, bytes, n);
	typed_length += n;
	typed_room -= n;
	return n;
}

static void on_room(void *line, void (*room)(void *opaque), void *opaque)
{
	(void)line;
	typed_more = room;
	typed_opaque = opaque;
}

static void leave(void *opaque)
{
	(void)opaque;
}

static unsigned resizes;

static void resized(void *opaque)
{
	(void)opaque;
	resizes++;
}

static void open_console(struct console_config config)
{
	struct error e;

	config.loop = loop;
	config.hooks.leave = leave;
	config.hooks.resized = resized;
	if (console_new(&console, &config, &e) < 0)
		fail_msg("console: %s", e.message);
	if (console_start(console, &(struct console_line){receive, on_room, NULL}, &e) < 0)
		fail_msg("start: %s", e.message);
	console_hold(console, false);
}

static int setup(void **state)
{
	struct error e;

	(void)state;
	typed_length = 0;
	resizes = 0;
	typed_room = sizeof typed;
	assert_int_equal(loop_new(&loop, &e), 0);
	open_console((struct console_config){.kind = CONSOLE_NONE});
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	console_free(console);
	loop_free(loop);
	return 0;
}

static int try_attach(enum machine_attach how, const char *who, int *fd, struct error *e)
{
	int ends[2], r;

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
	r = console_attach(console, ends[0], how, who, e);
	if (r < 0) {
		close(ends[0]);
		close(ends[1]);
	}
	*fd = ends[1];
	return r;
}

static int attach(enum machine_attach how, const char *who)
{
	struct error e;
	int fd;

	if (try_attach(how, who, &fd, &e) < 0)
		fail_msg("attach: %s", e.message);
	return fd;
}

static void run_loop(void)
{
	assert_int_equal(loop_run(loop, 20), -ETIMEDOUT);
}

static void guest_writes(const char *text)
{
	(void)console_write(console, (const uint8_t *)text, strlen(text));
}

/* The next message, once the loop has brought it; 0 bytes: the connection is closed. */
static size_t next_message(int fd, char message[VIEWING_MESSAGE + 1])
{
	uint64_t end = clock_host_ns() + LONG_MS * MS;

	for (;;) {
		ssize_t n = recv(fd, message, VIEWING_MESSAGE, MSG_DONTWAIT);

		if (n >= 0) {
			message[n] = '\0';
			return (size_t)n;
		}
		if (errno != EAGAIN || clock_host_ns() > end)
			fail_msg("no message: %s", strerror(errno));
		assert_int_equal(loop_run(loop, 1), -ETIMEDOUT);
	}
}

static void expect_message(int fd, enum viewing_kind kind, const char *text)
{
	char message[VIEWING_MESSAGE + 1];

	if (!next_message(fd, message))
		fail_msg("closed in place of %c \"%s\"", (char)kind, text);
	assert_int_equal(message[0], kind);
	assert_string_equal(message + 1, text);
}

/* All of the text, in however many messages. */
static void expect_output(int fd, const char *text)
{
	char message[VIEWING_MESSAGE + 1];

	while (*text) {
		size_t n = next_message(fd, message);

		assert_true(n > 1);
		assert_int_equal(message[0], VIEWING_OUT);
		if (n - 1 > strlen(text))
			fail_msg("\"%s\" in place of \"%s\"", message + 1, text);
		assert_memory_equal(message + 1, text, n - 1);
		text += n - 1;
	}
}

static void expect_closed(int fd)
{
	char message[VIEWING_MESSAGE + 1];
	size_t n = next_message(fd, message);

	if (n)
		fail_msg("\"%s\" in place of the end", message);
	close(fd);
}

static void sends(int fd, enum viewing_kind kind, const void *bytes, size_t length)
{
	char message[1 + VIEWING_INPUT];

	message[0] = (char)kind;
	memcpy(message + 1, bytes, length);
	assert_int_equal(send(fd, message, 1 + length, MSG_NOSIGNAL), 1 + length);
}

static void types(int fd, const char *text)
{
	sends(fd, VIEWING_IN, text, strlen(text));
}

static void guest_got(const char *text)
{
	uint64_t end = clock_host_ns() + LONG_MS * MS;

	while (typed_length < strlen(text) && clock_host_ns() < end)
		assert_int_equal(loop_run(loop, 1), -ETIMEDOUT);
	run_loop();
	typed[typed_length < sizeof typed ? typed_length : sizeof typed - 1] = '\0';
	assert_string_equal((const char *)typed, text);
	typed_length = 0;
}

static void test_latest_then_new(void **state)
{
	int early = attach(MACHINE_WATCH, "early"), late;

	(void)state;
	guest_writes("one ");
	expect_output(early, "one ");
	guest_writes("two ");
	late = attach(MACHINE_WATCH, "late");
	expect_output(late, "one two ");
	guest_writes("three");
	expect_output(late, "three");
	expect_output(early, "two three");
	close(early);
	close(late);
}

static void test_detaching(void **state)
{
	int first = attach(MACHINE_WRITE, "first"), second = attach(MACHINE_WATCH, "second");
	const char *writer;

	(void)state;
	assert_int_equal(console_viewers(console, &writer), 2);
	assert_string_equal(writer, "first");
	close(first);
	run_loop();
	assert_int_equal(console_viewers(console, &writer), 1);
	assert_null(writer);
	guest_writes("still there");
	expect_output(second, "still there");
	close(second);
}

static void test_one_writer(void **state)
{
	int writer = attach(MACHINE_WRITE, "alice"), other;
	struct error e;

	(void)state;
	assert_int_equal(try_attach(MACHINE_WRITE, "bob", &other, &e), -EBUSY);
	assert_int_equal(e.kind, ERROR_STATE);
	assert_non_null(strstr(e.message, "alice"));
	other = attach(MACHINE_WATCH, "bob");
	types(writer, "ls\r");
	types(other, "dropped");
	guest_got("ls\r");
	types(writer, "last ");
	close(writer); /* and its end has not been noticed when the next one comes */
	writer = attach(MACHINE_WRITE, "carol");
	types(writer, "pwd\r");
	guest_got("last pwd\r");
	close(writer);
	close(other);
}

static void test_take(void **state)
{
	int alice = attach(MACHINE_WRITE, "alice"), bob = attach(MACHINE_TAKE, "b\033b");

	(void)state;
	expect_message(alice, VIEWING_NOTICE, "b?b has taken the console; you only watch now");
	types(alice, "dropped");
	types(bob, "bob");
	guest_got("bob");
	guest_writes("out");
	expect_output(alice, "out");
	expect_output(bob, "out");
	close(alice);
	close(bob);
}

/* Input waits with its writer for as long as the guest does not take it, and nothing spins. */
static void test_deaf_guest(void **state)
{
	int writer = attach(MACHINE_WRITE, "writer");
	char block[VIEWING_INPUT];
	unsigned sent = 0, got = 0;

	(void)state;
	memset(block, 'k', sizeof block);
	typed_room = 0;
	for (unsigned idle = 0; idle < 3;) {
		char message[1 + VIEWING_INPUT];

		message[0] = VIEWING_IN;
		memcpy(message + 1, block, sizeof block);
		if (send(writer, message, sizeof message, MSG_DONTWAIT) > 0) {
			sent++;
			idle = 0;
		} else {
			assert_int_equal(errno, EAGAIN);
			run_loop();
			idle++;
		}
	}
	assert_true(sent > 10 && sent < 1000);
	while (got < sent * VIEWING_INPUT) {
		typed_room = sizeof typed;
		typed_length = 0;
		typed_more(typed_opaque);
		assert_int_equal(loop_run(loop, 0), -ETIMEDOUT);
		if (!typed_length)
			fail_msg("%u of %llu bytes came", got, (unsigned long long)(sent * VIEWING_INPUT));
		got += (unsigned)typed_length;
	}
	close(writer);
}

/* A writer that is gone is no writer any more, though the guest has not taken its input. */
static void test_deaf_guest_writer_leaves(void **state)
{
	int writer = attach(MACHINE_WRITE, "writer");
	const char *who;

	(void)state;
	typed_room = 0;
	types(writer, "last words");
	close(writer);
	run_loop();
	assert_int_equal(console_viewers(console, &who), 0);
	typed_room = sizeof typed;
	typed_more(typed_opaque);
	guest_got("last words");
}

static void test_size(void **state)
{
	int writer = attach(MACHINE_WRITE, "writer"), other = attach(MACHINE_WATCH, "other");
	const le16_t size[2] = {le16_put(132), le16_put(43)}, small[2] = {le16_put(10), le16_put(5)};
	uint16_t columns = 0, rows = 0;

	(void)state;
	assert_false(console_size(console, &columns, &rows));
	sends(writer, VIEWING_SIZE, size, sizeof size);
	sends(other, VIEWING_SIZE, small, sizeof small);
	run_loop();
	assert_true(console_size(console, &columns, &rows));
	assert_int_equal(columns, 132);
	assert_int_equal(rows, 43);
	assert_int_equal(resizes, 1);
	close(writer);
	run_loop();
	assert_false(console_size(console, &columns, &rows));
	close(other);
}

static void write_numbered(unsigned from, unsigned to)
{
	char line[16];

	for (unsigned i = from; i < to; i++) {
		snprintf(line, sizeof line, "%07u\n", i);
		guest_writes(line);
	}
}

static void check_numbered(const char *bytes, size_t length, uint64_t place)
{
	char line[16];

	for (size_t i = 0; i < length; i++, place++) {
		snprintf(line, sizeof line, "%07u\n", (unsigned)(place / 8));
		if (bytes[i] != line[place % 8])
			fail_msg("'%c' in place of '%c' at %llu", bytes[i], line[place % 8],
				 (unsigned long long)place);
	}
}

/* Reads all there is; every byte is at its place, and what is missing was told. */
static uint64_t read_numbered(int fd, unsigned to)
{
	char message[VIEWING_MESSAGE + 1];
	uint64_t lost = 0, place = 0;

	while (place < to * UINT64_C(8)) {
		size_t n = next_message(fd, message);
		le64_t count;

		if (message[0] == VIEWING_LOST) {
			assert_int_equal(n, 1 + sizeof count);
			memcpy(&count, message + 1, sizeof count);
			lost += le64_get(count);
			place += le64_get(count);
			continue;
		}
		assert_int_equal(message[0], VIEWING_OUT);
		check_numbered(message + 1, n - 1, place);
		place += n - 1;
	}
	assert_int_equal(place, to * UINT64_C(8));
	return lost;
}

/* One who does not read keeps neither the guest nor others waiting, and is told what he missed. */
static void test_slow_viewer(void **state)
{
	int slow = attach(MACHINE_WATCH, "slow"), quick = attach(MACHINE_WATCH, "quick");
	const unsigned lines = 200000;
	uint64_t lost;

	(void)state;
	for (unsigned i = 0; i < lines; i += 10000) {
		char message[VIEWING_MESSAGE];

		write_numbered(i, i + 10000);
		assert_int_equal(loop_run(loop, 0), -ETIMEDOUT);
		run_loop();
		while (recv(quick, message, sizeof message, MSG_DONTWAIT) > 0)
			assert_int_equal(message[0], VIEWING_OUT);
	}
	lost = read_numbered(slow, lines);
	assert_in_range(lost, 1, lines * UINT64_C(8) - TAPE_SIZE);
	guest_writes("on");
	expect_output(slow, "on");
	close(slow);
	close(quick);
}

static void test_end(void **state)
{
	int watcher = attach(MACHINE_WATCH, "watcher"), stuck = attach(MACHINE_WATCH, "stuck");
	char message[VIEWING_MESSAGE + 1];
	const char *writer;

	(void)state;
	write_numbered(0, 100000);
	(void)read_numbered(watcher, 100000);
	guest_writes("bye");
	console_end(console, 3, "web has stopped");
	expect_output(watcher, "bye");
	assert_int_equal(next_message(watcher, message), 1 + 1 + strlen("web has stopped"));
	assert_int_equal(message[0], VIEWING_END);
	assert_int_equal(message[1], 3);
	assert_string_equal(message + 2, "web has stopped");
	expect_closed(watcher);
	assert_int_equal(console_viewers(console, &writer), 0);
	close(stuck);
}

static void test_hostile(void **state)
{
	static const struct {
		const char *bytes;
		size_t length;
	} cases[] = {{"?", 1}, {"s", 1}, {"s12345", 6}, {"o", 1}, {"e", 1}, {"", 0}};
	char big[1 + VIEWING_INPUT + 1] = {VIEWING_IN};
	const char *writer;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		for (unsigned how = MACHINE_WATCH; how <= MACHINE_WRITE; how++) {
			int fd = attach(how, "hostile");

			assert_int_equal(send(fd, cases[i].bytes, cases[i].length, 0), cases[i].length);
			expect_closed(fd);
			assert_int_equal(console_viewers(console, &writer), 0);
		}
	for (unsigned how = MACHINE_WATCH; how <= MACHINE_WRITE; how++) {
		int fd = attach(how, "hostile");

		assert_int_equal(send(fd, big, sizeof big, 0), sizeof big);
		expect_closed(fd);
	}
	assert_int_equal(typed_length, 0);
}

static void test_too_many(void **state)
{
	int fds[VIEWERS_MAX + 1];
	struct error e;

	(void)state;
	for (unsigned i = 0; i < VIEWERS_MAX; i++)
		fds[i] = attach(MACHINE_WATCH, "one");
	assert_int_equal(try_attach(MACHINE_WATCH, "more", &fds[VIEWERS_MAX], &e), -EMFILE);
	for (unsigned i = 0; i < VIEWERS_MAX; i++)
		close(fds[i]);
	run_loop();
	close(attach(MACHINE_WATCH, "more"));
}

/* The terminal that a machine runs on is the writer, until somebody takes its place. */
static void test_beside_a_terminal(void **state)
{
	int master, slave, viewer;
	struct error e;

	(void)state;
	console_free(console);
	make_terminal(&master, &slave);
	open_console((struct console_config){.kind = CONSOLE_STDIO, .input = slave, .output = slave});
	guest_writes("boot ");
	expect(master, "boot ");
	assert_int_equal(try_attach(MACHINE_WRITE, "bob", &viewer, &e), -EBUSY);
	assert_non_null(strstr(e.message, "terminal"));
	viewer = attach(MACHINE_TAKE, "bob");
	expect_output(viewer, "boot ");
	run_loop();
	expect(master, "\r\n[doppel: bob has taken the console; you only watch now]\r\n");
	send_text(master, "dropped");
	types(viewer, "bob");
	guest_got("bob");
	guest_writes("out");
	expect(master, "out");
	expect_output(viewer, "out");
	close(viewer);
	run_loop();
	expect(master, "\r\n[doppel: the console is yours again]\r\n");
	send_text(master, "mine");
	guest_got("mine");
	console_free(console);
	console = NULL;
	close(master);
	close(slave);
}

/* What a pipe has to say waits while somebody else writes, and is not lost. */
static void test_beside_a_pipe(void **state)
{
	int input[2], output[2], viewer;

	(void)state;
	console_free(console);
	make_pipe(input);
	make_pipe(output);
	open_console((struct console_config){.kind = CONSOLE_STDIO, .input = input[0], .output = output[1]});
	viewer = attach(MACHINE_TAKE, "bob");
	run_loop();
	send_text(input[1], "pipe");
	types(viewer, "bob ");
	guest_got("bob ");
	close(viewer);
	guest_got("pipe");
	close(input[1]);
	run_loop();
	viewer = attach(MACHINE_WRITE, "bob"); /* nobody else can write any more */
	types(viewer, "free");
	guest_got("free");
	close(viewer);
	console_free(console);
	console = NULL;
	close(input[0]);
	close(output[0]);
	close(output[1]);
}

static void open_logged(uint64_t size)
{
	console_free(console);
	open_console((struct console_config){.kind = CONSOLE_NONE, .log = log_path, .log_size = size});
}

static size_t file_content(const char *path, char *bytes, size_t room)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	assert_true(fd >= 0);
	n = read(fd, bytes, room - 1);
	assert_true(n >= 0);
	bytes[n] = '\0';
	close(fd);
	return (size_t)n;
}

static void close_logged(void)
{
	console_free(console);
	console = NULL;
}

static void test_log(void **state)
{
	char got[256];
	struct stat status;

	(void)state;
	open_logged(0);
	guest_writes("first ");
	close_logged();
	open_logged(0);
	guest_writes("second");
	close_logged();
	file_content(log_path, got, sizeof got);
	assert_string_equal(got, "first second");
	assert_int_equal(stat(log_path, &status), 0);
	assert_int_equal(status.st_mode & 0777, 0600);
	unlink(log_path);
	unlink(aside_path);
}

static void write_slowly(unsigned lines)
{
	for (unsigned i = 0; i < lines; i += 1000) {
		write_numbered(i, i + 1000);
		usleep(25000); /* lets the log follow: what it leaves out is another test's business */
	}
}

static void test_log_is_bounded(void **state)
{
	static char got[64 * 1024 + 1], before[64 * 1024 + 1];
	const unsigned lines = 20000;
	size_t n, m;
	char last[16];

	(void)state;
	open_logged(64 * KIB);
	write_slowly(lines);
	close_logged();
	n = file_content(log_path, got, sizeof got);
	m = file_content(aside_path, before, sizeof before);
	assert_in_range(n, 1, 64 * KIB);
	assert_in_range(m, 48 * KIB, 64 * KIB);
	snprintf(last, sizeof last, "%07u\n", lines - 1);
	assert_string_equal(got + n - 8, last);
	assert_int_equal(atoi(before + m - 8) + 1, atoi(got));
	unlink(log_path);
	unlink(aside_path);
}

static void wait_for_size(off_t size)
{
	uint64_t end = clock_host_ns() + LONG_MS * MS;
	struct stat status;

	while (stat(log_path, &status) < 0 || status.st_size != size) {
		if (clock_host_ns() > end)
			fail_msg("the log has %lld bytes instead of %lld", (long long)status.st_size, (long long)size);
		usleep(1000);
	}
}

static void set_room(rlim_t bytes)
{
	struct rlimit limit;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = bytes == RLIM_INFINITY ? limit.rlim_max : bytes;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* No room: what is missing is told once there is some again, and the guest never waits. There is room for the line that
 * tells it all the time. */
static void test_log_without_room(void **state)
{
	char much[801], got[1024], warning[256] = "";
	int messages[2];

	(void)state;
	memset(much, 'x', sizeof much - 1);
	much[sizeof much - 1] = '\0';
	make_pipe(messages);
	open_logged(0);
	guest_writes("begun ");
	wait_for_size(6);
	log_set_fd(messages[1]);
	set_room(100);
	guest_writes(much); /* at once, so that all or nothing of it is written */
	read_some(messages[0], warning, sizeof warning - 1);
	set_room(RLIM_INFINITY);
	log_set_fd(STDERR_FILENO);
	assert_non_null(strstr(warning, "has a gap"));
	usleep(1100000); /* a full disk is left alone for a second */
	guest_writes("goes on");
	close_logged();
	file_content(log_path, got, sizeof got);
	assert_string_equal(got, "begun \n[doppel: 800 bytes of output are missing here]\ngoes on");
	close(messages[0]);
	close(messages[1]);
	unlink(log_path);
	unlink(aside_path);
}

static void test_log_of_another_kind(void **state)
{
	struct console_config config = {.kind = CONSOLE_NONE, .loop = loop, .log = log_path};
	struct console *made = NULL;
	struct error e;

	(void)state;
	assert_int_equal(mkfifo(log_path, 0600), 0);
	assert_int_equal(console_new(&made, &config, &e), -EINVAL);
	assert_non_null(strstr(e.message, log_path));
	unlink(log_path);
	assert_int_equal(symlink("/tmp/elsewhere", log_path), 0);
	assert_int_equal(console_new(&made, &config, &e), -ELOOP);
	unlink(log_path);
	assert_null(made);
}

static int make_folder(void **state)
{
	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(log_path, sizeof log_path, "%s/console.log", folder);
	snprintf(aside_path, sizeof aside_path, "%s/console.log.1", folder);
	return 0;
}

static int remove_folder(void **state)
{
	(void)state;
	return rmdir(folder);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_latest_then_new),
		TEST(test_detaching),
		TEST(test_one_writer),
		TEST(test_take),
		TEST(test_deaf_guest),
		TEST(test_deaf_guest_writer_leaves),
		TEST(test_size),
		TEST(test_slow_viewer),
		TEST(test_end),
		TEST(test_hostile),
		TEST(test_too_many),
		TEST(test_beside_a_terminal),
		TEST(test_beside_a_pipe),
		TEST(test_log),
		TEST(test_log_is_bounded),
		TEST(test_log_without_room),
		TEST(test_log_of_another_kind),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
