/*
 * What a monitor tells whoever started it: one message, then nothing more.
 *
 * {}: the machine runs. {"error": ...} (control/frame.h): it does not, and why. The end of the socket without any: the
 * monitor died. Only a copy that waits (monitor_copy_wait) reads something itself, before.
 */
#ifndef DOPPEL_MONITOR_STARTER_H
#define DOPPEL_MONITOR_STARTER_H

#include "base/error.h"

/* `failure` is NULL when the machine runs. */
void starter_tell(int socket, const struct error *failure);

#endif
