/*
 * Users of the guest, as /etc/passwd and /etc/group list them. The program is linked statically, so the C library's own
 * look-up, which loads modules, is not to be had.
 *
 * Thread: any.
 */
#ifndef DOPPEL_GUEST_ACCOUNT_H
#define DOPPEL_GUEST_ACCOUNT_H

#include <sys/types.h>

#include "base/error.h"

#define ACCOUNT_GROUPS_MAX 64

struct account {
	uid_t user;
	gid_t group;
	gid_t groups[ACCOUNT_GROUPS_MAX]; /* with `group` */
	size_t group_count;
	char name[64], home[256], shell[256];
};

/* `root` is the folder that holds etc/: "" in a guest. `name`: a user's name or number. A missing passwd is one that knows
 * root alone. -ENOENT. */
MUST_USE int account_find(const char *root, const char *name, struct account *out);

#endif
