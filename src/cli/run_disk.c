#include "cli/run_disk.h"

#include "cli/run_forms.h"

/* By index of the part's words. */
static const enum block_format formats[] = {BLOCK_RAW, BLOCK_QCOW2};

/* 0, which is no limit, for one that is not given. */
static uint64_t limit(const struct option_value *value)
{
	return value->given ? value->number : 0;
}

void run_disk_options(const struct option_value *values, struct block_options *out)
{
	*out = (struct block_options){
		.path = values[DISK_FILE].text,
		.format = values[DISK_FORMAT].given ? formats[values[DISK_FORMAT].number] : BLOCK_FORMAT_AUTO,
		.read_only = values[DISK_READ_ONLY].given,
		.overlay = values[DISK_OVERLAY].given,
		.overlay_path = values[DISK_OVERLAY].text,
		.backing_anywhere = values[DISK_ANYWHERE].given,
		.direct = values[DISK_DIRECT].given,
		.limits = {.bytes_per_second = limit(&values[DISK_BPS]),
			   .operations_per_second = limit(&values[DISK_IOPS]),
			   .burst_seconds = (double)limit(&values[DISK_BURST]) / 1000},
	};
}
