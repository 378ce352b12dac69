/*
 * Those who look at a machine's console from elsewhere, each at the other end of a socket (machine/viewing.h).
 *
 * Each first gets what the tape has, then all that comes. One who takes it too slowly has a gap, and is told how large it
 * is; the guest and the others never wait for him, and no memory grows with what he has not read. At most one is the
 * writer, whose input the guest gets.
 *
 * Thread: the loop's.
 */
#ifndef DOPPEL_MACHINE_VIEWERS_H
#define DOPPEL_MACHINE_VIEWERS_H

#include "base/loop.h"
#include "machine/machine.h"
#include "machine/tape.h"
#include "machine/viewing.h"

#define VIEWERS_MAX 32

struct viewers;

struct viewers_config {
	struct loop *loop;
	struct tape *tape; /* outlives the viewers */
	/* The writer sent something, came or went. It may call viewers_receive. */
	void (*writer)(void *opaque);
	void *opaque;
};

MUST_USE int viewers_new(struct viewers **out, const struct viewers_config *config, struct error *e);
/* Those who are there are cut off without a word; accepts NULL. */
void viewers_free(struct viewers *viewers);

/* As machine_console_attach; `busy`: who else writes already, or NULL. */
MUST_USE int viewers_add(struct viewers *viewers, int fd, enum machine_attach how, const char *who, const char *busy,
			 struct error *e);
/* The next input of the writer, VIEWING_INPUT bytes at most; 0: nothing now. */
size_t viewers_receive(struct viewers *viewers, uint8_t bytes[VIEWING_INPUT]);
/* Who writes, or NULL. Valid until the loop runs again. */
const char *viewers_writer(const struct viewers *viewers);
/* The size of the writer's terminal; false when there is none, or it did not say. */
bool viewers_size(const struct viewers *viewers, uint16_t *columns, uint16_t *rows);
unsigned viewers_count(const struct viewers *viewers);
/* Gives all what they have not got yet, within `patience_ms`, tells them why there is no more, and cuts them off. */
void viewers_end(struct viewers *viewers, uint8_t code, const char *why, unsigned patience_ms);

#endif
