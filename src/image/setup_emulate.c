/*
 * The second stage of an x86-64 disk where this host can not run such machines itself: in QEMU, without acceleration. What it
 * runs is a guest all the same, with the image's own kernel.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "image/child.h"
#include "image/setup_watcher.h"

#define EMULATOR "qemu-system-x86_64"
/* QEMU 7.2 leaves wrong flags behind cmpxchg16b now and then, and kernels that use it crash. The others cost time. */
#define PROCESSOR "max,cx16=off,erms=off,fsrm=off,la57=off,smap=off,smep=off"
/* A kernel that crashed ends the emulator. */
#define APPEND SETUP_COMMAND_LINE " oops=panic panic=-1 mitigations=off"

bool setup_can_emulate(void)
{
	static const char *const arguments[] = {EMULATOR, "--version", NULL};
	const struct child child = {.arguments = arguments, .keep = -1};
	struct error ignored;
	char *text = NULL;
	bool can = child_read(&child, 64 * KIB, &text, &ignored) == 0;

	free(text);
	return can;
}

struct console {
	struct setup_watcher *watcher;
	int log;
};

static int on_output(void *opaque, const uint8_t *bytes, size_t size)
{
	struct console *console = opaque;

	setup_watcher_see(console->watcher, bytes, size);
	setup_watcher_tell(console->watcher);
	/* The log is for a person, after a failure: without it the disk is made all the same. */
	(void)!write(console->log, bytes, size);
	return 0;
}

/* A comma ends a value of an option, unless there are two. */
static void put_path(FILE *out, const char *path)
{
	for (; *path; path++) {
		if (*path == ',')
			fputc(',', out);
		fputc(*path, out);
	}
}

static char *drive_of(const char *disk)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return NULL;
	fputs("if=virtio,format=raw,cache=unsafe,file=", out);
	put_path(out, disk);
	if (fclose(out) == 0)
		return text;
	free(text);
	return NULL;
}

static int emulate(struct console *console, const struct cache *cache, const char *drive, struct error *e)
{
	char kernel[PATH_MAX], initramfs[PATH_MAX], seconds[16], megabytes[16];
	/* It ends with us, whatever ends us. */
	const char *const arguments[] = {
		"setpriv", "--pdeathsig", "TERM", "timeout", "--kill-after=10", seconds,
		EMULATOR, "-accel", "tcg", "-cpu", PROCESSOR, "-M", "q35", "-m", megabytes, "-nodefaults",
		"-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio",
		"-kernel", kernel, "-initrd", initramfs, "-append", APPEND, "-drive", drive,
		"-device", "virtio-rng-pci", "-device", "isa-debug-exit,iobase=0xf4,iosize=4", NULL};
	const struct child child = {.arguments = arguments, .keep = cache->lock, .output = on_output, .context = console};

	snprintf(seconds, sizeof seconds, "%d", SETUP_LIMIT_MS / 1000);
	snprintf(megabytes, sizeof megabytes, "%d", (int)(SETUP_MEMORY / MIB));
	cache_path(cache, "kernel", kernel);
	cache_path(cache, "initramfs", initramfs);
	return child_run(&child, e);
}

int setup_emulate(struct setup_watcher *watcher, const struct cache *cache, const char *disk, const char *log,
		  struct error *e)
{
	struct console console = {.watcher = watcher, .log = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)};
	char *drive = drive_of(disk);
	struct error failure = {.message = ""};
	int r;

	if (console.log < 0 || !drive) {
		r = error_errno(e, console.log < 0 ? -errno : -ENOMEM, "%s", log);
	} else {
		r = emulate(&console, cache, drive, &failure);
		if (r < 0)
			error_set(e, ERROR_FAILED, r, "the system could not be configured (%.150s; \"%.100s\"); see %.150s",
				  failure.message, watcher->last, log);
	}
	free(drive);
	if (console.log >= 0)
		close(console.log);
	return r < 0 ? r : setup_watcher_judge(watcher, log, e);
}
