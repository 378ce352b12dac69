#include "migrate/pack.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

/* A link that is worth compressing for is slower than this level. */
#define LEVEL       1
#define METHOD_ZSTD 1

struct head {
	le32_t method, length;
};

/* ---- The source ---- */

/* Before it was tried: what a processor of some years ago does with half empty pages. */
#define PACK_PS_FIRST 3000
#define KEPT_FIRST    500
/* A frame in so many is tried though it does not seem to be worth it: the next pages may be others. */
#define TRY_AGAIN 32

struct packer {
	ZSTD_CCtx *context;
	enum pack_when when;
	/* Averages of the last few frames: picoseconds a byte, of sending what is sent and of compressing what there is; of 1000
	 * bytes so many are left. */
	uint64_t send_ps, pack_ps, kept;
	unsigned untried;
	uint8_t out[sizeof(struct head) + STREAM_DATA_MAX];
};

int packer_new(struct packer **out, enum pack_when when, struct error *e)
{
	struct packer *packer = malloc(sizeof *packer);

	if (packer)
		*packer = (struct packer){.context = ZSTD_createCCtx(), .when = when, .pack_ps = PACK_PS_FIRST, .kept = KEPT_FIRST};
	if (!packer || !packer->context) {
		free(packer);
		return error_errno(e, -ENOMEM, "compressing pages");
	}
	(void)ZSTD_CCtx_setParameter(packer->context, ZSTD_c_compressionLevel, LEVEL);
	*out = packer;
	return 0;
}

void packer_free(struct packer *packer)
{
	if (packer)
		ZSTD_freeCCtx(packer->context);
	free(packer);
}

bool packer_shall(struct packer *packer)
{
	/* Twice, as the guest has other uses for a processor. */
	bool worth = 2 * packer->pack_ps + packer->send_ps * packer->kept / 1000 < packer->send_ps;

	if (packer->when == PACK_ALWAYS || worth)
		return true;
	/* Over a link that is faster than any compressing there is nothing to be found out. */
	if (packer->send_ps < packer->pack_ps || ++packer->untried < TRY_AGAIN)
		return false;
	packer->untried = 0;
	return true;
}

static void lean(uint64_t *average, uint64_t value)
{
	*average = *average - *average / 4 + value / 4;
}

void packer_weigh(struct packer *packer, size_t whole, size_t sent, uint64_t pack_ns, uint64_t send_ns)
{
	if (sent)
		lean(&packer->send_ps, send_ns * 1000 / sent);
	if (!pack_ns || !whole)
		return;
	lean(&packer->pack_ps, pack_ns * 1000 / whole);
	lean(&packer->kept, sent * 1000 / whole);
}

static size_t sum_of(const struct iovec *parts, unsigned count)
{
	size_t sum = 0;

	for (unsigned i = 0; i < count; i++)
		sum += parts[i].iov_len;
	return sum;
}

size_t packer_pack(struct packer *packer, const struct iovec *parts, unsigned count, const uint8_t **out)
{
	size_t whole = sum_of(parts, count);
	const struct head head = {le32_put(METHOD_ZSTD), le32_put((uint32_t)whole)};
	/* What does not become shorter does not fit, and is sent as it is. */
	ZSTD_outBuffer to = {packer->out + sizeof head, whole > sizeof head ? whole - sizeof head : 0, 0};
	size_t left = 0;

	(void)ZSTD_CCtx_reset(packer->context, ZSTD_reset_session_only);
	for (unsigned i = 0; i < count; i++) {
		ZSTD_inBuffer from = {parts[i].iov_base, parts[i].iov_len, 0};

		left = ZSTD_compressStream2(packer->context, &to, &from, i + 1 < count ? ZSTD_e_continue : ZSTD_e_end);
		if (ZSTD_isError(left) || from.pos < from.size)
			return 0;
	}
	if (left != 0)
		return 0;
	memcpy(packer->out, &head, sizeof head);
	*out = packer->out;
	return sizeof head + to.pos;
}

/* ---- The destination ---- */

static int refuse(struct error *e, const char *what, unsigned long long value)
{
	return error_set(e, ERROR_FAILED, -EPROTO, "compressed pages came wrong: %s (%llu)", what, value);
}

static int prepare(struct unpacker *unpacker)
{
	if (!unpacker->context)
		unpacker->context = ZSTD_createDCtx();
	if (!unpacker->room)
		unpacker->room = malloc(STREAM_DATA_MAX);
	return unpacker->context && unpacker->room ? 0 : -ENOMEM;
}

int unpacker_open(struct unpacker *unpacker, struct stream_frame *frame, struct error *e)
{
	struct head head;
	size_t length, found;

	if (frame->kind != STREAM_PACKED)
		return 0;
	memcpy(&head, frame->bytes, sizeof head);
	length = le32_get(head.length);
	if (le32_get(head.method) != METHOD_ZSTD)
		return refuse(e, "by an unknown method", le32_get(head.method));
	if (length == 0 || length > STREAM_DATA_MAX)
		return refuse(e, "their length", length);
	if (prepare(unpacker) < 0)
		return error_errno(e, -ENOMEM, "decompressing pages");
	found = ZSTD_decompressDCtx(unpacker->context, unpacker->room, length, frame->bytes + sizeof head,
				    frame->length - sizeof head);
	if (ZSTD_isError(found) || found != length)
		return refuse(e, "they are damaged", frame->length);
	*frame = (struct stream_frame){STREAM_PAGES, unpacker->room, length};
	return 0;
}

int unpacker_receive(struct unpacker *unpacker, struct stream *stream, int timeout_ms, struct stream_frame *out,
		     struct error *e)
{
	int r = stream_receive(stream, timeout_ms, out, e);

	return r < 0 ? r : unpacker_open(unpacker, out, e);
}

void unpacker_finish(struct unpacker *unpacker)
{
	ZSTD_freeDCtx(unpacker->context);
	free(unpacker->room);
	*unpacker = (struct unpacker){.context = NULL};
}
