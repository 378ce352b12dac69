#include "cli/cli.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "config/suggest.h"
#include "cli/text.h"
#include "cli/usage.h"
#include "cli/verb.h"

void cli_report(const struct error *e)
{
	bool colour = text_colour_wanted(stderr);

	fprintf(stderr, "%sdoppel:%s ", text_tint(TINT_BAD, colour), text_tint_end(TINT_BAD, colour));
	text_plain(stderr, *e->message ? e->message : "it failed, and nothing tells why");
	fputc('\n', stderr);
}

static int report(const struct error *e)
{
	cli_report(e);
	return e->kind == ERROR_NONE ? 1 : error_exit_code(e->kind);
}

static int unknown_verb(const char *word, const struct verb *group, struct error *e)
{
	struct suggestion best = suggestion_for(word);
	const char *name = group ? group->name : "", *space = group ? " " : "";

	for (const struct verb *const *v = group ? group->verbs : verbs; *v; v++)
		suggestion_consider(&best, verb_word(*v));
	if (best.word)
		return error_set(e, ERROR_USAGE, -EINVAL, "%s%sunknown verb \"%s\"; did you mean doppel %s%s%s?",
				 name, group ? ": " : "", word, name, space, best.word);
	return error_set(e, ERROR_USAGE, -EINVAL, "%s%sunknown verb \"%s\"; see doppel help%s%s", name,
			 group ? ": " : "", word, space, name);
}

/* Runs a verb that is no group, with the arguments after its name. */
static int run_leaf(const struct verb *verb, size_t count, char *const *argv, struct error *e)
{
	struct arguments arguments;
	int r = arguments_parse(&arguments, verb, count, argv, e);

	if (r < 0)
		return error_prefix(e, r, "%s", verb->name);
	if (arguments.help) {
		usage_verb(stdout, verb);
		r = 0;
	} else {
		r = verb->run(&arguments, e);
	}
	arguments_finish(&arguments);
	return r;
}

static bool asks_for_help(const char *word)
{
	return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

/* argv[0] is the next word; `group` is the verb it follows. */
static int run_in_group(const struct verb *group, size_t count, char *const *argv, struct error *e)
{
	const struct verb *verb;

	if (count == 0) {
		usage_verb(stderr, group);
		return error_exit_code(ERROR_USAGE);
	}
	if (asks_for_help(argv[0])) {
		usage_verb(stdout, group);
		return 0;
	}
	verb = verb_find(group->verbs, argv[0]);
	if (!verb && group->otherwise)
		return run_leaf(group->otherwise, count, argv, e);
	if (!verb)
		return unknown_verb(argv[0], group, e);
	return verb->verbs ? run_in_group(verb, count - 1, argv + 1, e) : run_leaf(verb, count - 1, argv + 1, e);
}

static int run_top(size_t count, char *const *argv, struct error *e)
{
	const struct verb *verb;

	if (count == 0) {
		usage_overview(stderr);
		return error_exit_code(ERROR_USAGE);
	}
	if (asks_for_help(argv[0])) {
		usage_overview(stdout);
		return 0;
	}
	if (strcmp(argv[0], "--version") == 0 || strcmp(argv[0], "-V") == 0)
		verb = &verb_version;
	else if (strcmp(argv[0], verb_monitor.name) == 0) /* for doppel itself: not listed */
		verb = &verb_monitor;
	else
		verb = verb_find(verbs, argv[0]);
	if (!verb)
		return unknown_verb(argv[0], NULL, e);
	return verb->verbs ? run_in_group(verb, count - 1, argv + 1, e) : run_leaf(verb, count - 1, argv + 1, e);
}

/* A full disk behind `doppel help --man > file` is a failure too. */
static int finish_output(int status, struct error *e)
{
	int failed = ferror(stdout);

	if ((fflush(stdout) != 0 || failed) && status >= 0)
		return error_errno(e, errno ? -errno : -EIO, "writing to standard output");
	return status;
}

int cli_main(int argc, char **argv)
{
	struct error e = {.kind = ERROR_NONE};
	int status = run_top(argc > 0 ? (size_t)argc - 1 : 0, argv + (argc > 0), &e);

	status = finish_output(status, &e);
	return status < 0 ? report(&e) : status;
}
