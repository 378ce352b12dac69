/*
 * What a property is, and how its value is read.
 *
 * A property is one row of a table. As an option of a verb it is parsed, helped and completed from that row alone
 * (cli/arguments.h); as a key of a document it is read, written and put into the JSON schema from the same row
 * (document.h, schema.h). Values are read strictly: the whole text must be a value of the type, within the range.
 *
 * Thread: any; all of it is constant data and pure functions.
 */
#ifndef DOPPEL_CONFIG_OPTION_H
#define DOPPEL_CONFIG_OPTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum option_type {
	OPTION_FLAG,     /* takes no value */
	OPTION_STRING,   /* any text */
	OPTION_PATH,     /* any text but none at all; `words`, when there are some, have a meaning of their own */
	OPTION_SIZE,     /* bytes: 512M, 2G; powers of 1024 */
	OPTION_INTEGER,  /* a decimal number */
	OPTION_PERCENT,  /* whole percent: 40%; the sign may be left out */
	OPTION_DURATION, /* milliseconds: 500ms, 30s, 5m, 2h; a bare number counts seconds */
	OPTION_ENUM,     /* one of `words` */
	OPTION_FORM,     /* several values in one text: `form` */
	OPTION_TYPES,
};

/* Where a property may be written. */
enum option_scope {
	SCOPE_MACHINE, /* anywhere: it belongs to the machine */
	SCOPE_COMMAND, /* on the command line of any verb that makes a machine, but not in a document */
	SCOPE_RUN,     /* on the command line of the verb that runs one on this terminal alone */
};

struct option_spec {
	const char *name; /* without the dashes */
	char letter;      /* of the short form, or 0 */
	enum option_type type;
	bool repeatable;                   /* may be given more than once; arguments_next finds them all */
	const char *placeholder;           /* "SIZE"; NULL for flags */
	uint64_t minimum, maximum;         /* SIZE in bytes, DURATION in milliseconds, INTEGER; both included */
	uint64_t multiple;                 /* SIZE: the value must be a multiple of this; 0 for any */
	const char *const *words;          /* ENUM, PATH: ends with NULL */
	const char *(*word)(size_t index); /* ENUM: instead of `words`; NULL from the end on */
	const char *fallback;              /* the value when none is given, as a user would write it, or NULL */
	const char *help;                  /* a phrase without a full stop */
	enum option_scope scope;
	const char *key;               /* in a document; NULL: `name` */
	const struct option_form *form; /* FORM: form.h */
	/* STRING, PATH: what else must hold, or NULL; its message does not name the option. The schema has the same as a
	 * regular expression, or says nothing of it. */
	int (*check)(const char *text, struct error *e);
	const char *pattern;
	bool required; /* of a part of a form: it is never left out */
	bool bare;     /* of a part of a form: it may stand without a value, which means something too */
};

#define OPTION_NO_WORD UINT64_MAX

struct option_value {
	bool given;       /* by the user, not by the fallback */
	const char *text; /* as written (the last one, when repeated); NULL when neither given nor a fallback */
	uint64_t number;  /* SIZE, INTEGER, DURATION; ENUM and PATH: index of the word or OPTION_NO_WORD */
};

/* The word at `index` of an option's words, or NULL past the last. */
const char *option_word(const struct option_spec *spec, size_t index);

/* Its key in a document. */
const char *option_key(const struct option_spec *spec);

/* Reads `text` into `value` (text and number; it keeps a pointer to `text`). -EINVAL with an ERROR_USAGE message that
 * names the option, what is wrong and what to give instead. */
MUST_USE int option_parse(const struct option_spec *spec, const char *text, struct option_value *value,
			  struct error *e);
/* The same for a part: `label` stands for its name in messages, such as "disk iops". */
MUST_USE int option_parse_as(const struct option_spec *spec, const char *label, const char *text,
			     struct option_value *value, struct error *e);

/* A size or a duration as it would be written, with the largest unit that loses nothing: "512M", "90s". */
#define OPTION_NUMBER_SIZE 32
void option_format_size(uint64_t bytes, char out[OPTION_NUMBER_SIZE]);
void option_format_duration(uint64_t ms, char out[OPTION_NUMBER_SIZE]);

/* The range of a SIZE, INTEGER or DURATION as text: "16M to 16T"; empty for other types. */
#define OPTION_RANGE_SIZE (2 * OPTION_NUMBER_SIZE + 8)
void option_range(const struct option_spec *spec, char out[OPTION_RANGE_SIZE]);

#endif
