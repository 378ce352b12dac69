#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/document.h"
#include "cli/migrate.h"
#include "cli/verb.h"
#include "migrate/source.h"
#include "monitor/monitor.h"

enum {
	MIGRATE_OFFLINE,
	MIGRATE_POST_COPY,
	MIGRATE_AUTO_POST_COPY,
	MIGRATE_COPY_DISKS,
	MIGRATE_MAX_DOWNTIME,
	MIGRATE_BANDWIDTH,
	MIGRATE_CONNECTIONS,
	MIGRATE_COMPRESS,
	MIGRATE_TLS_NAME,
	MIGRATE_STATUS,
	MIGRATE_CANCEL,
	MIGRATE_SET_BANDWIDTH,
	MIGRATE_TO_POST_COPY,
	MIGRATE_RECOVER,
	MIGRATE_QUIET,
	MIGRATE_FORMAT,
	MIGRATE_ENDPOINT,
	MIGRATE_OPTIONS = MIGRATE_ENDPOINT + ENDPOINT_OPTIONS,
};

static bool given(const struct arguments *arguments, unsigned option)
{
	return arguments->values[option].given;
}

/* ---- The move ---- */

static int read_document(struct named *named, uint8_t **text, struct error *e)
{
	char path[PATH_MAX];
	size_t length;

	return registry_document(named->registry, named->name, path, text, &length, e);
}

/* Only its folder has it. */
static int refuse_own_disk(struct named *named, struct error *e)
{
	static const char *const files[] = {"disk.qcow2", "disk.raw"};
	char path[PATH_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		registry_path(named->registry, named->name, files[i], path);
		if (access(path, F_OK) == 0)
			return error_set(e, ERROR_STATE, -EOPNOTSUPP,
					 "%s has a disk of its own, %s; give --copy-disks, so that it moves along",
					 named->name, path);
	}
	return 0;
}

/* Those that the destination does not make anyway, as it does overlays and what is in the machine's folder. A new
 * reference. */
static int list_disks(struct named *named, json_t **out, struct error *e)
{
	json_t *tree = NULL, *disk;
	char folder[PATH_MAX];
	size_t i;
	int r = named_call(named, "moved", "inspect", NULL, MIGRATE_PATIENCE_MS, &tree, e);

	if (r < 0)
		return r;
	/* With its slash: no other folder's path begins so. */
	registry_path(named->registry, named->name, "", folder);
	*out = json_array();
	json_array_foreach(json_object_get(tree, "disk_files"), i, disk)
	{
		const char *path = json_string_value(json_object_get(disk, "path"));

		if (path && strncmp(path, folder, strlen(folder)) != 0 &&
		    json_is_true(json_object_get(disk, "writable")) &&
		    !json_is_true(json_object_get(disk, "overlay")))
			json_array_append(*out, disk);
	}
	json_decref(tree);
	return 0;
}

static bool wants_post_copy(const struct arguments *arguments)
{
	return given(arguments, MIGRATE_POST_COPY) || given(arguments, MIGRATE_AUTO_POST_COPY);
}

static const char *const methods[] = {"auto", "zstd", "none", NULL};

/* How it goes, for the machine's monitor. A new reference; NULL without memory. */
static json_t *request_of(const struct arguments *arguments, const char *offer, const char *token)
{
	static const struct {
		const char *key;
		unsigned option;
	} flags[] = {
		{"offline", MIGRATE_OFFLINE},
		{"post_copy", MIGRATE_POST_COPY},
		{"auto_post_copy", MIGRATE_AUTO_POST_COPY},
		{"disks", MIGRATE_COPY_DISKS},
	};
	const struct option_value *values = arguments->values;
	json_t *object = json_pack(
		"{s:s, s:s, s:s, s:s, s:I, s:I}", "offer", offer, "token", token, "to", arguments->operands[1],
		"compress", methods[values[MIGRATE_COMPRESS].number], "max_downtime_ms", (json_int_t)values[MIGRATE_MAX_DOWNTIME].number, "bandwidth",
		(json_int_t)(values[MIGRATE_BANDWIDTH].given ? values[MIGRATE_BANDWIDTH].number : 0));

	for (size_t i = 0; object && i < ARRAY_SIZE(flags); i++)
		json_object_set_new(object, flags[i].key, json_boolean(values[flags[i].option].given));
	return object;
}

static unsigned connections_of(const struct arguments *arguments, const struct migrate_target *target)
{
	const struct option_value *given = &arguments->values[MIGRATE_CONNECTIONS];

	return given->given ? (unsigned)given->number : endpoint_connections(target->endpoint);
}

static int make_request(struct named *named, const struct arguments *arguments, json_t **out, struct error *e)
{
	char token[MIGRATE_TOKEN_TEXT], *text;
	uint8_t *document = NULL;
	json_t *offer, *disks = NULL;
	int r = migrate_token(token, e);

	if (r == 0)
		r = given(arguments, MIGRATE_COPY_DISKS) ? list_disks(named, &disks, e)
							 : refuse_own_disk(named, e);
	if (r == 0)
		r = read_document(named, &document, e);
	if (r < 0) {
		json_decref(disks);
		return r;
	}
	offer = json_pack("{s:s, s:s, s:s, s:b, s:o*}", "name", named->name, "token", token, "document", document,
			  "post_copy", wants_post_copy(arguments), "disks", disks);
	text = offer ? json_dumps(offer, JSON_COMPACT) : NULL;
	*out = text ? request_of(arguments, text, token) : NULL;
	json_decref(offer);
	free(text);
	free(document);
	return *out ? 0 : error_errno(e, -ENOMEM, "migrate");
}

static int move(struct named *named, const struct arguments *arguments, const struct migrate_target *target,
		struct error *e)
{
	json_t *with = NULL, *result = NULL;
	unsigned connections = connections_of(arguments, target), more = connections - 1 + wants_post_copy(arguments);
	int fd = -1, r = named_connect(named, "moved", e);

	if (r == 0)
		r = make_request(named, arguments, &with, e);
	if (r == 0)
		json_object_set_new(with, "connections", json_integer(connections));
	if (r == 0 && more)
		r = migrate_pass_links(named, target, more, e);
	if (r == 0)
		r = endpoint_connect(target->endpoint, &fd, e);
	if (r < 0) {
		json_decref(with);
		return r;
	}
	control_pass(named->client, fd);
	r = migrate_watch(named, with, given(arguments, MIGRATE_QUIET), &result, e);
	close(fd);
	if (r < 0 && e->kind == ERROR_TIMEOUT && migrate_settle_doubt(named, target, &result, e) == 0)
		r = 0;
	if (r == 0) {
		migrate_report(named, target->to, result);
		r = migrate_discard(named, e);
	}
	json_decref(result);
	return r;
}

/* ---- Calls about one that is under way ---- */

static int status(struct named *named, enum output_format format, struct error *e)
{
	json_t *result = NULL;
	int r = named_call(named, "moved", "migrate status", NULL, MIGRATE_PATIENCE_MS, &result, e);

	if (r == 0 && format == FORMAT_TABLE)
		migrate_print(stdout, result);
	else if (r == 0)
		r = document_print(result, format, stdout, e);
	json_decref(result);
	return r;
}

static int to_post_copy(struct named *named, const struct migrate_target *target, struct error *e)
{
	int fd = -1, r = named_connect(named, "moved", e);

	if (r == 0)
		r = endpoint_connect(target->endpoint, &fd, e);
	if (r < 0)
		return r;
	control_pass(named->client, fd);
	r = control_request(named->client, "migrate post-copy", NULL, MIGRATE_PATIENCE_MS, NULL, NULL, e);
	close(fd);
	return r;
}

static int reach(struct named *named, const struct arguments *arguments, struct error *e)
{
	const struct option_value *values = arguments->values;
	struct migrate_target target;
	int r;

	if (arguments->operand_count < 2)
		return error_set(
			e, ERROR_USAGE, -EINVAL,
			"migrate: name the destination too, as unix:PATH, tls:HOST:PORT or tcp:HOST:PORT");
	target.to = arguments->operands[1];
	r = endpoint_open(&target.endpoint, target.to, values + MIGRATE_ENDPOINT, false,
			  values[MIGRATE_TLS_NAME].text, e);
	if (r < 0)
		return r;
	if (given(arguments, MIGRATE_TO_POST_COPY))
		r = to_post_copy(named, &target, e);
	else
		r = given(arguments, MIGRATE_RECOVER) ? migrate_recover(named, &target, e)
						      : move(named, arguments, &target, e);
	endpoint_close(target.endpoint);
	return r;
}

/* Which of these were given tells how the memory goes; at most one. */
static int check_modes(const struct arguments *arguments, struct error *e)
{
	static const unsigned modes[] = {MIGRATE_OFFLINE, MIGRATE_POST_COPY, MIGRATE_AUTO_POST_COPY};
	unsigned count = 0;

	for (size_t i = 0; i < ARRAY_SIZE(modes); i++)
		count += given(arguments, modes[i]);
	if (count > 1)
		return error_set(e, ERROR_USAGE, -EINVAL,
				 "migrate: one of --offline, --post-copy and --auto-post-copy");
	if (given(arguments, MIGRATE_POST_COPY) && given(arguments, MIGRATE_COPY_DISKS))
		return error_set(
			e, ERROR_USAGE, -EINVAL,
			"migrate: with --post-copy the machine would stand still while disks are copied; give "
			"--auto-post-copy, which copies them while it runs");
	return 0;
}

static int act(struct named *named, const struct arguments *arguments, struct error *e)
{
	const struct option_value *values = arguments->values;
	int r = check_modes(arguments, e);

	if (r < 0)
		return r;
	if (given(arguments, MIGRATE_STATUS))
		return status(named, (enum output_format)values[MIGRATE_FORMAT].number, e);
	if (given(arguments, MIGRATE_CANCEL))
		return named_call(named, "moved", "migrate cancel", NULL, MIGRATE_PATIENCE_MS, NULL, e);
	if (given(arguments, MIGRATE_SET_BANDWIDTH))
		return named_call(
			named, "moved", "migrate bandwidth",
			json_pack("{s:I}", "bandwidth", (json_int_t)values[MIGRATE_SET_BANDWIDTH].number),
			MIGRATE_PATIENCE_MS, NULL, e);
	return reach(named, arguments, e);
}

static int run(const struct arguments *arguments, struct error *e)
{
	return named_do(arguments, act, e);
}


#define RATE_MAX (UINT64_C(1) << 50)

static const struct option_spec options[MIGRATE_OPTIONS] = {
	[MIGRATE_OFFLINE] =
		{.name = "offline",
		 .letter = 'o',
		 .type = OPTION_FLAG,
		 .help = "let the machine stand still while all of it is copied: the least traffic, the longest stop"},
	[MIGRATE_POST_COPY] = {.name = "post-copy",
			       .type = OPTION_FLAG,
			       .help = "let the machine run there at once, its memory following as it is needed"},
	[MIGRATE_AUTO_POST_COPY] =
		{.name = "auto-post-copy",
		 .type = OPTION_FLAG,
		 .help = "turn to post-copy when the guest changes its memory faster than it can be sent"},
	[MIGRATE_COPY_DISKS] =
		{.name = "copy-disks",
		 .letter = 'D',
		 .type = OPTION_FLAG,
		 .help = "copy the machine's disks along, while it runs, to the same paths there, made when they are absent; "
			 "without it they have to be the same files on both sides"},
	[MIGRATE_MAX_DOWNTIME] = {.name = "max-downtime",
				  .letter = 'd',
				  .type = OPTION_DURATION,
				  .placeholder = "TIME",
				  .minimum = 1,
				  .maximum = 600000,
				  .fallback = "300ms",
				  .help = "stop the machine when what is left takes no longer than this"},
	[MIGRATE_BANDWIDTH] = {.name = "bandwidth",
			       .letter = 'b',
			       .type = OPTION_SIZE,
			       .placeholder = "SIZE",
			       .minimum = 64 * KIB,
			       .maximum = RATE_MAX,
			       .help = "send at most so many bytes a second"},
	[MIGRATE_CONNECTIONS] = {.name = "connections",
				 .letter = 'n',
				 .type = OPTION_INTEGER,
				 .placeholder = "N",
				 .minimum = 1,
				 .maximum = LINK_PAGES_MAX + 1,
				 .help = "send pages by so many connections at once; without it by as many as this host has "
					 "processors, up to 4, to tls:, where each is encrypted by a process of its own, else by 1"},
	[MIGRATE_COMPRESS] = {.name = "compress",
			      .type = OPTION_ENUM,
			      .placeholder = "METHOD",
			      .words = methods,
			      .fallback = "auto",
			      .help = "compress the pages: auto does it whenever they are there earlier so, as over most links that are "
				      "slower than some 500 MB a second"},
	[MIGRATE_TLS_NAME] =
		{.name = "tls-name",
		 .type = OPTION_STRING,
		 .placeholder = "HOST",
		 .help = "for tls: whose certificate the destination has, when that is not the endpoint's HOST"},
	[MIGRATE_STATUS] = {.name = "status",
			    .letter = 's',
			    .type = OPTION_FLAG,
			    .help = "tell how far a move has come"},
	[MIGRATE_CANCEL] = {.name = "cancel",
			    .letter = 'c',
			    .type = OPTION_FLAG,
			    .help = "give a move up; the machine stays"},
	[MIGRATE_SET_BANDWIDTH] = {.name = "set-bandwidth",
				   .type = OPTION_SIZE,
				   .placeholder = "SIZE",
				   .maximum = RATE_MAX,
				   .help = "another limit for a move that is under way; 0 is none"},
	[MIGRATE_TO_POST_COPY] = {.name = "to-post-copy",
				  .type = OPTION_FLAG,
				  .help = "turn a move that is under way to post-copy; name the same destination"},
	[MIGRATE_RECOVER] =
		{.name = "recover",
		 .letter = 'r',
		 .type = OPTION_FLAG,
		 .help = "go on with a move that was cut off: ask whether the machine is there, and send what it lacks"},
	[MIGRATE_QUIET] = {.name = "quiet",
			   .letter = 'q',
			   .type = OPTION_FLAG,
			   .help = "do not tell how it goes on"},
	[MIGRATE_FORMAT] = OPTION_FORMAT_ROW,
	ENDPOINT_ROWS(MIGRATE_ENDPOINT),
};

static const struct verb_example examples[] = {
	{"doppel migrate web unix:/tmp/there", "moves web to the doppel receive that waits there, while it runs"},
	{"doppel migrate web tcp:127.0.0.1:7000 --max-downtime 50ms",
	 "the same by TCP, with a shorter stop at the end"},
	{"doppel migrate web tls:attic.example:7000 --tls ~/.doppel-tls",
	 "to another host; both know each other by certificates"},
	{"doppel migrate web tls:10.0.0.7:7000 --psk ~/moves.key", "the same, by a key that both have"},
	{"doppel migrate web unix:/tmp/there --post-copy", "it runs there at once, and its memory follows"},
	{"doppel migrate web --status", "how far it has come"},
	{"doppel migrate web --status --format json | jq .left", "the pages that are due still, for a script"},
	{"doppel migrate web --cancel", "web stays here"},
	{NULL, NULL},
};

const struct verb verb_migrate = {
	.name = "migrate",
	.summary = "move a machine to another host while it runs",
	.operands = "NAME [ENDPOINT]",
	.operands_min = 1,
	.operands_max = 2,
	.operand_kind = OPERAND_MACHINE_LIVE,
	.description =
		"Sends a machine that runs or is paused to the doppel receive at ENDPOINT, unix:PATH, "
		"tls:HOST:PORT or tcp:HOST:PORT. Its memory is copied while it runs, then what has changed "
		"since, round by round, until the rest takes no longer than --max-downtime; then it stands "
		"still for that long and goes on there. A guest that changes its memory faster than it can be "
		"sent is slowed down meanwhile.\n\n"
		"By post-copy it runs there before its memory is there: what it touches is sent first, all "
		"else in the background. It stops for milliseconds then, whatever the guest does, but is at "
		"neither side alone until all has arrived: should the link break meanwhile, it stands still "
		"there until --recover here goes on, and should this side's monitor end, it is lost. "
		"--to-post-copy turns a move to that which is under way.\n\n"
		"Until the destination has all of it the machine is here: whatever fails before, it goes on as "
		"if nothing had happened. When it is there, nothing is left here. Should the link break in the "
		"very moment in between, the machine stands still until the destination has told whose it is; "
		"it is asked for ten seconds, and later by --recover.",
	.examples = examples,
	.options = options,
	.option_count = MIGRATE_OPTIONS,
	.run = run,
};
