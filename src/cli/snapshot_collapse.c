#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/progress.h"
#include "cli/snapshots.h"
#include "cli/verb.h"
#include "snapshot/collapse.h"

static int write_aside(const struct snapshot_chain *chain, const char *aside, struct error *e)
{
	int fd = open(aside, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600), r;
	struct progress progress;

	if (fd < 0)
		return error_errno(e, -errno, "%.300s", aside);
	progress_init(&progress, stderr);
	progress.doing = "joining";
	r = snapshot_collapse(chain, fd, progress_bytes, &progress, e);
	progress_finish(&progress);
	return file_finish(fd, aside, r, e);
}

static int replace(const struct snapshot_chain *chain, const char *path, struct error *e)
{
	char aside[PATH_MAX + 8];
	int r;

	/* Its name ends otherwise than a snapshot's. */
	snprintf(aside, sizeof aside, "%s.new", path);
	r = write_aside(chain, aside, e);
	if (r == 0 && rename(aside, path) < 0)
		r = error_errno(e, -errno, "%.300s", path);
	if (r < 0)
		(void)unlink(aside);
	return r;
}

static int collapse(struct registry *registry, const char *name, const char *tag, struct error *e)
{
	struct snapshot_chain chain;
	int r = snapshots_open(registry, name, tag, &chain, e);

	if (r < 0)
		return r;
	if (chain.count > 1)
		r = replace(&chain, chain.files[0]->name, e);
	snapshot_chain_finish(&chain);
	return r;
}

static int collapse_named(struct named *named, const struct arguments *arguments, struct error *e)
{
	return collapse(named->registry, named->name, arguments->operands[1], e);
}

static int run(const struct arguments *arguments, struct error *e)
{
	return named_do(arguments, collapse_named, e);
}

static const struct verb_example examples[] = {
	{"doppel snapshot collapse web hourly", "hourly does not need nightly any more, which can then be removed"},
	{NULL, NULL},
};

const struct verb verb_snapshot_collapse = {
	.name = "snapshot collapse",
	.summary = "make a snapshot whole that builds on others",
	.operands = "NAME TAG",
	.operands_min = 2,
	.operands_max = 2,
	.operand_kind = OPERAND_MACHINE,
	.description = "Memory that it has from others is copied into it, and checked on the way. Snapshots that build on it still do.",
	.examples = examples,
	.run = run,
};
