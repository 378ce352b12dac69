/*
 * A session of doppel-guest on this host, over a socket pair: the guest's side in a process of its own, ours in the test.
 */
#ifndef DOPPEL_TESTS_GUEST_BENCH_H
#define DOPPEL_TESTS_GUEST_BENCH_H

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guest/client.h"
#include "guest/session.h"
#include "guest/tree.h"

struct guest_bench {
	struct wire wire;
	pid_t guest;
};

static inline void guest_bench_open(struct guest_bench *bench)
{
	uint8_t hello[GUEST_HELLO_SIZE];
	struct wire_frame frame;
	uint32_t version;
	struct error e;
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	fflush(NULL);
	bench->guest = fork();
	if (bench->guest == 0) {
		close(pair[0]);
		_exit(session_serve(pair[1], NULL, &e) < 0);
	}
	close(pair[1]);
	assert_int_equal(wire_init(&bench->wire, pair[0], &e), 0);
	guest_hello_encode(hello);
	assert_int_equal(wire_put(&bench->wire, GUEST_HELLO, 0, hello, sizeof hello), 0);
	assert_int_equal(wire_receive(&bench->wire, &frame, 20000, &e), 0);
	assert_int_equal(frame.type, GUEST_HELLO);
	assert_int_equal(guest_hello_decode(frame.bytes, frame.length, &version), 0);
}

/* The exit status of the guest's process. */
static inline int guest_bench_close(struct guest_bench *bench)
{
	int status;

	guest_close(&bench->wire);
	assert_int_equal(waitpid(bench->guest, &status, 0), bench->guest);
	return status;
}

#endif
