#include <cap-ng.h>
#include <errno.h>
#include <grp.h>
#include <linux/securebits.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "wall/private.h"

/* What it takes to own, reach and change all files of a folder as root does. */
static const unsigned folder_capabilities[] = {CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_FSETID};

static int become_nobody(void)
{
	const gid_t group = WALL_NOBODY;
	const uid_t user = WALL_NOBODY;

	if (setgroups(0, NULL) < 0 || setresgid(group, group, group) < 0 || setresuid(user, user, user) < 0)
		return -errno;
	return 0;
}

static int choose_capabilities(const struct wall_plan *plan, bool root)
{
	capng_clear(CAPNG_SELECT_ALL);
	if (!root || !plan->keep_ids || !plan->folder)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(folder_capabilities); i++)
		if (capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_BOUNDING_SET,
				 folder_capabilities[i]) < 0)
			return -EPERM;
	return 0;
}

/* Uid 0 gives no capabilities any more, whatever is executed, and that stays so. Needs CAP_SETPCAP. */
static void lock_root(void)
{
	prctl(PR_SET_SECUREBITS, SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE |
					 SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED | SECBIT_KEEP_CAPS_LOCKED);
}

static bool holds_none(void)
{
	return capng_get_caps_process() == 0 && capng_have_capabilities(CAPNG_SELECT_CAPS) == CAPNG_NONE;
}

int wall_identity(const struct wall_plan *plan, unsigned *parts, struct error *e)
{
	bool root = geteuid() == 0;
	int r = choose_capabilities(plan, root);

	lock_root();
	/* Without CAP_SETPCAP the bounding set stays, which without a way to gain privileges says nothing. */
	(void)capng_apply(CAPNG_SELECT_BOUNDS);
	/* In a user namespace that knows uid 0 only there is no nobody to become: WALL_USER is then missing. */
	if (r == 0 && root && !plan->keep_ids)
		(void)become_nobody();
	if (r < 0 || capng_apply(CAPNG_SELECT_CAPS) < 0 || capng_apply(CAPNG_SELECT_AMBIENT) < 0)
		return error_set(e, ERROR_PERMISSION, -EPERM, "cannot give up capabilities");
	if (holds_none())
		*parts |= WALL_CAPABILITIES;
	if (geteuid() != 0)
		*parts |= WALL_USER;
	return 0;
}
