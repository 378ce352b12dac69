#include "cli/machine_document.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/run_options.h"
#include "cli/text.h"
#include "cli/verb.h"
#include "config/tree.h"

static int check_image(const char *text, struct error *e)
{
	return *text ? 0 : error_set(e, ERROR_USAGE, -EINVAL, "the name is empty; doppel image ls tells what there is");
}

static const struct option_spec image_row = {
	.name = "image",
	.type = OPTION_STRING,
	.placeholder = "IMAGE",
	.check = check_image,
	.pattern = ".",
	.help = "the image that it runs, as in doppel image ls",
};

static const char *const payloads[] = {"image", "kernel", "firmware", NULL};

const struct config_kind machine_kind = {
	.title = "Machine",
	.description = "A virtual machine of Doppel, as doppel create and doppel run take it with --file.",
	.operand = &image_row,
	.options = run_options,
	.option_count = RUN_OPTIONS,
	.one_of = payloads,
};

/* The folder as seen from which paths are written in this file; -ENAMETOOLONG and what getcwd fails with. */
static int folder_of(const char *file, char folder[PATH_MAX], struct error *e)
{
	const char *slash = file ? strrchr(file, '/') : NULL;
	size_t length = 0;

	if (!file || *file != '/') {
		if (!getcwd(folder, PATH_MAX))
			return error_errno(e, -errno, "the present folder");
		length = strlen(folder);
	}
	if (!slash)
		return 0;
	if (length + (size_t)(slash - file) + 2 > PATH_MAX)
		return error_errno(e, -ENAMETOOLONG, "%s", file);
	snprintf(folder + length, PATH_MAX - length, "%s%.*s", length ? "/" : "",
		 slash == file ? 1 : (int)(slash - file), file);
	return 0;
}

/* All but those that are about the command itself. */
static int add_occurrences(const struct arguments *arguments, const char *folder, struct settings *out, struct error *e)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < arguments->occurrence_count; i++)
		if (run_options[arguments->occurrences[i].option].scope != SCOPE_COMMAND)
			r = settings_add(out, &machine_kind, arguments->occurrences[i].option,
					 arguments->occurrences[i].text, folder, e);
	for (size_t i = 0; r == 0 && i < RUN_OPTIONS; i++)
		if (run_options[i].type == OPTION_FLAG && run_options[i].scope != SCOPE_COMMAND &&
		    arguments->values[i].given)
			r = settings_add(out, &machine_kind, i, NULL, NULL, e);
	return r;
}

/* Adds those of `file` that `out` does not have; they are used up. */
static int add_others(struct settings *file, struct settings *out, struct error *e)
{
	size_t own = out->count;
	int r = 0;

	for (size_t i = 0; r == 0 && i < file->count; i++) {
		bool had = false;

		for (size_t k = 0; k < own && !had; k++)
			had = out->list[k].option == file->list[i].option;
		if (!had)
			r = settings_add(out, &machine_kind, file->list[i].option, file->list[i].text, NULL, e);
	}
	settings_finish(file);
	return r;
}

static int read_file(const char *path, struct settings *out, struct complaints *complaints, struct error *e)
{
	bool standard = strcmp(path, "-") == 0;
	bool whole = !settings_have(out, CONFIG_OPERAND) && !settings_have(out, RUN_KERNEL) &&
		     !settings_have(out, RUN_FIRMWARE);
	struct settings file = {.list = NULL};
	char folder[PATH_MAX];
	uint8_t *bytes = NULL;
	size_t size = 0;
	int r = folder_of(standard ? NULL : path, folder, e);

	if (r == 0)
		r = file_read(standard ? "/dev/stdin" : path, TREE_BYTES_MAX, &bytes, &size, e);
	if (r < 0)
		return error_prefix(e, r, "--file");
	complaints->source = standard ? "standard input" : path;
	r = document_read(&machine_kind, bytes, size, folder, whole, &file, complaints);
	free(bytes);
	if (r == -ENOMEM)
		return error_errno(e, r, "--file");
	if (r < 0)
		return complaints_conclude(complaints, e);
	return add_others(&file, out, e);
}

int machine_settings(const struct arguments *arguments, size_t operand, struct settings *out,
		     struct complaints *complaints, struct error *e)
{
	struct settings settings = {.list = NULL};
	char folder[PATH_MAX];
	int r = folder_of(NULL, folder, e);

	if (r == 0 && operand < arguments->operand_count)
		r = settings_add(&settings, &machine_kind, CONFIG_OPERAND, arguments->operands[operand], NULL, e);
	if (r == 0)
		r = add_occurrences(arguments, folder, &settings, e);
	if (r == 0 && arguments->values[RUN_FILE].given)
		r = read_file(arguments->values[RUN_FILE].text, &settings, complaints, e);
	if (r < 0)
		settings_finish(&settings);
	else
		*out = settings;
	return r;
}

static char *argument_of(const struct setting *setting)
{
	const char *name = run_options[setting->option].name;
	char *argument;

	if (asprintf(&argument, "--%s%s%s", name, setting->text ? "=" : "", setting->text ? setting->text : "") < 0)
		return NULL;
	return argument;
}

/* Options, "--", and the image. */
static size_t write_argv(const struct settings *settings, char **argv)
{
	size_t count = 0;

	for (size_t i = 0; i < settings->count; i++)
		if (settings->list[i].option != CONFIG_OPERAND)
			argv[count++] = argument_of(&settings->list[i]);
	argv[count++] = strdup("--");
	for (size_t i = 0; i < settings->count; i++)
		if (settings->list[i].option == CONFIG_OPERAND)
			argv[count++] = strdup(settings->list[i].text);
	return count;
}

int machine_arguments(const struct settings *settings, struct arguments *out, struct error *e)
{
	char **argv = calloc(settings->count + 1, sizeof *argv);
	size_t count = argv ? write_argv(settings, argv) : 0;
	bool whole = argv != NULL;

	for (size_t i = 0; i < count; i++)
		whole &= argv[i] != NULL;
	if (whole)
		return arguments_parse_own(out, &verb_run, count, argv, e);
	for (size_t i = 0; i < count; i++)
		free(argv[i]);
	free(argv);
	return error_errno(e, -ENOMEM, "%zu settings", settings->count);
}

static int tell_all(const struct complaints *complaints, struct error *e)
{
	size_t count = complaints->count + complaints->beyond;
	char line[COMPLAINT_LINE_SIZE];

	for (size_t i = 0; i < complaints->count; i++) {
		complaint_line(complaints, i, line);
		text_plain(stderr, line);
		fputc('\n', stderr);
	}
	return error_set(e, ERROR_USAGE, -EINVAL, "%.200s holds %zu mistakes%s", complaints->source, count,
			 complaints->beyond ? ", of which the first are told" : "");
}

int machine_resolve(const struct arguments *arguments, size_t operand, struct settings *settings, struct arguments *out,
		    struct error *e)
{
	struct complaints complaints = {.source = NULL};
	int r = machine_settings(arguments, operand, settings, &complaints, e);

	if (r < 0)
		return complaints.count > 1 ? tell_all(&complaints, e) : r;
	r = machine_arguments(settings, out, e);
	if (r < 0)
		settings_finish(settings);
	return r;
}

int machine_document(const struct settings *settings, const char *name, char **text, struct error *e)
{
	struct settings named = {.list = NULL};
	int r = name ? settings_add(&named, &machine_kind, RUN_NAME, name, NULL, e) : 0;

	for (size_t i = 0; r == 0 && i < settings->count; i++)
		if (!name || settings->list[i].option != RUN_NAME)
			r = settings_add(&named, &machine_kind, settings->list[i].option, settings->list[i].text, NULL, e);
	if (r == 0)
		r = document_write(&machine_kind, &named, text, e);
	settings_finish(&named);
	return r;
}

int machine_document_read(const void *text, size_t length, const char *source, struct arguments *out,
			  struct complaints *complaints, struct error *e)
{
	struct complaints own = {.source = source}, *told = complaints ? complaints : &own;
	struct settings settings = {.list = NULL};
	int r;

	told->source = source;
	r = document_read(&machine_kind, text, length, "/", true, &settings, told);
	if (r == -ENOMEM)
		return error_errno(e, r, "%s", source);
	if (r < 0)
		return complaints_conclude(told, e);
	r = machine_arguments(&settings, out, e);
	settings_finish(&settings);
	return r;
}

int machine_document_load(const struct registry *registry, const char *name, struct arguments *out, struct error *e)
{
	char path[PATH_MAX];
	uint8_t *text;
	size_t length;
	int r = registry_document(registry, name, path, &text, &length, e);

	if (r < 0)
		return r;
	r = machine_document_read(text, length, path, out, NULL, e);
	free(text);
	return r;
}
