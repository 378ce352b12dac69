#include "image/apt.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "image/child.h"
#include "image/fetch.h"
#include "image/mirror.h"

#define TEXT_MAX ((size_t)1 << 20)

static const char *const keyrings[] = {
	"/usr/share/keyrings/debian-archive-keyring.gpg",
	"/usr/share/keyrings/debian-archive-keyring.pgp",
};

static int find_keyring(const char **path, struct error *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(keyrings); i++) {
		if (access(keyrings[i], R_OK) == 0) {
			*path = keyrings[i];
			return 0;
		}
	}
	return error_set(e, ERROR_NOT_FOUND, -ENOENT,
			 "there is no %s to verify packages with; install the package "
			 "debian-archive-keyring",
			 keyrings[0]);
}

/* A quoted word of apt.conf has no escape for these. */
static int check_path(const char *path, struct error *e)
{
	for (const char *c = path; *c; c++)
		if (*c == '"' || *c == '\\' || (unsigned char)*c < ' ')
			return error_set(e, ERROR_USAGE, -EINVAL,
					 "%.300s: apt can not work in a directory with a quote, backslash "
					 "or control character in its path; set XDG_CACHE_HOME to another",
					 path);
	return 0;
}

/* Read after the host's own configuration. Lists must be cleared before they are set; hooks could touch the
 * host. */
#define SETTINGS                                                                                                  \
	"Dir::State \"%1$s/state\";\n"                                                                            \
	"Dir::State::status \"%1$s/state/status\";\n"                                                             \
	"Dir::State::lists \"%1$s/state/lists\";\n"                                                               \
	"Dir::Cache \"%1$s/cache\";\n"                                                                            \
	"Dir::Cache::archives \"%1$s/cache/archives\";\n"                                                         \
	"Dir::Cache::pkgcache \"%1$s/cache/pkgcache.bin\";\n"                                                     \
	"Dir::Cache::srcpkgcache \"\";\n"                                                                         \
	"Dir::Etc::sourcelist \"%1$s/sources.list\";\n"                                                           \
	"Dir::Etc::sourceparts \"/dev/null\";\n"                                                                  \
	"Dir::Etc::preferences \"/dev/null\";\n"                                                                  \
	"Dir::Etc::preferencesparts \"/dev/null\";\n"                                                             \
	"#clear APT::Architectures;\n"                                                                            \
	"#clear APT::NeverAutoRemove;\n"                                                                          \
	"#clear APT::Update::Pre-Invoke;\n"                                                                       \
	"#clear APT::Update::Post-Invoke;\n"                                                                      \
	"#clear APT::Update::Post-Invoke-Success;\n"                                                              \
	"APT::Architecture \"%2$s\";\n"                                                                           \
	"APT::Architectures \"%2$s\";\n"                                                                          \
	"APT::Default-Release \"\";\n"                                                                            \
	"APT::Sandbox::User \"\";\n"                                                                              \
	"APT::Get::AllowUnauthenticated \"false\";\n"                                                             \
	"APT::Update::Error-Mode \"any\";\n"                                                                      \
	"Acquire::AllowInsecureRepositories \"false\";\n"                                                         \
	"Acquire::AllowWeakRepositories \"false\";\n"                                                             \
	"Acquire::AllowDowngradeToInsecureRepositories \"false\";\n"                                              \
	"Acquire::Languages \"none\";\n"                                                                          \
	"Acquire::Source-Symlinks \"false\";\n"                                                                   \
	"Acquire::Retries \"3\";\n"

static int write_text(const struct cache *cache, const char *name, char *text, int length, struct error *e)
{
	char path[PATH_MAX];
	int r;

	if (length < 0)
		return error_errno(e, -ENOMEM, "%s", name);
	cache_path(cache, name, path);
	/* A mirror's URI may hold a password. */
	r = file_write(path, text, (size_t)length, 0600, e);
	free(text);
	return r;
}

static int make_root(const struct cache *cache, const struct image_recipe *recipe, const char *mirror,
		     const char *keyring, struct error *e)
{
	static const char *const directories[] = {
		"packages",
		"apt",
		"apt/state",
		"apt/state/lists",
		"apt/state/lists/partial",
		"apt/cache",
		"apt/cache/archives",
		"apt/cache/archives/partial",
	};
	char root[PATH_MAX], *text = NULL;
	int r = 0, length;

	cache_path(cache, "apt", root);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(directories); i++)
		r = cache_directory(cache, directories[i], e);
	if (r < 0)
		return r;
	length = asprintf(&text, SETTINGS, root, image_debian_arch(recipe));
	r = write_text(cache, "apt/apt.conf", text, length, e);
	if (r < 0)
		return r;
	length = asprintf(&text, "deb [arch=%s target=Packages lang=none signed-by=%s] %s %s main\n",
			  image_debian_arch(recipe), keyring, mirror, recipe->suite);
	r = write_text(cache, "apt/sources.list", text, length, e);
	return r < 0 ? r : write_text(cache, "apt/state/status", strdup(""), 0, e);
}

static int update(struct fetch *fetch, const char *conf, struct error *e)
{
	const char *const arguments[] = {"apt-get", "-c", conf, "-q", "-o", "APT::Status-Fd=3", "update", NULL};

	return fetch_run(fetch, arguments, "reading the package index", 0, e);
}

/* Names of packages become arguments and names of files. */
static bool is_package_name(const char *name, size_t length)
{
	return length > 1 && length < APT_FILE_SIZE && isalnum((unsigned char)*name) &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789+-.") >= length;
}

static const char *field(const char *text, const char *key)
{
	size_t length = strlen(key);

	while (*text && *text != '\n') {
		if (strncmp(text, key, length) == 0)
			return text + length + strspn(text + length, " ");
		text += strcspn(text, "\n");
		text += *text == '\n';
	}
	return NULL;
}

bool apt_parse_meta(const char *text, char name[APT_FILE_SIZE], char version[128])
{
	const char *depends = field(text, "Depends:"), *told = field(text, "Version:");
	size_t length = told ? strcspn(told, "\n") : 0;

	if (!depends || length == 0 || length >= 128)
		return false;
	*(char *)mempcpy(version, told, length) = '\0';
	while (*depends && *depends != '\n') {
		length = strcspn(depends, " ,\n");
		if (strncmp(depends, "linux-image-", 12) == 0 && is_package_name(depends, length)) {
			*(char *)mempcpy(name, depends, length) = '\0';
			return true;
		}
		depends += strcspn(depends, ",\n");
		depends += strspn(depends, ", ");
	}
	return false;
}

static int find_kernel(const struct cache *cache, const char *conf, const char *meta, char name[APT_FILE_SIZE],
		       char version[128], struct error *e)
{
	const char *const arguments[] = {"apt-cache", "-c", conf, "show", "--no-all-versions", meta, NULL};
	struct child child = {.arguments = arguments, .keep = cache->lock};
	char *text;
	int r = child_read(&child, TEXT_MAX, &text, e);

	if (r < 0)
		return r;
	if (!apt_parse_meta(text, name, version))
		r = error_set(e, ERROR_FAILED, -ENOENT,
			      "the package %s names no kernel; the mirror may be amid an update: "
			      "try again later",
			      meta);
	free(text);
	return r;
}

/* The name of a file beside others, and an argument of programs. */
static bool is_archive_name(const char *name, size_t length)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.%~_:";

	return length > 4 && length < APT_FILE_SIZE && isalnum((unsigned char)*name) &&
	       strspn(name, plain) >= length && memcmp(name + length - 4, ".deb", 4) == 0;
}

static bool take(char *to, size_t room, const char *from, size_t length)
{
	if (length == 0 || length >= room)
		return false;
	*(char *)mempcpy(to, from, length) = '\0';
	return true;
}

/* A line: 'URI' FILE SIZE SHA256:DIGITS */
static bool parse_uri(const char *line, struct apt_package *out)
{
	const char *end = line + 1 + strcspn(line + 1, "'\n"), *name = end + 2, *hash;
	size_t length;
	char *number;

	if (strncmp(end, "' ", 2) != 0 || !take(out->uri, sizeof out->uri, line + 1, (size_t)(end - line - 1)))
		return false;
	length = strcspn(name, " \n");
	if (name[length] != ' ' || !isdigit((unsigned char)name[length + 1]) || !is_archive_name(name, length) ||
	    !take(out->file, sizeof out->file, name, length))
		return false;
	out->size = strtoull(name + length, &number, 10);
	if (strncmp(number, " SHA256:", 8) != 0 || out->size >= UINT64_C(1) << 32)
		return false;
	hash = number + 8;
	length = strcspn(hash, " \n");
	return length == APT_HASH_DIGITS && strspn(hash, "0123456789abcdef") == length &&
	       take(out->sha256, sizeof out->sha256, hash, length);
}

bool apt_parse_uris(const char *text, struct apt_packages *out)
{
	out->count = 0;
	for (; *text; text += strcspn(text, "\n"), text += *text == '\n') {
		if (*text != '\'')
			continue;
		if (out->count == APT_PACKAGES_MAX || !parse_uri(text, &out->list[out->count]))
			return false;
		out->count++;
	}
	return out->count > 0;
}

static bool is_archive_of(const char *file, const char *package)
{
	size_t length = strlen(package);

	return strncmp(file, package, length) == 0 && file[length] == '_';
}

static bool has_package(const struct apt_packages *packages, const char *name)
{
	for (size_t i = 0; i < packages->count; i++)
		if (is_archive_of(packages->list[i].file, name))
			return true;
	return false;
}

static int no_archive(struct error *e)
{
	return error_set(e, ERROR_FAILED, -ENOENT,
			 "apt-get lists no archive for one of the packages; the mirror may be amid an update: try again "
			 "later");
}

/* Adds the archives that apt-get, with these arguments, says it would fetch. The last `wanted` of the arguments are
 * packages that must be among them; those that begin with '?' are patterns. */
static int add_plan(const struct cache *cache, const char *const *arguments, size_t wanted,
		    struct apt_packages *out, struct error *e)
{
	struct apt_packages *more = calloc(1, sizeof *more);
	char directory[PATH_MAX];
	/* "download" is silent about archives that it finds where it runs. */
	struct child child = {.arguments = arguments, .directory = directory, .keep = cache->lock};
	size_t count = 0;
	char *text = NULL;
	int r;

	cache_path(cache, "apt", directory);
	r = more ? child_read(&child, TEXT_MAX, &text, e) : error_errno(e, -ENOMEM, "cannot list packages");

	if (r == 0 && !apt_parse_uris(text, more))
		r = no_archive(e);
	while (arguments[count])
		count++;
	for (size_t i = count - wanted; r == 0 && i < count; i++)
		if (*arguments[i] != '?' && !has_package(more, arguments[i]))
			r = no_archive(e);
	if (r == 0 && more->count > APT_PACKAGES_MAX - out->count)
		r = error_set(e, ERROR_FAILED, -E2BIG, "the image would need more than %d packages",
			      APT_PACKAGES_MAX);
	if (r == 0) {
		memcpy(out->list + out->count, more->list, more->count * sizeof *more->list);
		out->count += more->count;
	}
	free(text);
	free(more);
	return r;
}

/* What is to be downloaded, without doing so: the packages themselves for what boots, whose dependencies are of no
 * use, and a whole system for the disk. */
static int plan(const struct cache *cache, const char *conf, const char *kernel, const struct image_recipe *recipe,
		struct apt_packages *out, struct error *e)
{
	enum { NAMES_MAX = 64 };
	const char *boot[6 + NAMES_MAX + 1] = {"apt-get", "-c", conf, "download", "--print-uris", kernel};
	const char *system[10 + NAMES_MAX + 1] = {"apt-get",
						  "-c",
						  conf,
						  "-o",
						  "Acquire::ForceHash=SHA256",
						  "--no-install-recommends",
						  "--print-uris",
						  "-y",
						  "install",
						  "?essential"};
	size_t count;
	int r;

	out->count = 0;
	for (count = 0; recipe->extra[count] && count < NAMES_MAX; count++)
		boot[6 + count] = recipe->extra[count];
	r = add_plan(cache, boot, count + 1, out, e);
	for (count = 0; r == 0 && recipe->system && recipe->system[count] && count < NAMES_MAX; count++)
		system[10 + count] = recipe->system[count];
	return r < 0 || !recipe->system ? r : add_plan(cache, system, count + 1, out, e);
}

int apt_download(const struct cache *cache, const struct image_recipe *recipe, image_progress_fn *progress,
		 void *context, struct apt_packages *out, struct error *e)
{
	struct fetch fetch = {.cache = cache, .progress = progress, .context = context};
	char conf[PATH_MAX], mirror[MIRROR_SIZE] = "", kernel[APT_FILE_SIZE] = "";
	const char *keyring = NULL;
	int r = check_path(cache->directory, e);

	if (r == 0)
		r = find_keyring(&keyring, e);
	if (r == 0)
		r = mirror_find(mirror, e);
	if (r == 0)
		r = make_root(cache, recipe, mirror, keyring, e);
	cache_path(cache, "apt/apt.conf", conf);
	if (r == 0)
		r = update(&fetch, conf, e);
	if (r == 0)
		r = find_kernel(cache, conf, recipe->kernel, kernel, out->version, e);
	if (r == 0)
		r = plan(cache, conf, kernel, recipe, out, e);
	return r < 0 ? r : fetch_packages(&fetch, conf, out, e);
}

bool apt_is_boot_part(const struct image_recipe *recipe, const char *file)
{
	if (strncmp(file, "linux-image-", 12) == 0)
		return true;
	for (size_t i = 0; recipe->extra[i]; i++)
		if (is_archive_of(file, recipe->extra[i]))
			return true;
	return false;
}

void apt_clean(const struct cache *cache)
{
	(void)!cache_remove(cache, "apt", NULL);
}
