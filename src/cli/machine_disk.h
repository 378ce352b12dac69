/*
 * The disk that a machine with a name has for its own, when it is saved: what it was becomes a layer, which nobody writes any
 * more, under a new overlay.
 *
 *   FOLDER/disk.raw or disk.qcow2   what the machine writes
 *   FOLDER/disk-0123abcd.raw ...    layers; each file names the one below it, in the same folder
 *
 * Whenever this process or the host dies amid it, the folder has a disk that is whole: an overlay is empty until the machine
 * writes to it, so it takes the disk's name before.
 *
 * Thread: the main one; the machine's lock is held, or its monitor is asked.
 */
#ifndef DOPPEL_CLI_MACHINE_DISK_H
#define DOPPEL_CLI_MACHINE_DISK_H

#include <limits.h>

#include "base/error.h"
#include "base/types.h"
#include "block/block.h"

#define MACHINE_LAYER_SIZE 32

/* The folder's disk becomes a layer, whose name is told. 0 and *layer "": there is no disk. `path`: of the overlay.
 * -ELOOP: it has as many layers as can be. */
MUST_USE int machine_disk_freeze(const char *folder, char layer[MACHINE_LAYER_SIZE], char path[PATH_MAX], struct error *e);
/* The disk is as the layer again: an empty overlay over it takes the place of what there is. */
MUST_USE int machine_disk_return(const char *folder, const char *layer, struct error *e);
/* A disk of many layers becomes one image, which needs none of them: 1; 0: it has few, and stays as it is, as on failure.
 * A bar on standard error tells how far it is. */
MUST_USE int machine_disk_join(const char *folder, struct error *e);
/* The layer, and all below, in another folder: the same files, by links. -EXDEV where that can not be. */
MUST_USE int machine_disk_link(const char *folder, const char *layer, const char *to, struct error *e);
/* Of a disk or a layer, as its name tells. */
enum block_format machine_disk_format(const char *file);
/* Whether a file's name is a layer's. */
bool machine_disk_is_layer(const char *file);
/* Removes layers under which there is neither the disk nor one of `keep` (a list that ends with NULL). */
void machine_disk_sweep(const char *folder, const char *const *keep);

#endif
