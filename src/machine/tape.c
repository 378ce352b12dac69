#include "machine/tape.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int tape_init(struct tape *tape, struct error *e)
{
	uint8_t *bytes = calloc(1, TAPE_SIZE);

	if (!bytes)
		return error_errno(e, -ENOMEM, "the console's latest output");
	*tape = (struct tape){.bytes = bytes};
	pthread_mutex_init(&tape->lock, NULL);
	return 0;
}

void tape_finish(struct tape *tape)
{
	if (!tape->bytes)
		return;
	pthread_mutex_destroy(&tape->lock);
	free(tape->bytes);
	tape->bytes = NULL;
}

static void ring(struct tape *tape)
{
	for (struct tape_alarm *alarm = tape->alarms; alarm; alarm = alarm->next) {
		if (!alarm->armed || tape->end <= alarm->at)
			continue;
		alarm->armed = false;
		alarm->fn(alarm->opaque);
	}
}

void tape_write(struct tape *tape, const uint8_t *bytes, size_t length)
{
	size_t left_out = length > TAPE_SIZE ? length - TAPE_SIZE : 0, kept = length - left_out, at, first;

	pthread_mutex_lock(&tape->lock);
	at = (size_t)((tape->end + left_out) % TAPE_SIZE);
	first = kept < TAPE_SIZE - at ? kept : TAPE_SIZE - at;
	memcpy(tape->bytes + at, bytes + left_out, first);
	memcpy(tape->bytes, bytes + left_out + first, kept - first);
	tape->end += length;
	ring(tape);
	pthread_mutex_unlock(&tape->lock);
}

static uint64_t start_of(const struct tape *tape)
{
	return tape->end > TAPE_SIZE ? tape->end - TAPE_SIZE : 0;
}

uint64_t tape_start(struct tape *tape)
{
	uint64_t start;

	pthread_mutex_lock(&tape->lock);
	start = start_of(tape);
	pthread_mutex_unlock(&tape->lock);
	return start;
}

uint64_t tape_end(struct tape *tape)
{
	uint64_t end;

	pthread_mutex_lock(&tape->lock);
	end = tape->end;
	pthread_mutex_unlock(&tape->lock);
	return end;
}

size_t tape_read(struct tape *tape, uint64_t *place, uint8_t *bytes, size_t room, uint64_t *lost)
{
	uint64_t from = *place, start;
	size_t length, at, first;

	pthread_mutex_lock(&tape->lock);
	start = start_of(tape);
	*lost = from < start ? start - from : 0;
	from += *lost;
	length = tape->end - from < room ? (size_t)(tape->end - from) : room;
	at = (size_t)(from % TAPE_SIZE);
	first = length < TAPE_SIZE - at ? length : TAPE_SIZE - at;
	memcpy(bytes, tape->bytes + at, first);
	memcpy(bytes + first, tape->bytes, length - first);
	pthread_mutex_unlock(&tape->lock);
	*place = from + length;
	return length;
}

void tape_alarm_set(struct tape *tape, struct tape_alarm *alarm, uint64_t place)
{
	pthread_mutex_lock(&tape->lock);
	if (!alarm->hung) {
		alarm->next = tape->alarms;
		tape->alarms = alarm;
		alarm->hung = true;
	}
	alarm->at = place;
	alarm->armed = true;
	ring(tape);
	pthread_mutex_unlock(&tape->lock);
}

void tape_alarm_remove(struct tape *tape, struct tape_alarm *alarm)
{
	struct tape_alarm **link = &tape->alarms;

	if (!alarm->hung)
		return;
	pthread_mutex_lock(&tape->lock);
	while (*link != alarm)
		link = &(*link)->next;
	*link = alarm->next;
	alarm->hung = false;
	pthread_mutex_unlock(&tape->lock);
}
