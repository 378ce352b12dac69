#include "device/devices.h"
#include "device/virtio/rng.h"

const struct device_type *const device_types[] = {
	&aclint_type, &aclint_sswi_type, &finisher_type, &goldfish_rtc_type, &plic_type, &uart16550_type,
	&virtio_rng_type,
};

const size_t device_type_count = ARRAY_SIZE(device_types);
