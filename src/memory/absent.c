#include "memory/absent.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef USERFAULTFD_IOC_NEW /* Linux 6.1 */
#define USERFAULTFD_IOC_NEW _IO(0xAA, 0x00)
#endif
#define FLAGS (O_CLOEXEC | O_NONBLOCK)

/* By the call, or by the device, whose permissions are the host's administrator's to give. */
static int open_any(void)
{
	int fd = (int)syscall(SYS_userfaultfd, FLAGS), device;

	if (fd >= 0)
		return fd;
	device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
	if (device < 0)
		return -1;
	fd = ioctl(device, USERFAULTFD_IOC_NEW, FLAGS);
	close(device);
	return fd;
}

int absent_open(int *fd, struct error *e)
{
	struct uffdio_api api = {.api = UFFD_API};
	int own = open_any();

	if (own >= 0 && ioctl(own, UFFDIO_API, &api) == 0) {
		*fd = own;
		return 0;
	}
	if (own >= 0)
		close(own);
	return error_set(e, ERROR_PERMISSION, -EPERM,
			 "this host's kernel tells nobody but root when devices touch absent memory: receive as root, give this user "
			 "/dev/userfaultfd, or write 1 to /proc/sys/vm/unprivileged_userfaultfd");
}

int absent_begin(int fd, const struct memory *memory, struct error *e)
{
	for (unsigned i = 0; i < memory->count; i++) {
		const struct memory_region *region = &memory->regions[i];
		struct uffdio_register range = {.range = {(uintptr_t)region->host, region->size},
						.mode = UFFDIO_REGISTER_MODE_MISSING};

		if (ioctl(fd, UFFDIO_REGISTER, &range) < 0) {
			int code = -errno;

			absent_end(fd, memory);
			return error_errno(e, code, "waiting for absent pages of RAM '%s'", region->name);
		}
	}
	return 0;
}

void absent_end(int fd, const struct memory *memory)
{
	for (unsigned i = 0; i < memory->count; i++) {
		struct uffdio_range range = {(uintptr_t)memory->regions[i].host, memory->regions[i].size};

		(void)ioctl(fd, UFFDIO_UNREGISTER, &range);
	}
}

int absent_next(int fd, uintptr_t *address)
{
	struct uffd_msg message;
	ssize_t n;

	do {
		n = read(fd, &message, sizeof message);
		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n < 0 && errno != EINTR)
			return -errno;
	} while (n != sizeof message || message.event != UFFD_EVENT_PAGEFAULT);
	*address = (uintptr_t)message.arg.pagefault.address;
	return 1;
}

/* How many bytes it put there, or a negative errno. */
static int64_t put_some(int fd, uint8_t *host, const uint8_t *bytes, uint64_t length)
{
	struct uffdio_copy copy = {.dst = (uintptr_t)host, .src = (uintptr_t)bytes, .len = length};
	struct uffdio_zeropage zero = {.range = {(uintptr_t)host, length}};

	if (bytes)
		return ioctl(fd, UFFDIO_COPY, &copy) == 0 || copy.copy > 0 ? copy.copy : -errno;
	return ioctl(fd, UFFDIO_ZEROPAGE, &zero) == 0 || zero.zeropage > 0 ? zero.zeropage : -errno;
}

int absent_put(int fd, uint8_t *host, const uint8_t *bytes, uint64_t pages)
{
	uint64_t length = pages << GUEST_PAGE_SHIFT;

	for (uint64_t done = 0; done < length;) {
		int64_t put = put_some(fd, host + done, bytes ? bytes + done : NULL, length - done);

		if (put == -EEXIST) {
			struct uffdio_range there = {(uintptr_t)host + done, GUEST_PAGE_SIZE};

			/* Somebody may have begun to wait just before it came. */
			(void)ioctl(fd, UFFDIO_WAKE, &there);
			put = (int64_t)GUEST_PAGE_SIZE;
		}
		if (put == -ENOENT) /* absent_end came first */
			return 0;
		/* The process's mappings are just being changed. */
		if (put < 0 && put != -EAGAIN && put != -EINTR)
			return (int)put;
		if (put > 0)
			done += (uint64_t)put;
	}
	return 0;
}

void absent_look_again(int fd, const struct memory *memory)
{
	for (unsigned i = 0; i < memory->count; i++) {
		struct uffdio_range range = {(uintptr_t)memory->regions[i].host, memory->regions[i].size};

		(void)ioctl(fd, UFFDIO_WAKE, &range);
	}
}
