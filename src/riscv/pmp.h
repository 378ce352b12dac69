/*
 * Physical memory protection (Privileged 3.7): sixteen entries, granularity four bytes.
 *
 * Thread: the hart's own.
 */
#ifndef DOPPEL_RISCV_PMP_H
#define DOPPEL_RISCV_PMP_H

#include "riscv/hart.h"

enum pmp_permission { PMP_READ = 1, PMP_WRITE = 2, PMP_EXECUTE = 4, PMP_ALL = 7 };

/* Permissions that hold for each byte of [address, address + size) in privilege `priv`. An access that an entry
 * matches only in part has none (Privileged 3.7.1). size is at least 1. */
unsigned pmp_permissions(const struct hart *hart, uint64_t address, uint64_t size, unsigned priv);

/* Whether all bytes of the naturally aligned 4 KiB page have the same permissions in `priv`, which are then in
 * *permissions: only then may a TLB keep them. */
bool pmp_page(const struct hart *hart, uint64_t page, unsigned priv, unsigned *permissions);

/* Recomputes hart->pmp_active. */
void pmp_update(struct hart *hart);

uint64_t pmp_read_cfg(const struct hart *hart, unsigned index);
void pmp_write_cfg(struct hart *hart, unsigned index, uint64_t value);
uint64_t pmp_read_address(const struct hart *hart, unsigned index);
void pmp_write_address(struct hart *hart, unsigned index, uint64_t value);

#endif
