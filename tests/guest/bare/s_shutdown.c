/* The machine ends by SRST, with status 0. */
#include "supervisor.h"

int main(void)
{
	check(has(SRST), 1);
	note("ends by a shutdown: 1 checks, 0 failures");
	SBI(SRST, 0, 0, 0);
	check("shutdown came back" == NULL, 1);
	return 0;
}
