/*
 * A process of its own between a plain socket and a TLS connection, so that whoever uses the connection has no keys and no
 * GnuTLS in it: a monitor behind its walls sends a machine's memory into one end of a socket pair. The relay is behind walls,
 * too: it has those two descriptors and no file, no other network, no program. It outlives whoever started it, and ends
 * with either of its ends.
 *
 * An end of the stream is passed on as one when the other side said so (close_notify); a connection that is cut looks the
 * same here, as an end without the last frame: what is sent over it has to tell its own end, as a move's frames do.
 *
 * Any number of connections can be made with the same credentials.
 */
#ifndef DOPPEL_TLS_RELAY_H
#define DOPPEL_TLS_RELAY_H

#include "tls/credentials.h"

#define TLS_PEER_SIZE 128

/* Over `fd`, a connected stream socket, which is the relay's from now on, also on failure. Returns when both sides know each
 * other, after about ten seconds at most. *out: the plain end, a blocking close-on-exec stream socket of the caller. `name`:
 * whose the certificate of the other side has to be, for a client; NULL for a server. `peer` (may be NULL): who it is.
 * -EACCES (ERROR_PERMISSION): one of them does not trust the other. Thread: best the process's only one, as it forks. */
MUST_USE int tls_relay(const struct tls_credentials *credentials, int fd, const char *name, int *out, char peer[TLS_PEER_SIZE],
		       struct error *e);

#endif
