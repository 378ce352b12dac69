/*
 * Where machines are received: "unix:PATH" or "tcp:ADDRESS:PORT" (an IPv6 address in brackets, or a name).
 *
 * What is sent to a machine's destination is all of its memory, and who may send there may run machines there. A Unix socket
 * is its owner's alone. TCP is neither secret nor does it know who calls: beyond the loopback it has to be asked for.
 *
 * Thread: the main one. Descriptors are close-on-exec and the caller's.
 */
#ifndef DOPPEL_CLI_ENDPOINT_H
#define DOPPEL_CLI_ENDPOINT_H

#include <stdbool.h>

#include "base/error.h"

/* `plain`: also beyond the loopback; else -EPERM (ERROR_USAGE). */
MUST_USE int endpoint_listen(const char *text, bool plain, int *fd, struct error *e);
MUST_USE int endpoint_connect(const char *text, bool plain, int *fd, struct error *e);
/* Removes what endpoint_listen made in the file system. */
void endpoint_remove(const char *text);

#endif
