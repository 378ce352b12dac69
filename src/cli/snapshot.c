/* The verb snapshot and those below it. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/snapshots.h"
#include "cli/table.h"
#include "cli/verb.h"

/* ---- What there is ---- */

struct entry {
	char file[128];
	bool readable;
	struct snapshot_header header; /* zeros where it is not */
};

struct listing {
	struct entry *entries;
	size_t count, room;
	bool failed;
};

static void add_entry(void *context, const char *file, const struct snapshot_header *header)
{
	struct listing *listing = context;
	struct entry *entry;

	if (listing->count == listing->room) {
		size_t room = listing->room ? 2 * listing->room : 16;
		struct entry *entries = reallocarray(listing->entries, room, sizeof *entries);

		listing->failed |= !entries;
		if (!entries)
			return;
		listing->entries = entries;
		listing->room = room;
	}
	entry = &listing->entries[listing->count++];
	*entry = (struct entry){.readable = header};
	snprintf(entry->file, sizeof entry->file, "%.*s", (int)(strlen(file) - strlen(SNAPSHOT_SUFFIX)), file);
	if (header)
		entry->header = *header;
}

static int by_time(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	return (x->header.created_ns > y->header.created_ns) - (x->header.created_ns < y->header.created_ns);
}

static int list(const struct named *named, struct listing *listing, struct error *e)
{
	char folder[PATH_MAX];
	int r;

	*listing = (struct listing){.entries = NULL};
	snapshots_folder(named->registry, named->name, folder);
	r = snapshot_each(folder, add_entry, listing, e);
	if (r == 0 && listing->failed)
		r = error_errno(e, -ENOMEM, "%s", folder);
	if (r < 0)
		free(listing->entries);
	else if (listing->count)
		qsort(listing->entries, listing->count, sizeof *listing->entries, by_time);
	return r;
}

static const struct entry *find_id(const struct listing *listing, const uint8_t id[SNAPSHOT_ID_BYTES])
{
	for (size_t i = 0; i < listing->count; i++)
		if (listing->entries[i].readable && memcmp(listing->entries[i].header.id, id, SNAPSHOT_ID_BYTES) == 0)
			return &listing->entries[i];
	return NULL;
}

/* The first that builds on it, or NULL. */
static const struct entry *child_of(const struct listing *listing, const char *tag)
{
	for (size_t i = 0; i < listing->count; i++) {
		const struct entry *parent = find_id(listing, listing->entries[i].header.parent);

		if (parent && strcmp(parent->file, tag) == 0)
			return &listing->entries[i];
	}
	return NULL;
}

/* Whether it can go: nothing builds on it. */
static int check_needed(const struct named *named, const char *tag, struct error *e)
{
	const struct entry *child;
	struct listing listing;
	int r = list(named, &listing, e);

	if (r < 0)
		return r;
	child = child_of(&listing, tag);
	if (child)
		r = error_set(e, ERROR_STATE, -EBUSY,
			      "%s of %s builds on %s and would be lost; doppel snapshot collapse %s %s makes it whole first",
			      child->file, named->name, tag, named->name, child->file);
	free(listing.entries);
	return r;
}

/* ---- save ---- */

enum { SAVE_PARENT, SAVE_FORCE, SAVE_COMPRESS, SAVE_OPTIONS };

static uint64_t member(const json_t *result, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(result, key));
}

static void tell_saved(const char *path, const json_t *result)
{
	uint64_t stored = member(result, "stored") * GUEST_PAGE_SIZE, stopped = member(result, "stopped_us");
	char bytes[TABLE_BYTES_SIZE];

	table_format_bytes(stored, bytes);
	printf("%s: %s of memory", path, bytes);
	if (stopped)
		printf("; it stood still for %" PRIu64 ".%" PRIu64 " ms", stopped / 1000, stopped / 100 % 10);
	putchar('\n');
}

static int save(struct named *named, const struct arguments *arguments, struct error *e)
{
	const struct snapshots_request request = {
		.tag = arguments->operands[1],
		.parent = arguments->values[SAVE_PARENT].text,
		.force = arguments->values[SAVE_FORCE].given,
		.compress = arguments->values[SAVE_COMPRESS].given,
	};
	json_t *result = NULL;
	char path[PATH_MAX];
	int r;

	if (request.compress && request.parent)
		return error_set(e, ERROR_USAGE, -EINVAL,
				 "a compressed snapshot has all memory in it; give --compress or --parent, not both");
	if (request.parent && strcmp(request.parent, request.tag) == 0)
		return error_set(e, ERROR_USAGE, -EINVAL, "%s can not build on itself; give it another name, or no --parent",
				 request.tag);
	r = request.force ? check_needed(named, request.tag, e) : 0;
	if (r < 0)
		return r;
	r = snapshots_take(named, &request, path, &result, e);
	if (r == 0)
		tell_saved(request.tag, result);
	json_decref(result);
	return r;
}

static int run_save(const struct arguments *arguments, struct error *e)
{
	return named_do(arguments, save, e);
}

static const struct option_spec save_options[SAVE_OPTIONS] = {
	[SAVE_PARENT] = {.name = "parent",
			 .letter = 'p',
			 .type = OPTION_STRING,
			 .placeholder = "TAG",
			 .help = "store only memory that has changed since that snapshot, which is needed to restore this one"},
	[SAVE_FORCE] = {.name = "force",
			.letter = 'f',
			.type = OPTION_FLAG,
			.help = "replace a snapshot of the same name, on which none builds"},
	[SAVE_COMPRESS] = {.name = "compress",
			   .letter = 'c',
			   .type = OPTION_FLAG,
			   .help = "by zstd, with pages that are equal stored once; it is read whole before a machine runs from it"},
};

static const struct verb_example save_examples[] = {
	{"doppel snapshot web nightly", "saves web, which runs on, as nightly"},
	{"doppel snapshot web hourly --parent nightly", "stores what has changed since"},
	{"doppel snapshot web monthly --compress", "one that is to take little room"},
	{NULL, NULL},
};

static const struct verb verb_snapshot_save = {
	.name = "snapshot save",
	.summary = "save a machine while it runs on",
	.operands = "NAME TAG",
	.operands_min = 2,
	.operands_max = 2,
	.operand_kind = OPERAND_MACHINE_LIVE,
	.description =
		"Memory, processors, devices and the machine's own disk are saved as they are at one moment; the machine stands "
		"still for milliseconds, and its memory is written while it runs on. The word save may be left out.\n\n"
		"The disk is not copied: from then on it is written above what was saved. Disks that are not the machine's own must "
		"be read-only.",
	.examples = save_examples,
	.options = save_options,
	.option_count = SAVE_OPTIONS,
	.run = run_save,
};

/* ---- ls ---- */

static const struct column ls_columns[] = {
	{.key = "tag"},
	{.key = "created"},
	{.key = "memory", .type = COLUMN_BYTES},
	{.key = "file", .type = COLUMN_BYTES},
	{.key = "packed", .type = COLUMN_YES_NO, .programs = true},
	{.key = "id", .programs = true},
	{.key = "parent"},
};

static uint64_t room_of(const struct named *named, const char *tag)
{
	char path[PATH_MAX];
	struct stat stat_;

	if (snapshots_path(named->registry, named->name, tag, path, NULL) < 0 || stat(path, &stat_) < 0)
		return 0;
	return (uint64_t)stat_.st_blocks * 512;
}

/* What can be told without its header. */
static void add_unreadable(struct table *table, const struct named *named, const struct entry *entry)
{
	table_text(table, entry->file);
	table_nothing(table);
	table_nothing(table);
	table_number(table, room_of(named, entry->file));
	table_nothing(table);
	table_nothing(table);
	table_text(table, "(unreadable)");
}

static void add_row(struct table *table, const struct named *named, const struct listing *listing,
		    const struct entry *entry)
{
	const struct entry *parent = find_id(listing, entry->header.parent);
	char id[SNAPSHOT_ID_TEXT], created[CLOCK_TEXT];

	if (!entry->readable) {
		add_unreadable(table, named, entry);
		return;
	}
	table_text(table, entry->file);
	clock_seconds_text((int64_t)(entry->header.created_ns / NS_PER_SECOND), created);
	table_text(table, created);
	table_number(table, entry->header.pages * GUEST_PAGE_SIZE);
	table_number(table, room_of(named, entry->file));
	table_number(table, entry->header.flags & SNAPSHOT_PACKED);
	snapshot_id_text(entry->header.id, id);
	table_text(table, id);
	if (!snapshot_has_parent(&entry->header))
		table_nothing(table);
	else
		table_text(table, parent ? parent->file : "(missing)");
}

static int ls(struct named *named, const struct arguments *arguments, struct error *e)
{
	struct table *table = table_new(ls_columns, ARRAY_SIZE(ls_columns));
	struct listing listing;
	int r = list(named, &listing, e);

	if (r == 0) {
		for (size_t i = 0; i < listing.count; i++)
			add_row(table, named, &listing, &listing.entries[i]);
		free(listing.entries);
		r = table_show(table, &arguments->values[0], e);
	}
	table_free(table);
	return r;
}

static int run_ls(const struct arguments *arguments, struct error *e)
{
	return named_do(arguments, ls, e);
}

static const struct option_spec ls_options[TABLE_OPTIONS] = {TABLE_OPTION_ROWS(0)};

static const struct verb_example ls_examples[] = {
	{"doppel snapshot ls web", "the snapshots of web, oldest first"},
	{NULL, NULL},
};

static const struct verb verb_snapshot_ls = {
	.name = "snapshot ls",
	.summary = "list the snapshots of a machine",
	.operands = "NAME",
	.operands_min = 1,
	.operands_max = 1,
	.operand_kind = OPERAND_MACHINE,
	.description = "With the memory of the machine, and the room that each takes on the host's disk. One that is damaged, "
		       "or of a newer version, is \"(unreadable)\"; doppel snapshot inspect tells why.",
	.examples = ls_examples,
	.options = ls_options,
	.option_count = TABLE_OPTIONS,
	.run = run_ls,
};

/* ---- rm ---- */

static int remove_one(const struct named *named, const char *tag, struct error *e)
{
	char path[PATH_MAX];
	int r = snapshots_path(named->registry, named->name, tag, path, e);

	if (r == 0)
		r = check_needed(named, tag, e);
	if (r < 0 || unlink(path) == 0)
		return r;
	if (errno != ENOENT)
		return error_errno(e, -errno, "%.300s", path);
	return error_set(e, ERROR_NOT_FOUND, -ENOENT, "%s has no snapshot %s; doppel snapshot ls %s lists them", named->name, tag,
			 named->name);
}

static int rm(struct named *named, const struct arguments *arguments, struct error *e)
{
	int r = 0;

	for (size_t i = 1; r == 0 && i < arguments->operand_count; i++)
		r = remove_one(named, arguments->operands[i], e);
	snapshots_sweep(named->registry, named->name);
	return r;
}

static int run_rm(const struct arguments *arguments, struct error *e)
{
	return named_do(arguments, rm, e);
}

static const struct verb_example rm_examples[] = {
	{"doppel snapshot rm web nightly", "web keeps running, but can not go back to nightly any more"},
	{NULL, NULL},
};

static const struct verb verb_snapshot_rm = {
	.name = "snapshot rm",
	.summary = "remove snapshots of a machine",
	.operands = "NAME TAG...",
	.operands_min = 2,
	.operands_max = NAMED_MAX,
	.operand_kind = OPERAND_MACHINE,
	.description = "What only they needed of the disk goes too. One that another builds on stays.",
	.examples = rm_examples,
	.run = run_rm,
};

static const struct verb *const snapshot_verbs[] = {
	&verb_snapshot_save,    &verb_snapshot_ls,       &verb_snapshot_rm,
	&verb_snapshot_inspect, &verb_snapshot_collapse, &verb_snapshot_export, NULL,
};

const struct verb verb_snapshot = {
	.name = "snapshot",
	.summary = "save machines while they run on",
	.operands = "",
	.description = "A snapshot is a file in the machine's folder, with which doppel restore lets the machine go on from then. "
		       "doppel snapshot NAME TAG is doppel snapshot save NAME TAG.",
	.verbs = snapshot_verbs,
	.otherwise = &verb_snapshot_save,
};
