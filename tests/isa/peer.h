/*
 * The oracle as a child process: qemu-riscv64 running oracle.c's program.
 *
 * Thread: one. A peer that hangs is given up after some seconds.
 */
#ifndef ISA_PEER_H
#define ISA_PEER_H

#include <sys/types.h>

#include "base/error.h"
#include "protocol.h"

struct isa_peer {
	int to, from; /* pipes; -1 when closed */
	pid_t child;
};

/* -ENOENT when there is no emulator on this host. `program` is oracle.c's. */
MUST_USE int isa_peer_start(struct isa_peer *peer, const char *program, struct error *e);
void isa_peer_stop(struct isa_peer *peer);
/* Runs a fragment; `data` is the data before and after. -ETIMEDOUT, -EPIPE when the peer died. */
MUST_USE int isa_peer_run(struct isa_peer *peer, const struct isa_start *start, const void *code, uint8_t *data,
			  struct isa_end *end, struct error *e);

/* The emulator's options that give it the extensions which it shares with this machine. */
#define ISA_PEER_CPU "rv64,zba=true,zbb=true,zbc=true,zbs=true,Zfh=true,Zihintpause=true"

#endif
