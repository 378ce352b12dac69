/*
 * One end of a connection between host and guest: the same program runs on both sides.
 *
 * usage: peer WHERE echo            gives back what comes, until the other side ends
 *        peer WHERE exchange BYTES  sends a pattern, and wants it back byte for byte
 * WHERE: vsock:PORT             in a guest: connects to the host
 *        vsock-listen:PORT      in a guest: takes one connection
 *        unix:PATH, unix-listen:PATH
 *        greet:FOLDER:PORT      on the host: through FOLDER/guest to a port of the guest
 *        file:PATH              a device node
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#define CHUNK    65536
#define PATIENCE 60000 /* ms without any progress */

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static int take_one(int listener, const struct sockaddr *address, socklen_t length)
{
	int fd;

	if (bind(listener, address, length) < 0 || listen(listener, 1) < 0)
		fail("listen");
	puts("listening");
	fflush(stdout);
	fd = accept(listener, NULL, NULL);
	if (fd < 0)
		fail("accept");
	return fd;
}

static int open_vsock(const char *port, int listening)
{
	struct sockaddr_vm address = {.svm_family = AF_VSOCK,
				      .svm_cid = listening ? VMADDR_CID_ANY : VMADDR_CID_HOST,
				      .svm_port = (unsigned)atoi(port)};
	int fd = socket(AF_VSOCK, SOCK_STREAM, 0);

	if (fd < 0)
		fail("vsock");
	if (listening)
		return take_one(fd, (struct sockaddr *)&address, sizeof address);
	if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
		fail("connect");
	return fd;
}

static int open_unix(const char *path, int listening)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
	if (listening)
		return take_one(fd, (struct sockaddr *)&address, sizeof address);
	if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
		fail(path);
	return fd;
}

/* Says which port it wants, and waits for the guest's program. */
static int greet(char *folder)
{
	char path[256], line[64], *port = strrchr(folder, ':');
	size_t length = 0;
	int fd;

	*port++ = '\0';
	snprintf(path, sizeof path, "%s/guest", folder);
	fd = open_unix(path, 0);
	dprintf(fd, "CONNECT %s\n", port);
	while (length < sizeof line - 1 && read(fd, line + length, 1) == 1 && line[length] != '\n')
		length++;
	if (strncmp(line, "OK ", 3) != 0) {
		fprintf(stderr, "nobody listens at port %s of the guest\n", port);
		exit(2);
	}
	return fd;
}

static int open_where(char *where)
{
	char *rest = strchr(where, ':');
	int fd;

	*rest++ = '\0';
	if (strcmp(where, "vsock") == 0 || strcmp(where, "vsock-listen") == 0)
		return open_vsock(rest, where[5] != '\0');
	if (strcmp(where, "unix") == 0 || strcmp(where, "unix-listen") == 0)
		return open_unix(rest, where[4] != '\0');
	if (strcmp(where, "greet") == 0)
		return greet(rest);
	fd = open(rest, O_RDWR);
	if (fd < 0)
		fail(rest);
	return fd;
}

static void echo(int fd)
{
	static uint8_t bytes[CHUNK];
	ssize_t got;

	while ((got = read(fd, bytes, sizeof bytes)) > 0)
		for (ssize_t put = 0, step; put < got; put += step) {
			step = write(fd, bytes + put, (size_t)(got - put));
			if (step < 0)
				fail("write");
		}
}

static uint8_t pattern(uint64_t at)
{
	return (uint8_t)((at * UINT64_C(0x9e3779b97f4a7c15)) >> 56);
}

static uint64_t send_some(int fd, uint64_t sent, uint64_t total)
{
	static uint8_t bytes[CHUNK];
	size_t length = total - sent < CHUNK ? (size_t)(total - sent) : CHUNK;
	ssize_t put;

	for (size_t i = 0; i < length; i++)
		bytes[i] = pattern(sent + i);
	put = write(fd, bytes, length);
	if (put < 0 && errno != EAGAIN)
		fail("write");
	return put < 0 ? 0 : (uint64_t)put;
}

static uint64_t check_some(int fd, uint64_t came)
{
	static uint8_t bytes[CHUNK];
	ssize_t got = read(fd, bytes, sizeof bytes);

	if (got < 0 && errno == EAGAIN)
		return 0;
	if (got <= 0) {
		fprintf(stderr, "it ended after %llu bytes\n", (unsigned long long)came);
		exit(3);
	}
	for (ssize_t i = 0; i < got; i++)
		if (bytes[i] != pattern(came + (uint64_t)i)) {
			fprintf(stderr, "byte %llu is 0x%02x instead of 0x%02x\n",
				(unsigned long long)came + (unsigned long long)i, bytes[i], pattern(came + (uint64_t)i));
			exit(4);
		}
	return (uint64_t)got;
}

/* Both directions at once, as fast as they go. */
static void exchange(int fd, uint64_t total)
{
	uint64_t sent = 0, came = 0;

	fcntl(fd, F_SETFL, O_NONBLOCK);
	while (came < total) {
		struct pollfd ready = {.fd = fd, .events = (short)(POLLIN | (sent < total ? POLLOUT : 0))};

		if (poll(&ready, 1, PATIENCE) <= 0)
			fail("nothing moves");
		if (ready.revents & (POLLIN | POLLHUP | POLLERR))
			came += check_some(fd, came);
		if (ready.revents & POLLOUT)
			sent += send_some(fd, sent, total);
	}
	printf("exchanged %llu bytes\n", (unsigned long long)total);
}

int main(int argc, char **argv)
{
	int fd;

	if (argc < 3) {
		fputs("usage: peer WHERE echo | peer WHERE exchange BYTES\n", stderr);
		return 64;
	}
	fd = open_where(argv[1]);
	if (strcmp(argv[2], "echo") == 0)
		echo(fd);
	else
		exchange(fd, strtoull(argv[3], NULL, 10));
	close(fd);
	return 0;
}
