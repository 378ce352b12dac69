#include "cli/run_walls.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/log.h"
#include "base/socket.h"
#include "cli/run_options.h"
#include "machine/terminal.h"
#include "wall/self.h"
#include "wall/wall.h"

bool run_walls_wanted(const struct arguments *arguments)
{
	return arguments->values[RUN_WALLS].number != 0;
}

/* After a monitor that was killed, the next one may listen there already. */
static void remove_dead(const char *path)
{
	int fd, r = socket_connect(path, &fd);

	if (r == 0)
		close(fd);
	else if (r == -ECONNREFUSED)
		unlink(path);
}

/* In the keeper. */
static void remove_sockets(void *context)
{
	const struct machine_config *config = context;
	char path[128];

	for (unsigned i = 0; i < config->channel_count; i++)
		remove_dead(config->channels[i].path);
	if (config->vsock && snprintf(path, sizeof path, "%s/guest", config->vsock) < (int)sizeof path)
		remove_dead(path);
}

int run_walls_keep_sockets(struct keeper *keeper, const struct plan *plan, struct error *e)
{
	const struct machine_config *config = &plan->config;

	if (!run_walls_wanted(plan->arguments) || (!config->channel_count && !config->vsock))
		return 0;
	return keeper_start(keeper, "doppel-keeper", remove_sockets, (void *)config, e);
}

static void tell_missing(void)
{
	char names[128];

	wall_names(WALL_SELF_ALL & ~wall_self_parts_of_all(), names, sizeof names);
	if (*names)
		log_line(LOG_INFO, "wall", "this host does not give the machine's process these walls: %s", names);
}

void run_walls_begin(const struct arguments *arguments)
{
	if (run_walls_wanted(arguments))
		wall_self_begin();
}

int run_walls_put_up(const struct arguments *arguments, int folder, struct error *e)
{
	int r;

	if (!run_walls_wanted(arguments)) {
		log_line(LOG_WARNING, "wall", "--walls off: a guest that breaks out of its machine can do what you can");
		return 0;
	}
	r = wall_self_put_up(folder, terminal_restore, e);
	if (r == 0)
		tell_missing();
	return r;
}
