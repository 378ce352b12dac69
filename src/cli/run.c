#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "cli/machine_document.h"
#include "cli/plan.h"
#include "cli/run_named.h"
#include "cli/run_net.h"
#include "cli/run_options.h"
#include "cli/run_profile.h"
#include "cli/run_walls.h"
#include "cli/verb.h"
#include "machine/machine.h"

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
	run_net_tell(machine);
	return machine_wait(machine, timeout->given ? (int)timeout->number : -1, outcome, e);
}

struct running {
	struct plan plan;
	struct keeper keeper; /* of sockets */
	struct run_profile profile;
};

static int run_machine(struct running *running, struct machine_outcome *outcome, struct error *e)
{
	const struct plan *plan = &running->plan;
	struct machine *machine = NULL;
	uint64_t started = clock_host_ns();
	int r = machine_new(&machine, &plan->config, e);

	if (r == 0) {
		keeper_arm(&running->keeper);
		r = run_walls_put_up(plan->arguments, -1, e);
	}
	if (r == 0)
		r = watch(machine, &plan->arguments->values[RUN_TIMEOUT], outcome, e);
	if (machine && r == 0)
		r = run_profile_write(&running->profile, machine, started, e);
	/* Gives the terminal back, before anything is printed on it. */
	machine_free(machine);
	return r;
}

/* Without a name nobody but this process knows of the machine. */
static int run_alone(const struct arguments *arguments, struct machine_outcome *outcome, struct error *e)
{
	struct running running = {.plan = PLAN_NONE, .profile = RUN_PROFILE_NONE};
	int r = plan_make(&running.plan, arguments, NULL, e);

	if (r == 0)
		r = run_walls_keep_sockets(&running.keeper, &running.plan, e);
	if (r == 0)
		r = run_profile_open(&running.profile, arguments, e);
	if (r == 0)
		r = run_machine(&running, outcome, e);
	run_profile_finish(&running.profile);
	keeper_end(&running.keeper);
	plan_finish(&running.plan);
	return r;
}

static int run_here(const struct arguments *arguments, const struct settings *settings, struct error *e)
{
	const struct option_value *timeout = &arguments->values[RUN_TIMEOUT];
	struct machine_outcome outcome = {.state = MACHINE_CREATED};
	int r;

	if (arguments->values[RUN_NAME].given)
		r = run_named(arguments, settings, &outcome, e);
	else
		r = run_alone(arguments, &outcome, e);
	if (r == -ETIMEDOUT && timeout->given)
		return error_set(e, ERROR_TIMEOUT, r,
				 "the guest did not end within %g s and was switched off; give a longer --timeout",
				 (double)timeout->number / 1000);
	return r < 0 ? r : conclude(&outcome, e);
}

/* `given` says what is to be done with the machine of `arguments`. */
static int run_resolved(const struct arguments *given, const struct arguments *arguments,
			const struct settings *settings, struct error *e)
{
	log_set_level((enum log_level)arguments->values[RUN_LOG_LEVEL].number);
	if (given->values[RUN_CHECK].given)
		return plan_check(arguments, e);
	if (given->values[RUN_DETACH].given)
		return run_detached(arguments, settings, e);
	return run_here(arguments, settings, e);
}

/* A document is read, or is to be written. */
static bool has_document(const struct arguments *given)
{
	return given->values[RUN_FILE].given || given->values[RUN_CHECK].given || given->values[RUN_NAME].given ||
	       given->values[RUN_DETACH].given;
}

static int run_with_document(const struct arguments *given, struct error *e)
{
	struct arguments arguments;
	struct settings settings;
	int r = machine_resolve(given, 0, &settings, &arguments, e);

	if (r < 0)
		return r;
	r = run_resolved(given, &arguments, &settings, e);
	settings_finish(&settings);
	arguments_finish(&arguments);
	return r;
}

static int run(const struct arguments *given, struct error *e)
{
	int r = has_document(given) ? run_with_document(given, e) : run_resolved(given, given, NULL, e);

	return r < 0 ? error_prefix(e, r, "run") : r;
}

static const struct verb_example examples[] = {
	{"doppel run debian", "a whole Debian system on this terminal; log in as root, without a password"},
	{"doppel run debian --keep web.raw --ssh-key ~/.ssh/id_rsa.pub --publish 2222:22",
	 "the same on a disk that is kept, to be reached by ssh -p 2222 root@localhost"},
	{"doppel run debian-tiny",
	 "a small Debian guest on this terminal; the image is pulled when it is not there yet"},
	{"doppel run debian-tiny --cpus 4 --memory 2G --append quiet",
	 "the same with more of everything and less on its console"},
	{"doppel run debian-tiny --profile profile.txt --symbols System.map",
	 "where the guest spends its time, with the names of its kernel's functions"},
	{"doppel run -d --name web debian --publish 8080:80",
	 "a machine named web, in a process of its own; see doppel stop, doppel console, doppel rm"},
	{"doppel run --kernel Image --initrd initrd.gz --append 'console=ttyS0'", "a kernel of your own"},
	{"doppel run --firmware fw_jump.elf --kernel Image --timeout 5m",
	 "firmware in M-mode, which starts the kernel; ended after five minutes"},
	{NULL, NULL},
};

const struct verb verb_run = {
	.name = "run",
	.summary = "run a guest, on this terminal until it ends or on its own",
	.operands = "[IMAGE]",
	.scope = SCOPE_RUN,
	.operands_max = 1,
	.operand_kind = OPERAND_IMAGE,
	.description =
		"Makes a machine, starts it, and stays until the guest powers off, fails or runs out of time. No "
		"privilege is needed. An image is named as in doppel image ls, and pulled when it is not there yet; or "
		"give a kernel or a firmware of your own.\n\n"
		"An image with a disk, such as debian, starts from the same disk each time: what the guest writes to it is "
		"dropped when it ends, unless --keep gives it a disk of its own. Such an image has a user network unless "
		"--net says otherwise.\n\n"
		"With --detach the machine gets a process of its own and stays until doppel rm; its name is printed. With --name "
		"alone it stays on the terminal, but all verbs reach it, and it is removed when it ends.\n\n"
		"On the console, Ctrl-A x switches the machine off and leaves, Ctrl-A h tells what else there is. The "
		"terminal is as before afterwards, whatever happened.\n\n"
		"The exit status is the guest's own code when it ended with one, 0 when it just powered off, 128 and the "
		"number of the signal when SIGINT, SIGTERM or SIGHUP ended it.",
	.examples = examples,
	.options = run_options,
	.option_count = RUN_OPTIONS,
	.run = run,
};
