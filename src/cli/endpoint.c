#include "cli/endpoint.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/socket.h"

#define BACKLOG 16

static const char *after(const char *text, const char *prefix)
{
	size_t length = strlen(prefix);

	return strncmp(text, prefix, length) == 0 ? text + length : NULL;
}

static int refuse(const char *text, struct error *e)
{
	return error_set(e, ERROR_USAGE, -EINVAL, "\"%.200s\" is no endpoint; give unix:PATH or tcp:ADDRESS:PORT", text);
}

static bool is_loopback(const struct sockaddr *address)
{
	if (address->sa_family == AF_INET)
		return ntohl(((const struct sockaddr_in *)address)->sin_addr.s_addr) >> 24 == 127;
	return address->sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)address)->sin6_addr);
}

/* *out is freeaddrinfo's. */
static int resolve(const char *text, const char *where, bool passive, struct addrinfo **out, struct error *e)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = passive ? AI_PASSIVE : 0};
	const char *colon = strrchr(where, ':');
	size_t length = colon ? (size_t)(colon - where) : 0;
	char host[256];
	int r;

	if (length >= 2 && where[0] == '[' && where[length - 1] == ']') {
		where++;
		length -= 2;
	}
	if (!length || length >= sizeof host || !colon[1])
		return refuse(text, e);
	memcpy(host, where, length);
	host[length] = '\0';
	r = getaddrinfo(host, colon + 1, &hints, out);
	return r == 0 ? 0 : error_set(e, ERROR_USAGE, -EINVAL, "%.200s: %s", text, gai_strerror(r));
}

static int check_plain(const char *text, const struct addrinfo *address, bool plain, struct error *e)
{
	if (plain || is_loopback(address->ai_addr))
		return 0;
	return error_set(e, ERROR_USAGE, -EPERM,
			 "%.200s leads beyond this host, and TCP tells all who listen the machine's memory; where the network is "
			 "trusted give --plain, else go by unix: through a tunnel of ssh",
			 text);
}

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

static int tcp(const char *text, const char *where, bool listening, bool plain, int *fd, struct error *e)
{
	struct addrinfo *address;
	int r = resolve(text, where, listening, &address, e), own;

	if (r < 0)
		return r;
	r = check_plain(text, address, plain, e);
	if (r == 0) {
		own = open_tcp(address, listening);
		if (own >= 0)
			*fd = own;
		else
			r = error_errno(e, own, "%.200s", text);
	}
	freeaddrinfo(address);
	return r;
}

int endpoint_listen(const char *text, bool plain, int *fd, struct error *e)
{
	const char *path = after(text, "unix:"), *where = after(text, "tcp:");
	mode_t mask;
	int r;

	if (!path)
		return where ? tcp(text, where, true, plain, fd, e) : refuse(text, e);
	mask = umask(077);
	r = socket_listen(path, fd, e);
	umask(mask);
	return r;
}

int endpoint_connect(const char *text, bool plain, int *fd, struct error *e)
{
	const char *path = after(text, "unix:"), *where = after(text, "tcp:");
	int r;

	if (!path)
		return where ? tcp(text, where, false, plain, fd, e) : refuse(text, e);
	r = socket_connect(path, fd);
	return r == 0 ? 0 : error_errno(e, r, "nobody receives machines at %.200s", text);
}

void endpoint_remove(const char *text)
{
	const char *path = after(text, "unix:");

	if (path)
		unlink(path);
}
