/*
 * What two ends of a TLS connection know each other by: certificates of an authority that both trust, each for both of a
 * server's and a client's purposes, or a key that both have. TLS 1.3 (RFC 8446) and nothing older: whoever speaks to this
 * program is this program, and older versions know ways that are not secret for ever.
 *
 * Thread: any, one at a time; once loaded it is only read, also by forks.
 */
#ifndef DOPPEL_TLS_CREDENTIALS_H
#define DOPPEL_TLS_CREDENTIALS_H

#include <stdbool.h>

#include "base/error.h"

/* Paths; each may be NULL. In `folder` there are cert.pem, key.pem and ca.pem, for those that are not named by themselves. */
struct tls_files {
	const char *folder;
	const char *certificate, *key, *authorities; /* PEM */
	const char *psk; /* one line, "NAME:KEY": 32 to 128 hexadecimal digits. Instead of all the others */
};

struct tls_credentials;

/* Whether any of it is named. */
bool tls_files_any(const struct tls_files *files);

/* -EINVAL (ERROR_USAGE) for files that say too much, too little or nothing; -EACCES (ERROR_PERMISSION) for a key that
 * others may read; -EKEYEXPIRED (ERROR_STATE) for a certificate out of its time. */
MUST_USE int tls_credentials_load(struct tls_credentials **out, const struct tls_files *files, bool server, struct error *e);
void tls_credentials_free(struct tls_credentials *credentials); /* accepts NULL */

#endif
