#include "model.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct node nodes[NODES];
struct name names[NAMES];
uint64_t seed;

/* splitmix64 */
uint64_t random_number(void)
{
	uint64_t z = seed += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

unsigned below(unsigned limit)
{
	return (unsigned)(random_number() % limit);
}

void random_bytes(uint8_t *bytes, size_t length)
{
	uint64_t z = random_number();

	for (size_t i = 0; i < length; i++) {
		z = z * UINT64_C(6364136223846793005) + 1442695040888963407;
		bytes[i] = (uint8_t)(z >> 56);
	}
}

void model_init(void)
{
	nodes[0] = (struct node){.kind = FOLDER_NODE, .links = 1};
	for (int i = 0; i < NAMES; i++)
		names[i].node = -1;
}

int node_new(enum kind kind, mode_t mode)
{
	for (int i = 1; i < NODES; i++) {
		if (nodes[i].kind != NONE)
			continue;
		nodes[i] = (struct node){.kind = kind, .mode = mode, .mtime = -1};
		if (kind != FOLDER_NODE)
			nodes[i].bytes = calloc(1, FILE_MAX);
		return i;
	}
	return -1;
}

void node_release(int node)
{
	struct node *n = &nodes[node];

	if (n->links || n->holds)
		return;
	free(n->bytes);
	for (int i = 0; i < ATTRIBUTES; i++)
		free(n->values[i]);
	*n = (struct node){.kind = NONE};
}

int name_find(int folder, const char *text)
{
	for (int i = 0; i < NAMES; i++)
		if (names[i].node >= 0 && names[i].folder == folder && strcmp(names[i].text, text) == 0)
			return i;
	return -1;
}

int name_add(int folder, const char *text, int node)
{
	for (int i = 0; i < NAMES; i++) {
		if (names[i].node >= 0)
			continue;
		names[i].node = node;
		names[i].folder = folder;
		snprintf(names[i].text, sizeof names[i].text, "%s", text);
		nodes[node].links++;
		return i;
	}
	return -1;
}

void name_remove(int name)
{
	int node = names[name].node;

	names[name].node = -1;
	nodes[node].links--;
	node_release(node);
}

bool folder_is_empty(int folder)
{
	for (int i = 0; i < NAMES; i++)
		if (names[i].node >= 0 && names[i].folder == folder)
			return false;
	return true;
}

static const struct name *name_of_folder(int folder)
{
	for (int i = 0; i < NAMES; i++)
		if (names[i].node == folder)
			return &names[i];
	return NULL;
}

unsigned folder_depth(int folder)
{
	return folder == 0 ? 0 : 1 + folder_depth(name_of_folder(folder)->folder);
}

bool is_below(int node, int folder)
{
	return node == folder || (node != 0 && is_below(name_of_folder(node)->folder, folder));
}

const char *path_of(int folder, const char *text)
{
	static char buffers[4][1024];
	static unsigned turn;
	char *path = buffers[turn++ % 4], rest[1024];

	snprintf(path, sizeof buffers[0], "%s", text);
	while (folder != 0) {
		const struct name *name = name_of_folder(folder);

		snprintf(rest, sizeof rest, "%s/%s", name->text, path);
		memcpy(path, rest, sizeof rest);
		folder = name->folder;
	}
	return path;
}

uint64_t sum_of(const uint8_t *bytes, size_t length)
{
	uint64_t sum = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < length; i++)
		sum = (sum ^ bytes[i]) * UINT64_C(0x100000001b3);
	return sum;
}

/* What is told of a thing: its path, kind, permissions, links, size and contents. */
static char *line_of(const char *path, enum kind kind, mode_t mode, unsigned links, size_t size, uint64_t sum)
{
	char *line = NULL;

	if (kind == FOLDER_NODE)
		(void)!asprintf(&line, "%s folder %03o\n", path, mode & 0777);
	else
		(void)!asprintf(&line, "%s %s %03o %u links %zu bytes %016llx\n", path,
				kind == FILE_NODE ? "file" : "link", kind == FILE_NODE ? mode & 0777 : 0, links, size,
				(unsigned long long)sum);
	return line;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void print_sorted(char **lines, size_t count, FILE *out)
{
	qsort(lines, count, sizeof *lines, by_text);
	for (size_t i = 0; i < count; i++) {
		fputs(lines[i], out);
		free(lines[i]);
	}
}

void list_model(FILE *out)
{
	char *lines[NAMES];
	size_t count = 0;

	for (int i = 0; i < NAMES; i++) {
		const struct node *n = names[i].node >= 0 ? &nodes[names[i].node] : NULL;

		if (n)
			lines[count++] = line_of(path_of(names[i].folder, names[i].text), n->kind, n->mode, n->links,
						 n->size, n->bytes ? sum_of(n->bytes, n->size) : 0);
	}
	print_sorted(lines, count, out);
}

static size_t contents(int folder, const char *name, enum kind kind, uint8_t *bytes)
{
	ssize_t got;
	int fd;

	if (kind == LINK_NODE)
		got = readlinkat(folder, name, (char *)bytes, FILE_MAX);
	else {
		fd = openat(folder, name, O_RDONLY | O_CLOEXEC);
		got = fd >= 0 ? read(fd, bytes, FILE_MAX + 1) : -1;
		if (fd >= 0)
			close(fd);
	}
	return got > 0 ? (size_t)got : 0;
}

static size_t list_below(int folder, const char *prefix, char **lines, size_t count)
{
	static uint8_t bytes[FILE_MAX + 1];
	struct dirent *entry;
	DIR *dir = fdopendir(folder);

	while (dir && count < NAMES && (entry = readdir(dir))) {
		struct stat s;
		char path[1024];
		enum kind kind;
		size_t size = 0;

		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
		    fstatat(folder, entry->d_name, &s, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		kind = S_ISDIR(s.st_mode) ? FOLDER_NODE : S_ISLNK(s.st_mode) ? LINK_NODE : FILE_NODE;
		snprintf(path, sizeof path, "%s%s", prefix, entry->d_name);
		if (kind != FOLDER_NODE)
			size = contents(folder, entry->d_name, kind, bytes);
		lines[count++] = line_of(path, kind, s.st_mode, (unsigned)s.st_nlink, size, sum_of(bytes, size));
		if (kind == FOLDER_NODE) {
			strncat(path, "/", sizeof path - strlen(path) - 1);
			count = list_below(openat(folder, entry->d_name, O_RDONLY | O_CLOEXEC), path, lines, count);
		}
	}
	if (dir)
		closedir(dir);
	return count;
}

int list_folder(const char *path, FILE *out)
{
	int folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char *lines[NAMES];

	if (folder < 0)
		return 1;
	print_sorted(lines, list_below(folder, "", lines, 0), out);
	return 0;
}
