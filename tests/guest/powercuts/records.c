/*
 * Records that must survive: the same program writes them in a guest and looks for them on the host.
 *
 * usage: records write FOLDER STREAMS     in the guest, until the power goes
 *        records check FOLDER < REPORTED  on the host
 *
 * A stream is a process with its own files, STREAM.NUMBER, of RECORDS records each; a record tells its stream, number,
 * length and checksum. It is made durable by one of several calls, and then reported: "flushed STREAM NUMBER". A file that
 * is KEPT files old is removed, which is reported before: "dropped STREAM NUMBER" is the first record that is still there.
 * After a cut a stream goes on behind the last whole record that it finds.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAGIC    UINT64_C(0x64726f6365726d69)
#define RECORDS  32
#define KEPT     4
#define STREAMS  16
#define BODY_MAX 12000

struct head {
	uint64_t magic, stream, number, length, sum;
};

struct record {
	struct head head;
	uint8_t body[BODY_MAX];
};

enum way { BY_FSYNC, BY_FDATASYNC, BY_DSYNC, BY_MSYNC, BY_SYNCFS, WAYS };

static __attribute__((format(printf, 1, 2))) void fail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("records: ", stdout);
	vprintf(format, args);
	printf(" (%s)\n", strerror(errno));
	exit(1);
}

static uint64_t mix(uint64_t z)
{
	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static uint64_t sum_of(const struct record *r)
{
	uint64_t sum = mix(r->head.stream * 31 + r->head.number) + r->head.length;

	for (size_t i = 0; i < r->head.length; i++)
		sum = sum * UINT64_C(0x100000001b3) + r->body[i];
	return sum;
}

static size_t make(struct record *r, uint64_t stream, uint64_t number)
{
	uint64_t seed = mix(stream << 32 | number);

	r->head = (struct head){.magic = MAGIC, .stream = stream, .number = number, .length = seed % BODY_MAX};
	for (size_t i = 0; i < r->head.length; i++)
		r->body[i] = (uint8_t)((seed += UINT64_C(0x9e3779b97f4a7c15)) >> 56);
	r->head.sum = sum_of(r);
	return sizeof r->head + r->head.length;
}

static int read_all(int fd, void *to, size_t length)
{
	for (size_t got = 0; got < length;) {
		ssize_t step = read(fd, (char *)to + got, length - got);

		if (step <= 0)
			return 0;
		got += (size_t)step;
	}
	return 1;
}

/* Whether the next record of the file is whole and is this one. */
static int read_record(int fd, uint64_t stream, uint64_t number)
{
	static struct record r;

	return read_all(fd, &r.head, sizeof r.head) && r.head.magic == MAGIC && r.head.stream == stream &&
	       r.head.number == number && r.head.length < BODY_MAX && read_all(fd, r.body, r.head.length) &&
	       r.head.sum == sum_of(&r);
}

static void name_of(char *name, size_t size, uint64_t stream, uint64_t file)
{
	snprintf(name, size, "%llu.%llu", (unsigned long long)stream, (unsigned long long)file);
}

/* Whole records at the beginning of a file; *end: where they end. */
static unsigned whole_records(uint64_t stream, uint64_t file, off_t *end)
{
	unsigned count = 0;
	char name[48];
	int fd;

	name_of(name, sizeof name, stream, file);
	fd = open(name, O_RDONLY);
	*end = 0;
	while (fd >= 0 && count < RECORDS && read_record(fd, stream, file * RECORDS + count)) {
		count++;
		*end = lseek(fd, 0, SEEK_CUR);
	}
	if (fd >= 0)
		close(fd);
	return count;
}

static void put(int fd, const struct record *r, size_t length, off_t at)
{
	if (pwrite(fd, r, length, at) != (ssize_t)length)
		fail("write");
}

static void put_mapped(int fd, const struct record *r, size_t length, off_t at)
{
	off_t page = at & ~(off_t)4095;
	uint8_t *map;

	if (ftruncate(fd, at + (off_t)length) < 0)
		fail("ftruncate");
	map = mmap(NULL, (size_t)(at - page) + length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, page);
	if (map == MAP_FAILED)
		fail("mmap");
	memcpy(map + (at - page), r, length);
	/* msync makes the contents durable, fsync the size. */
	if (msync(map, (size_t)(at - page) + length, MS_SYNC) < 0 || fsync(fd) < 0)
		fail("msync");
	munmap(map, (size_t)(at - page) + length);
}

static void put_at_once(const char *name, const struct record *r, size_t length, off_t at)
{
	int fd = open(name, O_WRONLY | O_DSYNC);

	if (fd < 0)
		fail("%s", name);
	put(fd, r, length, at);
	close(fd);
}

static void put_durably(int fd, const char *name, const struct record *r, size_t length, off_t at)
{
	enum way way = (enum way)(mix(r->head.sum) % WAYS);

	if (way == BY_MSYNC)
		put_mapped(fd, r, length, at);
	else if (way == BY_DSYNC)
		put_at_once(name, r, length, at);
	else
		put(fd, r, length, at);
	if ((way == BY_FSYNC && fsync(fd) < 0) || (way == BY_FDATASYNC && fdatasync(fd) < 0) ||
	    (way == BY_SYNCFS && syncfs(fd) < 0))
		fail("flush");
}

static void report(const char *what, uint64_t stream, uint64_t number)
{
	char line[64];
	int length = snprintf(line, sizeof line, "%s %llu %llu\n", what, (unsigned long long)stream,
			      (unsigned long long)number);

	/* One call a line, so that lines of several processes do not mix. */
	if (write(1, line, (size_t)length) != length)
		_exit(1);
}

static void drop(uint64_t stream, uint64_t file)
{
	char name[48];

	if (file < KEPT)
		return;
	name_of(name, sizeof name, stream, file - KEPT);
	if (access(name, F_OK) < 0)
		return;
	report("dropped", stream, (file - KEPT + 1) * RECORDS);
	unlink(name);
}

/* The file from its first missing record on. */
static void fill_file(int folder, uint64_t stream, uint64_t file)
{
	static struct record r;
	off_t at;
	unsigned count = whole_records(stream, file, &at);
	char name[48];
	int fd;

	name_of(name, sizeof name, stream, file);
	fd = open(name, O_RDWR | O_CREAT, 0644);
	if (fd < 0 || ftruncate(fd, at) < 0 || fsync(folder) < 0)
		fail("%s", name);
	for (; count < RECORDS; count++) {
		size_t length = make(&r, stream, file * RECORDS + count);

		put_durably(fd, name, &r, length, at);
		report("flushed", stream, r.head.number);
		at += (off_t)length;
	}
	close(fd);
}

static uint64_t last_file(uint64_t wanted)
{
	unsigned long long stream, file;
	struct dirent *entry;
	uint64_t last = 0;
	DIR *here = opendir(".");

	while (here && (entry = readdir(here)))
		if (sscanf(entry->d_name, "%llu.%llu", &stream, &file) == 2 && stream == wanted && file > last)
			last = file;
	if (here)
		closedir(here);
	return last;
}

static void write_stream(int folder, uint64_t stream)
{
	for (uint64_t file = last_file(stream);; file++) {
		fill_file(folder, stream, file);
		drop(stream, file);
	}
}

static int write_all(unsigned streams)
{
	int folder = open(".", O_RDONLY | O_DIRECTORY);

	for (uint64_t i = 0; i < streams; i++)
		if (fork() == 0)
			write_stream(folder, i);
	/* None ends by itself. */
	wait(NULL);
	return 1;
}

static uint64_t check_stream(uint64_t stream, uint64_t from, uint64_t to)
{
	uint64_t missing = 0;
	off_t end;

	for (uint64_t file = from / RECORDS; file * RECORDS < to; file++) {
		uint64_t wanted = to - file * RECORDS < RECORDS ? to - file * RECORDS : RECORDS;
		uint64_t found = whole_records(stream, file, &end);

		if (found < wanted) {
			printf("file %llu.%llu has %llu whole records, %llu were reported\n",
			       (unsigned long long)stream, (unsigned long long)file, (unsigned long long)found,
			       (unsigned long long)wanted);
			missing += wanted - found;
		}
	}
	return missing;
}

static int check_all(void)
{
	uint64_t from[STREAMS] = {0}, to[STREAMS] = {0}, missing = 0, count = 0;
	unsigned long long stream, number;
	char line[256], what[16];

	while (fgets(line, sizeof line, stdin)) {
		/* The last line may be cut off. */
		if (!strchr(line, '\n') || sscanf(line, "%15s %llu %llu", what, &stream, &number) != 3 || stream >= STREAMS)
			continue;
		if (strcmp(what, "flushed") == 0 && number + 1 > to[stream])
			to[stream] = number + 1;
		if (strcmp(what, "dropped") == 0 && number > from[stream])
			from[stream] = number;
	}
	for (unsigned i = 0; i < STREAMS; i++) {
		missing += to[i] > from[i] ? check_stream(i, from[i], to[i]) : 0;
		count += to[i] > from[i] ? to[i] - from[i] : 0;
	}
	printf("%llu records, %llu missing\n", (unsigned long long)count, (unsigned long long)missing);
	return missing ? 1 : 0;
}

int main(int argc, char **argv)
{
	if (argc < 3) {
		fputs("usage: records write FOLDER STREAMS | records check FOLDER < REPORTED\n", stderr);
		return 64;
	}
	if (chdir(argv[2]) < 0)
		fail("%s", argv[2]);
	return strcmp(argv[1], "write") == 0 ? write_all((unsigned)atoi(argv[3])) : check_all();
}
