/*
 * Memory accesses one at a time, complete and slow: what an engine falls back to.
 */
#include "riscv/mmu.h"

#include <string.h>

#include "riscv/decode.h"

static enum riscv_cause access_fault(enum mmu_access access)
{
	return access == MMU_STORE ? CAUSE_STORE_ACCESS : access == MMU_LOAD ? CAUSE_LOAD_ACCESS
									     : CAUSE_FETCH_ACCESS;
}

static unsigned bytes_left_in_page(gva_t address)
{
	return (unsigned)(GUEST_PAGE_SIZE - (address.value & (GUEST_PAGE_SIZE - 1)));
}

static gpa_t within(const struct mmu_page *page, gva_t address)
{
	return gpa_add(page->base, address.value & (GUEST_PAGE_SIZE - 1));
}

/* RAM accesses that are naturally aligned happen at once, as the memory model asks; others byte by byte. */
static uint64_t ram_load(const void *host, unsigned size)
{
	uint64_t value = 0;

	switch (((uintptr_t)host & (size - 1)) == 0 ? size : 0) {
	case 1:
		return __atomic_load_n((const uint8_t *)host, __ATOMIC_RELAXED);
	case 2:
		return le16toh(__atomic_load_n((const uint16_t *)host, __ATOMIC_RELAXED));
	case 4:
		return le32toh(__atomic_load_n((const uint32_t *)host, __ATOMIC_RELAXED));
	case 8:
		return le64toh(__atomic_load_n((const uint64_t *)host, __ATOMIC_RELAXED));
	default:
		memcpy(&value, host, size);
		return le64toh(value);
	}
}

static void ram_store(void *host, unsigned size, uint64_t value)
{
	uint64_t bytes = htole64(value);

	switch (((uintptr_t)host & (size - 1)) == 0 ? size : 0) {
	case 1:
		__atomic_store_n((uint8_t *)host, (uint8_t)value, __ATOMIC_RELAXED);
		break;
	case 2:
		__atomic_store_n((uint16_t *)host, htole16((uint16_t)value), __ATOMIC_RELAXED);
		break;
	case 4:
		__atomic_store_n((uint32_t *)host, htole32((uint32_t)value), __ATOMIC_RELAXED);
		break;
	case 8:
		__atomic_store_n((uint64_t *)host, bytes, __ATOMIC_RELAXED);
		break;
	default:
		memcpy(host, &bytes, size);
	}
}

static enum riscv_cause load_part(struct hart *hart, gpa_t address, unsigned size, uint64_t *value)
{
	const void *host = memory_host(hart->cluster->memory, address, size);

	if (host) {
		*value = ram_load(host, size);
		return CAUSE_NONE;
	}
	return bus_read(hart->cluster->bus, address, size, value) ? CAUSE_LOAD_ACCESS : CAUSE_NONE;
}

static enum riscv_cause store_part(struct hart *hart, gpa_t address, unsigned size, uint64_t value)
{
	void *host = memory_host(hart->cluster->memory, address, size);

	if (host) {
		ram_store(host, size, value);
		memory_mark_dirty(hart->cluster->memory, address, size);
		return CAUSE_NONE;
	}
	return bus_write(hart->cluster->bus, address, size, value) ? CAUSE_STORE_ACCESS : CAUSE_NONE;
}

/* Translates the two pages of an access that crosses from one into the next, and demands RAM for both. */
static enum riscv_cause split(struct hart *hart, gva_t address, unsigned size, enum mmu_access access,
			      void *host[2], gpa_t physical[2], uint64_t *tval)
{
	unsigned priv = mmu_data_privilege(hart), first = bytes_left_in_page(address);
	gva_t part[2] = {address, gva_add(address, first)};
	unsigned length[2] = {first, size - first};

	for (unsigned i = 0; i < 2; i++) {
		struct mmu_page page;
		enum riscv_cause cause = mmu_translate(hart, part[i], length[i], access, priv, &page);

		*tval = part[i].value;
		if (cause != CAUSE_NONE)
			return cause;
		physical[i] = within(&page, part[i]);
		host[i] = memory_host(hart->cluster->memory, physical[i], length[i]);
		if (!host[i])
			return access_fault(access);
	}
	return CAUSE_NONE;
}

static enum riscv_cause load_across(struct hart *hart, gva_t address, unsigned size, uint64_t *value,
				    uint64_t *tval)
{
	unsigned first = bytes_left_in_page(address);
	uint64_t bytes = 0;
	gpa_t physical[2];
	void *host[2];
	enum riscv_cause cause = split(hart, address, size, MMU_LOAD, host, physical, tval);

	if (cause != CAUSE_NONE)
		return cause;
	memcpy(&bytes, host[0], first);
	memcpy((char *)&bytes + first, host[1], size - first);
	*value = le64toh(bytes);
	return CAUSE_NONE;
}

static enum riscv_cause store_across(struct hart *hart, gva_t address, unsigned size, uint64_t value,
				     uint64_t *tval)
{
	unsigned first = bytes_left_in_page(address);
	uint64_t bytes = htole64(value);
	gpa_t physical[2];
	void *host[2];
	enum riscv_cause cause = split(hart, address, size, MMU_STORE, host, physical, tval);

	if (cause != CAUSE_NONE)
		return cause;
	memcpy(host[0], &bytes, first);
	memcpy(host[1], (char *)&bytes + first, size - first);
	memory_mark_dirty(hart->cluster->memory, physical[0], first);
	memory_mark_dirty(hart->cluster->memory, physical[1], size - first);
	return CAUSE_NONE;
}

enum riscv_cause hart_load(struct hart *hart, gva_t address, unsigned size, uint64_t *value, uint64_t *tval)
{
	struct mmu_page page;
	enum riscv_cause cause;

	if (bytes_left_in_page(address) < size)
		return load_across(hart, address, size, value, tval);
	*tval = address.value;
	cause = mmu_translate(hart, address, size, MMU_LOAD, mmu_data_privilege(hart), &page);
	return cause == CAUSE_NONE ? load_part(hart, within(&page, address), size, value) : cause;
}

enum riscv_cause hart_store(struct hart *hart, gva_t address, unsigned size, uint64_t value, uint64_t *tval)
{
	struct mmu_page page;
	enum riscv_cause cause;

	if (bytes_left_in_page(address) < size)
		return store_across(hart, address, size, value, tval);
	*tval = address.value;
	cause = mmu_translate(hart, address, size, MMU_STORE, mmu_data_privilege(hart), &page);
	return cause == CAUSE_NONE ? store_part(hart, within(&page, address), size, value) : cause;
}

enum riscv_cause hart_atomic_pointer(struct hart *hart, gva_t address, unsigned size, enum mmu_access access,
				     void **host, gpa_t *physical)
{
	struct mmu_page page;
	enum riscv_cause cause;

	if (address.value & (size - 1))
		return access == MMU_STORE ? CAUSE_STORE_MISALIGNED : CAUSE_LOAD_MISALIGNED;
	cause = mmu_translate(hart, address, size, access, mmu_data_privilege(hart), &page);
	if (cause != CAUSE_NONE)
		return cause;
	*physical = within(&page, address);
	*host = memory_host(hart->cluster->memory, *physical, size);
	if (!*host)
		return access_fault(access);
	if (access == MMU_STORE)
		memory_mark_dirty(hart->cluster->memory, *physical, size);
	return CAUSE_NONE;
}

static enum riscv_cause fetch_half(struct hart *hart, gva_t pc, uint16_t *half)
{
	struct mmu_page page;
	enum riscv_cause cause = mmu_translate(hart, pc, 2, MMU_FETCH, hart->priv, &page);
	const void *host;

	if (cause != CAUSE_NONE)
		return cause;
	/* Code runs from RAM only: a device never answers a fetch. */
	host = memory_host(hart->cluster->memory, within(&page, pc), 2);
	if (!host)
		return CAUSE_FETCH_ACCESS;
	*half = (uint16_t)ram_load(host, 2);
	return CAUSE_NONE;
}

enum riscv_cause hart_fetch(struct hart *hart, gva_t pc, uint32_t *word, uint64_t *tval)
{
	uint16_t low, high = 0;
	enum riscv_cause cause;

	*tval = pc.value;
	cause = fetch_half(hart, pc, &low);
	if (cause == CAUSE_NONE && insn_length(low) == 4) {
		*tval = gva_add(pc, 2).value;
		cause = fetch_half(hart, gva_add(pc, 2), &high);
	}
	if (cause == CAUSE_NONE)
		*word = (uint32_t)high << 16 | low;
	return cause;
}
