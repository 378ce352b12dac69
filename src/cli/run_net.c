#include "cli/run_net.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "config/option.h"

#define KINDS "user, tap=INTERFACE, switch=NAME or none"

static const struct {
	const char *word;
	enum net_kind kind;
	bool named;
} kinds[] = {
	{"user", NET_USER, false},
	{"tap", NET_TAP, true},
	{"switch", NET_SWITCH, true},
	{"none", NET_NONE, false},
};

/* "WORD=VALUE" in two; the value is NULL without a sign. */
static char *cut_value(char *text)
{
	char *sign = strchr(text, '=');

	if (sign)
		*sign++ = '\0';
	return sign;
}

static int parse_kind(char *text, struct net_options *out, struct error *e)
{
	char *value = cut_value(text);

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (strcmp(text, kinds[i].word) != 0)
			continue;
		if (kinds[i].named != (value && *value))
			return error_set(e, ERROR_USAGE, -EINVAL, "--net: %s takes %s; give " KINDS, text,
					 kinds[i].named ? "a name" : "no name");
		out->kind = kinds[i].kind;
		out->name = value;
		return out->kind == NET_SWITCH ? net_check_segment(value, e) : 0;
	}
	return error_set(e, ERROR_USAGE, -EINVAL, "--net: \"%s\" is no network; give " KINDS, text);
}

static int parse_rate(const char *text, uint64_t *out, struct error *e)
{
	static const struct option_spec rate = {
		.name = "net", .type = OPTION_SIZE, .minimum = 1000, .maximum = UINT64_C(1) << 40};
	struct option_value value;
	int r = option_parse(&rate, text, &value, e);

	if (r == 0)
		*out = value.number;
	return r;
}

static int parse_part(char *text, struct machine_nic *out, struct error *e)
{
	char *value = cut_value(text);

	if (strcmp(text, "mac") == 0 && value)
		return net_parse_mac(value, out->options.mac, e);
	if (strcmp(text, "rate") == 0 && value)
		return parse_rate(value, &out->rate, e);
	if (strcmp(text, "isolated") == 0 && !value) {
		out->options.isolated = true;
		if (out->options.kind == NET_USER)
			return 0;
		return error_set(e, ERROR_USAGE, -EINVAL, "--net: only a user network can be isolated");
	}
	return error_set(e, ERROR_USAGE, -EINVAL, "--net: \"%s\" is not known; give mac=ADDRESS, rate=BYTES or isolated",
			 text);
}

int run_net_parse(char *text, struct machine_nic *out, struct error *e)
{
	struct machine_nic nic = {.rate = 0};
	char *rest = text, *part = strsep(&rest, ",");
	int r = parse_kind(part, &nic.options, e);

	while (r == 0 && (part = strsep(&rest, ",")))
		r = parse_part(part, &nic, e);
	if (r == 0)
		*out = nic;
	return r;
}

int run_net_publish(const char *text, struct machine_nic nics[MACHINE_NICS_MAX], unsigned *count, struct error *e)
{
	struct net_options *user = NULL;
	struct net_forward forward;
	int r = net_parse_forward(text, &forward, e);

	if (r < 0)
		return error_prefix(e, r, "--publish");
	for (unsigned i = 0; i < *count && !user; i++)
		if (nics[i].options.kind == NET_USER)
			user = &nics[i].options;
	if (!user && *count > 0)
		return error_set(e, ERROR_USAGE, -EINVAL,
				 "--publish: none of the networks is a user network; add --net user");
	if (!user) {
		nics[0] = (struct machine_nic){.options.kind = NET_USER};
		user = &nics[0].options;
		*count = 1;
	}
	if (user->forward_count == NET_FORWARDS_MAX)
		return error_set(e, ERROR_USAGE, -E2BIG, "--publish: at most %d ports can be published",
				 NET_FORWARDS_MAX);
	user->forwards[user->forward_count++] = forward;
	return 0;
}

void run_net_tell(const struct machine *machine)
{
	unsigned count;
	const struct net_forward *forwards = machine_forwards(machine, &count);

	for (unsigned i = 0; i < count; i++) {
		const char *address = *forwards[i].address ? forwards[i].address : "127.0.0.1";
		bool ip6 = strchr(address, ':') != NULL;

		fprintf(stderr, "doppel: %s port %s%s%s:%u is the guest's %u\n", forwards[i].udp ? "udp" : "tcp",
			ip6 ? "[" : "", address, ip6 ? "]" : "", forwards[i].host_port, forwards[i].guest_port);
	}
}
