/* One who looks at a console: a child on a pseudo terminal or on pipes; the test is the machine's end. */
#include "console_bench.h"

#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>

#include "cli/log_tail.h"
#include "cli/viewer.h"
#include "machine/keys.h"
#include "machine/viewing.h"

static int master, slave, machine, result;
static pid_t child;
static struct termios cooked;

/* In the child. `in` and `out` become standard input and output. */
_Noreturn static void view(int socket, int in, int out, bool writes, int to)
{
	struct viewer_outcome outcome = {.end = VIEWER_LOST};
	struct error e = {.kind = ERROR_NONE};
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid();
	if (isatty(in) && ioctl(in, TIOCSCTTY, 0) < 0)
		_exit(99);
	if (dup2(in, 0) < 0 || dup2(out, 1) < 0)
		_exit(98);
	/* The test's own ends, or nothing would ever be closed. */
	for (int fd = 3; fd < 256; fd++)
		if (fd != socket && fd != to)
			close(fd);
	if (viewer_run(socket, writes, &outcome, &e) < 0) {
		fprintf(stderr, "viewer: %s\n", e.message);
		_exit(97);
	}
	if (write(to, &outcome, sizeof outcome) != sizeof outcome)
		_exit(96);
	_exit(0);
}

static void start(int in, int out, bool writes)
{
	int ends[2], results[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
	make_pipe(results);
	fflush(NULL);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		close(ends[0]);
		view(ends[1], in, out, writes, results[1]);
	}
	close(ends[1]);
	close(results[1]);
	machine = ends[0];
	result = results[0];
}

static int setup(void **state)
{
	(void)state;
	make_terminal(&master, &slave);
	return tcgetattr(slave, &cooked);
}

static int teardown(void **state)
{
	(void)state;
	close(master);
	close(slave);
	return 0;
}

/* How it ended, and that the terminal is as before. */
static struct viewer_outcome outcome(void)
{
	struct viewer_outcome got;
	struct termios now;
	int status;

	assert_int_equal(read_some(result, &got, sizeof got), sizeof got);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_int_equal(tcgetattr(slave, &now), 0);
	assert_int_equal(now.c_lflag, cooked.c_lflag);
	assert_int_equal(now.c_iflag, cooked.c_iflag);
	assert_int_equal(now.c_oflag, cooked.c_oflag);
	close(machine);
	close(result);
	return got;
}

static void tell(enum viewing_kind kind, const void *bytes, size_t length)
{
	char message[VIEWING_MESSAGE];

	message[0] = (char)kind;
	memcpy(message + 1, bytes, length);
	assert_int_equal(send(machine, message, 1 + length, MSG_NOSIGNAL), 1 + length);
}

static void shows(const char *text)
{
	tell(VIEWING_OUT, text, strlen(text));
}

/* The next message of a kind; other kinds are passed over. */
static size_t next_of(enum viewing_kind kind, char *bytes, size_t room)
{
	char message[VIEWING_MESSAGE];
	size_t n;

	do {
		n = read_some(machine, message, sizeof message);
		if (!n)
			fail_msg("closed in place of '%c'", (char)kind);
	} while (message[0] != (char)kind);
	assert_true(n - 1 <= room);
	memcpy(bytes, message + 1, n - 1);
	return n - 1;
}

static void gets_input(const char *text)
{
	char got[VIEWING_INPUT + 1] = "";
	size_t have = 0;

	while (have < strlen(text))
		have += next_of(VIEWING_IN, got + have, sizeof got - 1 - have);
	assert_string_equal(got, text);
}

static void gets_size(unsigned columns, unsigned rows)
{
	le16_t size[2];

	assert_int_equal(next_of(VIEWING_SIZE, (char *)size, sizeof size), sizeof size);
	assert_int_equal(le16_get(size[0]), columns);
	assert_int_equal(le16_get(size[1]), rows);
}

static void set_size(unsigned short columns, unsigned short rows)
{
	const struct winsize size = {.ws_col = columns, .ws_row = rows};

	assert_int_equal(ioctl(master, TIOCSWINSZ, &size), 0);
}

static void on_a_terminal(void **state)
{
	le64_t lost = le64_put(1234);

	(void)state;
	set_size(100, 40);
	start(slave, slave, true);
	gets_size(100, 40);
	shows("hello\n");
	expect(master, "hello\n");
	send_bytes(master, "ls\r\3\1\1x", 7); /* Ctrl-C is the guest's; Ctrl-A comes by typing it twice */
	gets_input("ls\r\3\1x");
	set_size(80, 25);
	gets_size(80, 25);
	tell(VIEWING_NOTICE, "bob is \33here", 12);
	expect(master, "\r\n[doppel: bob is  here]\r\n");
	tell(VIEWING_LOST, &lost, sizeof lost);
	expect(master, "\r\n[doppel: 1234 bytes of output are left out: they came faster than they were taken]\r\n");
	send_text(master, "\1h");
	expect(master, keys_help_attached);
	send_text(master, "\1x\1d"); /* what switches off is not for those who are elsewhere */
	assert_int_equal(outcome().end, VIEWER_LEFT);
}

static void who_only_watches(void **state)
{
	(void)state;
	start(slave, slave, false);
	shows("hello");
	expect(master, "hello");
	send_text(master, "typed\1d");
	assert_int_equal(outcome().end, VIEWER_LEFT);
}

static void the_machine_ends(void **state)
{
	struct viewer_outcome got;

	(void)state;
	start(slave, slave, true);
	shows("bye\n");
	tell(VIEWING_END, "\7web has stopped", 16);
	got = outcome();
	assert_int_equal(got.end, VIEWER_OVER);
	assert_int_equal(got.code, 7);
	assert_string_equal(got.message, "web has stopped");
	expect(master, "bye\n");
}

static void the_monitor_is_killed(void **state)
{
	(void)state;
	start(slave, slave, true);
	gets_size(0, 0);
	shows("bye");
	shutdown(machine, SHUT_RDWR);
	assert_int_equal(outcome().end, VIEWER_LOST);
	expect(master, "bye");
}

static void a_signal(void **state)
{
	struct viewer_outcome got;

	(void)state;
	start(slave, slave, true);
	shows("on");
	expect(master, "on");
	kill(child, SIGTERM);
	got = outcome();
	assert_int_equal(got.end, VIEWER_SIGNAL);
	assert_int_equal(got.code, SIGTERM);
}

/* Nothing is lost and nothing is dropped, also while the machine takes nothing; the end of input ends nothing. */
static void a_pipe(void **state)
{
	static char sent[300 * 1024], got[sizeof sent];
	int input[2], output[2];
	size_t have = 0, done = 0;

	(void)state;
	make_pipe(input);
	make_pipe(output);
	for (size_t i = 0; i < sizeof sent; i++)
		sent[i] = (char)(i * 7 + i / 251);
	start(input[0], output[1], true);
	assert_int_equal(fcntl(input[1], F_SETFL, O_NONBLOCK), 0);
	while (have < sizeof got) {
		ssize_t n = done < sizeof sent ? write(input[1], sent + done, sizeof sent - done) : 0;
		struct pollfd p = {.fd = machine, .events = POLLIN};

		done += n > 0 ? (size_t)n : 0;
		if (n < 0 || done == sizeof sent) { /* it takes no more: so do we */
			if (poll(&p, 1, LONG_MS) != 1)
				fail_msg("%zu of %zu bytes came", have, sizeof got);
			have += next_of(VIEWING_IN, got + have, sizeof got - have);
		}
	}
	assert_memory_equal(got, sent, sizeof got);
	close(input[1]);
	shows("still there");
	expect(output[0], "still there");
	tell(VIEWING_END, "\0over", 5);
	assert_int_equal(outcome().end, VIEWER_OVER);
	close(input[0]);
	close(output[0]);
	close(output[1]);
}

/* Whoever reads the output takes nothing: keys work nevertheless. */
static void stuck_output(void **state)
{
	static char much[VIEWING_OUTPUT];
	int output[2];
	unsigned sent = 0;

	(void)state;
	make_pipe(output);
	start(slave, output[1], true);
	memset(much, 'x', sizeof much);
	for (unsigned idle = 0; idle < 10;) {
		char message[VIEWING_MESSAGE] = {VIEWING_OUT};

		memcpy(message + 1, much, sizeof much);
		if (send(machine, message, sizeof message, MSG_DONTWAIT | MSG_NOSIGNAL) > 0) {
			sent++;
			idle = 0;
		} else {
			usleep(20000);
			idle++;
		}
	}
	assert_in_range(sent, 64, 1000); /* it keeps some, but not without bound */
	send_text(master, "\1d");
	assert_int_equal(outcome().end, VIEWER_LEFT);
	close(output[0]);
	close(output[1]);
}

static void nobody_reads_the_output(void **state)
{
	int output[2];

	(void)state;
	make_pipe(output);
	start(slave, output[1], true);
	close(output[1]);
	shows("first");
	expect(output[0], "first");
	close(output[0]);
	assert_int_equal(outcome().end, VIEWER_LEFT);
}

static void the_terminal_goes(void **state)
{
	int status;

	(void)state;
	start(slave, slave, true);
	shows("on");
	expect(master, "on");
	close(master);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	close(machine);
	close(result);
	master = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* ---- Logs ---- */

static int folder;
static char path[] = "/tmp/doppel-tail-XXXXXX";

static int make_folder(void **state)
{
	(void)state;
	strcpy(path + sizeof path - 7, "XXXXXX");
	assert_non_null(mkdtemp(path));
	folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return folder < 0;
}

static int remove_folder(void **state)
{
	(void)state;
	unlinkat(folder, "console.log", 0);
	unlinkat(folder, "console.log.1", 0);
	close(folder);
	return rmdir(path);
}

static void put(const char *file, const char *text, int flags)
{
	int fd = openat(folder, file, O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0600);

	assert_true(fd >= 0);
	send_text(fd, text);
	close(fd);
}

static struct log_tail *open_tail(void)
{
	struct log_tail *tail;
	struct error e;

	if (log_tail_open(&tail, folder, "console.log", &e) < 0)
		fail_msg("%s", e.message);
	return tail;
}

static void expect_log(struct log_tail *tail, const char *text)
{
	char got[256] = "";
	size_t have = 0;
	ssize_t n;

	while ((n = log_tail_read(tail, (uint8_t *)got + have, sizeof got - 1 - have, NULL)) > 0)
		have += (size_t)n;
	assert_int_equal(n, 0);
	assert_string_equal(got, text);
}

static void last_lines(void **state)
{
	static const struct {
		uint64_t lines;
		const char *text;
	} cases[] = {{0, ""},		{1, "five"},		    {2, "four\nfive"},
		     {3, "three\nfour\nfive"}, {4, "two\nthree\nfour\nfive"}, {9, "one\ntwo\nthree\nfour\nfive"}};
	struct log_tail *tail;

	(void)state;
	put("console.log.1", "one\ntwo\nth", O_TRUNC);
	put("console.log", "ree\nfour\nfive", O_TRUNC);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		tail = open_tail();
		log_tail_skip(tail, cases[i].lines);
		expect_log(tail, cases[i].text);
		log_tail_close(tail);
	}
	put("console.log", "ree\nfour\nfive\n", O_TRUNC);
	tail = open_tail();
	log_tail_skip(tail, 2);
	expect_log(tail, "four\nfive\n");
	log_tail_close(tail);
}

static void follows(void **state)
{
	struct log_tail *tail;

	(void)state;
	put("console.log", "one ", O_TRUNC);
	put("console.log.1", "", O_TRUNC);
	tail = open_tail();
	expect_log(tail, "one ");
	put("console.log", "two ", O_APPEND);
	expect_log(tail, "two ");
	put("console.log.1", "one two three ", O_TRUNC);
	put("console.log", "four", O_TRUNC);
	expect_log(tail, "three four");
	expect_log(tail, "");
	log_tail_close(tail);
}

static void no_log(void **state)
{
	struct log_tail *tail = NULL;
	struct error e;

	(void)state;
	assert_int_equal(log_tail_open(&tail, folder, "console.log", &e), -ENOENT);
	assert_int_equal(e.kind, ERROR_NOT_FOUND);
	assert_null(tail);
	/* Without a file that was put aside: of a log that just grows. */
	put("console.log", "one\ntwo\n", O_TRUNC);
	tail = open_tail();
	log_tail_skip(tail, 1);
	expect_log(tail, "two\n");
	put("console.log", "new\n", O_TRUNC);
	expect_log(tail, "new\n");
	log_tail_close(tail);
}

#define VIEWER(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define LOG(name)    cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

int main(void)
{
	const struct CMUnitTest tests[] = {
		VIEWER(on_a_terminal),
		VIEWER(who_only_watches),
		VIEWER(the_machine_ends),
		VIEWER(the_monitor_is_killed),
		VIEWER(a_signal),
		VIEWER(a_pipe),
		VIEWER(stuck_output),
		VIEWER(nobody_reads_the_output),
		VIEWER(the_terminal_goes),
		LOG(last_lines),
		LOG(follows),
		LOG(no_log),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
