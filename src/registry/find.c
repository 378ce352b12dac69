#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/name.h"
#include "config/suggest.h"
#include "registry/private.h"

#define SHOWN_MAX 5

struct names {
	char (*name)[REGISTRY_NAME_SIZE];
	size_t count, room;
};

static void free_names(struct names *names)
{
	free(names->name);
}

#define AUTO_NAMES __attribute__((cleanup(free_names))) struct names

static int add_name(struct names *names, const char *name)
{
	if (names->count == names->room) {
		size_t room = names->room ? names->room * 2 : 64;
		void *larger = reallocarray(names->name, room, sizeof *names->name);

		if (!larger)
			return -ENOMEM;
		names->name = larger;
		names->room = room;
	}
	snprintf(names->name[names->count++], REGISTRY_NAME_SIZE, "%.*s", REGISTRY_NAME_SIZE - 1, name);
	return 0;
}

static bool is_machine(int machines, const struct dirent *entry)
{
	struct stat stat;

	if (!name_is_valid(entry->d_name))
		return false;
	if (entry->d_type != DT_UNKNOWN)
		return entry->d_type == DT_DIR;
	return fstatat(machines, entry->d_name, &stat, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(stat.st_mode);
}

static int compare(const void *a, const void *b)
{
	return strcmp(a, b);
}

/* All machines whose names begin with `prefix`, by name. */
static int read_names(int machines, const char *prefix, struct names *names)
{
	int fd = openat(machines, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
	DIR *directory = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!directory) {
		r = -errno;
		if (fd >= 0)
			close(fd);
		return r;
	}
	while (r == 0 && (entry = readdir(directory)))
		if (strncmp(entry->d_name, prefix, strlen(prefix)) == 0 && is_machine(machines, entry))
			r = add_name(names, entry->d_name);
	closedir(directory);
	if (r == 0 && names->count)
		qsort(names->name, names->count, sizeof *names->name, compare);
	return r;
}

int registry_no_machine(int machines, const char *text, struct error *e)
{
	struct suggestion near = suggestion_for(text);
	AUTO_NAMES names = {0};

	if (machines >= 0 && read_names(machines, "", &names) == 0)
		for (size_t i = 0; i < names.count; i++)
			suggestion_consider(&near, names.name[i]);
	if (near.word)
		return error_set(e, ERROR_NOT_FOUND, -ENOENT, "there is no machine '%.80s'; did you mean %s?", text,
				 near.word);
	return error_set(e, ERROR_NOT_FOUND, -ENOENT, "there is no machine '%.80s'; `doppel ls` tells which there are",
			 text);
}

static int ambiguous(const char *text, const struct names *names, struct error *e)
{
	char list[SHOWN_MAX * (REGISTRY_NAME_SIZE + 2) + 8];
	size_t used = 0;

	for (size_t i = 0; i < names->count && i < SHOWN_MAX; i++)
		used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "", names->name[i]);
	if (names->count > SHOWN_MAX)
		snprintf(list + used, sizeof list - used, ", ...");
	return error_set(e, ERROR_USAGE, -ENOTUNIQ, "'%s' may be %zu machines: %s; write more of the name", text,
			 names->count, list);
}

/* `names`: sorted, one at least, and all begin with `text`. */
static int choose(const char *text, const struct names *names, char name[REGISTRY_NAME_SIZE], struct error *e)
{
	/* The name itself comes before all longer ones. */
	if (names->count > 1 && strcmp(names->name[0], text) != 0)
		return ambiguous(text, names, e);
	strcpy(name, names->name[0]);
	return 0;
}

int registry_find(struct registry *registry, const char *text, char name[REGISTRY_NAME_SIZE], struct error *e)
{
	AUTO_CLOSE machines = registry_root_open(registry, "machines", false);
	AUTO_NAMES names = {0};
	int r;

	/* The beginning of a name is a valid name too. */
	if (machines < 0 || !name_is_valid(text))
		return registry_no_machine(machines, text, e);
	r = read_names(machines, text, &names);
	if (r < 0)
		return error_errno(e, r, "the directory for machines %.300s", registry->root);
	return names.count ? choose(text, &names, name, e) : registry_no_machine(machines, text, e);
}

int registry_history_find(struct registry *registry, const char *text, char name[REGISTRY_NAME_SIZE], struct error *e)
{
	AUTO_NAMES all = {0}, names = {0};
	int r = registry_history_names(registry, &all.name, &all.count, e);

	if (r < 0)
		return r;
	for (size_t i = 0; r == 0 && *text && i < all.count; i++)
		if (strncmp(all.name[i], text, strlen(text)) == 0)
			r = add_name(&names, all.name[i]);
	if (r < 0)
		return error_errno(e, r, "the histories");
	if (names.count == 0)
		return error_set(e, ERROR_NOT_FOUND, -ENOENT, "nothing was ever done to a machine '%.80s'", text);
	qsort(names.name, names.count, sizeof *names.name, compare);
	return choose(text, &names, name, e);
}

int registry_folder(struct registry *registry, const char *name, int *fd, struct error *e)
{
	AUTO_CLOSE machines = registry_root_open(registry, "machines", false);
	int own;

	if (machines < 0 || !name_is_valid(name))
		return registry_no_machine(machines, name, e);
	own = openat(machines, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (own < 0 && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP))
		return registry_no_machine(machines, name, e);
	if (own < 0)
		return error_errno(e, -errno, "the folder of machine %s", name);
	*fd = own;
	return 0;
}

static int no_record(const char *name, int code, struct error *e)
{
	return error_errno(e, code, "the record of machine %s", name);
}

int registry_record(struct registry *registry, const char *name, struct record *out, struct error *e)
{
	AUTO_CLOSE machines = registry_root_open(registry, "machines", false);
	int r;

	if (machines < 0 || !name_is_valid(name))
		return registry_no_machine(machines, name, e);
	r = registry_record_at(machines, name, out);
	if (r == -ENOENT)
		return registry_no_machine(machines, name, e);
	return r < 0 ? no_record(name, r, e) : 0;
}

int registry_list(struct registry *registry, struct record **out, size_t *count, struct error *e)
{
	AUTO_CLOSE machines = registry_root_open(registry, "machines", false);
	AUTO_NAMES names = {0};
	struct record *list;
	size_t used = 0;
	int r = machines == -ENOENT ? 0 : machines < 0 ? machines : read_names(machines, "", &names);

	if (r < 0)
		return error_errno(e, r, "the directory for machines %.300s", registry->root);
	list = calloc(names.count ? names.count : 1, sizeof *list);
	if (!list)
		return error_errno(e, -ENOMEM, "the list of machines");
	for (size_t i = 0; i < names.count; i++)
		if (registry_record_at(machines, names.name[i], &list[used]) == 0)
			used++;
	*out = list;
	*count = used;
	return 0;
}
