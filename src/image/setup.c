#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "image/disk.h"
#include "image/setup_watcher.h"
#include "machine/machine.h"

#define LOOK_EVERY_MS 250

/* Follows the guest's log as it grows. */
static void look(struct setup_watcher *watcher, int log)
{
	char buffer[4096];
	ssize_t count;

	while (log >= 0 && (count = read(log, buffer, sizeof buffer)) > 0)
		setup_watcher_see(watcher, buffer, (size_t)count);
	setup_watcher_tell(watcher);
}

static int judge(const struct machine_outcome *outcome, const struct setup_watcher *watcher, const char *log,
		 struct error *e)
{
	if (outcome->signal)
		return error_set(e, ERROR_FAILED, -EINTR, "interrupted while the system was configured");
	if (outcome->state == MACHINE_FAILED)
		return error_set(e, ERROR_FAILED, -EIO, "the machine that configures the system failed: %.200s; see %.200s",
				 outcome->message, log);
	if (outcome->exit_code == 0)
		return setup_watcher_judge(watcher, log, e);
	return error_set(e, ERROR_FAILED, -EIO, "the system could not be configured (status %d, \"%.150s\"); see %.200s",
			 outcome->exit_code, watcher->last, log);
}

static int watch(struct machine *machine, struct setup_watcher *watcher, int fd, struct machine_outcome *outcome,
		 const char *log, struct error *e)
{
	int r = machine_start(machine, e);

	for (unsigned waited = 0; r == 0; waited += LOOK_EVERY_MS) {
		int ended = machine_wait(machine, LOOK_EVERY_MS, outcome, e);

		look(watcher, fd);
		if (ended != -ETIMEDOUT)
			return ended < 0 ? ended : judge(outcome, watcher, log, e);
		if (waited >= SETUP_LIMIT_MS)
			r = error_set(e, ERROR_TIMEOUT, -ETIMEDOUT,
				      "the system was not configured within an hour; see %.300s", log);
	}
	return r;
}

static int run(const struct machine_config *config, struct setup_watcher *watcher, struct error *e)
{
	struct machine_outcome outcome = {.state = MACHINE_CREATED};
	struct machine *machine = NULL;
	int fd, r = machine_new(&machine, config, e);

	if (r < 0)
		return r;
	fd = open(config->console_path, O_RDONLY | O_CLOEXEC);
	r = watch(machine, watcher, fd, &outcome, config->console_path, e);
	machine_free(machine);
	if (fd >= 0)
		close(fd);
	return r;
}

/* By an emulator: for x86-64 only, of which there is none here. */
static bool can_emulate(const struct image_recipe *recipe)
{
	return recipe->arch == ENGINE_X86_64 && setup_can_emulate();
}

int disk_possible(const struct image_recipe *recipe, struct error *e)
{
	struct engine_report report;
	bool usable;

	if (engine_default(recipe->arch) || can_emulate(recipe))
		return 0;
	usable = engine_usable(recipe->arch, &report) != NULL;
	return error_set(e, ERROR_NOT_FOUND, -ENODEV,
			 "its system is configured in a %s machine, which %s: %s; install qemu-system-x86, which emulates one in "
			 "some minutes, or make the image on another host and bring it here, with doppel image export and import",
			 engine_arch_name(recipe->arch),
			 usable ? "would take some hours on this host" : "can not run here", report.summary);
}

static int run_machine(const struct cache *cache, const struct engine *engine, struct setup_watcher *watcher,
		       const char *disk, const char *log, struct error *e)
{
	char kernel[PATH_MAX], initramfs[PATH_MAX];
	struct block_options disks[] = {{.path = disk, .format = BLOCK_RAW}};
	struct machine_config config = {.name = "setup",
					.memory_bytes = SETUP_MEMORY,
					.cpus = 1,
					.engine = engine,
					.kernel = kernel,
					.initrd = initramfs,
					.append = SETUP_COMMAND_LINE,
					.console = CONSOLE_FILE,
					.console_path = log,
					.disks = disks,
					.disk_count = ARRAY_SIZE(disks)};

	cache_path(cache, "kernel", kernel);
	cache_path(cache, "initramfs", initramfs);
	return run(&config, watcher, e);
}

int disk_setup(const struct cache *cache, const struct image_recipe *recipe, const char *name, size_t packages,
	       image_progress_fn *progress, void *context, struct error *e)
{
	const struct engine *engine = engine_default(recipe->arch);
	struct setup_watcher watcher = {.step = engine ? "configuring the system" : "configuring the system, emulated",
					.packages = packages,
					.progress = progress,
					.context = context};
	char disk[PATH_MAX], log[PATH_MAX];
	int r;

	cache_path(cache, name, disk);
	cache_path(cache, DISK_LOG, log);
	(void)unlink(log);
	r = engine ? run_machine(cache, engine, &watcher, disk, log, e) : setup_emulate(&watcher, cache, disk, log, e);
	if (r == 0)
		(void)unlink(log);
	return r;
}
