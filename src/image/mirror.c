#include "image/mirror.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "image/child.h"

#define TEXT_MAX ((size_t)4 << 20)

/* A URI goes into a source line between blanks and must not add to it. */
static bool take_uri(const char *from, size_t length, char uri[MIRROR_SIZE])
{
	while (length > 0 && from[length - 1] == '/')
		length--;
	if (length == 0 || length >= MIRROR_SIZE || strncmp(from, "cdrom:", 6) == 0)
		return false;
	for (size_t i = 0; i < length; i++)
		if ((unsigned char)from[i] <= ' ' || strchr("[]\"'#\\\x7f", from[i]))
			return false;
	*(char *)mempcpy(uri, from, length) = '\0';
	return true;
}

/* Lines of "<repository URI> <component>". */
bool mirror_from_targets(const char *text, char uri[MIRROR_SIZE])
{
	while (*text) {
		size_t line = strcspn(text, "\n"), word = strcspn(text, " \n");

		if (word < line && line - word == 5 && memcmp(text + word, " main", 5) == 0 &&
		    take_uri(text, word, uri))
			return true;
		text += line + (text[line] == '\n');
	}
	return false;
}

static bool is_release(const char *suite, size_t length)
{
	static const char *const suites[] = {"stable",   "testing",  "unstable", "sid",   "oldstable",
					     "bullseye", "bookworm", "trixie",   "forky", "duke"};

	for (size_t i = 0; i < ARRAY_SIZE(suites); i++)
		if (strlen(suites[i]) == length && memcmp(suites[i], suite, length) == 0)
			return true;
	return false;
}

/* Others publish for Debian's releases too, under a suite of the same name; only Debian has one for updates
 * beside. */
static bool has_updates(const char *text, const char *base, size_t length)
{
	char start[MIRROR_SIZE + 64];
	int size = snprintf(start, sizeof start, "'%.*s-updates/main/binary-", (int)length, base);

	return size > 0 && (size_t)size < sizeof start && strstr(text, start) != NULL;
}

/* Lines of "'<base>/dists/<suite>/main/binary-<arch>/Packages.xz' <file> <size>". */
bool mirror_from_update(const char *text, char uri[MIRROR_SIZE])
{
	bool found = false;

	for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
		const char *end = line + strcspn(line, "\n"), *dists = strstr(line, "/dists/"), *suite, *slash;
		bool sure;

		if (*line != '\'' || !dists || dists > end)
			continue;
		suite = dists + strlen("/dists/");
		slash = suite + strcspn(suite, "/\n");
		if (strncmp(slash, "/main/binary-", 13) != 0 || !is_release(suite, (size_t)(slash - suite)))
			continue;
		sure = has_updates(text, line + 1, (size_t)(slash - line - 1));
		if ((sure || !found) && take_uri(line + 1, (size_t)(dists - line - 1), uri))
			found = true;
		if (sure && found)
			return true;
	}
	return found;
}

int mirror_find(char uri[MIRROR_SIZE], struct error *e)
{
	static const char *const targets[] = {
		"apt-get",        "indextargets",  "--format", "$(REPO_URI) $(COMPONENT)", "Created-By: Packages",
		"Origin: Debian", "Label: Debian", NULL};
	static const char *const update[] = {"apt-get", "update", "--print-uris", NULL};
	struct child child = {.arguments = targets, .keep = -1};
	char *text;
	bool found;
	int r = child_read(&child, TEXT_MAX, &text, e);

	if (r < 0)
		return r;
	found = mirror_from_targets(text, uri);
	free(text);
	if (found)
		return 0;
	child.arguments = update;
	r = child_read(&child, TEXT_MAX, &text, e);
	if (r < 0)
		return r;
	found = mirror_from_update(text, uri);
	free(text);
	return found ? 0
		     : error_set(
			       e, ERROR_NOT_FOUND, -ENOENT,
			       "apt on this host has no source of Debian's packages (component main); add one to "
			       "/etc/apt/sources.list.d, or run a kernel of your own with --kernel");
}
