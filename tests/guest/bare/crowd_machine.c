#include "crowd.h"

void crowd_begin(unsigned harts, void (*work)(uint64_t id))
{
	crowd_harts = harts;
	start_others(work);
}
