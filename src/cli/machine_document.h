/*
 * A machine's document (YAML or JSON) and the arguments of `doppel run`: each from the other.
 *
 * Thread: any.
 */
#ifndef DOPPEL_CLI_MACHINE_DOCUMENT_H
#define DOPPEL_CLI_MACHINE_DOCUMENT_H

#include "cli/arguments.h"
#include "config/document.h"
#include "registry/registry.h"

extern const struct config_kind machine_kind;

/* What was given for a machine, by arguments of run or create and, with --file, by a document; arguments count more: a
 * property that they give is theirs alone. `operand` is the index of the image among the operands. Paths become absolute.
 * What is wrong in the document is told by `complaints`, whose source is set, and in brief by `e`. */
MUST_USE int machine_settings(const struct arguments *arguments, size_t operand, struct settings *out,
			      struct complaints *complaints, struct error *e);
/* Those settings as arguments of the verb run, which hold all they point to; arguments_finish is due. */
MUST_USE int machine_arguments(const struct settings *settings, struct arguments *out, struct error *e);

/* Both, one after the other; settings_finish and arguments_finish are due after success. Each mistake of a document that
 * holds several is told on standard error. */
MUST_USE int machine_resolve(const struct arguments *arguments, size_t operand, struct settings *settings,
			     struct arguments *out, struct error *e);

/* The machine's document: canonical YAML of the settings that documents have, with this name (NULL: theirs, if any). The
 * caller's to free(). */
MUST_USE int machine_document(const struct settings *settings, const char *name, char **text, struct error *e);
/* Arguments of the verb run from a document that is called `source` in messages. `complaints` may be NULL. */
MUST_USE int machine_document_read(const void *text, size_t length, const char *source, struct arguments *out,
				   struct complaints *complaints, struct error *e);
/* The same of the machine of that name. */
MUST_USE int machine_document_load(const struct registry *registry, const char *name, struct arguments *out, struct error *e);

#endif
