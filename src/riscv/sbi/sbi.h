/*
 * Inside the SBI: how a call reaches its function, and what the functions share.
 *
 * One file an extension (or a few small ones of a kind); each hands its table of functions to sbi/call.c, which
 * has the table of extensions. A function is indexed by its FID; the arguments are a0 to a5.
 */
#ifndef DOPPEL_RISCV_SBI_SBI_H
#define DOPPEL_RISCV_SBI_SBI_H

#include <pthread.h>

#include "riscv/sbi.h"

/* SBI 2.0, 3. */
enum sbi_error {
	SBI_SUCCESS = 0,
	SBI_FAILED = -1,
	SBI_NOT_SUPPORTED = -2,
	SBI_INVALID_PARAM = -3,
	SBI_DENIED = -4,
	SBI_INVALID_ADDRESS = -5,
	SBI_ALREADY_AVAILABLE = -6,
	SBI_ALREADY_STARTED = -7,
	SBI_ALREADY_STOPPED = -8,
	SBI_NO_SHMEM = -9,
};

struct sbi {
	struct hart_cluster *cluster;
	struct sbi_console console;
	pthread_mutex_t console_lock;
};

struct sbi_reply {
	int64_t error; /* enum sbi_error; legacy calls answer values here */
	uint64_t value;
};

typedef struct sbi_reply sbi_function(struct sbi *sbi, struct hart *hart, const uint64_t *a);

struct sbi_extension {
	uint64_t id;
	sbi_function *const *functions;
	unsigned count;
	bool legacy; /* any FID, answers in a0 alone (SBI 2.0, 5) */
};

#define SBI_EXTENSION(name, id_) const struct sbi_extension name = {id_, functions, ARRAY_SIZE(functions), false}

extern const struct sbi_extension sbi_base, sbi_time, sbi_ipi, sbi_rfence, sbi_hsm, sbi_srst, sbi_dbcn, sbi_susp,
	sbi_sta, sbi_pmu, sbi_legacy_set_timer, sbi_legacy_putchar, sbi_legacy_getchar, sbi_legacy_shutdown;

/* NULL for an extension that is not there. */
const struct sbi_extension *sbi_find(uint64_t id);

static inline struct sbi_reply sbi_ok(uint64_t value)
{
	return (struct sbi_reply){SBI_SUCCESS, value};
}
static inline struct sbi_reply sbi_fail(int64_t error)
{
	return (struct sbi_reply){error, 0};
}

/* The hart of that id, or NULL. */
struct hart *sbi_hart(const struct sbi *sbi, uint64_t id);

/* The harts that a hart_mask and hart_mask_base name (SBI 2.0, 3.1), as a mask of hart ids. */
MUST_USE enum sbi_error sbi_hart_mask(const struct sbi *sbi, uint64_t mask, uint64_t base, uint32_t *harts);

/* Whether a hart may begin to execute at this physical address: even, and RAM. */
bool sbi_can_start_at(const struct sbi *sbi, uint64_t address);

/* Suspends the calling hart until an interrupt; resume_pc 0: retentive. */
void sbi_suspend(struct hart *hart, uint64_t resume_pc, uint64_t opaque);

#endif
