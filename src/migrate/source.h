/*
 * The source of a move: sends a machine that runs or is paused to a destination that said hello already, and gives it away.
 *
 * A thread of its own sends; what it needs of the machine it has the owner do, on the machine's loop (errand.h). Until the
 * commit is sent the machine is the source's: after any failure, of whatever kind, it goes on as it was. From then until the
 * destination's word it is in doubt and stands still: only the destination's ballot knows whose it is, and source_new with
 * `ask` asks again, over another connection. Once the word is there the machine is the destination's for ever.
 *
 * Thread: the machine's owner, unless said otherwise.
 */
#ifndef DOPPEL_MIGRATE_SOURCE_H
#define DOPPEL_MIGRATE_SOURCE_H

#include "machine/machine.h"
#include "migrate/pack.h"
#include "migrate/stage.h"

#define MIGRATE_TOKEN      16 /* bytes */
#define MIGRATE_TOKEN_TEXT 33 /* in hexadecimal, with its NUL */
#define MIGRATE_DOWNTIME_MS 300
/* Connections for pages beside the first. */
#define LINK_PAGES_MAX 15

enum source_end {
	SOURCE_STAYED,   /* the machine is here and as it was before */
	SOURCE_IN_DOUBT, /* it stands still here, and may be the destination's */
	SOURCE_MOVED,    /* it is the destination's */
	SOURCE_CUT,      /* it is the destination's, which lacks some of its memory, and the link broke: source_rejoin */
};

/* What has to survive this process: written to disk when the hook returns. */
enum source_fence {
	SOURCE_FENCE_DOUBT,      /* from now on it may become the destination's */
	SOURCE_FENCE_LATE_DOUBT, /* the same, and then it needs memory of this process */
	SOURCE_FENCE_NONE,       /* it did not, and never will by this token */
	SOURCE_FENCE_LATE,       /* it did, and needs memory of this process still */
	SOURCE_FENCE_GONE,       /* it did, and needs nothing any more */
};

/* All are called by the owner's loop. */
struct source_hooks {
	int (*fence)(void *opaque, enum source_fence fence, struct error *e);
	/* Another stage or round. */
	void (*went_on)(void *opaque);
	/* It is over; source_free may be called as soon as this has returned. `why` it did not move, else NULL. Not called
	 * after source_free. SOURCE_CUT: it is not, but stands until source_rejoin. */
	void (*over)(void *opaque, enum source_end end, const struct error *why);
	void *opaque;
};

/* Connections beside the first, made as that one was; the source's as soon as it has them. */
struct source_links {
	int faults; /* for post-copy; -1: none */
	int main;   /* with `ask`, and `faults`: for source_rejoin, should it be there and lack memory; else -1 */
	int pages[LINK_PAGES_MAX]; /* for part of the pages, where the destination takes such */
	unsigned page_count;
};

void source_links_close(const struct source_links *links);

struct source_options {
	const char *offer; /* JSON: of the machine, for whoever receives it; `token` is among it */
	char token[MIGRATE_TOKEN_TEXT];
	bool ask;                 /* whose is it? Nothing is sent then */
	bool offline;             /* no pre-copy: the machine stands still from the start */
	bool post_copy;           /* no pre-copy either, and its memory follows when it runs there */
	bool auto_post_copy;      /* the same, where pre-copy makes no way */
	const char *name;         /* of the machine, there: for further connections */
	struct source_links links;
	enum pack_when compress;  /* pages; where the destination knows that */
	bool disks;               /* copied along, those that it writes */
	unsigned max_downtime_ms; /* 0: MIGRATE_DOWNTIME_MS */
	uint64_t bandwidth;       /* bytes a second; 0: no limit */
	struct source_hooks hooks;
};

struct source;

/* `fd`: a connected stream socket, the source's from now on, also on failure. The options are copied. */
MUST_USE int source_new(struct source **out, struct machine *machine, int fd, const struct source_options *options,
			struct error *e);
/* Ends it wherever it is; the machine is left as it is then. Accepts NULL. */
void source_free(struct source *source);
/* The machine stays. -EBUSY (ERROR_STATE): too late, it is being given away. */
MUST_USE int source_cancel(struct source *source, struct error *e);
void source_set_bandwidth(struct source *source, uint64_t bytes_per_second);
/* Post-copy from now on. `faults_fd`: as in the options; the source's when it returns 0. -EBUSY (ERROR_STATE): it is no time for
 * that; -EOPNOTSUPP: the destination can not. */
MUST_USE int source_to_post_copy(struct source *source, int faults_fd, struct error *e);
/* After SOURCE_CUT: what is missing still goes by these connections, which are the source's when it returns 0. hooks.over tells
 * again how that ended. */
MUST_USE int source_rejoin(struct source *source, int main_fd, int faults_fd, struct error *e);
/* Any thread. */
void source_progress(struct source *source, struct migrate_progress *out);
/* Whether the machine stands still for the move, or because it is in doubt. */
bool source_holds_machine(const struct source *source);

/* 16 random bytes in hexadecimal. */
MUST_USE int migrate_token(char out[MIGRATE_TOKEN_TEXT], struct error *e);
bool migrate_token_valid(const char *text);

#endif
