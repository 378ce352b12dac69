/* What the files of the source share; nobody else includes this. */
#ifndef DOPPEL_MIGRATE_SOURCE_PRIVATE_H
#define DOPPEL_MIGRATE_SOURCE_PRIVATE_H

#include <pthread.h>

#include "base/limit.h"
#include "migrate/disks.h"
#include "migrate/errand.h"
#include "migrate/pages.h"
#include "migrate/source.h"
#include "state/state.h"

struct source {
	struct machine *machine;
	struct source_options options;
	char *offer;
	int fd, wake;
	struct stream stream;
	struct errands errands;
	pthread_t thread;
	bool threaded;

	/* The thread's own. */
	struct pages_sender sender;
	struct pages_set due, fresh; /* not sent since they changed; of those, what was collected last */
	struct disks disks;
	struct state_writer state;
	uint64_t began_ns, stopped_ns;

	/* The owner's: what is to be undone when the machine stays. */
	bool tracking, held, was_running, fenced, throttled;
	struct machine_quota quota;
	enum source_end end;
	struct error why;

	pthread_mutex_t lock; /* guards the rest */
	struct migrate_progress progress;
	struct limit limit;
	bool cancelled, committed;
};

/* source.c */
/* A step of the thread. */
void source_enter(struct source *source, enum migrate_stage stage);
/* The owner does fn(source, e). */
MUST_USE int source_errand(struct source *source, errand_fn *fn, struct error *e);

/* precopy.c: stage 2; at its end what is due still is in `due`. */
MUST_USE int source_pre_copy(struct source *source, struct error *e);
/* Sends what is due; progress counts. */
MUST_USE int source_send_due(struct source *source, struct error *e);

/* holding.c: errands, on the owner's thread. */
errand_fn source_track, source_collect, source_hold, source_throttle, source_let_go, source_give_back;

#endif
