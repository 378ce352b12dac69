#include "board/program.h"

void program_finish(struct program *program)
{
	blob_finish(&program->blob);
	program->count = 0;
}

void program_single(struct program *program, const char *form, struct blob *blob, uint64_t memory_bytes)
{
	*program = (struct program){.blob = *blob, .form = form, .count = 1, .movable = true};
	program->segments[0] = (struct program_segment){.file_bytes = blob->length, .memory_bytes = memory_bytes};
	*blob = (struct blob){0};
}

void program_move(struct program *program, uint64_t address)
{
	for (unsigned i = 0; i < program->count; i++)
		program->segments[i].address += address;
	program->entry += address;
	program->movable = false;
}

void program_span(const struct program *program, uint64_t *start, uint64_t *end)
{
	uint64_t low = UINT64_MAX, high = 0;

	for (unsigned i = 0; i < program->count; i++) {
		const struct program_segment *s = &program->segments[i];

		low = s->address < low ? s->address : low;
		high = s->address + s->memory_bytes > high ? s->address + s->memory_bytes : high;
	}
	*start = low;
	*end = high;
}

int program_write(const struct program *program, struct memory *memory)
{
	for (unsigned i = 0; i < program->count; i++) {
		const struct program_segment *s = &program->segments[i];
		int r = blob_place(&program->blob, s->offset, s->file_bytes, memory, gpa(s->address));

		if (r < 0)
			return r;
	}
	return 0;
}
