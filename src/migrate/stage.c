#include "migrate/stage.h"

const char *migrate_stage_name(enum migrate_stage stage)
{
	static const char *const names[MIGRATE_STAGES] = {
		[MIGRATE_ASKING] = "pre-migration",	     [MIGRATE_RESERVATION] = "reservation",
		[MIGRATE_PRE_COPY] = "pre-copy",	     [MIGRATE_STOP_AND_COPY] = "stop and copy",
		[MIGRATE_COMMITMENT] = "commitment",	     [MIGRATE_ACTIVATION] = "activation",
	};

	return names[stage];
}

json_t *migrate_progress_json(const struct migrate_progress *p)
{
	return json_pack("{s:i, s:s, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:i, s:b, s:b, s:I}", "stage", (int)p->stage, "name",
			 migrate_stage_name(p->stage), "round", (int)p->round, "pages", (json_int_t)p->pages, "zeros",
			 (json_int_t)p->zeros, "bytes", (json_int_t)(p->bytes + p->fault_bytes), "left", (json_int_t)p->left, "rate",
			 (json_int_t)p->rate, "estimate_ns", (json_int_t)p->estimate_ns, "downtime_ns",
			 (json_int_t)p->downtime_ns, "total_ns", (json_int_t)p->total_ns, "throttle", (int)p->throttle, "post_copy", p->post_copy, "cut",
			 p->cut, "faults", (json_int_t)p->faults);
}
