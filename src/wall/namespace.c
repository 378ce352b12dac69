#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "wall/private.h"

static int write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), r = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		r = -errno;
	close(fd);
	return r;
}

/* One id of each kind, and that one as it was: files made by the child belong to the caller's user. */
static int map_ids(uid_t user, gid_t group)
{
	char line[64];
	int r = write_text("/proc/self/setgroups", "deny");

	if (r < 0 && r != -ENOENT)
		return r;
	snprintf(line, sizeof line, "%u %u 1", user, user);
	r = write_text("/proc/self/uid_map", line);
	snprintf(line, sizeof line, "%u %u 1", group, group);
	return r < 0 ? r : write_text("/proc/self/gid_map", line);
}

int wall_namespaces(const struct wall_plan *plan, unsigned *parts, struct error *e)
{
	int kinds = CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | (plan->network ? 0 : CLONE_NEWNET), r;
	uid_t user = geteuid();
	gid_t group = getegid();

	if (user == 0) {
		if (unshare(kinds) == 0)
			*parts |= WALL_NAMESPACES;
		return 0;
	}
	if (unshare(kinds | CLONE_NEWUSER) < 0)
		return 0;
	/* A process that changed its user is not "dumpable" and does not own its own /proc files. */
	prctl(PR_SET_DUMPABLE, 1);
	r = map_ids(user, group);
	if (r < 0)
		return error_errno(e, r, "cannot map user %u into a namespace of its own", user);
	*parts |= WALL_NAMESPACES;
	return 0;
}
