/*
 * What doctor looks at: one row a check, each with one finding.
 *
 * A check looks at the host and changes nothing. It never fails: what it can not find out is a finding too.
 */
#ifndef DOPPEL_CLI_CHECK_H
#define DOPPEL_CLI_CHECK_H

#include <stdbool.h>

#include "base/error.h"

enum finding_level { FINDING_OK, FINDING_WARN, FINDING_MISSING };

struct finding {
	enum finding_level level;
	char text[240];
	char remedy[240]; /* empty when all is well */
};

/* `remedy` may be NULL. */
void finding_set(struct finding *out, enum finding_level level, const char *remedy, const char *format, ...)
	PRINTF_LIKE(4, 5);

struct check {
	const char *name;
	bool required; /* without it no guest runs at all */
	void (*look)(struct finding *out);
};

/* All checks in the order they are printed; ends with a NULL name. check.c */
extern const struct check checks[];

/* check_processor.c */
void check_cpu(struct finding *out);
void check_cores(struct finding *out);
void check_kvm(struct finding *out);

/* check_memory.c */
void check_memory(struct finding *out);
void check_huge_pages(struct finding *out);
void check_userfaultfd(struct finding *out);
void check_memfd(struct finding *out);

/* check_kernel.c */
void check_io_uring(struct finding *out);
void check_seccomp(struct finding *out);
void check_landlock(struct finding *out);
void check_user_namespaces(struct finding *out);
void check_tun(struct finding *out);
void check_vsock(struct finding *out);

/* check_user.c */
void check_apt(struct finding *out);
void check_keyring(struct finding *out);
void check_cache(struct finding *out);
void check_terminal(struct finding *out);

#endif
