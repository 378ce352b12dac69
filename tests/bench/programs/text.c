/* Records and strings, encodings. */
#include "bench.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS 4096
#define PEOPLE  40000

struct person {
	struct person *next;
	char name[24], town[16];
	uint32_t age, visits;
};

static struct person *buckets[BUCKETS], people[PEOPLE];

static uint32_t hash(const char *text)
{
	uint32_t value = 2166136261u;

	while (*text)
		value = (value ^ (uint8_t)*text++) * 16777619u;
	return value;
}

static struct person *find(const char *name)
{
	struct person *person = buckets[hash(name) % BUCKETS];

	while (person && strcmp(person->name, name) != 0)
		person = person->next;
	return person;
}

static void make_name(char name[24], uint32_t number)
{
	static const char *const syllables[] = {"ka", "lo", "mir", "ta", "nes", "ul", "bri", "zo"};
	char *end = name;

	for (int i = 0; i < 5; i++, number >>= 3)
		end = stpcpy(end, syllables[number & 7]);
	snprintf(end, (size_t)(name + 24 - end), "%u", number % 100);
}

static void add(const char *name, uint32_t number)
{
	static uint32_t used;
	struct person *person = &people[used++], **bucket = &buckets[hash(name) % BUCKETS];

	*person = (struct person){.next = *bucket, .age = number % 90};
	strcpy(person->name, name);
	strcpy(person->town, number % 3 ? "north" : "south-harbour");
	*bucket = person;
}

static uint64_t structs_run(void)
{
	uint64_t seed = 11, sum = 0;
	char name[24];

	for (uint32_t i = 0; i < 120000; i++) {
		uint32_t number = bench_random(&seed) % PEOPLE;
		struct person *person;

		make_name(name, number * 2654435761u);
		person = find(name);
		if (person)
			person->visits++;
		else
			add(name, number);
	}
	for (int i = 0; i < BUCKETS; i++)
		for (struct person *person = buckets[i]; person; person = person->next)
			if (strchr(person->town, '-') && strstr(person->name, "mir"))
				sum = bench_mix(sum, person->age * person->visits + strlen(person->name));
	return sum;
}

#define RAW ((size_t)48 << 10)

static uint8_t raw[RAW], back[RAW];
static char encoded[RAW / 3 * 4];

static void base64_prepare(void)
{
	uint64_t seed = 13;

	for (size_t i = 0; i < RAW; i++)
		raw[i] = (uint8_t)bench_random(&seed);
}

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static void encode(void)
{
	for (size_t i = 0, o = 0; i < RAW; i += 3, o += 4) {
		uint32_t group = (uint32_t)raw[i] << 16 | (uint32_t)raw[i + 1] << 8 | raw[i + 2];

		for (size_t k = 0; k < 4; k++)
			encoded[o + k] = alphabet[group >> (18 - 6 * k) & 63];
	}
}

static void decode(const uint8_t values[256])
{
	for (size_t i = 0, o = 0; i < sizeof encoded; i += 4, o += 3) {
		uint32_t group = 0;

		for (size_t k = 0; k < 4; k++)
			group = group << 6 | values[(uint8_t)encoded[i + k]];
		back[o] = (uint8_t)(group >> 16);
		back[o + 1] = (uint8_t)(group >> 8);
		back[o + 2] = (uint8_t)group;
	}
}

static uint64_t base64_run(void)
{
	uint8_t values[256] = {0};
	uint64_t sum = 0;

	for (uint8_t i = 0; i < 64; i++)
		values[(uint8_t)alphabet[i]] = i;
	for (size_t round = 0; round < 400; round++) {
		encode();
		decode(values);
		raw[round] = (uint8_t)(back[round] + 1);
		sum = bench_mix(sum, (uint8_t)encoded[round * 64] + (memcmp(raw, back, RAW) ? 1u : 0u));
	}
	return sum + (uint8_t)encoded[77];
}

static char utf8[200000];
static size_t utf8_size;

static void utf8_prepare(void)
{
	uint64_t seed = 17;

	while (utf8_size < sizeof utf8 - 4) {
		uint32_t number = bench_random(&seed), code = number % 4 ? 'a' + number % 26 : number % 0xd000;
		char *to = utf8 + utf8_size;

		if (code < 0x80) {
			to[0] = (char)code;
			utf8_size += 1;
		} else if (code < 0x800) {
			to[0] = (char)(0xc0 | code >> 6);
			to[1] = (char)(0x80 | (code & 63));
			utf8_size += 2;
		} else {
			to[0] = (char)(0xe0 | code >> 12);
			to[1] = (char)(0x80 | (code >> 6 & 63));
			to[2] = (char)(0x80 | (code & 63));
			utf8_size += 3;
		}
	}
}

static uint64_t utf8_run(void)
{
	uint64_t sum = 0, count = 0;

	for (int round = 0; round < 100; round++) {
		const uint8_t *at = (const uint8_t *)utf8, *end = at + utf8_size;

		while (at < end) {
			uint32_t code = *at++;

			if (code >= 0xe0) {
				code = (code & 15) << 12 | (at[0] & 63u) << 6 | (at[1] & 63u);
				at += 2;
			} else if (code >= 0xc0) {
				code = (code & 31) << 6 | (at[0] & 63u);
				at++;
			}
			sum = sum * 31 + code;
			count++;
		}
	}
	return bench_mix(sum, count);
}

const struct bench benches_text[] = {
	{"structs", NULL, structs_run},
	{"base64", base64_prepare, base64_run},
	{"utf8", utf8_prepare, utf8_run},
	{NULL, NULL, NULL},
};
