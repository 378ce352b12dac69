/*
 * Output that the guest's processor leaves in a ring instead of leaving guest code for each byte (Linux,
 * Documentation/virt/kvm/api.rst, 4.116: coalesced port writes).
 *
 * The port is that of a console's output, where a write is all the same a moment later. The ring is emptied after each
 * KVM_RUN, of any vCPU, before what it ended for is served: so every other access of the guest's finds its bytes written, and so
 * does whoever stops the vCPUs, to save them or for good. A guest that writes and then only waits is brought out by a timer.
 *
 * The timer needs a thread in KVM_RUN, and an idle guest is not to be woken: so the port is posted only amid a burst, by the
 * vCPU that is in one (the poster), until no more comes or its run ends.
 */
#include <signal.h>
#include <time.h>

#include "engine/kvm/private.h"

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

/* The ring fills its page. */
#define RING_WRITES ((4096 - sizeof(struct kvm_coalesced_mmio_ring)) / sizeof(struct kvm_coalesced_mmio))

#define BURST         8                /* bytes within BURST_NS begin one */
#define BURST_NS      (20 * NS_PER_MS)
#define LATEST_NS     (4 * NS_PER_MS)  /* a byte waits so long at most, while the host runs us */
#define QUIET_LOOKS   4                /* so many looks that find nothing end a burst */

static struct kvm_coalesced_mmio_ring *ring_of(const struct engine_vcpu *vcpu)
{
	return (struct kvm_coalesced_mmio_ring *)((uint8_t *)vcpu->run + (size_t)vcpu->vm->posted.page * 4096);
}

void kvm_posted_prepare(struct vm *vm, uint16_t port)
{
	int page = kvm_has(vm->fd, KVM_CAP_COALESCED_MMIO);

	pthread_mutex_init(&vm->posted.lock, NULL);
	if (port == 0 || page <= 0 || kvm_has(vm->fd, KVM_CAP_COALESCED_PIO) <= 0 ||
	    ((uint64_t)page + 1) * 4096 > vm->run_bytes)
		return;
	vm->posted.port = port;
	vm->posted.page = (uint32_t)page;
}

void kvm_posted_finish(struct vm *vm)
{
	pthread_mutex_destroy(&vm->posted.lock);
}

void kvm_posted_vcpu_finish(struct engine_vcpu *vcpu)
{
	if (vcpu->posted_thread)
		timer_delete(vcpu->posted_timer);
	vcpu->posted_thread = 0;
}

static int tell_zone(struct vm *vm, unsigned long request)
{
	struct kvm_coalesced_mmio_zone zone = {.addr = vm->posted.port, .size = 1, .pio = 1};

	return kvm_call(vm->fd, request, &zone);
}

static void arm(struct engine_vcpu *vcpu, uint64_t ns)
{
	const struct itimerspec when = {.it_value = {.tv_nsec = (long)ns}};

	(void)timer_settime(vcpu->posted_timer, 0, &when, NULL);
}

/* On the vCPU's thread, which gets the signal that a kick sends. */
static bool make_timer(struct engine_vcpu *vcpu)
{
	struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = KVM_SIGNAL};
	pid_t self = atomic_load(&vcpu->thread);

	if (vcpu->posted_thread == self)
		return true;
	kvm_posted_vcpu_finish(vcpu);
	event.sigev_notify_thread_id = self;
	if (timer_create(CLOCK_MONOTONIC, &event, &vcpu->posted_timer) < 0)
		return false;
	vcpu->posted_thread = self;
	return true;
}

/* With the lock. */
static void begin(struct engine_vcpu *vcpu)
{
	struct posted *posted = &vcpu->vm->posted;

	if (!make_timer(vcpu) || tell_zone(vcpu->vm, KVM_REGISTER_COALESCED_MMIO) < 0)
		return;
	posted->quiet = 0;
	posted->looked_ns = clock_host_ns();
	atomic_store(&posted->poster, vcpu);
	arm(vcpu, LATEST_NS);
}

/* With the lock. KVM fills the ring from `last`, this takes from `first`; an index that makes no sense is KVM's error, and
 * ends the loop. */
static void empty(struct engine_vcpu *vcpu)
{
	struct kvm_coalesced_mmio_ring *ring = ring_of(vcpu);
	struct posted *posted = &vcpu->vm->posted;

	while (ring->first < RING_WRITES && ring->first != __atomic_load_n(&ring->last, __ATOMIC_ACQUIRE)) {
		const struct kvm_coalesced_mmio *write = &ring->coalesced_mmio[ring->first];

		if (write->pio && write->len == 1)
			(void)!bus_write(vcpu->vm->platform.ports, gpa(write->phys_addr), 1, write->data[0]);
		posted->taken++;
		__atomic_store_n(&ring->first, (uint32_t)((ring->first + 1) % RING_WRITES), __ATOMIC_RELEASE);
	}
}

/* With the lock. Once the port is none that is posted, nobody writes to the ring any more. */
static void end(struct engine_vcpu *vcpu)
{
	atomic_store(&vcpu->vm->posted.poster, NULL);
	arm(vcpu, 0);
	(void)tell_zone(vcpu->vm, KVM_UNREGISTER_COALESCED_MMIO);
	empty(vcpu);
}

/* With the lock: whether the burst goes on. */
static void look(struct engine_vcpu *vcpu)
{
	struct posted *posted = &vcpu->vm->posted;
	uint64_t now = clock_host_ns();

	if (now - posted->looked_ns < LATEST_NS)
		return;
	posted->quiet = posted->taken == posted->taken_then ? posted->quiet + 1 : 0;
	posted->taken_then = posted->taken;
	posted->looked_ns = now;
	if (posted->quiet < QUIET_LOOKS)
		arm(vcpu, LATEST_NS);
	else
		end(vcpu);
}

void kvm_posted_take(struct engine_vcpu *vcpu)
{
	struct posted *posted = &vcpu->vm->posted;
	const struct engine_vcpu *poster = atomic_load_explicit(&posted->poster, memory_order_relaxed);
	const struct kvm_coalesced_mmio_ring *ring;

	if (posted->port == 0)
		return;
	ring = ring_of(vcpu);
	if (poster != vcpu && __atomic_load_n(&ring->first, __ATOMIC_ACQUIRE) == __atomic_load_n(&ring->last, __ATOMIC_ACQUIRE))
		return;
	pthread_mutex_lock(&posted->lock);
	empty(vcpu);
	if (atomic_load(&posted->poster) == vcpu)
		look(vcpu);
	pthread_mutex_unlock(&posted->lock);
}

void kvm_posted_end(struct engine_vcpu *vcpu)
{
	struct posted *posted = &vcpu->vm->posted;

	if (atomic_load(&posted->poster) != vcpu)
		return;
	pthread_mutex_lock(&posted->lock);
	end(vcpu);
	pthread_mutex_unlock(&posted->lock);
}

void kvm_posted_written(struct engine_vcpu *vcpu)
{
	struct posted *posted = &vcpu->vm->posted;
	uint64_t now;

	/* It came although it is posted: the ring is full. */
	if (atomic_load(&posted->poster))
		return;
	now = clock_host_ns();
	pthread_mutex_lock(&posted->lock);
	if (now - posted->burst_ns > BURST_NS) {
		posted->burst_ns = now;
		posted->burst = 0;
	}
	if (++posted->burst >= BURST && !atomic_load(&posted->poster))
		begin(vcpu);
	pthread_mutex_unlock(&posted->lock);
}
