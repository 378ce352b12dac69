/* What holds a machine's process and its helpers, for `doppel inspect`. */
#include <stdio.h>

#include "monitor/private.h"
#include "wall/self.h"
#include "wall/wall.h"

#define NAMES_SIZE 160

static json_t *describe(const char *name, unsigned parts, unsigned all)
{
	char holding[NAMES_SIZE], missing[NAMES_SIZE];

	wall_names(parts & all, holding, sizeof holding);
	wall_names(all & ~parts, missing, sizeof missing);
	return json_pack("{s:s, s:s, s:s}", "of", name, "hold", holding, "missing", missing);
}

json_t *monitor_describe_walls(void)
{
	struct wall_info processes[WALL_PROCESSES_MAX];
	unsigned count = wall_list_processes(processes);
	json_t *out = json_array();

	for (unsigned kind = 0; kind < THREAD_KINDS; kind++) {
		unsigned threads, parts = wall_self_parts((enum thread_kind)kind, &threads);
		char name[32];

		snprintf(name, sizeof name, "thread %s", thread_kind_name((enum thread_kind)kind));
		if (threads || kind == THREAD_MAIN)
			json_array_append_new(out, describe(name, parts, WALL_SELF_ALL));
	}
	for (unsigned i = 0; i < count; i++)
		json_array_append_new(out, describe(processes[i].name, processes[i].parts, WALL_ALL));
	return out;
}
