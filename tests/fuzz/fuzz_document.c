/* Documents of machines: whatever is taken comes back the same when it is written and read again, and runs through the
 * parser of arguments. Whatever is refused has at least one complaint. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cli/machine_document.h"
#include "cli/run_options.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* NULL when no document can hold them. */
static char *written(const struct settings *settings)
{
	struct error e;
	char *text = NULL;

	if (document_write(&machine_kind, settings, &text, &e) < 0)
		return NULL;
	return text;
}

static void read_again(const char *text)
{
	struct complaints complaints = {.source = "again"};
	struct settings settings = {.list = NULL};
	char *again;

	if (document_read(&machine_kind, text, strlen(text), "/", true, &settings, &complaints) < 0)
		abort();
	again = written(&settings);
	if (!again || strcmp(again, text) != 0)
		abort();
	free(again);
	settings_finish(&settings);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct complaints complaints = {.source = "fuzz"};
	struct settings settings = {.list = NULL};
	struct arguments arguments;
	struct error e;
	char *text;
	int r = document_read(&machine_kind, data, size, "/srv", true, &settings, &complaints);

	if (r < 0) {
		if (complaints.count == 0 || complaints_conclude(&complaints, &e) >= 0)
			abort();
		return 0;
	}
	if (machine_arguments(&settings, &arguments, &e) < 0)
		abort();
	text = written(&settings);
	if (!text)
		abort();
	read_again(text);
	free(text);
	arguments_finish(&arguments);
	settings_finish(&settings);
	return 0;
}
