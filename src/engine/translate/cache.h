/*
 * The code cache: memory that holds generated code.
 *
 * The same pages are mapped twice, once to be written and once to be executed; no address is ever both. Code is
 * written at a writable address with branches computed for the executable one. Both views cover one memfd, so a
 * byte written through one is seen through the other at once; x86-64 needs no further step before it may run.
 *
 * The executable view lies near the program's own code where the address space allows, so that generated code
 * calls the program's functions directly; correctness does not depend on it.
 *
 * Space is handed out by bumping an offset, anew wherever code_cache_move says. What must happen before that (no vCPU
 * in the code there, no pointer kept into it) is for the caller to arrange.
 *
 * Thread: code_cache_begin to code_cache_end and code_cache_move by one thread at a time, the caller's lock;
 * the conversions and figures by any.
 */
#ifndef DOPPEL_ENGINE_TRANSLATE_CACHE_H
#define DOPPEL_ENGINE_TRANSLATE_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct code_cache;

/* Where each piece of code begins: a multiple of this many bytes. */
#define CODE_CACHE_ALIGNMENT 16u

/* The least and the greatest size; the greatest keeps every branch inside the cache within a rel32. */
#define CODE_CACHE_MIN (UINT64_C(512) << 10)
#define CODE_CACHE_MAX (UINT64_C(1) << 30)

/* A new cache of `size` bytes, rounded up to pages, or NULL: -EINVAL outside the limits, -ENOMEM, or -EACCES
 * or -EPERM with the remedy where the host forbids to execute memory of a file in memory. */
MUST_USE struct code_cache *code_cache_new(uint64_t size, struct error *e);

/* Unmaps both views. NULL is accepted. */
void code_cache_free(struct code_cache *cache);

/* Opens a piece of `room` bytes and gives its two addresses; false when less is left, with nothing changed. No
 * space is taken until code_cache_end. */
MUST_USE bool code_cache_begin(struct code_cache *cache, size_t room, uint8_t **writable,
			       const uint8_t **executable);

/* Takes the first `used` bytes of the piece opened last; 0 takes nothing. */
void code_cache_end(struct code_cache *cache, size_t used);

/* Bytes that code_cache_begin has left. */
size_t code_cache_room(const struct code_cache *cache);

/* Goes on handing out at offset `at`, a multiple of the alignment, up to `end`, whatever was there. */
void code_cache_move(struct code_cache *cache, size_t at, size_t end);

/* Gives the memory from offset `at` on back to the host: what was there reads as zeros. Best effort. */
void code_cache_release(struct code_cache *cache, size_t at);

/* The executable address `offset` bytes from the start, and back; asserts on what lies outside. */
const uint8_t *code_cache_at(const struct code_cache *cache, size_t offset);
size_t code_cache_offset(const struct code_cache *cache, const void *executable);

/* The executable address of a writable one, and back; asserts on an address outside the view. */
const uint8_t *code_cache_exec(const struct code_cache *cache, const uint8_t *writable);
uint8_t *code_cache_write(const struct code_cache *cache, const uint8_t *executable);

/* Whether an executable address lies in the cache: for a signal handler, say. */
bool code_cache_holds(const struct code_cache *cache, const void *executable);

struct code_cache_use {
	uint64_t size;   /* bytes */
	uint64_t used;   /* where the next piece begins: bytes from the start */
	uint64_t pieces; /* taken since code_cache_new */
};

struct code_cache_use code_cache_use(const struct code_cache *cache);

#endif
