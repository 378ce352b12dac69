/*
 * The option --arch: the architecture of a guest.
 *
 * Thread: any.
 */
#ifndef DOPPEL_CLI_ARCH_H
#define DOPPEL_CLI_ARCH_H

#include "config/option.h"
#include "engine/engine.h"

/* The words of the option, in the order of enum engine_arch; NULL after the last. */
const char *arch_word(size_t index);

/* The row of a table of options. */
#define OPTION_ARCH_ROW(what) \
	{.name = "arch", .type = OPTION_ENUM, .placeholder = "ARCH", .word = arch_word, .help = (what)}

#endif
