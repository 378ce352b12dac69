/*
 * One virtual machine: a board, an engine, a thread for each vCPU, a console, and the states of its life.
 *
 *   created --start--> running --pause--> paused --resume--> running
 *   running/paused --(guest powers off, stop)--> stopped;  any --(engine or guest fails)--> failed
 *
 * The guest ends or resets the machine at any time; its vCPUs stop at once, and the machine acts on it in the
 * owner's next machine_wait (or machine_pause). The first such event wins until then.
 *
 * Thread: one owner thread calls everything here unless said otherwise. vCPU threads, which block all signals,
 * and the event loop are the machine's own.
 */
#ifndef DOPPEL_MACHINE_MACHINE_H
#define DOPPEL_MACHINE_MACHINE_H

#include "block/block.h"
#include "board/board.h"
#include "device/virtio/console.h"
#include "engine/engine.h"
#include "machine/place.h"
#include "machine/profile.h"
#include "net/net.h"
#include "share/share.h"

enum machine_state { MACHINE_CREATED, MACHINE_RUNNING, MACHINE_PAUSED, MACHINE_STOPPED, MACHINE_FAILED };

enum machine_console { CONSOLE_NONE, CONSOLE_STDIO, CONSOLE_FILE, CONSOLE_PTY };

#define MACHINE_DISKS_MAX  16
#define MACHINE_NICS_MAX   8
/* Of a device that costs a guest a little time to start: AUTO is to have it when there is any other virtio device. */
enum machine_choice { MACHINE_OFF, MACHINE_ON, MACHINE_AUTO };

#define MACHINE_SHARES_MAX 8

/* A network card. */
struct machine_nic {
	struct net_options options; /* a MAC address of zeros: one is made of the machine's name */
	struct net_limits limits;
};

/* A folder that the guest mounts by its tag. */
struct machine_share {
	struct share_options options;
	const char *tag;
};

/* Processor time, in percent of one processor; 0: no limit. */
struct machine_quota {
	unsigned machine_percent; /* of the whole machine: its process and those of its back ends */
	unsigned vcpu_percent;    /* of each vCPU, and as much for each vCPU of the whole machine; at most 100 */
};

struct machine_config {
	const char *name; /* NULL: one is made up */
	uint64_t memory_bytes;
	bool huge_pages; /* of the host's reserved ones; then without a balloon */
	uint64_t memory_max; /* of monitor and guest together (machine/ceiling.h); 0: no limit. One machine a process */
	unsigned cpus;
	struct machine_quota quota;
	struct place_wish place; /* a group has the machine's name */
	enum engine_arch arch;       /* of the default engine; an engine that is given has its own */
	const struct engine *engine; /* NULL: the default for the architecture */
	const char *cpu_model; /* as x86_model_parse takes; NULL: host. Not for riscv64 */
	uint64_t code_cache;         /* bytes of translated code at most, for engines that translate; 0: the engine's choice */
	bool profile;                /* for machine_profile */
	const char *kernel, *initrd, *append, *firmware; /* paths, as in board_config */
	enum machine_console console;
	const char *console_path; /* CONSOLE_FILE: made, or appended to */
	const char *console_log;  /* path of a log of its output (machine/console_log.h); NULL: none */
	bool virtio_console; /* what is typed goes to a virtio terminal (hvc0), not to the UART */
	enum board_transport transport;
	bool loads; /* a state is loaded into it before it runs: until then it may have nothing to run */
	/* Virtio devices, in the order of their slots. */
	enum machine_choice rng;
	bool power_button; /* for machine_press_power; without effect on a board with a button of its own */
	bool balloon;
	uint64_t balloon_keeps; /* memory that the guest keeps at the start, the balloon takes the rest; 0: all */
	const struct block_options *disks;
	unsigned disk_count;
	bool incoming; /* disks that it writes, and its address on switches, are another's until it has arrived (block_refresh, block_own) */
	const struct machine_nic *nics;
	unsigned nic_count;
	const struct machine_share *shares;
	unsigned share_count;
	const struct virtio_channel_options *channels;
	unsigned channel_count;
	const char *vsock; /* folder of the sockets; NULL: no such device */
	uint32_t vsock_cid;
	struct loop *loop; /* that machine_wait shall run, the caller's until after machine_free; NULL: one of its own */
	uint64_t virtio_withheld; /* feature bits that no device offers, for tests of drivers */
};

struct machine;

/* How a machine ended. */
struct machine_outcome {
	enum machine_state state; /* MACHINE_STOPPED or MACHINE_FAILED; else what it still is */
	int exit_code;            /* the guest's own when it ended through the finisher; 128 + signal; else 0 */
	bool detached;            /* the user left with Ctrl-A x */
	int signal;               /* SIGINT, SIGTERM or SIGHUP ended the wait; else 0 */
	char message[256];        /* why it failed; empty otherwise */
};

/* Everything but the config's engine and loop is copied. The machine is as after power-on, its clock at 0. A loop of the
 * caller's may be run by another thread until machine_new has returned. */
MUST_USE int machine_new(struct machine **out, const struct machine_config *config, struct error *e);
/* Stops what runs, joins threads, restores the terminal; accepts NULL. Console output is still written for as
 * long as its reader takes some every second. */
void machine_free(struct machine *machine);

/* The loop that machine_wait runs; the owner may watch and time things of its own on it. */
struct loop *machine_loop(struct machine *machine);

enum machine_change {
	MACHINE_CHANGED_STATE, /* machine_state says what it is now */
	MACHINE_CHANGED_RESET, /* the guest started anew */
	MACHINE_CHANGED_STALL, /* machine_is_stalled: want of room on the host's disks */
	MACHINE_CHANGED_DISK,  /* machine_disk_failure: the host failed what the guest asked of a disk */
};
/* Calls fn(opaque, change) on the owner's thread after each change from now on, from machine_wait or from what the
 * owner called; it must not free the machine. NULL: nobody is told any more. */
void machine_on_change(struct machine *machine, void (*fn)(void *opaque, enum machine_change change), void *opaque);
/* The negative errno of a disk's failure that was not asked for yet; 0: none. The guest has it as an I/O error. */
int machine_disk_failure(struct machine *machine, unsigned index);
/* It runs, but stands still for want of room on the host's disks. */
bool machine_is_stalled(const struct machine *machine);

/* These three: -EBUSY and ERROR_STATE in any state but created, running and paused, respectively. start takes the
 * terminal when the console is stdio and standard input is one. */
MUST_USE int machine_start(struct machine *machine, struct error *e);
/* Returns when every vCPU has left guest code and devices are quiet. Also -EBUSY when the guest ended just
 * before. */
MUST_USE int machine_pause(struct machine *machine, struct error *e);
MUST_USE int machine_resume(struct machine *machine, struct error *e);
/* A pause for a moment that nobody is told of. Between the two the machine counts as paused; let_go only after hold. */
MUST_USE int machine_hold(struct machine *machine, struct error *e);
void machine_let_go(struct machine *machine);
/* A running machine whose vCPUs may wait for memory that does not come: they run no further, and time stands still; nobody waits for
 * them. What the guest asked for is done when it is off again. In other states without effect. machine_pause and what else stops
 * vCPUs must not be called meanwhile. */
void machine_strand(struct machine *machine, bool on);
/* Waits until the machine stopped or failed and its console output was taken, the user left, SIGINT, SIGTERM or
 * SIGHUP came (unless the process ignores it), or `timeout_ms` passed (-1: no limit; -ETIMEDOUT then, with
 * *outcome filled). Runs the event loop meanwhile. Resets (reboots) of the guest are carried out and do not end
 * the wait. After a timeout, signal or leave the machine is in the state it was in, and may be waited for again.
 * -EBUSY for a created one. */
MUST_USE int machine_wait(struct machine *machine, int timeout_ms, struct machine_outcome *outcome,
			  struct error *e);
/* Presses the power button for a moment. What the guest does then is its own affair: usually it shuts down and powers off.
 * One that is still starting may miss it, so press again after some seconds. -EBUSY for a machine that does not run,
 * -ENODEV (ERROR_STATE) for one without a button. */
MUST_USE int machine_press_power(struct machine *machine, struct error *e);
/* Ends it at once, in any state; a failed machine stays failed. */
void machine_stop(struct machine *machine);
enum machine_state machine_state(const struct machine *machine);
/* "created", "running", ... */
const char *machine_state_name(enum machine_state state);
const char *machine_name(const struct machine *machine);
/* Published ports of all user networks, with the host's ports that were really taken. */
const struct net_forward *machine_forwards(const struct machine *machine, unsigned *count);
/* Slave path of CONSOLE_PTY, else NULL. */
const char *machine_console_path(const struct machine *machine);

enum machine_attach {
	MACHINE_WATCH, /* output only */
	MACHINE_WRITE, /* input too: -EBUSY (ERROR_STATE) with the name of whoever writes already */
	MACHINE_TAKE,  /* input too: whoever wrote watches from now on, and is told by whom he was relieved */
};
/* Whoever is at the other end of the socket `fd` (SOCK_SEQPACKET, non-blocking; messages: machine/viewing.h) looks at the
 * console from now on, in any state, until he closes it: he gets the latest output (256 KiB), then all new, but what he
 * takes too slowly; the guest never waits for him. machine_free tells all viewers the machine's end. `who` is shown to
 * others, unprintable bytes as '?'. On success the descriptor is the machine's. -EMFILE: too many look already. */
MUST_USE int machine_console_attach(struct machine *machine, int fd, enum machine_attach how, const char *who,
				    struct error *e);
/* How many look at the console from elsewhere; *writer: who of them writes, or NULL, valid until the loop runs. */
unsigned machine_console_viewers(const struct machine *machine, const char **writer);

/* In any state; in force at once. -EINVAL. What is counted and how exact it is: docs/internals/shares.md. */
MUST_USE int machine_set_quota(struct machine *machine, const struct machine_quota *quota, struct error *e);
void machine_get_quota(const struct machine *machine, struct machine_quota *out);

struct machine_use {
	uint64_t cpu_ns;  /* processor time that counts for the machine's quota, since its process began */
	uint64_t held_ns; /* time in which its quota kept it from running */
	uint64_t vcpu_ns[CPUS_MAX]; /* processor time of each vCPU's thread */
};
/* From the owner, in any state: */
/* Of the disk or the card in that place; get: as they were last set. -ENOENT. */
MUST_USE int machine_set_disk_limits(struct machine *machine, unsigned index, const struct block_limits *limits,
				     struct error *e);
MUST_USE int machine_get_disk_limits(const struct machine *machine, unsigned index, struct block_limits *out,
				     struct error *e);
MUST_USE int machine_set_nic_limits(struct machine *machine, unsigned index, const struct net_limits *limits,
				    struct error *e);
MUST_USE int machine_get_nic_limits(const struct machine *machine, unsigned index, struct net_limits *out,
				    struct error *e);
/* How much of its memory the balloon shall leave to the guest, which takes its time. -EOPNOTSUPP without a balloon;
 * -EINVAL. get: what the machine has, and what the balloon shall leave. */
MUST_USE int machine_set_memory(struct machine *machine, uint64_t bytes, struct error *e);
void machine_get_memory(const struct machine *machine, uint64_t *bytes, uint64_t *left);
/* While paused: block_freeze of the disk in that place. -ENOENT, -EBUSY. */
MUST_USE int machine_freeze_disk(struct machine *machine, unsigned index, int fd, const char *path, struct error *e);
/* As net_publish and net_unpublish, on the first user network that is not isolated. */
MUST_USE int machine_publish(struct machine *machine, struct net_forward *forward, struct error *e);
MUST_USE int machine_unpublish(struct machine *machine, const struct net_forward *forward, struct error *e);
/* As net_flows and net_reset_flows of the index-th card; none where there is no such card. */
MUST_USE int machine_flows(struct machine *machine, unsigned index, struct net_flow out[NET_FLOWS_MAX], struct error *e);
MUST_USE int machine_reset_flows(struct machine *machine, unsigned index, const struct net_flow *flows, unsigned count,
				 struct error *e);

/* Any thread. */
void machine_use(struct machine *machine, struct machine_use *out);

/* Paused or created machines only (-EBUSY otherwise). load: on a created machine of the same configuration,
 * which is then paused; on failure it is as new. */
MUST_USE int machine_save(struct machine *machine, struct state_writer *w, struct error *e);
MUST_USE int machine_load(struct machine *machine, const void *bytes, size_t length, struct error *e);
/* All but RAM (machine_board's memory), which the caller carries and has in place before he loads. */
MUST_USE int machine_save_state(struct machine *machine, struct state_writer *w, struct error *e);
MUST_USE int machine_load_state(struct machine *machine, const void *bytes, size_t length, struct error *e);

/* Pages of its memory (machine_board's) that are changed from now on are counted, in any state: -EBUSY when they are already.
 * Bitmaps as of memory_dirty_collect, one a region; all regions at one moment. The pages may be read then, also by
 * another thread while the machine runs: what changes meanwhile is in the next collection. tracking.c */
MUST_USE int machine_track_begin(struct machine *machine, struct error *e);
uint64_t machine_track_collect(struct machine *machine, uint64_t *const bitmaps[]);
void machine_track_end(struct machine *machine);
/* Its index-th disk; NULL when there is none. For what block.h allows beside the guest. */
struct block *machine_disk(struct machine *machine, unsigned index);
/* It is somewhere else now: guests that know how tell their neighbours in the network. */
void machine_announce(struct machine *machine);

/* A socket as if it had connected to the vsock device's FOLDER/guest; non-blocking, the caller's. -ENODEV: it has no such
 * device. */
MUST_USE int machine_dial_guest(struct machine *machine, int *fd, struct error *e);
/* The board, for tests and inspection; look only while the machine does not run. */
struct board *machine_board(struct machine *machine);
/* Its balloon (device/virtio/balloon.h, whose functions may be called from any thread), or NULL. */
struct virtio *machine_balloon(struct machine *machine);
/* Where the guest spent its instructions, as profile_spots; for machines made with `profile`, while they do not run. */
struct profile_spot *machine_profile(const struct machine *machine, size_t *count, uint64_t *elsewhere);
/* Profiles one that runs or is paused from now on: -EBUSY when it is profiled already. What follows is undone by
 * machine_profile_end, which returns what machine_profile does. */
MUST_USE int machine_profile_begin(struct machine *machine, struct error *e);
struct profile_spot *machine_profile_end(struct machine *machine, size_t *count, uint64_t *elsewhere);
/* Sums over all vCPUs; machine/load.h has that and more. Any thread. */
void machine_statistics(const struct machine *machine, struct engine_statistics *out);

#endif
