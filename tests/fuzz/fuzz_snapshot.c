/*
 * A snapshot file from outside: as it is, and (since a fuzzer does not guess checksums) with the checksums of its header and
 * sections put right, so that what they protect is judged too.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/checked.h"
#include "snapshot/pack.h"

#define FILE_MAX ((size_t)1 << 20)

/* What is longer than this is refused as a user's disk would refuse it. */
static void unpack(const struct snapshot *snapshot)
{
	struct snapshot_file files[SNAPSHOT_FILES_MAX];
	unsigned count = 0;
	struct error e;

	if (snapshot_files(snapshot, files, &count, &e) < 0)
		return;
	for (unsigned i = 0; i < count; i++) {
		int fd = memfd_create("file", MFD_CLOEXEC);

		if (fd >= 0 && files[i].size <= 64 * FILE_MAX)
			(void)!snapshot_unpack_file(snapshot, i, &files[i], fd, NULL, NULL, &e);
		close(fd);
	}
}

static void try_file(const uint8_t *data, size_t size)
{
	int fd = memfd_create("snapshot", MFD_CLOEXEC);
	struct snapshot *snapshot;
	struct error e = {.kind = ERROR_NONE};

	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	if (snapshot_open_early(&snapshot, fcntl(fd, F_DUPFD_CLOEXEC, 0), "fuzz", &e) == 0)
		snapshot_close(snapshot);
	if (snapshot_open(&snapshot, fd, "fuzz", &e) < 0) {
		if (!*e.message)
			abort();
		return;
	}
	(void)!snapshot_verify(snapshot, NULL, NULL, &e);
	unpack(snapshot);
	snapshot_close(snapshot);
}

static uint64_t number_at(const uint8_t *bytes)
{
	le64_t raw;

	memcpy(&raw, bytes, sizeof raw);
	return le64_get(raw);
}

static void put_sum(uint8_t *to, const uint8_t *from, size_t length)
{
	le64_t sum = le64_put(XXH64(from, length, 0));

	memcpy(to, &sum, sizeof sum);
}

/* As docs/internals/snapshot.md has the header. */
static void put_right(uint8_t *bytes, size_t size)
{
	const le32_t version = le32_put(bytes[8] == 1 ? 1 : SNAPSHOT_VERSION);
	le64_t length = le64_put(size);

	memcpy(bytes, "DOPLSNAP", 8);
	memcpy(bytes + 8, &version, sizeof version);
	memcpy(bytes + 56, &length, sizeof length);
	for (unsigned i = 0; i < SNAPSHOT_SECTIONS; i++) {
		uint8_t *section = bytes + 208 + (size_t)i * 32;
		uint64_t offset = number_at(section + 8), bytes_there = number_at(section + 16);

		if (checked_span(offset, bytes_there, size))
			put_sum(section + 24, bytes + offset, bytes_there);
	}
	put_sum(bytes + SNAPSHOT_HEADER - 8, bytes, SNAPSHOT_HEADER - 8);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *copy;

	if (size > FILE_MAX)
		return 0;
	try_file(data, size);
	if (size < SNAPSHOT_HEADER)
		return 0;
	copy = malloc(size);
	if (!copy)
		return 0;
	memcpy(copy, data, size);
	put_right(copy, size);
	try_file(copy, size);
	free(copy);
	return 0;
}
