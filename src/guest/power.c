/* Switching the guest off, as its own system does it. */
#include <errno.h>
#include <mntent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <time.h>
#include <unistd.h>

#include "guest/power.h"

#ifdef __x86_64__
#include <sys/io.h>

/* The debug exit port, and what is written there. */
#define END_PORT    0xf4
#define END_STATUS  0x3333u
#endif

#define GRACE_MS   1000
#define MOUNTS_MAX 64

static bool has_systemd(void)
{
	return access("/run/systemd/system", F_OK) == 0;
}

/* Last mounted, first taken off; what is busy can at least not be written to any more. */
static void unmount_all(void)
{
	FILE *mounts = setmntent("/proc/self/mounts", "re");
	char *folders[MOUNTS_MAX];
	struct mntent *entry;
	size_t count = 0;

	while (mounts && count < MOUNTS_MAX && (entry = getmntent(mounts)))
		if (strncmp(entry->mnt_fsname, "/dev/", 5) == 0 && (folders[count] = strdup(entry->mnt_dir)))
			count++;
	if (mounts)
		endmntent(mounts);
	while (count > 0) {
		const char *folder = folders[--count];

		if (umount(folder) < 0)
			(void)mount(NULL, folder, NULL, MS_REMOUNT | MS_RDONLY, NULL);
		free(folders[count]);
	}
}

static void end_everything(void)
{
	/* Shells on terminals end by the second only. */
	(void)kill(-1, SIGTERM);
	(void)kill(-1, SIGHUP);
	nanosleep(&(struct timespec){.tv_sec = GRACE_MS / 1000, .tv_nsec = GRACE_MS % 1000 * 1000000}, NULL);
	(void)kill(-1, SIGKILL);
	unmount_all();
	sync();
}

int power_off(void)
{
	static const char *const paths[] = {"/usr/bin/systemctl", "/bin/systemctl"};

	if (geteuid() != 0)
		return -EPERM;
	if (!has_systemd()) {
		end_everything();
		return reboot(RB_POWER_OFF) < 0 ? -errno : 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		execl(paths[i], "systemctl", "--no-block", "poweroff", (char *)NULL);
	return -errno;
}

#ifdef __x86_64__
int power_end(unsigned status)
{
	if (ioperm(END_PORT, 4, 1) < 0)
		return -errno;
	outl(status << 16 | END_STATUS, END_PORT);
	return -ENODEV;
}
#endif
