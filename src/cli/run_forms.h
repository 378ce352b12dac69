/*
 * The options of `doppel run` that have parts: disks, networks, published ports, folders, channels, sockets. Each
 * part is a row, by these indices (config/form.h).
 */
#ifndef DOPPEL_CLI_RUN_FORMS_H
#define DOPPEL_CLI_RUN_FORMS_H

#include "config/form.h"

enum disk_part {
	DISK_FILE,
	DISK_READ_ONLY,
	DISK_OVERLAY,
	DISK_FORMAT,
	DISK_ANYWHERE,
	DISK_DIRECT,
	DISK_IOPS,
	DISK_BPS,
	DISK_BURST,
	DISK_PARTS,
};
enum net_part {
	NET_PART_KIND,
	NET_PART_NAME,
	NET_PART_MAC,
	NET_PART_RATE,
	NET_PART_PPS,
	NET_PART_BURST,
	NET_PART_ISOLATED,
	NET_PARTS,
};
enum publish_part { PUBLISH_PROTOCOL, PUBLISH_ADDRESS, PUBLISH_HOST, PUBLISH_GUEST, PUBLISH_PARTS };
enum share_part { SHARE_FOLDER, SHARE_TAG, SHARE_READ_ONLY, SHARE_PARTS };
enum channel_part { CHANNEL_NAME, CHANNEL_SOCKET, CHANNEL_PARTS };
enum vsock_part { VSOCK_FOLDER, VSOCK_CID, VSOCK_PARTS };

extern const struct option_form form_disk, form_net, form_publish, form_share, form_channel, form_vsock;

#endif
