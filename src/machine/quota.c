#include "machine/quota.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/threads.h"
#include "base/types.h"
#include "host/cpus.h"
#include "machine/budget.h"

/* Looks are no closer together than this; what is used in between is owed. */
#define CLOSEST_NS UINT64_C(200000)
/* While no vCPU works the worker still may, for others. */
#define DOZE_NS  UINT64_C(20000000)
#define SLACK_NS 1000
#define TURN_NS  UINT64_C(100000)
/* Beyond this the governor is late. */
#define LATE_NS UINT64_C(300000)
/* More than rounding makes a clock run ahead of time. */
#define AHEAD_NS UINT64_C(20000000)

/* A child that counts. Its clock is known by its pid, which may be another's by and by. */
struct process {
	clockid_t clock;
	uint64_t used_ns, at_ns; /* at the last look */
	bool gone;
};

struct member {
	struct budget budget;
	clockid_t clock;
	bool joined;
	atomic_bool closed; /* it shall wait */
};

struct quota {
	struct quota_hooks hooks;
	pthread_t governor;
	bool threaded;
	unsigned vcpu_count, processors; /* of the host, that may be used */
	atomic_bool dozing;              /* the governor wants to be woken by the first vCPU that goes on */
	atomic_bool limited;             /* there is a share */
	_Atomic uint64_t due_ns;         /* when the governor looks next; on a busy host a vCPU may have to */

	pthread_mutex_t lock;   /* guards all below, and changes of `closed` */
	pthread_cond_t due;     /* the governor shall look now */
	pthread_cond_t changed; /* waiters shall look */
	struct quota_shares shares;
	struct budget budget;
	bool ready;
	bool closed; /* the machine's budget is spent */
	bool quitting;
	unsigned suspended;
	uint64_t held_ns, closed_at_ns;
	struct bell hold; /* on the worker's loop, which may be NULL */
	struct process processes[QUOTA_PROCESSES_MAX];
	unsigned process_count;
	struct member vcpus[];
};

static uint64_t read_clock(clockid_t clock)
{
	struct timespec now;

	if (clock_gettime(clock, &now) < 0)
		return 0;
	return (uint64_t)now.tv_sec * NS_PER_SECOND + (uint64_t)now.tv_nsec;
}

/* A thread alone is never faster than time: what runs backwards or ahead is the clock of another process. */
static uint64_t process_used(struct process *process, uint64_t now)
{
	uint64_t used = process->gone ? 0 : read_clock(process->clock);

	if (used < process->used_ns || used - process->used_ns > now - process->at_ns + AHEAD_NS)
		process->gone = true;
	if (process->gone)
		return process->used_ns;
	process->at_ns = now;
	process->used_ns = used;
	return used;
}

static uint64_t machine_used(struct quota *quota, uint64_t now)
{
	uint64_t used = read_clock(CLOCK_PROCESS_CPUTIME_ID);

	for (unsigned i = 0; i < quota->process_count; i++)
		used += process_used(&quota->processes[i], now);
	return used;
}

static uint64_t vcpu_used(const struct member *vcpu)
{
	return vcpu->joined ? read_clock(vcpu->clock) : 0;
}

static void look(struct quota *quota, uint64_t now)
{
	if (quota->shares.machine > 0)
		budget_look(&quota->budget, now, machine_used(quota, now));
	if (quota->shares.vcpu > 0)
		for (unsigned i = 0; i < quota->vcpu_count; i++)
			budget_look(&quota->vcpus[i].budget, now, vcpu_used(&quota->vcpus[i]));
}

static void close_machine(struct quota *quota, bool closed, uint64_t now)
{
	if (closed == quota->closed)
		return;
	quota->closed = closed;
	if (!closed) {
		quota->held_ns += now - quota->closed_at_ns;
		return;
	}
	quota->closed_at_ns = now;
	if (quota->hold.loop)
		bell_ring(&quota->hold);
}

/* Closed first, then stopped: whoever comes back in between finds itself closed. */
static void close_vcpu(struct quota *quota, unsigned index, bool closed)
{
	struct member *vcpu = &quota->vcpus[index];

	if (closed == atomic_load(&vcpu->closed))
		return;
	atomic_store(&vcpu->closed, closed);
	if (closed && quota->hooks.awake(quota->hooks.opaque, index))
		quota->hooks.stop(quota->hooks.opaque, index);
}

/* Brings who waits in line with what is spent. */
static void settle(struct quota *quota, uint64_t now)
{
	bool may_close = quota->suspended == 0;

	close_machine(quota, may_close && quota->budget.spent, now);
	for (unsigned i = 0; i < quota->vcpu_count; i++)
		close_vcpu(quota, i, may_close && (quota->budget.spent || quota->vcpus[i].budget.spent));
	pthread_cond_broadcast(&quota->changed);
}

static uint64_t next_look(const struct quota *quota)
{
	unsigned busy = quota->vcpu_count + (quota->hold.loop != NULL);
	double speed = busy < quota->processors ? busy : quota->processors;
	uint64_t next = budget_next(&quota->budget, speed);

	for (unsigned i = 0; quota->shares.vcpu > 0 && i < quota->vcpu_count; i++) {
		uint64_t own = budget_next(&quota->vcpus[i].budget, 1);

		next = own < next ? own : next;
	}
	return next > CLOSEST_NS ? next : CLOSEST_NS;
}

static bool anybody_awake(const struct quota *quota)
{
	for (unsigned i = 0; i < quota->vcpu_count; i++)
		if (quota->hooks.awake(quota->hooks.opaque, i))
			return true;
	return false;
}

/* Who is found asleep sees `dozing` when it wakes up. */
static void govern(struct quota *quota)
{
	uint64_t now = clock_host_ns(), next;

	look(quota, now);
	settle(quota, now);
	next = next_look(quota);
	if (!anybody_awake(quota)) {
		atomic_store(&quota->dozing, true);
		if (!anybody_awake(quota) && next < DOZE_NS)
			next = DOZE_NS;
	}
	atomic_store(&quota->due_ns, now + next);
	thread_wait_until(&quota->due, &quota->lock, now + next);
	atomic_store(&quota->dozing, false);
}

/* Timers that are exact, and a short turn when its time has come, which on a busy host it then gets early (Linux 6.12;
 * older kernels have no such turns). What the host does not give it goes without. */
static void be_prompt(void)
{
	const struct {
		uint32_t size, policy;
		uint64_t flags;
		int32_t nice;
		uint32_t priority;
		uint64_t turn_ns, deadline, period;
	} attributes = {.size = sizeof attributes, .turn_ns = TURN_NS};

	prctl(PR_SET_TIMERSLACK, SLACK_NS);
	(void)syscall(SYS_sched_setattr, 0, &attributes, 0);
}

static void *governor_main(void *arg)
{
	struct quota *quota = arg;

	be_prompt();
	pthread_mutex_lock(&quota->lock);
	quota->ready = true;
	pthread_cond_broadcast(&quota->changed);
	while (!quota->quitting)
		if (atomic_load(&quota->limited))
			govern(quota);
		else
			pthread_cond_wait(&quota->due, &quota->lock);
	pthread_mutex_unlock(&quota->lock);
	return NULL;
}

/* On the worker, between two callbacks. */
static void hold_worker(void *arg)
{
	struct quota *quota = arg;

	pthread_mutex_lock(&quota->lock);
	while (quota->closed && !quota->quitting)
		pthread_cond_wait(&quota->changed, &quota->lock);
	pthread_mutex_unlock(&quota->lock);
}

static void init_locks(struct quota *quota)
{
	pthread_mutex_init(&quota->lock, NULL);
	thread_condition_init(&quota->due);
	pthread_cond_init(&quota->changed, NULL);
}

int quota_new(struct quota **out, unsigned vcpus, const struct quota_hooks *hooks, struct error *e)
{
	struct quota *quota = calloc(1, sizeof *quota + vcpus * sizeof quota->vcpus[0]);
	int r;

	if (!quota)
		return error_errno(e, -ENOMEM, "the quota of processor time");
	init_locks(quota);
	quota->hooks = *hooks;
	quota->vcpu_count = vcpus;
	quota->processors = cpus_online();
	r = thread_start(&quota->governor, THREAD_GOVERNOR, "governor", governor_main, quota);
	quota->threaded = r == 0;
	if (r < 0) {
		quota_free(quota);
		return error_errno(e, r, "a thread for the quota of processor time");
	}
	*out = quota;
	return 0;
}

void quota_free(struct quota *quota)
{
	if (!quota)
		return;
	pthread_mutex_lock(&quota->lock);
	quota->quitting = true;
	pthread_cond_signal(&quota->due);
	pthread_mutex_unlock(&quota->lock);
	if (quota->threaded)
		pthread_join(quota->governor, NULL);
	pthread_cond_destroy(&quota->due);
	pthread_cond_destroy(&quota->changed);
	pthread_mutex_destroy(&quota->lock);
	free(quota);
}

void quota_settle(struct quota *quota)
{
	pthread_mutex_lock(&quota->lock);
	while (!quota->ready)
		pthread_cond_wait(&quota->changed, &quota->lock);
	pthread_mutex_unlock(&quota->lock);
}

void quota_add_worker(struct quota *quota, struct loop *loop)
{
	quota->hold = (struct bell){.loop = loop, .fn = hold_worker, .arg = quota};
}

bool quota_add_process(struct quota *quota, pid_t pid)
{
	struct process *process = &quota->processes[quota->process_count];

	if (quota->process_count == QUOTA_PROCESSES_MAX)
		return false;
	*process = (struct process){.at_ns = clock_host_ns()};
	if (clock_getcpuclockid(pid, &process->clock) != 0)
		return false;
	process->used_ns = read_clock(process->clock);
	quota->process_count++;
	return true;
}

void quota_set(struct quota *quota, const struct quota_shares *shares)
{
	uint64_t now = clock_host_ns();

	pthread_mutex_lock(&quota->lock);
	quota->shares = *shares;
	atomic_store(&quota->due_ns, now);
	atomic_store(&quota->limited, shares->machine > 0 || shares->vcpu > 0);
	budget_set(&quota->budget, shares->machine, now, machine_used(quota, now));
	for (unsigned i = 0; i < quota->vcpu_count; i++)
		budget_set(&quota->vcpus[i].budget, shares->vcpu, now, vcpu_used(&quota->vcpus[i]));
	settle(quota, now);
	pthread_cond_signal(&quota->due);
	pthread_mutex_unlock(&quota->lock);
}

void quota_suspend(struct quota *quota, bool suspend)
{
	pthread_mutex_lock(&quota->lock);
	quota->suspended += suspend ? 1 : -1u;
	settle(quota, clock_host_ns());
	pthread_mutex_unlock(&quota->lock);
}

void quota_join(struct quota *quota, unsigned vcpu)
{
	struct member *member = &quota->vcpus[vcpu];

	pthread_mutex_lock(&quota->lock);
	member->joined = pthread_getcpuclockid(pthread_self(), &member->clock) == 0;
	pthread_mutex_unlock(&quota->lock);
}

void quota_leave(struct quota *quota, unsigned vcpu)
{
	pthread_mutex_lock(&quota->lock);
	quota->vcpus[vcpu].joined = false;
	pthread_mutex_unlock(&quota->lock);
}

/* The governor has no processor when it should: whoever has one does its work. */
static void look_instead(struct quota *quota)
{
	uint64_t now = clock_host_ns();

	if (!quota_is_late(quota) || pthread_mutex_trylock(&quota->lock) != 0)
		return;
	look(quota, now);
	settle(quota, now);
	atomic_store(&quota->due_ns, now + next_look(quota));
	pthread_mutex_unlock(&quota->lock);
}

bool quota_is_late(const struct quota *quota)
{
	return atomic_load_explicit(&quota->limited, memory_order_relaxed) &&
	       clock_host_ns() >= atomic_load_explicit(&quota->due_ns, memory_order_relaxed) + LATE_NS;
}

bool quota_open(struct quota *quota, unsigned vcpu)
{
	if (!atomic_load(&quota->limited))
		return true;
	if (atomic_load(&quota->dozing)) {
		atomic_store(&quota->dozing, false);
		pthread_mutex_lock(&quota->lock);
		pthread_cond_signal(&quota->due);
		pthread_mutex_unlock(&quota->lock);
	}
	look_instead(quota);
	return !atomic_load(&quota->vcpus[vcpu].closed);
}

uint64_t quota_wait(struct quota *quota, unsigned vcpu, const atomic_bool *leave)
{
	uint64_t began = clock_host_ns();

	pthread_mutex_lock(&quota->lock);
	while (atomic_load(&quota->vcpus[vcpu].closed) && !atomic_load(leave))
		pthread_cond_wait(&quota->changed, &quota->lock);
	pthread_mutex_unlock(&quota->lock);
	return clock_host_ns() - began;
}

void quota_wake(struct quota *quota)
{
	pthread_mutex_lock(&quota->lock);
	pthread_cond_broadcast(&quota->changed);
	pthread_mutex_unlock(&quota->lock);
}

void quota_use(struct quota *quota, struct quota_use *out)
{
	uint64_t now = clock_host_ns();

	pthread_mutex_lock(&quota->lock);
	out->machine_ns = machine_used(quota, now);
	out->held_ns = quota->held_ns + (quota->closed ? now - quota->closed_at_ns : 0);
	pthread_mutex_unlock(&quota->lock);
}

uint64_t quota_vcpu_ns(struct quota *quota, unsigned vcpu)
{
	uint64_t used;

	pthread_mutex_lock(&quota->lock);
	used = vcpu_used(&quota->vcpus[vcpu]);
	pthread_mutex_unlock(&quota->lock);
	return used;
}
