#include "cli/check.h"

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/types.h"
#include "cli/table.h"

/* What pulling an image takes at its peak. */
#define CACHE_NEEDS (768 * MIB)

static bool program_found(const char *name)
{
	const char *path = getenv("PATH");

	for (path = path ? path : "/usr/bin:/bin"; *path;) {
		int length = (int)strcspn(path, ":");
		char file[PATH_MAX];

		snprintf(file, sizeof file, "%.*s/%s", length, path, name);
		if (length > 0 && access(file, X_OK) == 0)
			return true;
		path += length;
		path += *path == ':';
	}
	return false;
}

void check_apt(struct finding *out)
{
	if (program_found("apt-get") && program_found("dpkg-deb"))
		finding_set(out, FINDING_OK, NULL, "apt-get and dpkg-deb obtain images");
	else
		finding_set(out, FINDING_MISSING, "use a Debian host, or run a kernel of your own with --kernel",
			    "no apt-get or dpkg-deb; images can not be pulled");
}

void check_keyring(struct finding *out)
{
	static const char *const paths[] = {
		"/usr/share/keyrings/debian-archive-keyring.gpg",
		"/usr/share/keyrings/debian-archive-keyring.pgp",
	};

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		if (access(paths[i], R_OK) == 0) {
			finding_set(out, FINDING_OK, NULL, "%s verifies images", paths[i]);
			return;
		}
	}
	finding_set(out, FINDING_MISSING, "install debian-archive-keyring", "no %s", paths[0]);
}

static bool cache_directory(char out[PATH_MAX])
{
	const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
	int length;

	if (cache && *cache == '/')
		length = snprintf(out, PATH_MAX, "%s/doppel", cache);
	else if (home && *home)
		length = snprintf(out, PATH_MAX, "%s/.cache/doppel", home);
	else
		return false;
	return length < PATH_MAX;
}

/* Cuts a path back to the part of it that exists; the rest is made when it is needed. */
static void cut_to_existing(char *path)
{
	struct stat status;

	while (stat(path, &status) < 0 && path[1] != '\0') {
		char *slash = strrchr(path, '/');

		if (!slash)
			return;
		slash[slash == path] = '\0';
	}
}

void check_cache(struct finding *out)
{
	char path[PATH_MAX], existing[PATH_MAX], room[TABLE_BYTES_SIZE];
	struct statvfs fs;
	uint64_t bytes;

	if (!cache_directory(path)) {
		finding_set(out, FINDING_MISSING, "set HOME or XDG_CACHE_HOME", "no directory for images");
		return;
	}
	memcpy(existing, path, sizeof path);
	cut_to_existing(existing);
	if (access(existing, W_OK | X_OK) < 0 || statvfs(existing, &fs) < 0) {
		finding_set(out, FINDING_MISSING, "set XDG_CACHE_HOME to a directory of yours", "%.150s: %s", path,
			    strerror(errno));
		return;
	}
	bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
	table_format_bytes(bytes, room);
	if (bytes < CACHE_NEEDS)
		finding_set(out, FINDING_WARN, "make room, or set XDG_CACHE_HOME to another disk",
			    "%.150s has %s free", path, room);
	else
		finding_set(out, FINDING_OK, NULL, "%.150s, %s free", path, room);
}

void check_terminal(struct finding *out)
{
	const char *name = getenv("TERM");
	struct winsize size = {.ws_row = 0};

	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
		finding_set(out, FINDING_OK, NULL, "none; a guest's console is read and written as it is");
	else if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_row == 0)
		finding_set(out, FINDING_OK, NULL, "%.60s", name ? name : "unnamed");
	else
		finding_set(out, FINDING_OK, NULL, "%.60s, %u columns and %u rows", name ? name : "unnamed",
			    size.ws_col, size.ws_row);
}
