/* Machines beside others that change them, after killed processes, and with damaged files. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "registry/registry.h"
#include "registry_bench.h"

static int create(const char *name)
{
	struct record record = {.image = "debian-tiny", .memory_bytes = MIB, .cpus = 1};

	return registry_create(registry, name, "x: 1\n", 5, &record, &failure);
}

static void path_of(const char *name, const char *file, char path[PATH_MAX])
{
	registry_path(registry, name, file, path);
}

static int wait_status(pid_t child)
{
	int status;

	assert_int_equal(waitpid(child, &status, 0), child);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

/* A process of its own that exits with what `fn` returns. */
static pid_t start(int (*fn)(int arg), int arg)
{
	pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0) {
		/* A test that fails does not leave them behind. */
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit(fn(arg));
	}
	return child;
}

/* Waits until everybody has come. */
static int gate[2];

static int create_at_the_gate(int arg)
{
	char byte;
	int r;

	(void)arg;
	close(gate[1]);
	(void)!read(gate[0], &byte, 1);
	r = create("web");
	return r == 0 ? 0 : r == -EEXIST && failure.kind == ERROR_STATE ? 1 : 2;
}

static void of_many_creators_one_wins(void **state)
{
	pid_t child[8];
	int count[3] = {0};

	(void)state;
	for (unsigned round = 0; round < 10; round++) {
		assert_int_equal(pipe(gate), 0);
		for (unsigned i = 0; i < ARRAY_SIZE(child); i++)
			child[i] = start(create_at_the_gate, 0);
		close(gate[0]);
		close(gate[1]);
		for (unsigned i = 0; i < ARRAY_SIZE(child); i++) {
			int status = wait_status(child[i]);

			assert_in_range(status, 0, 1);
			count[status]++;
		}
		assert_int_equal(count[0], round + 1);
		assert_int_equal(entries_in("machines"), 1);
		assert_ok(registry_remove(registry, "web", &failure));
	}
	assert_int_equal(count[1], 10 * (ARRAY_SIZE(child) - 1));
}

static void one_has_the_lock(void **state)
{
	struct record record;
	int first = -1, second = -1;

	(void)state;
	assert_ok(create("web"));
	assert_false(registry_is_held(registry, "web"));
	assert_ok(registry_lock(registry, "web", &first, &failure));
	assert_true(registry_is_held(registry, "web"));
	assert_int_equal(fcntl(first, F_GETFD), FD_CLOEXEC);
	assert_int_equal(registry_lock(registry, "web", &second, &failure), -EBUSY);
	assert_int_equal(failure.kind, ERROR_STATE);
	assert_int_equal(second, -1);
	assert_int_equal(registry_remove(registry, "web", &failure), -EBUSY);
	assert_int_equal(failure.kind, ERROR_STATE);
	assert_ok(registry_record(registry, "web", &record, &failure));
	close(first);
	assert_ok(registry_lock(registry, "web", &second, &failure));
	close(second);
	assert_false(registry_is_held(registry, "web"));
	assert_false(registry_is_held(registry, "wbe"));
	assert_int_equal(registry_lock(registry, "wbe", &second, &failure), -ENOENT);
}

static int hold_lock(int ms)
{
	int fd;

	if (registry_lock(registry, "web", &fd, &failure) < 0)
		return 1;
	usleep((useconds_t)ms * 1000);
	return 0;
}

/* Its record says that it is at rest, so its lock is free in a moment. */
static void a_monitor_that_ends_is_waited_for(void **state)
{
	pid_t child;
	int fd;

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		assert_ok(create("web"));
		child = start(hold_lock, 200);
		while (!registry_is_held(registry, "web"))
			sched_yield();
		if (i == 0) {
			assert_ok(registry_lock(registry, "web", &fd, &failure));
			close(fd);
		}
		assert_ok(registry_remove(registry, "web", &failure));
		assert_int_equal(wait_status(child), 0);
	}
}

static void write_state(const char *name, enum machine_state now, pid_t monitor)
{
	struct record record = {.state = now, .monitor = monitor, .memory_bytes = MIB, .cpus = 1, .created_s = 7};
	int fd = -1;

	assert_ok(registry_folder(registry, name, &fd, &failure));
	assert_ok(registry_write_record(fd, &record, &failure));
	close(fd);
}

static int live_until_killed(int ready)
{
	int fd = -1;

	if (registry_lock(registry, "web", &fd, &failure) < 0)
		return 1;
	write_state("web", MACHINE_RUNNING, getpid());
	if (write(ready, "r", 1) != 1)
		return 2;
	while (true)
		pause();
}

static pid_t start_monitor(void)
{
	int ready[2];
	pid_t child;
	char byte;

	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	child = start(live_until_killed, ready[1]);
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	return child;
}

static void a_killed_monitor_is_noticed(void **state)
{
	struct record record, *list;
	pid_t child;
	size_t count;
	int fd;

	(void)state;
	assert_ok(create("web"));
	child = start_monitor();
	for (unsigned i = 0; i < 3; i++) { /* asking takes nothing */
		assert_ok(registry_record(registry, "web", &record, &failure));
		assert_int_equal(record.state, MACHINE_RUNNING);
		assert_int_equal(record.monitor, child);
	}
	kill(child, SIGKILL);
	assert_int_equal(wait_status(child), 1000 + SIGKILL);
	assert_ok(registry_record(registry, "web", &record, &failure));
	assert_int_equal(record.state, MACHINE_FAILED);
	assert_int_equal(record.monitor, 0);
	assert_non_null(strstr(record.message, "was killed"));
	assert_int_equal(record.created_s, 7);
	assert_ok(registry_list(registry, &list, &count, &failure));
	assert_int_equal(count, 1);
	assert_int_equal(list->state, MACHINE_FAILED);
	free(list);
	assert_ok(registry_lock(registry, "web", &fd, &failure));
	close(fd);
	assert_ok(registry_remove(registry, "web", &failure));
}

static void put_file(const char *path, const char *bytes, size_t length)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, length), length);
	close(fd);
}

static void a_restart_of_the_host_is_noticed(void **state)
{
	char path[PATH_MAX], bytes[4096] = "", *boot;
	struct record record;
	pid_t child;
	FILE *file;

	(void)state;
	assert_ok(create("web"));
	child = start_monitor();
	kill(child, SIGKILL);
	wait_status(child);
	path_of("web", "state.json", path);
	file = fopen(path, "r");
	assert_non_null(file);
	assert_true(fread(bytes, 1, sizeof bytes - 1, file) > 0);
	fclose(file);
	boot = strstr(bytes, "\"boot\": \"");
	assert_non_null(boot);
	boot[9] = boot[9] == 'f' ? 'e' : 'f';
	put_file(path, bytes, strlen(bytes));
	assert_ok(registry_record(registry, "web", &record, &failure));
	assert_int_equal(record.state, MACHINE_FAILED);
	assert_non_null(strstr(record.message, "the host was started anew"));
}

static void what_ended_in_order_is_no_failure(void **state)
{
	struct record record;

	(void)state;
	assert_ok(create("web"));
	write_state("web", MACHINE_STOPPED, getpid());
	assert_ok(registry_record(registry, "web", &record, &failure));
	assert_int_equal(record.state, MACHINE_STOPPED);
	assert_int_equal(record.monitor, 0);
}

#define GOOD                                                                                                          \
	"\"version\": 1, \"state\": \"stopped\", \"stalled\": false, \"foreground\": false, \"monitor\": 0, "        \
	"\"boot\": \"\", \"created\": 1, \"changed\": 2, \"message\": \"\", \"image\": \"i\", \"memory\": 3, \"cpus\": 4"

static const char good[] = "{" GOOD ", \"exit_code\": 5}", cut[] = "{" GOOD ", \"exit_code\": 5}\0{}";
static const char deep[4096] = {[0 ... 4094] = '['}, endless[9000] = {[0 ... 8998] = ' '};

static const struct {
	const char *text;
	size_t length; /* 0: of the text */
} damages[] = {
	{"", 0},
	{"{", 0},
	{"[]", 0},
	{"null", 0},
	{"{" GOOD "}", 0}, /* no exit_code */
	{"{" GOOD ", \"exit_code\": \"0\"}", 0},
	{"{" GOOD ", \"exit_code\": 3000000000}", 0},
	{"{" GOOD ", \"exit_code\": 99999999999999999999}", 0},
	{"{" GOOD ", \"exit_code\": 0.5}", 0},
	{"{" GOOD ", \"exit_code\": 0, \"cpus\": 4}", 0},
	{"{" GOOD ", \"exit_code\": 0", 0},
	{cut, sizeof cut - 1},
	{"{" GOOD ", \"exit_code\": 0} trailing", 0},
	{"\xff\xfe", 0},
	{deep, 0},
	{endless, 0},
};

static void assert_damaged(const char *what)
{
	struct record record = {0}, *list = NULL;
	size_t count = 0;

	assert_ok(registry_record(registry, "web", &record, &failure));
	if (record.state != MACHINE_FAILED || !strstr(record.message, "state.json"))
		fail_msg("%s: state %d, '%s'", what, (int)record.state, record.message);
	assert_string_equal(record.name, "web");
	assert_ok(registry_list(registry, &list, &count, &failure));
	assert_int_equal(count, 2);
	assert_string_equal(list[0].name, "other");
	assert_int_equal(list[0].state, MACHINE_CREATED);
	assert_int_equal(list[1].state, MACHINE_FAILED);
	free(list);
}

static void damaged_records_are_failed_machines(void **state)
{
	char path[PATH_MAX];
	struct record record;

	(void)state;
	assert_ok(create("web"));
	assert_ok(create("other"));
	path_of("web", "state.json", path);
	put_file(path, good, strlen(good));
	assert_ok(registry_record(registry, "web", &record, &failure));
	assert_int_equal(record.state, MACHINE_STOPPED);
	assert_int_equal(record.exit_code, 5);
	for (size_t i = 0; i < ARRAY_SIZE(damages); i++) {
		put_file(path, damages[i].text, damages[i].length ? damages[i].length : strlen(damages[i].text));
		assert_damaged(damages[i].text);
	}
	assert_int_equal(unlink(path), 0);
	assert_damaged("no file");
	assert_int_equal(mkdir(path, 0700), 0);
	assert_damaged("a directory");
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_damaged("a named pipe");
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink("/dev/zero", path), 0);
	assert_damaged("a link");
	write_state("web", MACHINE_STOPPED, 0);
	assert_ok(registry_record(registry, "web", &record, &failure));
	assert_int_equal(record.state, MACHINE_STOPPED);
}

/* Its monitor can still be asked to stop. */
static void a_damaged_record_does_not_hide_a_monitor(void **state)
{
	char path[PATH_MAX];
	struct record record;
	pid_t child;

	(void)state;
	assert_ok(create("web"));
	child = start_monitor();
	path_of("web", "state.json", path);
	put_file(path, "{", 1);
	assert_ok(registry_record(registry, "web", &record, &failure));
	assert_int_equal(record.state, MACHINE_FAILED);
	assert_int_equal(record.monitor, child);
	path_of("web", "lock", path);
	put_file(path, "", 0);
	assert_ok(registry_record(registry, "web", &record, &failure));
	assert_int_equal(record.monitor, -1);
	kill(child, SIGKILL);
	wait_status(child);
	assert_ok(registry_record(registry, "web", &record, &failure));
	assert_int_equal(record.monitor, 0);
}

/* Texts of every byte are told, and do not make the record unreadable. */
static void texts_may_have_any_bytes(void **state)
{
	struct record record = {.state = MACHINE_FAILED}, back;
	int fd = -1;

	(void)state;
	assert_ok(create("web"));
	assert_ok(registry_folder(registry, "web", &fd, &failure));
	for (size_t i = 0; i < sizeof record.message - 1; i++)
		record.message[i] = (char)(i + 1);
	memset(record.image, 1, sizeof record.image - 1);
	assert_ok(registry_write_record(fd, &record, &failure));
	assert_ok(registry_record(registry, "web", &back, &failure));
	assert_string_equal(back.image, record.image);
	assert_memory_equal(back.message, record.message, 0x7e);
	assert_int_equal(back.message[0x80], '?');
	close(fd);
}

static void a_full_disk_leaves_the_old_record(void **state)
{
	struct rlimit old, none;
	struct record record = {.state = MACHINE_PAUSED}, back;
	int fd = -1, r;

	(void)state;
	assert_ok(create("web"));
	assert_ok(registry_folder(registry, "web", &fd, &failure));
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	none = (struct rlimit){.rlim_cur = 10, .rlim_max = old.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
	r = registry_write_record(fd, &record, &failure);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_int_equal(r, -EFBIG);
	assert_ok(registry_record(registry, "web", &back, &failure));
	assert_int_equal(back.state, MACHINE_CREATED);
	assert_int_equal(entries_in("machines/web"), 2);
	close(fd);
}

/* A file system of its own in the root's place; only root can. */
static bool mount_a_small_disk(void)
{
	return unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
	       mount("none", root, "tmpfs", 0, "size=256k,mode=700") == 0;
}

/* 77: not here. */
static int end_on_a_full_disk(void)
{
	static const uint8_t ballast[4096];
	struct record record = {.state = MACHINE_STOPPED, .exit_code = 7, .message = "as told"}, back;
	int fd = -1, file;

	if (!mount_a_small_disk())
		return 77;
	if (create("web") < 0 || registry_folder(registry, "web", &fd, &failure) < 0)
		return 1;
	file = openat(fd, "ballast", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	while (write(file, ballast, sizeof ballast) > 0)
		;
	if (errno != ENOSPC)
		return 2;
	if (registry_write_record(fd, &record, &failure) < 0) {
		print_error("%s\n", failure.message);
		return 3;
	}
	if (registry_record(registry, "web", &back, &failure) < 0)
		return 4;
	return back.state == MACHINE_STOPPED && back.exit_code == 7 && strcmp(back.message, "as told") == 0 ? 0 : 5;
}

static void a_full_disk_has_room_for_the_record(void **state)
{
	int status;
	pid_t child = fork();

	(void)state;
	assert_true(child >= 0);
	if (child == 0)
		_exit(end_on_a_full_disk());
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(WEXITSTATUS(status), 0);
}

static int write_often(int count)
{
	struct record record = {.memory_bytes = MIB};
	int fd = -1;

	if (registry_folder(registry, "web", &fd, &failure) < 0)
		return 1;
	for (int i = 0; i < count; i++) {
		record.state = i % 2 ? MACHINE_STOPPED : MACHINE_CREATED;
		if (registry_write_record(fd, &record, &failure) < 0)
			return 2;
	}
	return 0;
}

static void a_record_is_never_seen_half_written(void **state)
{
	struct record record;
	unsigned looks = 0;
	pid_t child;
	int status;

	(void)state;
	assert_ok(create("web"));
	child = start(write_often, 100);
	while (waitpid(child, &status, WNOHANG) == 0) {
		assert_ok(registry_record(registry, "web", &record, &failure));
		if (record.state == MACHINE_FAILED)
			fail_msg("after %u looks: '%s'", looks, record.message);
		looks++;
	}
	assert_int_equal(status, 0);
	assert_true(looks > 0);
}

/* A folder as a killed process would leave it. */
static void leave(const char *name, time_t age)
{
	char path[PATH_MAX], inner[PATH_MAX];
	struct timespec times[2] = {{.tv_sec = time(NULL) - age}, {.tv_sec = time(NULL) - age}};

	snprintf(path, sizeof path, "%s/machines/%s", root, name);
	assert_int_equal(mkdir(path, 0700), 0);
	snprintf(inner, sizeof inner, "%s/machines/%s/vsock", root, name);
	assert_int_equal(mkdir(inner, 0700), 0);
	snprintf(inner, sizeof inner, "%s/machines/%s/vsock/socket", root, name);
	put_file(inner, "x", 1);
	assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void leftovers_are_swept(void **state)
{
	struct record *list;
	size_t count;

	(void)state;
	assert_ok(create("web"));
	leave(".removed.old.0123", 0);
	leave(".making.young.0123", 0);
	leave(".making.old.0123", 3600);
	leave(".somebody's", 3600);
	assert_ok(registry_list(registry, &list, &count, &failure));
	assert_int_equal(count, 1);
	free(list);
	assert_int_equal(entries_in("machines"), 5); /* reading changes nothing */
	assert_ok(create("other"));
	assert_int_equal(entries_in("machines"), 4);
	leave(".removed.old.0123", 0);
	assert_ok(registry_remove(registry, "other", &failure));
	assert_int_equal(entries_in("machines"), 3);
}

struct fill {
	int result;
	bool fits;
};

/* As long as it is being filled nobody sees it, and nobody sweeps it away. */
static int fill(void *context, const char *path, struct error *e)
{
	struct fill *fill = context;
	char file[PATH_MAX];
	struct record record;

	snprintf(file, sizeof file, "%s/disk.raw", path);
	put_file(file, "x", 1);
	fill->fits = registry_record(registry, "web", &record, NULL) == -ENOENT && create("other") == 0 &&
		     registry_remove(registry, "other", &failure) == 0 && access(file, F_OK) == 0;
	return fill->result < 0 ? error_set(e, ERROR_FAILED, fill->result, "no room") : 0;
}

static int create_filled(struct fill *filled)
{
	const struct registry_filling filling = {.fill = fill, .context = filled};
	struct record record = {.memory_bytes = 256 * MIB, .cpus = 2};

	return registry_create_filled(registry, "web", "{}", 2, &record, &filling, &failure);
}

static void a_folder_is_filled_before_it_is_seen(void **state)
{
	struct fill fails = {.result = -ENOSPC}, works = {.result = 0};
	char path[PATH_MAX];
	int lock;

	(void)state;
	assert_int_equal(create_filled(&fails), -ENOSPC);
	assert_string_equal(failure.message, "no room");
	assert_true(fails.fits);
	assert_int_equal(entries_in("machines"), 0);
	assert_ok(create_filled(&works));
	assert_true(works.fits);
	path_of("web", "disk.raw", path);
	assert_file(path, "x");
	assert_ok(registry_lock(registry, "web", &lock, &failure));
	close(lock);
	assert_int_equal(create_filled(&works), -EEXIST);
	assert_int_equal(entries_in("machines"), 1);
}

/* Its lock is there and free: who filled it was killed. */
static void a_folder_that_was_being_filled_is_swept_at_once(void **state)
{
	char path[PATH_MAX];

	(void)state;
	assert_ok(create("web"));
	leave(".making.young.0123", 0);
	snprintf(path, sizeof path, "%s/machines/.making.young.0123/lock", root);
	put_file(path, "", 0);
	assert_int_equal(entries_in("machines"), 2);
	assert_ok(create("other"));
	assert_int_equal(entries_in("machines"), 2);
}

static int lock_often(int count)
{
	while (count) {
		char path[PATH_MAX];
		struct stat status;
		int fd, r = registry_lock(registry, "web", &fd, &failure);

		if (r == -EBUSY || r == -ENOENT)
			continue;
		if (r < 0)
			return 2;
		path_of("web", "machine.yaml", path);
		if (stat(path, &status) < 0)
			return 3; /* it was removed although we have its lock */
		close(fd);
		count--;
	}
	return 0;
}

static void who_has_the_lock_keeps_the_folder(void **state)
{
	pid_t child[2];

	(void)state;
	assert_ok(create("web"));
	child[0] = start(lock_often, 500);
	child[1] = start(lock_often, 500);
	for (unsigned i = 0; i < 100; i++) {
		int r = registry_remove(registry, "web", &failure);

		if (r == 0)
			assert_ok(create("web"));
		else
			assert_int_equal(r, -EBUSY);
	}
	assert_int_equal(wait_status(child[0]), 0);
	assert_int_equal(wait_status(child[1]), 0);
	assert_int_equal(entries_in("machines"), 1);
}

static int remove_once(int arg)
{
	int r = registry_remove(registry, "web", &failure);

	(void)arg;
	return r == 0 ? 0 : r == -ENOENT || r == -EBUSY ? 1 : 2;
}

static void of_two_removers_one_wins(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 10; i++) {
		pid_t first, second;
		int a, b;

		assert_ok(create("web"));
		first = start(remove_once, 0);
		second = start(remove_once, 0);
		a = wait_status(first);
		b = wait_status(second);
		if (a + b != 1)
			fail_msg("round %u: %d and %d, not 0 and 1", i, a, b);
		assert_int_equal(entries_in("machines"), 0);
	}
}

static void the_root_may_vanish(void **state)
{
	char name[REGISTRY_NAME_SIZE], elsewhere[PATH_MAX];
	struct record record, *list;
	size_t count;
	int fd;

	(void)state;
	assert_ok(create("web"));
	snprintf(elsewhere, sizeof elsewhere, "%s.away", root);
	assert_int_equal(rename(root, elsewhere), 0);
	assert_ok(registry_list(registry, &list, &count, &failure));
	assert_int_equal(count, 0);
	free(list);
	assert_int_equal(registry_find(registry, "web", name, &failure), -ENOENT);
	assert_int_equal(registry_record(registry, "web", &record, &failure), -ENOENT);
	assert_int_equal(registry_folder(registry, "web", &fd, &failure), -ENOENT);
	assert_int_equal(registry_lock(registry, "web", &fd, &failure), -ENOENT);
	assert_int_equal(registry_remove(registry, "web", &failure), -ENOENT);
	assert_ok(create("web"));
	assert_ok(registry_record(registry, "web", &record, &failure));
	assert_int_equal(nftw(root, delete_one, 8, FTW_DEPTH | FTW_PHYS), 0);
	assert_int_equal(rename(elsewhere, root), 0);
}

/* The folder's descriptor is all that is needed, also when its name is gone. */
static void a_monitor_outlives_its_folder(void **state)
{
	struct record record = {.name = "web", .state = MACHINE_RUNNING};
	char path[PATH_MAX], away[PATH_MAX];
	int fd = -1;

	(void)state;
	assert_ok(create("web"));
	assert_ok(registry_folder(registry, "web", &fd, &failure));
	path_of("web", "", path);
	path_of("away", "", away);
	assert_int_equal(rename(path, away), 0);
	assert_ok(registry_write_record(fd, &record, &failure));
	assert_int_equal(nftw(away, delete_one, 8, FTW_DEPTH | FTW_PHYS), 0);
	assert_int_equal(registry_write_record(fd, &record, &failure), -ENOENT);
	assert_non_null(strstr(failure.message, "web"));
	close(fd);
}

static void what_is_no_machine_is_left_out(void **state)
{
	char path[PATH_MAX], name[REGISTRY_NAME_SIZE];
	struct record *list;
	size_t count;

	(void)state;
	assert_ok(create("web"));
	registry_folder_path(registry, "file", path);
	put_file(path, "x", 1);
	registry_folder_path(registry, "link", path);
	assert_int_equal(symlink("web", path), 0);
	path_of("no name", "", path);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_ok(registry_list(registry, &list, &count, &failure));
	assert_int_equal(count, 1);
	assert_string_equal(list->name, "web");
	free(list);
	assert_int_equal(registry_find(registry, "link", name, &failure), -ENOENT);
	assert_int_equal(create("file"), -EEXIST);
	assert_int_equal(create("../evil"), -EINVAL);
	assert_int_equal(create(".hidden"), -EINVAL);
	assert_int_equal(create(""), -EINVAL);
}

static void a_root_of_others_is_refused(void **state)
{
	struct registry *other = NULL;

	(void)state;
	assert_int_equal(chmod(root, 0777), 0);
	assert_int_equal(registry_open(&other, &failure), -EPERM);
	assert_int_equal(failure.kind, ERROR_PERMISSION);
	assert_int_equal(chmod(root, 0700), 0);
	if (geteuid() != 0)
		return;
	assert_int_equal(chown(root, 65534, 65534), 0);
	assert_int_equal(registry_open(&other, &failure), -EPERM);
	assert_non_null(strstr(failure.message, "65534"));
	assert_null(other);
}

/* As registry_create would, without waiting for the disk. */
static void create_quickly(const char *name, const char *record, size_t length)
{
	char path[PATH_MAX];

	path_of(name, "", path);
	assert_int_equal(mkdir(path, 0700), 0);
	path_of(name, "state.json", path);
	put_file(path, record, length);
}

static void a_thousand_machines_are_listed(void **state)
{
	struct record *list = NULL;
	char name[REGISTRY_NAME_SIZE], path[PATH_MAX], record[4096];
	size_t count = 0, length;
	uint64_t before;
	FILE *file;

	(void)state;
	assert_ok(create("machine-000"));
	path_of("machine-000", "state.json", path);
	file = fopen(path, "r");
	assert_non_null(file);
	length = fread(record, 1, sizeof record, file);
	fclose(file);
	for (unsigned i = 1; i < 1000; i++) {
		snprintf(name, sizeof name, "machine-%03u", (i * 7) % 1000);
		create_quickly(name, record, length);
	}
	before = clock_host_ns();
	assert_ok(registry_list(registry, &list, &count, &failure));
	print_message("# 1000 machines are listed in %.1f ms\n", (double)(clock_host_ns() - before) / 1e6);
	assert_int_equal(count, 1000);
	for (unsigned i = 0; i < count; i++) {
		snprintf(name, sizeof name, "machine-%03u", i);
		assert_string_equal(list[i].name, name);
		assert_int_equal(list[i].state, MACHINE_CREATED);
	}
	free(list);
	assert_int_equal(registry_find(registry, "machine-1", name, &failure), -ENOTUNIQ);
	assert_non_null(strstr(failure.message, "100 machines: machine-100, "));
	assert_non_null(strstr(failure.message, "..."));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_registry(of_many_creators_one_wins),
		with_registry(one_has_the_lock),
		with_registry(a_monitor_that_ends_is_waited_for),
		with_registry(a_killed_monitor_is_noticed),
		with_registry(a_restart_of_the_host_is_noticed),
		with_registry(what_ended_in_order_is_no_failure),
		with_registry(damaged_records_are_failed_machines),
		with_registry(a_damaged_record_does_not_hide_a_monitor),
		with_registry(texts_may_have_any_bytes),
		with_registry(a_full_disk_leaves_the_old_record),
		with_registry(a_full_disk_has_room_for_the_record),
		with_registry(a_record_is_never_seen_half_written),
		with_registry(leftovers_are_swept),
		with_registry(a_folder_is_filled_before_it_is_seen),
		with_registry(a_folder_that_was_being_filled_is_swept_at_once),
		with_registry(who_has_the_lock_keeps_the_folder),
		with_registry(of_two_removers_one_wins),
		with_registry(the_root_may_vanish),
		with_registry(a_monitor_outlives_its_folder),
		with_registry(what_is_no_machine_is_left_out),
		with_registry(a_root_of_others_is_refused),
		with_registry(a_thousand_machines_are_listed),
	};

	return cmocka_run_group_tests_name("registry-faults", tests, NULL, NULL);
}
