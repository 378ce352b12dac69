/* STA (SBI 2.0, 16): an area of guest memory in which the monitor reports stolen time. */
#include "riscv/sbi/sbi.h"

struct steal_area {
	le32_t sequence; /* odd while `steal` changes */
	le32_t flags;
	le64_t steal; /* nanoseconds */
	uint8_t preempted;
	uint8_t pad[47];
};
_Static_assert(sizeof(struct steal_area) == 64, "the size of the area is given by SBI 2.0, 16");

static struct sbi_reply set_shmem(struct sbi *sbi, struct hart *hart, const uint64_t *a)
{
	static const struct steal_area zero;
	uint64_t low = a[0], high = a[1], flags = a[2];

	if (flags)
		return sbi_fail(SBI_INVALID_PARAM);
	if (low == UINT64_MAX && high == UINT64_MAX) {
		hart->sbi_sta_address = 0;
		return sbi_ok(0);
	}
	if (low % sizeof(zero))
		return sbi_fail(SBI_INVALID_PARAM);
	/* Address 0 stands for "none" in hart->sbi_sta_address. */
	if (high || !low || memory_write(sbi->cluster->memory, gpa(low), &zero, sizeof(zero)))
		return sbi_fail(SBI_INVALID_ADDRESS);
	hart->sbi_sta_address = low;
	return sbi_ok(0);
}

static bool put_sequence(struct hart *hart, gpa_t area, uint32_t sequence)
{
	le32_t value = le32_put(sequence);

	atomic_thread_fence(memory_order_seq_cst);
	return memory_write(hart->cluster->memory, area, &value, sizeof(value)) == 0;
}

void sbi_sta_update(struct hart *hart, uint64_t steal_ns)
{
	gpa_t area = gpa(hart->sbi_sta_address);
	le64_t steal = le64_put(steal_ns);
	le32_t stored;
	uint32_t sequence;

	/* A guest that sleeps is not written to: its memory may be captured (SBI 2.0, 16). */
	if (atomic_load(&hart->power) != HART_STARTED)
		return;
	if (!area.value || memory_read(hart->cluster->memory, area, &stored, sizeof(stored)))
		return;
	/* The guest may have written anything here: odd or even is what matters. */
	sequence = le32_get(stored) | 1;
	if (!put_sequence(hart, area, sequence))
		return;
	atomic_thread_fence(memory_order_seq_cst);
	if (memory_write(hart->cluster->memory, gpa_add(area, offsetof(struct steal_area, steal)), &steal,
			 sizeof(steal)))
		return;
	(void)put_sequence(hart, area, sequence + 1);
}

bool sbi_sta_add(struct hart *hart, uint64_t ns)
{
	gpa_t told = gpa_add(gpa(hart->sbi_sta_address), offsetof(struct steal_area, steal));
	le64_t steal;

	if (!hart->sbi_sta_address || memory_read(hart->cluster->memory, told, &steal, sizeof(steal)))
		return false;
	sbi_sta_update(hart, le64_get(steal) + ns);
	return true;
}

static sbi_function *const functions[] = {set_shmem};
SBI_EXTENSION(sbi_sta, 0x535441);
