#include "board/isa.h"

#include <assert.h>
#include <string.h>

/* In the order of the ISA manual: single letters, then Z by the letter it extends, then S. */
static const struct {
	const char *name;
	bool firmware_only;
} extensions[] = {
	{"i", false},        {"m", false},        {"a", false},           {"f", false},      {"d", false},
	{"c", false},        {"zicbom", false},   {"zicboz", false},      {"zicntr", false}, {"zicond", false},
	{"zicsr", false},    {"zifencei", false}, {"zihintpause", false}, {"zfh", false},    {"zfhmin", false},
	{"zba", false},      {"zbb", false},      {"zbc", false},         {"zbs", false},    {"sstc", false},
	/* Svadu alone says that hardware updates A and D from the start, as the monitor's SBI leaves it. Both say
	 * that it does not yet, because menvcfg.ADUE is the firmware's. */
	{"svade", true},     {"svadu", false},    {"svinval", false},     {"svnapot", false}, {"svpbmt", false},
};

static size_t append(char *text, size_t used, const char *piece)
{
	size_t length = strlen(piece);

	assert(used + length < ISA_TEXT_ROOM);
	memcpy(text + used, piece, length + 1);
	return used + length;
}

void isa_string(char text[ISA_TEXT_ROOM], bool firmware)
{
	size_t used = append(text, 0, "rv64");

	for (size_t i = 0; i < ARRAY_SIZE(extensions); i++) {
		if (extensions[i].firmware_only && !firmware)
			continue;
		if (extensions[i].name[1])
			used = append(text, used, "_");
		used = append(text, used, extensions[i].name);
	}
}

size_t isa_list(char text[ISA_TEXT_ROOM], bool firmware)
{
	size_t used = 0;

	for (size_t i = 0; i < ARRAY_SIZE(extensions); i++)
		if (firmware || !extensions[i].firmware_only)
			used = append(text, used, extensions[i].name) + 1;
	return used;
}
