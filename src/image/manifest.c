#include "image/manifest.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/file.h"
#include "base/hex.h"

#define FORM          "doppel-image 1"
#define MANIFEST_SIZE ((size_t)256 * 1024)
/* From this size on reading a file takes longer than a person should wait for. */
#define LARGE         (64 * MIB)
#define HASH_DIGITS   (MANIFEST_HASH_SIZE - 1)

static void print_hash(XXH128_hash_t hash, char out[MANIFEST_HASH_SIZE])
{
	snprintf(out, MANIFEST_HASH_SIZE, "%016" PRIx64 "%016" PRIx64, (uint64_t)hash.high64,
		 (uint64_t)hash.low64);
}

void manifest_hash(const void *bytes, size_t size, char out[MANIFEST_HASH_SIZE])
{
	print_hash(XXH3_128bits(bytes, size), out);
}

static int hash_stream(int fd, XXH3_state_t *state, uint64_t *size)
{
	static const size_t room = 256 * 1024;
	uint8_t *buffer = malloc(room);
	ssize_t count = 0;

	*size = 0;
	while (buffer && (count = read(fd, buffer, room)) != 0) {
		if (count < 0 && errno != EINTR)
			break;
		if (count < 0)
			continue;
		XXH3_128bits_update(state, buffer, (size_t)count);
		*size += (uint64_t)count;
	}
	free(buffer);
	if (!buffer)
		return -ENOMEM;
	return count < 0 ? -errno : 0;
}

static uint64_t changed_at(const struct stat *status)
{
	return (uint64_t)status->st_ctim.tv_sec * UINT64_C(1000000000) + (uint64_t)status->st_ctim.tv_nsec;
}

static int measure(const char *path, struct manifest_file *file)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	XXH3_state_t *state = XXH3_createState();
	struct stat status;
	int r = state ? 0 : -ENOMEM;

	if (r == 0 && (fd < 0 || fstat(fd, &status) < 0))
		r = -errno;
	if (r == 0 && !S_ISREG(status.st_mode))
		r = -EBADMSG;
	if (r == 0) {
		XXH3_128bits_reset(state);
		r = hash_stream(fd, state, &file->size);
	}
	if (r == 0) {
		print_hash(XXH3_128bits_digest(state), file->hash);
		file->inode = file->size >= LARGE ? (uint64_t)status.st_ino : 0;
		file->changed = file->size >= LARGE ? changed_at(&status) : 0;
	}
	XXH3_freeState(state);
	if (fd >= 0)
		close(fd);
	return r;
}

static bool join(char out[PATH_MAX], const char *directory, const char *name)
{
	return snprintf(out, PATH_MAX, "%s/%s", directory, name) < PATH_MAX;
}

int manifest_add(struct manifest *manifest, const char *directory, const char *name, struct error *e)
{
	struct manifest_file *file = &manifest->files[manifest->count];
	char path[PATH_MAX];
	int r;

	if (manifest->count == MANIFEST_FILES_MAX || strlen(name) >= sizeof file->name ||
	    !join(path, directory, name))
		return error_set(e, ERROR_FAILED, -ENAMETOOLONG, "%.200s: too many files, or too long a name",
				 name);
	r = measure(path, file);
	if (r < 0)
		return error_errno(e, r, "%.300s", path);
	strcpy(file->name, name);
	manifest->count++;
	return 0;
}

/* A cheap look at the size first. */
static bool is_as_listed(struct manifest_file *file, const char *directory, bool *renewed)
{
	struct manifest_file now;
	struct stat status;
	char path[PATH_MAX];

	if (!join(path, directory, file->name) || lstat(path, &status) < 0 || (uint64_t)status.st_size != file->size)
		return false;
	if (file->changed && S_ISREG(status.st_mode) && (uint64_t)status.st_ino == file->inode &&
	    changed_at(&status) == file->changed)
		return true;
	if (measure(path, &now) < 0 || now.size != file->size || strcmp(now.hash, file->hash) != 0)
		return false;
	*renewed |= now.changed != 0;
	file->inode = now.inode;
	file->changed = now.changed;
	return true;
}

bool manifest_holds(struct manifest *manifest, const char *directory, const char *prefix)
{
	size_t matches = 0;

	for (size_t i = 0; i < manifest->count; i++) {
		if (strncmp(manifest->files[i].name, prefix, strlen(prefix)) != 0)
			continue;
		if (!is_as_listed(&manifest->files[i], directory, &manifest->renewed))
			return false;
		matches++;
	}
	return matches > 0;
}

static int print(const struct manifest *manifest, char **text, size_t *size)
{
	FILE *out = open_memstream(text, size);

	if (!out)
		return -ENOMEM;
	fprintf(out, FORM "\nrecipe %s\npackages %s\nversion %s\nmade %" PRId64 "\n", manifest->recipe,
		manifest->packages, manifest->version, manifest->made);
	if (*manifest->disk)
		fprintf(out, "disk %s\n", manifest->disk);
	if (*manifest->arch)
		fprintf(out, "arch %s\n", manifest->arch);
	if (*manifest->append)
		fprintf(out, "append %s\n", manifest->append);
	for (size_t i = 0; i < manifest->count; i++) {
		const struct manifest_file *file = &manifest->files[i];

		fprintf(out, "file %" PRIu64 " %s %s\n", file->size, file->hash, file->name);
		if (file->changed)
			fprintf(out, "seen %" PRIu64 " %" PRIu64 "\n", file->inode, file->changed);
	}
	if (fclose(out) == 0)
		return 0;
	free(*text);
	return -ENOMEM;
}

int manifest_write(const char *path, const struct manifest *manifest, struct error *e)
{
	char hash[MANIFEST_HASH_SIZE], *text, *sealed = NULL;
	size_t size;
	int length, r = print(manifest, &text, &size);

	if (r < 0)
		return error_errno(e, r, "%.300s", path);
	manifest_hash(text, size, hash);
	length = asprintf(&sealed, "%sseal %s\n", text, hash);
	r = length < 0 ? error_errno(e, -ENOMEM, "%.300s", path)
		       : file_write(path, sealed, (size_t)length, 0644, e);
	if (length >= 0)
		free(sealed);
	free(text);
	return r;
}

static bool is_hash(const char *text)
{
	return hex_is(text, HASH_DIGITS);
}

static bool copy(char *to, size_t room, const char *from)
{
	return (size_t)snprintf(to, room, "%s", from) < room;
}

/* Names stay within the image's directory. */
static bool is_name(const char *text)
{
	return *text && *text != '/' && !strstr(text, "..");
}

static bool parse_number(const char *text, uint64_t *out)
{
	char *end;

	errno = 0;
	*out = strtoull(text, &end, 10);
	return isdigit((unsigned char)*text) && *end == '\0' && errno == 0;
}

static bool parse_file(struct manifest *manifest, char *value)
{
	struct manifest_file *file = &manifest->files[manifest->count];
	char *size = strsep(&value, " "), *hash = strsep(&value, " ");

	if (manifest->count == MANIFEST_FILES_MAX || !hash || !value || !parse_number(size, &file->size) ||
	    !is_hash(hash) || !is_name(value) || !copy(file->name, sizeof file->name, value))
		return false;
	strcpy(file->hash, hash);
	manifest->count++;
	return true;
}

/* Belongs to the file before it. */
static bool parse_seen(struct manifest *manifest, char *value)
{
	struct manifest_file *file = manifest->files + manifest->count - (manifest->count > 0);
	char *inode = strsep(&value, " ");

	return manifest->count > 0 && value && parse_number(inode, &file->inode) &&
	       parse_number(value, &file->changed);
}

static bool parse_line(struct manifest *manifest, char *line)
{
	char *value = line, *key = strsep(&value, " ");
	uint64_t number;

	if (!value)
		return false;
	if (strcmp(key, "file") == 0)
		return parse_file(manifest, value);
	if (strcmp(key, "append") == 0)
		return copy(manifest->append, sizeof manifest->append, value);
	if (strcmp(key, "arch") == 0)
		return copy(manifest->arch, sizeof manifest->arch, value);
	if (strcmp(key, "seen") == 0)
		return parse_seen(manifest, value);
	if (strcmp(key, "recipe") == 0)
		return is_hash(value) && copy(manifest->recipe, sizeof manifest->recipe, value);
	if (strcmp(key, "packages") == 0)
		return is_hash(value) && copy(manifest->packages, sizeof manifest->packages, value);
	if (strcmp(key, "disk") == 0)
		return is_hash(value) && copy(manifest->disk, sizeof manifest->disk, value);
	if (strcmp(key, "version") == 0)
		return copy(manifest->version, sizeof manifest->version, value);
	if (strcmp(key, "made") != 0 || !parse_number(value, &number) || number > INT64_MAX)
		return false;
	manifest->made = (int64_t)number;
	return true;
}

/* Cuts off the last line, after checking that it seals what is before it. */
static bool unseal(char *text, size_t size)
{
	static const size_t seal_size = 5 + HASH_DIGITS + 1;
	char hash[MANIFEST_HASH_SIZE], *seal;

	if (size <= seal_size || strlen(text) != size)
		return false;
	seal = text + size - seal_size;
	manifest_hash(text, size - seal_size, hash);
	if (strncmp(seal, "seal ", 5) != 0 || strncmp(seal + 5, hash, HASH_DIGITS) != 0 || seal[-1] != '\n')
		return false;
	seal[-1] = '\0';
	return true;
}

static bool parse(char *text, size_t size, struct manifest *manifest)
{
	char *rest = text, *line;

	if (!unseal(text, size) || strcmp(strsep(&rest, "\n"), FORM) != 0)
		return false;
	while ((line = strsep(&rest, "\n")) != NULL)
		if (!parse_line(manifest, line))
			return false;
	return *manifest->recipe && *manifest->packages && manifest->count > 0;
}

int manifest_read(const char *path, struct manifest *out)
{
	struct manifest *manifest = calloc(1, sizeof *manifest);
	uint8_t *bytes = NULL;
	size_t size = 0;
	int r = manifest ? file_read(path, MANIFEST_SIZE, &bytes, &size, NULL) : -ENOMEM;

	if (r == 0)
		r = parse((char *)bytes, size, manifest) ? 0 : -EBADMSG;
	if (r == 0)
		*out = *manifest;
	free(bytes);
	free(manifest);
	return r;
}
