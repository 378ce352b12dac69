#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/net.h"

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static int bad_mac(const char *text, const char *why, struct error *e)
{
	return error_set(e, ERROR_USAGE, -EINVAL, "\"%.40s\" %s; give six bytes such as 52:54:00:12:34:56", text, why);
}

int net_parse_mac(const char *text, uint8_t mac[NET_MAC_BYTES], struct error *e)
{
	uint8_t bytes[NET_MAC_BYTES], any = 0;
	const char *at = text;

	for (unsigned i = 0; i < NET_MAC_BYTES; i++) {
		int high = hex_digit(at[0]), low = high < 0 ? -1 : hex_digit(at[1]);

		if (low < 0 || at[2] != (i + 1 < NET_MAC_BYTES ? ':' : '\0'))
			return bad_mac(text, "is no MAC address", e);
		bytes[i] = (uint8_t)(high << 4 | low);
		any |= bytes[i];
		at += 3;
	}
	if (bytes[0] & 1)
		return bad_mac(text, "is the address of a group", e);
	if (any == 0)
		return bad_mac(text, "is nobody's address", e);
	memcpy(mac, bytes, sizeof bytes);
	return 0;
}

/* FNV-1a, 64 bits: spreads names well enough that two machines of a segment hardly ever meet. */
static uint64_t hash(uint64_t sum, const void *bytes, size_t length)
{
	const uint8_t *at = bytes;

	while (length-- > 0)
		sum = (sum ^ *at++) * UINT64_C(0x100000001b3);
	return sum;
}

void net_make_mac(const char *machine, unsigned card, uint8_t mac[NET_MAC_BYTES])
{
	uint64_t sum = hash(UINT64_C(0xcbf29ce484222325), machine, strlen(machine) + 1);

	sum = hash(sum, &card, sizeof card);
	sum ^= sum >> 32;
	for (unsigned i = 1; i < NET_MAC_BYTES; i++, sum >>= 7)
		mac[i] = (uint8_t)sum;
	mac[0] = 0x52; /* bit 1 set: locally administered; bit 0 clear: of one card */
}

static int bad_forward(const char *text, const char *why, struct error *e)
{
	return error_set(e, ERROR_USAGE, -EINVAL,
			 "\"%.80s\": %s; give [udp:][ADDRESS:]HOST_PORT:GUEST_PORT, such as 8080:80", text, why);
}

/* Digits only, all of [at, end). */
static bool parse_port(const char *at, const char *end, uint16_t *out)
{
	unsigned value = 0;

	if (at == end || end - at > 5)
		return false;
	for (; at < end; at++) {
		if (*at < '0' || *at > '9')
			return false;
		value = value * 10 + (unsigned)(*at - '0');
	}
	*out = (uint16_t)value;
	return value <= 65535;
}

static bool copy_address(const char *at, const char *end, char out[46])
{
	uint8_t binary[16];
	size_t length = (size_t)(end - at);
	bool bracketed = length >= 2 && at[0] == '[' && end[-1] == ']';

	if (bracketed) {
		at++;
		length -= 2;
	}
	if (length == 0 || length >= 46)
		return false;
	memcpy(out, at, length);
	out[length] = '\0';
	return inet_pton(bracketed ? AF_INET6 : AF_INET, out, binary) == 1;
}

int net_parse_forward(const char *text, struct net_forward *out, struct error *e)
{
	struct net_forward forward = {.udp = strncmp(text, "udp:", 4) == 0};
	const char *at = forward.udp || strncmp(text, "tcp:", 4) == 0 ? text + 4 : text, *end = at + strlen(at);
	const char *last = strrchr(at, ':'), *before;

	if (!last)
		return bad_forward(text, "a port of the guest is missing", e);
	before = memrchr(at, ':', (size_t)(last - at));
	if (!parse_port(last + 1, end, &forward.guest_port) || forward.guest_port == 0)
		return bad_forward(text, "the guest's port is not between 1 and 65535", e);
	if (!parse_port(before ? before + 1 : at, last, &forward.host_port))
		return bad_forward(text, "the host's port is not between 0 and 65535", e);
	if (before && !copy_address(at, before, forward.address))
		return bad_forward(text, "the address is neither IPv4 nor IPv6 in brackets", e);
	*out = forward;
	return 0;
}
