/*
 * Names of a guest's functions: of an ELF file with a symbol table (vmlinux, or any program), or of lines "address type name"
 * (System.map, /proc/kallsyms).
 *
 * The file may be anything: it is read with limits, and every offset in it is checked. Thread: any.
 */
#ifndef DOPPEL_CLI_SYMBOLS_H
#define DOPPEL_CLI_SYMBOLS_H

#include "base/error.h"
#include "base/types.h"

struct symbol {
	uint64_t address;
	uint64_t size; /* bytes; 0: not known, to the next one */
	const char *name;
};

struct symbols;

/* ERROR_USAGE for a file without any symbol of code. */
MUST_USE int symbols_read(struct symbols **out, const char *path, struct error *e);
/* Accepts NULL. */
void symbols_free(struct symbols *symbols);
/* The function that [address, address + length) begins in or reaches into, or NULL; also of symbols NULL. */
const struct symbol *symbols_find(const struct symbols *symbols, uint64_t address, uint64_t length);

#endif
