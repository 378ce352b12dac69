#include "tls/library.h"

#include "base/library.h"

#define FILE_NAME "libgnutls.so.30"
#define CALL(name) {"gnutls_" #name, offsetof(struct gnutls, name)},

static const struct library_call calls[] = {GNUTLS_CALLS(CALL)};

struct gnutls gnutls;

static struct library library = {
	.file = FILE_NAME,
	.package = "libgnutls30",
	.calls = calls,
	.count = ARRAY_SIZE(calls),
	.pointers = &gnutls,
};

int gnutls_load(struct error *e)
{
	return library_load(&library, e);
}
