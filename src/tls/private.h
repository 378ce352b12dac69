/* What the files of TLS share; nobody else includes this. */
#ifndef DOPPEL_TLS_PRIVATE_H
#define DOPPEL_TLS_PRIVATE_H

#include "base/types.h"
#include "tls/credentials.h"
#include "tls/library.h"

#define TLS_NAME_SIZE 128

struct tls_credentials {
	bool server;
	gnutls_certificate_credentials_t certificates; /* or */
	gnutls_psk_client_credentials_t client_psk;
	gnutls_psk_server_credentials_t server_psk;
	char psk_name[TLS_NAME_SIZE];
	uint8_t psk_key[64];
	unsigned psk_size; /* 0: certificates */
	char authorities[256]; /* the file, for messages */
};

/* Over `fd`, which is non-blocking: 0 when both sides know each other, and both know that. `name`: whose the server's
 * certificate has to be, a host's name or address; NULL for a server. `peer`: who the other side is, for people. */
MUST_USE int tls_session_open(gnutls_session_t *out, const struct tls_credentials *credentials, int fd, const char *name,
			      char peer[TLS_NAME_SIZE], struct error *e);

/* Carries bytes between the session's `wire` and the socket `plain` until both have ended, or the connection is cut. The exit
 * status of the process. One of them in a process. */
int tls_pump(gnutls_session_t session, int wire, int plain);

#endif
