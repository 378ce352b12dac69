#include "riscv/sbi/sbi.h"

#include <errno.h>
#include <stdlib.h>

enum { A0 = 10, A1 = 11, A6 = 16, A7 = 17 };

static const struct sbi_extension *const extensions[] = {
	&sbi_time,
	&sbi_ipi,
	&sbi_rfence,
	&sbi_base,
	&sbi_hsm,
	&sbi_srst,
	&sbi_dbcn,
	&sbi_susp,
	&sbi_sta,
	&sbi_pmu,
	&sbi_legacy_set_timer,
	&sbi_legacy_putchar,
	&sbi_legacy_getchar,
	&sbi_legacy_shutdown,
};

/* Extension ids below this are legacy calls (SBI 2.0, 5). */
#define LEGACY_END   0x10
#define ECALL_LENGTH 4

const struct sbi_extension *sbi_find(uint64_t id)
{
	for (size_t i = 0; i < ARRAY_SIZE(extensions); i++)
		if (extensions[i]->id == id)
			return extensions[i];
	return NULL;
}

static sbi_function *function_of(const struct sbi_extension *extension, uint64_t function)
{
	if (!extension)
		return NULL;
	if (extension->legacy)
		return extension->functions[0];
	return function < extension->count ? extension->functions[function] : NULL;
}

void sbi_call(struct sbi *sbi, struct hart *hart)
{
	uint64_t id = hart->x[A7];
	sbi_function *function = function_of(sbi_find(id), hart->x[A6]);
	struct sbi_reply reply;

	hart->pc += ECALL_LENGTH;
	reply = function ? function(sbi, hart, &hart->x[A0]) : sbi_fail(SBI_NOT_SUPPORTED);
	hart->x[A0] = (uint64_t)reply.error;
	if (id >= LEGACY_END)
		hart->x[A1] = reply.value;
}

struct hart *sbi_hart(const struct sbi *sbi, uint64_t id)
{
	return id < sbi->cluster->count ? sbi->cluster->harts[id] : NULL;
}

enum sbi_error sbi_hart_mask(const struct sbi *sbi, uint64_t mask, uint64_t base, uint32_t *harts)
{
	uint64_t all = (UINT64_C(1) << sbi->cluster->count) - 1;

	if (base == UINT64_MAX) {
		*harts = (uint32_t)all;
		return SBI_SUCCESS;
	}
	if (base >= sbi->cluster->count || (mask & ~(all >> base)))
		return SBI_INVALID_PARAM;
	*harts = (uint32_t)(mask << base);
	return SBI_SUCCESS;
}

bool sbi_can_start_at(const struct sbi *sbi, uint64_t address)
{
	return address && !(address & 1) && memory_find(sbi->cluster->memory, gpa(address), 2);
}

int sbi_new(struct sbi **sbi, struct hart_cluster *cluster, const struct sbi_console *console, struct error *e)
{
	struct sbi *made = calloc(1, sizeof(*made));

	if (!made)
		return error_set(e, ERROR_FAILED, -ENOMEM, "no memory for the SBI");
	made->cluster = cluster;
	made->console = *console;
	pthread_mutex_init(&made->console_lock, NULL);
	*sbi = made;
	return 0;
}

void sbi_free(struct sbi *sbi)
{
	if (!sbi)
		return;
	pthread_mutex_destroy(&sbi->console_lock);
	free(sbi);
}
