#include "cli/run_devices.h"

#include <errno.h>
#include <stdlib.h>

#include "cli/run_disk.h"
#include "cli/run_forms.h"
#include "cli/run_net.h"
#include "cli/run_options.h"
#include "device/virtio/vsock.h"

/* The parts of an option's text, which lives as long as `devices`. -E2BIG, with a message, when there are too many. */
static int split(struct run_devices *devices, unsigned option, const char *text, struct form_values *out,
		 struct error *e)
{
	int r;

	if (devices->text_count == RUN_TEXTS_MAX)
		return error_set(e, ERROR_USAGE, -E2BIG, "more than %d devices are asked for", RUN_TEXTS_MAX);
	r = form_split(&run_options[option], text, out, e);
	if (r == 0)
		devices->texts[devices->text_count++] = out->text;
	return r;
}

/* Each text given for `option`, split; `each` puts it into the configuration and tells when there is no room. */
static int for_each(struct run_devices *devices, const struct arguments *arguments, unsigned option,
		    struct machine_config *config,
		    int (*each)(struct run_devices *devices, const struct option_value *values,
				struct machine_config *config, struct error *e),
		    struct error *e)
{
	struct form_values parts;
	const char *text;
	size_t cursor = 0;
	int r = 0;

	while (r == 0 && (text = arguments_next(arguments, option, &cursor))) {
		r = split(devices, option, text, &parts, e);
		if (r == 0)
			r = each(devices, parts.values, config, e);
	}
	return r;
}

static int add_nic(struct run_devices *devices, const struct option_value *values, struct machine_config *config,
		   struct error *e)
{
	if (config->nic_count == MACHINE_NICS_MAX)
		return error_set(e, ERROR_USAGE, -E2BIG, "--net: at most %d cards are possible", MACHINE_NICS_MAX);
	run_net_options(values, &devices->nics[config->nic_count++]);
	return 0;
}

static int parse_nics(struct run_devices *devices, const struct arguments *arguments, struct machine_config *config,
		      struct error *e)
{
	const char *text;
	size_t cursor = 0;
	int r;

	config->nics = devices->nics;
	r = for_each(devices, arguments, RUN_NET, config, add_nic, e);
	while (r == 0 && (text = arguments_next(arguments, RUN_PUBLISH, &cursor)))
		r = run_net_publish(text, devices->nics, &config->nic_count, e);
	return r;
}

static int add_disk(struct run_devices *devices, const struct option_value *values, struct machine_config *config,
		    struct error *e)
{
	if (config->disk_count == MACHINE_DISKS_MAX)
		return error_set(e, ERROR_USAGE, -E2BIG, "--disk: at most %d disks are possible", MACHINE_DISKS_MAX);
	run_disk_options(values, &devices->disks[config->disk_count++]);
	return 0;
}

static int parse_disks(struct run_devices *devices, const struct arguments *arguments, struct machine_config *config,
		       struct error *e)
{
	config->disks = devices->disks;
	return for_each(devices, arguments, RUN_DISK, config, add_disk, e);
}

/* The tag is "share" when none is given, "share1" for the second and so on. */
static int add_share(struct run_devices *devices, const struct option_value *values, struct machine_config *config,
		     struct error *e)
{
	static const char *const tags[MACHINE_SHARES_MAX] = {"share",  "share1", "share2", "share3",
							     "share4", "share5", "share6", "share7"};
	unsigned index = config->share_count;

	if (index == MACHINE_SHARES_MAX)
		return error_set(e, ERROR_USAGE, -E2BIG, "--share: at most %d folders can be shared",
				 MACHINE_SHARES_MAX);
	devices->shares[index] = (struct machine_share){
		.options = {.folder = values[SHARE_FOLDER].text, .read_only = values[SHARE_READ_ONLY].given},
		.tag = values[SHARE_TAG].given ? values[SHARE_TAG].text : tags[index]};
	config->share_count++;
	return 0;
}

static int parse_shares(struct run_devices *devices, const struct arguments *arguments, struct machine_config *config,
			struct error *e)
{
	config->shares = devices->shares;
	return for_each(devices, arguments, RUN_SHARE, config, add_share, e);
}

static int add_channel(struct run_devices *devices, const struct option_value *values, struct machine_config *config,
		       struct error *e)
{
	if (config->channel_count == VIRTIO_CHANNELS_MAX)
		return error_set(e, ERROR_USAGE, -E2BIG, "--channel: at most %d are possible", VIRTIO_CHANNELS_MAX);
	devices->channels[config->channel_count++] =
		(struct virtio_channel_options){values[CHANNEL_NAME].text, values[CHANNEL_SOCKET].text};
	return 0;
}

static int parse_channels(struct run_devices *devices, const struct arguments *arguments,
			  struct machine_config *config, struct error *e)
{
	config->channels = devices->channels;
	return for_each(devices, arguments, RUN_CHANNEL, config, add_channel, e);
}

static int add_vsock(struct run_devices *devices, const struct option_value *values, struct machine_config *config,
		     struct error *e)
{
	(void)devices;
	(void)e;
	config->vsock = values[VSOCK_FOLDER].text;
	config->vsock_cid = values[VSOCK_CID].given ? (uint32_t)values[VSOCK_CID].number : VSOCK_CID_MIN;
	return 0;
}

static int parse_vsock(struct run_devices *devices, const struct arguments *arguments, struct machine_config *config,
		       struct error *e)
{
	return for_each(devices, arguments, RUN_VSOCK, config, add_vsock, e);
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
	if (arguments->values[RUN_TRANSPORT].given)
		config->transport = (enum board_transport)(BOARD_MMIO + arguments->values[RUN_TRANSPORT].number);
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
