/*
 * Frames that wait until their client reads. Part of the server; nobody else includes this.
 *
 * Thread: the loop's.
 */
#ifndef DOPPEL_CONTROL_QUEUE_H
#define DOPPEL_CONTROL_QUEUE_H

#include <stdbool.h>

#include "control/frame.h"

/* A frame's bytes, shared by the queues of all who get it. */
struct queue_text;
struct queue_entry;

/* Zeroed at first. */
struct queue {
	struct queue_entry *first, *last;
	size_t waiting; /* bytes of memory, about */
};

/* With one user. NULL: no memory, no object, or too long for a frame. */
struct queue_text *queue_text_new(const json_t *object);
/* Accepts NULL. */
void queue_text_drop(struct queue_text *text);

/* Takes `fd` (-1: none) in any case; the text becomes shared. -ENOMEM, also for a NULL text. */
MUST_USE int queue_add(struct queue *queue, struct queue_text *text, int fd);
/* What the socket takes: 0, or why it takes nothing any more. */
MUST_USE int queue_send(struct queue *queue, int socket);
void queue_drop(struct queue *queue);

static inline bool queue_is_empty(const struct queue *queue)
{
	return !queue->first;
}

#endif
