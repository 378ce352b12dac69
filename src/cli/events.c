#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/followed.h"
#include "cli/verb.h"

static int print_line(const json_t *event, struct error *e)
{
	char *text = json_dumps(event, JSON_COMPACT);
	int r = text && puts(text) >= 0 && fflush(stdout) == 0 ? 0 : -EIO;

	free(text);
	return r < 0 ? error_errno(e, errno ? -errno : r, "writing to standard output") : 0;
}

static int run(const struct arguments *arguments, struct error *e)
{
	struct followed *followed;
	json_t *event;
	int r = followed_new(&followed, arguments->operands, arguments->operand_count, e);

	if (r < 0)
		return r;
	while ((r = followed_next(followed, &event, e)) == 0) {
		r = print_line(event, e);
		json_decref(event);
		if (r < 0)
			break;
	}
	followed_free(followed);
	return r == -ENODATA ? 0 : r;
}

static const struct verb_example examples[] = {
	{"doppel events", "what happens to machines from now on, one JSON object a line, until it is interrupted"},
	{"doppel events web | jq -r .event", "only of web, and only what"},
	{NULL, NULL},
};

const struct verb verb_events = {
	.name = "events",
	.summary = "follow what happens to machines",
	.operands = "[NAME...]",
	.operands_max = NAMED_MAX,
	.operand_kind = OPERAND_MACHINE,
	.description =
		"Prints a line for each event: its time, its machine, and what it was: started, paused, resumed, reset, stalled, "
		"unstalled, disk failed, stopping, forced, stopped, failed. Without a name all machines are followed, those that are "
		"made later too; with names it ends when all of these are removed. doppel history tells what was before.\n\n"
		"Nothing is left out silently: who reads too slowly is told so, and cut off.",
	.examples = examples,
	.run = run,
};
