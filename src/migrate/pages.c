#include "migrate/pages.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/zeros.h"
#include "memory/absent.h"

#define HEAD_BYTES(runs) (8 + (size_t)(runs) * sizeof(struct pages_run))

/* How often a sender looks whether it shall go on, in words of 64 pages. */
#define LOOK_WORDS 16
/* Pages in a row that come together when one of them is waited for. */
#define NEIGHBOURS UINT64_C(16)
/* Of a set in one frame. */
#define MISSING_WORDS ((size_t)(STREAM_TEXT_MAX / sizeof(uint64_t)))

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
			count += (uint64_t)__builtin_popcountll(__atomic_load_n(&set->bits[i][w], __ATOMIC_RELAXED));
	return count;
}

/* Others may be at other pages of the same word. */
static void add(uint64_t *bits, uint64_t page)
{
	(void)__atomic_fetch_or(&bits[page / 64], UINT64_C(1) << (page % 64), __ATOMIC_SEQ_CST);
}

/* Whether it was among them. */
static bool take(uint64_t *bits, uint64_t page)
{
	uint64_t bit = UINT64_C(1) << (page % 64);

	return __atomic_fetch_and(&bits[page / 64], ~bit, __ATOMIC_SEQ_CST) & bit;
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

static int send_frame(struct pages_sender *sender, enum stream_kind kind, const struct iovec *parts, unsigned count,
		      struct error *e)
{
	size_t bytes = 0;
	int r = 0;

	for (unsigned i = 0; i < count; i++)
		bytes += parts[i].iov_len;
	if (sender->pace)
		r = sender->pace(sender->opaque, bytes, e);
	return r < 0 ? r : stream_send(sender->stream, kind, parts, count, e);
}

/* Compressed, if that is worth it. */
static int send_packed(struct pages_sender *sender, const struct iovec *parts, unsigned count, struct error *e)
{
	size_t whole = parts[0].iov_len + parts[1].iov_len;
	uint64_t began = clock_host_ns(), packed;
	struct iovec small = {.iov_len = 0};
	const uint8_t *bytes = NULL;
	int r;

	if (packer_shall(sender->packer))
		small.iov_len = packer_pack(sender->packer, parts, count, &bytes);
	small.iov_base = (void *)bytes;
	packed = clock_host_ns();
	r = small.iov_len ? send_frame(sender, STREAM_PACKED, &small, 1, e)
			  : send_frame(sender, STREAM_PAGES, parts, count, e);
	packer_weigh(sender->packer, whole, small.iov_len ? small.iov_len : whole, bytes ? packed - began : 0,
		     clock_host_ns() - packed);
	return r;
}

static int flush(struct pages_sender *sender, struct error *e)
{
	const struct iovec parts[] = {{&sender->head, HEAD_BYTES(sender->runs)},
				      {sender->data, sender->data_pages * GUEST_PAGE_SIZE}};
	int r;

	if (sender->runs == 0)
		return 0;
	sender->head.runs = le32_put(sender->runs);
	sender->head.reserved = le32_put(0);
	if (sender->packer && sender->data_pages)
		r = send_packed(sender, parts, ARRAY_SIZE(parts), e);
	else
		r = send_frame(sender, STREAM_PAGES, parts, ARRAY_SIZE(parts), e);
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
	enum pages_kind kind = zeros_only(bytes, GUEST_PAGE_SIZE) ? PAGES_ZERO : PAGES_DATA;
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

static int send_region(struct pages_sender *sender, struct pages_set *set, unsigned index, struct error *e)
{
	const struct memory_region *region = &set->memory->regions[index];
	uint64_t *bits = set->bits[index];
	int r = 0;

	for (uint64_t w = 0; r == 0 && w < memory_dirty_words(region); w++) {
		if (w % LOOK_WORDS == 0 && sender->enough && sender->enough(sender->opaque))
			break;
		if (__atomic_load_n(&bits[w], __ATOMIC_RELAXED))
			r = send_word(sender, region, w, __atomic_exchange_n(&bits[w], 0, __ATOMIC_SEQ_CST), e);
	}
	return r;
}

int pages_send(struct pages_sender *sender, struct pages_set *set, struct error *e)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < set->memory->count; i++)
		r = send_region(sender, set, i, e);
	return r < 0 ? r : flush(sender, e);
}

int pages_send_wanted(struct pages_sender *sender, struct pages_set *set, uint64_t address, struct error *e)
{
	const struct memory_region *region = memory_find(set->memory, gpa(address), GUEST_PAGE_SIZE);
	uint64_t page, first, end;
	uint64_t *bits;
	int r;

	if (!region || address % GUEST_PAGE_SIZE)
		return error_set(e, ERROR_FAILED, -EFAULT, "the other side wants a page that is none (0x%llx)",
				 (unsigned long long)address);
	bits = set->bits[region - set->memory->regions];
	page = (address - region->base.value) >> GUEST_PAGE_SHIFT;
	first = page / NEIGHBOURS * NEIGHBOURS;
	end = region->size >> GUEST_PAGE_SHIFT;
	end = first + NEIGHBOURS < end ? first + NEIGHBOURS : end;
	/* Also when it was sent: it may lie behind much else. */
	(void)take(bits, page);
	r = put_page(sender, region, page, e);
	if (r == 0)
		r = flush(sender, e);
	for (uint64_t p = first; r == 0 && p < end; p++)
		if (pages_has(bits, p) && take(bits, p))
			r = put_page(sender, region, p, e);
	return r < 0 ? r : flush(sender, e);
}

/* ---- The destination ---- */

static int refuse(struct error *e, const char *what, unsigned long long value)
{
	return error_set(e, ERROR_FAILED, -EPROTO, "pages of memory came wrong: %s (%llu)", what, value);
}

int pages_target_init(struct pages_target *target, struct memory *memory, struct error *e)
{
	int r;

	*target = (struct pages_target){.memory = memory, .absent = -1};
	r = pages_set_init(&target->filled, memory, e);
	if (r == 0)
		r = pages_set_init(&target->named, memory, e);
	if (r == 0)
		r = pages_set_init(&target->lacking, memory, e);
	return r < 0 ? r : pages_set_init(&target->wanted, memory, e);
}

void pages_target_finish(struct pages_target *target)
{
	pages_set_finish(&target->filled);
	pages_set_finish(&target->named);
	pages_set_finish(&target->lacking);
	pages_set_finish(&target->wanted);
}

/* The machine runs: what is there is newer. Zeros are put only where somebody waits; nothing reads as zeros, too. */
static int fill_page(const struct pages_target *t, unsigned index, uint64_t page, const uint8_t *data)
{
	uint8_t *host = t->memory->regions[index].host + (page << GUEST_PAGE_SHIFT);
	int r = 0;

	if (!pages_has(t->lacking.bits[index], page))
		return 0;
	if (data)
		r = absent_put(t->absent, host, data, 1);
	(void)take(t->lacking.bits[index], page);
	if (!data && pages_has(t->wanted.bits[index], page))
		r = absent_put(t->absent, host, NULL, 1);
	return r;
}

int pages_want(struct pages_target *t, uintptr_t host, uint64_t *address)
{
	const struct memory_region *region;
	unsigned index = 0;
	uint64_t page;

	*address = memory_physical(t->memory, (const void *)host).value & ~(GUEST_PAGE_SIZE - 1);
	region = memory_find(t->memory, gpa(*address), GUEST_PAGE_SIZE);
	index = (unsigned)(region - t->memory->regions);
	page = (*address - region->base.value) >> GUEST_PAGE_SHIFT;
	/* Before the look whether it is there: whoever puts zeros looks the other way round. */
	add(t->wanted.bits[index], page);
	if (pages_has(t->lacking.bits[index], page))
		return 1;
	return absent_put(t->absent, region->host + (page << GUEST_PAGE_SHIFT), NULL, 1);
}

static void place_page(struct pages_target *t, unsigned index, uint64_t page, const uint8_t *data)
{
	uint8_t *host = t->memory->regions[index].host + (page << GUEST_PAGE_SHIFT);

	add(t->named.bits[index], page);
	if (data) {
		memcpy(host, data, GUEST_PAGE_SIZE);
		add(t->filled.bits[index], page);
		return;
	}
	if (pages_has(t->filled.bits[index], page))
		memset(host, 0, GUEST_PAGE_SIZE);
}

static int put_run(struct pages_target *t, unsigned index, uint64_t first, uint64_t pages, const uint8_t *data)
{
	int r = 0;

	for (uint64_t i = 0; r == 0 && i < pages; i++) {
		const uint8_t *bytes = data ? data + (i << GUEST_PAGE_SHIFT) : NULL;

		if (t->absent >= 0)
			r = fill_page(t, index, first + i, bytes);
		else
			place_page(t, index, first + i, bytes);
	}
	return r;
}

/* `data`: what is left of the frame; NULL for zeros. */
static int place_run(struct pages_target *target, const struct pages_run *run, const uint8_t *data,
		     struct pages_counts *counts, struct error *e)
{
	uint64_t address = le64_get(run->address), pages = le32_get(run->pages);
	const struct memory_region *region;
	int r;

	if (address % GUEST_PAGE_SIZE || pages == 0)
		return refuse(e, "a run that is no whole pages", address);
	region = memory_find(target->memory, gpa(address), pages << GUEST_PAGE_SHIFT);
	if (!region)
		return refuse(e, "a run outside of the machine's memory", address);
	r = put_run(target, (unsigned)(region - target->memory->regions), (address - region->base.value) >> GUEST_PAGE_SHIFT,
		    pages, data);
	if (r < 0)
		return error_errno(e, r, "putting pages of memory in place");
	if (data)
		counts->data += pages;
	else
		counts->zero += pages;
	return 0;
}

int pages_receive(const struct stream_frame *frame, struct pages_target *target, struct pages_counts *counts,
		  struct error *e)
{
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
		r = place_run(target, &run, bytes ? data : NULL, counts, e);
		if (r < 0)
			return r;
		data += bytes;
	}
	return data == end ? 0 : refuse(e, "more bytes than its runs have", frame->length);
}

/* ---- What is missing ---- */

static int send_missing(struct stream *stream, const struct pages_set *set, unsigned index, uint64_t first, uint64_t words,
			struct error *e)
{
	const le64_t address = le64_put(set->memory->regions[index].base.value + (first << GUEST_PAGE_SHIFT) * 64);
	const struct iovec parts[] = {{(void *)&address, sizeof address}, {&set->bits[index][first], words * sizeof(uint64_t)}};

	return stream_send(stream, STREAM_MISSING, parts, ARRAY_SIZE(parts), e);
}

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "words of a set are sent as they lie in memory");

/* Stretches of words with no page are left out. */
int pages_send_missing(struct stream *stream, const struct pages_set *set, struct error *e)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < set->memory->count; i++) {
		uint64_t words = memory_dirty_words(&set->memory->regions[i]);

		for (uint64_t w = 0; r == 0 && w < words;) {
			uint64_t end = w;

			while (end < words && end - w < MISSING_WORDS && set->bits[i][end])
				end++;
			if (end > w)
				r = send_missing(stream, set, i, w, end - w, e);
			w = end > w ? end : w + 1;
		}
	}
	return r;
}

int pages_receive_missing(const struct stream_frame *frame, struct pages_set *set, struct error *e)
{
	uint64_t words = frame->length / sizeof(uint64_t) - 1, first, rest;
	const struct memory_region *region;
	unsigned index;
	le64_t word;

	if (frame->length % sizeof word || frame->length < 2 * sizeof word)
		return refuse(e, "missing pages in no whole words", frame->length);
	memcpy(&word, frame->bytes, sizeof word);
	region = memory_find(set->memory, gpa(le64_get(word)), GUEST_PAGE_SIZE);
	if (!region || (le64_get(word) - region->base.value) % (64 * GUEST_PAGE_SIZE))
		return refuse(e, "missing pages outside of the machine's memory", le64_get(word));
	index = (unsigned)(region - set->memory->regions);
	first = (le64_get(word) - region->base.value) / (64 * GUEST_PAGE_SIZE);
	if (words > memory_dirty_words(region) - first)
		return refuse(e, "missing pages outside of the machine's memory", words);
	rest = (region->size >> GUEST_PAGE_SHIFT) % 64;
	for (uint64_t i = 0; i < words; i++) {
		memcpy(&word, frame->bytes + (i + 1) * sizeof word, sizeof word);
		if (rest && first + i == memory_dirty_words(region) - 1 && le64_get(word) >> rest)
			return refuse(e, "missing pages beyond the machine's memory", le64_get(word));
		set->bits[index][first + i] |= le64_get(word);
	}
	return 0;
}
