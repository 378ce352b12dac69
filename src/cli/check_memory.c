#include "cli/check.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/userfaultfd.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/types.h"
#include "cli/table.h"
#include "host/facts.h"

void check_memory(struct finding *out)
{
	uint64_t total = host_fact(HOST_MEMORY, "MemTotal") * KIB, available = host_fact(HOST_MEMORY, "MemAvailable") * KIB;
	char total_text[TABLE_BYTES_SIZE], available_text[TABLE_BYTES_SIZE];

	table_format_bytes(total, total_text);
	table_format_bytes(available, available_text);
	if (total == 0)
		finding_set(out, FINDING_WARN, "mount /proc", "/proc/meminfo tells nothing");
	else if (available < 64 * MIB)
		finding_set(out, FINDING_MISSING, "end other programs", "%s of %s available", available_text,
			    total_text);
	else if (available < GIB)
		finding_set(out, FINDING_WARN, "give guests --memory 256M or less", "%s of %s available",
			    available_text, total_text);
	else
		finding_set(out, FINDING_OK, NULL, "%s of %s available", available_text, total_text);
}

/* The word in brackets in a file such as "always [madvise] never". */
static void chosen_word(const char *path, char *out, size_t size)
{
	FILE *file = fopen(path, "re");
	char line[128] = "";
	const char *start;

	out[0] = '\0';
	if (!file)
		return;
	if (fgets(line, sizeof line, file) && (start = strchr(line, '[')))
		snprintf(out, size, "%.*s", (int)strcspn(start + 1, "]"), start + 1);
	fclose(file);
}

void check_huge_pages(struct finding *out)
{
	uint64_t reserved = host_fact(HOST_MEMORY, "HugePages_Total");
	char mode[16];

	chosen_word("/sys/kernel/mm/transparent_hugepage/enabled", mode, sizeof mode);
	if (strcmp(mode, "always") == 0 || strcmp(mode, "madvise") == 0)
		finding_set(out, FINDING_OK, NULL, "transparent (%s), %" PRIu64 " reserved", mode, reserved);
	else
		finding_set(out, FINDING_WARN, "write madvise to /sys/kernel/mm/transparent_hugepage/enabled",
			    "transparent huge pages are %s; guests of much memory run more slowly",
			    *mode ? "switched off" : "not in this kernel");
}

static int userfaultfd_open(void)
{
	int device, fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (fd >= 0)
		return fd;
	device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
	if (device < 0)
		return -errno;
#ifdef USERFAULTFD_IOC_NEW
	fd = ioctl(device, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
#else
	errno = ENOSYS;
#endif
	fd = fd < 0 ? -errno : fd;
	close(device);
	return fd;
}

void check_userfaultfd(struct finding *out)
{
	struct uffdio_api api = {.api = UFFD_API};
	int fd = userfaultfd_open();

	if (fd < 0)
		finding_set(out, FINDING_MISSING,
			    "set the sysctl vm.unprivileged_userfaultfd=1, or allow /dev/userfaultfd",
			    "not to be had (%s): no post-copy migration, no lazy restore", strerror(-fd));
	else if (ioctl(fd, UFFDIO_API, &api) < 0)
		finding_set(out, FINDING_MISSING, "use Linux 5.7 or later",
			    "the kernel speaks another version of it");
	else if (!(api.features & UFFD_FEATURE_PAGEFAULT_FLAG_WP))
		finding_set(out, FINDING_WARN, "use Linux 5.7 or later", "without write protection");
	else
		finding_set(out, FINDING_OK, NULL, "with write protection%s",
			    api.features & UFFD_FEATURE_MISSING_SHMEM ? ", also of shared memory" : "");
	if (fd >= 0)
		close(fd);
}

void check_memfd(struct finding *out)
{
	int fd = memfd_create("doppel-doctor", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		finding_set(out, FINDING_MISSING, "use Linux 3.17 or later, and allow memfd_create",
			    "no memfd_create: %s", strerror(errno));
	else if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK) < 0)
		finding_set(out, FINDING_WARN, NULL, "memfd_create without seals: %s", strerror(errno));
	else
		finding_set(out, FINDING_OK, NULL, "memfd_create with seals");
	if (fd >= 0)
		close(fd);
}
