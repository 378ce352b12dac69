#include "machine/crew.h"

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

#include "machine/steal.h"
#include "base/threads.h"

struct vcpu {
	struct crew *crew;
	struct cpu *cpu;
	struct engine_vcpu *engine;
	pthread_t thread;
	bool threaded;
	struct steal steal;  /* its thread's own */
	bool throttled;      /* its thread's own: it wrote into a crowded console */
	atomic_bool waiting; /* crew_nudge shall wake it; false again before it parks */
	atomic_bool resting; /* crew_rest was called, and it has not answered */
};

struct crew {
	const struct engine *engine;
	struct quota *quota;
	struct crew_hooks hooks;
	unsigned count;
	/* Read without the lock before each run, so that a vCPU which comes and goes takes no lock. */
	atomic_bool parking;
	pthread_mutex_t lock; /* guards the two below, and `waiting` when it becomes false */
	unsigned parked;
	bool quitting;
	pthread_cond_t changed; /* of parked; of parking to false */
	struct vcpu vcpus[CPUS_MAX];
};

static _Thread_local struct vcpu *self;

/* Parks while that is asked for. False: the thread shall end. */
static bool may_run(struct vcpu *vcpu)
{
	struct crew *crew = vcpu->crew;
	bool quitting;

	if (!atomic_load(&crew->parking))
		return true;
	pthread_mutex_lock(&crew->lock);
	crew->parked++;
	pthread_cond_broadcast(&crew->changed);
	while (atomic_load(&crew->parking) && !crew->quitting)
		pthread_cond_wait(&crew->changed, &crew->lock);
	crew->parked--;
	quitting = crew->quitting;
	pthread_mutex_unlock(&crew->lock);
	return !quitting;
}

/* `ticket` was taken before the hook is asked: a nudge in between ends the sleep. */
static void wait_for_room(struct vcpu *vcpu, uint32_t ticket)
{
	struct crew *crew = vcpu->crew;

	atomic_store(&vcpu->waiting, true);
	vcpu->throttled = crew->hooks.crowded(crew->hooks.opaque);
	if (vcpu->throttled)
		cpu_idle(vcpu->cpu, ticket, UINT64_MAX);
	pthread_mutex_lock(&crew->lock);
	atomic_store(&vcpu->waiting, false);
	pthread_mutex_unlock(&crew->lock);
}

static void run(struct vcpu *vcpu, uint32_t ticket)
{
	struct crew *crew = vcpu->crew;
	struct engine_exit exit;

	crew->engine->run(vcpu->engine, 0, &exit);
	switch (exit.reason) {
	case ENGINE_EXIT_KICKED:
	case ENGINE_EXIT_LIMIT:
		break;
	case ENGINE_EXIT_IDLE:
		cpu_idle(vcpu->cpu, ticket, exit.deadline);
		break;
	case ENGINE_EXIT_STOPPED:
		cpu_idle(vcpu->cpu, ticket, UINT64_MAX);
		break;
	case ENGINE_EXIT_FAILED:
		crew->hooks.failed(crew->hooks.opaque, vcpu->cpu->id, exit.message);
		break;
	}
}

static void rest(struct vcpu *vcpu)
{
	atomic_store(&vcpu->resting, false);
	vcpu->crew->engine->rest(vcpu->engine);
	/* What the engine freed in small pieces, too. */
	(void)malloc_trim(0);
}

/* No wake-up is lost: the ticket is older than the look at `parking`, and whoever sets that kicks afterwards. */
static bool take_turn(struct vcpu *vcpu)
{
	uint32_t ticket = cpu_idle_ticket(vcpu->cpu);

	if (atomic_load(&vcpu->crew->parking))
		return may_run(vcpu);
	if (vcpu->throttled) {
		wait_for_room(vcpu, ticket);
		return true;
	}
	if (!quota_open(vcpu->crew->quota, vcpu->cpu->id)) {
		vcpu->steal.held_ns += quota_wait(vcpu->crew->quota, vcpu->cpu->id, &vcpu->crew->parking);
		return true;
	}
	if (atomic_load_explicit(&vcpu->resting, memory_order_relaxed))
		rest(vcpu);
	steal_tell(&vcpu->steal, vcpu->cpu);
	run(vcpu, ticket);
	return true;
}

static void *vcpu_main(void *arg)
{
	struct vcpu *vcpu = arg;

	self = vcpu;
	steal_begin(&vcpu->steal);
	quota_join(vcpu->crew->quota, vcpu->cpu->id);
	while (take_turn(vcpu))
		;
	quota_leave(vcpu->crew->quota, vcpu->cpu->id);
	steal_end(&vcpu->steal);
	return NULL;
}

static int add_vcpu(struct crew *crew, struct cpu *cpu, struct error *e)
{
	struct vcpu *vcpu = &crew->vcpus[crew->count];
	char name[16];
	int r = crew->engine->vcpu_new(&vcpu->engine, cpu, e);

	if (r < 0)
		return r;
	vcpu->crew = crew;
	vcpu->cpu = cpu;
	crew->count++;
	snprintf(name, sizeof name, "vcpu%u", cpu->id);
	r = thread_start(&vcpu->thread, THREAD_VCPU, name, vcpu_main, vcpu);
	if (r < 0)
		return error_errno(e, r, "a thread for CPU %u", cpu->id);
	vcpu->threaded = true;
	return 0;
}

int crew_new(struct crew **out, const struct engine *engine, struct board *board, struct quota *quota,
	     const struct crew_hooks *hooks, struct error *e)
{
	struct crew *crew = calloc(1, sizeof *crew);

	if (!crew)
		return error_errno(e, -ENOMEM, "CPU threads");
	crew->engine = engine;
	crew->quota = quota;
	crew->hooks = *hooks;
	atomic_store(&crew->parking, true);
	pthread_mutex_init(&crew->lock, NULL);
	pthread_cond_init(&crew->changed, NULL);
	for (unsigned i = 0; i < board->cpu_count; i++) {
		int r = add_vcpu(crew, board->cpus[i], e);

		if (r < 0) {
			crew_free(crew);
			return r;
		}
	}
	*out = crew;
	return 0;
}

static void end_threads(struct crew *crew)
{
	crew_ask(crew);
	pthread_mutex_lock(&crew->lock);
	crew->quitting = true;
	pthread_cond_broadcast(&crew->changed);
	pthread_mutex_unlock(&crew->lock);
	for (unsigned i = 0; i < crew->count; i++)
		if (crew->vcpus[i].threaded)
			pthread_join(crew->vcpus[i].thread, NULL);
}

void crew_free(struct crew *crew)
{
	if (!crew)
		return;
	end_threads(crew);
	for (unsigned i = 0; i < crew->count; i++)
		crew->engine->vcpu_free(crew->vcpus[i].engine);
	pthread_cond_destroy(&crew->changed);
	pthread_mutex_destroy(&crew->lock);
	free(crew);
}

void crew_release(struct crew *crew)
{
	pthread_mutex_lock(&crew->lock);
	atomic_store(&crew->parking, false);
	pthread_cond_broadcast(&crew->changed);
	pthread_mutex_unlock(&crew->lock);
}

void crew_ask(struct crew *crew)
{
	atomic_store(&crew->parking, true);
	for (unsigned i = 0; i < crew->count; i++) {
		crew->engine->stop(crew->vcpus[i].engine);
		cpu_kick(crew->vcpus[i].cpu);
	}
	quota_wake(crew->quota);
}

void crew_settle(struct crew *crew)
{
	pthread_mutex_lock(&crew->lock);
	while (crew->parked < crew->count)
		pthread_cond_wait(&crew->changed, &crew->lock);
	pthread_mutex_unlock(&crew->lock);
}

void crew_park(struct crew *crew)
{
	crew_ask(crew);
	crew_settle(crew);
}

void crew_throttle(struct crew *crew)
{
	if (!self || self->crew != crew)
		return;
	self->throttled = true;
	crew->engine->stop(self->engine);
}

void crew_nudge(struct crew *crew)
{
	pthread_mutex_lock(&crew->lock);
	for (unsigned i = 0; i < crew->count; i++)
		if (atomic_load(&crew->vcpus[i].waiting))
			cpu_kick(crew->vcpus[i].cpu);
	pthread_mutex_unlock(&crew->lock);
}

bool crew_tick(struct crew *crew)
{
	bool awake = false;

	for (unsigned i = 0; i < crew->count; i++) {
		if (cpu_is_asleep(crew->vcpus[i].cpu))
			continue;
		crew->engine->stop(crew->vcpus[i].engine);
		awake = true;
	}
	return awake;
}

void crew_rest(struct crew *crew)
{
	for (unsigned i = 0; crew->engine->rest && i < crew->count; i++) {
		atomic_store(&crew->vcpus[i].resting, true);
		cpu_kick(crew->vcpus[i].cpu);
	}
}

bool crew_is_awake(const struct crew *crew, unsigned vcpu)
{
	return vcpu < crew->count && !cpu_is_asleep(crew->vcpus[vcpu].cpu);
}

void crew_stop_one(struct crew *crew, unsigned vcpu)
{
	crew->engine->stop(crew->vcpus[vcpu].engine);
}

int crew_pin(struct crew *crew, const cpu_set_t *cpus, struct error *e)
{
	for (unsigned i = 0; i < crew->count; i++) {
		unsigned cpu = cpus_nth(cpus, i);
		cpu_set_t one;
		int r;

		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		r = pthread_setaffinity_np(crew->vcpus[i].thread, sizeof one, &one);
		if (r != 0)
			return error_errno(e, -r, "CPU %u can not be pinned to processor %u", i, cpu);
	}
	return 0;
}

int crew_store_state(struct crew *crew, struct error *e)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && crew->engine->store_state && i < crew->count; i++)
		r = crew->engine->store_state(crew->vcpus[i].engine, e);
	return r;
}

int crew_state_loaded(struct crew *crew, struct error *e)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < crew->count; i++)
		r = crew->engine->state_loaded(crew->vcpus[i].engine, e);
	return r;
}

void crew_drop_write_access(struct crew *crew)
{
	for (unsigned i = 0; i < crew->count; i++)
		crew->engine->drop_write_access(crew->vcpus[i].engine);
}

const struct engine *crew_engine(const struct crew *crew)
{
	return crew->engine;
}

void crew_statistics(const struct crew *crew, struct engine_statistics *out)
{
	struct engine_statistics sum = {0};

	for (unsigned i = 0; i < crew->count; i++) {
		struct engine_statistics one;

		crew->engine->statistics(crew->vcpus[i].engine, &one);
		for (size_t j = 0; j < offsetof(struct engine_statistics, code_used) / sizeof(uint64_t); j++)
			((uint64_t *)&one)[j] += ((const uint64_t *)&sum)[j];
		sum = one;
	}
	*out = sum;
}
