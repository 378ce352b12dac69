/*
 * Settings as a document, YAML or JSON, and back.
 *
 *   image: debian                        doppel run debian
 *   memory: 2G                             --memory 2G
 *   disks:
 *     - {file: web.qcow2, iops: 500}       --disk web.qcow2,iops=500
 *     - other.raw,ro                       --disk other.raw,ro
 *   publish: 8080:80                       --publish 8080:80
 *
 * The keys are those of the table (config_kind). A property that may be repeated takes a list or one item; one with parts
 * takes a mapping of them or the command line's text; a flag takes true or false, which is the same as leaving it out.
 *
 * Thread: any.
 */
#ifndef DOPPEL_CONFIG_DOCUMENT_H
#define DOPPEL_CONFIG_DOCUMENT_H

#include <jansson.h>

#include "config/complaint.h"
#include "config/settings.h"

/* Adds what the document holds to `out`. Paths in it are as seen from `folder`. `whole`: nothing is given elsewhere, so what
 * is missing is wrong. -EINVAL when there are complaints then; -ENOMEM. `out` is unchanged on failure. */
MUST_USE int document_read(const struct config_kind *kind, const void *bytes, size_t length, const char *folder,
			   bool whole, struct settings *out, struct complaints *complaints);

/* The settings that documents have, as a tree: the operand first, then in the order of the table; forms as mappings.
 * -EINVAL (ERROR_USAGE) for what no document can hold: bytes that are no UTF-8; -ENOMEM. */
MUST_USE int document_tree(const struct config_kind *kind, const struct settings *settings, json_t **out,
			   struct error *e);
/* The same as canonical YAML, the caller's to free(): reading it gives settings that mean the same, and writing those the
 * same text. */
MUST_USE int document_write(const struct config_kind *kind, const struct settings *settings, char **text,
			    struct error *e);

#endif
