/*
 * The verb clone: copies of a machine that share its memory and its disk until they write.
 *
 * What is done once for all of them: the machine is saved (unless a snapshot is named), the snapshot is opened and
 * checked, and its document is read. Then each gets a folder with a document and links to the machine's files, an overlay
 * over the disk's layer, and a monitor, a copy of this process, that maps the snapshot's memory. The first of them are made
 * while the memory is still being written, and run before it is (snapshot/filling.h), or wait for it when all else of them is there.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/name.h"
#include "cli/create.h"
#include "cli/machine_disk.h"
#include "cli/machine_document.h"
#include "cli/machine_image.h"
#include "cli/monitor.h"
#include "cli/run_options.h"
#include "cli/snapshots.h"
#include "cli/verb.h"
#include "host/cpus.h"
#include "monitor/monitor.h"

#define COUNT_MAX   10000
#define NUMBERS_MAX 1000000
#define STARTS_MAX  8 /* at once */

enum { CLONE_COUNT, CLONE_NAME, CLONE_SNAPSHOT, CLONE_OPTIONS };

/* One that is on its way. */
struct start {
	char name[REGISTRY_NAME_SIZE];
	struct monitor_started started;
};

struct cloning {
	struct named *named; /* the machine that is copied */
	const struct arguments *arguments;
	char folder[PATH_MAX];
	bool prepared; /* layer and settings are read */
	char layer[MACHINE_LAYER_SIZE]; /* "": no disk */
	struct settings settings;
	struct snapshot_chain chain; /* open, for all of them */
	int files[SNAPSHOT_CHAIN_MAX]; /* what they are made of: the chain's descriptors; or */
	size_t file_count;
	int written; /* the one that is being written; -1: none */
	int pipe[2]; /* by which its memory is asked for meanwhile; -1: none */
	unsigned number; /* of the last name that was tried */
	struct start starts[STARTS_MAX];
	uint64_t begun, finished;
	int early; /* how it went with those that were begun while the machine was being saved */
	struct error why;
};

/* ---- What they have in common ---- */

/* An address of its own follows from a machine's name. */
static void drop_mac(char *text)
{
	char *found = strstr(text, ",mac="), *end;

	if (!found)
		return;
	end = strchr(found + 1, ',');
	memmove(found, end ? end : found + strlen(found), end ? strlen(end) + 1 : 1);
}

static int check_setting(const struct cloning *cloning, const struct setting *setting, struct error *e)
{
	if (setting->option == RUN_CHANNEL)
		return error_set(e, ERROR_STATE, -EOPNOTSUPP,
				 "%s has a channel (%s), whose socket only one machine can have; it can not be cloned",
				 cloning->named->name, setting->text);
	return 0;
}

/* Published ports are the one machine's, as is its name. */
static bool is_shared(const struct setting *setting)
{
	return setting->option != RUN_PUBLISH && setting->option != RUN_NAME && setting->option != RUN_VSOCK;
}

static int keep_settings(struct cloning *cloning, const struct settings *all, struct error *e)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < all->count; i++) {
		r = check_setting(cloning, &all->list[i], e);
		if (r < 0 || !is_shared(&all->list[i]))
			continue;
		if (all->list[i].option == RUN_NET)
			drop_mac(all->list[i].text);
		r = settings_add(&cloning->settings, &machine_kind, all->list[i].option, all->list[i].text, NULL, e);
	}
	return r;
}

static int read_document(struct cloning *cloning, const json_t *facts, const char *name, struct error *e)
{
	struct settings all;
	int r = snapshots_settings(facts, name, &all, e);

	if (r < 0)
		return r;
	r = keep_settings(cloning, &all, e);
	settings_finish(&all);
	return r;
}

static int read_template(struct cloning *cloning, const json_t *facts, const char *name, struct error *e)
{
	const char *layer = snapshots_layer(facts);

	snprintf(cloning->layer, sizeof cloning->layer, "%s", layer ? layer : "");
	cloning->prepared = true;
	return read_document(cloning, facts, name, e);
}

/* Of the chain, which is open. */
static int take_chain(struct cloning *cloning, struct error *e)
{
	const struct snapshot_chain *chain = &cloning->chain;

	for (unsigned i = 0; i < chain->count; i++)
		cloning->files[i] = chain->files[i]->fd;
	cloning->file_count = chain->count;
	return cloning->prepared ? 0 : read_template(cloning, chain->files[0]->facts, chain->files[0]->name, e);
}

/* ---- One of them ---- */

static int link_file(const struct cloning *cloning, const char *to, const char *file, struct error *e)
{
	char from_path[PATH_MAX], to_path[PATH_MAX];
	int r = file_path(cloning->folder, file, from_path, e);

	if (r == 0)
		r = file_path(to, file, to_path, e);
	if (r == 0 && link(from_path, to_path) < 0 && errno != ENOENT)
		r = error_errno(e, -errno, "%.300s", to_path);
	return r;
}

static int fill(void *context, const char *to, struct error *e)
{
	const struct cloning *cloning = context;
	int r = 0;

	for (size_t i = 0; r == 0 && i < MACHINE_IMAGE_FILES; i++)
		r = link_file(cloning, to, machine_image_files[i], e);
	if (r < 0 || !*cloning->layer)
		return r;
	r = machine_disk_link(cloning->folder, cloning->layer, to, e);
	return r < 0 ? r : machine_disk_return(to, cloning->layer, e);
}

static int make(struct cloning *cloning, const char *name, struct error *e)
{
	const struct registry_filling filling = {.fill = fill, .context = cloning, .soon = true};
	struct record record = cloning->named->record;
	char *document;
	int r = machine_document(&cloning->settings, name, &document, e);

	if (r < 0)
		return r;
	record.state = MACHINE_CREATED;
	record.monitor = 0;
	record.foreground = record.stalled = false;
	snprintf(record.name, sizeof record.name, "%s", name);
	r = registry_create_filled(cloning->named->registry, name, document, strlen(document), &record, &filling, e);
	free(document);
	return r;
}

/* A name that is free: PREFIX-1, PREFIX-2, ... */
static int make_numbered(struct cloning *cloning, const char *prefix, char name[REGISTRY_NAME_SIZE], struct error *e)
{
	int r = -EEXIST;

	while (r == -EEXIST && cloning->number++ < NUMBERS_MAX) {
		snprintf(name, REGISTRY_NAME_SIZE, "%.50s-%u", prefix, cloning->number);
		r = make(cloning, name, e);
	}
	return r;
}

static void note(const struct cloning *cloning, const char *name)
{
	json_t *details = json_pack("{s:s}", "from", cloning->named->name);
	char *text = json_dumps(details, JSON_COMPACT);
	int fd;

	if (text && registry_history_open(cloning->named->registry, name, &fd, NULL) == 0) {
		(void)!registry_history_add(fd, "cloned", text, NULL);
		close(fd);
	}
	free(text);
	json_decref(details);
}

/* In the copy. */
static int be_clone(void *context, const char *name, int starter)
{
	const struct cloning *cloning = context;
	const struct clone_source source = {.chain = cloning->written < 0 ? &cloning->chain : NULL,
					    .file = cloning->written,
					    .wants = cloning->pipe[1]};

	return monitor_clone(cloning->named->registry, &source, name, starter);
}

static int name_one(struct cloning *cloning, char name[REGISTRY_NAME_SIZE], struct error *e)
{
	const char *given = cloning->arguments->values[CLONE_NAME].text;

	if (!given || cloning->arguments->values[CLONE_COUNT].given)
		return make_numbered(cloning, given ? given : cloning->named->name, name, e);
	snprintf(name, REGISTRY_NAME_SIZE, "%s", given);
	return make(cloning, name, e);
}

static int begin(struct cloning *cloning, struct error *e)
{
	const struct monitor_copy copy = {be_clone, cloning, cloning->files, cloning->file_count};
	struct start *start = &cloning->starts[cloning->begun % STARTS_MAX];
	int r = name_one(cloning, start->name, e);

	if (r < 0)
		return r;
	note(cloning, start->name);
	r = monitor_copy_begin(cloning->named->registry, start->name, &copy, &start->started, e);
	if (r < 0)
		create_undo(cloning->named->registry, start->name);
	else
		cloning->begun++;
	return r;
}

static int finish(struct cloning *cloning, struct error *e)
{
	const struct start *start = &cloning->starts[cloning->finished++ % STARTS_MAX];
	struct registry *registry = cloning->named->registry;
	/* Meanwhile: the disk is waited for, not a processor. */
	int flushed = registry_flush(registry, start->name, NULL);
	int r = monitor_copy_end(registry, start->name, &start->started, e);

	(void)flushed;
	if (r < 0)
		create_undo(registry, start->name);
	else
		puts(start->name);
	return r;
}

/* Much of a start is waiting for other threads and processes, so each processor has one to make. */
static unsigned starts_at_once(void)
{
	unsigned processors = cpus_online();

	return processors < STARTS_MAX ? processors : STARTS_MAX;
}

static bool may_begin(const struct cloning *cloning)
{
	return cloning->begun < cloning->arguments->values[CLONE_COUNT].number &&
	       cloning->begun - cloning->finished < starts_at_once();
}

/* `r`: how it went until now. After a failure no more are begun; the first one is told. */
static int clone_all(struct cloning *cloning, int r, struct error *e)
{
	struct error later;
	int one;

	while (cloning->finished < cloning->begun || (r == 0 && may_begin(cloning))) {
		if (r == 0 && may_begin(cloning)) {
			r = begin(cloning, e);
			continue;
		}
		one = finish(cloning, r < 0 ? &later : e);
		r = r < 0 ? r : one;
	}
	return r;
}

/* ---- Saving the machine ---- */

static void close_pipe(struct cloning *cloning, unsigned end)
{
	if (cloning->pipe[end] >= 0)
		close(cloning->pipe[end]);
	cloning->pipe[end] = -1;
}

static int begin_some(struct cloning *cloning)
{
	int r = 0;

	while (r == 0 && may_begin(cloning))
		r = begin(cloning, &cloning->why);
	return r;
}

/* Before the machine is saved: its disk, if it has one, is not frozen yet, and nobody's whose command is killed may have that. */
static void begin_before(void *context, const char *path, const json_t *facts)
{
	struct cloning *cloning = context;

	/* What writes the memory has it, and whoever asks finds out when that ends. */
	close_pipe(cloning, 0);
	cloning->written = open(path, O_RDONLY | O_CLOEXEC);
	if (cloning->written < 0) {
		cloning->early = error_errno(&cloning->why, -errno, "%.300s", path);
		return;
	}
	cloning->files[0] = cloning->written;
	cloning->files[1] = cloning->pipe[1];
	cloning->file_count = cloning->pipe[1] < 0 ? 1 : 2;
	cloning->early = read_template(cloning, facts, path, &cloning->why);
	if (cloning->early == 0 && !*cloning->layer)
		cloning->early = begin_some(cloning);
}

static void tell_all(const struct cloning *cloning, enum monitor_copy_news news)
{
	for (uint64_t i = 0; i < cloning->begun; i++)
		monitor_copy_tell(&cloning->starts[i].started, news);
}

/* Until the file is whole there is enough to do. */
static void begin_early(void *context, bool early)
{
	struct cloning *cloning = context;

	if (cloning->early == 0)
		cloning->early = begin_some(cloning);
	if (early)
		tell_all(cloning, MONITOR_COPY_EARLY);
}

static void end_early(struct cloning *cloning, bool saved)
{
	tell_all(cloning, saved ? MONITOR_COPY_THERE : MONITOR_COPY_NEVER);
	if (cloning->written >= 0)
		close(cloning->written);
	cloning->written = -1;
	close_pipe(cloning, 0);
	close_pipe(cloning, 1);
}

/* Who has the file open keeps it. */
static int take_file(struct cloning *cloning, const char *path, int lock, struct error *e)
{
	int r = snapshot_chain_load(&cloning->chain, path, e);

	(void)unlink(path);
	close(lock);
	return r < 0 ? r : take_chain(cloning, e);
}

static int save_now(struct cloning *cloning, struct error *e)
{
	int lock, r;
	struct snapshots_request request = {
		.tag = "clone", .passing = &lock, .asking = begin_before, .saving = begin_early, .context = cloning};
	char path[PATH_MAX];

	if (pipe2(cloning->pipe, O_CLOEXEC | O_NONBLOCK) == 0)
		request.wants = &cloning->pipe[0];
	r = snapshots_take(cloning->named, &request, path, NULL, e);
	end_early(cloning, r == 0);
	if (r == 0)
		r = take_file(cloning, path, lock, e);
	if (r == 0 && cloning->early < 0) {
		*e = cloning->why;
		r = cloning->early;
	}
	return r;
}

static int use_snapshot(struct cloning *cloning, const char *tag, struct error *e)
{
	int r = snapshots_open(cloning->named->registry, cloning->named->name, tag, &cloning->chain, e);

	return r < 0 ? r : take_chain(cloning, e);
}

/* ---- The verb ---- */

static int clone_machine(struct named *named, const struct arguments *arguments, struct error *e)
{
	struct cloning cloning = {.named = named, .arguments = arguments, .written = -1, .pipe = {-1, -1}};
	const char *tag = arguments->values[CLONE_SNAPSHOT].text;
	int r;

	registry_folder_path(named->registry, named->name, cloning.folder);
	r = tag ? use_snapshot(&cloning, tag, e) : save_now(&cloning, e);
	r = clone_all(&cloning, r, e);
	snapshot_chain_finish(&cloning.chain);
	settings_finish(&cloning.settings);
	snapshots_sweep(named->registry, named->name);
	return r;
}

static int run(const struct arguments *arguments, struct error *e)
{
	const char *name = arguments->values[CLONE_NAME].text;

	if (name && !name_is_valid(name))
		return error_set(e, ERROR_USAGE, -EINVAL, "--name: \"%.60s\" is no name for a machine", name);
	return named_do(arguments, clone_machine, e);
}

static const struct option_spec options[CLONE_OPTIONS] = {
	[CLONE_COUNT] = {.name = "count",
			 .letter = 'c',
			 .type = OPTION_INTEGER,
			 .placeholder = "N",
			 .minimum = 1,
			 .maximum = COUNT_MAX,
			 .fallback = "1",
			 .help = "how many"},
	[CLONE_NAME] = {.name = "name",
			.letter = 'n',
			.type = OPTION_STRING,
			.placeholder = "NAME",
			.help = "what they are called: NAME-1, NAME-2 and so on; without --count, the name itself"},
	[CLONE_SNAPSHOT] = {.name = "snapshot",
			    .letter = 's',
			    .type = OPTION_STRING,
			    .placeholder = "TAG",
			    .help = "as the machine was then, and not as it is now"},
};

static const struct verb_example examples[] = {
	{"doppel clone web --count 50", "web-1 to web-50, each going on where web is now"},
	{"doppel clone web --name web-test --snapshot nightly", "web-test goes on where web was then"},
	{NULL, NULL},
};

const struct verb verb_clone = {
	.name = "clone",
	.summary = "make running copies of a machine",
	.operands = "NAME",
	.operands_min = 1,
	.operands_max = 1,
	.operand_kind = OPERAND_MACHINE,
	.description =
		"The copies share memory and disk with each other until they write, so each costs the host only what it changes. "
		"Each has a name, a network address (MAC) on its card, and a disk of its own, publishes no ports, and is told that it "
		"is a copy, so that a guest whose kernel knows the generation device (Linux 6.10) gets random numbers of its own.\n\n"
		"A guest goes on with what it has in memory: its host name, and the addresses that it gave its cards when it "
		"started.",
	.examples = examples,
	.options = options,
	.option_count = CLONE_OPTIONS,
	.run = run,
};
