#include "image/seed.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

#include "base/file.h"
#include "image/iso9660.h"

enum { USER_DATA, META_DATA, NETWORK_CONFIG, VENDOR_DATA, FILES };
static const char *const names[FILES] = {"user-data", "meta-data", "network-config", "vendor-data"};

/* The files, NULL where there is none. */
struct contents {
	uint8_t *bytes[FILES];
	size_t size[FILES];
};

bool seed_is_user_data(const char *text, size_t size)
{
	static const char config[] = "#cloud-config";
	size_t length = sizeof config - 1;

	if (size >= 2 && memcmp(text, "#!", 2) == 0)
		return true;
	return size >= length && memcmp(text, config, length) == 0 &&
	       (size == length || text[length] == '\n' || text[length] == '\r' || text[length] == ' ');
}

bool seed_is_key(const char *line, size_t length)
{
	static const char *const types[] = {"ssh-ed25519 ", "ssh-rsa ", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"};
	const char *blank = memchr(line, ' ', length);
	bool known = false;

	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		known = known || (length > strlen(types[i]) && strncmp(line, types[i], strlen(types[i])) == 0);
	if (!known || !blank || (size_t)(blank - line) + 4 >= length || memcmp(blank + 1, "AAAA", 4) != 0)
		return false;
	for (size_t i = 0; i < length; i++)
		if ((unsigned char)line[i] < ' ' || line[i] == 0x7f)
			return false;
	return true;
}

static int no_user_data(const char *path, struct error *e)
{
	return error_set(e, ERROR_USAGE, -EINVAL,
			 "%.300s is no user data; it must begin with #cloud-config, or with #! for a script", path);
}

static int read_file(struct contents *contents, unsigned which, const char *path, struct error *e)
{
	int r = file_read(path, SEED_FILE_MAX, &contents->bytes[which], &contents->size[which], e);

	if (r == 0 && which == USER_DATA &&
	    !seed_is_user_data((const char *)contents->bytes[which], contents->size[which]))
		return no_user_data(path, e);
	return r;
}

static int read_folder(struct contents *contents, const char *folder, struct error *e)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < FILES; i++) {
		char path[PATH_MAX];
		struct stat status;

		r = file_path(folder, names[i], path, e);
		if (r < 0)
			return r;
		if (stat(path, &status) == 0)
			r = read_file(contents, i, path, e);
		else if (errno != ENOENT)
			r = error_errno(e, -errno, "%.300s", path);
	}
	if (r == 0 && !contents->bytes[USER_DATA] && !contents->bytes[META_DATA])
		return error_set(e, ERROR_NOT_FOUND, -ENOENT, "%.300s has neither user-data nor meta-data", folder);
	return r;
}

static int read_source(struct contents *contents, const char *source, struct error *e)
{
	struct stat status;

	if (!source)
		return 0;
	if (stat(source, &status) < 0)
		return error_errno(e, -errno, "%.300s", source);
	return S_ISDIR(status.st_mode) ? read_folder(contents, source, e) : read_file(contents, USER_DATA, source, e);
}

/* A word in single quotes, in which YAML knows nothing special but the quote. */
static void print_key(FILE *out, const char *line, size_t length)
{
	fputs("  - '", out);
	for (size_t i = 0; i < length; i++)
		fprintf(out, "%s%c", line[i] == '\'' ? "'" : "", line[i]);
	fputs("'\n", out);
}

static int print_keys(FILE *out, const char *path, struct error *e)
{
	uint8_t *bytes;
	size_t size, found = 0;
	int r = file_read(path, SEED_FILE_MAX, &bytes, &size, e);

	if (r < 0)
		return r;
	for (char *line = (char *)bytes; r == 0 && *line;) {
		size_t length = strcspn(line, "\r\n");

		if (length > 0 && *line != '#') {
			if (seed_is_key(line, length))
				print_key(out, line, length);
			else
				r = -EINVAL;
			found++;
		}
		line += length;
		line += strspn(line, "\r\n");
	}
	free(bytes);
	if (r == 0 && found > 0)
		return 0;
	return error_set(e, ERROR_USAGE, -EINVAL,
			 "%.300s holds no public key of ssh; give a file such as ~/.ssh/id_ed25519.pub", path);
}

static int print_meta_data(FILE *out, const struct seed_options *options, struct error *e)
{
	int r = 0;

	if (options->hostname)
		fprintf(out, "local-hostname: %s\n", options->hostname);
	if (options->key_count > 0)
		fputs("public-keys:\n", out);
	for (size_t i = 0; r == 0 && i < options->key_count; i++)
		r = print_keys(out, options->keys[i], e);
	return r;
}

/* The instance-id goes before the rest, of which it is a hash, as it is of the other files. */
static int add_meta_data(struct contents *contents, const struct seed_options *options, struct error *e)
{
	XXH64_hash_t hash;
	char *text = NULL, *all = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	int r = out ? print_meta_data(out, options, e) : error_errno(e, -ENOMEM, "cannot make a seed"), length;

	if (out && fclose(out) != 0 && r == 0)
		r = error_errno(e, -ENOMEM, "cannot make a seed");
	if (r == 0) {
		hash = XXH3_64bits(text, size);
		for (unsigned i = 0; i < FILES; i++)
			if (contents->bytes[i])
				hash = XXH3_64bits_withSeed(contents->bytes[i], contents->size[i], hash + i);
		length = asprintf(&all, "instance-id: doppel-%016llx\n%s", (unsigned long long)hash, text);
		if (length < 0)
			r = error_errno(e, -ENOMEM, "cannot make a seed");
		else
			contents->size[META_DATA] = (size_t)length;
	}
	if (r == 0)
		contents->bytes[META_DATA] = (uint8_t *)all;
	free(text);
	return r;
}

static int complete(struct contents *contents, const struct seed_options *options, struct error *e)
{
	if (!contents->bytes[META_DATA])
		return add_meta_data(contents, options, e);
	if (options->key_count > 0)
		return error_set(e, ERROR_USAGE, -EINVAL,
				 "%.200s has meta-data of its own; put the ssh key there (public-keys) or in "
				 "user-data (ssh_authorized_keys)",
				 options->source);
	return 0;
}

static int write_image(const struct contents *contents, uint8_t **bytes, size_t *size, struct error *e)
{
	struct iso9660_file files[FILES];
	size_t count = 0;
	int r;

	for (unsigned i = 0; i < FILES; i++)
		/* cloud-init wants a user-data, be it empty. */
		if (contents->bytes[i] || i == USER_DATA)
			files[count++] = (struct iso9660_file){names[i], contents->bytes[i], contents->size[i]};
	r = iso9660_make("CIDATA", files, count, bytes, size);
	return r < 0 ? error_errno(e, r, "cannot make a seed") : 0;
}

int seed_make(const struct seed_options *options, uint8_t **bytes, size_t *size, struct error *e)
{
	struct contents contents = {.bytes = {NULL}};
	int r = read_source(&contents, options->source, e);

	if (r == 0)
		r = complete(&contents, options, e);
	if (r == 0)
		r = write_image(&contents, bytes, size, e);
	for (unsigned i = 0; i < FILES; i++)
		free(contents.bytes[i]);
	return r;
}
