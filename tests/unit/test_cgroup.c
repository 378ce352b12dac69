/* Control groups, on a tree of plain files, and sets of processors. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "host/cgroup.h"
#include "host/cpus.h"

static char folder[] = "/tmp/doppel-cgroup-XXXXXX";
static struct cgroup_place place;

static void write_file(const char *path, const char *text)
{
	char full[600];
	FILE *file;

	snprintf(full, sizeof full, "%s/%s", folder, path);
	file = fopen(full, "we");
	assert_non_null(file);
	fputs(text, file);
	assert_int_equal(fclose(file), 0);
}

static void expect_file(const char *path, const char *text)
{
	char full[600], found[256] = "";
	FILE *file;

	snprintf(full, sizeof full, "%s/%s", folder, path);
	file = fopen(full, "re");
	assert_non_null(file);
	(void)!fgets(found, sizeof found, file);
	fclose(file);
	assert_string_equal(found, text);
}

/* A group as the kernel makes it, but that its files keep what is written last. */
static void make_group(const char *name, const char *controllers, const char *given)
{
	static const char *const files[] = {"cpu.weight", "io.weight",   "cpu.max",
					    "memory.max", "cpuset.cpus", "cpuset.cpus.partition",
					    "cgroup.procs"};
	char path[512];

	snprintf(path, sizeof path, "%s/%s", folder, name);
	mkdir(path, 0755);
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		snprintf(path, sizeof path, "%s/%s", name, files[i]);
		write_file(path, "");
	}
	snprintf(path, sizeof path, "%s/cgroup.controllers", name);
	write_file(path, controllers);
	snprintf(path, sizeof path, "%s/cgroup.subtree_control", name);
	write_file(path, given);
}

static int setup(void **state)
{
	(void)state;
	snprintf(folder, sizeof folder, "/tmp/doppel-cgroup-XXXXXX");
	assert_non_null(mkdtemp(folder));
	snprintf(place.root, sizeof place.root, "%s", folder);
	snprintf(place.parent, sizeof place.parent, "%s/user", folder);
	make_group("user", "cpuset cpu io memory pids\n", "cpu\n");
	make_group("user/doppel", "cpuset cpu io memory\n", "");
	make_group("user/doppel/web", "cpuset cpu io memory\n", "");
	return 0;
}

static int teardown(void **state)
{
	char command[64];

	(void)state;
	snprintf(command, sizeof command, "rm -r %s", folder);
	return system(command);
}

static void expect_refusal(const struct cgroup_wish *wish, int code, const char *part)
{
	char path[CGROUP_PATH];
	struct error e = {.kind = ERROR_NONE};
	int r = cgroup_enter(&place, "web", wish, path, &e);

	if (r != code || !strstr(e.message, part))
		fail_msg("%d (%s), expected %d with \"%s\"", r, e.message, code, part);
}

static void wishes_are_written(void **state)
{
	const struct cgroup_wish wish = {
		.cpu_weight = 250, .io_weight = 50, .cpu_max_percent = 150, .memory_max = 1 << 30, .cpus = "1-2"};
	char path[CGROUP_PATH];
	struct error e;

	(void)state;
	if (cgroup_enter(&place, "web", &wish, path, &e) < 0)
		fail_msg("%s", e.message);
	assert_non_null(strstr(path, "/user/doppel/web"));
	expect_file("user/doppel/web/cpu.weight", "250");
	expect_file("user/doppel/web/io.weight", "default 50");
	expect_file("user/doppel/web/cpu.max", "150000 100000");
	expect_file("user/doppel/web/memory.max", "1073741824");
	expect_file("user/doppel/web/cpuset.cpus", "1-2");
	expect_file("user/doppel/web/cgroup.procs", "0");
	/* Only what was not given yet; the last that was asked for. */
	expect_file("user/cgroup.subtree_control", "+cpuset");
}

static void a_group_in_use_is_changed_or_left(void **state)
{
	const struct cgroup_wish wish = {.cpu_weight = 300, .cpu_max_percent = 50, .memory_max = 1 << 20};
	struct cgroup_before before;
	char group[CGROUP_PATH], path[CGROUP_PATH + 32], mounts[64], process[64];
	struct error e = {.kind = ERROR_NONE};

	(void)state;
	snprintf(mounts, sizeof mounts, "%s/mounts", folder);
	snprintf(process, sizeof process, "%s/process", folder);
	snprintf(path, sizeof path, "30 24 0:26 / %s rw - cgroup2 none rw\n", folder);
	write_file("mounts", path);
	write_file("process", "0::/user/doppel/web\n");
	assert_int_equal(cgroup_of("we", mounts, process, group, &e), -ENOENT);
	assert_int_equal(cgroup_of("web", mounts, process, group, &e), 0);
	write_file("user/doppel/web/cpu.weight", "100\n");
	write_file("user/doppel/web/cpu.max", "max 100000\n");
	write_file("user/doppel/web/memory.max", "max\n");
	assert_int_equal(cgroup_change(group, &wish, &before, &e), 0);
	expect_file("user/doppel/web/cpu.weight", "300\n");
	expect_file("user/doppel/web/cpu.max", "50000 100000");
	/* Plain files keep the end of what was longer: of "100000" and "max" here. */
	cgroup_restore(group, &before);
	expect_file("user/doppel/web/cpu.weight", "100\n");
	expect_file("user/doppel/web/memory.max", "max8576");
	snprintf(path, sizeof path, "%s/memory.max", group);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(cgroup_change(group, &wish, &before, &e), -EOPNOTSUPP);
	assert_non_null(strstr(e.message, "the memory controller was not asked for"));
	expect_file("user/doppel/web/cpu.weight", "100\n");
}

static void controllers_that_are_not_there_are_named(void **state)
{
	const struct cgroup_wish wish = {.cpu_weight = 50, .io_weight = 50};

	(void)state;
	make_group("user", "cpu memory\n", "cpu\n");
	expect_refusal(&wish, -EOPNOTSUPP, "the io controller is not there at ");
	make_group("user", "cpu io\n", "cpu io\n");
	make_group("user/doppel", "cpu\n", "cpu\n");
	expect_refusal(&wish, -EOPNOTSUPP, "/user/doppel; have it delegated (Delegate=io)");
}

static void a_group_that_is_in_use_is_left_alone(void **state)
{
	const struct cgroup_wish wish = {.cpu_weight = 50};

	(void)state;
	write_file("user/doppel/web/cgroup.procs", "1\n");
	expect_refusal(&wish, -EBUSY, "process 1 lives in ");
	expect_file("user/doppel/web/cpu.weight", "");
}

static void a_partition_must_hold(void **state)
{
	const struct cgroup_wish wish = {.cpus = "1", .partition = true};
	char path[CGROUP_PATH];
	struct error e;

	(void)state;
	make_group(".", "cpuset cpu\n", "cpuset\n");
	make_group("doppel-web", "cpuset cpu\n", "");
	/* A plain file keeps the word, as a kernel does that keeps the promise. */
	if (cgroup_enter(&place, "web", &wish, path, &e) < 0)
		fail_msg("%s", e.message);
	expect_file("doppel-web/cpuset.cpus.partition", "isolated");
	write_file("doppel-web/cgroup.procs", "");
	write_file("doppel-web/cpuset.cpus.partition", "isolated invalid (Cpu list in cpuset.cpus not exclusive)");
	expect_refusal(&wish, -EINVAL, "invalid (Cpu list");
}

static void places_are_found(void **state)
{
	char mounts[64], own[64], expected[64];
	struct cgroup_place found;
	struct error e;

	(void)state;
	snprintf(mounts, sizeof mounts, "%s/mounts", folder);
	snprintf(own, sizeof own, "%s/own", folder);
	write_file("mounts", "22 1 0:1 / / rw - ext4 /dev/root rw\n");
	assert_int_equal(cgroup_find(&found, mounts, own, &e), -EOPNOTSUPP);
	assert_non_null(strstr(e.message, "systemd.unified_cgroup_hierarchy=1"));
	write_file("mounts", "22 1 0:1 / / rw - ext4 /dev/root rw\n"
			     "30 22 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n");
	write_file("own", "4:cpu:/\n0::/user.slice/app.slice/own.scope\n");
	assert_int_equal(cgroup_find(&found, mounts, own, &e), 0);
	assert_string_equal(found.root, "/sys/fs/cgroup");
	snprintf(expected, sizeof expected, "/sys/fs/cgroup%s", geteuid() ? "/user.slice/app.slice" : "");
	assert_string_equal(found.parent, expected);
	setenv("DOPPEL_CGROUP", "/sys/fs/cgroup/mine", 1);
	assert_int_equal(cgroup_find(&found, mounts, own, &e), 0);
	unsetenv("DOPPEL_CGROUP");
	assert_string_equal(found.parent, "/sys/fs/cgroup/mine");
}

/* A group is removed when its process ends, by whatever cause. */
static void the_keeper_removes_what_is_left(void **state)
{
	const struct cgroup_wish wish = {.cpu_weight = 50};
	char path[CGROUP_PATH], files[CGROUP_PATH + 64];
	pid_t child = fork();
	struct error e;

	(void)state;
	if (child == 0) {
		if (cgroup_enter(&place, "web", &wish, path, &e) < 0)
			_exit(1);
		/* The kernel's files go with their folder. */
		snprintf(files, sizeof files, "rm %s/*", path);
		_exit(system(files) ? 2 : 0);
	}
	assert_int_equal(waitpid(child, &(int){0}, 0), child);
	snprintf(path, sizeof path, "%s/user/doppel/web", folder);
	for (unsigned i = 0; i < 2000 && access(path, F_OK) == 0; i++)
		usleep(10000);
	assert_int_equal(access(path, F_OK), -1);
}

static void sets_of_processors(void **state)
{
	static const char *const wrong[] = {"", "a", "1-", "3-1", "1,", ",1", "1 ", "4096", "-1", "99999999999999999999"};
	struct error e;
	cpu_set_t set;

	(void)state;
	assert_int_equal(cpus_parse("0-2,8,10-11", &set, &e), 0);
	assert_int_equal(CPU_COUNT(&set), 6);
	assert_int_equal(cpus_nth(&set, 0), 0);
	assert_int_equal(cpus_nth(&set, 3), 8);
	assert_int_equal(cpus_nth(&set, 5), 11);
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		if (cpus_parse(wrong[i], &set, &e) != -EINVAL)
			fail_msg("\"%s\" was taken", wrong[i]);
	assert_int_equal(cpus_parse("1000", &set, &e), 0);
	assert_int_equal(cpus_stay_on(&set, &e), -EINVAL);
	assert_int_equal(sched_getaffinity(0, sizeof set, &set), 0);
	assert_int_equal(cpus_stay_on(&set, &e), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(wishes_are_written, setup, teardown),
		cmocka_unit_test_setup_teardown(a_group_in_use_is_changed_or_left, setup, teardown),
		cmocka_unit_test_setup_teardown(controllers_that_are_not_there_are_named, setup, teardown),
		cmocka_unit_test_setup_teardown(a_group_that_is_in_use_is_left_alone, setup, teardown),
		cmocka_unit_test_setup_teardown(a_partition_must_hold, setup, teardown),
		cmocka_unit_test_setup_teardown(places_are_found, setup, teardown),
		cmocka_unit_test_setup_teardown(the_keeper_removes_what_is_left, setup, teardown),
		cmocka_unit_test(sets_of_processors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
