#include "machine/ends.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

/* The modes stay with the pair after the slave is closed, as long as the master is open. A slave that is not raw
 * would send the guest's own output back to it as input (ECHO). */
static int make_raw(const char *path)
{
	int slave = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
	struct termios modes;
	int r = 0;

	if (slave < 0)
		return -errno;
	if (tcgetattr(slave, &modes) < 0) {
		r = -errno;
	} else {
		cfmakeraw(&modes);
		r = tcsetattr(slave, TCSANOW, &modes) < 0 ? -errno : 0;
	}
	close(slave);
	return r;
}

static int prepare(int master, char *path, size_t size)
{
	int r;

	if (grantpt(master) < 0 || unlockpt(master) < 0)
		return -errno;
	r = ptsname_r(master, path, size);
	return r ? -r : make_raw(path);
}

int pty_open(char *path, size_t size, struct error *e)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), r;

	if (master < 0)
		return error_errno(e, -errno, "console: a pseudo terminal");
	r = prepare(master, path, size);
	if (r == 0)
		return master;
	close(master);
	return error_errno(e, r, "console: a pseudo terminal");
}

int output_file_open(const char *path, struct error *e)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600);

	if (fd < 0)
		return error_errno(e, -errno, "console %s%s", path,
				   errno == ENXIO ? ": nobody reads this pipe yet" : "");
	return fd;
}
