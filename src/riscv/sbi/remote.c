/* IPI (SBI 2.0, 7) and RFENCE (SBI 2.0, 8): what one hart asks of others. */
#include "riscv/sbi/sbi.h"

static bool is_stopped(struct hart *hart)
{
	return atomic_load(&hart->power) == HART_STOPPED;
}

static struct sbi_reply send_ipi(struct sbi *sbi, struct hart *hart, const uint64_t *a)
{
	uint32_t harts = 0;
	enum sbi_error error = sbi_hart_mask(sbi, a[0], a[1], &harts);

	(void)hart;
	if (error)
		return sbi_fail(error);
	for (unsigned i = 0; i < sbi->cluster->count; i++) {
		/* A stopped hart belongs to the SBI, which has no use for interrupts meant for a supervisor. */
		if ((harts >> i & 1) && !is_stopped(sbi->cluster->harts[i]))
			hart_set_pending(sbi->cluster->harts[i], IRQ_BIT(IRQ_SSI), true);
	}
	return sbi_ok(0);
}

static sbi_function *const ipi_functions[] = {send_ipi};
const struct sbi_extension sbi_ipi = {0x735049, ipi_functions, ARRAY_SIZE(ipi_functions), false};

static void fence_self(struct hart *hart, uint32_t request)
{
	if (request == HART_REQUEST_FENCE_I)
		hart->engine->fence_i(hart);
	else
		hart->engine->flush_tlb(hart, false, gva(0), false, 0);
}

static struct sbi_reply fence(struct sbi *sbi, struct hart *hart, const uint64_t *a, uint32_t request)
{
	uint32_t harts = 0;
	enum sbi_error error = sbi_hart_mask(sbi, a[0], a[1], &harts);

	if (error)
		return sbi_fail(error);
	if (harts >> hart->cpu.id & 1)
		fence_self(hart, request);
	harts &= ~(UINT32_C(1) << hart->cpu.id);
	if (harts)
		hart_remote_fence(hart, harts, request);
	return sbi_ok(0);
}

static struct sbi_reply remote_fence_i(struct sbi *sbi, struct hart *hart, const uint64_t *a)
{
	return fence(sbi, hart, a, HART_REQUEST_FENCE_I);
}

/* The range and the ASID narrow what must be dropped; dropping everything is always right. But a range that ends
 * behind the address space is refused. */
static struct sbi_reply remote_sfence_vma(struct sbi *sbi, struct hart *hart, const uint64_t *a)
{
	uint64_t start = a[2], size = a[3], last;

	if (size && size != UINT64_MAX && __builtin_add_overflow(start, size - 1, &last))
		return sbi_fail(SBI_INVALID_ADDRESS);
	return fence(sbi, hart, a, HART_REQUEST_FLUSH_TLB);
}

/* FIDs 3 to 6 are fences of the hypervisor extension, which these harts do not have: beyond the table. */
static sbi_function *const functions[] = {remote_fence_i, remote_sfence_vma, remote_sfence_vma};
SBI_EXTENSION(sbi_rfence, 0x52464e43);
