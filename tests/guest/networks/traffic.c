/*
 * Traffic over TCP or vsock, for tests and measurements; the same program at both ends.
 *
 *   traffic serve PORT                       answers clients until it is killed
 *   traffic serve /PATH                      the same at a Unix socket
 *   traffic serve vsock:PORT                 the same for the guests of this host
 *   traffic HOST PORT send BYTES             to the server, which counts and checks them
 *   traffic HOST PORT receive BYTES
 *   traffic HOST PORT echo COUNT             so many bytes, each answered before the next
 *   traffic vsock PORT ...                   the same from a guest to its host
 *
 * A client prints "send: 123.4 MB/s" or "echo: 56.7 us" and ends with 0 when every byte was right.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#define BLOCK  (64 * 1024)
#define PERIOD 251 /* of the pattern: no power of two, so that a part out of place is seen */

struct request {
	char what[8];
	uint64_t amount;
};

static uint8_t pattern[BLOCK + PERIOD], block[BLOCK];

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int write_all(int fd, const void *bytes, size_t size)
{
	const uint8_t *at = bytes;

	while (size > 0) {
		ssize_t done = write(fd, at, size);

		if (done < 0)
			return -1;
		at += done;
		size -= (size_t)done;
	}
	return 0;
}

static int read_all(int fd, void *bytes, size_t size)
{
	uint8_t *at = bytes;

	while (size > 0) {
		ssize_t done = read(fd, at, size);

		if (done <= 0)
			return -1;
		at += done;
		size -= (size_t)done;
	}
	return 0;
}

static int give(int fd, uint64_t amount)
{
	for (uint64_t done = 0; done < amount;) {
		size_t part = amount - done < BLOCK ? (size_t)(amount - done) : BLOCK;

		if (write_all(fd, pattern + done % PERIOD, part) < 0)
			return -1;
		done += part;
	}
	return 0;
}

static int take(int fd, uint64_t amount)
{
	for (uint64_t done = 0; done < amount;) {
		ssize_t part = read(fd, block, amount - done < BLOCK ? (size_t)(amount - done) : BLOCK);

		if (part <= 0 || memcmp(block, pattern + done % PERIOD, (size_t)part) != 0)
			return -1;
		done += (uint64_t)part;
	}
	return 0;
}

static int answer_echo(int fd, uint64_t amount)
{
	char byte;

	for (; amount > 0; amount--)
		if (read_all(fd, &byte, 1) < 0 || write_all(fd, &byte, 1) < 0)
			return -1;
	return 0;
}

static int ask_echo(int fd, uint64_t amount)
{
	for (uint64_t i = 0; i < amount; i++) {
		char byte = (char)i, back;

		if (write_all(fd, &byte, 1) < 0 || read_all(fd, &back, 1) < 0 || back != byte)
			return -1;
	}
	return 0;
}

static void no_delay(int fd)
{
	const int yes = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
}

/* The last word is one byte from the server: all that was sent is there and right. */
static void answer(int fd)
{
	struct request request;
	char verdict = 'n';

	no_delay(fd);
	if (read_all(fd, &request, sizeof request) < 0)
		return;
	if (strcmp(request.what, "send") == 0)
		verdict = take(fd, request.amount) < 0 ? 'n' : 'y';
	else if (strcmp(request.what, "receive") == 0)
		verdict = give(fd, request.amount) < 0 ? 'n' : 'y';
	else
		verdict = answer_echo(fd, request.amount) < 0 ? 'n' : 'y';
	(void)!write(fd, &verdict, 1);
}

static int bound_tcp(const char *port)
{
	struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)atoi(port))};
	int fd = socket(AF_INET6, SOCK_STREAM, 0), yes = 1, no = 0;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
	setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof no);
	return bind(fd, (struct sockaddr *)&any, sizeof any) < 0 ? -1 : fd;
}

static int bound_unix(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
	return bind(fd, (struct sockaddr *)&address, sizeof address) < 0 ? -1 : fd;
}

static struct sockaddr_vm vsock_address(unsigned cid, const char *port)
{
	return (struct sockaddr_vm){.svm_family = AF_VSOCK, .svm_cid = cid, .svm_port = (unsigned)atoi(port)};
}

static int bound_vsock(const char *port)
{
	struct sockaddr_vm any = vsock_address(VMADDR_CID_ANY, port);
	int fd = socket(AF_VSOCK, SOCK_STREAM, 0);

	return bind(fd, (struct sockaddr *)&any, sizeof any) < 0 ? -1 : fd;
}

static int serve(const char *where)
{
	int listener = where[0] == '/'                    ? bound_unix(where)
		       : strncmp(where, "vsock:", 6) == 0 ? bound_vsock(where + 6)
							  : bound_tcp(where);

	if (listener < 0 || listen(listener, 10) < 0) {
		perror("traffic: listen");
		return 1;
	}
	signal(SIGCHLD, SIG_IGN);
	for (;;) {
		int fd = accept(listener, NULL, NULL);

		if (fd < 0)
			continue;
		if (fork() == 0) {
			answer(fd);
			_exit(0);
		}
		close(fd);
	}
}

static int connect_vsock(const char *port)
{
	struct sockaddr_vm host = vsock_address(VMADDR_CID_HOST, port);
	int fd = socket(AF_VSOCK, SOCK_STREAM, 0);

	if (connect(fd, (struct sockaddr *)&host, sizeof host) == 0)
		return fd;
	perror("traffic: connect");
	close(fd);
	return -1;
}

static int connect_tcp(const char *host, const char *port)
{
	struct sockaddr_in ip4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
	struct sockaddr_in6 ip6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)atoi(port))};
	const int is4 = inet_pton(AF_INET, host, &ip4.sin_addr) == 1;
	int fd, r;

	if (!is4 && inet_pton(AF_INET6, host, &ip6.sin6_addr) != 1)
		return -1;
	fd = socket(is4 ? AF_INET : AF_INET6, SOCK_STREAM, 0);
	r = is4 ? connect(fd, (struct sockaddr *)&ip4, sizeof ip4)
		: connect(fd, (struct sockaddr *)&ip6, sizeof ip6);
	if (r == 0)
		return fd;
	perror("traffic: connect");
	close(fd);
	return -1;
}

static int ask(char **arguments)
{
	struct request request = {.amount = strtoull(arguments[3], NULL, 10)};
	int fd = strcmp(arguments[0], "vsock") == 0 ? connect_vsock(arguments[1])
						    : connect_tcp(arguments[0], arguments[1]);
	int r;
	double began, seconds;
	char verdict;

	if (fd < 0)
		return 1;
	no_delay(fd);
	snprintf(request.what, sizeof request.what, "%s", arguments[2]);
	began = now();
	r = write_all(fd, &request, sizeof request);
	if (r == 0 && strcmp(request.what, "send") == 0)
		r = give(fd, request.amount);
	else if (r == 0 && strcmp(request.what, "receive") == 0)
		r = take(fd, request.amount);
	else if (r == 0)
		r = ask_echo(fd, request.amount);
	if (r < 0 || read_all(fd, &verdict, 1) < 0 || verdict != 'y') {
		fprintf(stderr, "traffic: %s failed\n", request.what);
		return 1;
	}
	seconds = now() - began;
	if (strcmp(request.what, "echo") == 0)
		printf("echo: %.1f us\n", seconds * 1e6 / (double)request.amount);
	else
		printf("%s: %.1f MB/s\n", request.what, (double)request.amount / seconds / 1e6);
	return 0;
}

int main(int count, char **arguments)
{
	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < sizeof pattern; i++)
		pattern[i] = (uint8_t)(i % PERIOD);
	if (count == 3 && strcmp(arguments[1], "serve") == 0)
		return serve(arguments[2]);
	if (count == 5)
		return ask(arguments + 1);
	fprintf(stderr, "usage: traffic serve PORT|/PATH|vsock:PORT | HOST PORT send|receive|echo AMOUNT\n");
	return 2;
}
