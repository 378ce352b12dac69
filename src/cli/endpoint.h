/*
 * Where machines are received: "unix:PATH", "tls:HOST:PORT" or "tcp:HOST:PORT" (an IPv6 address in brackets, or a
 * name).
 *
 * What is sent to a machine's destination is all of its memory, and who may send there may run machines there. A Unix
 * socket is its owner's alone. By TLS both sides know each other (tls/credentials.h), and each connection is carried
 * by a process of its own (tls/relay.h). TCP is neither secret nor does it know who calls: beyond the loopback it has
 * to be asked for.
 *
 * A move that wants several connections opens each by endpoint_connect of the same endpoint: credentials are read and
 * names looked up once. What ties them together is the move's token, which nobody else has seen.
 *
 * Thread: the main one. Descriptors are close-on-exec and the caller's.
 */
#ifndef DOPPEL_CLI_ENDPOINT_H
#define DOPPEL_CLI_ENDPOINT_H

#include <stdbool.h>

#include "cli/arguments.h"
#include "tls/relay.h"

/* The options of a verb that has an endpoint: ENDPOINT_ROWS(FIRST) in its table, from index FIRST on. */
enum {
	ENDPOINT_PLAIN,
	ENDPOINT_TLS,
	ENDPOINT_TLS_CERT,
	ENDPOINT_TLS_KEY,
	ENDPOINT_TLS_CA,
	ENDPOINT_PSK,
	ENDPOINT_OPTIONS,
};

#define ENDPOINT_ROWS(first) \
	[(first) + ENDPOINT_PLAIN] = {.name = "plain", .letter = 'p', .type = OPTION_FLAG, \
		.help = "allow TCP beyond this host: anyone on the way can read it, and anyone may call"}, \
	[(first) + ENDPOINT_TLS] = {.name = "tls", .letter = 't', .type = OPTION_PATH, .placeholder = "FOLDER", \
		.help = "for tls: where cert.pem, key.pem and ca.pem are"}, \
	[(first) + ENDPOINT_TLS_CERT] = {.name = "tls-cert", .type = OPTION_PATH, .placeholder = "FILE", \
		.help = "for tls: this side's certificate, a server's and a client's (PEM)"}, \
	[(first) + ENDPOINT_TLS_KEY] = {.name = "tls-key", .type = OPTION_PATH, .placeholder = "FILE", \
		.help = "for tls: its key, which nobody else may read (PEM)"}, \
	[(first) + ENDPOINT_TLS_CA] = {.name = "tls-ca", .type = OPTION_PATH, .placeholder = "FILE", \
		.help = "for tls: the authorities that the other side's certificate may be of (PEM)"}, \
	[(first) + ENDPOINT_PSK] = {.name = "psk", .type = OPTION_PATH, .placeholder = "FILE", \
		.help = "for tls: a key that both sides have, instead of certificates: one line, NAME:HEXADECIMAL"}

struct endpoint;

/* `values`: ENDPOINT_OPTIONS of them. `listening`: for endpoint_listen; else for endpoint_connect. `name`: whose
 * certificate the other side has to have; NULL: the host's in `text`. The texts are the caller's and stay.
 * ERROR_USAGE for what is no endpoint, or would tell a machine to everybody (-EPERM); else as
 * tls_credentials_load. */
MUST_USE int endpoint_open(struct endpoint **out, const char *text, const struct option_value *values,
			   bool listening, const char *name, struct error *e);
void endpoint_close(struct endpoint *endpoint); /* accepts NULL */

MUST_USE int endpoint_listen(const struct endpoint *endpoint, int *fd, struct error *e);
/* Removes what endpoint_listen made in the file system. */
void endpoint_remove(const struct endpoint *endpoint);
/* What was accepted becomes a stream socket that can be spoken over; *fd is closed on failure. `peer`: who calls,
 * or empty where that is not known. -EACCES (ERROR_PERMISSION): a stranger. */
MUST_USE int endpoint_welcome(const struct endpoint *endpoint, int *fd, char peer[TLS_PEER_SIZE], struct error *e);
/* How many connections carry more than one does. */
unsigned endpoint_connections(const struct endpoint *endpoint);
MUST_USE int endpoint_connect(const struct endpoint *endpoint, int *fd, struct error *e);

#endif
