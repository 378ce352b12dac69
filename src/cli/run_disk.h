/*
 * Disks in the options of `doppel run`: --disk FILE[,ro][,overlay[=FILE]][,format=raw|qcow2]... (run_forms.h).
 */
#ifndef DOPPEL_CLI_RUN_DISK_H
#define DOPPEL_CLI_RUN_DISK_H

#include "block/block.h"
#include "config/form.h"

/* `values` by enum disk_part; *out points to their texts. */
void run_disk_options(const struct option_value *values, struct block_options *out);

#endif
