/* A TLS session's beginning: who the other side is, and why not. */
#include <errno.h>
#include <gnutls/x509.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "tls/private.h"

#define PRIORITY_CERTIFICATES "NORMAL:-VERS-ALL:+VERS-TLS1.3"
#define PRIORITY_PSK          "NORMAL:-VERS-ALL:+VERS-TLS1.3:-KX-ALL:+ECDHE-PSK"
#define HANDSHAKE_NS          UINT64_C(10000000000)
#define LINGER_NS             UINT64_C(2000000000)
/* In TLS 1.3 a client is done before the server has looked at its certificate: with this byte the server says it did. */
#define WELCOME 'D'

/* ---- Why not ---- */

/* What is wrong with the other side's certificate, worst first, and how it is told so. */
static const struct fault {
	unsigned status;
	gnutls_alert_description_t alert;
	const char *text;
} faults[] = {
	{GNUTLS_CERT_REVOKED, GNUTLS_A_CERTIFICATE_REVOKED, "was revoked"},
	{GNUTLS_CERT_SIGNATURE_FAILURE, GNUTLS_A_BAD_CERTIFICATE, "has a signature that is wrong"},
	{GNUTLS_CERT_SIGNER_NOT_FOUND, GNUTLS_A_UNKNOWN_CA, "is of an authority that is not trusted here"},
	{GNUTLS_CERT_SIGNER_NOT_CA, GNUTLS_A_UNKNOWN_CA, "is signed by a certificate that is no authority's"},
	{GNUTLS_CERT_SIGNER_CONSTRAINTS_FAILURE, GNUTLS_A_UNKNOWN_CA, "is of an authority that may not sign it"},
	{GNUTLS_CERT_EXPIRED, GNUTLS_A_CERTIFICATE_EXPIRED, "has expired; give it a new one, and compare both hosts' clocks"},
	{GNUTLS_CERT_NOT_ACTIVATED, GNUTLS_A_CERTIFICATE_EXPIRED, "is not valid yet; compare both hosts' clocks"},
	{GNUTLS_CERT_PURPOSE_MISMATCH, GNUTLS_A_BAD_CERTIFICATE,
	 "is not meant for this side of a connection; it needs both purposes, a server's and a client's"},
	{GNUTLS_CERT_INSECURE_ALGORITHM, GNUTLS_A_BAD_CERTIFICATE, "is signed in a way that is not safe any more"},
	{GNUTLS_CERT_UNEXPECTED_OWNER, GNUTLS_A_BAD_CERTIFICATE, "is another host's"},
	{0, GNUTLS_A_BAD_CERTIFICATE, "is not valid"},
};

/* What the other side tells when it gives up (RFC 8446, 6.2). */
static const struct {
	unsigned alert;
	const char *text;
} alerts[] = {
	{GNUTLS_A_CERTIFICATE_EXPIRED, "by its clock this side's certificate is out of its time"},
	{GNUTLS_A_CERTIFICATE_REVOKED, "this side's certificate was revoked, it says"},
	{GNUTLS_A_CERTIFICATE_REQUIRED, "it wants a certificate from this side; give --tls, as there"},
	{GNUTLS_A_UNKNOWN_CA, "it does not trust the authority of this side's certificate; its --tls-ca has to have that"},
	{GNUTLS_A_BAD_CERTIFICATE, "it does not take this side's certificate; compare its name and its purposes"},
	{GNUTLS_A_CERTIFICATE_UNKNOWN, "it does not take this side's certificate; compare its name and its purposes"},
	{GNUTLS_A_UNKNOWN_PSK_IDENTITY, "it does not know the name of this side's key; --psk has to be the same file on both"},
	{GNUTLS_A_DECRYPT_ERROR, "its key is another one; --psk has to be the same file on both"},
	{GNUTLS_A_ILLEGAL_PARAMETER, "its key is another one; --psk has to be the same file on both"},
	{GNUTLS_A_HANDSHAKE_FAILURE, "nothing suits both; are there certificates on one side and a key on the other?"},
	{GNUTLS_A_INSUFFICIENT_SECURITY, "nothing suits both; are there certificates on one side and a key on the other?"},
	{GNUTLS_A_MISSING_EXTENSION, "nothing suits both; are there certificates on one side and a key on the other?"},
	{GNUTLS_A_PROTOCOL_VERSION, "it does not speak TLS 1.3"},
};

static const struct fault *fault_of(gnutls_session_t session)
{
	unsigned status = gnutls.session_get_verify_cert_status(session);
	size_t i = 0;

	while (faults[i].status && !(status & faults[i].status))
		i++;
	return &faults[i];
}

static const char *alert_of(unsigned alert)
{
	for (size_t i = 0; i < ARRAY_SIZE(alerts); i++)
		if (alerts[i].alert == alert)
			return alerts[i].text;
	return NULL;
}

static int refuse_certificate(gnutls_session_t session, const struct tls_credentials *c, const char *name, struct error *e)
{
	const struct fault *fault = fault_of(session);

	if (fault->status == GNUTLS_CERT_SIGNER_NOT_FOUND)
		return error_set(e, ERROR_PERMISSION, -EACCES,
				 "the other side's certificate is of an authority that is not in %.200s; put that authority's "
				 "certificate there",
				 c->authorities);
	if (name && fault->status == GNUTLS_CERT_UNEXPECTED_OWNER)
		return error_set(e, ERROR_PERMISSION, -EACCES,
				 "the other side's certificate is not that of %.200s; --tls-name tells whose it has to be", name);
	return error_set(e, ERROR_PERMISSION, -EACCES, "the other side's certificate %s", fault->text);
}

static int explain(gnutls_session_t session, const struct tls_credentials *c, const char *name, int code, struct error *e)
{
	const char *text;

	switch (code) {
	case GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR:
		return refuse_certificate(session, c, name, e);
	case GNUTLS_E_FATAL_ALERT_RECEIVED:
	case GNUTLS_E_WARNING_ALERT_RECEIVED:
		text = alert_of(gnutls.alert_get(session));
		return error_set(e, ERROR_PERMISSION, -EACCES, "the other side refused this one: %s",
				 text ? text : gnutls.alert_get_name(gnutls.alert_get(session)));
	case GNUTLS_E_PREMATURE_TERMINATION:
	case GNUTLS_E_PUSH_ERROR:
	case GNUTLS_E_PULL_ERROR:
		return error_set(e, ERROR_FAILED, -ECONNRESET, "the other side hung up before TLS was agreed; is it an endpoint of tls:?");
	case GNUTLS_E_UNEXPECTED_PACKET_LENGTH:
	case GNUTLS_E_UNSUPPORTED_VERSION_PACKET:
	case GNUTLS_E_UNEXPECTED_PACKET:
	case GNUTLS_E_RECORD_OVERFLOW:
		return error_set(e, ERROR_FAILED, -EPROTO, "the other side does not speak TLS 1.3; is it an endpoint of tls:?");
	case GNUTLS_E_NO_CERTIFICATE_FOUND:
	case GNUTLS_E_CERTIFICATE_REQUIRED:
		return error_set(e, ERROR_PERMISSION, -EACCES, "the other side showed no certificate; --tls gives it one");
	case GNUTLS_E_NO_CIPHER_SUITES:
	case GNUTLS_E_NO_COMMON_KEY_SHARE:
	case GNUTLS_E_INSUFFICIENT_CREDENTIALS:
	case GNUTLS_E_MISSING_EXTENSION:
		return error_set(e, ERROR_PERMISSION, -EACCES,
				 "nothing suits both sides; are there certificates on one and a key on the other?");
	case GNUTLS_E_RECEIVED_ILLEGAL_PARAMETER:
		if (c->psk_size)
			return error_set(e, ERROR_PERMISSION, -EACCES,
					 "the other side's key is another one; --psk has to be the same file on both");
		break;
	default:
		break;
	}
	return error_set(e, ERROR_FAILED, -EPROTO, "TLS with the other side failed: %s", gnutls.strerror(code));
}

/* ---- Steps ---- */

/* Until the connection can go on: false when it took too long. */
static bool await(gnutls_session_t session, int fd, uint64_t deadline)
{
	uint64_t now = clock_host_ns();
	struct pollfd wait = {.fd = fd, .events = gnutls.record_get_direction(session) ? POLLOUT : POLLIN};

	if (now >= deadline)
		return false;
	return poll(&wait, 1, (int)((deadline - now) / NS_PER_MS + 1)) >= 0 || errno == EINTR;
}

enum step { STEP_SHAKE, STEP_WELCOME };

static ssize_t attempt(gnutls_session_t session, enum step step, bool server)
{
	char byte = WELCOME;
	ssize_t n;

	if (step == STEP_SHAKE)
		return gnutls.handshake(session);
	if (server)
		return gnutls.record_send(session, &byte, 1);
	n = gnutls.record_recv(session, &byte, 1);
	if (n == 0)
		return GNUTLS_E_PREMATURE_TERMINATION;
	return n > 0 && byte != WELCOME ? GNUTLS_E_UNEXPECTED_PACKET : n;
}

/* A connection that is closed with bytes in it that nobody has read is reset, and the alert with it. */
static void linger(int fd)
{
	uint64_t now = clock_host_ns(), deadline = now + LINGER_NS;
	char bytes[1024];
	ssize_t n = 1;

	shutdown(fd, SHUT_WR);
	for (; now < deadline && n != 0; now = clock_host_ns()) {
		struct pollfd wait = {.fd = fd, .events = POLLIN};

		if (poll(&wait, 1, (int)((deadline - now) / NS_PER_MS + 1)) <= 0)
			return;
		n = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
		if (n < 0 && errno != EAGAIN)
			return;
	}
}

/* So that it knows why, too; the session is over either way. */
static void tell(gnutls_session_t session, int fd, int code)
{
	if (code == GNUTLS_E_FATAL_ALERT_RECEIVED)
		return;
	if (code == GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR)
		(void)gnutls.alert_send(session, GNUTLS_AL_FATAL, fault_of(session)->alert);
	else
		(void)gnutls.alert_send_appropriate(session, code);
	linger(fd);
}

static int perform(gnutls_session_t session, enum step step, const struct tls_credentials *c, int fd, const char *name,
		   uint64_t deadline, struct error *e)
{
	ssize_t r;

	for (;;) {
		r = attempt(session, step, c->server);
		if (r >= 0)
			return 0;
		if (gnutls.error_is_fatal((int)r))
			break;
		if ((r == GNUTLS_E_AGAIN || r == GNUTLS_E_INTERRUPTED) && !await(session, fd, deadline))
			return error_set(e, ERROR_TIMEOUT, -ETIMEDOUT, "the other side does not answer as TLS does");
	}
	tell(session, fd, (int)r);
	return explain(session, c, name, (int)r, e);
}

/* ---- The session ---- */

static int set_up(gnutls_session_t session, const struct tls_credentials *c, gnutls_typed_vdata_st checks[2], const char *name)
{
	unsigned count = 1;
	int r;

	gnutls.session_set_ptr(session, (void *)c);
	if (c->psk_size) {
		r = gnutls.priority_set_direct(session, PRIORITY_PSK, NULL);
		return r < 0 ? r
			     : gnutls.credentials_set(session, GNUTLS_CRD_PSK,
						      c->server ? (void *)c->server_psk : (void *)c->client_psk);
	}
	r = gnutls.priority_set_direct(session, PRIORITY_CERTIFICATES, NULL);
	if (r == 0)
		r = gnutls.credentials_set(session, GNUTLS_CRD_CERTIFICATE, c->certificates);
	checks[0] = (gnutls_typed_vdata_st){
		GNUTLS_DT_KEY_PURPOSE_OID,
		(unsigned char *)(c->server ? GNUTLS_KP_TLS_WWW_CLIENT : GNUTLS_KP_TLS_WWW_SERVER), 0};
	if (name)
		checks[count++] = (gnutls_typed_vdata_st){GNUTLS_DT_DNS_HOSTNAME, (unsigned char *)name, 0};
	gnutls.session_set_verify_cert2(session, checks, count, 0);
	if (c->server)
		gnutls.certificate_server_set_request(session, GNUTLS_CERT_REQUIRE);
	return r;
}

/* As its certificate names it; what is not printable is left out by GnuTLS's own escapes. */
static void name_peer(gnutls_session_t session, const struct tls_credentials *c, char peer[TLS_NAME_SIZE])
{
	unsigned count = 0;
	const gnutls_datum_t *chain;
	gnutls_x509_crt_t certificate;
	size_t room = TLS_NAME_SIZE;

	snprintf(peer, TLS_NAME_SIZE, "who has the key %.100s", c->psk_name);
	if (c->psk_size)
		return;
	snprintf(peer, TLS_NAME_SIZE, "who has a certificate");
	chain = gnutls.certificate_get_peers(session, &count);
	if (!chain || !count || gnutls.x509_crt_init(&certificate) < 0)
		return;
	if (gnutls.x509_crt_import(certificate, &chain[0], GNUTLS_X509_FMT_DER) == 0)
		(void)!gnutls.x509_crt_get_dn(certificate, peer, &room);
	gnutls.x509_crt_deinit(certificate);
}

int tls_session_open(gnutls_session_t *out, const struct tls_credentials *c, int fd, const char *name,
		     char peer[TLS_NAME_SIZE], struct error *e)
{
	uint64_t deadline = clock_host_ns() + HANDSHAKE_NS;
	gnutls_typed_vdata_st checks[2];
	gnutls_session_t session;
	/* A certificate that the server will not take is shown as well, so that it can say why. */
	const unsigned role = c->server ? GNUTLS_SERVER : GNUTLS_CLIENT | GNUTLS_FORCE_CLIENT_CERT;
	int r = gnutls.init(&session, role | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL | GNUTLS_NO_TICKETS);

	if (r < 0)
		return error_set(e, ERROR_FAILED, -ENOMEM, "TLS: %s", gnutls.strerror(r));
	r = set_up(session, c, checks, name);
	gnutls.transport_set_int2(session, fd, fd);
	if (r < 0)
		r = error_set(e, ERROR_FAILED, -EINVAL, "TLS: %s", gnutls.strerror(r));
	if (r == 0)
		r = perform(session, STEP_SHAKE, c, fd, name, deadline, e);
	if (r == 0)
		r = perform(session, STEP_WELCOME, c, fd, name, deadline, e);
	if (r < 0) {
		gnutls.deinit(session);
		return r;
	}
	/* The checks are this function's, and nothing is verified twice. */
	gnutls.session_set_verify_cert2(session, NULL, 0, 0);
	name_peer(session, c, peer);
	*out = session;
	return 0;
}
