#include "riscv/pmp.h"

enum { CFG_A = 3 << 3, CFG_LOCK = 1 << 7, CFG_WRITABLE = 0x9f };
enum { MATCH_OFF, MATCH_TOR, MATCH_NA4, MATCH_NAPOT };

/* pmpaddr holds bits 55:2 of an address. */
#define ADDRESS_MASK ((UINT64_C(1) << 54) - 1)

/* First and last byte of an entry's range; false when it matches nothing. */
static bool range_of(const struct hart *hart, unsigned entry, uint64_t *first, uint64_t *last)
{
	uint64_t address = hart->pmpaddr[entry];
	uint64_t below = entry ? hart->pmpaddr[entry - 1] : 0;
	uint64_t trailing;

	switch ((hart->pmpcfg[entry] & CFG_A) >> 3) {
	case MATCH_TOR:
		*first = below << 2;
		*last = (address << 2) - 1;
		return below < address;
	case MATCH_NA4:
		*first = address << 2;
		*last = *first + 3;
		return true;
	case MATCH_NAPOT:
		/* k trailing ones: a range of 2^(k + 3) bytes. */
		trailing = address ^ (address + 1);
		*first = (address & ~trailing) << 2;
		*last = *first | (trailing << 2) | 3;
		return true;
	default:
		return false;
	}
}

static unsigned entry_permissions(const struct hart *hart, unsigned entry, unsigned priv)
{
	uint8_t cfg = hart->pmpcfg[entry];

	return priv == PRIV_M && !(cfg & CFG_LOCK) ? (unsigned)PMP_ALL : cfg & (unsigned)PMP_ALL;
}

unsigned pmp_permissions(const struct hart *hart, uint64_t address, uint64_t size, unsigned priv)
{
	uint64_t end = address + size - 1;
	uint64_t first, last;

	if (!hart->pmp_active)
		return PMP_ALL;
	for (unsigned entry = 0; entry < RISCV_PMP_ENTRIES; entry++) {
		if (!range_of(hart, entry, &first, &last) || end < first || address > last)
			continue;
		if (address < first || end > last)
			return 0;
		return entry_permissions(hart, entry, priv);
	}
	return priv == PRIV_M ? PMP_ALL : 0;
}

bool pmp_page(const struct hart *hart, uint64_t page, unsigned priv, unsigned *permissions)
{
	uint64_t end = page + GUEST_PAGE_SIZE - 1;
	uint64_t first, last;

	if (hart->pmp_active) {
		for (unsigned entry = 0; entry < RISCV_PMP_ENTRIES; entry++) {
			if (!range_of(hart, entry, &first, &last) || end < first || page > last)
				continue;
			if (page < first || end > last)
				return false;
			break;
		}
	}
	*permissions = pmp_permissions(hart, page, GUEST_PAGE_SIZE, priv);
	return true;
}

/* Inactive means: every access in every mode is allowed. True with no entry set in M-mode only, hence the
 * question is whether the first entry opens everything and no mode is restricted by it. */
void pmp_update(struct hart *hart)
{
	uint64_t first, last;
	bool open = range_of(hart, 0, &first, &last) && first == 0 && last >= (UINT64_C(1) << 56) - 1 &&
		    (hart->pmpcfg[0] & PMP_ALL) == PMP_ALL;

	hart->pmp_active = !open;
}

static void changed(struct hart *hart)
{
	pmp_update(hart);
	hart->engine->flush_tlb(hart, false, gva(0), false, 0);
}

uint64_t pmp_read_cfg(const struct hart *hart, unsigned index)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < 8 && index * 4 + i < RISCV_PMP_ENTRIES; i++)
		value |= (uint64_t)hart->pmpcfg[index * 4 + i] << (8 * i);
	return value;
}

/* W without R is reserved: read as neither (Privileged 3.7.1). */
static uint8_t legal_cfg(uint8_t cfg)
{
	cfg &= CFG_WRITABLE;
	return (cfg & (PMP_READ | PMP_WRITE)) == PMP_WRITE ? cfg & (uint8_t)~PMP_WRITE : cfg;
}

void pmp_write_cfg(struct hart *hart, unsigned index, uint64_t value)
{
	for (unsigned i = 0; i < 8 && index * 4 + i < RISCV_PMP_ENTRIES; i++) {
		uint8_t *cfg = &hart->pmpcfg[index * 4 + i];

		if (!(*cfg & CFG_LOCK))
			*cfg = legal_cfg((uint8_t)(value >> (8 * i)));
	}
	changed(hart);
}

uint64_t pmp_read_address(const struct hart *hart, unsigned index)
{
	return index < RISCV_PMP_ENTRIES ? hart->pmpaddr[index] : 0;
}

/* An address is locked by its own entry, and by the next one when that is a locked TOR, whose bottom it is. */
static bool address_locked(const struct hart *hart, unsigned index)
{
	uint8_t next = index + 1 < RISCV_PMP_ENTRIES ? hart->pmpcfg[index + 1] : 0;

	return (hart->pmpcfg[index] & CFG_LOCK) ||
	       ((next & CFG_LOCK) && (next & CFG_A) >> 3 == MATCH_TOR);
}

void pmp_write_address(struct hart *hart, unsigned index, uint64_t value)
{
	if (index >= RISCV_PMP_ENTRIES || address_locked(hart, index))
		return;
	hart->pmpaddr[index] = value & ADDRESS_MASK;
	changed(hart);
}
