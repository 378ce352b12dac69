#include "image/apt.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "image/child.h"
#include "image/mirror.h"

#define TEXT_MAX ((size_t)1 << 20)

static const char *const keyrings[] = {
	"/usr/share/keyrings/debian-archive-keyring.gpg",
	"/usr/share/keyrings/debian-archive-keyring.pgp",
};

/* What one run of apt is about; handed to its status lines. */
struct run {
	const struct cache *cache;
	image_progress_fn *progress;
	void *context;
	struct image_progress now;
	uint64_t size; /* of what is downloaded, when known */
};

static int find_keyring(const char **path, struct error *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(keyrings); i++) {
		if (access(keyrings[i], R_OK) == 0) {
			*path = keyrings[i];
			return 0;
		}
	}
	return error_set(e, ERROR_NOT_FOUND, -ENOENT, "there is no %s to verify packages with; install the package "
			 "debian-archive-keyring", keyrings[0]);
}

/* A quoted word of apt.conf has no escape for these. */
static int check_path(const char *path, struct error *e)
{
	for (const char *c = path; *c; c++)
		if (*c == '"' || *c == '\\' || (unsigned char)*c < ' ')
			return error_set(e, ERROR_USAGE, -EINVAL, "%.300s: apt can not work in a directory with a quote, backslash "
					 "or control character in its path; set XDG_CACHE_HOME to another", path);
	return 0;
}

/* Read after the host's own configuration. Lists must be cleared before they are set; hooks could touch the host. */
#define SETTINGS                                                                                                        \
	"Dir::State \"%1$s/state\";\n"                                                                                  \
	"Dir::State::status \"%1$s/state/status\";\n"                                                                   \
	"Dir::State::lists \"%1$s/state/lists\";\n"                                                                     \
	"Dir::Cache \"%1$s/cache\";\n"                                                                                  \
	"Dir::Cache::archives \"%1$s/cache/archives\";\n"                                                               \
	"Dir::Cache::pkgcache \"%1$s/cache/pkgcache.bin\";\n"                                                           \
	"Dir::Cache::srcpkgcache \"\";\n"                                                                               \
	"Dir::Etc::sourcelist \"%1$s/sources.list\";\n"                                                                 \
	"Dir::Etc::sourceparts \"/dev/null\";\n"                                                                        \
	"Dir::Etc::preferences \"/dev/null\";\n"                                                                        \
	"Dir::Etc::preferencesparts \"/dev/null\";\n"                                                                   \
	"#clear APT::Architectures;\n"                                                                                  \
	"#clear APT::NeverAutoRemove;\n"                                                                                \
	"#clear APT::Update::Pre-Invoke;\n"                                                                             \
	"#clear APT::Update::Post-Invoke;\n"                                                                            \
	"#clear APT::Update::Post-Invoke-Success;\n"                                                                    \
	"APT::Architecture \"%2$s\";\n"                                                                                 \
	"APT::Architectures \"%2$s\";\n"                                                                                \
	"APT::Default-Release \"\";\n"                                                                                  \
	"APT::Sandbox::User \"\";\n"                                                                                    \
	"APT::Get::AllowUnauthenticated \"false\";\n"                                                                   \
	"APT::Update::Error-Mode \"any\";\n"                                                                            \
	"Acquire::AllowInsecureRepositories \"false\";\n"                                                               \
	"Acquire::AllowWeakRepositories \"false\";\n"                                                                   \
	"Acquire::AllowDowngradeToInsecureRepositories \"false\";\n"                                                    \
	"Acquire::Languages \"none\";\n"                                                                                \
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

static int make_root(const struct cache *cache, const struct image_recipe *recipe, const char *mirror, const char *keyring,
		     struct error *e)
{
	static const char *const directories[] = {
		"packages",          "apt",       "apt/state",          "apt/state/lists",
		"apt/state/lists/partial", "apt/cache", "apt/cache/archives", "apt/cache/archives/partial",
	};
	char root[PATH_MAX], *text = NULL;
	int r = 0, length;

	cache_path(cache, "apt", root);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(directories); i++)
		r = cache_directory(cache, directories[i], e);
	if (r < 0)
		return r;
	length = asprintf(&text, SETTINGS, root, recipe->architecture);
	r = write_text(cache, "apt/apt.conf", text, length, e);
	if (r < 0)
		return r;
	length = asprintf(&text, "deb [arch=%s target=Packages lang=none signed-by=%s] %s %s main\n", recipe->architecture, keyring, mirror,
			  recipe->suite);
	r = write_text(cache, "apt/sources.list", text, length, e);
	return r < 0 ? r : write_text(cache, "apt/state/status", strdup(""), 0, e);
}

int apt_parse_status(const char *line)
{
	const char *percent;
	double value;
	char *end;

	if (strncmp(line, "dlstatus:", 9) != 0)
		return -1;
	percent = strchr(line + 9, ':');
	if (!percent || !isdigit((unsigned char)percent[1]))
		return -1;
	value = strtod(percent + 1, &end);
	return *end == ':' && value >= 0 && value <= 100 ? (int)(value * 10) : -1;
}

static void tell(struct run *run)
{
	if (run->progress)
		run->progress(run->context, &run->now);
}

static void begin(struct run *run, const char *step, uint64_t size)
{
	run->size = size;
	run->now = (struct image_progress){.step = step, .total = size ? size : 1000, .bytes = size > 0};
	tell(run);
}

static void on_status(void *context, const char *line)
{
	struct run *run = context;
	int thousandths = apt_parse_status(line);
	uint64_t done;

	if (thousandths < 0)
		return;
	done = run->size ? run->size / 1000 * (uint64_t)thousandths : (uint64_t)thousandths;
	if (done <= run->now.done)
		return;
	run->now.done = done;
	tell(run);
}

/* apt names the key that it lacks; what to do about it is ours to say. */
static int explain(int r, struct error *e)
{
	if (r < 0 && e && (strstr(e->message, "NO_PUBKEY") || strstr(e->message, "is not signed") ||
			   strstr(e->message, "EXPKEYSIG")))
		return error_set(e, ERROR_FAILED, r, "%.300s; update the package debian-archive-keyring", e->message);
	if (r < 0 && e && e->kind == ERROR_FAILED)
		return error_set(e, ERROR_FAILED, r, "%.300s; check the network and apt's settings, and try again: what "
				 "was downloaded is kept", e->message);
	return r;
}

static void child_of(struct run *run, const char *const *arguments, char directory[PATH_MAX], struct child *child)
{
	cache_path(run->cache, "packages", directory);
	*child = (struct child){.arguments = arguments, .directory = directory, .keep = run->cache->lock,
				.status = on_status, .context = run};
}

static int update(struct run *run, const char *conf, struct error *e)
{
	const char *const arguments[] = {"apt-get", "-c", conf, "-q", "-o", "APT::Status-Fd=3", "update", NULL};
	char directory[PATH_MAX];
	struct child child;

	child_of(run, arguments, directory, &child);
	begin(run, "reading the package index", 0);
	return explain(child_run(&child, e), e);
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

static int find_kernel(struct run *run, const char *conf, const char *meta, char name[APT_FILE_SIZE], char version[128],
		       struct error *e)
{
	const char *const arguments[] = {"apt-cache", "-c", conf, "show", "--no-all-versions", meta, NULL};
	struct child child = {.arguments = arguments, .keep = run->cache->lock};
	char *text;
	int r = child_read(&child, TEXT_MAX, &text, e);

	if (r < 0)
		return r;
	if (!apt_parse_meta(text, name, version))
		r = error_set(e, ERROR_FAILED, -ENOENT, "the package %s names no kernel; the mirror may be amid an update: "
			      "try again later", meta);
	free(text);
	return r;
}

static bool is_archive_name(const char *name, size_t length)
{
	return length > 4 && length < APT_FILE_SIZE && *name != '.' && !memchr(name, '/', length) &&
	       memcmp(name + length - 4, ".deb", 4) == 0;
}

/* A line: 'URI' FILE SIZE HASH */
static bool parse_uri(const char *line, struct apt_packages *out)
{
	const char *name = strstr(line, "' ");
	size_t length;
	char *end;

	if (!name || out->count == APT_PACKAGES_MAX)
		return false;
	name += 2;
	length = strcspn(name, " \n");
	if (name[length] != ' ' || !isdigit((unsigned char)name[length + 1]) || !is_archive_name(name, length))
		return false;
	*(char *)mempcpy(out->files[out->count], name, length) = '\0';
	out->sizes[out->count] = strtoull(name + length, &end, 10);
	out->count++;
	return *end == ' ' && out->sizes[out->count - 1] < UINT64_C(1) << 32;
}

bool apt_parse_uris(const char *text, struct apt_packages *out)
{
	out->count = 0;
	for (; *text; text += strcspn(text, "\n"), text += *text == '\n')
		if (*text == '\'' && !parse_uri(text, out))
			return false;
	return out->count > 0;
}

/* `apt-get download`, an option of it, and names. */
enum { WORD_OPTION = 7, WORD_NAMES };

struct command {
	const char *words[WORD_NAMES + APT_PACKAGES_MAX + 1];
	size_t count;
};

static void compose(struct command *command, const char *conf, const char *kernel, const struct image_recipe *recipe)
{
	*command = (struct command){.words = {"apt-get", "-c", conf, "-q", "-o", "APT::Status-Fd=3", "download", NULL, kernel},
				    .count = WORD_NAMES + 1};
	for (size_t i = 0; recipe->extra[i] && command->count < WORD_NAMES + APT_PACKAGES_MAX; i++)
		command->words[command->count++] = recipe->extra[i];
}

static bool has_package(const struct apt_packages *packages, const char *name)
{
	size_t length = strlen(name);

	for (size_t i = 0; i < packages->count; i++)
		if (strncmp(packages->files[i], name, length) == 0 && packages->files[i][length] == '_')
			return true;
	return false;
}

/* Names and sizes, without downloading. */
static int plan(const struct cache *cache, struct command *command, struct apt_packages *out, struct error *e)
{
	struct child child = {.arguments = command->words, .keep = cache->lock};
	char *text;
	int r;

	command->words[WORD_OPTION] = "--print-uris";
	r = child_read(&child, TEXT_MAX, &text, e);
	if (r < 0)
		return r;
	if (!apt_parse_uris(text, out))
		r = -EBADMSG;
	for (size_t i = WORD_NAMES; r == 0 && i < command->count; i++)
		if (!has_package(out, command->words[i]))
			r = -ENOENT;
	free(text);
	return r < 0 ? error_set(e, ERROR_FAILED, r, "apt-get lists no archive for one of the packages; the mirror may be amid "
				 "an update: try again later") : 0;
}

static int check_sizes(const struct cache *cache, const struct apt_packages *packages, struct error *e)
{
	for (size_t i = 0; i < packages->count; i++) {
		char name[APT_FILE_SIZE + 16], path[PATH_MAX];
		struct stat status;

		snprintf(name, sizeof name, "packages/%s", packages->files[i]);
		cache_path(cache, name, path);
		if (lstat(path, &status) < 0 || !S_ISREG(status.st_mode) || (uint64_t)status.st_size != packages->sizes[i])
			return error_set(e, ERROR_FAILED, -EIO, "apt-get did not download %s; try again", packages->files[i]);
	}
	return 0;
}

static int download(struct run *run, struct command *command, const struct apt_packages *packages, struct error *e)
{
	char directory[PATH_MAX];
	struct child child;
	uint64_t size = 0;
	int r;

	for (size_t i = 0; i < packages->count; i++)
		size += packages->sizes[i];
	/* The packages, once more what is in them, and as much again for indexes. */
	r = cache_room(run->cache, size * 2, e);
	if (r < 0)
		return r;
	command->words[WORD_OPTION] = "--quiet";
	child_of(run, command->words, directory, &child);
	begin(run, "downloading", size);
	r = explain(child_run(&child, e), e);
	return r < 0 ? r : check_sizes(run->cache, packages, e);
}

int apt_download(const struct cache *cache, const struct image_recipe *recipe, image_progress_fn *progress, void *context,
		 struct apt_packages *out, struct error *e)
{
	struct run run = {.cache = cache, .progress = progress, .context = context};
	char conf[PATH_MAX], mirror[MIRROR_SIZE], kernel[APT_FILE_SIZE];
	const char *keyring;
	struct command command;
	int r = check_path(cache->directory, e);

	if (r == 0)
		r = find_keyring(&keyring, e);
	if (r == 0)
		r = mirror_find(mirror, e);
	if (r == 0)
		r = make_root(cache, recipe, mirror, keyring, e);
	cache_path(cache, "apt/apt.conf", conf);
	if (r == 0)
		r = update(&run, conf, e);
	if (r == 0)
		r = find_kernel(&run, conf, recipe->kernel, kernel, out->version, e);
	if (r < 0)
		return r;
	compose(&command, conf, kernel, recipe);
	r = plan(cache, &command, out, e);
	return r < 0 ? r : download(&run, &command, out, e);
}

void apt_clean(const struct cache *cache)
{
	(void)!cache_remove(cache, "apt", NULL);
}
