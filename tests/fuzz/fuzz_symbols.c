/* A file of symbols, ELF or text: whatever it holds, what is found in it is in order and has a name. */
#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cli/symbols.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int fd = memfd_create("symbols", MFD_CLOEXEC);
	struct symbols *symbols;
	char path[40];

	assert(fd >= 0);
	if (write(fd, data, size) == (ssize_t)size) {
		snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
		if (symbols_read(&symbols, path, NULL) == 0) {
			for (unsigned shift = 0; shift < 64; shift++) {
				uint64_t address = UINT64_MAX >> shift & ~UINT64_C(15);
				const struct symbol *found = symbols_find(symbols, address, 16);

				assert(!found || (found->address <= address + 15 && strlen(found->name) <= size));
			}
			symbols_free(symbols);
		}
	}
	close(fd);
	return 0;
}
