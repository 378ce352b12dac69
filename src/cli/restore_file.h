/*
 * A machine made of a file that doppel snapshot export wrote.
 *
 * Thread: the main one.
 */
#ifndef DOPPEL_CLI_RESTORE_FILE_H
#define DOPPEL_CLI_RESTORE_FILE_H

#include <stdbool.h>

#include "base/error.h"

/* Makes machine `name`, unpacks the file into its folder, and lets it go on. All or nothing: a file that turns out to be damaged
 * leaves no machine. `eager`: all of its memory is read before it runs. */
MUST_USE int restore_file(const char *path, const char *name, bool eager, struct error *e);

#endif
