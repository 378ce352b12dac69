#include "base/library.h"

#include <dlfcn.h>
#include <errno.h>
#include <string.h>

static int refuse(const struct library *library, struct error *e)
{
	const char *why = dlerror();

	return error_set(e, ERROR_FAILED, -ENOSYS, "%s can not be used: %s; install %s", library->file, why ? why : "it lacks a function",
			 library->package);
}

int library_load(struct library *library, struct error *e)
{
	void *handle;

	if (library->loaded)
		return 0;
	handle = dlopen(library->file, RTLD_NOW | RTLD_LOCAL);
	if (!handle)
		return refuse(library, e);
	for (size_t i = 0; i < library->count; i++) {
		void *address = dlsym(handle, library->calls[i].name);

		if (!address)
			return refuse(library, e);
		memcpy((char *)library->pointers + library->calls[i].offset, &address, sizeof address);
	}
	library->loaded = true;
	return 0;
}
