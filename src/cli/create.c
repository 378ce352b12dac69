#include "cli/create.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/name.h"
#include "cli/plan.h"
#include "cli/run_options.h"
#include "cli/verb.h"
#include "host/keeper.h"

/* More machines of one image than this need names of their own. */
#define NUMBERS_MAX 100000

static const char *payload_of(const struct arguments *arguments)
{
	return arguments->operand_count > 0	    ? arguments->operands[0]
	       : arguments->values[RUN_KERNEL].text ? arguments->values[RUN_KERNEL].text
						    : arguments->values[RUN_FIRMWARE].text;
}

static void fill_record(const struct arguments *arguments, const char *name, struct record *record)
{
	const char *image = payload_of(arguments);

	*record = (struct record){
		.state = MACHINE_CREATED,
		.memory_bytes = arguments->values[RUN_MEMORY].number,
		.cpus = (unsigned)arguments->values[RUN_CPUS].number,
	};
	snprintf(record->name, sizeof record->name, "%s", name);
	snprintf(record->image, sizeof record->image, "%s", image ? image : "");
}

/* What takes long, or fails for want of room, does so now and not at the start: an image that is not there yet is pulled,
 * and with a folder its disk is copied there. */
static int prepare(const struct arguments *arguments, const char *folder, struct error *e)
{
	struct plan plan;
	int r = plan_make(&plan, arguments, folder, e);

	plan_finish(&plan);
	return r;
}

void create_undo(struct registry *registry, const char *name)
{
	if (registry_remove(registry, name, NULL) < 0)
		fprintf(stderr, "doppel: %s could not be removed again\n", name);
}

struct unfinished {
	struct registry *registry;
	const char *name;
};

/* Its lock goes with the last of its descriptors, a moment after that which the keeper waits for. */
static int try_to_remove(void *context)
{
	const struct unfinished *unfinished = context;

	return registry_remove(unfinished->registry, unfinished->name, NULL);
}

/* In the keeper, when this process was ended (Ctrl-C) amid the copy of a disk. */
static void remove_unfinished(void *context)
{
	keeper_insist(try_to_remove, context);
}

/* Nobody starts the machine meanwhile. */
static int fill_locked(const struct creation *creation, struct registry *registry, const char *name, char folder[PATH_MAX],
		       struct error *e)
{
	int lock, r = registry_lock(registry, name, &lock, e);

	if (r < 0)
		return r;
	registry_folder_path(registry, name, folder);
	r = prepare(creation->arguments, folder, e);
	close(lock);
	return r;
}

/* `then`: signals that are blocked once the keeper is there. */
static int fill_folder(const struct creation *creation, struct registry *registry, const char *name, const sigset_t *then,
		       struct error *e)
{
	struct unfinished unfinished = {registry, name};
	struct keeper keeper = {.pid = 0};
	char folder[PATH_MAX] = "";
	int r = keeper_start(&keeper, "doppel-create", remove_unfinished, &unfinished, e);

	if (r == 0)
		keeper_arm(&keeper);
	sigprocmask(SIG_SETMASK, then, NULL);
	if (r == 0)
		r = fill_locked(creation, registry, name, folder, e);
	keeper_dismiss(&keeper);
	if (r < 0)
		create_undo(registry, name);
	return r;
}

static int make(const struct creation *creation, struct registry *registry, const char *name, struct error *e)
{
	struct record record;
	char *document;
	int r = machine_document(creation->settings, name, &document, e);

	if (r < 0)
		return r;
	fill_record(creation->arguments, name, &record);
	r = creation->arriving ? registry_create_arriving(registry, name, document, strlen(document), &record, creation->arriving, e)
			       : registry_create(registry, name, document, strlen(document), &record, e);
	free(document);
	return r;
}

static int make_unnamed(const struct creation *creation, struct registry *registry, char name[REGISTRY_NAME_SIZE],
			struct error *e)
{
	const char *payload = payload_of(creation->arguments);
	const char *base = payload && name_is_valid(payload) ? payload : "machine";
	int r = -EEXIST;

	for (unsigned i = 1; r == -EEXIST && i <= NUMBERS_MAX; i++) {
		snprintf(name, REGISTRY_NAME_SIZE, "%.40s-%u", base, i);
		r = make(creation, registry, name, e);
	}
	return r;
}

/* Its first line of history; a machine without one is whole too. */
static void note(const struct creation *creation, struct registry *registry, const char *name)
{
	json_t *details = json_pack("{s:s*}", "image", payload_of(creation->arguments));
	char *text = json_dumps(details, 0);
	struct error e = {.message = ""};
	int fd, r = registry_history_open(registry, name, &fd, &e);

	if (r == 0) {
		r = registry_history_add(fd, "created", text, &e);
		close(fd);
	}
	if (r < 0)
		fprintf(stderr, "doppel: the history of %s: %s\n", name, e.message);
	free(text);
	json_decref(details);
}

int create_machine(const struct creation *creation, struct registry *registry, char name[REGISTRY_NAME_SIZE],
		   struct error *e)
{
	int r = creation->brief ? 0 : prepare(creation->arguments, NULL, e);
	sigset_t ends, before;

	sigemptyset(&ends);
	sigaddset(&ends, SIGINT);
	sigaddset(&ends, SIGTERM);
	sigaddset(&ends, SIGHUP);
	sigprocmask(SIG_BLOCK, &ends, &before);
	if (r == 0 && creation->name) {
		snprintf(name, REGISTRY_NAME_SIZE, "%s", creation->name);
		r = make(creation, registry, name, e);
	} else if (r == 0) {
		r = make_unnamed(creation, registry, name, e);
	}
	if (r == 0 && !creation->brief)
		r = fill_folder(creation, registry, name, &before, e);
	sigprocmask(SIG_SETMASK, &before, NULL);
	if (r == 0)
		note(creation, registry, name);
	return r;
}

/* ---- The verb ---- */

static int choose_name(const struct arguments *given, const struct arguments *resolved, const char **name, struct error *e)
{
	const char *operand = given->operand_count > 0 ? given->operands[0] : NULL;
	const struct option_value *option = &given->values[RUN_NAME];

	if (operand && option->given && strcmp(operand, option->text) != 0)
		return error_set(e, ERROR_USAGE, -EINVAL, "both \"%s\" and --name %s are given; give one of them", operand,
				 option->text);
	*name = operand ? operand : resolved->values[RUN_NAME].text;
	if (!*name)
		return error_set(e, ERROR_USAGE, -EINVAL, "the machine has no name; give NAME, or name: in the document");
	if (name_is_valid(*name))
		return 0;
	return error_set(e, ERROR_USAGE, -EINVAL,
			 "\"%s\" is no name; give 1 to 63 letters, digits, dots, dashes and underscores, the first a "
			 "letter or digit", *name);
}

static int make_whole(const struct creation *creation, struct error *e)
{
	char name[REGISTRY_NAME_SIZE];
	struct registry *registry;
	int r = registry_open(&registry, e);

	if (r < 0)
		return r;
	r = create_machine(creation, registry, name, e);
	registry_close(registry);
	return r;
}

static int create(const struct arguments *given, struct error *e)
{
	bool check = given->values[RUN_CHECK].given;
	struct settings settings;
	struct arguments arguments;
	struct creation creation = {.settings = &settings, .arguments = &arguments};
	int r = machine_resolve(given, 1, &settings, &arguments, e);

	if (r < 0)
		return r;
	if (!(check && given->operand_count == 0))
		r = choose_name(given, &arguments, &creation.name, e);
	if (r == 0)
		r = plan_check(&arguments, e);
	if (r == 0 && !check)
		r = make_whole(&creation, e);
	settings_finish(&settings);
	arguments_finish(&arguments);
	return r;
}

static int run(const struct arguments *arguments, struct error *e)
{
	int r = create(arguments, e);

	return r < 0 ? error_prefix(e, r, "create") : r;
}

static const struct verb_example examples[] = {
	{"doppel create web debian --memory 2G --publish 8080:80", "a Debian machine called web, with a disk of its own"},
	{"doppel create --file web.yaml", "the machine that a document describes, which also names it"},
	{"doppel create web2 --file web.yaml --publish 8081:80", "another one like it, whose port is another"},
	{"doppel create --check --file web.yaml", "tells what is wrong with a document, line by line, and makes nothing"},
	{NULL, NULL},
};

const struct verb verb_create = {
	.name = "create",
	.summary = "make a machine that has a name, to be started later",
	.operands = "[NAME [IMAGE]]",
	.operands_max = 2,
	.operand_kind = OPERAND_IMAGE,
	.description =
		"Makes a machine and gives it a name: its document and its disk are kept in a folder of its own, until doppel rm. "
		"It is described by options as those of doppel run, by a document, or both; then an option that is given replaces "
		"what the document says of the same. The name may stand in the document.\n\n"
		"A document is YAML or JSON: a key for each option (doppel schema tells all), with the image as image. Paths in it "
		"are as seen from its folder.\n\n"
		"An image is pulled when it is not there yet. The machine has it for its own from then on: it keeps what it writes to "
		"the disk of an image such as debian, and does not change when the image does.",
	.examples = examples,
	.options = run_options,
	.option_count = RUN_OPTIONS,
	.scope = SCOPE_COMMAND,
	.run = run,
};
