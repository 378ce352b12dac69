/* Documents, a line of JSON each on standard input: for each prints "taken", or the first complaint. For config-schema.py. */
#include <stdio.h>
#include <stdlib.h>

#include "cli/machine_document.h"

int main(void)
{
	char *line = NULL;
	size_t room = 0;
	ssize_t length;

	while ((length = getline(&line, &room, stdin)) > 0) {
		struct arguments arguments;
		struct error e = {.message = ""};

		if (machine_document_read(line, (size_t)length, "document", &arguments, NULL, &e) == 0) {
			puts("taken");
			arguments_finish(&arguments);
		} else {
			puts(e.message);
		}
	}
	free(line);
	return 0;
}
