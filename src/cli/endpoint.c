#include "cli/endpoint.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/socket.h"
#include "host/cpus.h"

#define BACKLOG 16
/* Of one move by TLS. */
#define CONNECTIONS 4

struct endpoint {
	const char *text;
	const char *path;                    /* of unix:, or NULL */
	struct addrinfo *addresses;          /* of the others; getaddrinfo's */
	struct tls_credentials *credentials; /* of tls: */
	char host[256];
	const char *name; /* that the other side's certificate has to have */
};

static int refuse(const char *text, struct error *e)
{
	return error_set(e, ERROR_USAGE, -EINVAL,
			 "\"%.200s\" is no endpoint; give unix:PATH, tls:HOST:PORT or tcp:HOST:PORT", text);
}

static const char *after(const char *text, const char *prefix)
{
	size_t length = strlen(prefix);

	return strncmp(text, prefix, length) == 0 ? text + length : NULL;
}

static bool is_loopback(const struct sockaddr *address)
{
	if (address->sa_family == AF_INET)
		return ntohl(((const struct sockaddr_in *)address)->sin_addr.s_addr) >> 24 == 127;
	return address->sa_family == AF_INET6 &&
	       IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)address)->sin6_addr);
}

static int resolve(struct endpoint *endpoint, const char *where, bool passive, struct error *e)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = passive ? AI_PASSIVE : 0};
	const char *colon = strrchr(where, ':');
	size_t length = colon ? (size_t)(colon - where) : 0;
	int r;

	if (length >= 2 && where[0] == '[' && where[length - 1] == ']') {
		where++;
		length -= 2;
	}
	if (!length || length >= sizeof endpoint->host || !colon[1])
		return refuse(endpoint->text, e);
	memcpy(endpoint->host, where, length);
	r = getaddrinfo(endpoint->host, colon + 1, &hints, &endpoint->addresses);
	return r == 0 ? 0 : error_set(e, ERROR_USAGE, -EINVAL, "%.200s: %s", endpoint->text, gai_strerror(r));
}

/* All addresses of a name count. */
static int check_plain(const struct endpoint *endpoint, struct error *e)
{
	const struct addrinfo *address = endpoint->addresses;

	while (address && is_loopback(address->ai_addr))
		address = address->ai_next;
	if (!address)
		return 0;
	return error_set(
		e, ERROR_USAGE, -EPERM,
		"%.200s leads beyond this host, and TCP tells all who listen the machine's memory; give tls: "
		"with --tls or --psk, or --plain where the network is trusted",
		endpoint->text);
}

static int load(struct endpoint *endpoint, const struct option_value *values, bool listening, struct error *e)
{
	const struct tls_files files = {
		.folder = values[ENDPOINT_TLS].text,
		.certificate = values[ENDPOINT_TLS_CERT].text,
		.key = values[ENDPOINT_TLS_KEY].text,
		.authorities = values[ENDPOINT_TLS_CA].text,
		.psk = values[ENDPOINT_PSK].text,
	};

	if (after(endpoint->text, "tls:"))
		return tls_credentials_load(&endpoint->credentials, &files, listening, e);
	if (tls_files_any(&files))
		return error_set(e, ERROR_USAGE, -EINVAL,
				 "certificates and keys are for tls:HOST:PORT; %.200s uses none", endpoint->text);
	return 0;
}

static int set_up(struct endpoint *endpoint, const struct option_value *values, bool listening, struct error *e)
{
	const char *tls = after(endpoint->text, "tls:"), *where = tls ? tls : after(endpoint->text, "tcp:");
	int r;

	endpoint->path = after(endpoint->text, "unix:");
	if (!endpoint->path && !where)
		return refuse(endpoint->text, e);
	r = load(endpoint, values, listening, e);
	if (r < 0 || endpoint->path)
		return r;
	r = resolve(endpoint, where, listening, e);
	return r < 0 || tls || values[ENDPOINT_PLAIN].given ? r : check_plain(endpoint, e);
}

int endpoint_open(struct endpoint **out, const char *text, const struct option_value *values, bool listening,
		  const char *name, struct error *e)
{
	struct endpoint *endpoint = calloc(1, sizeof *endpoint);
	int r;

	if (!endpoint)
		return error_errno(e, -ENOMEM, "%.200s", text);
	endpoint->text = text;
	r = set_up(endpoint, values, listening, e);
	endpoint->name = listening ? NULL : name ? name : endpoint->host;
	if (r < 0)
		endpoint_close(endpoint);
	else
		*out = endpoint;
	return r;
}

void endpoint_close(struct endpoint *endpoint)
{
	if (!endpoint)
		return;
	if (endpoint->addresses)
		freeaddrinfo(endpoint->addresses);
	tls_credentials_free(endpoint->credentials);
	free(endpoint);
}

/* ---- Sockets ---- */

static int open_tcp(const struct addrinfo *address, bool listening)
{
	const int on = 1;
	int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0), r = 0;

	if (fd < 0)
		return -errno;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	if (listening) {
		(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
		r = bind(fd, address->ai_addr, address->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0 ? -errno : 0;
	} else if (connect(fd, address->ai_addr, address->ai_addrlen) < 0) {
		r = -errno;
	}
	if (r == 0)
		return fd;
	close(fd);
	return r;
}

/* The first of its addresses that does. */
static int tcp(const struct endpoint *endpoint, bool listening, int *fd, struct error *e)
{
	int own = -EADDRNOTAVAIL;

	for (const struct addrinfo *address = endpoint->addresses; own < 0 && address; address = address->ai_next)
		own = open_tcp(address, listening);
	if (own < 0)
		return error_errno(e, own, "%.200s", endpoint->text);
	*fd = own;
	return 0;
}

static int secure(const struct endpoint *endpoint, int *fd, char peer[TLS_PEER_SIZE], struct error *e)
{
	return endpoint->credentials ? tls_relay(endpoint->credentials, *fd, endpoint->name, fd, peer, e) : 0;
}

int endpoint_listen(const struct endpoint *endpoint, int *fd, struct error *e)
{
	mode_t mask;
	int r;

	if (!endpoint->path)
		return tcp(endpoint, true, fd, e);
	mask = umask(077);
	r = socket_listen(endpoint->path, fd, e);
	umask(mask);
	return r;
}

void endpoint_remove(const struct endpoint *endpoint)
{
	if (endpoint->path)
		unlink(endpoint->path);
}

int endpoint_welcome(const struct endpoint *endpoint, int *fd, char peer[TLS_PEER_SIZE], struct error *e)
{
	*peer = '\0';
	return secure(endpoint, fd, peer, e);
}

/* Encryption costs more than all else that is done with a page. */
unsigned endpoint_connections(const struct endpoint *endpoint)
{
	unsigned processors = cpus_online();

	if (!endpoint->credentials)
		return 1;
	return processors < CONNECTIONS ? processors : CONNECTIONS;
}

int endpoint_connect(const struct endpoint *endpoint, int *fd, struct error *e)
{
	int own, r;

	if (endpoint->path) {
		r = socket_connect(endpoint->path, fd);
		return r == 0 ? 0 : error_errno(e, r, "nobody receives machines at %.200s", endpoint->text);
	}
	r = tcp(endpoint, false, &own, e);
	if (r < 0)
		return r;
	r = secure(endpoint, &own, NULL, e);
	if (r < 0)
		return error_prefix(e, r, "%.120s", endpoint->text);
	*fd = own;
	return 0;
}
