/*
 * How a device writes its node into the guest's device tree (Devicetree Specification 0.4).
 *
 * A thin layer over libfdt's sequential writer: nodes are begun and ended in order, the first failure is
 * kept and later calls do nothing, so a device's describe function needs no error handling. Within a node,
 * properties come before child nodes.
 *
 * A name that libfdt exports (fdt_string, fdt_property_u32) must not be declared here: the program's
 * definition would replace the library's inside the library.
 *
 * Thread: the owner, while the machine is being built.
 */
#ifndef DOPPEL_DEVICE_DESCRIBE_H
#define DOPPEL_DEVICE_DESCRIBE_H

#include "base/error.h"
#include "base/types.h"
#include "riscv/hart.h"

struct fdt_writer {
	void *blob;
	int room;
	int failed;            /* 0 or the first libfdt error, negative */
	int depth;             /* nodes begun and not ended */
	uint32_t plic_phandle; /* interrupt parent of wired devices; 0 until the PLIC was described */
	uint32_t next_phandle; /* from FDT_FIRST_PHANDLE */
};

/* The interrupt controller inside hart i's cpu node ("riscv,cpu-intc") has phandle FDT_HART_PHANDLE(i): the board
 * writes it there, and interrupt controllers refer to it in interrupts-extended. */
#define FDT_HART_PHANDLE(i) (UINT32_C(1) + (uint32_t)(i))
#define FDT_FIRST_PHANDLE   FDT_HART_PHANDLE(RISCV_HARTS_MAX)

/* A fresh tree with its root node begun, in `room` bytes of heap; -ENOMEM. */
MUST_USE int fdt_writer_init(struct fdt_writer *w, int room, struct error *e);
/* Ends the root node; *blob is the caller's to free(), *size its length in bytes. -ENOSPC when `room` was too
 * small, -EINVAL when nodes were not ended or a property was misplaced; the tree is then released. */
MUST_USE int fdt_writer_finish(struct fdt_writer *w, void **blob, size_t *size, struct error *e);
/* Releases an unfinished writer; harmless after finish. */
void fdt_writer_discard(struct fdt_writer *w);

void fdt_node(struct fdt_writer *w, const char *format, ...) PRINTF_LIKE(2, 3);
void fdt_end(struct fdt_writer *w);
void fdt_text(struct fdt_writer *w, const char *name, const char *value);
/* Several strings in one property: `values` ends with NULL. */
void fdt_texts(struct fdt_writer *w, const char *name, const char *const *values);
void fdt_empty(struct fdt_writer *w, const char *name);
void fdt_u32(struct fdt_writer *w, const char *name, uint32_t value);
void fdt_u64(struct fdt_writer *w, const char *name, uint64_t value);
void fdt_cells(struct fdt_writer *w, const char *name, const uint32_t *cells, unsigned count);
/* reg with two address and two size cells. */
void fdt_reg(struct fdt_writer *w, gpa_t base, uint64_t size);
void fdt_bytes(struct fdt_writer *w, const char *name, const void *bytes, size_t length);
/* interrupt-parent and interrupts for `source` of the PLIC; nothing when no PLIC was described yet. */
void fdt_interrupt(struct fdt_writer *w, unsigned source);
uint32_t fdt_new_phandle(struct fdt_writer *w);

#endif
