/*
 * Small static Linux programs on a bare hart, with two system calls: write and exit.
 *
 *   isa-programs [--engine NAME] [--alone] PROGRAM...
 *
 * A program must end with status 0 (the self-checking ones exit with the number of the test that failed), and print
 * what it prints under qemu-riscv64. --alone: the emulator lacks the instructions, so only the status counts.
 */
#include <elf.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "machine.h"
#include "peer.h"

#define BASE       UINT64_C(0x10000) /* where the linker puts programs */
#define SIZE       (4 * MIB)
#define LIMIT      UINT64_C(200000000)
#define OUTPUT_MAX 8192

enum { SYS_WRITE = 64, SYS_EXIT = 93 };

struct output {
	char bytes[OUTPUT_MAX];
	size_t length;
	int status;
};

static bool load(struct isa_machine *m, const char *path, uint64_t *entry)
{
	struct error e = {0};
	uint8_t *bytes;
	size_t size;
	Elf64_Ehdr header;
	bool good = file_read(path, SIZE, &bytes, &size, &e) == 0;

	if (!good) {
		printf("# %s\n", e.message);
		return false;
	}
	memcpy(&header, bytes, sizeof header);
	for (unsigned i = 0; i < header.e_phnum && good; i++) {
		Elf64_Phdr part;

		memcpy(&part, bytes + header.e_phoff + i * sizeof part, sizeof part);
		if (part.p_type == PT_LOAD)
			good = memory_write(&m->memory, gpa(part.p_vaddr), bytes + part.p_offset, part.p_filesz) == 0;
	}
	*entry = header.e_entry;
	free(bytes);
	return good;
}

static void append(struct isa_machine *m, struct output *out, uint64_t address, uint64_t length)
{
	if (length > OUTPUT_MAX - out->length ||
	    memory_read(&m->memory, gpa(address), out->bytes + out->length, length) < 0)
		return;
	out->length += length;
}

/* Until exit, whose status is left in *out; anything else that ends it is told. */
static bool run(struct isa_machine *m, struct output *out)
{
	for (;;) {
		enum isa_ending ending = isa_machine_run(m, LIMIT);
		struct hart *hart = m->hart;

		if (ending != ISA_SYSTEM_CALL || (hart->x[17] != SYS_WRITE && hart->x[17] != SYS_EXIT)) {
			printf("# ended in way %d at %#" PRIx64 ", cause %" PRIu64 ", tval %#" PRIx64 "\n", ending,
			       hart->mepc, hart->mcause, hart->mtval);
			return false;
		}
		if (hart->x[17] == SYS_EXIT) {
			out->status = (int)(hart->x[10] & 255);
			return true;
		}
		append(m, out, hart->x[11], hart->x[12]);
		hart->x[10] = hart->x[12];
		hart->pc = hart->mepc + 4;
		hart->priv = PRIV_U;
		hart->waiting = false;
		isa_machine_changed(m);
	}
}

static bool run_here(const struct engine *engine, const char *path, struct output *out)
{
	struct isa_machine m;
	struct error e = {0};
	uint64_t entry = 0;
	bool good = isa_machine_init(&m, engine, BASE, SIZE, &e) == 0 && load(&m, path, &entry);

	if (good) {
		isa_machine_reset(&m, PRIV_U, entry);
		isa_machine_changed(&m);
		good = run(&m, out);
	}
	isa_machine_finish(&m);
	return good;
}

static bool run_there(const char *path, struct output *out)
{
	char command[4096];
	FILE *pipe;

	snprintf(command, sizeof command, "timeout 60 qemu-riscv64 -cpu " ISA_PEER_CPU " '%s'", path);
	pipe = popen(command, "re");
	if (!pipe)
		return false;
	out->length = fread(out->bytes, 1, sizeof out->bytes, pipe);
	out->status = pclose(pipe) >> 8;
	return true;
}

static bool judge(const struct engine *engine, const char *path, bool alone)
{
	static struct output ours, theirs;

	memset(&ours, 0, sizeof ours);
	memset(&theirs, 0, sizeof theirs);
	if (!run_here(engine, path, &ours))
		return false;
	if (ours.status)
		printf("# %s: test %d failed\n", path, ours.status);
	if (alone)
		return ours.status == 0;
	if (!run_there(path, &theirs))
		return false;
	if (theirs.status != ours.status || theirs.length != ours.length ||
	    memcmp(theirs.bytes, ours.bytes, ours.length) != 0) {
		printf("# status %d, qemu-riscv64 %d\n# printed:\n%.*s# qemu-riscv64:\n%.*s", ours.status,
		       theirs.status, (int)ours.length, ours.bytes, (int)theirs.length, theirs.bytes);
		return false;
	}
	return ours.status == 0;
}

int main(int argc, char **argv)
{
	static const struct option names[] = {{"engine", 1, NULL, 'e'}, {"alone", 0, NULL, 'a'}, {NULL, 0, NULL, 0}};
	bool alone = system("qemu-riscv64 --version >/dev/null 2>&1") != 0, passed = true;
	const char *engine = "interpret";
	int name;

	while ((name = getopt_long(argc, argv, "", names, NULL)) != -1) {
		if (name == 'a')
			alone = true;
		else if (name == 'e')
			engine = optarg;
		else
			return 2;
	}
	if (!engine_find(engine)) {
		printf("Bail out! no engine %s\n", engine);
		return EXIT_FAILURE;
	}
	printf("1..%d\n", argc - optind);
	for (int i = optind; i < argc; i++) {
		const char *file = strrchr(argv[i], '/');
		bool good = judge(engine_find(engine), argv[i], alone);

		printf("%s %d - %s\n", good ? "ok" : "not ok", i - optind + 1, file ? file + 1 : argv[i]);
		passed &= good;
	}
	return passed ? EXIT_SUCCESS : EXIT_FAILURE;
}
