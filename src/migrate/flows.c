#include "migrate/flows.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/hex.h"
#include "base/log.h"

struct told {
	uint8_t card, version;
	le16_t guest_port, remote_port;
	uint8_t guest[16], remote[16];
};
_Static_assert(sizeof(struct told) == 38, "a flow as in docs/internals/migrate.md");

static void collect_card(struct flow_list *list, struct machine *machine, unsigned card)
{
	struct net_flow flows[NET_FLOWS_MAX];
	struct error e;
	int count = machine_flows(machine, card, flows, &e);

	if (count < 0)
		log_line(LOG_WARNING, "mover", "connections of network card %u: %s", card, e.message);
	for (int i = 0; i < count; i++) {
		struct told told = {.card = (uint8_t)card,
				    .version = flows[i].version,
				    .guest_port = le16_put(flows[i].guest_port),
				    .remote_port = le16_put(flows[i].remote_port)};

		memcpy(told.guest, flows[i].guest, sizeof told.guest);
		memcpy(told.remote, flows[i].remote, sizeof told.remote);
		memcpy(list->bytes + list->count++ * sizeof told, &told, sizeof told);
	}
}

int flow_list_collect(struct flow_list *list, struct machine *machine, struct error *e)
{
	flow_list_finish(list);
	list->bytes = malloc(FLOWS_MAX * sizeof(struct told));
	if (!list->bytes)
		return error_errno(e, -ENOMEM, "a list of connections");
	for (unsigned card = 0; card < MACHINE_NICS_MAX; card++)
		collect_card(list, machine, card);
	return 0;
}

int flow_list_send(const struct flow_list *list, struct stream *stream, struct error *e)
{
	if (!list->count)
		return 0;
	return stream_send_bytes(stream, STREAM_FLOWS, list->bytes, list->count * sizeof(struct told), e);
}

int flow_list_receive(struct flow_list *list, const struct stream_frame *frame, struct error *e)
{
	if (frame->length % sizeof(struct told) || frame->length / sizeof(struct told) > FLOWS_MAX)
		return error_set(e, ERROR_FAILED, -EPROTO, "the list of connections has %zu bytes", frame->length);
	flow_list_finish(list);
	list->bytes = malloc(frame->length);
	if (!list->bytes)
		return error_errno(e, -ENOMEM, "a list of connections");
	memcpy(list->bytes, frame->bytes, frame->length);
	list->count = (unsigned)(frame->length / sizeof(struct told));
	return 0;
}

char *flow_list_text(const struct flow_list *list)
{
	size_t length = list->count * sizeof(struct told);
	char *text = malloc(2 * length + 1);

	if (text)
		hex_write(text, list->bytes, length);
	return text;
}

int flow_list_parse(struct flow_list *list, const char *text, struct error *e)
{
	size_t length = strlen(text) / 2;

	if (!hex_is(text, 2 * length) || length % sizeof(struct told) ||
	    length / sizeof(struct told) > FLOWS_MAX)
		return error_set(e, ERROR_FAILED, -EBADMSG, "the list of connections is none");
	flow_list_finish(list);
	list->bytes = malloc(length + 1);
	if (!list->bytes)
		return error_errno(e, -ENOMEM, "a list of connections");
	(void)hex_read(list->bytes, text, length);
	list->count = (unsigned)(length / sizeof(struct told));
	return 0;
}

static unsigned reset_card(const struct flow_list *list, struct machine *machine, unsigned card)
{
	struct net_flow flows[NET_FLOWS_MAX];
	unsigned count = 0;
	struct error e;

	for (unsigned i = 0; i < list->count && count < NET_FLOWS_MAX; i++) {
		struct told told;

		memcpy(&told, list->bytes + i * sizeof told, sizeof told);
		if (told.card != card)
			continue;
		flows[count] = (struct net_flow){.version = told.version,
						 .guest_port = le16_get(told.guest_port),
						 .remote_port = le16_get(told.remote_port)};
		memcpy(flows[count].guest, told.guest, sizeof told.guest);
		memcpy(flows[count].remote, told.remote, sizeof told.remote);
		count++;
	}
	if (count && machine_reset_flows(machine, card, flows, count, &e) < 0) {
		log_line(LOG_WARNING, "mover", "connections of network card %u: %s", card, e.message);
		return 0;
	}
	return count;
}

unsigned flow_list_reset(const struct flow_list *list, struct machine *machine)
{
	unsigned count = 0;

	for (unsigned card = 0; list->count && card < MACHINE_NICS_MAX; card++)
		count += reset_card(list, machine, card);
	return count;
}

void flow_list_finish(struct flow_list *list)
{
	free(list->bytes);
	*list = (struct flow_list){.bytes = NULL};
}
