#include "cli/run_devices.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/run_disk.h"
#include "cli/run_net.h"
#include "cli/run_options.h"
#include "device/virtio/vsock.h"

/* A copy of an option's text that may be cut into pieces; NULL, with a message, when there are too many. */
static char *copy(struct run_devices *devices, const char *text, struct error *e)
{
	char *own = devices->text_count < RUN_TEXTS_MAX ? strdup(text) : NULL;

	if (own)
		devices->texts[devices->text_count++] = own;
	else
		(void)error_set(e, ERROR_USAGE, -E2BIG, "more than %d devices are asked for", RUN_TEXTS_MAX);
	return own;
}

static int parse_nics(struct run_devices *devices, const struct arguments *arguments, struct machine_config *config,
		      struct error *e)
{
	const char *text;
	size_t cursor = 0;
	int r = 0;

	config->nics = devices->nics;
	while (r == 0 && (text = arguments_next(arguments, RUN_NET, &cursor))) {
		char *own = copy(devices, text, e);

		if (!own)
			return -E2BIG;
		if (config->nic_count == MACHINE_NICS_MAX)
			return error_set(e, ERROR_USAGE, -E2BIG, "--net: at most %d cards are possible",
					 MACHINE_NICS_MAX);
		r = run_net_parse(own, &devices->nics[config->nic_count++], e);
	}
	for (cursor = 0; r == 0 && (text = arguments_next(arguments, RUN_PUBLISH, &cursor));)
		r = run_net_publish(text, devices->nics, &config->nic_count, e);
	return r;
}

static int parse_disks(struct run_devices *devices, const struct arguments *arguments, struct machine_config *config,
		       struct error *e)
{
	const char *text;
	size_t cursor = 0;
	int r = 0;

	config->disks = devices->disks;
	while (r == 0 && (text = arguments_next(arguments, RUN_DISK, &cursor))) {
		char *own = copy(devices, text, e);

		if (!own)
			return -E2BIG;
		if (config->disk_count == MACHINE_DISKS_MAX)
			return error_set(e, ERROR_USAGE, -E2BIG, "--disk: at most %d disks are possible",
					 MACHINE_DISKS_MAX);
		r = run_disk_parse(own, &devices->disks[config->disk_count++], e);
	}
	return r;
}

/* FOLDER[:TAG][:ro]; the tag is "share" when none is given, "share1" for the second and so on. */
static int parse_share(struct run_devices *devices, struct machine_share *share, unsigned index, const char *text,
		       struct error *e)
{
	static const char *const tags[MACHINE_SHARES_MAX] = {"share",  "share1", "share2", "share3",
							     "share4", "share5", "share6", "share7"};
	char *own = copy(devices, text, e), *colon;

	if (!own)
		return -E2BIG;
	*share = (struct machine_share){.options.folder = own, .tag = tags[index]};
	colon = strrchr(own, ':');
	if (colon && strcmp(colon, ":ro") == 0) {
		share->options.read_only = true;
		*colon = '\0';
		colon = strrchr(own, ':');
	}
	if (colon) {
		*colon = '\0';
		share->tag = colon + 1;
	}
	if (*own && *share->tag)
		return 0;
	return error_set(e, ERROR_USAGE, -EINVAL, "--share: \"%s\" is no folder and tag; give FOLDER, FOLDER:TAG or "
			 "FOLDER:TAG:ro", text);
}

static int parse_shares(struct run_devices *devices, const struct arguments *arguments, struct machine_config *config,
			struct error *e)
{
	const char *text;
	size_t cursor = 0;
	int r = 0;

	config->shares = devices->shares;
	while (r == 0 && (text = arguments_next(arguments, RUN_SHARE, &cursor))) {
		unsigned i = config->share_count;

		if (i == MACHINE_SHARES_MAX)
			return error_set(e, ERROR_USAGE, -E2BIG, "--share: at most %d folders can be shared",
					 MACHINE_SHARES_MAX);
		r = parse_share(devices, &devices->shares[i], i, text, e);
		config->share_count++;
	}
	return r;
}

/* NAME=SOCKET */
static int parse_channels(struct run_devices *devices, const struct arguments *arguments,
			  struct machine_config *config, struct error *e)
{
	const char *text;
	size_t cursor = 0;

	config->channels = devices->channels;
	while ((text = arguments_next(arguments, RUN_CHANNEL, &cursor))) {
		char *own = copy(devices, text, e), *sign = own ? strchr(own, '=') : NULL;

		if (!own)
			return -E2BIG;
		if (!sign || sign == own || !sign[1])
			return error_set(e, ERROR_USAGE, -EINVAL,
					 "--channel: \"%s\" is no channel; give NAME=SOCKET, such as "
					 "agent=/tmp/agent.sock", text);
		if (config->channel_count == VIRTIO_CHANNELS_MAX)
			return error_set(e, ERROR_USAGE, -E2BIG, "--channel: at most %d are possible",
					 VIRTIO_CHANNELS_MAX);
		*sign = '\0';
		devices->channels[config->channel_count++] = (struct virtio_channel_options){own, sign + 1};
	}
	return 0;
}

/* FOLDER[:CID] */
static int parse_vsock(struct run_devices *devices, const struct arguments *arguments, struct machine_config *config,
		       struct error *e)
{
	const char *text = arguments->values[RUN_VSOCK].text;
	char *own, *colon, *end;
	unsigned long cid = VSOCK_CID_MIN;

	if (!text)
		return 0;
	own = copy(devices, text, e);
	if (!own)
		return -E2BIG;
	colon = strrchr(own, ':');
	if (colon) {
		*colon = '\0';
		cid = strtoul(colon + 1, &end, 10);
		if (end == colon + 1 || *end || cid < VSOCK_CID_MIN || cid > VSOCK_CID_MAX)
			return error_set(e, ERROR_USAGE, -EINVAL,
					 "--vsock: \"%s\" is no CID of a guest; give a number from %d on", colon + 1,
					 VSOCK_CID_MIN);
	}
	if (!*own)
		return error_set(e, ERROR_USAGE, -EINVAL, "--vsock: give a folder for the sockets");
	config->vsock = own;
	config->vsock_cid = (uint32_t)cid;
	return 0;
}

/* By index of the option's words. */
static const uint64_t withheld_bits[] = {VIRTIO_F_RING_PACKED, VIRTIO_F_EVENT_IDX, VIRTIO_F_INDIRECT_DESC,
					 VIRTIO_F_IN_ORDER};

static int parse_switches(struct run_devices *devices, const struct arguments *arguments,
			  struct machine_config *config, struct error *e)
{
	struct option_value value;
	const char *text;
	size_t cursor = 0;
	int r = 0;

	(void)devices;
	config->rng = (enum machine_choice)arguments->values[RUN_RNG].number;
	config->virtio_console = arguments->values[RUN_CONSOLE_DEVICE].number;
	config->balloon = arguments->values[RUN_BALLOON].given;
	config->balloon_keeps = arguments->values[RUN_BALLOON].number;
	while (r == 0 && (text = arguments_next(arguments, RUN_VIRTIO_WITHOUT, &cursor))) {
		r = option_parse(&run_options[RUN_VIRTIO_WITHOUT], text, &value, e);
		if (r == 0)
			config->virtio_withheld |= withheld_bits[value.number];
	}
	return r;
}

int run_devices_parse(struct run_devices *devices, const struct arguments *arguments, struct machine_config *config,
		      struct error *e)
{
	typedef int parse_fn(struct run_devices *devices, const struct arguments *arguments,
			     struct machine_config *config, struct error *e);
	static parse_fn *const parts[] = {parse_disks, parse_nics, parse_shares, parse_channels, parse_vsock, parse_switches};
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(parts); i++)
		r = parts[i](devices, arguments, config, e);
	return r;
}

void run_devices_finish(struct run_devices *devices)
{
	for (unsigned i = 0; i < devices->text_count; i++)
		free(devices->texts[i]);
	devices->text_count = 0;
}
