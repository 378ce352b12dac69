#include "cli/plan.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/machine_image.h"
#include "cli/progress.h"
#include "cli/run_options.h"
#include "x86/cpuid.h"

/* By index of the option's words; the file is any other text. */
static const enum machine_console console_kinds[] = {CONSOLE_STDIO, CONSOLE_NONE, CONSOLE_PTY};

static const char *given(const struct plan *plan, unsigned option)
{
	return plan->arguments->values[option].text;
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

/* Whether the host has so many is known when they are taken. */
static int check_huge_pages(const struct option_value *values, struct error *e)
{
	char wanted[OPTION_NUMBER_SIZE];

	if (!values[RUN_HUGEPAGES].given)
		return 0;
	if (values[RUN_BALLOON].given)
		return error_set(e, ERROR_USAGE, -EINVAL,
				 "--hugepages: a balloon gives the host pages of 4 KiB back, and these are of 2 MiB and reserved; "
				 "leave --balloon out");
	if (values[RUN_MEMORY].number % HUGE_PAGE == 0)
		return 0;
	option_format_size(values[RUN_MEMORY].number, wanted);
	return error_set(e, ERROR_USAGE, -EINVAL, "--hugepages: --memory %s is not made of them; it takes multiples of 2M", wanted);
}

/* The architecture that the options tell by themselves, or an imported image. */
static enum engine_arch arch_of(const struct plan *plan)
{
	const struct option_value *arch = &plan->arguments->values[RUN_ARCH];
	const struct image_recipe *recipe = NULL;

	if (arch->given)
		return (enum engine_arch)arch->number;
	if (given(plan, RUN_ENGINE))
		return engine_find(given(plan, RUN_ENGINE))->arch;
	if (plan->arguments->operand_count > 0)
		recipe = image_recipe_find(plan->arguments->operands[0], NULL, NULL);
	return recipe ? recipe->arch : ENGINE_RISCV64;
}

/* An engine that is usable but not preferred runs only what asks for it by name. */
static int choose_default(enum engine_arch arch, const struct engine **engine, struct error *e)
{
	const struct engine *other;
	struct engine_report report;

	*engine = engine_default(arch);
	if (*engine)
		return 0;
	other = engine_usable(arch, &report);
	if (other)
		return error_set(e, ERROR_FAILED, -ENODEV, "%s guests: %s %s; to run one all the same, give --engine %s",
				 engine_arch_name(arch), other->name, report.summary, other->name);
	return error_set(e, ERROR_FAILED, -ENODEV, "%s guests can not run here: %s; %s", engine_arch_name(arch),
			 report.summary, *report.remedy ? report.remedy : "see doppel engines");
}

static int choose_engine(struct plan *plan, const struct engine **engine, struct error *e)
{
	const char *name = given(plan, RUN_ENGINE);
	struct engine_report report = {.usable = false};

	plan->arch = arch_of(plan);
	if (!name)
		return choose_default(plan->arch, engine, e);
	*engine = engine_find(name);
	if ((*engine)->arch != plan->arch)
		return error_set(e, ERROR_USAGE, -EINVAL, "--engine: %s does not run %s guests; see doppel engines", name,
				 engine_arch_name(plan->arch));
	engine_look(*engine, &report);
	if (report.usable)
		return 0;
	return error_set(e, ERROR_FAILED, -ENODEV, "--engine: %s can not run here: %s; %s", name, report.summary,
			 *report.remedy ? report.remedy : "see doppel engines");
}

/* The image's own command line, which names the serial console, with the console that the guest has. */
static void put_image_append(const struct plan *plan, FILE *out)
{
	static const char serial[] = "console=ttyS0";
	const char *text = plan->image.append, *found = strstr(text, serial);

	if (found && plan->arguments->values[RUN_CONSOLE_DEVICE].number)
		fprintf(out, "%.*sconsole=hvc0%s", (int)(found - text), text, found + strlen(serial));
	else
		fputs(text, out);
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
		put_image_append(plan, out);
		separator = " ";
	}
	if (*run_image_append(plan->arguments)) {
		fprintf(out, "%s%s", separator, run_image_append(plan->arguments));
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

	if (!image && !given(plan, RUN_KERNEL) && !given(plan, RUN_FIRMWARE))
		return error_set(
			e, ERROR_USAGE, -EINVAL,
			"nothing to run; give an IMAGE (such as debian), --kernel FILE or --firmware FILE");
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

static unsigned number(const struct option_value *value)
{
	return value->given ? (unsigned)value->number : 0;
}

static struct place_wish place(const struct plan *plan)
{
	const struct option_value *values = plan->arguments->values;

	return (struct place_wish){
		.group = {.cpu_weight = number(&values[RUN_CPU_WEIGHT]),
			  .io_weight = number(&values[RUN_IO_WEIGHT]),
			  .cpu_max_percent = number(&values[RUN_CPU_MAX]),
			  .memory_max = values[RUN_MEMORY_MAX].given ? values[RUN_MEMORY_MAX].number : 0,
			  .cpus = given(plan, RUN_CPUSET)},
		.dedicated = values[RUN_DEDICATED].given,
	};
}

static int check_cpu_model(const struct plan *plan, struct error *e)
{
	const char *model = given(plan, RUN_CPU_MODEL);
	struct x86_model parsed;
	int r;

	if (!model)
		return 0;
	if (plan->arch != ENGINE_X86_64)
		return error_set(e, ERROR_USAGE, -EINVAL, "--cpu-model: there are models for x86_64 guests only");
	r = x86_model_parse(&parsed, model, e);
	return r < 0 ? error_prefix(e, r, "--cpu-model") : 0;
}

/* Everything that can be found wrong without starting anything. */
static int check_options(struct plan *plan, struct error *e)
{
	const struct option_value *values = plan->arguments->values;
	int r = check_payload(plan, e);

	if (r == 0)
		r = check_memory(values[RUN_MEMORY].number, e);
	if (r == 0)
		r = check_huge_pages(values, e);
	if (r == 0)
		r = choose_engine(plan, &plan->config.engine, e);
	if (r == 0)
		r = check_cpu_model(plan, e);
	if (r < 0)
		return r;
	plan->config.name = given(plan, RUN_NAME);
	plan->config.cpu_model = given(plan, RUN_CPU_MODEL);
	plan->config.memory_bytes = values[RUN_MEMORY].number;
	plan->config.huge_pages = values[RUN_HUGEPAGES].given;
	plan->config.cpus = (unsigned)values[RUN_CPUS].number;
	plan->config.quota.machine_percent = number(&values[RUN_CPU_QUOTA]);
	plan->config.quota.vcpu_percent = number(&values[RUN_VCPU_QUOTA]);
	plan->config.place = place(plan);
	plan->config.profile = given(plan, RUN_PROFILE) != NULL;
	plan->config.memory_max = values[RUN_MEMORY_MAX].given ? values[RUN_MEMORY_MAX].number : 0;
	/* Without the user's word one is chosen that fits below the ceiling. */
	if (!plan->config.memory_max || values[RUN_CODE_CACHE].given)
		plan->config.code_cache = values[RUN_CODE_CACHE].number;
	plan->config.firmware = given(plan, RUN_FIRMWARE);
	choose_console(plan);
	return run_devices_parse(&plan->devices, plan->arguments, &plan->config, e);
}

/* An image that is not ready is pulled first. */
static int obtain_image(const char *name, enum engine_arch arch, struct image *image, struct error *e)
{
	const struct image_recipe *recipe = image_recipe_find(name, engine_arch_name(arch), e);
	struct image_status status;
	int r;

	if (!recipe)
		return -ENOENT;
	r = image_status(recipe, &status, e);
	if (r == 0 && status.state != IMAGE_READY)
		r = progress_pull(recipe, NULL, e);
	return r < 0 ? r : image_find(recipe, image, e);
}

/* The machine's own image, which is made first if need be. */
static int obtain_own_image(const char *name, enum engine_arch arch, const char *folder, struct image *image,
			    struct error *e)
{
	struct image origin;
	int r = machine_image_find(folder, image, e);

	if (r != 0)
		return r < 0 ? r : 0;
	r = obtain_image(name, arch, &origin, e);
	if (r < 0)
		return r;
	r = machine_image_make(&origin, folder, e);
	image_finish(&origin);
	if (r == 0)
		r = machine_image_find(folder, image, e);
	return r < 0 ? r : 0;
}

/* An image brings its kernel along; only an imported one may lack it. */
static int choose_kernel(struct plan *plan, struct error *e)
{
	const char *name = plan->arguments->operands[0];

	if (plan->image.kernel && plan->config.kernel)
		return error_set(e, ERROR_USAGE, -EINVAL, "both the image %s and --kernel are given; give one of them",
				 name);
	if (!plan->image.kernel && !plan->config.kernel && !plan->config.firmware)
		return error_set(e, ERROR_USAGE, -EINVAL, "the image %s has no kernel; give --kernel or --firmware",
				 name);
	if (plan->image.kernel)
		plan->config.kernel = plan->image.kernel;
	if (!plan->config.initrd)
		plan->config.initrd = plan->image.initrd;
	return 0;
}

static int choose_payload(struct plan *plan, const char *folder, struct error *e)
{
	bool own = folder && !given(plan, RUN_KEEP);
	int r;

	plan->config.kernel = given(plan, RUN_KERNEL);
	plan->config.initrd = given(plan, RUN_INITRD);
	if (plan->arguments->operand_count > 0) {
		r = own ? obtain_own_image(plan->arguments->operands[0], plan->arch, folder, &plan->image, e)
			: obtain_image(plan->arguments->operands[0], plan->arch, &plan->image, e);
		if (r < 0)
			return r;
		plan->has_image = true;
		r = choose_kernel(plan, e);
		if (r < 0)
			return r;
	}
	r = run_image_disks(&plan->disks, plan->has_image ? &plan->image : NULL, own, plan->arguments, &plan->config, e);
	if (r == 0)
		r = join_append(plan, e);
	plan->config.append = plan->append && *plan->append ? plan->append : NULL;
	return r;
}

int plan_check(const struct arguments *arguments, struct error *e)
{
	struct plan plan = {.arguments = arguments, .disks = RUN_IMAGE_NONE};
	int r = check_options(&plan, e);

	if (r == 0 && arguments->operand_count > 0 && !image_recipe_find(arguments->operands[0], engine_arch_name(plan.arch), e))
		r = -ENOENT;
	plan_finish(&plan);
	return r;
}

/* Before an image is obtained and its disk copied, which takes long. */
static int look_for_files(const struct machine_config *config, struct error *e)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < config->disk_count; i++)
		r = block_look(&config->disks[i], e);
	for (unsigned i = 0; r == 0 && i < config->share_count; i++)
		r = share_look(config->shares[i].options.folder, e);
	return r;
}

int plan_make(struct plan *plan, const struct arguments *arguments, const char *folder, struct error *e)
{
	int r;

	*plan = (struct plan){.arguments = arguments, .disks = RUN_IMAGE_NONE};
	r = check_options(plan, e);
	if (r == 0)
		r = look_for_files(&plan->config, e);
	return r < 0 ? r : choose_payload(plan, folder, e);
}

void plan_finish(struct plan *plan)
{
	if (plan->has_image)
		image_finish(&plan->image);
	free(plan->append);
	run_image_finish(&plan->disks);
	run_devices_finish(&plan->devices);
}
