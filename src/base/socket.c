#include "base/socket.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
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

int socket_listen(const char *path, int *fd, struct error *e)
{
	struct sockaddr_un address;
	int r = address_of(path, &address), own;

	if (r < 0)
		return error_set(e, ERROR_USAGE, r, "the path of the socket %s is too long; at most %zu bytes fit", path,
				 sizeof address.sun_path - 1);
	r = make_way(path, e);
	if (r < 0)
		return r;
	own = stream_socket();
	if (own < 0)
		return error_errno(e, own, "the socket %s", path);
	if (bind(own, (const struct sockaddr *)&address, sizeof address) < 0) {
		r = -errno;
	} else if (listen(own, BACKLOG) < 0) {
		r = -errno;
		unlink(path);
	}
	if (r < 0) {
		close(own);
		return error_errno(e, r, "the socket %s", path);
	}
	*fd = own;
	return 0;
}
