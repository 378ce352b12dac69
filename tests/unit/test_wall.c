#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "wall/wall.h"

#define NOBODY 65534

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

/* Enough to try things with: what stands in the way is then not the filter alone. */
static const char *const probing_calls[] = {
	"openat",      "connect",   "socket", "bind",  "newfstatat", "fstat",     "fcntl",    "getsockopt", "mkdirat",
	"unlinkat",    "mkdir",     "unlink", "dup",   "prctl",      "getuid",    "geteuid",  "prlimit64",  "getppid",
	"getdents64",  "chdir",     "getcwd", "clone", "clone3?",    "renameat2", "readlink", "statfs",     NULL,
};
static const struct wall_filter probing = {probing_calls};
static const char *const no_calls[] = {NULL};
static const struct wall_filter least = {no_calls};

static char folder[64];

/* Root of this host, or of a user namespace that knows no other ids. */
static bool knows_all_ids(void)
{
	unsigned inside = 0, outside = 0, count = 0;
	FILE *map = fopen("/proc/self/uid_map", "re");

	if (map) {
		if (fscanf(map, "%u %u %u", &inside, &outside, &count) != 3)
			count = 0;
		fclose(map);
	}
	return count > NOBODY;
}

/* Spawns, waits for one answer and for the end; the wait status. */
static int run(const struct wall_plan *plan, int *answer, unsigned *parts)
{
	struct wall_process process;
	struct error e = {.kind = ERROR_NONE};
	struct pollfd waiting = {.events = POLLIN};
	int status = 0, r = wall_spawn(&process, plan, &e);

	if (r < 0)
		fail_msg("spawn: %d %s", r, e.message);
	*parts = process.parts;
	*answer = -1;
	waiting.fd = process.socket;
	assert_int_equal(poll(&waiting, 1, 10000), 1);
	(void)!read(process.socket, answer, sizeof *answer);
	while (waitpid(process.pid, &status, 0) < 0 && errno == EINTR)
		;
	process.pid = 0;
	wall_end(&process, NULL);
	return status;
}

static void tell(int socket, int answer)
{
	(void)!write(socket, &answer, sizeof answer);
}

/* The errno of a call, 0 when it worked. */
#define OUTCOME(call) ((call) < 0 ? errno : 0)

static void assert_one_of(int value, int a, int b)
{
	if (value != a && value != b)
		fail_msg("%d (%s) is neither %d nor %d", value, strerror(value), a, b);
}

static int open_file(int socket, void *context)
{
	tell(socket, OUTCOME(open(context, O_RDONLY)));
	return 7;
}

static void files_are_out_of_reach(void **state)
{
	static char path[] = "/etc/passwd";
	struct wall_plan plan = {.name = "wall-test", .filter = &probing, .main = open_file, .context = path};
	unsigned parts;
	int answer, status = run(&plan, &answer, &parts);

	(void)state;
	assert_int_equal(WEXITSTATUS(status), 7);
	assert_one_of(answer, ENOENT, EACCES);
}

static void a_named_file_can_be_read(void **state)
{
	static char path[] = "/etc/passwd", missing[] = "/etc/group";
	const char *const files[] = {path, "/etc/not-there", NULL};
	struct wall_plan plan = {
		.name = "wall-test", .filter = &probing, .files = files, .main = open_file, .context = path};
	unsigned parts;
	int answer;

	(void)state;
	run(&plan, &answer, &parts);
	assert_int_equal(answer, 0);
	plan.context = missing;
	run(&plan, &answer, &parts);
	assert_one_of(answer, ENOENT, EACCES);
}

static void write_file(void)
{
	(void)!open("/dev/null", O_WRONLY);
}

static void trace_parent(void)
{
	ptrace(PTRACE_ATTACH, getppid(), 0, 0);
}

static void start_program(void)
{
	static char name[] = "/bin/true";
	char *const arguments[] = {name, NULL};

	execv(name, arguments);
}

static void start_process(void)
{
	if (syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL) == 0)
		_exit(0);
}

static void open_unix_socket(void)
{
	(void)!socket(AF_UNIX, SOCK_STREAM, 0);
}

static void signal_parent(void)
{
	kill(getppid(), 0);
}

static void make_code(void)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	mprotect(page, 4096, PROT_READ | PROT_EXEC);
}

static void make_namespace(void)
{
	(void)!unshare(CLONE_NEWUSER);
}

static const struct {
	const char *what;
	void (*call)(void);
} forbidden[] = {
	{"open for writing", SANITIZED ? NULL : write_file},
	{"ptrace", trace_parent},
	{"execve", start_program},
	{"fork", start_process},
	{"a Unix socket", open_unix_socket},
	{"kill", signal_parent},
	{"mprotect(PROT_EXEC)", make_code},
	{"unshare", make_namespace},
};

static int call_it(int socket, void *context)
{
	void (*const *call)(void) = context;

	(*call)();
	tell(socket, 0);
	return 7;
}

static void forbidden_calls_kill(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(forbidden); i++) {
		void (*call)(void) = forbidden[i].call;
		struct wall_plan plan = {
			.name = "wall-test", .filter = &probing, .main = call_it, .context = &call};
		unsigned parts;
		char how[96];
		int answer, status;

		if (!call)
			continue;
		status = run(&plan, &answer, &parts);
		wall_describe_end(status, how, sizeof how);
		if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS)
			fail_msg("%s: the process %s", forbidden[i].what, how);
		assert_string_equal(how, "was killed by SIGSYS, a system call that its walls forbid");
	}
}

static int connect_to(int to_parent, void *context)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	tell(to_parent, fd < 0 ? errno : OUTCOME(connect(fd, context, sizeof(struct sockaddr_in))));
	return 7;
}

static void connects_only_with_network(void **state)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct wall_plan plan = {
		.name = "wall-test", .filter = &probing, .main = connect_to, .context = &address, .network = true};
	socklen_t length = sizeof address;
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), answer;
	unsigned parts;

	(void)state;
	assert_int_equal(bind(listener, (void *)&address, sizeof address), 0);
	assert_int_equal(listen(listener, 5), 0);
	assert_int_equal(getsockname(listener, (void *)&address, &length), 0);
	run(&plan, &answer, &parts);
	assert_int_equal(answer, 0);
	plan.network = false;
	run(&plan, &answer, &parts);
	assert_one_of(answer, ENETUNREACH, EACCES);
	close(listener);
}

static int count_descriptors(int socket, void *context)
{
	struct stat file;
	int open_ones = 0;

	(void)context;
	for (int fd = 0; fd < 1024; fd++)
		if (fcntl(fd, F_GETFD) >= 0)
			open_ones = open_ones * 10 + fd;
	for (int fd = 0; fd < (SANITIZED ? 2 : 3); fd++)
		if (fstat(fd, &file) < 0 || file.st_rdev != 0x103)
			open_ones = -fd - 1;
	tell(socket, open_ones);
	return 7;
}

static void nothing_is_inherited(void **state)
{
	struct wall_plan plan = {.name = "wall-test", .filter = &probing, .main = count_descriptors};
	int answer, extra = open("/etc/passwd", O_RDONLY);
	unsigned parts;

	(void)state;
	run(&plan, &answer, &parts);
	assert_int_equal(answer, 123);
	close(extra);
}

static int wait_for_ever(int socket, void *context)
{
	(void)socket;
	(void)context;
	for (;;)
		poll(NULL, 0, -1);
	return 0;
}

/* Adopts the child of a parent that ends, and sees how it ends. */
static void dies_with_its_parent(void **state)
{
	struct wall_plan plan = {.name = "wall-test", .filter = &least, .main = wait_for_ever};
	struct wall_process process;
	pid_t parent;
	int status, ends[2];
	pid_t child = 0;

	(void)state;
	assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	parent = fork();
	if (parent == 0) {
		child = wall_spawn(&process, &plan, NULL) < 0 ? 0 : process.pid;
		(void)!write(ends[1], &child, sizeof child);
		_exit(0);
	}
	assert_int_equal(waitpid(parent, &status, 0), parent);
	assert_int_equal(read(ends[0], &child, sizeof child), sizeof child);
	assert_true(child > 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGKILL);
	close(ends[0]);
	close(ends[1]);
}

static int answer_until_closed(int socket, void *context)
{
	char byte;

	(void)context;
	while (read(socket, &byte, 1) > 0)
		(void)!write(socket, &byte, 1);
	return 0;
}

static void a_survivor_outlives_us(void **state)
{
	struct wall_plan plan = {.name = "wall-test", .filter = &least, .main = answer_until_closed, .survives = true};
	struct wall_process process;
	struct pollfd waiting;
	char byte = 'x';
	int other, status;

	(void)state;
	assert_int_equal(wall_spawn(&process, &plan, NULL), 0);
	assert_int_equal(process.pid, 0);
	other = dup(process.socket);
	wall_end(&process, NULL);
	assert_int_equal(write(other, &byte, 1), 1);
	waiting = (struct pollfd){.fd = other, .events = POLLIN};
	assert_int_equal(poll(&waiting, 1, 10000), 1);
	assert_int_equal(read(other, &byte, 1), 1);
	close(other);
	/* It became ours when the process between ended: dies_with_its_parent made us a subreaper. */
	assert_true(wait(&status) > 0);
	assert_int_equal(status, 0);
}

/* One try in the served folder: bit n is set when try n worked. */
static int try_folder(int socket, void *context)
{
	static const struct {
		const char *path;
		int flags;
	} tries[] = {
		{"in", O_RDONLY},           {"new", O_WRONLY | O_CREAT},      {"out", O_RDONLY},
		{"up", O_RDONLY},           {"../../../etc/passwd", O_RDONLY}, {"/etc/passwd", O_RDONLY},
		{"private", O_RDONLY},
	};
	int worked = 0;

	(void)context;
	for (size_t i = 0; i < ARRAY_SIZE(tries); i++)
		if (open(tries[i].path, tries[i].flags, 0600) >= 0)
			worked |= 1 << i;
	tell(socket, worked);
	return 0;
}

static void make_in_folder(const char *name, const char *link, mode_t mode)
{
	char path[128];
	int fd;

	snprintf(path, sizeof path, "%s/%s", folder, name);
	if (link) {
		assert_int_equal(symlink(link, path), 0);
		return;
	}
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, mode);
	assert_true(fd >= 0);
	close(fd);
	if (geteuid() == 0 && mode == 0600 && knows_all_ids())
		assert_int_equal(chown(path, 1234, 1234), 0);
}

static void remove_from_folder(const char *name)
{
	char path[128];

	snprintf(path, sizeof path, "%s/%s", folder, name);
	unlink(path);
}

static void a_folder_is_all_there_is(void **state)
{
	struct wall_plan plan = {.name = "wall-test", .filter = &probing, .folder = folder, .main = try_folder};
	unsigned parts;
	int answer;

	(void)state;
	strcpy(folder, "/tmp/doppel-wall-XXXXXX");
	assert_non_null(mkdtemp(folder));
	assert_int_equal(chmod(folder, 0777), 0);
	make_in_folder("in", NULL, 0644);
	make_in_folder("private", NULL, 0600);
	make_in_folder("out", "/etc/passwd", 0);
	make_in_folder("up", "../../etc/passwd", 0);
	plan.folder_read_only = true;
	run(&plan, &answer, &parts);
	assert_int_equal(answer & 0x3f, 0x01);
	plan.folder_read_only = false;
	run(&plan, &answer, &parts);
	assert_int_equal(answer, geteuid() == 0 && knows_all_ids() ? 0x03 : 0x43);
	plan.keep_ids = true;
	run(&plan, &answer, &parts);
	assert_int_equal(answer, 0x43);
	remove_from_folder("in");
	remove_from_folder("new");
	remove_from_folder("private");
	remove_from_folder("out");
	remove_from_folder("up");
	assert_int_equal(rmdir(folder), 0);
}

static int fail_to_prepare(void *context, struct error *e)
{
	(void)context;
	return error_set(e, ERROR_NOT_FOUND, -ENOENT, "no %s", "luck");
}

static void a_failed_preparation_is_told(void **state)
{
	struct wall_plan plan = {
		.name = "wall-test", .filter = &least, .prepare = fail_to_prepare, .main = wait_for_ever};
	struct wall_process process = {.pid = 0};
	struct error e = {.kind = ERROR_NONE};

	(void)state;
	assert_int_equal(wall_spawn(&process, &plan, &e), -ENOENT);
	assert_int_equal(e.kind, ERROR_NOT_FOUND);
	assert_string_equal(e.message, "no luck");
	assert_int_equal(process.pid, 0);
	plan.prepare = NULL;
	plan.folder = "/not/there";
	assert_int_equal(wall_spawn(&process, &plan, &e), -ENOENT);
	assert_non_null(strstr(e.message, "/not/there"));
}

static bool can_unshare(void)
{
	pid_t child = fork();
	int status, flags = CLONE_NEWNS | CLONE_NEWNET | (geteuid() ? CLONE_NEWUSER : 0);

	if (child == 0)
		_exit(unshare(flags) < 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	return status == 0;
}

static void the_parts_that_hold_are_told(void **state)
{
	struct wall_plan plan = {.name = "wall-test", .filter = &least, .main = wait_for_ever};
	unsigned expected = WALL_ALL;
	struct wall_process process;
	char names[128], expected_names[128];
	int status;

	(void)state;
	if (syscall(SYS_landlock_create_ruleset, NULL, (size_t)0, 1) < 1)
		expected &= ~(unsigned)WALL_LANDLOCK;
	if (!knows_all_ids())
		expected &= ~(unsigned)WALL_USER;
	if (!can_unshare())
		expected &= ~(unsigned)(WALL_NAMESPACES | (geteuid() ? WALL_ROOT : 0));
	assert_int_equal(wall_spawn(&process, &plan, NULL), 0);
	wall_names(process.parts, names, sizeof names);
	wall_names(expected, expected_names, sizeof expected_names);
	assert_string_equal(names, expected_names);
	wall_end(&process, &status);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(process.pid, 0);
	wall_end(&process, NULL);
	wall_names(WALL_SECCOMP | WALL_LIMITS, names, sizeof names);
	assert_string_equal(names, "seccomp, limits");
	wall_names(WALL_ALL, names, 6);
	assert_string_equal(names, "no ne");
}

static int report_limits(int socket, void *context)
{
	struct rlimit core, files;

	(void)context;
	if (getrlimit(RLIMIT_CORE, &core) < 0 || getrlimit(RLIMIT_NOFILE, &files) < 0)
		return 1;
	tell(socket, (int)(core.rlim_max * 1000 + files.rlim_max));
	if (!SANITIZED && mmap(NULL, 64 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED)
		return 2;
	return mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED;
}

static void limits_hold(void **state)
{
	struct wall_plan plan = {.name = "wall-test",
				 .filter = &probing,
				 .main = report_limits,
				 .memory_limit = 16 * MIB,
				 .files_limit = 20};
	unsigned parts;
	int answer, status = run(&plan, &answer, &parts);

	(void)state;
	assert_int_equal(answer, 20);
	assert_int_equal(status, 0);
}

static int run_all(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(files_are_out_of_reach),
		cmocka_unit_test(a_named_file_can_be_read),
		cmocka_unit_test(forbidden_calls_kill),
		cmocka_unit_test(connects_only_with_network),
		cmocka_unit_test(nothing_is_inherited),
		cmocka_unit_test(dies_with_its_parent),
		cmocka_unit_test(a_survivor_outlives_us),
		cmocka_unit_test(a_folder_is_all_there_is),
		cmocka_unit_test(a_failed_preparation_is_told),
		cmocka_unit_test(the_parts_that_hold_are_told),
		cmocka_unit_test(limits_hold),
	};

	return cmocka_run_group_tests_name(geteuid() == 0 ? "wall-as-root" : "wall-as-user", tests, NULL, NULL);
}

/* As root: everything once more as an ordinary user. */
int main(void)
{
	int failed = run_all(), status = 0;

	if (geteuid() != 0 || !knows_all_ids())
		return failed;
	fflush(NULL);
	if (fork() == 0) {
		if (setgroups(0, NULL) < 0 || setresgid(NOBODY, NOBODY, NOBODY) < 0 ||
		    setresuid(NOBODY, NOBODY, NOBODY) < 0)
			_exit(1);
		failed = run_all();
		fflush(NULL);
		_exit(failed);
	}
	wait(&status);
	return failed || status != 0;
}
