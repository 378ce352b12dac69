/*
 * What the parts of `doppel top` share: the list of machines, the page of one, and the screen that shows either.
 *
 * Thread: the main one.
 */
#ifndef DOPPEL_CLI_TOP_H
#define DOPPEL_CLI_TOP_H

#include <jansson.h>

#include "cli/table.h"
#include "cli/watch.h"

enum top_order { TOP_CPU, TOP_MEMORY, TOP_DISK, TOP_NETWORK, TOP_EXITS, TOP_NAME, TOP_ORDERS };
extern const char *const top_orders[]; /* "cpu", ...; ends with NULL */

/* Figures (figures.h) of all machines in this order, largest first; a new reference to an array, or NULL. */
json_t *top_list(const struct watch *watch, enum top_order order);
/* As a table, which refers to nothing of the figures; NULL without memory. */
struct table *top_table(const json_t *figures);
/* All about one machine. -ENOMEM, -EIO. */
MUST_USE int top_page(const json_t *figures, FILE *out, struct error *e);

/* Lives on the terminal at standard input and output until the user leaves; `one`: the page of the watch's only machine. */
MUST_USE int top_screen(struct watch *watch, bool one, enum top_order order, unsigned interval_ms,
			struct error *e);

#endif
