/* What the parts of monitor/ share about a monitor; nobody else includes this. */
#ifndef DOPPEL_MONITOR_PRIVATE_H
#define DOPPEL_MONITOR_PRIVATE_H

#include <jansson.h>
#include <limits.h>
#include <pthread.h>
#include <stdnoreturn.h>

#include "base/loop.h"
#include "control/server.h"
#include "machine/signals.h"
#include "monitor/monitor.h"
#include "snapshot/filling.h"

/* Somebody who waits for a state of the machine. */
struct waiter {
	struct control_call *call;
	struct monitor *monitor;
	unsigned states; /* 1 << enum machine_state */
	struct waiter *next;
};

/* Connections of one move beside the first. */
#define MONITOR_LINKS 32

struct monitor {
	const struct monitor_options *options;
	struct registry *registry;
	int folder, lock, listener, history, starter; /* descriptors; -1 while not open */
	struct loop *loop;
	struct control_server *server;
	struct machine *machine; /* NULL before it starts and after it is freed */
	struct monitor_setup setup;
	char vsock[PATH_MAX], console_log[PATH_MAX]; /* that the setup points to */

	/* What its folder says; until the machine starts nobody writes here. */
	struct record record;
	bool record_is_old; /* it could not be written */
	bool record_is_young; /* it was, but may not be on disk yet */
	bool orphaned;      /* the folder was removed */
	struct loop_timer housekeeping;

	struct snapshotting *snapshotting; /* snapshot.c; NULL: none is under way */
	unsigned dropped_flows; /* connections that did not come along when it arrived, or went on from a snapshot */
	bool arriving;     /* it is received, and nobody's here so far */
	int absent, door;  /* of a machine that arrives, until it does; -1: none */
	struct arrival *arrival; /* arrival.c; NULL: all of it is here */
	struct filling *filling; /* filling.c; NULL likewise */
	struct loop_watch *filling_watch;
	int links[MONITOR_LINKS]; /* connections for the next move of it */
	unsigned link_count;
	struct move *move; /* move.c; NULL: it is not being moved */
	bool in_doubt;     /* it may be the destination's: it stands still */
	bool moved;        /* it is */
	struct profiling *profiling; /* profile.c; NULL: none is under way */
	struct waiter *waiters;
	bool put_off;  /* a signal came while another host might need what is here */
	bool stopping; /* its end was asked for */
	bool forced;   /* the guest did not do it in time */
	struct loop_timer patience, reminder;
	unsigned reminders;
	int request; /* a connection to the program in the guest, or -1 */

	/* The thread that runs the loop while the machine is made. */
	pthread_t greeter;
	bool greeting;
	/* Catches signals between two waits; its loop runs only to look. */
	struct loop *signal_loop;
	struct signals_watch signals;
	bool signals_held;
	int signal;
};

/* ---- monitor.c ---- */

/* Once: `failure` or NULL as starter_tell has it. Later calls, and without anybody who waits, do nothing. */
void monitor_tell_starter(struct monitor *monitor, const struct error *failure);

/* ---- record.c ---- */

/* One thing that happened: into the history, and to all who listen. `details` (taken; may be NULL) are more members. */
void monitor_note(struct monitor *monitor, const char *event, json_t *details);
/* Only to those who listen. */
void monitor_tell(struct monitor *monitor, const char *event, json_t *details);
/* Writes the record; a failure is logged, and tried again by monitor_keep_house, which flushes it to disk, too: waiting for the
 * disk would take longer than the start of a machine. */
void monitor_save_record(struct monitor *monitor);
void monitor_flush_record(struct monitor *monitor);
/* The machine is in this state from now on. */
void monitor_enter(struct monitor *monitor, enum machine_state state);
/* The hook of machine_on_change. */
void monitor_changed(void *monitor, enum machine_change change);
/* Begins to look every few seconds whether folder and record are as they should be. */
void monitor_keep_house(struct monitor *monitor);

/* ---- greeter.c: the loop runs on a thread of its own ---- */

MUST_USE int monitor_greet(struct monitor *monitor, struct error *e);
/* The loop is the caller's again. Harmless when it always was. */
void monitor_greet_end(struct monitor *monitor);

/* ---- stop.c ---- */

/* Asks the guest to power off, and ends the machine `timeout_ms` later if that did not help; 0: at once. */
void monitor_stop(struct monitor *monitor, int timeout_ms);

/* ---- wait.c ---- */

/* Answers the call once the machine is in one of `states`; ends of the machine count when everything of it is gone. */
MUST_USE int monitor_await(struct monitor *monitor, struct control_call *call, unsigned states, struct error *e);
/* Answers those who wait for the present state; `last`: everybody. */
void monitor_answer_waiters(struct monitor *monitor, bool last);

/* ---- move.c: a machine that moves away ---- */

MUST_USE int monitor_migrate(struct control_call *call, const json_t *with, struct error *e);
MUST_USE int monitor_migrate_ask(struct control_call *call, const json_t *with, struct error *e);
MUST_USE int monitor_migrate_link(struct control_call *call, const json_t *with, struct error *e);
MUST_USE int monitor_migrate_recover(struct control_call *call, const json_t *with, struct error *e);
MUST_USE int monitor_migrate_post_copy(struct control_call *call, const json_t *with, struct error *e);
MUST_USE int monitor_migrate_status(struct control_call *call, const json_t *with, struct error *e);
MUST_USE int monitor_migrate_cancel(struct control_call *call, const json_t *with, struct error *e);
MUST_USE int monitor_migrate_bandwidth(struct control_call *call, const json_t *with, struct error *e);
/* -EBUSY (ERROR_STATE) while the machine stands still because it is being given away. */
MUST_USE int monitor_refuse_while_moving(const struct monitor *monitor, const char *what, struct error *e);
/* The same, and while the destination has it, but needs its memory: whoever ended it then would lose it. */
MUST_USE int monitor_refuse_while_needed(const struct monitor *monitor, const char *what, struct error *e);
/* Cancels a move that is under way. False: it is too late, and the machine must not run on. */
MUST_USE bool monitor_keep_from_moving(struct monitor *monitor);
/* Before the machine is freed. */
void monitor_end_move(struct monitor *monitor);

/* ---- arrival.c ---- */

/* Until the machine is this monitor's, and runs or is paused; or what went wrong. */
MUST_USE int monitor_let_arrive(struct monitor *monitor, struct machine *machine, struct error *e);

/* Opens what it needs, with all powers still. */
MUST_USE int monitor_prepare_arrival(struct monitor *monitor, struct error *e);
/* In post-copy: what is of it in `inspect`, a new reference; NULL when all of it is here. */
json_t *monitor_describe_arrival(const struct monitor *monitor);
/* It lacks memory, and the link that this came by broke. */
bool monitor_is_cut_off(const struct monitor *monitor);
/* -EBUSY (ERROR_STATE) while memory of it is elsewhere. */
MUST_USE int monitor_refuse_while_late(const struct monitor *monitor, const char *what, struct error *e);
/* It lacks memory and shall end, for this reason: ends this process. Vcpus that wait for memory can be ended in no other way that
 * would not let them run on with zeros. */
#define MONITOR_LOST "it was ended while some of its memory was where it came from: it is lost"
noreturn void monitor_abandon(struct monitor *monitor, const char *why);
/* It needs nothing more of where it came from: whoever brings that is told so. */
void monitor_note_arrival_done(const struct monitor *monitor);
/* Before the machine is freed, when it does not run any more. */
void monitor_end_arrival(struct monitor *monitor);

/* ---- filling.c: memory that comes out of a file which is being written ---- */

/* Right after `load`: takes what fills it, if there is any. */
void monitor_begin_filling(struct monitor *monitor);
/* The loop runs; there is one. Who started the machine is told when it is over. */
MUST_USE int monitor_watch_filling(struct monitor *monitor, struct error *e);
/* When it is over, or the machine runs no more and is not freed yet. */
void monitor_end_filling(struct monitor *monitor);
/* -EBUSY (ERROR_STATE) while it is under way, or as monitor_refuse_while_late: for what needs all of its memory. */
MUST_USE int monitor_refuse_incomplete(const struct monitor *monitor, const char *what, struct error *e);

/* ---- flows.c: connections that ended in sockets of a process that is none of this machine's any more ---- */

/* `count` of them were reset. */
void monitor_note_dropped(struct monitor *monitor, unsigned count);
/* Resets those that the loaded snapshot had; the machine runs. */
void monitor_drop_lost(struct monitor *monitor);
/* Those that stand, for a snapshot's facts; free() it. NULL: none, or they can not be told, which does not matter to a snapshot. */
char *monitor_list_flows(struct monitor *monitor);

/* ---- console.c ---- */

/* The call "console". */
int monitor_console(struct control_call *call, const json_t *with, struct error *e);

/* ---- set.c ---- */

MUST_USE int monitor_set(struct control_call *call, const json_t *with, struct error *e);
/* What can be set, as it is; a new reference. */
json_t *monitor_describe_settings(const struct machine *machine);

/* ---- walls.c ---- */

/* What holds each kind of thread of this process, and each process that it started: an array of objects with the keys of,
 * hold and missing. */
json_t *monitor_describe_walls(void);

/* ---- verbs.c ---- */

extern const struct control_verb monitor_verbs[];

/* ---- snapshot.c ---- */

MUST_USE int monitor_snapshot(struct control_call *call, const json_t *with, struct error *e);
MUST_USE int monitor_snapshot_disks(struct control_call *call, const json_t *with, struct error *e);
MUST_USE int monitor_snapshot_disk(struct control_call *call, const json_t *with, struct error *e);
/* One that is under way is given up: its file never becomes a snapshot. */
void monitor_snapshot_end(struct monitor *monitor);

/* ---- statistics.c, profile.c ---- */

MUST_USE int monitor_statistics(struct control_call *call, const json_t *with, struct error *e);
MUST_USE int monitor_profile(struct control_call *call, const json_t *with, struct error *e);

#endif
