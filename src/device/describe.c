#include "device/describe.h"

#include <errno.h>
#include <libfdt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NODE_NAME_MAX 64

/* Keeps the first failure of the writer. */
static void keep(struct fdt_writer *w, int result)
{
	if (result < 0 && !w->failed)
		w->failed = result;
}

int fdt_writer_init(struct fdt_writer *w, int room, struct error *e)
{
	void *blob = calloc(1, room > 0 ? (size_t)room : 1);

	if (!blob)
		return error_errno(e, -ENOMEM, "device tree of %d bytes", room);
	*w = (struct fdt_writer){.blob = blob, .room = room, .next_phandle = FDT_FIRST_PHANDLE};
	keep(w, fdt_create(blob, room));
	if (!w->failed)
		keep(w, fdt_finish_reservemap(blob));
	fdt_node(w, "%s", "");
	return 0;
}

int fdt_writer_finish(struct fdt_writer *w, void **blob, size_t *size, struct error *e)
{
	int failed, code;

	fdt_end(w);
	if (w->depth)
		keep(w, -FDT_ERR_BADSTRUCTURE);
	if (!w->failed)
		keep(w, fdt_finish(w->blob));
	failed = w->failed;
	if (failed) {
		fdt_writer_discard(w);
		code = failed == -FDT_ERR_NOSPACE ? -ENOSPC : -EINVAL;
		return error_set(e, ERROR_FAILED, code, "device tree of at most %d bytes: %s", w->room,
				 fdt_strerror(failed));
	}
	*size = fdt_totalsize(w->blob);
	*blob = w->blob;
	w->blob = NULL;
	return 0;
}

void fdt_writer_discard(struct fdt_writer *w)
{
	free(w->blob);
	w->blob = NULL;
	if (!w->failed)
		w->failed = -FDT_ERR_BADSTATE;
}

void fdt_node(struct fdt_writer *w, const char *format, ...)
{
	char name[NODE_NAME_MAX];
	va_list arguments;
	int length;

	va_start(arguments, format);
	length = vsnprintf(name, sizeof name, format, arguments);
	va_end(arguments);
	if (length < 0 || (size_t)length >= sizeof name)
		keep(w, -FDT_ERR_BADVALUE);
	if (!w->failed)
		keep(w, fdt_begin_node(w->blob, name));
	w->depth++;
}

void fdt_end(struct fdt_writer *w)
{
	if (!w->failed)
		keep(w, fdt_end_node(w->blob));
	w->depth--;
}

void fdt_bytes(struct fdt_writer *w, const char *name, const void *bytes, size_t length)
{
	if (length > (size_t)w->room)
		keep(w, -FDT_ERR_NOSPACE);
	if (!w->failed)
		keep(w, fdt_property(w->blob, name, bytes, (int)length));
}

void fdt_text(struct fdt_writer *w, const char *name, const char *value)
{
	fdt_bytes(w, name, value, strlen(value) + 1);
}

void fdt_texts(struct fdt_writer *w, const char *name, const char *const *values)
{
	char joined[256];
	size_t used = 0;

	for (; *values; values++) {
		size_t length = strlen(*values) + 1;

		if (length > sizeof joined - used) {
			keep(w, -FDT_ERR_BADVALUE);
			return;
		}
		memcpy(joined + used, *values, length);
		used += length;
	}
	fdt_bytes(w, name, joined, used);
}

void fdt_empty(struct fdt_writer *w, const char *name)
{
	fdt_bytes(w, name, "", 0);
}

void fdt_u32(struct fdt_writer *w, const char *name, uint32_t value)
{
	fdt_cells(w, name, &value, 1);
}

void fdt_u64(struct fdt_writer *w, const char *name, uint64_t value)
{
	const uint32_t cells[] = {(uint32_t)(value >> 32), (uint32_t)value};

	fdt_cells(w, name, cells, ARRAY_SIZE(cells));
}

void fdt_cells(struct fdt_writer *w, const char *name, const uint32_t *cells, unsigned count)
{
	void *out;

	if (count > (unsigned)w->room / sizeof(uint32_t))
		keep(w, -FDT_ERR_NOSPACE);
	if (w->failed)
		return;
	keep(w, fdt_property_placeholder(w->blob, name, (int)(count * sizeof(uint32_t)), &out));
	for (unsigned i = 0; !w->failed && i < count; i++)
		fdt32_st((uint8_t *)out + i * sizeof(uint32_t), cells[i]);
}

void fdt_reg(struct fdt_writer *w, gpa_t base, uint64_t size)
{
	const uint32_t cells[] = {(uint32_t)(base.value >> 32), (uint32_t)base.value,
				  (uint32_t)(size >> 32), (uint32_t)size};

	fdt_cells(w, "reg", cells, ARRAY_SIZE(cells));
}

void fdt_interrupt(struct fdt_writer *w, unsigned source)
{
	if (!w->plic_phandle)
		return;
	fdt_u32(w, "interrupt-parent", w->plic_phandle);
	fdt_u32(w, "interrupts", source);
}

uint32_t fdt_new_phandle(struct fdt_writer *w)
{
	return w->next_phandle++;
}
