/* Filters of system calls, run here as the kernel runs them and compared with what their rules mean. */
#include <errno.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>
#include <seccomp.h>

#include "base/types.h"
#include "wall/program.h"

#define OTHERWISE SECCOMP_RET_TRAP
#define REFUSED   (SECCOMP_RET_ERRNO | 38u)

static uint32_t load(const struct seccomp_data *data, uint32_t offset)
{
	uint32_t word;

	assert_true(offset <= sizeof *data - sizeof word && offset % sizeof word == 0);
	memcpy(&word, (const uint8_t *)data + offset, sizeof word);
	return word;
}

static uint32_t run(const struct sock_fprog *program, const struct seccomp_data *data)
{
	uint32_t a = 0;

	for (size_t pc = 0; pc < program->len; pc++) {
		const struct sock_filter *i = &program->filter[pc];

		switch (i->code) {
		case BPF_LD | BPF_W | BPF_ABS:
			a = load(data, i->k);
			break;
		case BPF_ALU | BPF_AND | BPF_K:
			a &= i->k;
			break;
		case BPF_JMP | BPF_JEQ | BPF_K:
			pc += a == i->k ? i->jt : i->jf;
			break;
		case BPF_JMP | BPF_JGE | BPF_K:
			pc += a >= i->k ? i->jt : i->jf;
			break;
		case BPF_JMP | BPF_JA:
			pc += i->k;
			break;
		case BPF_RET | BPF_K:
			return i->k;
		default:
			fail_msg("instruction %zu has code 0x%x", pc, i->code);
		}
	}
	fail_msg("the program runs off its end");
	return 0;
}

/* What the header says of a list of rules. */
static uint32_t mean(const struct program_rule *rules, size_t count, const struct seccomp_data *data)
{
	bool any = false, allowed = false;

	for (size_t i = 0; i < count; i++) {
		const struct program_rule *rule = &rules[i];
		uint64_t is = data->args[rule->argument];

		if (rule->number != (uint32_t)data->nr)
			continue;
		if (rule->kind == PROGRAM_ALLOW)
			return SECCOMP_RET_ALLOW;
		if (rule->kind == PROGRAM_REFUSE && !any)
			return REFUSED;
		any = true;
		allowed |= rule->kind == PROGRAM_EQUAL && (is & rule->mask) == rule->value;
		allowed |= rule->kind == PROGRAM_OTHER && is != rule->value;
	}
	return allowed ? SECCOMP_RET_ALLOW : OTHERWISE;
}

static uint64_t draw(void)
{
	static const uint64_t masks[] = {UINT64_MAX, UINT32_MAX, 0xff, 1, UINT64_C(0xffffffff00000000)};
	uint64_t value = (uint64_t)(random() % 6);

	return (random() % 4 ? value : value << 32) & masks[random() % 5];
}

static struct program_rule draw_rule(uint32_t numbers)
{
	static const uint64_t masks[] = {UINT64_MAX, UINT64_MAX, 3, UINT64_C(0xffffffff00000001), 0};
	struct program_rule rule = {.number = (uint32_t)random() % numbers,
				    .kind = (enum program_kind)(random() % 4),
				    .argument = (unsigned)random() % 6,
				    .mask = masks[random() % 5]};

	if (rule.kind == PROGRAM_OTHER)
		rule.mask = UINT64_MAX;
	rule.value = draw() & rule.mask;
	return rule;
}

static void compare(const struct sock_fprog *program, const struct program_rule *list, size_t count, uint32_t numbers)
{
	for (unsigned i = 0; i < 4000; i++) {
		struct seccomp_data data = {.nr = (int)((uint32_t)random() % (numbers + 2)), .arch = seccomp_arch_native()};

		for (unsigned argument = 0; argument < 6; argument++)
			data.args[argument] = draw();
		assert_int_equal(run(program, &data), mean(list, count, &data));
	}
}

static void means_what_its_rules_say(void **state)
{
	(void)state;
	for (unsigned round = 0; round < 200; round++) {
		struct program_rule copy[400];
		struct program_rules rules = {.list = NULL};
		size_t count = (size_t)random() % 400;
		uint32_t numbers = 1 + (uint32_t)random() % 300;
		struct sock_fprog program;

		for (size_t i = 0; i < count; i++) {
			copy[i] = draw_rule(numbers);
			assert_int_equal(program_add(&rules, &copy[i]), 0);
		}
		assert_int_equal(program_make(&rules, OTHERWISE, &program), 0);
		compare(&program, copy, count, numbers);
		free(program.filter);
		program_rules_finish(&rules);
	}
}

static void foreign_calls_end_the_process(void **state)
{
	const struct program_rule all = {.number = 1, .kind = PROGRAM_ALLOW};
	struct seccomp_data data = {.nr = 1, .arch = AUDIT_ARCH_I386};
	struct program_rules rules = {.list = NULL};
	struct sock_fprog program;

	(void)state;
	assert_int_equal(program_add(&rules, &all), 0);
	assert_int_equal(program_make(&rules, OTHERWISE, &program), 0);
	assert_int_equal(run(&program, &data), SECCOMP_RET_KILL_PROCESS);
	data.arch = seccomp_arch_native();
	assert_int_equal(run(&program, &data), SECCOMP_RET_ALLOW);
	data.nr = 0x40000001;
	assert_int_equal(run(&program, &data), SECCOMP_RET_KILL_PROCESS);
	free(program.filter);
	program_rules_finish(&rules);
}

static void one_too_long_is_refused(void **state)
{
	struct program_rules rules = {.list = NULL};
	struct sock_fprog program = {.len = 0};

	(void)state;
	for (uint32_t i = 0; i < 2000; i++)
		assert_int_equal(program_add(&rules, &(struct program_rule){.number = i}), 0);
	assert_int_equal(program_make(&rules, OTHERWISE, &program), -E2BIG);
	program_rules_finish(&rules);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(means_what_its_rules_say),
		cmocka_unit_test(foreign_calls_end_the_process),
		cmocka_unit_test(one_too_long_is_refused),
	};
	unsigned seed = (unsigned)time(NULL);

	printf("seed %u\n", seed);
	srandom(seed);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
