#include "net/outbox.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct outbox_packet {
	struct outbox_packet *next;
	size_t size;
	uint8_t bytes[];
};

void outbox_init(struct outbox *outbox, int fd, size_t limit)
{
	*outbox = (struct outbox){.fd = fd, .limit = limit};
	outbox->last = &outbox->first;
}

static void drop_first(struct outbox *outbox)
{
	struct outbox_packet *packet = outbox->first;

	outbox->first = packet->next;
	if (!outbox->first)
		outbox->last = &outbox->first;
	outbox->bytes -= packet->size;
	free(packet);
}

void outbox_finish(struct outbox *outbox)
{
	while (outbox->first)
		drop_first(outbox);
}

/* 1 written, 0 no room now, -EPIPE. */
static int put(struct outbox *outbox, const struct iovec *parts, int count)
{
	ssize_t size;

	do
		size = writev(outbox->fd, parts, count);
	while (size < 0 && errno == EINTR);
	if (size >= 0) {
		outbox->sent++;
		return 1;
	}
	if (errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM)
		return 0;
	return -EPIPE;
}

static void keep(struct outbox *outbox, const struct iovec *parts, int count)
{
	struct outbox_packet *packet = NULL;
	size_t size = 0;

	for (int i = 0; i < count; i++)
		size += parts[i].iov_len;
	if (size <= outbox->limit && outbox->bytes <= outbox->limit - size)
		packet = malloc(sizeof *packet + size);
	if (!packet) {
		outbox->dropped++;
		return;
	}
	packet->next = NULL;
	packet->size = 0;
	for (int i = 0; i < count; i++) {
		memcpy(packet->bytes + packet->size, parts[i].iov_base, parts[i].iov_len);
		packet->size += parts[i].iov_len;
	}
	*outbox->last = packet;
	outbox->last = &packet->next;
	outbox->bytes += size;
}

int outbox_send(struct outbox *outbox, const struct iovec *parts, int count)
{
	int r = outbox->first ? 0 : put(outbox, parts, count);

	if (r < 0)
		return r;
	if (r == 0)
		keep(outbox, parts, count);
	return 0;
}

int outbox_flush(struct outbox *outbox)
{
	while (outbox->first) {
		struct iovec part = {.iov_base = outbox->first->bytes, .iov_len = outbox->first->size};
		int r = put(outbox, &part, 1);

		if (r < 0)
			return r;
		if (r == 0)
			return 0;
		drop_first(outbox);
	}
	return 0;
}
