/*
 * Runs a fuzz target over its corpus without libFuzzer: each file as it is, then each file damaged in ways that are
 * the same in every run. A child does the work, so that a crash still names the input that caused it.
 *
 *   fuzz_NAME DIRECTORY [ROUNDS [FILE ROUND]]
 *
 * The last two repeat one input alone, for a debugger. With DOPPEL_LONG in the environment there are many more rounds.
 */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define INPUT_MAX      ((size_t)4 << 20)
#define DEFAULT_ROUNDS 200
#define LONG_ROUNDS    20000
#define FILE_SECONDS   60 /* a file's rounds end after that: some targets take milliseconds each */

/* Shared with the child: what it is doing, and what it has done. */
struct progress {
	char file[256];
	unsigned round;
	unsigned long inputs;
	unsigned files;
};

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static void damage_one(uint8_t *bytes, size_t size, uint64_t *state)
{
	static const uint8_t telling[] = {0, 1, 0x7f, 0x80, 0xff};
	uint64_t random = next_random(state);
	size_t at = random % size;

	switch ((random >> 40) & 3) {
	case 0:
		bytes[at] = (uint8_t)(bytes[at] ^ (1u << ((random >> 48) & 7)));
		break;
	case 1:
		bytes[at] = telling[(random >> 48) % ARRAY_SIZE(telling)];
		break;
	case 2:
		bytes[at] = (uint8_t)(random >> 48);
		break;
	default:
		memmove(bytes + at, bytes + (random >> 20) % (at + 1), size - at);
		break;
	}
}

/* An exact-size heap copy, so that AddressSanitizer sees a read of one byte too many. */
static void run_damaged(const uint8_t *bytes, size_t size, unsigned round)
{
	uint64_t state = (size + 1) * UINT64_C(0x9e3779b97f4a7c15) + round;
	size_t length = size;
	uint8_t *copy;

	if (round && size && next_random(&state) % 4 == 0)
		length = next_random(&state) % size;
	copy = malloc(length ? length : 1);
	if (!copy)
		abort();
	memcpy(copy, bytes, length);
	for (uint64_t n = round && length ? 1 + next_random(&state) % 8 : 0; n > 0; n--)
		damage_one(copy, length, &state);
	LLVMFuzzerTestOneInput(copy, length);
	free(copy);
}

static void load(const char *directory, const char *name, uint8_t **bytes, size_t *size)
{
	struct error error = {0};
	char path[4096];

	snprintf(path, sizeof path, "%s/%s", directory, name);
	if (file_read(path, INPUT_MAX, bytes, size, &error) < 0) {
		printf("# %s\n", error.message);
		exit(EXIT_FAILURE);
	}
}

static void run_file(struct progress *progress, const char *directory, const char *name, unsigned rounds)
{
	time_t end = time(NULL) + FILE_SECONDS;
	uint8_t *bytes;
	size_t size;

	load(directory, name, &bytes, &size);
	snprintf(progress->file, sizeof progress->file, "%s", name);
	for (unsigned round = 0; round <= rounds && time(NULL) <= end; round++) {
		progress->round = round;
		run_damaged(bytes, size, round);
		progress->inputs++;
	}
	progress->files++;
	free(bytes);
}

static void run_directory(struct progress *progress, const char *directory, unsigned rounds)
{
	struct dirent **entries;
	int count = scandir(directory, &entries, NULL, alphasort);

	for (int i = 0; i < count; i++) {
		if (entries[i]->d_name[0] != '.')
			run_file(progress, directory, entries[i]->d_name, rounds);
		free(entries[i]);
	}
	if (count >= 0)
		free(entries);
}

static int report(const struct progress *progress, int status)
{
	bool ended = WIFEXITED(status) && WEXITSTATUS(status) == 0;

	printf("1..1\n");
	if (ended && progress->files) {
		printf("ok 1 - %lu inputs from %u files\n", progress->inputs, progress->files);
		return EXIT_SUCCESS;
	}
	if (ended)
		printf("not ok 1 - the corpus is empty\n");
	else
		printf("not ok 1 - file %s round %u (wait status 0x%x)\n", progress->file, progress->round,
		       (unsigned)status);
	return EXIT_FAILURE;
}

static int replay(const char *directory, unsigned rounds)
{
	struct progress *progress = mmap(NULL, sizeof *progress, PROT_READ | PROT_WRITE,
					 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status;
	pid_t child;

	if (progress == MAP_FAILED || (child = fork()) < 0) {
		printf("not ok 1 - %s\n", strerror(errno));
		return EXIT_FAILURE;
	}
	if (child == 0) {
		run_directory(progress, directory, rounds);
		exit(EXIT_SUCCESS);
	}
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return EXIT_FAILURE;
	return report(progress, status);
}

int main(int argc, char **argv)
{
	unsigned rounds = getenv("DOPPEL_LONG") ? LONG_ROUNDS : DEFAULT_ROUNDS;
	uint8_t *bytes;
	size_t size;

	if (argc < 2) {
		fprintf(stderr, "usage: %s DIRECTORY [ROUNDS [FILE ROUND]]\n", argv[0]);
		return EXIT_FAILURE;
	}
	if (argc > 2)
		rounds = (unsigned)strtoul(argv[2], NULL, 10);
	if (argc < 5)
		return replay(argv[1], rounds);
	load(argv[1], argv[3], &bytes, &size);
	run_damaged(bytes, size, (unsigned)strtoul(argv[4], NULL, 10));
	free(bytes);
	return EXIT_SUCCESS;
}
