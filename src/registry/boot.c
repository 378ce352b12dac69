#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "registry/private.h"

#define BOOT_ID "/proc/sys/kernel/random/boot_id"

static pthread_once_t once = PTHREAD_ONCE_INIT;
static char id[40];

/* $DOPPEL_BOOT_ID stands in for the host's in tests of what a restart of the host leaves. */
static void find(void)
{
	const char *given = getenv("DOPPEL_BOOT_ID");

	if (given)
		snprintf(id, sizeof id, "%s", given);
	else if (registry_read_file(AT_FDCWD, BOOT_ID, id, sizeof id - 1) < 0)
		id[0] = '\0';
	id[strspn(id, "0123456789abcdefABCDEF-")] = '\0';
}

const char *registry_boot_id(void)
{
	pthread_once(&once, find);
	return id;
}
