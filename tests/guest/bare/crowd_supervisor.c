#include "crowd.h"
#include "supervisor.h"

void crowd_begin(unsigned harts, void (*work)(uint64_t id))
{
	static struct begin begin[CROWD_MAX];

	crowd_harts = harts;
	crowd_boot = boot.hart;
	for (uint64_t id = 0; id < harts; id++) {
		if (id == boot.hart)
			continue;
		begin[id] = (struct begin){stack_of(id), work};
		asm volatile("fence" ::: "memory");
		expect_error(SBI(HSM, 0, id, hart_begin, &begin[id]), OK);
	}
}
