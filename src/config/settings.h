/*
 * What was given for the properties of a thing, as text, in the order in which it was given: what stands between the
 * command line's arguments and a document.
 *
 * Thread: any.
 */
#ifndef DOPPEL_CONFIG_SETTINGS_H
#define DOPPEL_CONFIG_SETTINGS_H

#include "config/option.h"

/* What can be configured: the properties of a machine, say. Constant. */
struct config_kind {
	const char *title;                 /* "Machine" */
	const char *description;           /* a sentence for the schema */
	const struct option_spec *operand; /* the property that is an operand on the command line ("image"), or NULL */
	const struct option_spec *options; /* those of SCOPE_MACHINE are in documents */
	size_t option_count;               /* at most CONFIG_OPTIONS_MAX */
	const char *const *one_of;         /* keys, at least one of which every whole document has; ends with NULL */
};

#define CONFIG_OPTIONS_MAX 64
#define CONFIG_OPERAND     SIZE_MAX /* in place of an index into the options */

const struct option_spec *config_row(const struct config_kind *kind, size_t option);
/* Whether documents have it. */
bool config_is_written(const struct config_kind *kind, size_t option);

struct setting {
	size_t option; /* index into the options, or CONFIG_OPERAND */
	char *text;    /* as on the command line; NULL of a flag */
};

struct settings {
	struct setting *list;
	size_t count, room;
};

/* Copies `text` (NULL: a flag), with paths in it made absolute as seen from `folder` (NULL: they stay). -ENOMEM, -EINVAL. */
MUST_USE int settings_add(struct settings *settings, const struct config_kind *kind, size_t option, const char *text,
			  const char *folder, struct error *e);
bool settings_have(const struct settings *settings, size_t option);
void settings_finish(struct settings *settings); /* also of a zeroed struct */

#endif
