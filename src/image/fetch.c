#include "image/fetch.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "image/child.h"

#define HELPER "/usr/lib/apt/apt-helper" /* of the package apt; not in PATH */

int fetch_parse_status(const char *line)
{
	const char *percent;
	double value;
	char *end;

	if (strncmp(line, "dlstatus:", 9) != 0)
		return -1;
	percent = strchr(line + 9, ':');
	if (!percent || !isdigit((unsigned char)percent[1]))
		return -1;
	value = strtod(percent + 1, &end);
	return *end == ':' && value >= 0 && value <= 100 ? (int)(value * 10) : -1;
}

static void tell(const struct fetch *fetch)
{
	if (fetch->progress)
		fetch->progress(fetch->context, &fetch->now);
}

static void on_status(void *context, const char *line)
{
	struct fetch *fetch = context;
	int thousandths = fetch_parse_status(line);
	uint64_t done;

	if (thousandths < 0)
		return;
	done = fetch->size ? fetch->size * (uint64_t)thousandths / 1000 : (uint64_t)thousandths;
	if (done <= fetch->now.done)
		return;
	fetch->now.done = done;
	tell(fetch);
}

static const struct {
	const char *sign; /* in what apt says */
	const char *remedy;
} remedies[] = {
	{"NO_PUBKEY", "update the package debian-archive-keyring"},
	{"EXPKEYSIG", "update the package debian-archive-keyring"},
	{"is not signed", "check that the mirror is one of Debian"},
	{"Hash Sum mismatch", "the mirror may be amid an update: try again later"},
	{"No space left", "make room, or set XDG_CACHE_HOME to another disk"},
	{"", "check the network and apt's settings, and try again: what was downloaded is kept"},
};

static int explain(int r, const struct error *why, struct error *e)
{
	size_t i = 0;

	if (why->kind != ERROR_FAILED)
		return error_set(e, why->kind, r, "%s", why->message);
	while (!strstr(why->message, remedies[i].sign))
		i++;
	return error_set(e, ERROR_FAILED, r, "%.350s; %s", why->message, remedies[i].remedy);
}

int fetch_run(struct fetch *fetch, const char *const *arguments, const char *step, uint64_t size, struct error *e)
{
	char directory[PATH_MAX];
	struct child child = {.arguments = arguments,
			      .directory = directory,
			      .keep = fetch->cache->lock,
			      .status = on_status,
			      .context = fetch};
	struct error why = {.kind = ERROR_FAILED};
	int r;

	cache_path(fetch->cache, "packages", directory);
	fetch->size = size;
	fetch->now = (struct image_progress){.step = step, .total = size ? size : 1000, .bytes = size > 0};
	tell(fetch);
	r = child_run(&child, &why);
	return r < 0 ? explain(r, &why, e) : 0;
}

static int hash_fits(const struct cache *cache, const struct apt_package *package, bool *fits, struct error *e)
{
	const char *const arguments[] = {"sha256sum", "--binary", package->file, NULL};
	char directory[PATH_MAX], *text;
	struct child child = {.arguments = arguments, .directory = directory, .keep = cache->lock};
	int r;

	cache_path(cache, "packages", directory);
	r = child_read(&child, 4096, &text, e);
	if (r < 0)
		return r;
	*fits = strncmp(text, package->sha256, APT_HASH_DIGITS) == 0 && text[APT_HASH_DIGITS] == ' ';
	free(text);
	return 0;
}

/* Whether the archive is there and whole. What could neither be used nor continued is removed. */
static int check(const struct cache *cache, const struct apt_package *package, bool *whole, struct error *e)
{
	char name[APT_FILE_SIZE + 16], path[PATH_MAX];
	struct stat status;
	int r = 0;

	*whole = false;
	snprintf(name, sizeof name, "packages/%s", package->file);
	cache_path(cache, name, path);
	if (lstat(path, &status) < 0)
		return 0;
	if (S_ISREG(status.st_mode) && (uint64_t)status.st_size < package->size)
		return 0;
	if (S_ISREG(status.st_mode) && (uint64_t)status.st_size == package->size)
		r = hash_fits(cache, package, whole, e);
	return r < 0 || *whole ? r : cache_remove(cache, name, e);
}

/* The archives that are missing: apt-helper takes URI, file and hash of each. */
static int list_missing(const struct cache *cache, const struct apt_packages *packages, const char **arguments,
			char (*hashes)[APT_HASH_DIGITS + 8], uint64_t *size, struct error *e)
{
	size_t count = 0;
	bool whole;
	int r;

	*size = 0;
	for (size_t i = 0; i < packages->count; i++) {
		const struct apt_package *package = &packages->list[i];

		r = check(cache, package, &whole, e);
		if (r < 0)
			return r;
		if (whole)
			continue;
		snprintf(hashes[i], sizeof hashes[i], "SHA256:%s", package->sha256);
		arguments[count++] = package->uri;
		arguments[count++] = package->file;
		arguments[count++] = hashes[i];
		*size += package->size;
	}
	return 0;
}

int fetch_packages(struct fetch *fetch, const char *conf, const struct apt_packages *packages, struct error *e)
{
	enum { FIXED = 7 };
	const char *arguments[FIXED + 3 * APT_PACKAGES_MAX + 1] = {
		HELPER, "-c", conf, "-q", "-o", "APT::Status-Fd=3", "download-file"};
	char hashes[APT_PACKAGES_MAX][APT_HASH_DIGITS + 8];
	uint64_t size;
	int r = list_missing(fetch->cache, packages, arguments + FIXED, hashes, &size, e);

	if (r < 0 || size == 0)
		return r;
	/* As much again for what is made of them. */
	r = cache_room(fetch->cache, size + size / 2, e);
	if (r == 0)
		r = fetch_run(fetch, arguments, "downloading", size, e);
	if (r == 0)
		r = list_missing(fetch->cache, packages, arguments + FIXED, hashes, &size, e);
	if (r == 0 && size > 0)
		return error_set(e, ERROR_FAILED, -EIO,
				 "what was downloaded is not what the index lists; try again");
	return r;
}
