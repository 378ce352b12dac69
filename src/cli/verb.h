/*
 * A verb of the command line: `doppel run`, `doppel image ls`.
 *
 * A verb is one constant struct in a file of its own; the table in verbs.c lists them. Usage, help, manual page and
 * completions are generated from these structs, so a verb that is listed is documented.
 */
#ifndef DOPPEL_CLI_VERB_H
#define DOPPEL_CLI_VERB_H

#include "cli/arguments.h"
#include "config/option.h"

/* What an operand names: for the completions. */
enum operand_kind {
	OPERAND_NONE,
	OPERAND_VERB,
	OPERAND_IMAGE,
	OPERAND_MACHINE,      /* in any state */
	OPERAND_MACHINE_LIVE, /* running or paused */
	OPERAND_MACHINE_RUNNING,
	OPERAND_MACHINE_PAUSED,
	OPERAND_MACHINE_OVER, /* any other */
	OPERAND_KINDS,
};
/* The arguments with which doppel prints the names that there are of a kind, one a line; NULL: of none. verbs.c */
extern const char *const operand_names[OPERAND_KINDS];

/* At most so many machines are named at once. */
#define NAMED_MAX 100000

struct verb_example {
	const char *command; /* a whole command line */
	const char *meaning; /* what it does, a phrase */
};

struct verb {
	const char *name;     /* all its words: "run", "image ls" */
	const char *summary;  /* a phrase for a list of verbs */
	const char *operands; /* as shown in usage: "[IMAGE]"; "" for none */
	unsigned operands_min, operands_max;
	enum operand_kind operand_kind;
	const char *description;             /* paragraphs, separated by an empty line */
	const struct verb_example *examples; /* ends with {NULL, NULL}; NULL for a group of verbs */
	const struct option_spec *options;
	size_t option_count;
	enum option_scope scope;         /* options of a wider one are not the verb's */
	const struct verb *const *verbs; /* of a group: what comes after its name; ends with NULL */
	const struct verb *otherwise;    /* of a group: the one of them whose name may be left out; or NULL */
	/* NULL for a group. Returns the exit status, or a negative errno with `e` filled. Prints results on standard
	 * output only. */
	int (*run)(const struct arguments *arguments, struct error *e);
};

/* Whether the option at this index is the verb's. */
bool verb_takes(const struct verb *verb, size_t option);
/* The last word of a verb's name. */
const char *verb_word(const struct verb *verb);
/* The verb called `word` in a table that ends with NULL, or NULL. */
const struct verb *verb_find(const struct verb *const *table, const char *word);

/* All verbs in the order of the help; ends with NULL. verbs.c */
extern const struct verb *const verbs[];

/* Each in the file of its name. */
extern const struct verb verb_console, verb_logs, verb_run, verb_exec, verb_cp, verb_create, verb_ls, verb_ps, verb_top, verb_profile, verb_schema, verb_image, verb_disk, verb_engines, verb_doctor;
extern const struct verb verb_start, verb_stop, verb_restart, verb_pause, verb_resume, verb_rm, verb_wait, verb_inspect;
extern const struct verb verb_events, verb_history, verb_port, verb_set, verb_snapshot, verb_restore, verb_clone;
extern const struct verb verb_snapshot_inspect, verb_snapshot_export, verb_snapshot_collapse;
extern const struct verb verb_migrate, verb_receive;
extern const struct verb verb_help, verb_version;
/* What runs a machine with a name; found by its name, and not listed. */
extern const struct verb verb_monitor;

/* The options that every verb with a table has (table.h, document.h). */
enum output_format { FORMAT_TABLE, FORMAT_JSON, FORMAT_YAML, FORMAT_CSV };
extern const char *const output_format_words[];
#define OPTION_FORMAT_ROW                                                                                         \
	{                                                                                                         \
		.name = "format", .letter = 'f', .type = OPTION_ENUM, .placeholder = "FORMAT",                    \
		.words = output_format_words, .fallback = "table", .help = "how to print the result"              \
	}
#define OPTION_QUIET_ROW                                                                                          \
	{                                                                                                         \
		.name = "quiet", .letter = 'q', .type = OPTION_FLAG, .help = "print names only, without a heading"    \
	}

#endif
