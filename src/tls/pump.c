/* What goes in at one end of a relay comes out at the other. */
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "tls/private.h"

#define PIECE     (64 * KIB)
/* When the near end is closed: what was sent has so long to get there, and the other side to say that it has ended, too. A
 * connection that is closed with bytes in it that nobody has read is reset, which would take back what was sent last. */
#define LINGER_NS UINT64_C(10000000000)
/* RFC 8446, 5.5: one key of AES-GCM is good for 2^24.5 records. */
#define RECORDS_A_KEY (UINT64_C(1) << 22)

struct buffer {
	uint8_t bytes[PIECE];
	size_t from, to;
};

struct pump {
	gnutls_session_t session;
	int wire, plain;
	struct buffer out, in;          /* to the wire, from it */
	bool plain_ended, wire_ended;   /* nothing more comes from there */
	bool plain_closed;              /* nobody reads there any more */
	bool said_goodbye, broken;
	uint64_t records, deadline;
};

static size_t waits(const struct buffer *buffer)
{
	return buffer->to - buffer->from;
}

static void fill(struct buffer *buffer, ssize_t n)
{
	buffer->from = 0;
	buffer->to = n > 0 ? (size_t)n : 0;
}

/* Nothing more goes to the wire; what came from it still is the near end's, if it takes it soon. */
static void cut(struct pump *p)
{
	p->broken = p->wire_ended = p->plain_ended = true;
	fill(&p->out, 0);
	p->deadline = clock_host_ns() + LINGER_NS;
}

static bool again(ssize_t code)
{
	return code == GNUTLS_E_AGAIN || code == GNUTLS_E_INTERRUPTED;
}

static void read_plain(struct pump *p)
{
	ssize_t n;

	if (waits(&p->out) || p->plain_ended)
		return;
	n = recv(p->plain, p->out.bytes, sizeof p->out.bytes, MSG_DONTWAIT);
	fill(&p->out, n);
	if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)))
		return;
	p->plain_ended = true;
	p->deadline = clock_host_ns() + LINGER_NS;
}

static void write_wire(struct pump *p)
{
	while (waits(&p->out)) {
		/* After GNUTLS_E_AGAIN the same bytes have to be given once more, as they are. */
		ssize_t n = gnutls.record_send(p->session, p->out.bytes + p->out.from, waits(&p->out));

		if (again(n))
			return;
		if (n > 0)
			p->out.from += (size_t)n;
		if (n < 0 || (++p->records % RECORDS_A_KEY == 0 && gnutls.session_key_update(p->session, 0) < 0))
			cut(p);
	}
	if (p->plain_ended && !p->said_goodbye && !p->broken)
		p->said_goodbye = !again(gnutls.bye(p->session, GNUTLS_SHUT_WR));
}

/* An alert, a truncation and a record that was tampered with are all the same: the link is cut. */
static void read_wire(struct pump *p)
{
	ssize_t n;

	if (waits(&p->in) || p->wire_ended)
		return;
	do
		n = gnutls.record_recv(p->session, p->in.bytes, sizeof p->in.bytes);
	while (n < 0 && !again(n) && !gnutls.error_is_fatal((int)n));
	fill(&p->in, n);
	if (n == 0)
		p->wire_ended = true;
	else if (n < 0 && !again(n))
		cut(p);
}

static void write_plain(struct pump *p)
{
	while (waits(&p->in) && !p->plain_closed) {
		ssize_t n = send(p->plain, p->in.bytes + p->in.from, waits(&p->in), MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EAGAIN)
			return;
		if (n > 0)
			p->in.from += (size_t)n;
		else if (errno != EINTR)
			p->plain_closed = true;
	}
	if (p->plain_closed)
		fill(&p->in, 0);
	if (p->wire_ended && !p->plain_closed) {
		shutdown(p->plain, SHUT_WR);
		p->plain_closed = true;
	}
}

static bool await(const struct pump *p)
{
	uint64_t now = clock_host_ns();
	struct pollfd fds[2] = {{.fd = p->wire}, {.fd = p->plain}};

	if (p->deadline && now >= p->deadline)
		return false;
	fds[0].events = (short)((!waits(&p->in) && !p->wire_ended ? POLLIN : 0) |
				(waits(&p->out) || (p->plain_ended && !p->said_goodbye) ? POLLOUT : 0));
	fds[1].events = (short)((!waits(&p->out) && !p->plain_ended ? POLLIN : 0) | (waits(&p->in) ? POLLOUT : 0));
	/* Errors and ends are told whether they are asked for or not. */
	for (int i = 0; i < 2; i++)
		if (!fds[i].events)
			fds[i].fd = -1;
	if (gnutls.record_check_pending(p->session) && !waits(&p->in))
		return true;
	return poll(fds, 2, p->deadline ? (int)((p->deadline - now) / NS_PER_MS + 1) : -1) >= 0 || errno == EINTR;
}

static bool over(const struct pump *p)
{
	if (p->broken)
		return !waits(&p->in);
	return p->wire_ended && p->plain_ended && p->said_goodbye && !waits(&p->in) && !waits(&p->out);
}

int tls_pump(gnutls_session_t session, int wire, int plain)
{
	static struct pump pump;

	pump = (struct pump){.session = session, .wire = wire, .plain = plain};
	do {
		read_plain(&pump);
		write_wire(&pump);
		read_wire(&pump);
		write_plain(&pump);
	} while (!over(&pump) && await(&pump));
	return pump.broken;
}
