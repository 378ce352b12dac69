/*
 * How a device writes its node into the guest's device tree (Devicetree Specification 0.4).
 *
 * A thin layer over libfdt's sequential writer: nodes are begun and ended in order, the first failure is
 * kept and later calls do nothing, so a device's describe function needs no error handling.
 * Thread: the owner, while the machine is being built.
 */
#ifndef DOPPEL_DEVICE_DESCRIBE_H
#define DOPPEL_DEVICE_DESCRIBE_H

#include "base/error.h"
#include "base/types.h"

struct fdt_writer {
	void *blob;
	int room;
	int failed;           /* 0 or the first libfdt error, negative */
	uint32_t plic_phandle; /* interrupt parent of wired devices; 0 until the PLIC was described */
	uint32_t next_phandle;
};

/* A fresh tree with its root node begun, in `room` bytes of heap; -ENOMEM. */
MUST_USE int fdt_writer_init(struct fdt_writer *w, int room, struct error *e);
/* Ends the root node; *blob is the caller's to free(), *size its length in bytes. */
MUST_USE int fdt_writer_finish(struct fdt_writer *w, void **blob, size_t *size, struct error *e);
/* Releases an unfinished writer. */
void fdt_writer_discard(struct fdt_writer *w);

void fdt_node(struct fdt_writer *w, const char *format, ...) PRINTF_LIKE(2, 3);
void fdt_end(struct fdt_writer *w);
void fdt_string(struct fdt_writer *w, const char *name, const char *value);
/* Several strings in one property: `values` ends with NULL. */
void fdt_strings(struct fdt_writer *w, const char *name, const char *const *values);
void fdt_empty(struct fdt_writer *w, const char *name);
void fdt_u32(struct fdt_writer *w, const char *name, uint32_t value);
void fdt_u64(struct fdt_writer *w, const char *name, uint64_t value);
void fdt_cells(struct fdt_writer *w, const char *name, const uint32_t *cells, unsigned count);
/* reg with two address and two size cells. */
void fdt_reg(struct fdt_writer *w, gpa_t base, uint64_t size);
void fdt_bytes(struct fdt_writer *w, const char *name, const void *bytes, size_t length);
uint32_t fdt_new_phandle(struct fdt_writer *w);

#endif
