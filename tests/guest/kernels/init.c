/* The only program of a guest whose kernel is tried (tests/guest/compressions.sh): it tells by the serial port that it runs, and
 * ends the machine with status 33 by the debug exit port. It needs no device node and no driver. */
#include <stddef.h>
#include <stdint.h>
#include <sys/io.h>
#include <unistd.h>

#define COM1       0x3f8
#define DEBUG_EXIT 0xf4

int main(void)
{
	static const char text[] = "user space\n";

	if (iopl(3) < 0)
		return 1;
	for (size_t i = 0; text[i]; i++) {
		while (!(inb(COM1 + 5) & 0x20))
			continue;
		outb((uint8_t)text[i], COM1);
	}
	outb(0x10, DEBUG_EXIT);
	for (;;)
		pause();
}
