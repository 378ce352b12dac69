#include "wall/program.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stddef.h>
#include <stdlib.h>

#define REFUSAL  (SECCOMP_RET_ERRNO | ENOSYS)
#define X32_FIRST 0x40000000u
#define LEAP_MAX 255u /* instructions that a conditional jump skips at most */

struct group {
	const struct program_rule *rules; /* of one call */
	size_t count;
	uint32_t size; /* of its leaf */
};

struct making {
	struct group *groups; /* by number */
	size_t count;
	uint32_t otherwise;
	struct sock_filter *code; /* NULL: the sizes are not known yet */
	size_t length;
};

int program_add(struct program_rules *rules, const struct program_rule *rule)
{
	if (rules->count == rules->room) {
		size_t room = rules->room ? 2 * rules->room : 64;
		struct program_rule *list = reallocarray(rules->list, room, sizeof *list);

		if (!list)
			return -ENOMEM;
		rules->list = list;
		rules->room = room;
	}
	rules->list[rules->count++] = *rule;
	return 0;
}

void program_rules_finish(struct program_rules *rules)
{
	free(rules->list);
	*rules = (struct program_rules){.list = NULL};
}

/* ---- What counts ---- */

static bool is_whole(const struct program_rule *rule)
{
	return rule->kind == PROGRAM_ALLOW || rule->kind == PROGRAM_REFUSE;
}

/* The first rules of the list are all there is of a call so far: what is to become of `next`, of the same call. */
static size_t merge(struct program_rule *list, size_t count, const struct program_rule *next)
{
	if (count > 0 && (is_whole(&list[0]) || next->kind == PROGRAM_REFUSE))
		return count;
	if (next->kind == PROGRAM_ALLOW)
		count = 0;
	for (size_t i = 0; i < count; i++)
		if (list[i].kind == next->kind && list[i].argument == next->argument && list[i].mask == next->mask &&
		    list[i].value == next->value)
			return count;
	list[count] = *next;
	return count + 1;
}

/* Stable, and the lists are short. */
static void sort(struct program_rule *list, size_t count)
{
	for (size_t i = 1; i < count; i++) {
		struct program_rule rule = list[i];
		size_t at = i;

		for (; at > 0 && list[at - 1].number > rule.number; at--)
			list[at] = list[at - 1];
		list[at] = rule;
	}
}

/* Rules that do not count go; one group a call is left. */
static int group(struct program_rules *rules, struct making *making)
{
	struct program_rule *list = rules->list;
	size_t left = 0, next = 0;

	making->groups = calloc(rules->count + 1, sizeof *making->groups);
	if (!making->groups)
		return -ENOMEM;
	sort(list, rules->count);
	while (next < rules->count) {
		uint32_t number = list[next].number;
		struct program_rule *first = &list[left];
		size_t count = 0;

		for (; next < rules->count && list[next].number == number; next++) {
			struct program_rule rule = list[next];

			count = merge(first, count, &rule);
		}
		making->groups[making->count++] = (struct group){first, count, 0};
		left += count;
	}
	rules->count = left;
	return 0;
}

/* ---- Code ---- */

static void put(struct making *making, uint16_t code, uint8_t yes, uint8_t no, uint32_t k)
{
	if (making->code)
		making->code[making->length] = (struct sock_filter){code, yes, no, k};
	making->length++;
}

static void put_load(struct making *making, size_t offset)
{
	put(making, BPF_LD | BPF_W | BPF_ABS, 0, 0, (uint32_t)offset);
}

static void put_return(struct making *making, uint32_t what)
{
	put(making, BPF_RET | BPF_K, 0, 0, what);
}

static void put_equal(struct making *making, uint32_t value, uint8_t yes, uint8_t no)
{
	put(making, BPF_JMP | BPF_JEQ | BPF_K, yes, no, value);
}

/* The low half of an argument comes first: all hosts are little-endian. */
static size_t half_of(const struct program_rule *rule, unsigned half)
{
	return offsetof(struct seccomp_data, args) + rule->argument * sizeof(uint64_t) + half * sizeof(uint32_t);
}

/* Goes on behind itself when a half is as it shall be; else skips `skip` instructions. */
static void put_half(struct making *making, const struct program_rule *rule, unsigned half, uint8_t skip)
{
	uint32_t mask = (uint32_t)(rule->mask >> 32 * half), value = (uint32_t)(rule->value >> 32 * half);

	put_load(making, half_of(rule, half));
	if (mask != UINT32_MAX)
		put(making, BPF_ALU | BPF_AND | BPF_K, 0, 0, mask);
	put_equal(making, value, 0, skip);
}

static uint8_t half_size(const struct program_rule *rule, unsigned half)
{
	return (uint32_t)(rule->mask >> 32 * half) == UINT32_MAX ? 2 : 3;
}

/* Returns, or goes on behind itself. */
static void put_comparison(struct making *making, const struct program_rule *rule)
{
	if (rule->kind == PROGRAM_OTHER) {
		put_half(making, rule, 1, 2);
		put_load(making, half_of(rule, 0));
		put_equal(making, (uint32_t)rule->value, 1, 0);
	} else {
		put_half(making, rule, 1, (uint8_t)(half_size(rule, 0) + 1));
		put_half(making, rule, 0, 1);
	}
	put_return(making, SECCOMP_RET_ALLOW);
}

/* Always returns. */
static void put_leaf(struct making *making, const struct group *group)
{
	put_equal(making, group->rules[0].number, 1, 0);
	put_return(making, making->otherwise);
	for (size_t i = 0; i < group->count; i++)
		if (!is_whole(&group->rules[i]))
			put_comparison(making, &group->rules[i]);
	if (is_whole(&group->rules[0]))
		put_return(making, group->rules[0].kind == PROGRAM_ALLOW ? SECCOMP_RET_ALLOW : REFUSAL);
	else
		put_return(making, making->otherwise);
}

/* Groups from `first` to before `end`. A branch is one instruction, or two where the left side is long. */
static uint32_t size_of(const struct making *making, size_t first, size_t end)
{
	size_t middle = first + (end - first) / 2;
	uint32_t left;

	if (end - first == 1)
		return making->groups[first].size;
	left = size_of(making, first, middle);
	return left + size_of(making, middle, end) + (left > LEAP_MAX ? 2 : 1);
}

static void put_tree(struct making *making, size_t first, size_t end)
{
	size_t middle = first + (end - first) / 2;
	uint32_t left;

	if (end - first == 1) {
		put_leaf(making, &making->groups[first]);
		return;
	}
	left = size_of(making, first, middle);
	if (left > LEAP_MAX) {
		put(making, BPF_JMP | BPF_JGE | BPF_K, 0, 1, making->groups[middle].rules[0].number);
		put(making, BPF_JMP | BPF_JA, 0, 0, left);
	} else {
		put(making, BPF_JMP | BPF_JGE | BPF_K, (uint8_t)left, 0, making->groups[middle].rules[0].number);
	}
	put_tree(making, first, middle);
	put_tree(making, middle, end);
}

static void put_all(struct making *making)
{
	put_load(making, offsetof(struct seccomp_data, arch));
	put_equal(making, seccomp_arch_native(), 1, 0);
	put_return(making, SECCOMP_RET_KILL_PROCESS);
	put_load(making, offsetof(struct seccomp_data, nr));
	/* x32 has the architecture of x86-64. */
	put(making, BPF_JMP | BPF_JGE | BPF_K, 0, 1, X32_FIRST);
	put_return(making, SECCOMP_RET_KILL_PROCESS);
	if (making->count)
		put_tree(making, 0, making->count);
	else
		put_return(making, making->otherwise);
}

static void measure_leaves(struct making *making)
{
	for (size_t i = 0; i < making->count; i++) {
		size_t before = making->length;

		put_leaf(making, &making->groups[i]);
		making->groups[i].size = (uint32_t)(making->length - before);
	}
	making->length = 0;
}

static int write_code(struct making *making, struct sock_fprog *out)
{
	measure_leaves(making);
	put_all(making);
	if (making->length > BPF_MAXINSNS)
		return -E2BIG;
	making->code = calloc(making->length, sizeof *making->code);
	if (!making->code)
		return -ENOMEM;
	making->length = 0;
	put_all(making);
	*out = (struct sock_fprog){.len = (unsigned short)making->length, .filter = making->code};
	return 0;
}

int program_make(struct program_rules *rules, uint32_t otherwise, struct sock_fprog *out)
{
	struct making making = {.otherwise = otherwise};
	int r = group(rules, &making);

	if (r == 0)
		r = write_code(&making, out);
	free(making.groups);
	return r;
}
