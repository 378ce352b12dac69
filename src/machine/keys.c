#include "machine/keys.h"

enum { CTRL_A = 0x01 };

#define COMMON_HELP                                                                                                    \
	"Ctrl-A h  show this\r\n"                                                                                      \
	"Ctrl-A a  send Ctrl-A to the guest; Ctrl-A Ctrl-A does, too\r\n"

const char keys_help_here[] = "\r\nCtrl-A x  switch the machine off and leave\r\n" COMMON_HELP;
const char keys_help_attached[] = "\r\nCtrl-A d  leave; the machine goes on\r\n" COMMON_HELP;

enum keys_meaning keys_next(struct keys *keys, uint8_t *byte)
{
	if (!keys->prefixed) {
		keys->prefixed = *byte == CTRL_A;
		return keys->prefixed ? KEYS_EATEN : KEYS_GUEST;
	}
	keys->prefixed = false;
	switch (*byte) {
	case 'x':
	case 'X':
		return keys->attached ? KEYS_EATEN : KEYS_LEAVE;
	case 'd':
	case 'D':
		return keys->attached ? KEYS_DETACH : KEYS_EATEN;
	case 'h':
	case 'H':
	case '?':
		return KEYS_HELP;
	case 'a':
	case 'A':
	case CTRL_A:
		*byte = CTRL_A;
		return KEYS_GUEST;
	default:
		return KEYS_EATEN;
	}
}
