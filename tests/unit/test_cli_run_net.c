#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cli/run_net.h"
#include "cli/run_options.h"

static int parse(const char *text, struct machine_nic *nic, struct error *e)
{
	static struct form_values parts;
	int r;

	form_finish(&parts);
	r = form_split(&run_options[RUN_NET], text, &parts, e);
	if (r == 0)
		run_net_options(parts.values, nic);
	return r;
}

static void cards_are_parsed(void **state)
{
	static const struct {
		const char *text;
		enum net_kind kind;
		const char *name;
		uint64_t rate;
		bool isolated;
	} cases[] = {
		{"user", NET_USER, NULL, 0, false},
		{"user,isolated", NET_USER, NULL, 0, true},
		{"tap=tap0", NET_TAP, "tap0", 0, false},
		{"switch=lab,rate=10M", NET_SWITCH, "lab", 10 * MIB, false},
		{"none", NET_NONE, NULL, 0, false},
	};
	struct machine_nic nic;
	struct error e;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		if (parse(cases[i].text, &nic, &e) < 0)
			fail_msg("%s: %s", cases[i].text, e.message);
		assert_int_equal(nic.options.kind, cases[i].kind);
		assert_int_equal(nic.limits.bytes_per_second, cases[i].rate);
		assert_int_equal(nic.options.isolated, cases[i].isolated);
		if (cases[i].name)
			assert_string_equal(nic.options.name, cases[i].name);
		else
			assert_null(nic.options.name);
	}
	assert_int_equal(parse("none,pps=300,burst=2s", &nic, &e), 0);
	assert_int_equal(nic.limits.packets_per_second, 300);
	assert_true(nic.limits.burst_seconds == 2.0);
	assert_int_equal(parse("user,mac=52:54:00:12:34:56", &nic, &e), 0);
	assert_memory_equal(nic.options.mac, "\x52\x54\x00\x12\x34\x56", 6);
}

static void wrong_cards_are_refused(void **state)
{
	static const struct {
		const char *text, *part;
	} cases[] = {
		{"", "choose from"},
		{"bridge", "choose from: user"},
		{"user=1", "takes no name"},
		{"tap", "takes a name"},
		{"tap=", "it is empty"},
		{"user,mac=52:54:00:12:34", "is no MAC"},
		{"switch=a/b", "is no name of a switch"},
		{"user,mac=01:00:00:00:00:00", "address of a group"},
		{"user,mac", "is missing"},
		{"user,,isolated", "choose from"},
		{"user,isolated=1", "no value"},
		{"tap=t,isolated", "only a user network"},
		{"user,rate=fast", "fast"},
		{"user,rate=1", "1"},
	};
	struct machine_nic nic = {.limits = {.bytes_per_second = 77}};
	struct error e;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		e.message[0] = '\0';
		if (parse(cases[i].text, &nic, &e) != -EINVAL)
			fail_msg("\"%s\" was taken", cases[i].text);
		if (e.kind != ERROR_USAGE || !strstr(e.message, cases[i].part))
			fail_msg("\"%s\": \"%s\" does not say \"%s\"", cases[i].text, e.message, cases[i].part);
	}
	assert_int_equal(nic.limits.bytes_per_second, 77);
}

static void ports_belong_to_the_user_network(void **state)
{
	struct machine_nic nics[MACHINE_NICS_MAX] = {{.options.kind = NET_TAP}, {.options.kind = NET_USER}};
	unsigned count = 0;
	struct error e;

	(void)state;
	assert_int_equal(run_net_publish("8080:80", nics, &count, &e), 0);
	assert_int_equal(count, 1);
	assert_int_equal(nics[0].options.kind, NET_USER);
	assert_int_equal(nics[0].options.forwards[0].host_port, 8080);
	nics[0].options.kind = NET_TAP;
	assert_int_equal(run_net_publish("8080:80", nics, &count, &e), -EINVAL);
	assert_non_null(strstr(e.message, "add --net user"));
	count = 2;
	for (unsigned i = 0; i < NET_FORWARDS_MAX; i++)
		assert_int_equal(run_net_publish("udp:0:53", nics, &count, &e), 0);
	assert_int_equal(nics[1].options.forward_count, NET_FORWARDS_MAX);
	assert_true(nics[1].options.forwards[3].udp);
	assert_int_equal(run_net_publish("0:53", nics, &count, &e), -E2BIG);
	assert_int_equal(run_net_publish("x", nics, &count, &e), -EINVAL);
	assert_non_null(strstr(e.message, "--publish"));
}

static int forget(void **state)
{
	struct machine_nic nic;
	struct error e;

	(void)state;
	return parse("", &nic, &e) < 0 ? 0 : -1;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cards_are_parsed),
		cmocka_unit_test(wrong_cards_are_refused),
		cmocka_unit_test(ports_belong_to_the_user_network),
	};

	return cmocka_run_group_tests(tests, NULL, forget);
}
