#include "snapshot/format.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <xxhash.h>

#include "base/checked.h"
#include "base/zeros.h"
#include "snapshot/marks.h"

static const uint8_t magic[8] = {'D', 'O', 'P', 'L', 'S', 'N', 'A', 'P'};

struct wire_section {
	le32_t kind, zero;
	le64_t offset, length, checksum;
};

struct wire_header {
	uint8_t magic[8];
	le32_t version, flags;
	uint8_t id[SNAPSHOT_ID_BYTES], parent[SNAPSHOT_ID_BYTES];
	le64_t created_ns, length, pages;
	le32_t region_count, section_count;
	struct {
		le64_t base, size;
	} regions[MEMORY_REGIONS_MAX];
	struct wire_section sections[SNAPSHOT_SECTIONS];
	uint8_t zero[SNAPSHOT_HEADER - 720 - 8];
	le64_t checksum; /* XXH64 of all before */
};
_Static_assert(sizeof(struct wire_header) == SNAPSHOT_HEADER, "header as in docs/internals/snapshot.md");
_Static_assert(MEMORY_REGIONS_MAX == 8, "as the format has it");

void snapshot_header_put(const struct snapshot_header *header, uint8_t out[SNAPSHOT_HEADER])
{
	struct wire_header wire = {
		.version = le32_put(SNAPSHOT_VERSION),
		.flags = le32_put(header->flags),
		.created_ns = le64_put(header->created_ns),
		.length = le64_put(header->length),
		.pages = le64_put(header->pages),
		.region_count = le32_put(header->region_count),
		.section_count = le32_put(header->section_count),
	};

	memcpy(wire.magic, magic, sizeof magic);
	memcpy(wire.id, header->id, sizeof wire.id);
	memcpy(wire.parent, header->parent, sizeof wire.parent);
	for (unsigned i = 0; i < header->region_count; i++) {
		wire.regions[i].base = le64_put(header->regions[i].base);
		wire.regions[i].size = le64_put(header->regions[i].size);
	}
	for (unsigned i = 0; i < header->section_count; i++)
		wire.sections[i] = (struct wire_section){
			.kind = le32_put(header->sections[i].kind),
			.offset = le64_put(header->sections[i].offset),
			.length = le64_put(header->sections[i].length),
			.checksum = le64_put(header->sections[i].checksum),
		};
	wire.checksum = le64_put(XXH64(&wire, offsetof(struct wire_header, checksum), 0));
	memcpy(out, &wire, sizeof wire);
}

static int refuse(const char *name, const char *why, struct error *e)
{
	return error_set(e, ERROR_FAILED, -EBADMSG, "%s: %s", name, why);
}

static int check_wire(const struct wire_header *wire, uint64_t size, const char *name, struct error *e)
{
	uint32_t version = le32_get(wire->version);

	if (memcmp(wire->magic, magic, sizeof magic) != 0)
		return refuse(name, "this is no snapshot: its first bytes are others", e);
	if (version > SNAPSHOT_VERSION)
		return error_set(e, ERROR_FAILED, -ENOTSUP,
				 "%s: the snapshot has version %" PRIu32 ", this program reads up to %d; use a newer one", name,
				 version, SNAPSHOT_VERSION);
	if (version == 0 || le64_get(wire->checksum) != XXH64(wire, offsetof(struct wire_header, checksum), 0))
		return refuse(name, "the header (bytes 0 to 4095) is damaged: its checksum is wrong", e);
	if (le32_get(wire->flags) & SNAPSHOT_EARLY ? le64_get(wire->length) > size : le64_get(wire->length) != size)
		return error_set(e, ERROR_FAILED, -EBADMSG,
				 "%s: the file has %" PRIu64 " bytes instead of %" PRIu64 "; it was cut or added to", name, size,
				 le64_get(wire->length));
	if (le32_get(wire->region_count) > MEMORY_REGIONS_MAX || le32_get(wire->section_count) > SNAPSHOT_SECTIONS ||
	    le32_get(wire->flags) & ~(uint32_t)(SNAPSHOT_PACKED | SNAPSHOT_BARE | SNAPSHOT_EARLY))
		return refuse(name, "the header names more than there can be", e);
	return 0;
}

/* What has no table of pages tells by RUNS alone what there is, and has all of it itself. */
static int check_flags(const struct snapshot_header *header, const char *name, struct error *e)
{
	if (header->flags & SNAPSHOT_BARE &&
	    (header->flags & SNAPSHOT_PACKED || header->version < 2 || snapshot_has_parent(header)))
		return refuse(name, "the header has flags that do not go together", e);
	if (header->flags & SNAPSHOT_EARLY && !(header->flags & SNAPSHOT_BARE))
		return refuse(name, "the header has flags that do not go together", e);
	return 0;
}

static void take(struct snapshot_header *out, const struct wire_header *wire)
{
	*out = (struct snapshot_header){
		.version = le32_get(wire->version),
		.flags = le32_get(wire->flags),
		.created_ns = le64_get(wire->created_ns),
		.length = le64_get(wire->length),
		.pages = le64_get(wire->pages),
		.region_count = le32_get(wire->region_count),
		.section_count = le32_get(wire->section_count),
	};
	memcpy(out->id, wire->id, sizeof out->id);
	memcpy(out->parent, wire->parent, sizeof out->parent);
	for (unsigned i = 0; i < out->region_count; i++)
		out->regions[i] = (struct snapshot_region){le64_get(wire->regions[i].base),
							   le64_get(wire->regions[i].size)};
	for (unsigned i = 0; i < out->section_count; i++) {
		const struct wire_section *section = &wire->sections[i];

		out->sections[i] = (struct snapshot_section){le32_get(section->kind), le64_get(section->offset),
							     le64_get(section->length), le64_get(section->checksum)};
	}
}

static int check_regions(const struct snapshot_header *header, const char *name, struct error *e)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < header->region_count; i++) {
		const struct snapshot_region *region = &header->regions[i];

		if (region->size == 0 || (region->base | region->size) % GUEST_PAGE_SIZE ||
		    !checked_add(bytes, region->size, &bytes))
			return refuse(name, "the header's regions of memory are none", e);
	}
	if (header->pages != bytes / GUEST_PAGE_SIZE || header->pages > SNAPSHOT_PAGES_MAX)
		return refuse(name, "the header's regions of memory do not have the pages that it counts", e);
	return 0;
}

/* How long a section of that kind may be. */
static bool length_fits(const struct snapshot_header *header, const struct snapshot_section *section)
{
	bool packed = header->flags & SNAPSHOT_PACKED;

	switch (section->kind) {
	case SNAPSHOT_FACTS:
		return section->length <= SNAPSHOT_FACTS_MAX;
	case SNAPSHOT_STATE:
		return section->length <= SNAPSHOT_STATE_MAX;
	case SNAPSHOT_PAGES:
		return !(header->flags & SNAPSHOT_BARE) && section->length == header->pages * sizeof(struct snapshot_page);
	case SNAPSHOT_MEMORY:
		return packed || (section->length == header->pages * GUEST_PAGE_SIZE &&
				  section->offset % GUEST_PAGE_SIZE == 0);
	case SNAPSHOT_CHUNKS:
		return packed && section->length % sizeof(struct snapshot_chunk) == 0 &&
		       section->length / sizeof(struct snapshot_chunk) <= header->pages / SNAPSHOT_CHUNK_PAGES + 1;
	case SNAPSHOT_FILE:
		return packed;
	case SNAPSHOT_RUNS:
		return header->version > 1 && section->length % sizeof(struct snapshot_run) == 0 &&
		       section->length / sizeof(struct snapshot_run) <= header->pages;
	case SNAPSHOT_MARKS:
		return header->flags & SNAPSHOT_EARLY && section->length == marks_size(header) &&
		       section->offset % GUEST_PAGE_SIZE == 0;
	default:
		return false;
	}
}

static int check_sections(const struct snapshot_header *header, const char *name, struct error *e)
{
	unsigned seen = 0, needed = 1u << SNAPSHOT_FACTS | 1u << SNAPSHOT_STATE | 1u << SNAPSHOT_MEMORY;

	if (!(header->flags & SNAPSHOT_BARE))
		needed |= 1u << SNAPSHOT_PAGES;
	if (header->flags & SNAPSHOT_PACKED)
		needed |= 1u << SNAPSHOT_CHUNKS;
	if (header->flags & SNAPSHOT_EARLY)
		needed |= 1u << SNAPSHOT_MARKS;
	else if (header->version > 1)
		needed |= 1u << SNAPSHOT_RUNS;
	for (unsigned i = 0; i < header->section_count; i++) {
		const struct snapshot_section *section = &header->sections[i];

		if (!length_fits(header, section) || !checked_span(section->offset, section->length, header->length))
			return error_set(e, ERROR_FAILED, -EBADMSG,
					 "%s: section %u, of kind %" PRIu32 ", can not have %" PRIu64 " bytes at %" PRIu64, name, i,
					 section->kind, section->length, section->offset);
		if (seen & 1u << section->kind && section->kind != SNAPSHOT_FILE)
			return error_set(e, ERROR_FAILED, -EBADMSG, "%s: section %u, of kind %" PRIu32 ", comes twice", name,
					 i, section->kind);
		seen |= 1u << section->kind;
	}
	if (needed & ~seen)
		return error_set(e, ERROR_FAILED, -EBADMSG, "%s: a section of kind %d is missing", name,
				 __builtin_ctz(needed & ~seen));
	return 0;
}

int snapshot_header_get(struct snapshot_header *out, const uint8_t bytes[SNAPSHOT_HEADER], uint64_t size,
			const char *name, struct error *e)
{
	struct snapshot_header header;
	struct wire_header wire;
	int r;

	memcpy(&wire, bytes, sizeof wire);
	r = check_wire(&wire, size, name, e);
	if (r < 0)
		return r;
	take(&header, &wire);
	r = check_flags(&header, name, e);
	if (r == 0)
		r = check_regions(&header, name, e);
	if (r == 0)
		r = check_sections(&header, name, e);
	if (r == 0)
		*out = header;
	return r;
}

const struct snapshot_section *snapshot_find(const struct snapshot_header *header, enum snapshot_section_kind kind)
{
	for (unsigned i = 0; i < header->section_count; i++)
		if (header->sections[i].kind == (uint32_t)kind)
			return &header->sections[i];
	return NULL;
}

bool snapshot_has_parent(const struct snapshot_header *header)
{
	static const uint8_t none[SNAPSHOT_ID_BYTES];

	return memcmp(header->parent, none, sizeof none) != 0;
}

bool snapshot_hash_page(const uint8_t *page, uint8_t hash[16])
{
	XXH128_canonical_t canonical;

	memset(hash, 0, 16);
	if (zeros_only(page, GUEST_PAGE_SIZE))
		return true;
	XXH128_canonicalFromHash(&canonical, XXH3_128bits(page, GUEST_PAGE_SIZE));
	memcpy(hash, canonical.digest, sizeof canonical.digest);
	return false;
}
