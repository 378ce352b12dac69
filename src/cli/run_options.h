/*
 * The properties of a machine: the options of `doppel run` and `doppel create`, and the keys of a machine's document. What
 * they do to a machine's configuration is plan.h's and run_devices.h's business.
 *
 * A new one is in documents unless its `scope` says otherwise.
 */
#ifndef DOPPEL_CLI_RUN_OPTIONS_H
#define DOPPEL_CLI_RUN_OPTIONS_H

#include "config/option.h"

enum run_option {
	RUN_KERNEL,
	RUN_INITRD,
	RUN_APPEND,
	RUN_FIRMWARE,
	RUN_MEMORY,
	RUN_MEMORY_MAX,
	RUN_HUGEPAGES,
	RUN_CPUS,
	RUN_CPU_QUOTA,
	RUN_VCPU_QUOTA,
	RUN_CPU_WEIGHT,
	RUN_CPU_MAX,
	RUN_IO_WEIGHT,
	RUN_CPUSET,
	RUN_DEDICATED,
	RUN_ARCH,
	RUN_ENGINE,
	RUN_CPU_MODEL,
	RUN_CODE_CACHE,
	RUN_PROFILE,
	RUN_SYMBOLS,
	RUN_NAME,
	RUN_DETACH,
	RUN_CONSOLE,
	RUN_NET,
	RUN_PUBLISH,
	RUN_DISK,
	RUN_SHARE,
	RUN_VSOCK,
	RUN_CHANNEL,
	RUN_RNG,
	RUN_BALLOON,
	RUN_TRANSPORT,
	RUN_VIRTIO_WITHOUT,
	RUN_CONSOLE_DEVICE,
	RUN_TIMEOUT,
	RUN_LOG_LEVEL,
	RUN_KEEP,
	RUN_CLOUD_INIT,
	RUN_SSH_KEY,
	RUN_WALLS,
	RUN_FILE,
	RUN_CHECK,
	RUN_OPTIONS,
};

extern const struct option_spec run_options[RUN_OPTIONS];

#endif
