#include "base/fork.h"

#include <stddef.h>
#include <unistd.h>

/* Parts of the sanitizer that no header names; NULL where it is not linked in (meson.build: -static-libasan). */
#define INSIDE(name) extern void name __attribute__((weak))
INSIDE(lock_threads(void) __asm__("_ZN6__lsan18LockThreadRegistryEv"));
INSIDE(unlock_threads(void) __asm__("_ZN6__lsan20UnlockThreadRegistryEv"));
INSIDE(lock_allocator(void) __asm__("_ZN6__lsan13LockAllocatorEv"));
INSIDE(unlock_allocator(void) __asm__("_ZN6__lsan15UnlockAllocatorEv"));
INSIDE(lock_stacks(void) __asm__("_ZN11__sanitizer17StackDepotLockAllEv"));
INSIDE(unlock_stacks(void) __asm__("_ZN11__sanitizer19StackDepotUnlockAllEv"));

static void call(void (*part)(void))
{
	if (part)
		part();
}

pid_t fork_process(void)
{
	pid_t pid;

	call(lock_threads);
	call(lock_allocator);
	call(lock_stacks);
	pid = fork();
	call(unlock_stacks);
	call(unlock_allocator);
	call(unlock_threads);
	return pid;
}
