#include "cli/check.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef LANDLOCK_CREATE_RULESET_VERSION
#define LANDLOCK_CREATE_RULESET_VERSION 1U
#endif

void check_io_uring(struct finding *out)
{
	struct io_uring_params parameters = {.flags = 0};
	int fd = (int)syscall(SYS_io_uring_setup, 1, &parameters);

	if (fd >= 0) {
		finding_set(out, FINDING_OK, NULL, "features 0x%x", parameters.features);
		close(fd);
	} else if (errno == ENOSYS) {
		finding_set(out, FINDING_MISSING, "use Linux 5.1 or later; disks work without, more slowly",
			    "not in this kernel");
	} else {
		finding_set(out, FINDING_WARN,
			    "set the sysctl kernel.io_uring_disabled=0; disks work without, more slowly",
			    "refused: %s", strerror(errno));
	}
}

void check_seccomp(struct finding *out)
{
	uint32_t action = SECCOMP_RET_KILL_PROCESS;

	if (syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0)
		finding_set(out, FINDING_OK, NULL, "filters can confine a monitor");
	else
		finding_set(out, FINDING_MISSING, "use a kernel with CONFIG_SECCOMP_FILTER", "no filters: %s",
			    strerror(errno));
}

void check_landlock(struct finding *out)
{
	long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);

	if (version > 0)
		finding_set(out, FINDING_OK, NULL, "version %ld confines a monitor to its files", version);
	else if (errno == EOPNOTSUPP)
		finding_set(out, FINDING_WARN, "add landlock to lsm= on the host's kernel command line",
			    "in this kernel, but switched off");
	else
		finding_set(out, FINDING_MISSING, "use Linux 5.13 or later with CONFIG_SECURITY_LANDLOCK",
			    "not in this kernel");
}

/* Tried in a child, for it can not be undone. 0 or a negative errno. */
static int try_user_namespace(void)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0)
		_exit(unshare(CLONE_NEWUSER) == 0 ? 0 : errno);
	if (pid < 0)
		return -errno;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) ? -WEXITSTATUS(status) : -EIO;
}

void check_user_namespaces(struct finding *out)
{
	int r = try_user_namespace();

	if (r == 0)
		finding_set(out, FINDING_OK, NULL, "may be made");
	else
		finding_set(
			out, FINDING_WARN,
			"raise the sysctl user.max_user_namespaces, set kernel.unprivileged_userns_clone=1, or allow "
			"it in the container",
			"may not be made: %s", strerror(-r));
}

/* A device that must open for reading and writing. */
static void look_at_device(struct finding *out, const char *path, const char *use, const char *absent_remedy,
			   const char *denied_remedy)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd >= 0) {
		finding_set(out, FINDING_OK, NULL, "%s opens, for %s", path, use);
		close(fd);
	} else if (errno == EACCES || errno == EPERM) {
		finding_set(out, FINDING_WARN, denied_remedy, "%s may not be opened; no %s", path, use);
	} else {
		finding_set(out, FINDING_MISSING, absent_remedy, "no %s; no %s", path, use);
	}
}

void check_tun(struct finding *out)
{
	look_at_device(out, "/dev/net/tun", "tap networks", "load the module tun; user-mode networks need none",
		       "run as root or with CAP_NET_ADMIN; user-mode networks need none");
}

void check_vsock(struct finding *out)
{
	look_at_device(out, "/dev/vhost-vsock", "sockets between host and guest in the kernel",
		       "load the module vhost_vsock", "add this user to the group kvm");
}
