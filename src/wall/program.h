/*
 * Filters of system calls as programs for the kernel: from a list of rules to classic BPF.
 *
 * The program looks at the architecture, finds the call's number in a binary tree, and at its leaf compares arguments. It is
 * made in microseconds, as a monitor makes one for each kind of its threads at each start.
 *
 * Thread: any.
 */
#ifndef DOPPEL_WALL_PROGRAM_H
#define DOPPEL_WALL_PROGRAM_H

#include <linux/filter.h>

#include "base/error.h"
#include "base/types.h"

enum program_kind {
	PROGRAM_ALLOW,  /* whatever its arguments */
	PROGRAM_REFUSE, /* it fails with ENOSYS */
	PROGRAM_EQUAL,  /* allowed when (argument & mask) == value */
	PROGRAM_OTHER,  /* allowed when argument != value; its mask is all ones */
};

struct program_rule {
	uint32_t number; /* of the call, on this host's architecture */
	enum program_kind kind;
	unsigned argument; /* 0 to 5 */
	uint64_t mask, value;
};

struct program_rules {
	struct program_rule *list;
	size_t count, room;
};

/* -ENOMEM. */
MUST_USE int program_add(struct program_rules *rules, const struct program_rule *rule);
void program_rules_finish(struct program_rules *rules);

/* Several rules of a call that compare arguments: each of them allows it. One that allows or refuses a call whatever its
 * arguments: that counts alone, the first such; but one that refuses counts only where nothing before it is about that call.
 * `otherwise` (SECCOMP_RET_*) is for all other calls; another architecture, and calls of x32, end the process. out->filter is the caller's to
 * free(). The rules are put in order. -ENOMEM; -E2BIG: the kernel takes no program as long. */
MUST_USE int program_make(struct program_rules *rules, uint32_t otherwise, struct sock_fprog *out);

#endif
