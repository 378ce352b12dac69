#include "device/devices.h"
#include "device/pc/devices.h"
#include "device/pci/pci.h"
#include "device/virtio/balloon.h"
#include "device/virtio/blk.h"
#include "device/virtio/button.h"
#include "device/virtio/console.h"
#include "device/virtio/fs.h"
#include "device/virtio/net.h"
#include "device/virtio/rng.h"
#include "device/virtio/vsock.h"

const struct device_type *const device_types[] = {
	&aclint_type, &aclint_sswi_type, &acpi_power_type, &debug_exit_type, &finisher_type, &goldfish_rtc_type,
	&i8042_type, &mc146818_type, &pci_host_type, &pci_ports_type, &plic_type, &pvpanic_type, &uart16550_type,
	&virtio_balloon_type, &virtio_blk_type, &virtio_button_type, &virtio_channels_type, &virtio_fs_type,
	&virtio_net_type, &virtio_pci_type, &virtio_rng_type, &virtio_terminal_type, &virtio_vsock_type, &vmgenid_type,
};

const size_t device_type_count = ARRAY_SIZE(device_types);
