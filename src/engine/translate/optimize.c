#include "engine/translate/optimize.h"

#include "engine/translate/loops.h"
#include "engine/translate/optimize_private.h"

void optimize(struct ir_unit *unit, enum optimize_tables tables)
{
	struct loops loops;

	unit->grouped = false;
	loops_find(&loops, unit);
	simplify(unit);
	optimize_unseen(unit);
	optimize_groups(unit, &loops, tables);
}
