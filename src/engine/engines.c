#include <string.h>

#include "engine/engine.h"
#include "engine/interpret/interpret.h"
#include "engine/translate/translate.h"

const struct engine *const engines[] = {
	&engine_translate,
	&engine_interpret,
	NULL,
};

const struct engine *engine_find(const char *name)
{
	for (unsigned i = 0; engines[i]; i++)
		if (strcmp(engines[i]->name, name) == 0)
			return engines[i];
	return NULL;
}

const struct engine *engine_default(enum engine_arch arch)
{
	for (unsigned i = 0; engines[i]; i++) {
		struct engine_report report;

		if (engines[i]->arch != arch)
			continue;
		engines[i]->probe(&report);
		if (report.usable && report.preferred)
			return engines[i];
	}
	return NULL;
}
