#include "image/dpkg.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "image/child.h"
#include "image/md5.h"
#include "image/tar.h"

#define ADMIN        "var/lib/dpkg"
#define MEMBERS_MAX  64
#define NAME_SIZE    128
#define TRIGGERS_MAX 256

/* A file of a package's control part. */
struct member {
	char name[32];
	uint32_t mode;
	uint8_t *bytes;
	size_t size;
};

struct trigger {
	char *name; /* of the trigger, or a path */
	char *entry; /* the package, with "/noawait" */
};

struct dpkg {
	struct ext4 *ext4;
	struct dpkg_options options;
	uint64_t unpacked;
	FILE *status;
	char *status_text;
	size_t status_size;
	struct trigger triggers[TRIGGERS_MAX];
	size_t trigger_count;
};

/* A package on its way. */
struct package {
	struct dpkg *dpkg;
	const char *path;
	char name[NAME_SIZE], base[2 * NAME_SIZE]; /* `base`: as the database's files are called */
	struct member members[MEMBERS_MAX];
	size_t member_count;
	FILE *list, *hashes; /* the paths; the lines of Conffiles */
	char *list_text, *hashes_text;
	size_t list_size, hashes_size;
	char where[256]; /* the path that failed */
};

static const struct ext4_attributes directory_attributes = {.mode = 0755};

static struct ext4_attributes attributes_of(const struct tar_entry *entry)
{
	return (struct ext4_attributes){entry->mode, entry->user, entry->group, entry->modified};
}

struct dpkg *dpkg_new(struct ext4 *ext4, const struct dpkg_options *options, struct error *e)
{
	static const char *const directories[] = {"var",           "var/lib",          ADMIN,
						  ADMIN "/info",   ADMIN "/triggers",  ADMIN "/updates",
						  ADMIN "/parts",  ADMIN "/alternatives"};
	struct dpkg *dpkg = calloc(1, sizeof *dpkg);
	int r = dpkg ? 0 : -ENOMEM;

	if (dpkg) {
		dpkg->ext4 = ext4;
		dpkg->options = *options;
		dpkg->status = open_memstream(&dpkg->status_text, &dpkg->status_size);
		r = dpkg->status ? 0 : -ENOMEM;
	}
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(directories); i++)
		r = ext4_directory(ext4, directories[i], &directory_attributes);
	if (r == 0)
		return dpkg;
	(void)error_errno(e, r, "cannot make the database of packages");
	dpkg_free(dpkg);
	return NULL;
}

void dpkg_free(struct dpkg *dpkg)
{
	if (!dpkg)
		return;
	if (dpkg->status)
		fclose(dpkg->status);
	free(dpkg->status_text);
	for (size_t i = 0; i < dpkg->trigger_count; i++) {
		free(dpkg->triggers[i].name);
		free(dpkg->triggers[i].entry);
	}
	free(dpkg);
}

bool dpkg_field(const char *control, const char *name, const char **value, size_t *length)
{
	size_t size = strlen(name);

	for (const char *line = control; *line && *line != '\n'; line += strcspn(line, "\n"), line += *line == '\n') {
		if (strncasecmp(line, name, size) != 0 || line[size] != ':')
			continue;
		*value = line + size + 1 + strspn(line + size + 1, " \t");
		*length = strcspn(*value, "\n");
		while (*length > 0 && isspace((unsigned char)(*value)[*length - 1]))
			(*length)--;
		return true;
	}
	return false;
}

/* Reads one of a package's two archives. */
static int read_part(const struct package *package, const char *part, const struct tar_visitor *visitor,
		     int (*feed)(void *, const uint8_t *, size_t), void *context, struct tar **tar, struct error *e)
{
	const char *const arguments[] = {"dpkg-deb", part, package->path, NULL};
	struct child child = {
		.arguments = arguments, .keep = package->dpkg->options.keep, .output = feed, .context = context};
	struct error why = {.kind = ERROR_NONE};
	int r;

	*tar = tar_new(visitor);
	r = *tar ? child_run(&child, &why) : -ENOMEM;
	if (r == 0)
		r = tar_end(*tar);
	tar_free(*tar);
	if (r == 0)
		return 0;
	if (why.kind != ERROR_NONE)
		return error_set(e, why.kind, r, "%s", why.message);
	return error_errno(e, r, "cannot unpack %.200s%s%.200s", package->path, *package->where ? ": " : "",
			   package->where);
}

struct feeding {
	struct tar *tar;
	struct package *package;
};

static int feed(void *context, const uint8_t *bytes, size_t size)
{
	struct feeding *feeding = context;
	struct dpkg *dpkg = feeding->package->dpkg;

	dpkg->unpacked += size;
	if (dpkg->options.progress)
		dpkg->options.progress(dpkg->options.context, dpkg->unpacked);
	return tar_feed(feeding->tar, bytes, size);
}

static bool want_all(void *context, const struct tar_entry *entry)
{
	(void)context;
	(void)entry;
	return true;
}

static int take_member(void *context, const struct tar_entry *entry, uint8_t *bytes, size_t size)
{
	struct package *package = context;
	struct member *member = &package->members[package->member_count];

	if (package->member_count == MEMBERS_MAX || strlen(entry->path) >= sizeof member->name ||
	    strchr(entry->path, '/')) {
		free(bytes);
		return -EBADMSG;
	}
	bytes[size] = '\0';
	strcpy(member->name, entry->path);
	member->mode = entry->mode & 0777;
	member->bytes = bytes;
	member->size = size;
	package->member_count++;
	return 0;
}

/* The member's text, "" when there is none. */
static const char *text_of(const struct package *package, const char *name)
{
	for (size_t i = 0; i < package->member_count; i++)
		if (strcmp(package->members[i].name, name) == 0)
			return (const char *)package->members[i].bytes;
	return "";
}

static bool copy_word(char out[NAME_SIZE], const char *control, const char *field)
{
	const char *value;
	size_t length;

	if (!dpkg_field(control, field, &value, &length) || length == 0 || length >= NAME_SIZE ||
	    strspn(value, "abcdefghijklmnopqrstuvwxyz0123456789+-.") < length)
		return false;
	*(char *)mempcpy(out, value, length) = '\0';
	return true;
}

/* Files of packages that may be there for several architectures at once carry theirs in the name. */
static bool name_package(struct package *package)
{
	const char *control = text_of(package, "control"), *value;
	char architecture[NAME_SIZE];
	size_t length;
	bool same;

	if (!copy_word(package->name, control, "Package") || !copy_word(architecture, control, "Architecture"))
		return false;
	same = dpkg_field(control, "Multi-Arch", &value, &length) && length == 4 && memcmp(value, "same", 4) == 0;
	snprintf(package->base, sizeof package->base, "%s%s%s", package->name, same ? ":" : "",
		 same ? architecture : "");
	return true;
}

static bool is_excluded(const struct package *package, const char *path)
{
	const char *name = strrchr(path, '/');

	if (name && strcmp(name + 1, "copyright") == 0)
		return false;
	for (const char *const *directory = package->dpkg->options.excluded; *directory; directory++)
		if (strncmp(path, *directory, strlen(*directory)) == 0 && path[strlen(*directory)] == '/')
			return true;
	return false;
}

static void note_path(struct package *package, const struct tar_entry *entry)
{
	fprintf(package->list, "/%s\n", *entry->path ? entry->path : ".");
}

static int fail_at(struct package *package, const struct tar_entry *entry, int code)
{
	if (code < 0)
		snprintf(package->where, sizeof package->where, "%.200s", entry->path);
	return code;
}

static int place_entry(void *context, const struct tar_entry *entry)
{
	struct package *package = context;
	struct ext4_attributes attributes = attributes_of(entry);
	struct ext4 *ext4 = package->dpkg->ext4;

	note_path(package, entry);
	if (entry->type != TAR_DIRECTORY && is_excluded(package, entry->path))
		return 0;
	switch (entry->type) {
	case TAR_DIRECTORY:
		return fail_at(package, entry, ext4_directory(ext4, entry->path, &attributes));
	case TAR_LINK:
		return fail_at(package, entry, ext4_link(ext4, entry->path, &attributes, entry->target));
	case TAR_HARD_LINK:
		return fail_at(package, entry, ext4_hard_link(ext4, entry->path, entry->target));
	default:
		/* No package holds devices or pipes. */
		return fail_at(package, entry, -EBADMSG);
	}
}

/* The line "/PATH" in `conffiles`; such files may be marked otherwise, but then they are not in the package. */
static bool is_conffile(const struct package *package, const char *path)
{
	const char *line = text_of(package, "conffiles");
	size_t length = strlen(path);

	for (; *line; line += strcspn(line, "\n"), line += *line == '\n')
		if (*line == '/' && strncmp(line + 1, path, length) == 0 &&
		    (line[1 + length] == '\n' || line[1 + length] == '\0'))
			return true;
	return false;
}

static bool want_file(void *context, const struct tar_entry *entry)
{
	struct package *package = context;

	note_path(package, entry);
	return !is_excluded(package, entry->path);
}

static int take_file(void *context, const struct tar_entry *entry, uint8_t *bytes, size_t size)
{
	struct package *package = context;
	struct ext4_attributes attributes = attributes_of(entry);
	char hash[MD5_TEXT_SIZE];
	int r;

	if (is_conffile(package, entry->path)) {
		md5_text(bytes, size, hash);
		fprintf(package->hashes, " /%s %s\n", entry->path, hash);
	}
	r = ext4_file(package->dpkg->ext4, entry->path, &attributes, bytes, size);
	free(bytes);
	return fail_at(package, entry, r);
}

static int write_info(const struct package *package, const char *kind, uint32_t mode, const void *bytes, size_t size)
{
	struct ext4_attributes attributes = {.mode = mode, .modified = time(NULL)};
	char path[512];

	snprintf(path, sizeof path, ADMIN "/info/%s.%s", package->base, kind);
	return ext4_file(package->dpkg->ext4, path, &attributes, bytes, size);
}

static int write_infos(struct package *package)
{
	int r = write_info(package, "list", 0644, package->list_text, package->list_size);

	for (size_t i = 0; r == 0 && i < package->member_count; i++) {
		const struct member *member = &package->members[i];

		if (strcmp(member->name, "control") != 0)
			r = write_info(package, member->name, member->mode, member->bytes, member->size);
	}
	return r;
}

/* The control file's paragraph with its state after the first field, as dpkg keeps it. */
static bool write_status(struct package *package)
{
	const char *control = text_of(package, "control"), *end = strstr(control, "\n\n");
	size_t length = end ? (size_t)(end - control) : strlen(control), first = strcspn(control, "\n");
	FILE *out = package->dpkg->status;

	if (strncasecmp(control, "Package:", 8) != 0 || first == length)
		return false;
	fprintf(out, "%.*s\nStatus: install ok unpacked", (int)first, control);
	fprintf(out, "%.*s", (int)(length - first), control + first);
	if (control[length - 1] != '\n')
		fputc('\n', out);
	if (package->hashes_size > 0)
		fprintf(out, "Conffiles:\n%s", package->hashes_text);
	fputc('\n', out);
	return true;
}

static int note_trigger(struct package *package, const char *directive, const char *name)
{
	struct dpkg *dpkg = package->dpkg;
	struct trigger *trigger = &dpkg->triggers[dpkg->trigger_count];
	bool wait = strcmp(directive, "interest-noawait") != 0;

	if (strncmp(directive, "interest", 8) != 0)
		return 0;
	if (dpkg->trigger_count == TRIGGERS_MAX || (*name != '/' && strchr(name, '/')))
		return -EBADMSG;
	trigger->name = strdup(name);
	if (asprintf(&trigger->entry, "%s%s", package->name, wait ? "" : "/noawait") < 0)
		trigger->entry = NULL;
	dpkg->trigger_count++;
	return trigger->name && trigger->entry ? 0 : -ENOMEM;
}

static int note_triggers(struct package *package)
{
	char *text = strdup(text_of(package, "triggers")), *rest = text, *line;
	int r = text ? 0 : -ENOMEM;

	while (r == 0 && (line = strsep(&rest, "\n")) != NULL) {
		char *save, *directive, *name;

		line[strcspn(line, "#")] = '\0';
		directive = strtok_r(line, " \t", &save);
		name = directive ? strtok_r(NULL, " \t", &save) : NULL;
		if (name)
			r = note_trigger(package, directive, name);
	}
	free(text);
	return r;
}

static int open_texts(struct package *package)
{
	package->list = open_memstream(&package->list_text, &package->list_size);
	package->hashes = open_memstream(&package->hashes_text, &package->hashes_size);
	return package->list && package->hashes ? 0 : -ENOMEM;
}

static int close_texts(struct package *package)
{
	FILE *list = package->list, *hashes = package->hashes;
	int r = 0;

	package->list = package->hashes = NULL;
	if (list && fclose(list) != 0)
		r = -ENOMEM;
	if (hashes && fclose(hashes) != 0)
		r = -ENOMEM;
	return r;
}

static void package_free(struct package *package)
{
	(void)close_texts(package);
	free(package->list_text);
	free(package->hashes_text);
	for (size_t i = 0; i < package->member_count; i++)
		free(package->members[i].bytes);
	free(package);
}

static int read_parts(struct package *package, struct error *e)
{
	struct tar_visitor control = {.want = want_all, .take = take_member, .context = package};
	struct tar_visitor data = {
		.want = want_file, .take = take_file, .place = place_entry, .context = package};
	struct feeding feeding = {.package = package};
	int r = read_part(package, "--ctrl-tarfile", &control, feed, &feeding, &feeding.tar, e);

	if (r < 0)
		return r;
	if (!name_package(package))
		return error_set(e, ERROR_FAILED, -EBADMSG, "%.300s is no Debian package", package->path);
	return read_part(package, "--fsys-tarfile", &data, feed, &feeding, &feeding.tar, e);
}

int dpkg_unpack(struct dpkg *dpkg, const char *path, struct error *e)
{
	struct package *package = calloc(1, sizeof *package);
	int r;

	if (!package)
		return error_errno(e, -ENOMEM, "%.300s", path);
	package->dpkg = dpkg;
	package->path = path;
	r = open_texts(package);
	if (r < 0)
		r = error_errno(e, r, "%.300s", path);
	else
		r = read_parts(package, e);
	if (r == 0) {
		r = close_texts(package);
		if (r == 0)
			r = write_infos(package);
		if (r == 0)
			r = note_triggers(package);
		if (r == 0 && !write_status(package))
			r = -EBADMSG;
		if (r < 0)
			(void)error_errno(e, r, "cannot enter %.300s into the database of packages", path);
	}
	package_free(package);
	return r;
}

static int write_text(struct dpkg *dpkg, const char *path, const char *text, size_t size)
{
	struct ext4_attributes attributes = {.mode = 0644, .modified = time(NULL)};

	return ext4_file(dpkg->ext4, path, &attributes, text, size);
}

/* One file for all paths, one for each other trigger; `which` NULL: the paths. */
static int write_trigger(struct dpkg *dpkg, const char *which)
{
	char *text, path[512];
	size_t size;
	FILE *out = open_memstream(&text, &size);
	int r;

	if (!out)
		return -ENOMEM;
	for (size_t i = 0; i < dpkg->trigger_count; i++) {
		const struct trigger *trigger = &dpkg->triggers[i];

		if (which ? strcmp(trigger->name, which) == 0 : *trigger->name == '/')
			fprintf(out, "%s%s%s\n", which ? "" : trigger->name, which ? "" : " ", trigger->entry);
	}
	if (fclose(out) != 0) {
		free(text);
		return -ENOMEM;
	}
	snprintf(path, sizeof path, ADMIN "/triggers/%.200s", which ? which : "File");
	r = write_text(dpkg, path, text, size);
	free(text);
	return r;
}

static int write_triggers(struct dpkg *dpkg)
{
	int r = write_trigger(dpkg, NULL);

	/* Written again for each package that has the same one. */
	for (size_t i = 0; r == 0 && i < dpkg->trigger_count; i++)
		if (*dpkg->triggers[i].name != '/')
			r = write_trigger(dpkg, dpkg->triggers[i].name);
	return r;
}

int dpkg_finish(struct dpkg *dpkg, struct error *e)
{
	int r = fflush(dpkg->status) == 0 ? 0 : -ENOMEM;

	if (r == 0)
		r = write_text(dpkg, ADMIN "/status", dpkg->status_text, dpkg->status_size);
	if (r == 0)
		r = write_text(dpkg, ADMIN "/available", "", 0);
	if (r == 0)
		r = write_text(dpkg, ADMIN "/info/format", "1\n", 2);
	if (r == 0)
		r = write_triggers(dpkg);
	return r < 0 ? error_errno(e, r, "cannot write the database of packages") : 0;
}
