#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/name.h"
#include "cli/machine_document.h"
#include "cli/plan.h"
#include "cli/run_options.h"
#include "cli/verb.h"
#include "registry/registry.h"

/* A machine amid its creation. */
struct creation {
	struct settings settings;
	struct arguments arguments; /* of the verb run */
	const char *name;
	char *document;
	struct registry *registry;
};

static int choose_name(struct creation *creation, const struct arguments *given, struct error *e)
{
	const char *operand = given->operand_count > 0 ? given->operands[0] : NULL;
	const struct option_value *option = &given->values[RUN_NAME];

	if (operand && option->given && strcmp(operand, option->text) != 0)
		return error_set(e, ERROR_USAGE, -EINVAL, "both \"%s\" and --name %s are given; give one of them", operand,
				 option->text);
	creation->name = operand ? operand : creation->arguments.values[RUN_NAME].text;
	if (!creation->name)
		return error_set(e, ERROR_USAGE, -EINVAL, "the machine has no name; give NAME, or name: in the document");
	if (name_is_valid(creation->name))
		return 0;
	return error_set(e, ERROR_USAGE, -EINVAL,
			 "\"%s\" is no name; give 1 to 63 letters, digits, dots, dashes and underscores, the first a "
			 "letter or digit", creation->name);
}

static void fill_record(const struct creation *creation, struct record *record)
{
	const struct arguments *arguments = &creation->arguments;
	const char *image = arguments->operand_count > 0	? arguments->operands[0]
			    : arguments->values[RUN_KERNEL].text ? arguments->values[RUN_KERNEL].text
								 : arguments->values[RUN_FIRMWARE].text;

	*record = (struct record){
		.state = MACHINE_CREATED,
		.memory_bytes = arguments->values[RUN_MEMORY].number,
		.cpus = (unsigned)arguments->values[RUN_CPUS].number,
	};
	snprintf(record->name, sizeof record->name, "%s", creation->name);
	snprintf(record->image, sizeof record->image, "%s", image);
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

/* Nobody starts the machine meanwhile. */
static int fill_folder(const struct creation *creation, struct error *e)
{
	char folder[PATH_MAX];
	int lock, r = registry_lock(creation->registry, creation->name, &lock, e);

	if (r < 0)
		return r;
	registry_path(creation->registry, creation->name, "", folder);
	folder[strlen(folder) - 1] = '\0';
	r = prepare(&creation->arguments, folder, e);
	close(lock);
	if (r < 0 && registry_remove(creation->registry, creation->name, NULL) < 0)
		fprintf(stderr, "doppel: %s could not be removed again\n", folder);
	return r;
}

static int make(struct creation *creation, struct error *e)
{
	struct record record;
	int r = machine_document(&creation->settings, creation->name, &creation->document, e);

	if (r == 0)
		r = prepare(&creation->arguments, NULL, e);
	if (r == 0)
		r = registry_open(&creation->registry, e);
	if (r < 0)
		return r;
	fill_record(creation, &record);
	r = registry_create(creation->registry, creation->name, creation->document, strlen(creation->document), &record,
			    e);
	return r < 0 ? r : fill_folder(creation, e);
}

/* Its first line of history; a machine without one is whole too. */
static void note(const struct creation *creation)
{
	json_t *details = json_pack("{s:s}", "image", creation->arguments.operand_count ? creation->arguments.operands[0] : "");
	char *text = json_dumps(details, 0);
	struct error e = {.message = ""};
	int fd, r = registry_history_open(creation->registry, creation->name, &fd, &e);

	if (r == 0) {
		r = registry_history_add(fd, "created", text, &e);
		close(fd);
	}
	if (r < 0)
		fprintf(stderr, "doppel: the history of %s: %s\n", creation->name, e.message);
	free(text);
	json_decref(details);
}

static void finish(struct creation *creation)
{
	settings_finish(&creation->settings);
	arguments_finish(&creation->arguments);
	free(creation->document);
	registry_close(creation->registry);
}

static int create(struct creation *creation, const struct arguments *given, struct error *e)
{
	bool check = given->values[RUN_CHECK].given;
	int r = machine_resolve(given, 1, &creation->settings, &creation->arguments, e);

	if (r == 0 && !(check && given->operand_count == 0))
		r = choose_name(creation, given, e);
	if (r == 0)
		r = plan_check(&creation->arguments, e);
	if (r < 0 || check)
		return r;
	r = make(creation, e);
	if (r == 0)
		note(creation);
	return r;
}

static int run(const struct arguments *arguments, struct error *e)
{
	struct creation creation = {.name = NULL};
	int r = create(&creation, arguments, e);

	finish(&creation);
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
		"An image is pulled when it is not there yet. One with a disk, such as debian, is copied for the machine.",
	.examples = examples,
	.options = run_options,
	.option_count = RUN_OPTIONS,
	.scope = SCOPE_COMMAND,
	.run = run,
};
