/*
 * The keeper: a small process that outlives this one, to tidy up what this one can not: it may be killed, and gives up its
 * powers when its walls go up. It holds nothing but one end of a pipe, whose other end is ours.
 *
 * Thread: the only one (it forks).
 */
#ifndef DOPPEL_HOST_KEEPER_H
#define DOPPEL_HOST_KEEPER_H

#include "base/error.h"

/* When this process has ended, by whatever cause, the keeper removes the folder (rmdir) as soon as that can be done, for
 * some seconds at most. */
MUST_USE int keeper_remove_folder(const char *path, struct error *e);

#endif
