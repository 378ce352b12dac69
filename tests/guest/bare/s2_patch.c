/* Two harts change code that all of them run. */
#include "patch.h"

#include "supervisor.h"

int main(void)
{
	patch_run(2);
	return 0;
}
