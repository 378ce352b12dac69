/*
 * Exercises a folder: random operations, each carried out on the folder and on a model of it, whose answers (also errors)
 * must be the same; in the end the model is listed.
 *
 * usage: exerciser run FOLDER OPERATIONS SEED LIST   FOLDER is empty; LIST is a file for the model's list
 *        exerciser list FOLDER                       the same list, of what is really there
 */
#include "operations.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define HELD 6

static unsigned long operation;
static const char *operation_name = "";
static bool no_attributes, no_punching;
static struct held {
	int fd, node;
} held[HELD];

void fail(const char *path, const char *format, ...)
{
	int error = errno;
	va_list args;

	va_start(args, format);
	printf("operation %lu (%s) on %s: ", operation, operation_name, path);
	vprintf(format, args);
	printf("; errno %s\n", strerror(error));
	exit(1);
}

/* Whether it was to succeed and did; it must fail with this error otherwise. */
bool answered(long result, int wanted, const char *path)
{
	if (wanted == 0 && result < 0)
		fail(path, "it failed");
	if (wanted != 0 && (result >= 0 || errno != wanted))
		fail(path, "result %ld instead of \"%s\"", result, strerror(wanted));
	return wanted == 0;
}

static int pick_folder(void)
{
	int node;

	do
		node = (int)below(NODES);
	while (nodes[node].kind != FOLDER_NODE);
	return node;
}

struct place pick(void)
{
	static const char *const odd[] = {"with space", "ünïcode", "-dash", "..dots", "a\nline", "*"};
	struct place p = {.folder = below(3) ? pick_folder() : 0};
	unsigned number = below(18);

	if (number < 6 && below(3) == 0)
		snprintf(p.text, sizeof p.text, "%s", odd[number]);
	else
		snprintf(p.text, sizeof p.text, "name%u", number);
	p.name = name_find(p.folder, p.text);
	p.node = p.name >= 0 ? names[p.name].node : -1;
	p.path = path_of(p.folder, p.text);
	return p;
}

/* Where a file is; false: none was met. */
bool pick_kind(struct place *p, enum kind kind)
{
	for (unsigned i = 0; i < 50; i++) {
		*p = pick();
		if (p->node >= 0 && nodes[p->node].kind == kind)
			return true;
	}
	return false;
}

void node_put(int node, size_t at, const uint8_t *bytes, size_t length)
{
	struct node *n = &nodes[node];

	memcpy(n->bytes + at, bytes, length);
	n->size = at + length > n->size ? at + length : n->size;
	n->mtime = -1;
}

static void node_resize(int node, size_t size)
{
	struct node *n = &nodes[node];

	if (size < n->size)
		memset(n->bytes + size, 0, n->size - size);
	n->size = size;
	n->mtime = -1;
}

static int file_open(const char *path, int flags)
{
	int fd = open(path, flags | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		fail(path, "open");
	return fd;
}

/* Mostly small, at times many pages. */
static size_t some_length(size_t limit)
{
	size_t length = below(3) ? 1 + below(5000) : 1 + below(150000);

	return length < limit ? length : limit;
}

static void write_at(int fd, int node, size_t at, size_t length, const char *path)
{
	static uint8_t bytes[FILE_MAX];

	random_bytes(bytes, length);
	for (size_t put = 0; put < length;) {
		ssize_t step = pwrite(fd, bytes + put, length - put, (off_t)(at + put));

		if (step <= 0)
			fail(path, "write of %zu at %zu", length - put, at + put);
		put += (size_t)step;
	}
	node_put(node, at, bytes, length);
}

void compare(const uint8_t *found, size_t at, size_t length, int node, const char *path)
{
	for (size_t i = 0; i < length; i++)
		if (found[i] != nodes[node].bytes[at + i])
			fail(path, "byte %zu of %zu is 0x%02x instead of 0x%02x", at + i, nodes[node].size, found[i],
			     nodes[node].bytes[at + i]);
}

static void read_at(int fd, int node, size_t at, size_t length, const char *path)
{
	static uint8_t bytes[FILE_MAX];
	size_t there = at < nodes[node].size ? nodes[node].size - at : 0;
	ssize_t got = pread(fd, bytes, length, (off_t)at);

	if (got != (ssize_t)(there < length ? there : length))
		fail(path, "read of %zu at %zu of %zu: %zd", length, at, nodes[node].size, got);
	compare(bytes, at, (size_t)got, node, path);
}

static void op_create(void)
{
	struct place p = pick();
	mode_t mode = 0600 | (below(64) & 066);
	int fd = open(p.path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, mode);

	if (answered(fd, p.node >= 0 ? EEXIST : 0, p.path)) {
		int node = node_new(FILE_NODE, mode);

		name_add(p.folder, p.text, node);
		if (below(2))
			write_at(fd, node, 0, some_length(FILE_MAX), p.path);
		close(fd);
	}
}

static void op_open_truncated(void)
{
	struct place p = pick();
	int wanted = p.node < 0 ? ENOENT : nodes[p.node].kind == FOLDER_NODE ? EISDIR :
		     nodes[p.node].kind == LINK_NODE ? ELOOP : 0;
	int fd = open(p.path, O_WRONLY | O_TRUNC | O_NOFOLLOW | O_CLOEXEC);

	if (answered(fd, wanted, p.path)) {
		node_resize(p.node, 0);
		close(fd);
	}
}

static void op_write(void)
{
	struct place p;
	size_t at;
	int fd;

	if (!pick_kind(&p, FILE_NODE))
		return;
	/* Now and then behind the end, which leaves a hole. */
	at = below(3) ? below((unsigned)nodes[p.node].size + 1) : below(FILE_MAX - 1);
	fd = file_open(p.path, O_WRONLY | (below(8) ? 0 : O_SYNC));
	write_at(fd, p.node, at, some_length(FILE_MAX - at), p.path);
	close(fd);
}

static void op_append(void)
{
	static uint8_t bytes[FILE_MAX];
	struct place p;
	size_t length;
	int fd;

	if (!pick_kind(&p, FILE_NODE) || nodes[p.node].size + 5000 > FILE_MAX)
		return;
	length = 1 + below(5000);
	random_bytes(bytes, length);
	fd = file_open(p.path, O_WRONLY | O_APPEND);
	if (write(fd, bytes, length) != (ssize_t)length)
		fail(p.path, "append");
	node_put(p.node, nodes[p.node].size, bytes, length);
	close(fd);
}

static void op_read(void)
{
	struct place p;
	int fd;

	if (!pick_kind(&p, FILE_NODE))
		return;
	fd = file_open(p.path, O_RDONLY);
	if (below(4))
		read_at(fd, p.node, below((unsigned)nodes[p.node].size + 100), some_length(FILE_MAX), p.path);
	else
		read_at(fd, p.node, 0, FILE_MAX, p.path);
	close(fd);
}

static void op_truncate(void)
{
	struct place p;
	size_t size;

	if (!pick_kind(&p, FILE_NODE))
		return;
	size = below(2) ? below(FILE_MAX) : below((unsigned)nodes[p.node].size + 1);
	if (answered(truncate(p.path, (off_t)size), 0, p.path))
		node_resize(p.node, size);
}

static void op_map(void)
{
	struct place p;
	size_t at, length;
	uint8_t *map;
	int fd;

	if (!pick_kind(&p, FILE_NODE) || nodes[p.node].size == 0)
		return;
	fd = file_open(p.path, O_RDWR);
	map = mmap(NULL, nodes[p.node].size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		fail(p.path, "mmap");
	compare(map, 0, nodes[p.node].size, p.node, p.path);
	at = below((unsigned)nodes[p.node].size);
	length = some_length(nodes[p.node].size - at);
	random_bytes(map + at, length);
	node_put(p.node, at, map + at, length);
	if (below(2) && msync(map, nodes[p.node].size, MS_SYNC) < 0)
		fail(p.path, "msync");
	munmap(map, nodes[p.node].size);
	close(fd);
}

static void op_punch(void)
{
	struct place p;
	size_t at, length;
	int fd;

	if (no_punching || !pick_kind(&p, FILE_NODE))
		return;
	at = below(FILE_MAX - 1);
	length = some_length(FILE_MAX - at);
	fd = file_open(p.path, O_RDWR);
	if (below(2)) {
		if (answered(fallocate(fd, 0, (off_t)at, (off_t)length), 0, p.path))
			node_resize(p.node, at + length > nodes[p.node].size ? at + length : nodes[p.node].size);
	} else if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)at, (off_t)length) == 0) {
		memset(nodes[p.node].bytes + at, 0, length);
		nodes[p.node].mtime = -1;
	} else if (errno == EOPNOTSUPP) {
		no_punching = true;
	} else {
		fail(p.path, "fallocate");
	}
	close(fd);
}

static void op_chmod(void)
{
	struct place p;
	mode_t mode;

	if (!pick_kind(&p, below(4) ? FILE_NODE : FOLDER_NODE))
		return;
	mode = (nodes[p.node].kind == FOLDER_NODE ? 0700 : 0600) | below(0100);
	if (answered(chmod(p.path, mode), 0, p.path))
		nodes[p.node].mode = mode;
}

static void op_times(void)
{
	struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = below(2000000000), .tv_nsec = below(1000000000)}};
	struct place p;

	if (!pick_kind(&p, FILE_NODE))
		return;
	if (answered(utimensat(AT_FDCWD, p.path, times, AT_SYMLINK_NOFOLLOW), 0, p.path))
		nodes[p.node].mtime = times[1].tv_sec * INT64_C(1000000000) + times[1].tv_nsec;
}

static void op_stat(void)
{
	struct place p = pick();
	const struct node *n = p.node >= 0 ? &nodes[p.node] : NULL;
	struct stat s;
	enum kind kind;

	if (!answered(lstat(p.path, &s), n ? 0 : ENOENT, p.path))
		return;
	kind = S_ISDIR(s.st_mode) ? FOLDER_NODE : S_ISLNK(s.st_mode) ? LINK_NODE : FILE_NODE;
	if (kind != n->kind || (kind != LINK_NODE && (s.st_mode & 07777) != n->mode))
		fail(p.path, "mode 0%o instead of kind %d, 0%o", s.st_mode, n->kind, n->mode);
	if (kind != FOLDER_NODE && ((size_t)s.st_size != n->size || s.st_nlink != n->links))
		fail(p.path, "%lld bytes, %u links instead of %zu, %u", (long long)s.st_size, (unsigned)s.st_nlink, n->size,
		     n->links);
	if (n->mtime >= 0 && s.st_mtim.tv_sec * INT64_C(1000000000) + s.st_mtim.tv_nsec != n->mtime)
		fail(p.path, "another time");
	if (s.st_uid != getuid())
		fail(p.path, "owner %u", (unsigned)s.st_uid);
}

static void op_readdir(void)
{
	int folder = pick_folder();
	const char *path = folder ? path_of(folder, ".") : ".";
	unsigned expected = 0, found = 0;
	struct dirent *entry;
	DIR *dir = opendir(path);

	if (!dir)
		fail(path, "opendir");
	for (int i = 0; i < NAMES; i++)
		expected += names[i].node >= 0 && names[i].folder == folder;
	while ((entry = readdir(dir))) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (name_find(folder, entry->d_name) < 0)
			fail(path, "\"%s\" should not be there", entry->d_name);
		found++;
	}
	closedir(dir);
	if (found != expected)
		fail(path, "%u names instead of %u", found, expected);
}

static void op_set_attribute(void)
{
	static uint8_t value[VALUE_MAX];
	unsigned number = below(ATTRIBUTES);
	size_t length = below(VALUE_MAX);
	char name[32];
	struct place p;

	if (no_attributes || !pick_kind(&p, FILE_NODE))
		return;
	snprintf(name, sizeof name, "user.attribute%u", number);
	random_bytes(value, length);
	if (setxattr(p.path, name, value, length, 0) < 0) {
		no_attributes = errno == EOPNOTSUPP;
		if (!no_attributes)
			fail(p.path, "setxattr");
		return;
	}
	free(nodes[p.node].values[number]);
	nodes[p.node].values[number] = malloc(length + 1);
	memcpy(nodes[p.node].values[number], value, length);
	nodes[p.node].value_length[number] = length;
}

static void op_get_attribute(void)
{
	static uint8_t value[VALUE_MAX];
	unsigned number = below(ATTRIBUTES);
	char name[32];
	struct place p;
	ssize_t got;

	if (no_attributes || !pick_kind(&p, FILE_NODE))
		return;
	snprintf(name, sizeof name, "user.attribute%u", number);
	got = getxattr(p.path, name, value, sizeof value);
	if (!answered(got, nodes[p.node].values[number] ? 0 : ENODATA, p.path))
		return;
	if ((size_t)got != nodes[p.node].value_length[number] ||
	    memcmp(value, nodes[p.node].values[number], (size_t)got) != 0)
		fail(p.path, "another value of %s", name);
	if (below(3) == 0 && answered(removexattr(p.path, name), 0, p.path)) {
		free(nodes[p.node].values[number]);
		nodes[p.node].values[number] = NULL;
	}
}

/* Files stay what they are for who has them open, whatever becomes of their names. */
static void op_hold(void)
{
	struct held *h = &held[below(HELD)];
	struct place p;

	if (h->node > 0) {
		close(h->fd);
		nodes[h->node].holds--;
		node_release(h->node);
		h->node = 0;
	} else if (pick_kind(&p, FILE_NODE)) {
		*h = (struct held){.fd = file_open(p.path, O_RDWR), .node = p.node};
		nodes[p.node].holds++;
	}
}

static void op_held(void)
{
	struct held *h = &held[below(HELD)];
	size_t at;

	if (h->node <= 0)
		return;
	at = below((unsigned)nodes[h->node].size + 1);
	if (below(2) && at < FILE_MAX)
		write_at(h->fd, h->node, at, some_length(FILE_MAX - at), "a held file");
	else if (below(5) == 0 && answered(ftruncate(h->fd, (off_t)at), 0, "a held file"))
		node_resize(h->node, at);
	read_at(h->fd, h->node, 0, FILE_MAX, "a held file");
	if (below(6) == 0)
		answered(fsync(h->fd), 0, "a held file");
}

/* Only a guest's root may do this; then everything is asked of the server anew. */
static void op_forget(void)
{
	int fd = below(20) == 0 ? open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC) : -1;

	if (fd >= 0) {
		(void)!write(fd, "3", 1);
		close(fd);
	}
}

static const struct {
	const char *name;
	void (*run)(void);
	unsigned weight;
} operations[] = {
	{"create", op_create, 10},
	{"open and truncate", op_open_truncated, 2},
	{"write", op_write, 12},
	{"append", op_append, 5},
	{"read", op_read, 12},
	{"truncate", op_truncate, 4},
	{"map", op_map, 6},
	{"punch", op_punch, 4},
	{"mkdir", op_mkdir, 4},
	{"rmdir", op_rmdir, 3},
	{"unlink", op_unlink, 6},
	{"link", op_link, 5},
	{"symlink", op_symlink, 2},
	{"readlink", op_readlink, 2},
	{"rename", op_rename, 10},
	{"chmod", op_chmod, 3},
	{"times", op_times, 3},
	{"stat", op_stat, 12},
	{"readdir", op_readdir, 4},
	{"set attribute", op_set_attribute, 3},
	{"get attribute", op_get_attribute, 4},
	{"hold", op_hold, 3},
	{"held", op_held, 6},
	{"forget", op_forget, 4},
};

#define COUNT (sizeof operations / sizeof operations[0])

static void step(void)
{
	unsigned total = 0, choice;

	for (size_t i = 0; i < COUNT; i++)
		total += operations[i].weight;
	choice = below(total);
	for (size_t i = 0; i < COUNT; i++) {
		if (choice < operations[i].weight) {
			operation_name = operations[i].name;
			operations[i].run();
			return;
		}
		choice -= operations[i].weight;
	}
}

static int run(char **argv)
{
	FILE *list = fopen(argv[5], "w");

	if (!list || chdir(argv[2]) < 0)
		fail(argv[2], "it can not be used");
	umask(0);
	model_init();
	seed = strtoull(argv[4], NULL, 0);
	for (operation = 0; operation < strtoul(argv[3], NULL, 0); operation++)
		step();
	for (unsigned i = 0; i < HELD; i++)
		if (held[i].node > 0)
			close(held[i].fd);
	list_model(list);
	if (fclose(list) != 0)
		fail(argv[5], "it can not be written");
	printf("%lu operations%s%s\n", operation, no_attributes ? ", no attributes here" : "",
	       no_punching ? ", no holes here" : "");
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 6 && strcmp(argv[1], "run") == 0)
		return run(argv);
	if (argc == 3 && strcmp(argv[1], "list") == 0)
		return list_folder(argv[2], stdout);
	fputs("usage: exerciser run FOLDER OPERATIONS SEED LIST | exerciser list FOLDER\n", stderr);
	return 64;
}
