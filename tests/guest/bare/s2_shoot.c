/* Two harts change page tables that all of them use. */
#include "shoot.h"

#include "supervisor.h"

int main(void)
{
	shoot_run(2);
	return 0;
}
