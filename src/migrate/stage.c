#include "migrate/stage.h"

const char *migrate_stage_name(enum migrate_stage stage)
{
	static const char *const names[MIGRATE_STAGES] = {
		[MIGRATE_ASKING] = "pre-migration",  [MIGRATE_RESERVATION] = "reservation",
		[MIGRATE_PRE_COPY] = "pre-copy",     [MIGRATE_STOP_AND_COPY] = "stop and copy",
		[MIGRATE_COMMITMENT] = "commitment", [MIGRATE_ACTIVATION] = "activation",
	};

	return names[stage];
}

json_t *migrate_progress_json(const struct migrate_progress *p)
{
	const struct {
		const char *key;
		uint64_t value;
	} numbers[] = {
		{"stage", p->stage},
		{"round", p->round},
		{"pages", p->pages},
		{"zeros", p->zeros},
		{"bytes", p->bytes + p->fault_bytes},
		{"due", p->due},
		{"left", p->left},
		{"rate", p->rate},
		{"estimate_ns", p->estimate_ns},
		{"downtime_ns", p->downtime_ns},
		{"total_ns", p->total_ns},
		{"throttle", p->throttle},
		{"faults", p->faults},
	};
	json_t *object = json_pack("{s:s, s:b, s:b}", "name", migrate_stage_name(p->stage), "post_copy",
				   p->post_copy, "cut", p->cut);

	for (size_t i = 0; object && i < ARRAY_SIZE(numbers); i++)
		json_object_set_new(object, numbers[i].key, json_integer((json_int_t)numbers[i].value));
	return object;
}
