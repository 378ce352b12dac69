/* Locks and lock-free structures by four harts. */
#include "torture.h"

int main(void)
{
	torture_run(4);
	return 0;
}
