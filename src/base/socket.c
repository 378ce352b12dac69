#include "base/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 64

static int address_of(const char *path, struct sockaddr_un *address)
{
	*address = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof address->sun_path)
		return -ENAMETOOLONG;
	strcpy(address->sun_path, path);
	return 0;
}

static int stream_socket(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	return fd < 0 ? -errno : fd;
}

int socket_connect(const char *path, int *fd)
{
	struct sockaddr_un address;
	int r = address_of(path, &address), own;

	if (r < 0)
		return r;
	own = stream_socket();
	if (own < 0)
		return own;
	if (connect(own, (const struct sockaddr *)&address, sizeof address) < 0) {
		r = -errno;
		close(own);
		return r;
	}
	*fd = own;
	return 0;
}

/* Whether somebody listens there: also one whose queue is full. */
static bool answers(const char *path)
{
	int fd, r = socket_connect(path, &fd);

	if (r == 0)
		close(fd);
	return r == 0 || r == -EAGAIN;
}

/* Removes what a dead process left. */
static int make_way(const char *path, struct error *e)
{
	struct stat stat;

	if (lstat(path, &stat) < 0)
		return 0;
	if (!S_ISSOCK(stat.st_mode))
		return error_set(e, ERROR_STATE, -EEXIST, "%s is there and is no socket; remove it or name another path",
				 path);
	if (answers(path))
		return error_set(e, ERROR_STATE, -EADDRINUSE,
				 "another process listens at %s; end it or name another path", path);
	return unlink(path) < 0 && errno != ENOENT ? error_errno(e, -errno, "the old socket %s", path) : 0;
}

/* Binds where the way is free; `shown` is the socket's name in messages. */
static int listen_here(const struct sockaddr_un *address, const char *shown, int *fd, struct error *e)
{
	int own = stream_socket(), r = 0;

	if (own < 0)
		return error_errno(e, own, "the socket %s", shown);
	if (bind(own, (const struct sockaddr *)address, sizeof *address) < 0) {
		r = -errno;
	} else if (listen(own, BACKLOG) < 0) {
		r = -errno;
		unlink(address->sun_path);
	}
	if (r < 0) {
		close(own);
		return error_errno(e, r, "the socket %s", shown);
	}
	*fd = own;
	return 0;
}

int socket_listen(const char *path, int *fd, struct error *e)
{
	struct sockaddr_un address;
	int r = address_of(path, &address);

	if (r < 0)
		return error_set(e, ERROR_USAGE, r, "the path of the socket %s is too long; at most %zu bytes fit", path,
				 sizeof address.sun_path - 1);
	r = make_way(path, e);
	return r < 0 ? r : listen_here(&address, path, fd, e);
}

static int address_at(int folder, const char *name, struct sockaddr_un *address)
{
	char path[sizeof address->sun_path + 1];

	snprintf(path, sizeof path, "/proc/self/fd/%d/%s", folder, name);
	return address_of(path, address);
}

int socket_listen_at(int folder, const char *name, int *fd, struct error *e)
{
	struct sockaddr_un address;
	struct stat stat;
	int r = address_at(folder, name, &address);

	if (r == 0 && fstatat(folder, name, &stat, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISSOCK(stat.st_mode))
		return error_set(e, ERROR_STATE, -EEXIST, "%s is there and is no socket; remove it", name);
	if (r == 0 && unlinkat(folder, name, 0) < 0 && errno != ENOENT)
		r = -errno;
	return r < 0 ? error_errno(e, r, "the socket %s", name) : listen_here(&address, name, fd, e);
}

/* The time to wait for a place in the queue is the one to send in (unix(7)). */
static int connect_slowly(int fd, const struct sockaddr_un *address, int timeout_ms)
{
	struct timeval patience = {.tv_sec = timeout_ms / 1000, .tv_usec = timeout_ms % 1000 * 1000};
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) < 0 ||
	    connect(fd, (const struct sockaddr *)address, sizeof *address) < 0 ||
	    fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return -errno;
	return 0;
}

int socket_connect_at(int folder, const char *name, int timeout_ms, int *fd)
{
	struct sockaddr_un address;
	int r = address_at(folder, name, &address), own;

	if (r < 0)
		return r;
	own = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (own < 0)
		return -errno;
	r = connect_slowly(own, &address, timeout_ms);
	if (r < 0)
		close(own);
	else
		*fd = own;
	return r;
}
