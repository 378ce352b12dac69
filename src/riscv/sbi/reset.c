/* SRST (SBI 2.0, 10) and the legacy shutdown. */
#include "riscv/sbi/sbi.h"

enum { SHUTDOWN = 0, COLD_REBOOT = 1, WARM_REBOOT = 2 };
enum { NO_REASON = 0, SYSTEM_FAILURE = 1 };

static struct sbi_reply request(struct sbi *sbi, struct hart *hart, enum power_action action, unsigned code)
{
	/* The caller executes nothing more, even if the machine takes a moment to act. */
	hart->waiting = true;
	power_request(&sbi->cluster->power, action, code);
	return sbi_ok(0);
}

static struct sbi_reply system_reset(struct sbi *sbi, struct hart *hart, const uint64_t *a)
{
	uint32_t type = (uint32_t)a[0], reason = (uint32_t)a[1];

	if (type > WARM_REBOOT || reason > SYSTEM_FAILURE)
		return sbi_fail(SBI_INVALID_PARAM);
	if (type != SHUTDOWN)
		return request(sbi, hart, POWER_RESET, 0);
	return reason == SYSTEM_FAILURE ? request(sbi, hart, POWER_CRASH, 1) : request(sbi, hart, POWER_OFF, 0);
}

static sbi_function *const functions[] = {system_reset};
SBI_EXTENSION(sbi_srst, 0x53525354);

static struct sbi_reply legacy_shutdown(struct sbi *sbi, struct hart *hart, const uint64_t *a)
{
	(void)a;
	return request(sbi, hart, POWER_OFF, 0);
}

static sbi_function *const legacy[] = {legacy_shutdown};
const struct sbi_extension sbi_legacy_shutdown = {0x08, legacy, 1, true};
