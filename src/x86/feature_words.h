/* The words of CPUID that tell features, and the names of their bits; private to x86/. */
#ifndef DOPPEL_X86_FEATURES_H
#define DOPPEL_X86_FEATURES_H

#include "x86/cpuid.h"

struct x86_feature_word {
	uint32_t function, index;
	enum x86_cpuid_register reg;
	/* Bits that follow the system's own settings, or the number of CPUs: no features of the host. */
	uint32_t dynamic;
	const char *names[32]; /* NULL: it has none here */
};

extern const struct x86_feature_word x86_feature_words[X86_FEATURE_WORDS];

/* "avx2", or "7.0.ebx.5" for one without a name. */
void x86_feature_name(unsigned word, unsigned bit, char *out, size_t size);
/* False: nothing is called that. */
bool x86_feature_find(const char *name, size_t length, unsigned *word, unsigned *bit);
/* The word as these entries tell it. */
uint32_t x86_feature_get(const struct x86_cpuid *cpuid, unsigned word);

/* Takes away what can not be used without something that is missing: no processor has AVX and no XSAVE, and kernels rely on it. */
void x86_feature_prune(uint32_t words[X86_FEATURE_WORDS]);

/* A list of features in an error's message: "avx2, fma and 12 more". */
struct x86_feature_list {
	char text[360];
	unsigned count, hidden; /* hidden: for want of room */
};
void x86_feature_list_add(struct x86_feature_list *list, const char *name);
void x86_feature_list_add_bits(struct x86_feature_list *list, unsigned word, uint32_t bits);
/* Ends it. */
const char *x86_feature_list_text(struct x86_feature_list *list);

#endif
