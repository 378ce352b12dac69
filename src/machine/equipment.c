/* Which virtio devices a machine has: one function a kind, in the order of their slots. */
#include "device/virtio/rng.h"
#include "machine/private.h"

static bool wants_any(const struct machine_config *config)
{
	return config->rng;
}

static int add(struct machine *machine, const struct machine_config *config, struct virtio *virtio, struct error *e)
{
	virtio->withheld = config->virtio_withheld;
	return board_add_virtio(machine->board, virtio, e);
}

static int add_rng(struct machine *machine, const struct machine_config *config, struct error *e)
{
	struct virtio *rng;
	int r;

	if (!config->rng)
		return 0;
	r = virtio_rng_new(&rng, "rng0", machine->worker, e);
	return r < 0 ? r : add(machine, config, rng, e);
}

int machine_equip(struct machine *machine, const struct machine_config *config, struct error *e)
{
	typedef int add_fn(struct machine *machine, const struct machine_config *config, struct error *e);
	static add_fn *const kinds[] = {add_rng};
	int r = wants_any(config) ? worker_new(&machine->worker, "doppel-io", e) : 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(kinds); i++)
		r = kinds[i](machine, config, e);
	return r;
}
