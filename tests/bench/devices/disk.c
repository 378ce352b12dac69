/* Requests to a disk past the page cache, several in flight by Linux's native asynchronous I/O. */
#define _GNU_SOURCE /* O_DIRECT */
#include "load.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/fs.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BLOCK     4096u
#define LARGE     (1u << 20)
#define DEPTH_MAX 32u

enum { READ = 0, WRITE = 1, RANDOM = 2, FLUSH = 4, ONCE = 8 };

struct phase {
	const char *name;
	unsigned flags;
	uint32_t depth, size;
};

/* The first writes every block, so that all later ones know what to find. */
static const struct phase phases[] = {
	{"first-write", WRITE | ONCE, 4, LARGE},
	{"sequential-write", WRITE, 4, LARGE},
	{"sequential-read", READ, 4, LARGE},
	{"random-read-1", READ | RANDOM, 1, BLOCK},
	{"random-read-32", READ | RANDOM, 32, BLOCK},
	{"random-write-1", WRITE | RANDOM, 1, BLOCK},
	{"random-write-32", WRITE | RANDOM, 32, BLOCK},
	{"flushed-write", WRITE | RANDOM | FLUSH, 1, BLOCK},
};

struct disk {
	int fd;
	/* A power of two, of BLOCK bytes. */
	uint64_t blocks;
	uint32_t *generations;
	aio_context_t context;
	uint8_t *buffers;
	struct iocb requests[DEPTH_MAX];
};

/* Every number below `blocks` once, without any visible order. */
static uint64_t shuffle(uint64_t i, uint64_t blocks)
{
	const int half = (64 - __builtin_clzll(blocks)) / 2;

	for (int turn = 0; turn < 3; turn++) {
		i = (i * UINT64_C(0x9e3779b97f4a7c15) + 12345) & (blocks - 1);
		i ^= i >> half;
	}
	return i;
}

static uint64_t position(const struct disk *disk, const struct phase *phase, uint64_t number)
{
	const uint64_t count = disk->blocks * BLOCK / phase->size;

	return (phase->flags & RANDOM ? shuffle(number % count, count) : number % count) * phase->size;
}

static uint8_t *buffer_of(const struct disk *disk, const struct iocb *request)
{
	return disk->buffers + (size_t)(request - disk->requests) * LARGE;
}

static void prepare(struct disk *disk, const struct phase *phase, uint64_t number, struct iocb *request)
{
	uint8_t *buffer = buffer_of(disk, request);
	const uint64_t offset = position(disk, phase, number);

	*request = (struct iocb){
		.aio_lio_opcode = phase->flags & WRITE ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD,
		.aio_fildes = (uint32_t)disk->fd,
		.aio_buf = (uintptr_t)buffer,
		.aio_nbytes = phase->size,
		.aio_offset = (int64_t)offset,
	};
	for (uint64_t at = 0; (phase->flags & WRITE) && at < phase->size; at += BLOCK) {
		const uint64_t block = (offset + at) / BLOCK;

		load_stamp(buffer + at, BLOCK, block * (BLOCK / LOAD_SECTOR), ++disk->generations[block]);
	}
}

static void check(const struct disk *disk, const struct phase *phase, const struct io_event *event)
{
	const struct iocb *request = (const struct iocb *)(uintptr_t)event->obj;
	const uint8_t *buffer = buffer_of(disk, request);

	if (event->res != phase->size) {
		errno = event->res < 0 ? (int)-event->res : EIO;
		load_die(phase->name);
	}
	for (uint64_t at = 0; !(phase->flags & WRITE) && at < phase->size; at += BLOCK) {
		const uint64_t block = ((uint64_t)request->aio_offset + at) / BLOCK;

		load_check(buffer + at, BLOCK, block * (BLOCK / LOAD_SECTOR), disk->generations[block]);
	}
}

static void submit(const struct disk *disk, const struct phase *phase, struct iocb **requests, long count)
{
	while (count > 0) {
		long done = syscall(SYS_io_submit, disk->context, count, requests);

		if (done <= 0)
			load_die(phase->name);
		requests += done;
		count -= done;
	}
}

/* What is finished is checked and asked for anew, all of it at once, until `enough`; returns how many were finished. */
static uint64_t keep_busy(struct disk *disk, const struct phase *phase, uint64_t least, double until)
{
	struct iocb *ready[DEPTH_MAX];
	struct io_event events[DEPTH_MAX];
	uint64_t number = 0, done = 0;
	long count = 0;

	for (; count < (long)phase->depth; count++) {
		ready[count] = &disk->requests[count];
		prepare(disk, phase, number++, ready[count]);
	}
	while (done < number) {
		submit(disk, phase, ready, count);
		long came = syscall(SYS_io_getevents, disk->context, 1L, (long)phase->depth, events, NULL);
		const bool enough = load_now() >= until;

		if (came < 0)
			load_die("io_getevents");
		if ((phase->flags & FLUSH) && fdatasync(disk->fd) < 0)
			load_die("fdatasync");
		count = 0;
		for (long i = 0; i < came; i++, done++) {
			check(disk, phase, &events[i]);
			if (enough && number >= least)
				continue;
			ready[count] = (struct iocb *)(uintptr_t)events[i].obj;
			prepare(disk, phase, number++, ready[count++]);
		}
	}
	return done;
}

static void run_phase(struct disk *disk, const struct phase *phase, double seconds)
{
	const uint64_t all = phase->flags & RANDOM ? 0 : disk->blocks * BLOCK / phase->size;
	const double began = load_now();
	const uint64_t done = keep_busy(disk, phase, all, began + (phase->flags & ONCE ? 0 : seconds));

	/* The page cache of the host is no disk: what was written is there when this says so. */
	if ((phase->flags & WRITE) && fdatasync(disk->fd) < 0)
		load_die("fdatasync");
	load_say(phase->name,
		 (double)done / (load_now() - began) * (phase->flags & RANDOM ? 1 : phase->size / 1e6));
}

static void open_disk(struct disk *disk, const char *device)
{
	uint64_t bytes;

	disk->fd = open(device, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (disk->fd < 0 || ioctl(disk->fd, BLKGETSIZE64, &bytes) < 0)
		load_die(device);
	disk->blocks = bytes / BLOCK;
	if (bytes < DEPTH_MAX * LARGE || (disk->blocks & (disk->blocks - 1)) != 0) {
		errno = EINVAL;
		load_die("the disk's size is no power of two");
	}
	disk->generations = calloc(disk->blocks, sizeof *disk->generations);
	if (!disk->generations || posix_memalign((void **)&disk->buffers, BLOCK, DEPTH_MAX * LARGE) != 0)
		load_die("memory");
	for (size_t i = 0; i < DEPTH_MAX * LARGE; i++)
		disk->buffers[i] = (uint8_t)(i * 2654435761u >> 24);
	if (syscall(SYS_io_setup, DEPTH_MAX, &disk->context) < 0)
		load_die("io_setup");
}

int load_disk(const char *device, double seconds)
{
	static struct disk disk;
	uint64_t sum = 0;

	open_disk(&disk, device);
	for (size_t i = 0; i < sizeof phases / sizeof *phases; i++)
		run_phase(&disk, &phases[i], seconds);
	for (uint64_t block = 0; block < disk.blocks; block++)
		sum += disk.generations[block] * (block % 1021 + 1);
	printf("load sum %llu\n", (unsigned long long)sum);
	return 0;
}
