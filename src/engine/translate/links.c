/* Links: jumps from unit to unit within a page of guest code. */
#include "engine/translate/depot.h"
#include "engine/translate/x64.h"

struct link *link_by_number(const struct depot *s, uint32_t number)
{
	return (struct link *)(void *)s->records + number;
}

uint32_t link_number(const struct depot *s, const struct link *link)
{
	return (uint32_t)(link - (const struct link *)(const void *)s->records);
}

static void lead(const struct depot *s, const struct link *link, const struct unit *unit)
{
	x64_patch(link->place, code_cache_write(s->cache, depot_code(s, unit)));
}

void link_connect(struct depot *s, struct link *link, struct unit *target)
{
	if (link->target || target->stale || !depot_is_live(s, link) || !depot_is_live(s, target))
		return;
	link->target = target;
	link->next = target->incoming;
	target->incoming = link;
	lead(s, link, target);
}

void links_move(struct depot *s, struct unit *from, struct unit *to)
{
	struct link **end = &from->incoming;

	for (; *end; end = &(*end)->next) {
		(*end)->target = to;
		lead(s, *end, to);
	}
	*end = to->incoming;
	to->incoming = from->incoming;
	from->incoming = NULL;
}

static void disconnect(struct link *link)
{
	struct link **place = &link->target->incoming;

	while (*place != link)
		place = &(*place)->next;
	*place = link->next;
	link->target = NULL;
}

void links_cut(struct unit *unit)
{
	struct link *own = unit_links(unit);

	for (unsigned i = 0; i < unit->links; i++)
		if (own[i].target)
			disconnect(&own[i]);
	for (struct link *link = unit->incoming; link; link = link->next) {
		link->target = NULL;
		x64_patch(link->place, link->place + link->stub);
	}
	unit->incoming = NULL;
}
