#include "migrate/pages.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define HEAD_BYTES(runs) (8 + (size_t)(runs) * sizeof(struct pages_run))

_Static_assert(sizeof(struct pages_run) == 16, "a run as in docs/internals/migrate.md");
_Static_assert(HEAD_BYTES(PAGES_RUNS) + PAGES_WITH_DATA * GUEST_PAGE_SIZE <= STREAM_DATA_MAX, "a frame holds it");

/* ---- Sets ---- */

int pages_set_init(struct pages_set *set, const struct memory *memory, struct error *e)
{
	*set = (struct pages_set){.memory = memory};
	for (unsigned i = 0; i < memory->count; i++) {
		set->bits[i] = calloc(memory_dirty_words(&memory->regions[i]), sizeof *set->bits[i]);
		if (!set->bits[i]) {
			pages_set_finish(set);
			return error_errno(e, -ENOMEM, "a bitmap of the guest's memory");
		}
	}
	return 0;
}

void pages_set_finish(struct pages_set *set)
{
	for (unsigned i = 0; i < MEMORY_REGIONS_MAX; i++)
		free(set->bits[i]);
	*set = (struct pages_set){.memory = NULL};
}

void pages_set_fill(struct pages_set *set)
{
	for (unsigned i = 0; i < set->memory->count; i++) {
		uint64_t pages = set->memory->regions[i].size >> GUEST_PAGE_SHIFT;

		memset(set->bits[i], 0xff, memory_dirty_words(&set->memory->regions[i]) * sizeof(uint64_t));
		if (pages % 64)
			set->bits[i][pages / 64] = (UINT64_C(1) << (pages % 64)) - 1;
	}
}

void pages_set_clear(struct pages_set *set)
{
	for (unsigned i = 0; i < set->memory->count; i++)
		memset(set->bits[i], 0, memory_dirty_words(&set->memory->regions[i]) * sizeof(uint64_t));
}

void pages_set_add(struct pages_set *set, const struct pages_set *more)
{
	for (unsigned i = 0; i < set->memory->count; i++)
		for (uint64_t w = 0; w < memory_dirty_words(&set->memory->regions[i]); w++)
			set->bits[i][w] |= more->bits[i][w];
}

uint64_t pages_set_count(const struct pages_set *set)
{
	uint64_t count = 0;

	for (unsigned i = 0; i < set->memory->count; i++)
		for (uint64_t w = 0; w < memory_dirty_words(&set->memory->regions[i]); w++)
			count += (uint64_t)__builtin_popcountll(set->bits[i][w]);
	return count;
}

static bool has(const uint64_t *bits, uint64_t page)
{
	return bits[page / 64] >> (page % 64) & 1;
}

static void add(uint64_t *bits, uint64_t page)
{
	bits[page / 64] |= UINT64_C(1) << (page % 64);
}

/* Words are compared one by one; most pages that are no zeros differ in their first. */
static bool is_zero(const uint8_t *page)
{
	static const uint8_t zeros[GUEST_PAGE_SIZE];

	return memcmp(page, zeros, sizeof zeros) == 0;
}

/* ---- The source ---- */

int pages_sender_init(struct pages_sender *sender, struct stream *stream, struct error *e)
{
	*sender = (struct pages_sender){.stream = stream, .data = malloc(PAGES_WITH_DATA * GUEST_PAGE_SIZE)};
	return sender->data ? 0 : error_errno(e, -ENOMEM, "a buffer for the guest's pages");
}

void pages_sender_finish(struct pages_sender *sender)
{
	free(sender->data);
	sender->data = NULL;
}

static int flush(struct pages_sender *sender, struct error *e)
{
	const struct iovec parts[] = {{&sender->head, HEAD_BYTES(sender->runs)},
				      {sender->data, sender->data_pages * GUEST_PAGE_SIZE}};
	int r = 0;

	if (sender->runs == 0)
		return 0;
	sender->head.runs = le32_put(sender->runs);
	sender->head.reserved = le32_put(0);
	if (sender->pace)
		r = sender->pace(sender->opaque, parts[0].iov_len + parts[1].iov_len, e);
	if (r == 0)
		r = stream_send(sender->stream, STREAM_PAGES, parts, ARRAY_SIZE(parts), e);
	sender->runs = sender->data_pages = 0;
	return r;
}

/* One page more in the last run, or in a new one. */
static int put(struct pages_sender *sender, uint64_t address, enum pages_kind kind, struct error *e)
{
	struct pages_run *last;

	if (sender->runs == PAGES_RUNS || sender->data_pages == PAGES_WITH_DATA) {
		int r = flush(sender, e);

		if (r < 0)
			return r;
	}
	last = &sender->head.run[sender->runs ? sender->runs - 1 : 0];
	if (sender->runs && sender->end == address && le32_get(last->kind) == kind) {
		last->pages = le32_put(le32_get(last->pages) + 1);
	} else {
		sender->head.run[sender->runs++] =
			(struct pages_run){le64_put(address), le32_put(1), le32_put((uint32_t)kind)};
	}
	sender->end = address + GUEST_PAGE_SIZE;
	return 0;
}

static int put_page(struct pages_sender *sender, const struct memory_region *region, uint64_t page, struct error *e)
{
	const uint8_t *bytes = region->host + (page << GUEST_PAGE_SHIFT);
	enum pages_kind kind = is_zero(bytes) ? PAGES_ZERO : PAGES_DATA;
	int r = put(sender, region->base.value + (page << GUEST_PAGE_SHIFT), kind, e);

	if (r < 0)
		return r;
	if (kind == PAGES_DATA) {
		memory_copy(sender->data + sender->data_pages++ * GUEST_PAGE_SIZE, bytes, GUEST_PAGE_SIZE);
		sender->counts.data++;
	} else {
		sender->counts.zero++;
	}
	return 0;
}

static int send_word(struct pages_sender *sender, const struct memory_region *region, uint64_t word, uint64_t bits,
		     struct error *e)
{
	int r = 0;

	for (; r == 0 && bits; bits &= bits - 1)
		r = put_page(sender, region, word * 64 + (uint64_t)__builtin_ctzll(bits), e);
	return r;
}

int pages_send(struct pages_sender *sender, const struct pages_set *set, struct error *e)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < set->memory->count; i++) {
		const struct memory_region *region = &set->memory->regions[i];

		for (uint64_t w = 0; r == 0 && w < memory_dirty_words(region); w++)
			r = send_word(sender, region, w, set->bits[i][w], e);
	}
	return r < 0 ? r : flush(sender, e);
}

/* ---- The destination ---- */

static int refuse(struct error *e, const char *what, unsigned long long value)
{
	return error_set(e, ERROR_FAILED, -EPROTO, "pages of memory came wrong: %s (%llu)", what, value);
}

struct placing {
	struct memory *memory;
	struct pages_set *filled, *named;
	struct pages_counts *counts;
};

static void place_page(const struct placing *p, unsigned index, uint64_t page, const uint8_t *data)
{
	uint8_t *host = p->memory->regions[index].host + (page << GUEST_PAGE_SHIFT);

	add(p->named->bits[index], page);
	if (data) {
		memcpy(host, data, GUEST_PAGE_SIZE);
		add(p->filled->bits[index], page);
		p->counts->data++;
		return;
	}
	if (has(p->filled->bits[index], page))
		memset(host, 0, GUEST_PAGE_SIZE);
	p->counts->zero++;
}

/* `data`: what is left of the frame; NULL for zeros. */
static int place_run(const struct placing *p, const struct pages_run *run, const uint8_t *data, struct error *e)
{
	uint64_t address = le64_get(run->address), pages = le32_get(run->pages);
	const struct memory_region *region;
	uint64_t first;

	if (address % GUEST_PAGE_SIZE || pages == 0)
		return refuse(e, "a run that is no whole pages", address);
	region = memory_find(p->memory, gpa(address), pages << GUEST_PAGE_SHIFT);
	if (!region)
		return refuse(e, "a run outside of the machine's memory", address);
	first = (address - region->base.value) >> GUEST_PAGE_SHIFT;
	for (uint64_t i = 0; i < pages; i++)
		place_page(p, (unsigned)(region - p->memory->regions), first + i,
			   data ? data + (i << GUEST_PAGE_SHIFT) : NULL);
	return 0;
}

int pages_receive(const struct stream_frame *frame, struct memory *memory, struct pages_set *filled,
		  struct pages_set *named, struct pages_counts *counts, struct error *e)
{
	const struct placing placing = {memory, filled, named, counts};
	const uint8_t *data, *end = frame->bytes + frame->length;
	le32_t head[2];
	uint32_t runs;

	if (frame->length < sizeof head)
		return refuse(e, "a frame too short", frame->length);
	memcpy(head, frame->bytes, sizeof head);
	runs = le32_get(head[0]);
	if (runs == 0 || runs > PAGES_RUNS || le32_get(head[1]) != 0 || frame->length < HEAD_BYTES(runs))
		return refuse(e, "a wrong number of runs", runs);
	data = frame->bytes + HEAD_BYTES(runs);
	for (uint32_t i = 0; i < runs; i++) {
		struct pages_run run;
		uint64_t bytes;
		int r;

		memcpy(&run, frame->bytes + HEAD_BYTES(i), sizeof run);
		if (le32_get(run.kind) > PAGES_ZERO)
			return refuse(e, "a run of an unknown kind", le32_get(run.kind));
		bytes = le32_get(run.kind) == PAGES_DATA ? (uint64_t)le32_get(run.pages) << GUEST_PAGE_SHIFT : 0;
		if (bytes > (uint64_t)(end - data))
			return refuse(e, "less bytes than its runs have", frame->length);
		r = place_run(&placing, &run, bytes ? data : NULL, e);
		if (r < 0)
			return r;
		data += bytes;
	}
	return data == end ? 0 : refuse(e, "more bytes than its runs have", frame->length);
}
