#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "image/disk.h"
#include "machine/machine.h"

/* The guest takes a minute or two under the translator, ten times that under the interpreter. */
#define TIME_LIMIT_MS (60 * 60 * 1000)
#define LOOK_EVERY_MS 250
#define GUEST_MEMORY  (1024 * MIB)
#define COMMAND_LINE  "console=ttyS0 loglevel=4 root=/dev/vda rw doppel.setup"
/* What the guest prints for each package, and at the end. */
#define DONE_ONE      "Setting up "
#define ALL_DONE      "doppel: setup complete"

/* The guest's log as it grows. */
struct watcher {
	int fd;
	size_t packages, done;
	char line[256];
	size_t used;
	char last[256]; /* the last line that says something */
	bool complete;  /* the guest said so */
	image_progress_fn *progress;
	void *context;
};

static void see_line(struct watcher *watcher)
{
	watcher->line[watcher->used] = '\0';
	watcher->used = 0;
	if (strncmp(watcher->line, DONE_ONE, strlen(DONE_ONE)) == 0 && watcher->done < watcher->packages)
		watcher->done++;
	if (strcmp(watcher->line, ALL_DONE) == 0)
		watcher->complete = true;
	if (*watcher->line)
		strcpy(watcher->last, watcher->line);
}

static void see(struct watcher *watcher, const char *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		if (bytes[i] == '\n')
			see_line(watcher);
		else if ((unsigned char)bytes[i] >= ' ' && watcher->used < sizeof watcher->line - 1)
			watcher->line[watcher->used++] = bytes[i];
	}
}

static void look(struct watcher *watcher)
{
	char buffer[4096];
	ssize_t count;

	while (watcher->fd >= 0 && (count = read(watcher->fd, buffer, sizeof buffer)) > 0)
		see(watcher, buffer, (size_t)count);
	if (watcher->progress)
		watcher->progress(watcher->context,
				  &(struct image_progress){.step = "configuring the system",
							   .done = watcher->done * 1000 / (watcher->packages + 1),
							   .total = 1000});
}

static int judge(const struct machine_outcome *outcome, const struct watcher *watcher, const char *log,
		 struct error *e)
{
	if (outcome->signal)
		return error_set(e, ERROR_FAILED, -EINTR, "interrupted while the system was configured");
	if (outcome->state == MACHINE_FAILED)
		return error_set(e, ERROR_FAILED, -EIO, "the machine that configures the system failed: %.200s; see %.200s",
				 outcome->message, log);
	if (outcome->exit_code == 0 && watcher->complete)
		return 0;
	return error_set(e, ERROR_FAILED, -EIO, "the system could not be configured (\"%.150s\"); see %.200s",
			 watcher->last, log);
}

static int watch(struct machine *machine, struct watcher *watcher, struct machine_outcome *outcome,
		 const char *log, struct error *e)
{
	int r = machine_start(machine, e);

	for (unsigned waited = 0; r == 0; waited += LOOK_EVERY_MS) {
		int ended = machine_wait(machine, LOOK_EVERY_MS, outcome, e);

		look(watcher);
		if (ended != -ETIMEDOUT)
			return ended < 0 ? ended : judge(outcome, watcher, log, e);
		if (waited >= TIME_LIMIT_MS)
			r = error_set(e, ERROR_TIMEOUT, -ETIMEDOUT,
				      "the system was not configured within an hour; see %.300s", log);
	}
	return r;
}

static int run(const struct machine_config *config, struct watcher *watcher, struct error *e)
{
	struct machine_outcome outcome = {.state = MACHINE_CREATED};
	struct machine *machine = NULL;
	int r = machine_new(&machine, config, e);

	if (r < 0)
		return r;
	watcher->fd = open(config->console_path, O_RDONLY | O_CLOEXEC);
	r = watch(machine, watcher, &outcome, config->console_path, e);
	machine_free(machine);
	if (watcher->fd >= 0)
		close(watcher->fd);
	return r;
}

int disk_possible(const struct image_recipe *recipe, struct error *e)
{
	struct engine_report report;
	bool usable;

	if (engine_default(recipe->arch))
		return 0;
	usable = engine_usable(recipe->arch, &report) != NULL;
	return error_set(e, ERROR_NOT_FOUND, -ENODEV,
			 "its system is configured in a %s machine, which %s: %s; make the image on another host and bring it "
			 "here, with doppel image export and import",
			 engine_arch_name(recipe->arch),
			 usable ? "would take some hours on this host" : "can not run here", report.summary);
}

int disk_setup(const struct cache *cache, const struct image_recipe *recipe, const char *name, size_t packages,
	       image_progress_fn *progress, void *context, struct error *e)
{
	char kernel[PATH_MAX], initramfs[PATH_MAX], disk[PATH_MAX], log[PATH_MAX];
	struct watcher watcher = {.fd = -1, .packages = packages, .progress = progress, .context = context};
	struct block_options disks[] = {{.path = disk, .format = BLOCK_RAW}};
	struct machine_config config = {.name = "setup",
					.memory_bytes = GUEST_MEMORY,
					.cpus = 1,
					.engine = engine_default(recipe->arch),
					.kernel = kernel,
					.initrd = initramfs,
					.append = COMMAND_LINE,
					.console = CONSOLE_FILE,
					.console_path = log,
					.disks = disks,
					.disk_count = ARRAY_SIZE(disks)};
	int r;

	cache_path(cache, "kernel", kernel);
	cache_path(cache, "initramfs", initramfs);
	cache_path(cache, name, disk);
	cache_path(cache, DISK_LOG, log);
	(void)unlink(log);
	r = run(&config, &watcher, e);
	if (r == 0)
		(void)unlink(log);
	return r;
}
