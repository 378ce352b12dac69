/* Where the tree of cgroups is, and our part of it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/cgroup.h"

/* Field 5 is the mount point; the type comes after " - " (proc(5), mountinfo). */
static bool read_mount(const char *line, char *root, size_t room)
{
	const char *type = strstr(line, " - cgroup2 "), *at = line;
	size_t length;

	if (!type)
		return false;
	for (unsigned field = 1; field < 5 && at; field++) {
		at = strchr(at, ' ');
		at = at ? at + 1 : NULL;
	}
	if (!at)
		return false;
	length = strcspn(at, " ");
	if (length >= room)
		return false;
	memcpy(root, at, length);
	root[length] = '\0';
	return true;
}

static bool find_line(const char *path, bool (*fits)(const char *line, char *out, size_t room), char *out, size_t room)
{
	FILE *file = fopen(path, "re");
	char line[4096];
	bool found = false;

	if (!file)
		return false;
	while (!found && fgets(line, sizeof line, file))
		found = fits(line, out, room);
	fclose(file);
	return found;
}

/* "0::/user.slice/..." */
static bool read_own(const char *line, char *own, size_t room)
{
	size_t length;

	if (strncmp(line, "0::", 3) != 0)
		return false;
	line += 3;
	length = strcspn(line, "\n");
	if (length >= room)
		return false;
	memcpy(own, line, length);
	own[length] = '\0';
	return true;
}

/* A group with processes can not have groups with controllers below it, so a user's are beside his own. */
static void go_up(char *path)
{
	char *slash = strrchr(path, '/');

	if (slash)
		*slash = '\0';
}

int cgroup_of(const char *name, const char *mounts, const char *process, char path[CGROUP_PATH], struct error *e)
{
	char root[256], own[512], dedicated[128];
	const char *last;

	if (!find_line(mounts, read_mount, root, sizeof root) || !find_line(process, read_own, own, sizeof own))
		return error_set(e, ERROR_STATE, -ENOENT, "%s has no control group: this host has none of version 2", name);
	last = strrchr(own, '/');
	snprintf(dedicated, sizeof dedicated, "/doppel-%s", name);
	if (!last || (strcmp(last + 1, name) != 0 && strcmp(last, dedicated) != 0))
		return error_set(e, ERROR_STATE, -ENOENT,
				 "%s has no control group of its own; give --cpu-weight, --cpu-max or --io-weight when it is made",
				 name);
	snprintf(path, CGROUP_PATH, "%s%s", root, own);
	return 0;
}

int cgroup_find(struct cgroup_place *place, const char *mounts, const char *own_file, struct error *e)
{
	const char *given = getenv("DOPPEL_CGROUP");
	char own[256] = "";

	if (!find_line(mounts, read_mount, place->root, sizeof place->root))
		return error_set(e, ERROR_STATE, -EOPNOTSUPP,
				 "this host has no control groups of version 2; start it with "
				 "systemd.unified_cgroup_hierarchy=1");
	if (given && *given) {
		snprintf(place->parent, sizeof place->parent, "%s", given);
		return 0;
	}
	if (geteuid() != 0 && find_line(own_file, read_own, own, sizeof own))
		go_up(own);
	snprintf(place->parent, sizeof place->parent, "%s%s", place->root, own);
	return 0;
}
