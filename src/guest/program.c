/*
 * doppel-guest: runs in a guest, takes what `doppel exec` and `doppel cp` on the host ask for. It needs no configuration
 * and, but for what init asks of it, no arguments; each session is a process of its own.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#include "guest/power.h"
#include "guest/session.h"

#define BACKLOG  64
#define RETRY_US 100000

static int fail(const char *what)
{
	fprintf(stderr, "doppel-guest: %s: %s\n", what, strerror(errno));
	return 1;
}

static int listen_at(unsigned port)
{
	const struct sockaddr_vm address = {
		.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = port};
	int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof address) < 0 || listen(fd, BACKLOG) < 0)
		return -1;
	return fd;
}

/* Users of the guest can reach this port too where the kernel has a loopback of its own; only the host is obeyed. */
static int accept_host(int listener)
{
	struct sockaddr_vm from = {.svm_family = AF_VSOCK};
	socklen_t length = sizeof from;
	int fd = accept4(listener, (struct sockaddr *)&from, &length, SOCK_CLOEXEC);

	if (fd >= 0 && from.svm_cid != VMADDR_CID_HOST) {
		close(fd);
		errno = EACCES;
		return -1;
	}
	return fd;
}

static void serve(int listener)
{
	for (;;) {
		int fd = accept_host(listener);

		/* No descriptors, no memory: who waits is taken later. */
		if (fd < 0) {
			usleep(errno == ENFILE || errno == EMFILE || errno == ENOMEM || errno == ENOBUFS ? RETRY_US : 0);
			continue;
		}
		if (fork() == 0) {
			close(listener);
			_exit(session_serve(fd, power_off, NULL) < 0);
		}
		close(fd);
	}
}

#ifdef __x86_64__
/* `doppel-guest end STATUS`, for init, which has no other way to write to a port. */
static int end(const char *status)
{
	errno = -power_end((unsigned)strtoul(status, NULL, 10));
	return fail("cannot end the machine");
}
#endif

int main(int argc, char **argv)
{
	int listener;

#ifdef __x86_64__
	if (argc == 3 && strcmp(argv[1], "end") == 0)
		return end(argv[2]);
#else
	(void)argc;
	(void)argv;
#endif
	listener = listen_at(GUEST_PORT);
	if (listener < 0)
		return fail("cannot listen for the host");
	/* Sessions that have ended leave nothing to wait for. */
	(void)signal(SIGCHLD, SIG_IGN);
	serve(listener);
	return 0;
}
