/*
 * What CPUID tells a guest: the entries themselves, the models that choose what of the host's is shown, and the check whether
 * a host can give what a guest saw elsewhere (Intel SDM 2A, CPUID; AMD APM 3, appendix E).
 *
 * Thread: any; everything here is a value.
 */
#ifndef DOPPEL_X86_CPUID_H
#define DOPPEL_X86_CPUID_H

#include "base/error.h"
#include "base/types.h"

#define X86_CPUID_MAX 128

enum x86_cpuid_register { CPUID_EAX, CPUID_EBX, CPUID_ECX, CPUID_EDX, CPUID_REGISTERS };

struct x86_cpuid_entry {
	uint32_t function, index;
	bool indexed; /* `index` counts: ECX is an input of the function */
	uint32_t registers[CPUID_REGISTERS];
};

struct x86_cpuid {
	uint32_t count;
	struct x86_cpuid_entry entries[X86_CPUID_MAX];
};

/* NULL: there is none. */
const struct x86_cpuid_entry *x86_cpuid_find(const struct x86_cpuid *cpuid, uint32_t function, uint32_t index);
/* Bits of a physical address, at least 32. */
unsigned x86_cpuid_physical_bits(const struct x86_cpuid *cpuid);

#define X86_FEATURE_WORDS 16

/* A choice among the host's features, a word of bits for each of the feature words in feature_words.c. */
struct x86_model {
	char name[32];
	uint32_t shown[X86_FEATURE_WORDS];  /* where the host has them */
	uint32_t needed[X86_FEATURE_WORDS]; /* the host must have them; among `shown` */
};

/*
 * `text`: host (all that the host has and a saved guest can keep), v2, v3 or v4 (the x86-64 levels of the System V ABI, with
 * what any host of that level has), or the path of a file: lines of `base MODEL`, `+FEATURE` (is
 * needed), `-FEATURE` (is hidden), and comments from # to the end of the line. Features have the names of Linux's
 * /proc/cpuinfo. -EINVAL (ERROR_USAGE) or the file's errno.
 */
MUST_USE int x86_model_parse(struct x86_model *model, const char *text, struct error *e);

struct x86_topology {
	unsigned cpus;
	uint32_t tsc_khz; /* 0: not told */
};

/* What CPUs of a machine see: the model's part of `host`, and what all hosts give alike. -EOPNOTSUPP with a list of what
 * the host lacks. */
MUST_USE int x86_cpuid_build(struct x86_cpuid *out, const struct x86_cpuid *host, const struct x86_model *model,
			     const struct x86_topology *topology, struct error *e);
/* Puts the number of one CPU where its own CPUID tells it. */
void x86_cpuid_personalize(struct x86_cpuid *cpuid, uint32_t id);
/* Whether this host can give what a guest saw: -EOPNOTSUPP with a list of what it lacks. */
MUST_USE int x86_cpuid_check(const struct x86_cpuid *guest, const struct x86_cpuid *host, struct error *e);

#endif
