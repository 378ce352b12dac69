#include "host/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/keeper.h"

#define PERIOD_US 100000

bool cgroup_wanted(const struct cgroup_wish *wish)
{
	return wish->cpu_weight || wish->io_weight || wish->cpu_max_percent || wish->memory_max || wish->cpus ||
	       wish->partition;
}

/* 0 or a negative errno. The kernel judges a value when it is written, as a whole. */
static int put(const char *group, const char *file, const char *value)
{
	char path[CGROUP_PATH + 64];
	int fd, r = 0;

	snprintf(path, sizeof path, "%s/%s", group, file);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (write(fd, value, strlen(value)) < 0)
		r = -errno;
	close(fd);
	return r;
}

/* The first line; empty when there is none. */
static void get(const char *group, const char *file, char *out, size_t room)
{
	char path[CGROUP_PATH + 64];
	ssize_t size = 0;
	int fd;

	snprintf(path, sizeof path, "%s/%s", group, file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		size = read(fd, out, room - 1);
		close(fd);
	}
	out[size > 0 ? size : 0] = '\0';
	out[strcspn(out, "\n")] = '\0';
}

static bool has_word(const char *list, const char *word)
{
	size_t length = strlen(word);

	for (; (list = strstr(list, word)); list += length)
		if (list[length] == '\0' || list[length] == ' ')
			return true;
	return false;
}

/* What each file of a group needs, and how a wish is written into it. */

static bool weight(const struct cgroup_wish *wish, char *out, size_t room)
{
	snprintf(out, room, "%u", wish->cpu_weight);
	return wish->cpu_weight > 0;
}

static bool io_weight(const struct cgroup_wish *wish, char *out, size_t room)
{
	snprintf(out, room, "default %u", wish->io_weight);
	return wish->io_weight > 0;
}

static bool cpu_max(const struct cgroup_wish *wish, char *out, size_t room)
{
	snprintf(out, room, "%u %u", wish->cpu_max_percent * (PERIOD_US / 100), PERIOD_US);
	return wish->cpu_max_percent > 0;
}

static bool memory_max(const struct cgroup_wish *wish, char *out, size_t room)
{
	snprintf(out, room, "%" PRIu64, wish->memory_max);
	return wish->memory_max > 0;
}

/* What is swapped out is held all the same. */
static bool no_swap(const struct cgroup_wish *wish, char *out, size_t room)
{
	snprintf(out, room, "0");
	return wish->memory_max > 0;
}

static bool cpus(const struct cgroup_wish *wish, char *out, size_t room)
{
	snprintf(out, room, "%s", wish->cpus ? wish->cpus : "");
	return wish->cpus != NULL;
}

static bool partition(const struct cgroup_wish *wish, char *out, size_t room)
{
	snprintf(out, room, "isolated");
	return wish->partition;
}

static const struct setting {
	const char *controller, *file;
	bool (*value)(const struct cgroup_wish *wish, char *out, size_t room);
	bool optional; /* a kernel may be without this file */
} settings[] = {
	{"cpu", "cpu.weight", weight, false},
	{"io", "io.weight", io_weight, false},
	{"cpu", "cpu.max", cpu_max, false},
	{"memory", "memory.max", memory_max, false},
	{"memory", "memory.swap.max", no_swap, true},
	{"cpuset", "cpuset.cpus", cpus, false},
	{"cpuset", "cpuset.cpus.partition", partition, false},
};

static int not_allowed(const char *group, int code, struct error *e)
{
	if (code == -EACCES || code == -EPERM || code == -EROFS)
		return error_set(e, ERROR_PERMISSION, -EACCES,
				 "%s may not be changed; begin as root, or in a delegated group: systemd-run --user --scope "
				 "-p Delegate=yes doppel ...",
				 group);
	if (code == -EBUSY)
		return error_set(e, ERROR_STATE, code,
				 "%s has processes of its own, so no group below it can have controllers; name another in "
				 "DOPPEL_CGROUP",
				 group);
	return error_errno(e, code, "%s can not be used", group);
}

/* A controller that this part of the tree was not given. */
static int no_controller(const char *parent, const char *controller, struct error *e)
{
	return error_set(e, ERROR_STATE, -EOPNOTSUPP,
			 "the %s controller is not there at %s; have it delegated (Delegate=%s), or mount version 2 alone",
			 controller, parent, controller);
}

/* Groups below `parent` get the controllers that the wish needs. */
static int give_controllers(const char *parent, const struct cgroup_wish *wish, struct error *e)
{
	char have[256], given[256], value[64], plus[64];

	get(parent, "cgroup.controllers", have, sizeof have);
	get(parent, "cgroup.subtree_control", given, sizeof given);
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
		const char *controller = settings[i].controller;
		int r;

		if (!settings[i].value(wish, value, sizeof value) || has_word(given, controller))
			continue;
		if (!has_word(have, controller))
			return no_controller(parent, controller, e);
		snprintf(plus, sizeof plus, "+%s", controller);
		r = put(parent, "cgroup.subtree_control", plus);
		if (r < 0)
			return not_allowed(parent, r, e);
	}
	return 0;
}

static int make_folder(const char *path, struct error *e)
{
	if (mkdir(path, 0755) == 0 || errno == EEXIST)
		return 0;
	return not_allowed(path, -errno, e);
}

static int put_settings(const char *group, const struct cgroup_wish *wish, struct error *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
		char value[256];
		int r;

		if (!settings[i].value(wish, value, sizeof value))
			continue;
		r = put(group, settings[i].file, value);
		if (r < 0 && !(r == -ENOENT && settings[i].optional))
			return error_errno(e, r, "%s can not be %s in %s", settings[i].file, value, group);
	}
	return 0;
}

/* The kernel takes the word and tells later whether it holds. */
static int check_partition(const char *group, const struct cgroup_wish *wish, struct error *e)
{
	char now[256];

	if (!wish->partition)
		return 0;
	get(group, "cpuset.cpus.partition", now, sizeof now);
	if (strcmp(now, "isolated") == 0)
		return 0;
	return error_set(e, ERROR_STATE, -EINVAL,
			 "the processors %s can not be the machine's alone: the kernel says \"%s\"; give others", wish->cpus,
			 now);
}

static int check_empty(const char *group, struct error *e)
{
	char pid[32];

	get(group, "cgroup.procs", pid, sizeof pid);
	if (!*pid || strtol(pid, NULL, 10) == getpid())
		return 0;
	return error_set(e, ERROR_STATE, -EBUSY, "process %s lives in %s; end it, or give the machine another name", pid,
			 group);
}

static int try_to_remove(void *group)
{
	return rmdir(group) < 0 ? -errno : 0;
}

/* In the keeper, at the monitor's end: the processes in a group are gone a moment after they ended. */
static void remove_group(void *group)
{
	keeper_insist(try_to_remove, group);
}

/* It stays outside, or the group would never be empty, and until this process has ended. */
static int keep(const char *group, struct error *e)
{
	struct keeper keeper;
	int r = keeper_start(&keeper, "doppel-keeper", remove_group, (void *)group, e);

	if (r == 0)
		keeper_arm(&keeper);
	return r;
}

static int fill(const char *group, const struct cgroup_wish *wish, struct error *e)
{
	int r = check_empty(group, e);

	if (r == 0)
		r = put_settings(group, wish, e);
	if (r == 0)
		r = check_partition(group, wish, e);
	if (r == 0)
		r = keep(group, e);
	if (r < 0)
		return r;
	r = put(group, "cgroup.procs", "0");
	return r < 0 ? not_allowed(group, r, e) : 0;
}

int cgroup_enter(const struct cgroup_place *place, const char *name, const struct cgroup_wish *wish, char *path,
		 struct error *e)
{
	char above[CGROUP_PATH];
	int r;

	snprintf(above, sizeof above, "%s%s", wish->partition ? place->root : place->parent,
		 wish->partition ? "" : "/doppel");
	r = wish->partition ? 0 : give_controllers(place->parent, wish, e);
	if (r == 0 && !wish->partition)
		r = make_folder(above, e);
	if (r == 0)
		r = give_controllers(above, wish, e);
	if (r < 0)
		return r;
	if (snprintf(path, CGROUP_PATH, "%s/%s%s", above, wish->partition ? "doppel-" : "", name) >= CGROUP_PATH)
		return error_set(e, ERROR_USAGE, -ENAMETOOLONG, "the control group's path is too long: %s", above);
	r = make_folder(path, e);
	if (r == 0)
		r = fill(path, wish, e);
	if (r < 0)
		rmdir(path);
	return r;
}

void cgroup_restore(const char *group, const struct cgroup_before *before)
{
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++)
		if (*before->values[i])
			(void)put(group, settings[i].file, before->values[i]);
}

static int not_changed(const char *group, const struct setting *setting, const char *value, int code, struct error *e)
{
	if (code == -ENOENT)
		return error_set(e, ERROR_STATE, -EOPNOTSUPP,
				 "%s has no %s: the %s controller was not asked for when the machine was started", group,
				 setting->file, setting->controller);
	if (code == -EACCES || code == -EPERM || code == -EROFS)
		return not_allowed(group, code, e);
	return error_errno(e, code, "%s can not be %s in %s", setting->file, value, group);
}

int cgroup_change(const char *group, const struct cgroup_wish *wish, struct cgroup_before *before, struct error *e)
{
	const struct cgroup_wish own = {.cpu_weight = wish->cpu_weight,
					.io_weight = wish->io_weight,
					.cpu_max_percent = wish->cpu_max_percent,
					.memory_max = wish->memory_max};

	_Static_assert(ARRAY_SIZE(settings) == CGROUP_SETTINGS, "a value of each");
	*before = (struct cgroup_before){{{0}}};
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
		char value[256], old[64];
		int r;

		if (!settings[i].value(&own, value, sizeof value))
			continue;
		get(group, settings[i].file, old, sizeof old);
		r = put(group, settings[i].file, value);
		if (r == -ENOENT && settings[i].optional)
			continue;
		if (r < 0) {
			cgroup_restore(group, before);
			return not_changed(group, &settings[i], value, r, e);
		}
		memcpy(before->values[i], old, sizeof old);
	}
	return 0;
}
