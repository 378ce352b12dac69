#include "peer.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE_MS 20000

static int spawn(struct isa_peer *peer, const char *program, int in, int out)
{
	char *const arguments[] = {"qemu-riscv64", "-cpu", ISA_PEER_CPU, (char *)(uintptr_t)program, NULL};
	char *const no_environment[] = {NULL};
	posix_spawn_file_actions_t files;
	int error;

	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_adddup2(&files, in, STDIN_FILENO);
	posix_spawn_file_actions_adddup2(&files, out, STDOUT_FILENO);
	error = posix_spawnp(&peer->child, arguments[0], &files, NULL, arguments, no_environment);
	posix_spawn_file_actions_destroy(&files);
	return -error;
}

int isa_peer_start(struct isa_peer *peer, const char *program, struct error *e)
{
	int to[2], from[2], code;

	*peer = (struct isa_peer){-1, -1, 0};
	if (pipe2(to, O_CLOEXEC) < 0)
		return error_errno(e, -errno, "pipe");
	if (pipe2(from, O_CLOEXEC) < 0) {
		code = -errno;
		close(to[0]);
		close(to[1]);
		return error_errno(e, code, "pipe");
	}
	/* A peer that died shows as a failed write, not as a signal. */
	signal(SIGPIPE, SIG_IGN);
	code = spawn(peer, program, to[0], from[1]);
	close(to[0]);
	close(from[1]);
	peer->to = to[1];
	peer->from = from[0];
	if (code < 0) {
		isa_peer_stop(peer);
		return error_errno(e, code, "qemu-riscv64");
	}
	return 0;
}

void isa_peer_stop(struct isa_peer *peer)
{
	if (peer->to >= 0)
		close(peer->to);
	if (peer->from >= 0)
		close(peer->from);
	if (peer->child > 0) {
		kill(peer->child, SIGKILL);
		waitpid(peer->child, NULL, 0);
	}
	*peer = (struct isa_peer){-1, -1, 0};
}

static int put(struct isa_peer *peer, const void *bytes, size_t length)
{
	for (size_t at = 0; at < length;) {
		ssize_t done = write(peer->to, (const char *)bytes + at, length - at);

		if (done < 0)
			return -errno;
		at += (size_t)done;
	}
	return 0;
}

static int get(struct isa_peer *peer, void *bytes, size_t length)
{
	struct pollfd ready = {.fd = peer->from, .events = POLLIN};

	for (size_t at = 0; at < length;) {
		int count = poll(&ready, 1, PATIENCE_MS);
		ssize_t done = count > 0 ? read(peer->from, (char *)bytes + at, length - at) : 0;

		if (count == 0)
			return -ETIMEDOUT;
		if (count < 0 || done < 0)
			return -errno;
		if (done == 0)
			return -EPIPE;
		at += (size_t)done;
	}
	return 0;
}

int isa_peer_run(struct isa_peer *peer, const struct isa_start *start, const void *code, uint8_t *data,
		 struct isa_end *end, struct error *e)
{
	int result = put(peer, start, sizeof *start);

	if (result == 0)
		result = put(peer, code, start->code_bytes);
	if (result == 0)
		result = put(peer, data, ISA_DATA_SIZE);
	if (result == 0)
		result = get(peer, end, sizeof *end);
	if (result == 0)
		result = get(peer, data, ISA_DATA_SIZE);
	return result < 0 ? error_errno(e, result, "qemu-riscv64") : 0;
}
