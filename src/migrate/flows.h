/*
 * Connections of user networks, which end in sockets of the source's host and can not move along, nor be saved: the
 * destination, or who goes on from a snapshot, has the guest told of each, so that nobody waits for an answer that never
 * comes.
 *
 *   each: u8 card, u8 version of IP, le16 the guest's port, le16 the other's, 16 bytes the guest's address, 16 the other's
 *
 * Thread: collecting and resetting the owner's; the others the mover's.
 */
#ifndef DOPPEL_MIGRATE_FLOWS_H
#define DOPPEL_MIGRATE_FLOWS_H

#include "machine/machine.h"
#include "migrate/stream.h"

#define FLOWS_MAX (MACHINE_NICS_MAX * NET_FLOWS_MAX)

struct flow_list {
	uint8_t *bytes; /* as in a frame; NULL: none */
	unsigned count;
};

/* All that stand now. What a network does not tell is left out: the move does not depend on it. -ENOMEM */
MUST_USE int flow_list_collect(struct flow_list *list, struct machine *machine, struct error *e);
/* Nothing is sent when there are none. */
MUST_USE int flow_list_send(const struct flow_list *list, struct stream *stream, struct error *e);
/* Those of a frame, which replace what was there: -EPROTO, -ENOMEM. */
MUST_USE int flow_list_receive(struct flow_list *list, const struct stream_frame *frame, struct error *e);
/* In hexadecimal digits, for what is kept: NULL without memory, else free() it. */
char *flow_list_text(const struct flow_list *list);
/* The way back: -EBADMSG, -ENOMEM. */
MUST_USE int flow_list_parse(struct flow_list *list, const char *text, struct error *e);
/* Has the guest told of each; returns how many. */
unsigned flow_list_reset(const struct flow_list *list, struct machine *machine);
void flow_list_finish(struct flow_list *list);

#endif
