/*
 * A call to the owner's thread that can be rung from any thread, any number of times: the function runs on the
 * event loop once for all rings since it last began. Rings made while a guest can cause them at will cost no
 * memory.
 */
#ifndef DOPPEL_MACHINE_BELL_H
#define DOPPEL_MACHINE_BELL_H

#include <stdatomic.h>

#include "base/loop.h"

/* Memory of the caller, constant but for `rung`; it must outlive the loop's last run. */
struct bell {
	struct loop *loop;
	loop_fn *fn;
	void *arg;
	atomic_bool rung;
};

void bell_ring(struct bell *bell);

#endif
