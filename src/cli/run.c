#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "cli/progress.h"
#include "cli/verb.h"
#include "machine/machine.h"

enum {
	RUN_KERNEL,
	RUN_INITRD,
	RUN_APPEND,
	RUN_FIRMWARE,
	RUN_MEMORY,
	RUN_CPUS,
	RUN_ENGINE,
	RUN_NAME,
	RUN_CONSOLE,
	RUN_RNG,
	RUN_VIRTIO_WITHOUT,
	RUN_TIMEOUT,
	RUN_LOG_LEVEL,
	RUN_OPTIONS,
};

/* In the order of enum machine_console, apart from the file, which is any other text. */
static const char *const console_words[] = {"stdio", "none", "pty", NULL};
static const enum machine_console console_kinds[] = {CONSOLE_STDIO, CONSOLE_NONE, CONSOLE_PTY};
static const char *const log_words[] = {"error", "warning", "info", "debug", NULL};

static const char *const switch_words[] = {"off", "on", NULL};
/* Features that drivers do without, and their bits. */
static const char *const withheld_words[] = {"packed", "event-index", "indirect", "in-order", NULL};
static const uint64_t withheld_bits[] = {VIRTIO_F_RING_PACKED, VIRTIO_F_EVENT_IDX, VIRTIO_F_INDIRECT_DESC,
					 VIRTIO_F_IN_ORDER};

static const char *engine_word(size_t index)
{
	for (size_t i = 0; engines[i]; i++)
		if (i == index)
			return engines[i]->name;
	return NULL;
}

static const struct option_spec options[RUN_OPTIONS] = {
	[RUN_KERNEL] = {.name = "kernel",
			.letter = 'k',
			.type = OPTION_PATH,
			.placeholder = "FILE",
			.help = "the kernel: a RISC-V Image (also gzip, zstd or EFI zboot) or an ELF file"},
	[RUN_INITRD] = {.name = "initrd",
			.letter = 'i',
			.type = OPTION_PATH,
			.placeholder = "FILE",
			.help = "the initial file system, instead of the image's"},
	[RUN_APPEND] = {.name = "append",
			.letter = 'a',
			.type = OPTION_STRING,
			.placeholder = "TEXT",
			.repeatable = true,
			.help = "add to the kernel command line, after the image's own"},
	[RUN_FIRMWARE] = {.name = "firmware",
			  .letter = 'b',
			  .type = OPTION_PATH,
			  .placeholder = "FILE",
			  .help = "start this (raw or ELF) in M-mode, instead of the monitor's own SBI"},
	[RUN_MEMORY] = {.name = "memory",
			.letter = 'm',
			.type = OPTION_SIZE,
			.placeholder = "SIZE",
			.minimum = BOARD_MEMORY_MIN,
			.maximum = UINT64_C(1) << 44,
			.multiple = 4096,
			.fallback = "512M",
			.help = "memory of the guest"},
	[RUN_CPUS] = {.name = "cpus",
		      .letter = 'c',
		      .type = OPTION_INTEGER,
		      .placeholder = "N",
		      .minimum = 1,
		      .maximum = RISCV_HARTS_MAX,
		      .fallback = "1",
		      .help = "virtual CPUs of the guest"},
	[RUN_ENGINE] = {.name = "engine",
			.letter = 'e',
			.type = OPTION_ENUM,
			.placeholder = "NAME",
			.word = engine_word,
			.help = "what executes the guest; see doppel engines"},
	[RUN_NAME] = {.name = "name",
		      .letter = 'n',
		      .type = OPTION_STRING,
		      .placeholder = "NAME",
		      .help = "name of the machine: letters, digits, dots, dashes, underscores"},
	[RUN_CONSOLE] = {.name = "console",
			 .letter = 'o',
			 .type = OPTION_PATH,
			 .placeholder = "WHERE",
			 .words = console_words,
			 .fallback = "stdio",
			 .help = "where the guest's serial console is"},
	[RUN_RNG] = {.name = "rng",
		     .letter = 'r',
		     .type = OPTION_ENUM,
		     .placeholder = "on|off",
		     .words = switch_words,
		     .fallback = "on",
		     .help = "a virtio device that gives the guest random bytes"},
	[RUN_VIRTIO_WITHOUT] = {.name = "virtio-without",
				.letter = 'w',
				.type = OPTION_ENUM,
				.placeholder = "FEATURE",
				.repeatable = true,
				.words = withheld_words,
				.help = "do not offer this to drivers, to test them"},
	[RUN_TIMEOUT] = {.name = "timeout",
			 .letter = 't',
			 .type = OPTION_DURATION,
			 .placeholder = "TIME",
			 .minimum = 1,
			 .maximum = 500 * UINT64_C(3600000),
			 .help = "end the guest after this time, with status 6"},
	[RUN_LOG_LEVEL] = {.name = "log-level",
			   .letter = 'l',
			   .type = OPTION_ENUM,
			   .placeholder = "LEVEL",
			   .words = log_words,
			   .fallback = "warning",
			   .help = "what the monitor tells on standard error"},
};

/* What run needs between its steps; all strings but `append` belong to someone else. */
struct plan {
	const struct arguments *arguments;
	struct image image;
	bool has_image;
	char *append;
	struct machine_config config;
};

static const char *given(const struct plan *plan, unsigned option)
{
	return plan->arguments->values[option].text;
}

static int check_name(const char *name, struct error *e)
{
	size_t length = strlen(name);

	if (length >= 1 && length <= 63 && isalnum((unsigned char)name[0]) &&
	    strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == length)
		return 0;
	return error_set(
		e, ERROR_USAGE, -EINVAL,
		"--name: \"%s\" is no name; give 1 to 63 letters, digits, dots, dashes and underscores, the first a "
		"letter or digit",
		name);
}

/* More than the host has can only end in the guest's death, or the host's. */
static int check_memory(uint64_t bytes, struct error *e)
{
	uint64_t host = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
	char wanted[OPTION_NUMBER_SIZE];

	if (bytes <= host)
		return 0;
	option_format_size(bytes, wanted);
	return error_set(e, ERROR_USAGE, -EINVAL,
			 "--memory: %s is more than this host's %" PRIu64 "M; give 16M to %" PRIu64 "M", wanted,
			 host / MIB, host / MIB);
}

static int choose_engine(const char *name, const struct engine **engine, struct error *e)
{
	struct engine_report report = {.usable = false};

	if (!name)
		return 0;
	*engine = engine_find(name);
	if ((*engine)->arch != ENGINE_RISCV64)
		return error_set(e, ERROR_USAGE, -EINVAL,
				 "--engine: %s does not run riscv64 guests; see doppel engines", name);
	(*engine)->probe(&report);
	if (report.usable)
		return 0;
	return error_set(e, ERROR_FAILED, -ENODEV, "--engine: %s can not run here: %s; %s", name, report.summary,
			 *report.remedy ? report.remedy : "see doppel engines");
}

/* The image's command line, then every --append, with spaces between. */
static int join_append(struct plan *plan, struct error *e)
{
	const char *text, *separator = "";
	size_t size = 0, cursor = 0;
	FILE *out = open_memstream(&plan->append, &size);

	if (!out)
		return error_errno(e, -errno, "--append");
	if (plan->has_image && plan->image.append) {
		fputs(plan->image.append, out);
		separator = " ";
	}
	while ((text = arguments_next(plan->arguments, RUN_APPEND, &cursor))) {
		fprintf(out, "%s%s", separator, text);
		separator = " ";
	}
	return fclose(out) == 0 ? 0 : error_errno(e, -ENOMEM, "--append");
}

static int check_payload(const struct plan *plan, struct error *e)
{
	bool image = plan->arguments->operand_count > 0;

	if (image && given(plan, RUN_KERNEL))
		return error_set(e, ERROR_USAGE, -EINVAL,
				 "both the image %s and --kernel are given; give one of them",
				 plan->arguments->operands[0]);
	if (!image && !given(plan, RUN_KERNEL) && !given(plan, RUN_FIRMWARE))
		return error_set(
			e, ERROR_USAGE, -EINVAL,
			"nothing to run; give an IMAGE (such as debian-tiny), --kernel FILE or --firmware FILE");
	return 0;
}

static void choose_console(struct plan *plan)
{
	const struct option_value *console = &plan->arguments->values[RUN_CONSOLE];

	if (console->number != OPTION_NO_WORD) {
		plan->config.console = console_kinds[console->number];
		return;
	}
	plan->config.console = CONSOLE_FILE;
	plan->config.console_path = console->text;
}

static void choose_devices(struct plan *plan)
{
	const struct arguments *arguments = plan->arguments;
	struct option_value value;
	const char *text;
	size_t cursor = 0;

	plan->config.rng = arguments->values[RUN_RNG].number;
	while ((text = arguments_next(arguments, RUN_VIRTIO_WITHOUT, &cursor)))
		if (option_parse(&options[RUN_VIRTIO_WITHOUT], text, &value, NULL) == 0)
			plan->config.virtio_withheld |= withheld_bits[value.number];
}

/* Everything that can be found wrong without starting anything. */
static int check_options(struct plan *plan, struct error *e)
{
	const struct option_value *values = plan->arguments->values;
	const char *name = given(plan, RUN_NAME);
	int r = check_payload(plan, e);

	if (r == 0 && name)
		r = check_name(name, e);
	if (r == 0)
		r = check_memory(values[RUN_MEMORY].number, e);
	if (r == 0)
		r = choose_engine(given(plan, RUN_ENGINE), &plan->config.engine, e);
	if (r < 0)
		return r;
	plan->config.name = name;
	plan->config.memory_bytes = values[RUN_MEMORY].number;
	plan->config.cpus = (unsigned)values[RUN_CPUS].number;
	plan->config.firmware = given(plan, RUN_FIRMWARE);
	choose_console(plan);
	choose_devices(plan);
	return 0;
}

/* An image that is not ready is pulled first. */
static int obtain_image(const char *name, struct image *image, struct error *e)
{
	const struct image_recipe *recipe = image_recipe_find(name, e);
	struct image_status status;
	int r;

	if (!recipe)
		return -ENOENT;
	r = image_status(recipe, &status, e);
	if (r == 0 && status.state != IMAGE_READY)
		r = progress_pull(recipe, NULL, e);
	return r < 0 ? r : image_find(recipe, image, e);
}

static int choose_payload(struct plan *plan, struct error *e)
{
	int r;

	plan->config.kernel = given(plan, RUN_KERNEL);
	plan->config.initrd = given(plan, RUN_INITRD);
	if (plan->arguments->operand_count > 0) {
		r = obtain_image(plan->arguments->operands[0], &plan->image, e);
		if (r < 0)
			return r;
		plan->has_image = true;
		plan->config.kernel = plan->image.kernel;
		if (!plan->config.initrd)
			plan->config.initrd = plan->image.initrd;
	}
	r = join_append(plan, e);
	plan->config.append = plan->append && *plan->append ? plan->append : NULL;
	return r;
}

/* How the guest's end becomes the command's. */
static int conclude(const struct machine_outcome *outcome, struct error *e)
{
	if (outcome->state == MACHINE_FAILED)
		return error_set(e, ERROR_FAILED, -EIO, "the machine failed: %s; --log-level debug tells more",
				 *outcome->message ? outcome->message : "no reason is known");
	if (outcome->detached)
		fputs("doppel: left the console; the machine is switched off\n", stderr);
	if (outcome->signal)
		fprintf(stderr, "doppel: SIG%s came; the machine is switched off\n",
			sigabbrev_np(outcome->signal));
	return outcome->detached ? 0 : outcome->exit_code;
}

static int watch(struct machine *machine, const struct option_value *timeout, struct machine_outcome *outcome,
		 struct error *e)
{
	int r = machine_start(machine, e);

	if (r < 0)
		return r;
	if (machine_console_path(machine))
		fprintf(stderr, "doppel: the console is %s\n", machine_console_path(machine));
	r = machine_wait(machine, timeout->given ? (int)timeout->number : -1, outcome, e);
	if (r == -ETIMEDOUT)
		return error_set(e, ERROR_TIMEOUT, r,
				 "the guest did not end within %g s and was switched off; give a longer "
				 "--timeout",
				 (double)timeout->number / 1000);
	return r;
}

static int run(const struct arguments *arguments, struct error *e)
{
	struct plan plan = {.arguments = arguments};
	struct machine_outcome outcome = {.state = MACHINE_CREATED};
	struct machine *machine = NULL;
	int r;

	log_set_level((enum log_level)arguments->values[RUN_LOG_LEVEL].number);
	r = check_options(&plan, e);
	if (r == 0)
		r = choose_payload(&plan, e);
	if (r == 0)
		r = machine_new(&machine, &plan.config, e);
	if (r == 0)
		r = watch(machine, &arguments->values[RUN_TIMEOUT], &outcome, e);
	/* Gives the terminal back, before anything is printed on it. */
	machine_free(machine);
	if (r == 0)
		r = conclude(&outcome, e);
	if (plan.has_image)
		image_finish(&plan.image);
	free(plan.append);
	return r < 0 ? error_prefix(e, r, "run") : r;
}

static const struct verb_example examples[] = {
	{"doppel run debian-tiny",
	 "a small Debian guest on this terminal; the image is pulled when it is not there yet"},
	{"doppel run debian-tiny --cpus 4 --memory 2G --append quiet",
	 "the same with more of everything and less on its console"},
	{"doppel run --kernel Image --initrd initrd.gz --append 'console=ttyS0'", "a kernel of your own"},
	{"doppel run --firmware fw_jump.elf --kernel Image --timeout 5m",
	 "firmware in M-mode, which starts the kernel; ended after five minutes"},
	{NULL, NULL},
};

const struct verb verb_run = {
	.name = "run",
	.summary = "run a guest on this terminal until it ends",
	.operands = "[IMAGE]",
	.operands_max = 1,
	.operand_kind = OPERAND_IMAGE,
	.description =
		"Makes a machine, starts it, and stays until the guest powers off, fails or runs out of time. No "
		"privilege is needed. An image is named as in doppel image ls, and pulled when it is not there yet; or "
		"give a kernel or a firmware of your own.\n\n"
		"On the console, Ctrl-A x switches the machine off and leaves, Ctrl-A h tells what else there is. The "
		"terminal is as before afterwards, whatever happened.\n\n"
		"The exit status is the guest's own code when it ended with one, 0 when it just powered off, 128 and the "
		"number of the signal when SIGINT, SIGTERM or SIGHUP ended it.",
	.examples = examples,
	.options = options,
	.option_count = RUN_OPTIONS,
	.run = run,
};
