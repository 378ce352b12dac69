/*
 * Locks that keep two programs from using one image in ways that do not go together.
 *
 * They are open file description locks on single bytes of the image's file, the same bytes that QEMU locks: at 100
 * + n for each thing n that is done to the image, at 200 + n for each that nobody else may do meanwhile. So a
 * machine of either program sees the other's use. A file system without locks is no failure: there is none then.
 */
#ifndef DOPPEL_BLOCK_LOCK_H
#define DOPPEL_BLOCK_LOCK_H

#include "block/store.h"

enum lock_use { LOCK_READER, LOCK_WRITER };

/* Held until the store is closed. A use that stands against it may be that of a program that was just killed: up to a
 * second is waited for its end. -EBUSY with ERROR_STATE; what was held before is released then. */
MUST_USE int lock_take(struct store *store, enum lock_use use, struct error *e);

/* As a writer beside the one that has it and is about to give it away: locks of both keep all others out, until
 * one closes. Where nobody else has it, nobody is kept out but by this one. */
MUST_USE int lock_join(struct store *store, struct error *e);

/* Somebody who has the same file open, on this host or another that shares it, can see a mark at `place`: a byte
 * far beyond any file's end. 0 or a negative errno; lock_marked: 1 when somebody else has marked it. */
MUST_USE int lock_mark(struct store *store, uint64_t place, bool on);
MUST_USE int lock_marked(const struct store *store, uint64_t place);

/* A writer writes no more: others may read the image now, as long as nobody writes it. */
void lock_lower(struct store *store);

#endif
