/*
 * The latest TAPE_SIZE bytes of a stream that never waits for those who read it.
 *
 * Places are counted from the stream's first byte, so a reader is no more than the place it has come to. One that comes
 * back too late is told how many bytes are gone. Whoever waits for more hangs an alarm on the tape.
 *
 * Thread: any, but for init and finish.
 */
#ifndef DOPPEL_MACHINE_TAPE_H
#define DOPPEL_MACHINE_TAPE_H

#include <pthread.h>

#include "base/error.h"
#include "base/types.h"

#define TAPE_SIZE (256 * KIB)

/* Memory of the caller, which sets fn and opaque and never touches the rest. fn(opaque) is called on the writer's thread,
 * under the tape's lock: it must not call the tape and never block. */
struct tape_alarm {
	void (*fn)(void *opaque);
	void *opaque;
	uint64_t at;
	bool armed, hung;
	struct tape_alarm *next;
};

struct tape {
	pthread_mutex_t lock; /* guards all below */
	uint64_t end;         /* bytes ever written */
	struct tape_alarm *alarms;
	uint8_t *bytes; /* of TAPE_SIZE */
};

MUST_USE int tape_init(struct tape *tape, struct error *e);
void tape_finish(struct tape *tape); /* accepts a zeroed one */

void tape_write(struct tape *tape, const uint8_t *bytes, size_t length);
/* The place of the oldest byte that is still there, and of the next one to come. */
uint64_t tape_start(struct tape *tape);
uint64_t tape_end(struct tape *tape);
/* Copies what is there from *place on, at most `room` bytes, and moves *place behind it; 0 at the end. *lost: bytes before
 * these that are gone. */
size_t tape_read(struct tape *tape, uint64_t *place, uint8_t *bytes, size_t room, uint64_t *lost);
/* The alarm goes off once, when the stream is longer than `place`: before this returns when it is already. */
void tape_alarm_set(struct tape *tape, struct tape_alarm *alarm, uint64_t place);
/* It does not go off any more, on no thread. Harmless when it was never set. */
void tape_alarm_remove(struct tape *tape, struct tape_alarm *alarm);

#endif
