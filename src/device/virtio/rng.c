#include "device/virtio/rng.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/limit.h"

#define PART 4096

struct rng {
	struct virtio virtio;
	struct limit limit;
	struct loop_timer timer; /* while the limit is reached */
	struct virtqueue_chain chain;
};

static uint64_t features(const struct virtio *virtio)
{
	(void)virtio;
	return VIRTIO_F_IN_ORDER;
}

/* Fills the buffer, or its first part: the device may give less than was asked for (5.4.6.2). Bytes given. */
static uint32_t fill(const struct virtqueue_chain *chain)
{
	uint64_t wanted = chain->writable_bytes < VIRTIO_RNG_BURST ? chain->writable_bytes : VIRTIO_RNG_BURST;
	uint8_t bytes[PART];
	uint64_t done = 0;

	while (done < wanted) {
		size_t part = wanted - done < PART ? wanted - done : PART;
		ssize_t got = getrandom(bytes, part, 0);

		if (got <= 0)
			break;
		done += virtqueue_write(chain, done, bytes, (size_t)got);
	}
	return (uint32_t)done;
}

/* Whether a buffer may be filled now; otherwise the timer is set for when. */
static bool allowed(struct rng *rng)
{
	uint64_t now = clock_host_ns(), wait = limit_take(&rng->limit, 0, now);

	if (wait)
		loop_timer_set(worker_loop(rng->virtio.worker), &rng->timer, now + wait);
	return wait == 0;
}

static void kicked(struct virtio *virtio, unsigned queue)
{
	struct rng *rng = (struct rng *)virtio;

	while (allowed(rng) && virtio_next(virtio, queue, &rng->chain)) {
		uint32_t given = fill(&rng->chain);

		(void)limit_take(&rng->limit, given, clock_host_ns());
		virtio_count(&virtio->statistics.bytes_in, given);
		virtqueue_push(&virtio->queues[queue], &rng->chain, given);
	}
	virtio_notify(virtio, queue);
}

static void timer_expired(void *arg)
{
	virtio_look_again(arg, 0);
}

static void quiesce(struct virtio *virtio)
{
	loop_timer_cancel(worker_loop(virtio->worker), &((struct rng *)virtio)->timer);
	virtio_quiet(virtio);
}

void virtio_rng_set_rate(struct virtio *virtio, uint64_t rate)
{
	limit_init(&((struct rng *)virtio)->limit, rate, VIRTIO_RNG_BURST, clock_host_ns());
}

static const struct virtio_kind kind = {.id = 4, .features = features, .kicked = kicked, .quiesce = quiesce};

static const struct state_field fields[] = {VIRTIO_STATE_FIELDS};

static const struct state_descriptor state = {
	.kind = "virtio-rng",
	.version = 1,
	.oldest = 1,
	.object_size = sizeof(struct rng),
	.fields = fields,
	.field_count = ARRAY_SIZE(fields),
	.validate = virtio_validate,
};

const struct device_type virtio_rng_type = {
	.name = "virtio-rng",
	.help = "entropy: random bytes from the host",
	.state = &state,
	VIRTIO_DEVICE_OPS,
	.destroy = virtio_device_destroy,
};

int virtio_rng_new(struct virtio **out, const char *name, struct worker *worker, struct error *e)
{
	static const uint16_t sizes[] = {64};
	struct rng *rng = calloc(1, sizeof *rng);
	int r;

	if (!rng)
		return error_errno(e, -ENOMEM, "device %s", name);
	r = virtio_init(&rng->virtio, &virtio_rng_type, &kind, name, worker, sizes, ARRAY_SIZE(sizes), 0, e);
	if (r < 0) {
		free(rng);
		return r;
	}
	virtio_rng_set_rate(&rng->virtio, VIRTIO_RNG_RATE);
	rng->timer = (struct loop_timer){.fn = timer_expired, .arg = rng};
	*out = &rng->virtio;
	return 0;
}
