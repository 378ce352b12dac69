#include "machine/keys.h"

enum { CTRL_A = 0x01 };

const char keys_help[] = "\r\n"
			 "Ctrl-A x  switch the machine off and leave\r\n"
			 "Ctrl-A h  show this\r\n"
			 "Ctrl-A a  send Ctrl-A to the guest; Ctrl-A Ctrl-A does, too\r\n";

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
		return KEYS_LEAVE;
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
