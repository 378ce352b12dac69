/* What the files of the source share; nobody else includes this. */
#ifndef DOPPEL_MIGRATE_SOURCE_PRIVATE_H
#define DOPPEL_MIGRATE_SOURCE_PRIVATE_H

#include <pthread.h>

#include "base/limit.h"
#include "migrate/disks.h"
#include "migrate/errand.h"
#include "migrate/flows.h"
#include "migrate/link.h"
#include "migrate/pages.h"
#include "migrate/source.h"
#include "state/state.h"

/* What progress has counted of a connection. */
struct tally {
	struct pages_counts pages;
	uint64_t bytes;
};

/* A further connection for pages; carriers.c. */
struct carrier {
	struct source *source;
	pthread_t thread;
	bool threaded;

	/* Its thread's own. */
	struct stream stream;
	struct pages_sender sender;
	struct tally told;
	uint64_t turns;
	struct error why; /* of the result */

	/* Guarded by the source's lock. */
	unsigned had; /* the turn that it had last */
	bool busy, failed;
	int result;
};

struct source {
	struct machine *machine;
	struct source_options options;
	char *offer, name[LINK_NAME_SIZE];
	int fd, wake;
	struct stream stream;
	struct errands errands;
	pthread_t thread, server;
	bool threaded, served;

	/* The thread's own. */
	struct pages_sender sender;
	struct packer *packer;
	struct tally told;
	struct carrier carriers[LINK_PAGES_MAX]; /* as many as options.links has */
	struct pages_set due, fresh; /* not sent since they changed; of those, what was collected last */
	struct disks disks;
	uint64_t disks_settled; /* bytes of disks.sent that progress has counted */
	bool takes_flows, takes_links; /* the destination */
	struct flow_list flows;
	struct state_writer state;
	uint64_t began_ns, stopped_ns;
	struct machine_use used; /* the owner's: when it looked last */
	uint64_t used_at_ns;
	unsigned used_percent; /* since the time before, by its busiest vCPU */
	uint64_t whole_rate; /* bytes of pages a second, before they are compressed */

	/* The owner's: what is to be undone when the machine stays. */
	bool tracking, held, was_running, fenced, throttled;
	struct machine_quota quota;
	enum source_end end;
	struct error why;

	/* The server's own, while it serves; `fd` of the stream is changed under the lock. */
	struct stream faults;
	struct pages_sender fault_sender;

	pthread_mutex_t lock; /* guards the rest */
	pthread_cond_t changed;
	struct migrate_progress progress;
	struct limit limit;
	bool cancelled, committed;
	bool carriers_called;  /* to the destination */
	bool sharing;          /* carriers shall take of what is due */
	unsigned turn;         /* how often they have been told so */
	bool can_post_copy;    /* the destination said so */
	bool switch_asked;     /* to post-copy */
	bool complete;         /* in post-copy: it needs nothing any more */
	bool server_idle;      /* the server noticed that it shall not serve */
	bool serving, closing; /* the faults link is there, and wants may come; source_free was called */
	bool pushed;           /* all missing pages were sent, and the destination was told so */
	int next_main, next_faults; /* connections that are not in use yet; -1: none */
};

/* source.c */
/* A step of the thread. */
void source_enter(struct source *source, enum migrate_stage stage);
/* The owner does fn(source, e). */
MUST_USE int source_errand(struct source *source, errand_fn *fn, struct error *e);

/* A frame of so many bytes waits until the bandwidth allows it. */
MUST_USE int source_take_turn(struct source *source, size_t bytes, struct error *e);
/* The same for one of the first connection, and progress counts. */
MUST_USE int source_pace(void *source, size_t bytes, struct error *e);
/* For progress: so many pages are due from now on, those of disks too. The source's thread. */
void source_owe(struct source *source, uint64_t pages);
/* Of these, so many are not any more. Any of its threads. */
void source_settle(struct source *source, uint64_t pages);
/* Progress counts what a connection has sent since `told`. */
void source_tally(struct source *source, struct tally *told, const struct pages_counts *counts, uint64_t bytes);

/* carriers.c: further connections for pages, with a thread each. The owner's thread begins and ends them. */
MUST_USE int source_carriers_begin(struct source *source, struct error *e);
/* The destination takes them now. */
void source_call_carriers(struct source *source);
/* Sends all pages that are due; the destination has those that went by further connections. */
MUST_USE int source_send_pages(struct source *source, struct error *e);
/* They are of no use any more. */
void source_carriers_cut(struct source *source);
/* Source_free's, which has told them. */
void source_carriers_end(struct source *source);

/* serving.c: post-copy. */
/* The greeting, then what the connection is for. 1: the machine needs nothing any more. */
MUST_USE int source_join_by(struct source *source, struct stream *stream, enum link_role role, struct error *e);
/* The connection for faults is made. */
MUST_USE int source_join(struct source *source, struct error *e);
bool source_shall_switch(void *source);
/* The machine stands still: what is due goes later, and the destination may ask for it. */
MUST_USE int source_begin_serving(struct source *source, struct error *e);
/* The machine is the destination's: until all of its memory is. `cut`: there is no connection at first. */
void source_serve(struct source *source, bool cut);
void *source_server_main(void *source);

/* precopy.c: stage 2; at its end what is due still is in `due`. 1: post-copy follows. */
MUST_USE int source_pre_copy(struct source *source, struct error *e);
/* Sends what is due; progress counts. */
MUST_USE int source_send_due(struct source *source, struct error *e);

/* holding.c: errands, on the owner's thread. */
errand_fn source_conclude, source_track, source_collect, source_hold, source_throttle, source_let_go, source_give_back;

#endif
