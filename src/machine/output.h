/*
 * The guest's console output on its way to a descriptor: a buffer and a thread that writes it.
 *
 * Writing never blocks the guest inside a device. What comes faster than the reader takes it waits in the
 * buffer; from OUTPUT_CROWDED bytes on the writer is told so, and should not run guest code again before `room`
 * was called. The buffer beyond that mark holds what 32 vCPUs may still write until they have stopped, so
 * nothing is lost. Writers that do not stop lose what does not fit, and the log says how much.
 *
 * A reader that goes away (EPIPE), or any other error, ends the output: what is written from then on is dropped.
 * The descriptor's O_NONBLOCK is left as it is, because others may share it; either way works.
 */
#ifndef DOPPEL_MACHINE_OUTPUT_H
#define DOPPEL_MACHINE_OUTPUT_H

#include "base/error.h"
#include "base/types.h"

#define OUTPUT_CROWDED (1 * MIB)
#define OUTPUT_ROOM    (4 * MIB)

struct output;

/* Both are called on the output's thread, without a lock. */
struct output_hooks {
	void (*room)(void *opaque);    /* crowded no longer */
	void (*drained)(void *opaque); /* all was written, after an output_drained that said no */
	void *opaque;
};

/* The descriptor stays the caller's. `line`: it is a pseudo terminal's master, and what is written while nobody
 * has the slave open is dropped, as on a serial line without a terminal. */
MUST_USE int output_new(struct output **out, int fd, bool line, const struct output_hooks *hooks, struct error *e);
/* Drops what is not written yet, even amid a write that blocks; accepts NULL. */
void output_free(struct output *output);

/* Any thread; never blocks. True: crowded now. */
bool output_write(struct output *output, const void *bytes, size_t length);
/* Any thread. */
bool output_crowded(const struct output *output);
/* Any thread: whether all was written or dropped. */
bool output_drained(struct output *output);
/* Waits until drained, or until the reader took nothing for `patience_ms`; returns whether it is drained. */
bool output_flush(struct output *output, unsigned patience_ms);

#endif
