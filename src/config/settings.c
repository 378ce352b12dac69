#include "config/settings.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/form.h"

const struct option_spec *config_row(const struct config_kind *kind, size_t option)
{
	return option == CONFIG_OPERAND ? kind->operand : &kind->options[option];
}

bool config_is_written(const struct config_kind *kind, size_t option)
{
	return config_row(kind, option)->scope == SCOPE_MACHINE;
}

/* A path that does not begin at the root, and is neither "-" nor a word with a meaning of its own. */
static bool is_relative(const struct option_spec *row, const char *text)
{
	struct option_value value = {.number = OPTION_NO_WORD};

	return row->type == OPTION_PATH && text && *text && *text != '/' && strcmp(text, "-") != 0 &&
	       option_parse(row, text, &value, NULL) == 0 && value.number == OPTION_NO_WORD;
}

static int join_path(const char *folder, const char *text, char **out, struct error *e)
{
	const char *slash = *folder && folder[strlen(folder) - 1] == '/' ? "" : "/";

	while (strncmp(text, "./", 2) == 0 && text[2] && text[2] != '/')
		text += 2;
	return asprintf(out, "%s%s%s", folder, slash, text) < 0 ? error_errno(e, -ENOMEM, "%s", text) : 0;
}

static int absolute_form(const struct option_spec *row, const char *text, const char *folder, char **out,
			 struct error *e)
{
	char *made[FORM_PARTS_MAX] = {NULL};
	struct form_values parts;
	int r = form_split(row, text, &parts, e);

	if (r < 0)
		return r;
	for (size_t i = 0; r == 0 && i < row->form->count; i++) {
		if (!parts.values[i].given || !is_relative(&row->form->parts[i], parts.values[i].text))
			continue;
		r = join_path(folder, parts.values[i].text, &made[i], e);
		parts.values[i].text = r == 0 ? made[i] : NULL;
	}
	if (r == 0)
		r = form_join(row, parts.values, out, e);
	for (size_t i = 0; i < row->form->count; i++)
		free(made[i]);
	form_finish(&parts);
	return r;
}

/* A copy of `text`, with the paths in it absolute. */
static int absolute(const struct option_spec *row, const char *text, const char *folder, char **out, struct error *e)
{
	if (folder && row->type == OPTION_FORM)
		return absolute_form(row, text, folder, out, e);
	if (folder && is_relative(row, text))
		return join_path(folder, text, out, e);
	*out = strdup(text);
	return *out ? 0 : error_errno(e, -ENOMEM, "--%s", row->name);
}

static int make_room(struct settings *settings, struct error *e)
{
	size_t room = settings->room ? 2 * settings->room : 16;
	struct setting *list;

	if (settings->count < settings->room)
		return 0;
	list = reallocarray(settings->list, room, sizeof *list);
	if (!list)
		return error_errno(e, -ENOMEM, "%zu settings", room);
	settings->list = list;
	settings->room = room;
	return 0;
}

int settings_add(struct settings *settings, const struct config_kind *kind, size_t option, const char *text,
		 const char *folder, struct error *e)
{
	struct setting *setting;
	char *own = NULL;
	int r = make_room(settings, e);

	if (r == 0 && text)
		r = absolute(config_row(kind, option), text, folder, &own, e);
	if (r < 0)
		return r;
	setting = &settings->list[settings->count++];
	*setting = (struct setting){.option = option, .text = own};
	return 0;
}

bool settings_have(const struct settings *settings, size_t option)
{
	for (size_t i = 0; i < settings->count; i++)
		if (settings->list[i].option == option)
			return true;
	return false;
}

void settings_finish(struct settings *settings)
{
	for (size_t i = 0; i < settings->count; i++)
		free(settings->list[i].text);
	free(settings->list);
	*settings = (struct settings){.list = NULL};
}
