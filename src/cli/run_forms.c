#include "cli/run_forms.h"

#include <arpa/inet.h>
#include <errno.h>

#include "block/block.h"
#include "device/virtio/vsock.h"
#include "net/net.h"

/* run_disk.c and run_net.c rely on the order of these. */
static const char *const format_words[] = {"raw", "qcow2", NULL};
enum { NET_WORD_USER, NET_WORD_TAP, NET_WORD_SWITCH, NET_WORD_NONE };
static const char *const net_words[] = {[NET_WORD_USER] = "user",
					[NET_WORD_TAP] = "tap",
					[NET_WORD_SWITCH] = "switch",
					[NET_WORD_NONE] = "none",
					NULL};
static const char *const protocol_words[] = {"tcp", "udp", NULL};

static const struct option_spec disk_parts[DISK_PARTS] = {
	[DISK_FILE] = {.name = "file",
		       .type = OPTION_PATH,
		       .placeholder = "FILE",
		       .required = true,
		       .help = "the disk: a raw or qcow2 file, or a block device"},
	[DISK_READ_ONLY] = {.name = "ro", .type = OPTION_FLAG, .help = "the guest may not write to it"},
	[DISK_OVERLAY] = {.name = "overlay",
			  .type = OPTION_PATH,
			  .placeholder = "FILE",
			  .bare = true,
			  .help = "what the guest writes goes to this file, or to none and is dropped in the end"},
	[DISK_FORMAT] = {.name = "format",
			 .type = OPTION_ENUM,
			 .placeholder = "FORMAT",
			 .words = format_words,
			 .help = "what the file is"},
	[DISK_ANYWHERE] = {.name = "backing-anywhere",
			   .type = OPTION_FLAG,
			   .help = "backing files may lie outside the file's own folder"},
	[DISK_DIRECT] = {.name = "direct", .type = OPTION_FLAG, .help = "past the host's page cache"},
	[DISK_IOPS] = {.name = "iops",
		       .type = OPTION_INTEGER,
		       .placeholder = "N",
		       .minimum = 1,
		       .maximum = 1000000000,
		       .help = "operations a second at most"},
	[DISK_BPS] = {.name = "bps",
		      .type = OPTION_SIZE,
		      .placeholder = "SIZE",
		      .minimum = BLOCK_SECTOR,
		      .maximum = UINT64_C(1) << 50,
		      .help = "bytes a second at most"},
	[DISK_BURST] = {.name = "burst",
			.type = OPTION_DURATION,
			.placeholder = "TIME",
			.minimum = 1,
			.maximum = 3600000,
			.help = "after a rest, so much time's worth of what the limits allow may pass at once; 100ms unless given"},
};

static int check_disk(const struct option_value *values, struct error *e)
{
	if (values[DISK_READ_ONLY].given && values[DISK_OVERLAY].given)
		return error_set(e, ERROR_USAGE, -EINVAL, "ro and overlay exclude each other; give one of them");
	return 0;
}

const struct option_form form_disk = {FORM_COMMAS, false, disk_parts, DISK_PARTS, check_disk};

static int check_something(const char *text, struct error *e)
{
	return *text ? 0 : error_set(e, ERROR_USAGE, -EINVAL, "it is empty; give at least one letter");
}

static int check_mac(const char *text, struct error *e)
{
	uint8_t mac[NET_MAC_BYTES];

	return net_parse_mac(text, mac, e);
}

static const struct option_spec net_parts[NET_PARTS] = {
	[NET_PART_KIND] = {.name = "kind",
			   .type = OPTION_ENUM,
			   .placeholder = "KIND",
			   .words = net_words,
			   .required = true,
			   .help = "what is at the other end of the wire"},
	[NET_PART_NAME] = {.name = "name",
			   .type = OPTION_STRING,
			   .placeholder = "NAME",
			   .check = check_something,
			   .pattern = ".",
			   .help = "of a tap: the interface; of a switch: the segment"},
	[NET_PART_MAC] = {.name = "mac",
			  .type = OPTION_STRING,
			  .placeholder = "ADDRESS",
			  .check = check_mac,
			  .pattern = "^[0-9a-fA-F][02468aceACE](:[0-9a-fA-F]{2}){5}$",
			  .help = "address of the guest's card; without it one is made of the machine's name"},
	[NET_PART_RATE] = {.name = "rate",
			   .type = OPTION_SIZE,
			   .placeholder = "BYTES",
			   .minimum = 1000,
			   .maximum = UINT64_C(1) << 40,
			   .help = "bytes a second at most, in each direction"},
	[NET_PART_PPS] = {.name = "pps",
			  .type = OPTION_INTEGER,
			  .placeholder = "N",
			  .minimum = 1,
			  .maximum = 1000000000,
			  .help = "packets a second at most, in each direction"},
	[NET_PART_BURST] = {.name = "burst",
			    .type = OPTION_DURATION,
			    .placeholder = "TIME",
			    .minimum = 1,
			    .maximum = 3600000,
			    .help = "after a rest, so much time's worth of what the limits allow may pass at once; 100ms unless given"},
	[NET_PART_ISOLATED] = {.name = "isolated",
			       .type = OPTION_FLAG,
			       .help = "no way out, only published ports in; of a user network"},
};

static int check_net(const struct option_value *values, struct error *e)
{
	static const bool named[] = {[NET_WORD_TAP] = true, [NET_WORD_SWITCH] = true, [NET_WORD_NONE] = false};
	uint64_t kind = values[NET_PART_KIND].number;
	const char *word = net_words[kind], *name = values[NET_PART_NAME].text;

	if (named[kind] && !name)
		return error_set(e, ERROR_USAGE, -EINVAL, "%s takes a name; give %s=NAME", word, word);
	if (!named[kind] && name)
		return error_set(e, ERROR_USAGE, -EINVAL, "%s takes no name; leave \"%s\" out", word, name);
	if (values[NET_PART_ISOLATED].given && kind != NET_WORD_USER)
		return error_set(e, ERROR_USAGE, -EINVAL, "only a user network can be isolated");
	return kind == NET_WORD_SWITCH ? net_check_segment(name, e) : 0;
}

const struct option_form form_net = {FORM_COMMAS, true, net_parts, NET_PARTS, check_net};

static int check_address(const char *text, struct error *e)
{
	uint8_t binary[16];

	if (inet_pton(AF_INET, text, binary) == 1 || inet_pton(AF_INET6, text, binary) == 1)
		return 0;
	return error_set(e, ERROR_USAGE, -EINVAL, "\"%s\" is neither an IPv4 address nor an IPv6 one in brackets", text);
}

static const struct option_spec publish_parts[PUBLISH_PARTS] = {
	[PUBLISH_PROTOCOL] = {.name = "protocol",
			      .type = OPTION_ENUM,
			      .placeholder = "PROTOCOL",
			      .words = protocol_words,
			      .help = "tcp when it is not given"},
	[PUBLISH_ADDRESS] = {.name = "address",
			     .type = OPTION_STRING,
			     .placeholder = "ADDRESS",
			     .check = check_address,
			     .pattern = "^[0-9a-fA-F:.]+$",
			     .help = "of this host; 127.0.0.1 when it is not given"},
	[PUBLISH_HOST] = {.name = "host",
			  .type = OPTION_INTEGER,
			  .placeholder = "PORT",
			  .maximum = 65535,
			  .required = true,
			  .help = "port of this host; 0: any free one"},
	[PUBLISH_GUEST] = {.name = "guest",
			   .type = OPTION_INTEGER,
			   .placeholder = "PORT",
			   .minimum = 1,
			   .maximum = 65535,
			   .required = true,
			   .help = "port of the guest"},
};

const struct option_form form_publish = {FORM_COLONS, false, publish_parts, PUBLISH_PARTS, NULL};

static const struct option_spec share_parts[SHARE_PARTS] = {
	[SHARE_FOLDER] = {.name = "folder",
			  .type = OPTION_PATH,
			  .placeholder = "FOLDER",
			  .required = true,
			  .help = "a folder of this host"},
	[SHARE_TAG] = {.name = "tag",
		       .type = OPTION_STRING,
		       .placeholder = "TAG",
		       .check = check_something,
		       .pattern = ".",
		       .help = "what the guest mounts; share, share1, ... when it is not given"},
	[SHARE_READ_ONLY] = {.name = "ro", .type = OPTION_FLAG, .help = "the guest may not write to it"},
};

const struct option_form form_share = {FORM_COLONS, false, share_parts, SHARE_PARTS, NULL};

static const struct option_spec channel_parts[CHANNEL_PARTS] = {
	[CHANNEL_NAME] = {.name = "name",
			  .type = OPTION_STRING,
			  .placeholder = "NAME",
			  .check = check_something,
			  .pattern = ".",
			  .required = true,
			  .help = "the guest's /dev/virtio-ports/NAME"},
	[CHANNEL_SOCKET] = {.name = "socket",
			    .type = OPTION_PATH,
			    .placeholder = "SOCKET",
			    .required = true,
			    .help = "a Unix socket of this host, which is made"},
};

const struct option_form form_channel = {FORM_EQUALS, false, channel_parts, CHANNEL_PARTS, NULL};

static const struct option_spec vsock_parts[VSOCK_PARTS] = {
	[VSOCK_FOLDER] = {.name = "folder",
			  .type = OPTION_PATH,
			  .placeholder = "FOLDER",
			  .required = true,
			  .help = "where the Unix sockets are"},
	[VSOCK_CID] = {.name = "cid",
		       .type = OPTION_INTEGER,
		       .placeholder = "CID",
		       .minimum = VSOCK_CID_MIN,
		       .maximum = VSOCK_CID_MAX,
		       .help = "the guest's address"},
};

const struct option_form form_vsock = {FORM_COLONS, false, vsock_parts, VSOCK_PARTS, NULL};
