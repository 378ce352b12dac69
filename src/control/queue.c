#include "control/queue.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

struct queue_text {
	unsigned users;
	size_t length;
	uint8_t *bytes;
};

struct queue_entry {
	struct queue_entry *next;
	struct queue_text *text;
	size_t sent;
	int fd;
};

struct queue_text *queue_text_new(const json_t *object)
{
	struct queue_text *text = calloc(1, sizeof *text);

	if (!text || !object || frame_make(object, &text->bytes, &text->length) < 0) {
		free(text);
		return NULL;
	}
	text->users = 1;
	return text;
}

void queue_text_drop(struct queue_text *text)
{
	if (!text || --text->users)
		return;
	free(text->bytes);
	free(text);
}

static void close_passed(int fd)
{
	if (fd >= 0)
		close(fd);
}

int queue_add(struct queue *queue, struct queue_text *text, int fd)
{
	struct queue_entry *entry = text ? malloc(sizeof *entry) : NULL;

	if (!entry) {
		close_passed(fd);
		return -ENOMEM;
	}
	text->users++;
	*entry = (struct queue_entry){.text = text, .fd = fd};
	if (queue->last)
		queue->last->next = entry;
	else
		queue->first = entry;
	queue->last = entry;
	queue->waiting += sizeof *entry + text->length;
	return 0;
}

static void remove_first(struct queue *queue)
{
	struct queue_entry *entry = queue->first;

	queue->first = entry->next;
	if (!queue->first)
		queue->last = NULL;
	queue->waiting -= sizeof *entry + entry->text->length - entry->sent;
	close_passed(entry->fd);
	queue_text_drop(entry->text);
	free(entry);
}

int queue_send(struct queue *queue, int socket)
{
	while (queue->first) {
		struct queue_entry *entry = queue->first;
		ssize_t count = frame_send(socket, entry->text->bytes + entry->sent, entry->text->length - entry->sent,
					   entry->fd);

		if (count < 0)
			return count == -EAGAIN ? 0 : (int)count;
		close_passed(entry->fd);
		entry->fd = -1;
		entry->sent += (size_t)count;
		queue->waiting -= (size_t)count;
		if (entry->sent == entry->text->length)
			remove_first(queue);
	}
	return 0;
}

void queue_drop(struct queue *queue)
{
	while (queue->first)
		remove_first(queue);
}
