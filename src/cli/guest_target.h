/*
 * Which guest `exec` and `cp` mean: that of a machine with a name, or of one that was run with --vsock FOLDER.
 *
 * Thread: the main one.
 */
#ifndef DOPPEL_CLI_GUEST_TARGET_H
#define DOPPEL_CLI_GUEST_TARGET_H

#include "config/option.h"
#include "guest/client.h"

/* The options that both have. */
#define GUEST_TARGET_VSOCK_ROW                                                                                       \
	{                                                                                                            \
		.name = "vsock", .letter = 'V', .type = OPTION_PATH, .placeholder = "FOLDER",                        \
		.help = "the machine that was run with this --vsock folder, for one without a name"                  \
	}
#define GUEST_TARGET_TIMEOUT_ROW                                                                                     \
	{                                                                                                            \
		.name = "timeout", .letter = 'T', .type = OPTION_DURATION, .placeholder = "DURATION",                \
		.maximum = UINT64_C(24) * 60 * 60 * 1000, .fallback = "30s",                                         \
		.help = "how long to wait for a guest that is still starting"                                        \
	}

/* Connects; guest_close is due. `name`: as the user wrote it, NULL with `vsock`. */
MUST_USE int guest_target_open(struct wire *wire, const char *name, const struct option_value *vsock,
			       const struct option_value *timeout, struct error *e);

#endif
