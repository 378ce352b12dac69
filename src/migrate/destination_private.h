/* What the files of the destination share; nobody else includes this. */
#ifndef DOPPEL_MIGRATE_DESTINATION_PRIVATE_H
#define DOPPEL_MIGRATE_DESTINATION_PRIVATE_H

#include <pthread.h>

#include "migrate/destination.h"
#include "migrate/disks.h"
#include "migrate/errand.h"
#include "migrate/flows.h"
#include "migrate/link.h"
#include "migrate/pages.h"

/* A source that says nothing for so long is not waited for any more. It may be flushing a file to a slow disk. */
#define DESTINATION_IDLE_MS 30000

struct porter;

struct destination {
	struct machine *machine;
	struct destination_options options;
	int wake;
	struct errands errands;
	pthread_t thread, attendant;
	bool threaded, attended;

	/* The thread's own; `fd` is changed under the lock. */
	int fd;
	struct stream stream;
	struct pages_target target; /* also the attendant's, page by page */
	struct pages_counts counts;
	struct unpacker unpacker;
	struct disks disks;
	struct flow_list flows;
	json_t *inventory;
	uint8_t *state;
	size_t state_length, state_room;
	bool run, can_be_late;
	int result;
	struct error why;

	bool concluded; /* the owner's: it was told the end */

	/* The attendant's own. */
	struct stream faults; /* fd -1: none */
	struct pages_counts fault_counts;
	struct unpacker fault_unpacker;
	bool asked;         /* a page, and nothing came since */
	uint64_t asked_ns;

	struct bell news;
	pthread_mutex_t lock; /* guards the rest */
	pthread_cond_t changed;
	enum destination_phase phase;
	bool late;     /* memory was absent when it was taken */
	bool absent;   /* whoever touches absent memory waits */
	bool decided;  /* it may be this side's from now on */
	bool closing;
	bool has_faults_link;
	bool takes_pages; /* by further connections: all is reserved, and not all is here */
	struct porter *porters[LINK_PAGES_MAX];
	unsigned porter_count;
	struct pages_counts carried; /* by them */
	int next_fd;   /* a new main connection, after a cut; -1: none */
	unsigned next_version;
};

static inline struct memory *destination_memory(const struct destination *d)
{
	return &machine_board(d->machine)->memory;
}

/* porters.c: further connections for pages. */

/* So many will come; from now on they may. The owner's thread. */
MUST_USE int destination_begin_porters(struct destination *d, unsigned count, struct error *e);
/* `fd` is theirs from now on. The attendant's thread. */
void destination_take_pages_link(struct destination *d, int fd, unsigned version);
/* What comes by them is not heard any more. Under the lock. */
void destination_send_porters_away(struct destination *d);
/* The same, and none is left. */
void destination_end_porters(struct destination *d);

/* late.c: memory that comes after the machine. */

/* Whether this machine's memory can be absent. The owner's thread; memory was just cleared. */
bool destination_can_be_late(struct destination *d);
/* What is missing is made absent: whoever touches it waits, and it is asked for. */
MUST_USE int destination_begin_late(struct destination *d, struct error *e);
/* The commit came. From now on a broken link cuts the machine off, while before it ends the move. -EPIPE: it broke. */
MUST_USE int destination_decide(struct destination *d, struct error *e);
/* Nobody waits for absent memory any more: it reads as zeros. Any thread. */
void destination_release(struct destination *d);
/* Until all memory is here. `r`: of the word that it is taken. */
void destination_be_late(struct destination *d, int r);
/* The attendant: takes further connections, asks for pages that somebody waits for, and puts them in place. */
void *destination_attend(void *destination);

#endif
