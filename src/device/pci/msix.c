#include "device/pci/msix.h"

#include <assert.h>
#include <string.h>

#include "base/log.h"

#define CONTROL      3 /* word of an entry */
#define CONTROL_MASK 1u

void msix_init(struct msix *msix, const struct msi_controller *controller, unsigned count, const char *name)
{
	assert(count >= 1 && count <= MSIX_VECTORS_MAX);
	*msix = (struct msix){.controller = controller, .count = count, .name = name};
	pthread_mutex_init(&msix->lock, NULL);
	msix_reset(msix);
}

static void free_routes(struct msix *msix)
{
	for (unsigned i = 0; i < msix->count; i++) {
		if (msix->vectors[i].route)
			msix->controller->route_free(msix->controller->controller, msix->vectors[i].route);
		msix->vectors[i].route = NULL;
	}
}

void msix_finish(struct msix *msix)
{
	free_routes(msix);
	pthread_mutex_destroy(&msix->lock);
}

/* A vector without a route says nothing; the driver gives up on its device and tries without messages, or not. */
static void make_routes(struct msix *msix)
{
	struct error e;

	for (unsigned i = 0; i < msix->count; i++) {
		struct msix_vector *vector = &msix->vectors[i];

		vector->told = false;
		if (vector->route)
			continue;
		if (msix->controller->route_new(msix->controller->controller, &vector->route, &e) < 0) {
			vector->route = NULL;
			log_guest(LOG_WARNING, "pci", "%s: no interrupt for message %u: %s", msix->name, i, e.message);
			return;
		}
	}
}

static bool may_go(const struct msix *msix, const struct msix_vector *vector)
{
	return msix->enabled && !msix->masked && msix->master && !(vector->words[CONTROL] & CONTROL_MASK);
}

/* After any change: tells the route what was written, and sends what was pending. */
static void attend(struct msix *msix, unsigned index)
{
	struct msix_vector *vector = &msix->vectors[index];
	const struct msi_controller *controller = msix->controller;

	if (!may_go(msix, vector) || !vector->route)
		return;
	if (!vector->told) {
		const struct msi_message message = {
			.address = vector->words[0] | (uint64_t)vector->words[1] << 32,
			.data = vector->words[2],
		};

		controller->route_set(controller->controller, vector->route, message);
		vector->told = true;
	}
	if (msix->pending >> index & 1) {
		msix->pending &= ~(UINT32_C(1) << index);
		controller->route_fire(controller->controller, vector->route);
	}
}

void msix_reset(struct msix *msix)
{
	pthread_mutex_lock(&msix->lock);
	msix->enabled = msix->masked = msix->master = false;
	msix->pending = 0;
	free_routes(msix);
	for (unsigned i = 0; i < MSIX_VECTORS_MAX; i++)
		msix->vectors[i] = (struct msix_vector){.words[CONTROL] = CONTROL_MASK};
	pthread_mutex_unlock(&msix->lock);
}

void msix_control(struct msix *msix, unsigned message_control, bool master)
{
	bool enabled = msix->controller && (message_control & MSIX_ENABLE);

	pthread_mutex_lock(&msix->lock);
	msix->masked = message_control & MSIX_MASK;
	msix->master = master;
	if (enabled && !msix->enabled)
		make_routes(msix);
	if (!enabled && msix->enabled)
		free_routes(msix);
	msix->enabled = enabled;
	for (unsigned i = 0; i < msix->count; i++)
		attend(msix, i);
	pthread_mutex_unlock(&msix->lock);
}

bool msix_enabled(struct msix *msix)
{
	bool enabled;

	pthread_mutex_lock(&msix->lock);
	enabled = msix->enabled;
	pthread_mutex_unlock(&msix->lock);
	return enabled;
}

void msix_fire(struct msix *msix, unsigned vector)
{
	if (vector >= msix->count)
		return;
	pthread_mutex_lock(&msix->lock);
	if (msix->enabled) {
		msix->pending |= UINT32_C(1) << vector;
		attend(msix, vector);
	}
	pthread_mutex_unlock(&msix->lock);
}

/* The words that an access covers: how many, 0 for one that is not of whole words in the table. */
static unsigned covered(const struct msix *msix, uint64_t offset, unsigned size)
{
	return size >= 4 && offset < (uint64_t)msix->count * MSIX_ENTRY ? size / 4 : 0;
}

uint64_t msix_read(struct msix *msix, uint64_t offset, unsigned size)
{
	unsigned words = covered(msix, offset, size);
	uint64_t value = 0;

	pthread_mutex_lock(&msix->lock);
	for (unsigned i = 0; i < words; i++)
		value |= (uint64_t)msix->vectors[offset / MSIX_ENTRY].words[offset % MSIX_ENTRY / 4 + i] << (32 * i);
	pthread_mutex_unlock(&msix->lock);
	return value;
}

void msix_write(struct msix *msix, uint64_t offset, uint64_t value, unsigned size)
{
	unsigned words = covered(msix, offset, size), index = (unsigned)(offset / MSIX_ENTRY);

	if (!words)
		return;
	pthread_mutex_lock(&msix->lock);
	for (unsigned i = 0; i < words; i++, value >>= 32) {
		unsigned word = (unsigned)(offset % MSIX_ENTRY / 4) + i;
		uint32_t *at = &msix->vectors[index].words[word], wanted = (uint32_t)value;

		/* The lowest bits of an address and all but the mask of control are 0. */
		wanted &= word == CONTROL ? CONTROL_MASK : word == 0 ? ~3u : UINT32_MAX;
		if (word != CONTROL && *at != wanted)
			msix->vectors[index].told = false;
		*at = wanted;
	}
	attend(msix, index);
	pthread_mutex_unlock(&msix->lock);
}

uint64_t msix_read_pending(struct msix *msix, uint64_t offset, unsigned size)
{
	uint64_t value;

	if (size < 4 || offset >= MSIX_PENDING_BYTES)
		return 0;
	pthread_mutex_lock(&msix->lock);
	value = offset == 0 ? msix->pending : 0;
	pthread_mutex_unlock(&msix->lock);
	return value;
}

bool msix_possible(const struct msix *msix)
{
	if (msix->count < MSIX_VECTORS_MAX && msix->pending >> msix->count)
		return false;
	for (unsigned i = 0; i < MSIX_VECTORS_MAX; i++) {
		const uint32_t *words = msix->vectors[i].words;

		if ((words[CONTROL] & ~CONTROL_MASK) || (words[0] & 3))
			return false;
	}
	return true;
}
