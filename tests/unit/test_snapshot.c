/* Snapshot files: what was there at the moment of saving is read back, whatever happens to the memory or to the file. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>
#include <xxhash.h>

#include "snapshot/collapse.h"
#include "snapshot/folder.h"
#include "snapshot/pack.h"
#include "snapshot/save.h"

#define PAGES_LOW  300
#define PAGES_HIGH 37
#define PAGES      (PAGES_LOW + PAGES_HIGH)
#define STATE      "the state of everything else"

static struct memory memory;
static char folder[] = "/tmp/doppel-snapshot-XXXXXX", made[64];

static uint8_t *page_at(uint64_t row)
{
	return row < PAGES_LOW ? memory.regions[0].host + row * GUEST_PAGE_SIZE
			       : memory.regions[1].host + (row - PAGES_LOW) * GUEST_PAGE_SIZE;
}

/* Every third page stays zero; each other one is told by row and generation. */
static void expect(uint64_t row, uint64_t generation, uint8_t page[GUEST_PAGE_SIZE])
{
	memset(page, 0, GUEST_PAGE_SIZE);
	for (unsigned i = 0; row % 3 && i < GUEST_PAGE_SIZE / 8; i++) {
		uint64_t word = (row * 512 + i) * UINT64_C(0x9e3779b97f4a7c15) + generation;

		memcpy(page + i * 8, &word, 8);
	}
}

static void write_page(uint64_t row, uint64_t generation)
{
	expect(row, generation, page_at(row));
}

static int set_up(void **state)
{
	struct error e;

	(void)state;
	snprintf(made, sizeof made, "%s", folder);
	assert_non_null(mkdtemp(made));
	memory_init(&memory);
	assert_int_equal(memory_add_ram(&memory, gpa(0x80000000), PAGES_LOW * GUEST_PAGE_SIZE, "low", &e), 0);
	assert_int_equal(memory_add_ram(&memory, gpa(0x100000000), PAGES_HIGH * GUEST_PAGE_SIZE, "high", &e), 0);
	for (uint64_t row = 0; row < PAGES; row++)
		write_page(row, 1);
	return 0;
}

static int tear_down(void **state)
{
	char command[128];

	(void)state;
	memory_finish(&memory);
	snprintf(command, sizeof command, "rm -rf %s", made);
	return system(command);
}

static void path_of(const char *name, char out[128])
{
	snprintf(out, 128, "%s/%s.snap", made, name);
}

static int create(const char *name)
{
	char path[128];
	int fd;

	path_of(name, path);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	return fd;
}

static struct snapshot_contents contents(uint8_t id, uint8_t parent)
{
	struct snapshot_contents c = {.memory = &memory,
				      .state = STATE,
				      .state_length = sizeof STATE,
				      .facts = "{\"tag\": \"x\"}",
				      .created_ns = 17};

	memset(c.id, id, sizeof c.id);
	memset(c.parent, parent, sizeof c.parent);
	return c;
}

static int end(struct snapshot_save *saving, struct snapshot_counts *counts, struct error *e)
{
	int r = snapshot_save_end(saving, counts, e);

	snapshot_save_reap(saving);
	return r;
}

static struct snapshot_counts save(int fd, uint8_t id, uint8_t parent)
{
	const struct snapshot_contents c = contents(id, parent);
	struct snapshot_counts counts = {0};
	struct snapshot_save saving;
	struct error e;

	if (snapshot_save_begin(&saving, fd, &c, &e) < 0 || end(&saving, &counts, &e) < 0)
		fail_msg("save: %s", e.message);
	close(fd);
	return counts;
}

static struct snapshot_chain load(const char *name)
{
	struct snapshot_chain chain;
	char path[128];
	struct error e;

	path_of(name, path);
	if (snapshot_chain_load(&chain, path, &e) < 0)
		fail_msg("load: %s", e.message);
	return chain;
}

/* All pages are of generation 1 but those rows that `other` has set, which are of that generation. */
static void check(const struct snapshot_chain *chain, const uint8_t other[PAGES])
{
	uint8_t page[GUEST_PAGE_SIZE], wanted[GUEST_PAGE_SIZE];
	struct error e;

	for (uint64_t row = 0; row < PAGES; row++) {
		if (snapshot_read_page(snapshot_chain_owner(chain, row), row, page, &e) < 0)
			fail_msg("row %llu: %s", (unsigned long long)row, e.message);
		expect(row, other && other[row] ? other[row] : 1, wanted);
		if (memcmp(page, wanted, sizeof page) != 0)
			fail_msg("row %llu has other bytes", (unsigned long long)row);
	}
}

static void test_round_trip(void **state)
{
	struct snapshot_counts counts = save(create("a"), 1, 0);
	struct snapshot_chain chain = load("a");
	struct error e;

	(void)state;
	assert_int_equal(counts.zero, (PAGES + 2) / 3);
	assert_int_equal(counts.stored, PAGES - (PAGES + 2) / 3);
	check(&chain, NULL);
	assert_int_equal(chain.files[0]->state_length, sizeof STATE);
	assert_string_equal((char *)chain.files[0]->state, STATE);
	assert_string_equal(json_string_value(json_object_get(chain.files[0]->facts, "tag")), "x");
	assert_int_equal(snapshot_verify(chain.files[0], NULL, NULL, &e), 0);
	assert_int_equal(snapshot_address(chain.files[0], PAGES_LOW), 0x100000000);
	snapshot_chain_finish(&chain);
}

/* Flips all bits of one byte. */
static void change_byte(const char *name, off_t offset)
{
	char path[128];
	uint8_t byte;
	int fd;

	path_of(name, path);
	fd = open(path, O_RDWR | O_CLOEXEC);
	assert_int_equal(pread(fd, &byte, 1, offset), 1);
	byte = (uint8_t)~byte;
	assert_int_equal(pwrite(fd, &byte, 1, offset), 1);
	close(fd);
}

/* The table is read when its hashes are needed; it may not be what the runs say. */
static void test_table_changes(void **state)
{
	const off_t hash = SNAPSHOT_HEADER + sizeof(struct snapshot_page);
	struct snapshot_chain chain;
	struct error e;

	(void)state;
	save(create("a"), 1, 0);
	chain = load("a");
	assert_null(chain.files[0]->pages);
	change_byte("a", hash);
	assert_int_equal(snapshot_kind(chain.files[0], 0), SNAPSHOT_PAGE_ZERO);
	assert_int_equal(snapshot_keep_rows(chain.files[0], &e), -EBADMSG);
	assert_non_null(strstr(e.message, "the table of pages"));
	assert_null(chain.files[0]->pages);
	change_byte("a", hash);
	assert_int_equal(snapshot_keep_rows(chain.files[0], &e), 0);
	check(&chain, NULL);
	snapshot_chain_finish(&chain);
}

/* The guest runs on as soon as the child is there. */
static void test_memory_changes_meanwhile(void **state)
{
	const struct snapshot_contents c = contents(1, 0);
	struct snapshot_counts counts;
	struct snapshot_save saving;
	struct snapshot_chain chain;
	int fd = create("a");
	struct error e;

	(void)state;
	assert_int_equal(snapshot_save_begin(&saving, fd, &c, &e), 0);
	for (uint64_t row = PAGES; row-- > 0;)
		memset(page_at(row), 0x55, GUEST_PAGE_SIZE);
	assert_int_equal(end(&saving, &counts, &e), 0);
	close(fd);
	chain = load("a");
	check(&chain, NULL);
	snapshot_chain_finish(&chain);
}

static void prepare(int fd, const char *parent)
{
	struct snapshot_page rows[PAGES];
	struct snapshot_chain chain = load(parent);
	struct error e;

	assert_int_equal(snapshot_chain_keep_rows(&chain, &e), 0);
	for (uint64_t row = 0; row < PAGES; row++)
		rows[row] = snapshot_chain_owner(&chain, row)->pages[row];
	assert_int_equal(snapshot_prepare(fd, rows, PAGES, &e), 0);
	snapshot_chain_finish(&chain);
}

/* What is new since its parent. */
static struct snapshot_counts save_onto(const char *parent, const char *name, uint8_t id)
{
	int fd = create(name);

	prepare(fd, parent);
	return save(fd, id, (uint8_t)(id - 1));
}

/* Pages that change, change back, become zeros, or stop being zeros. */
static void test_chain(void **state)
{
	uint8_t generations[PAGES] = {0};
	struct snapshot_counts counts;
	struct snapshot_chain chain;
	uint8_t zeros[GUEST_PAGE_SIZE] = {0}, page[GUEST_PAGE_SIZE];
	struct error e;

	(void)state;
	save(create("a"), 1, 0);
	write_page(1, 2);
	write_page(200, 2);
	memset(page_at(301), 0, GUEST_PAGE_SIZE);
	counts = save_onto("a", "b", 2);
	assert_int_equal(counts.stored, 2);
	assert_int_equal(counts.zero, (PAGES + 2) / 3 + 1);
	write_page(1, 3);
	write_page(200, 1);
	write_page(301, 1);
	counts = save_onto("b", "c", 3);
	assert_int_equal(counts.stored, 3);
	generations[1] = 3;
	chain = load("c");
	assert_int_equal(chain.count, 3);
	check(&chain, generations);
	snapshot_chain_finish(&chain);
	chain = load("b");
	assert_int_equal(snapshot_read_page(snapshot_chain_owner(&chain, 301), 301, page, &e), 0);
	assert_memory_equal(page, zeros, sizeof page);
	snapshot_chain_finish(&chain);
}

/* One file instead of three, which the others are not needed for. */
static void test_collapse(void **state)
{
	uint8_t generations[PAGES] = {0};
	struct snapshot_chain chain;
	char path[128];
	struct error e;
	int fd;

	(void)state;
	save(create("a"), 1, 0);
	write_page(1, 2);
	save_onto("a", "b", 2);
	chain = load("b");
	fd = create("whole");
	if (snapshot_collapse(&chain, fd, NULL, NULL, &e) < 0)
		fail_msg("collapse: %s", e.message);
	close(fd);
	snapshot_chain_finish(&chain);
	path_of("a", path);
	unlink(path);
	generations[1] = 2;
	chain = load("whole");
	assert_int_equal(chain.count, 1);
	assert_int_equal(chain.files[0]->header.id[0], 2);
	check(&chain, generations);
	snapshot_chain_finish(&chain);
}

static void test_parent_missing(void **state)
{
	struct snapshot_chain chain;
	char path[128];
	struct error e;

	(void)state;
	save(create("a"), 1, 0);
	save_onto("a", "b", 2);
	path_of("a", path);
	unlink(path);
	path_of("b", path);
	assert_int_equal(snapshot_chain_load(&chain, path, &e), -ENOENT);
	assert_non_null(strstr(e.message, "needs its parent, the snapshot 0101"));
}

static void count_files(void *context, uint64_t done, uint64_t total)
{
	unsigned *files = context;

	*files += done == 0;
	assert_int_equal(total, PAGES * GUEST_PAGE_SIZE);
}

/* A parent that is damaged is found, though the newest file is whole. */
static void test_chain_verify(void **state)
{
	struct snapshot_chain chain;
	unsigned files = 0;
	struct error e;

	(void)state;
	save(create("a"), 1, 0);
	save_onto("a", "b", 2);
	chain = load("b");
	assert_int_equal(snapshot_chain_verify(&chain, count_files, &files, &e), 0);
	assert_int_equal(files, 2);
	change_byte("a", (off_t)(snapshot_find(&chain.files[1]->header, SNAPSHOT_MEMORY)->offset + GUEST_PAGE_SIZE));
	assert_int_equal(snapshot_verify(chain.files[0], NULL, NULL, &e), 0);
	assert_int_equal(snapshot_chain_verify(&chain, NULL, NULL, &e), -EBADMSG);
	assert_non_null(strstr(e.message, "a.snap"));
	snapshot_chain_finish(&chain);
}

static void put(const char *name, const uint8_t *bytes, size_t length)
{
	int fd = create(name);

	assert_int_equal(write(fd, bytes, length), (ssize_t)length);
	close(fd);
}

static uint8_t *slurp(const char *name, size_t *length)
{
	char path[128];
	uint8_t *bytes;
	FILE *file;

	path_of(name, path);
	file = fopen(path, "re");
	assert_non_null(file);
	fseek(file, 0, SEEK_END);
	*length = (size_t)ftell(file);
	rewind(file);
	bytes = malloc(*length);
	assert_non_null(bytes);
	assert_int_equal(fread(bytes, 1, *length, file), *length);
	fclose(file);
	return bytes;
}

static int open_and_verify(const char *name, struct error *e)
{
	struct snapshot_chain chain;
	char path[128];
	int r;

	path_of(name, path);
	r = snapshot_chain_load(&chain, path, e);
	if (r == 0)
		r = snapshot_verify(chain.files[0], NULL, NULL, e);
	if (r == 0 || chain.count)
		snapshot_chain_finish(&chain);
	return r;
}

/* No byte of the file can be another without notice, but those of holes, which no page is in. */
static void test_flipped(void **state)
{
	size_t length, hole = SNAPSHOT_HEADER + PAGES * sizeof(struct snapshot_page);
	uint8_t *bytes;
	struct error e;

	(void)state;
	save(create("a"), 1, 0);
	bytes = slurp("a", &length);
	hole = (hole + GUEST_PAGE_SIZE - 1) / GUEST_PAGE_SIZE * GUEST_PAGE_SIZE;
	for (size_t at = 0; at < length; at += at < 1000 || at > length - 200 ? 1 : 997) {
		size_t page = at >= hole ? (at - hole) / GUEST_PAGE_SIZE : 0;
		bool unused = (at >= SNAPSHOT_HEADER + PAGES * sizeof(struct snapshot_page) && at < hole) ||
			      (at >= hole && page < PAGES && page % 3 == 0);

		bytes[at] ^= 0x10;
		put("flipped", bytes, length);
		bytes[at] ^= 0x10;
		e.message[0] = 0;
		if (!unused && open_and_verify("flipped", &e) >= 0)
			fail_msg("byte %zu was flipped and nobody noticed", at);
		if (!unused)
			assert_true(*e.message != 0);
	}
	free(bytes);
}

/* ---- Packed ---- */

#define LONG_FILE (3 * MIB + 17)

/* Zeros, but for the beginning, the end, and something amid. */
static uint8_t *make_file(void)
{
	uint8_t *bytes = calloc(1, LONG_FILE);

	assert_non_null(bytes);
	memcpy(bytes, "begins", 6);
	memcpy(bytes + LONG_FILE / 2, "goes on", 7);
	memcpy(bytes + LONG_FILE - 4, "ends", 4);
	return bytes;
}

/* The chain's name becomes NAME, packed with an empty file and a long one. */
static struct snapshot_packed pack(const struct snapshot_chain *chain, const char *name)
{
	uint8_t *bytes = make_file();
	struct snapshot_file files[] = {{.name = "append"}, {.name = "disk-01234567.raw", .size = LONG_FILE}};
	const struct snapshot_packing packing = {
		.files = files, .file_count = 2, .layer = "disk-01234567.raw", .level = SNAPSHOT_LEVEL};
	struct snapshot_packed packed;
	struct error e;
	int fd;

	put("empty", bytes, 0);
	put("long", bytes, LONG_FILE);
	for (unsigned i = 0; i < 2; i++) {
		char path[128];

		path_of(i ? "long" : "empty", path);
		files[i].fd = open(path, O_RDONLY | O_CLOEXEC);
		assert_true(files[i].fd >= 0);
	}
	fd = create(name);
	if (snapshot_pack(chain, &packing, fd, &packed, NULL, NULL, &e) < 0)
		fail_msg("pack: %s", e.message);
	close(fd);
	close(files[0].fd);
	close(files[1].fd);
	free(bytes);
	return packed;
}

static int unpack(const struct snapshot *snapshot, unsigned index, const struct snapshot_file *file, struct error *e)
{
	int fd = create("unpacked"), r = snapshot_unpack_file(snapshot, index, file, fd, NULL, NULL, e);

	close(fd);
	return r;
}

static void check_files(const struct snapshot *snapshot)
{
	struct snapshot_file files[SNAPSHOT_FILES_MAX];
	uint8_t *wanted = make_file(), *got;
	struct error e;
	unsigned count;
	size_t length;

	if (snapshot_files(snapshot, files, &count, &e) < 0)
		fail_msg("files: %s", e.message);
	assert_int_equal(count, 2);
	assert_string_equal(files[1].name, "disk-01234567.raw");
	for (unsigned i = 0; i < count; i++) {
		if (unpack(snapshot, i, &files[i], &e) < 0)
			fail_msg("%s: %s", files[i].name, e.message);
		got = slurp("unpacked", &length);
		assert_int_equal(length, i ? LONG_FILE : 0);
		assert_memory_equal(got, wanted, length);
		free(got);
	}
	free(wanted);
}

static void test_packed(void **state)
{
	uint8_t generations[PAGES] = {0};
	struct snapshot_packed packed;
	struct snapshot_chain chain;
	int fd;

	(void)state;
	/* Ten pages are as the first. */
	for (uint64_t row = 100; row < 110; row++)
		memcpy(page_at(row), page_at(1), GUEST_PAGE_SIZE);
	save(create("a"), 1, 0);
	write_page(4, 2);
	generations[4] = 2;
	save_onto("a", "b", 2);
	chain = load("b");
	packed = pack(&chain, "packed");
	snapshot_chain_finish(&chain);
	/* Of the ten, rows 102, 105 and 108 were zeros before. */
	assert_int_equal(packed.duplicates, 10);
	assert_int_equal(packed.stored + packed.duplicates + packed.zeros, PAGES);
	chain = load("packed");
	assert_int_equal(chain.count, 1);
	assert_string_equal(json_string_value(json_object_get(
				    json_array_get(json_object_get(chain.files[0]->facts, "disks"), 0), "layer")),
			    "disk-01234567.raw");
	for (uint64_t row = 100; row < 110; row++) {
		uint8_t page[GUEST_PAGE_SIZE], wanted[GUEST_PAGE_SIZE];

		expect(1, 1, wanted);
		assert_int_equal(snapshot_read_page(chain.files[0], row, page, NULL), 0);
		assert_memory_equal(page, wanted, sizeof page);
	}
	check_files(chain.files[0]);
	/* As a plain file it is what it was. */
	fd = create("plain");
	assert_int_equal(snapshot_collapse(&chain, fd, NULL, NULL, NULL), 0);
	close(fd);
	snapshot_chain_finish(&chain);
	for (uint64_t row = 100; row < 110; row++)
		write_page(row, 1);
	chain = load("plain");
	for (uint64_t row = 0; row < 100; row++) {
		uint8_t page[GUEST_PAGE_SIZE], wanted[GUEST_PAGE_SIZE];

		expect(row, generations[row] ? generations[row] : 1, wanted);
		assert_int_equal(snapshot_read_page(chain.files[0], row, page, NULL), 0);
		assert_memory_equal(page, wanted, sizeof page);
	}
	snapshot_chain_finish(&chain);
}

/* Memory and files. */
static int read_packed(const char *name, struct error *e)
{
	struct snapshot_file files[SNAPSHOT_FILES_MAX];
	struct snapshot_chain chain;
	unsigned count = 0;
	char path[128];
	int r;

	path_of(name, path);
	r = snapshot_chain_load(&chain, path, e);
	if (r < 0)
		return r;
	r = snapshot_verify(chain.files[0], NULL, NULL, e);
	if (r == 0)
		r = snapshot_files(chain.files[0], files, &count, e);
	for (unsigned i = 0; r == 0 && i < count; i++)
		r = unpack(chain.files[0], i, &files[i], e);
	snapshot_chain_finish(&chain);
	return r;
}

/* There is no byte that nothing is in. */
static void test_packed_flipped(void **state)
{
	struct snapshot_chain chain;
	struct error e;
	uint8_t *bytes;
	size_t length;

	(void)state;
	save(create("a"), 1, 0);
	chain = load("a");
	pack(&chain, "packed");
	snapshot_chain_finish(&chain);
	bytes = slurp("packed", &length);
	for (size_t at = 0; at < length; at += at < 1000 || at + 300 > length ? 1 : 9973) {
		bytes[at] ^= 0x10;
		put("flipped", bytes, length);
		bytes[at] ^= 0x10;
		if (read_packed("flipped", &e) >= 0)
			fail_msg("byte %zu was flipped and nobody noticed", at);
	}
	for (size_t cut = 0; cut < length; cut += 40009) {
		put("cut", bytes, cut);
		assert_true(read_packed("cut", &e) < 0);
	}
	free(bytes);
}

/* ---- Version 1, and runs ---- */

static struct snapshot_header header_of(const uint8_t *bytes, size_t length)
{
	struct snapshot_header header;
	struct error e;

	assert_int_equal(snapshot_header_get(&header, bytes, length, "a", &e), 0);
	return header;
}

static void seal(uint8_t *bytes, const struct snapshot_header *header)
{
	le64_t sum;

	snapshot_header_put(header, bytes);
	bytes[8] = (uint8_t)header->version;
	sum = le64_put(XXH64(bytes, SNAPSHOT_HEADER - sizeof sum, 0));
	memcpy(bytes + SNAPSHOT_HEADER - sizeof sum, &sum, sizeof sum);
}

/* As a program wrote it that knew no runs: their bytes are nobody's. */
static void make_old(const char *name)
{
	size_t length;
	uint8_t *bytes = slurp(name, &length);
	struct snapshot_header header = header_of(bytes, length);
	unsigned i = 0;

	assert_int_equal(header.version, 2);
	while (header.sections[i].kind != SNAPSHOT_RUNS)
		i++;
	header.section_count--;
	memmove(&header.sections[i], &header.sections[i + 1], (header.section_count - i) * sizeof header.sections[0]);
	header.version = 1;
	seal(bytes, &header);
	put(name, bytes, length);
	free(bytes);
}

static void test_version_1(void **state)
{
	uint8_t other[PAGES] = {[4] = 2};
	struct snapshot_chain chain;
	struct error e;
	int fd;

	(void)state;
	save(create("a"), 1, 0);
	make_old("a");
	fd = create("b");
	prepare(fd, "a");
	write_page(4, 2);
	save(fd, 2, 1);
	chain = load("b");
	assert_int_equal(chain.files[1]->header.version, 1);
	check(&chain, other);
	snapshot_chain_finish(&chain);
	make_old("b");
	chain = load("b");
	check(&chain, other);
	pack(&chain, "packed");
	snapshot_chain_finish(&chain);
	make_old("packed");
	assert_int_equal(read_packed("packed", &e), 0);
	change_byte("a", SNAPSHOT_HEADER + 40);
	assert_int_equal(open_and_verify("a", &e), -EBADMSG);
	assert_non_null(strstr(e.message, "the table of pages"));
}

struct lie {
	unsigned run; /* counted from the end: 0 is the last */
	uint32_t kind, pages;
	const char *words;
};

static void tell_lie(const struct lie *lie)
{
	size_t length;
	uint8_t *bytes = slurp("a", &length);
	struct snapshot_header header = header_of(bytes, length);
	const struct snapshot_run run = {.kind = le32_put(lie->kind), .pages = le32_put(lie->pages)};
	struct snapshot_section *section = NULL;

	for (unsigned i = 0; i < header.section_count; i++)
		if (header.sections[i].kind == SNAPSHOT_RUNS)
			section = &header.sections[i];
	assert_non_null(section);
	memcpy(bytes + section->offset + section->length - (lie->run + 1) * sizeof run, &run, sizeof run);
	section->checksum = XXH64(bytes + section->offset, section->length, 0);
	seal(bytes, &header);
	put("lie", bytes, length);
	free(bytes);
}

/* The checksums are right, and what they protect is not. */
static void test_runs_lie(void **state)
{
	static const struct lie lies[] = {
		{1, SNAPSHOT_PAGE_ZERO, 0, "has pages that there are not"},
		{0, SNAPSHOT_PAGE_ZERO, PAGES, "has pages that there are not"},
		{0, SNAPSHOT_PAGE_ZERO, UINT32_MAX, "has pages that there are not"},
		{0, SNAPSHOT_PAGE_NONE, 1, "has no kind"},
		{1, 77, 1, "has no kind"},
		{0, SNAPSHOT_PAGE_PARENT, 1, "names a parent"},
		{1, SNAPSHOT_PAGE_HERE, 1, "end before the pages"},
		{0, SNAPSHOT_PAGE_HERE, 1, "is of another kind"},
	};
	struct error e;

	(void)state;
	/* Rows 333 to 336: a page of zeros, two others, one of zeros. */
	save(create("a"), 1, 0);
	for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
		tell_lie(&lies[i]);
		assert_int_equal(open_and_verify("lie", &e), -EBADMSG);
		if (!strstr(e.message, lies[i].words))
			fail_msg("lie %zu: \"%s\" does not tell \"%s\"", i, e.message, lies[i].words);
	}
}

static void test_cut(void **state)
{
	size_t length;
	uint8_t *bytes;
	struct error e;

	(void)state;
	save(create("a"), 1, 0);
	bytes = slurp("a", &length);
	for (size_t cut = 0; cut < length; cut += cut < 200 ? 1 : 4093) {
		put("cut", bytes, cut);
		assert_true(open_and_verify("cut", &e) < 0);
	}
	bytes[8] = 3;
	put("newer", bytes, length);
	assert_int_equal(open_and_verify("newer", &e), -ENOTSUP);
	assert_non_null(strstr(e.message, "version 3"));
	free(bytes);
}

/* Whoever saves without room gets no file that anybody takes for one. */
static void test_no_room(void **state)
{
	const struct snapshot_contents c = contents(1, 0);
	struct rlimit before, small;
	struct snapshot_counts counts;
	struct snapshot_save saving;
	struct error e;
	int fd = create("a"), r;

	(void)state;
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &before);
	/* State and facts are written far behind, so there the limit shows first. */
	small = (struct rlimit){.rlim_cur = 200 * GUEST_PAGE_SIZE, .rlim_max = before.rlim_max};
	setrlimit(RLIMIT_FSIZE, &small);
	r = snapshot_save_begin(&saving, fd, &c, &e);
	if (r == 0)
		r = end(&saving, &counts, &e);
	setrlimit(RLIMIT_FSIZE, &before);
	signal(SIGXFSZ, SIG_DFL);
	close(fd);
	assert_int_equal(r, -EFBIG);
	assert_true(open_and_verify("a", &e) < 0);
}

/* Its child stands still amid the memory, which is written in a moment: tried again when it was faster. */
static bool give_up(void)
{
	const struct snapshot_contents c = contents(1, 0);
	struct snapshot_counts counts;
	struct snapshot_save saving;
	int fd = create("a"), r;
	struct error e;

	assert_int_equal(snapshot_save_begin(&saving, fd, &c, &e), 0);
	assert_int_equal(kill(saving.child, SIGSTOP), 0);
	snapshot_save_give_up(&saving);
	assert_int_equal(kill(saving.child, SIGCONT), 0);
	r = end(&saving, &counts, &e);
	close(fd);
	if (r < 0) {
		assert_int_equal(r, -ECANCELED);
		assert_true(open_and_verify("a", &e) < 0);
	}
	return r < 0;
}

static void test_given_up(void **state)
{
	unsigned rounds = 0;

	(void)state;
	while (!give_up())
		assert_true(++rounds < 100);
	save(create("b"), 1, 0);
}

/* ---- Bare ---- */

static int save_bare(const char *name, struct snapshot_counts *counts)
{
	struct snapshot_contents c = contents(1, 0);
	struct snapshot_save saving;
	struct error e;
	int fd = create(name), r;

	c.bare = true;
	r = snapshot_save_begin(&saving, fd, &c, &e);
	if (r == 0)
		r = end(&saving, counts, &e);
	close(fd);
	return r;
}

/* Every third page is zeros, and alone: stored with its neighbours, unless it is the first or the last of 256 or of a region. */
static void test_bare(void **state)
{
	uint8_t page[GUEST_PAGE_SIZE], expected[GUEST_PAGE_SIZE];
	struct snapshot_counts counts;
	struct snapshot_chain chain;
	struct error e;

	(void)state;
	memset(page_at(100), 0, 20 * GUEST_PAGE_SIZE);
	assert_int_equal(save_bare("a", &counts), 0);
	assert_int_equal(counts.stored + counts.zero, PAGES);
	chain = load("a");
	for (uint64_t row = 0; row < PAGES; row++) {
		bool zero = row == 0 || row == 255 || row == PAGES_LOW || row == PAGES - 1 || (row >= 99 && row < 121);

		if (row >= 100 && row < 120)
			memset(expected, 0, sizeof expected);
		else
			expect(row, 1, expected);
		assert_int_equal(snapshot_kind(chain.files[0], row), zero ? SNAPSHOT_PAGE_ZERO : SNAPSHOT_PAGE_HERE);
		assert_int_equal(snapshot_read_page(chain.files[0], row, page, &e), 0);
		assert_memory_equal(page, expected, sizeof page);
	}
	assert_int_equal(snapshot_keep_rows(chain.files[0], &e), -EOPNOTSUPP);
	assert_int_equal(snapshot_verify(chain.files[0], NULL, NULL, &e), -EOPNOTSUPP);
	assert_non_null(strstr(e.message, "no checksums"));
	snapshot_chain_finish(&chain);
}

/* Flags that say of a file what it is not. */
static void test_bare_lies(void **state)
{
	struct snapshot_counts counts;
	struct snapshot_header header, lie;
	size_t length;
	uint8_t *bytes;
	struct error e;

	(void)state;
	assert_int_equal(save_bare("a", &counts), 0);
	bytes = slurp("a", &length);
	header = header_of(bytes, length);
	for (unsigned i = 0; i < 4; i++) {
		lie = header;
		if (i == 0)
			lie.flags = 0;
		if (i == 1)
			lie.flags |= SNAPSHOT_PACKED;
		if (i == 2)
			lie.parent[3] = 1;
		if (i == 3)
			lie.version = 1;
		seal(bytes, &lie);
		put("lie", bytes, length);
		assert_int_equal(open_and_verify("lie", &e), -EBADMSG);
	}
	free(bytes);
	save(create("b"), 1, 0);
	bytes = slurp("b", &length);
	lie = header_of(bytes, length);
	lie.flags = SNAPSHOT_BARE;
	seal(bytes, &lie);
	put("lie", bytes, length);
	assert_int_equal(open_and_verify("lie", &e), -EBADMSG);
	free(bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_round_trip, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_table_changes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_memory_changes_meanwhile, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_chain, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_collapse, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_parent_missing, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_chain_verify, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_flipped, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_packed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_packed_flipped, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_version_1, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_runs_lie, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_cut, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_no_room, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_given_up, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_bare, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_bare_lies, set_up, tear_down),
	};

	return cmocka_run_group_tests_name("snapshot", tests, NULL, NULL);
}
