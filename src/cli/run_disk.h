/*
 * The text of `doppel run --disk`:
 *
 *   FILE[,ro][,overlay[=FILE]][,format=raw|qcow2][,backing-anywhere][,direct][,iops=N][,bps=SIZE]
 *
 * A comma that belongs to a file's name is written twice.
 */
#ifndef DOPPEL_CLI_RUN_DISK_H
#define DOPPEL_CLI_RUN_DISK_H

#include "block/block.h"

/* Cuts `text` into pieces, to which the pointers in *out lead: it outlives *out. ERROR_USAGE. */
MUST_USE int run_disk_parse(char *text, struct block_options *out, struct error *e);

#endif
