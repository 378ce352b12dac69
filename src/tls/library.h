/*
 * GnuTLS, loaded with the first credentials (base/library.h): `gnutls.init(...)` is gnutls_init(...).
 *
 * Thread: any, once it is loaded.
 */
#ifndef DOPPEL_TLS_LIBRARY_H
#define DOPPEL_TLS_LIBRARY_H

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#include "base/error.h"

#define GNUTLS_CALLS(X) \
	X(alert_get) X(alert_get_name) X(alert_send) X(alert_send_appropriate) X(bye) \
	X(certificate_allocate_credentials) X(certificate_free_credentials) X(certificate_get_peers) \
	X(certificate_server_set_request) X(certificate_set_x509_key_mem) X(certificate_set_x509_trust_mem) \
	X(credentials_set) X(deinit) X(error_is_fatal) X(free) X(handshake) X(init) X(malloc) X(memset) \
	X(priority_set_direct) X(psk_allocate_client_credentials) X(psk_allocate_server_credentials) \
	X(psk_free_client_credentials) X(psk_free_server_credentials) X(psk_set_client_credentials) \
	X(psk_set_server_credentials_function) X(record_check_pending) X(record_get_direction) \
	X(record_recv) X(record_send) X(rnd) X(session_get_ptr) X(session_get_verify_cert_status) \
	X(session_key_update) X(session_set_ptr) X(session_set_verify_cert2) X(strerror) \
	X(transport_set_int2) X(x509_crt_deinit) X(x509_crt_get_activation_time) X(x509_crt_get_dn) \
	X(x509_crt_get_expiration_time) X(x509_crt_import) X(x509_crt_init) X(x509_crt_list_import2)

/* Of what is a variable (malloc, free), where that is. */
#define GNUTLS_POINTER(name) typeof(gnutls_##name) *name;
struct gnutls {
	GNUTLS_CALLS(GNUTLS_POINTER)
};
extern struct gnutls gnutls;

MUST_USE int gnutls_load(struct error *e);

#endif
