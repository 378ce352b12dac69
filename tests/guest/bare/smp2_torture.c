/* Locks and lock-free structures by two harts. */
#include "torture.h"

int main(void)
{
	torture_run(2);
	return 0;
}
