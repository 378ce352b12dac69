/*
 * National Semiconductor 16550A (data sheet PC16550D, sections 8.1 to 8.7).
 *
 * Transmission takes no time: a byte written to THR goes to the sink at once, so THRE and TEMT always read 1
 * and the THRE interrupt comes back with each byte. Reception: `fifo` is what the guest sees; `wire` holds what
 * the host has sent and the FIFO has no room for. Time is not modelled: a character timeout is due as soon as
 * the FIFO holds less than its trigger level.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "device/describe.h"
#include "device/devices.h"

#define WINDOW_SIZE 0x100
#define CLOCK_RATE  3686400 /* of the baud generator; any will do, the virt machine's is kept */
#define FIFO_SIZE   16

enum { RBR_THR_DLL, IER_DLM, IIR_FCR, LCR, MCR, LSR, MSR, SCR };

enum { IER_RECEIVE = 0x01, IER_TRANSMIT = 0x02, IER_LINE = 0x04, IER_MODEM = 0x08, IER_MASK = 0x0f };
enum {
	IIR_MODEM = 0x00,
	IIR_NONE = 0x01,
	IIR_TRANSMIT = 0x02,
	IIR_RECEIVE = 0x04,
	IIR_LINE = 0x06,
	IIR_TIMEOUT = 0x0c,
	IIR_FIFOS = 0xc0,
};
enum { FCR_ENABLE = 0x01, FCR_CLEAR_RECEIVE = 0x02, FCR_KEPT = 0xc9 };
enum { LCR_DLAB = 0x80 };
enum { MCR_DTR = 0x01, MCR_RTS = 0x02, MCR_OUT1 = 0x04, MCR_OUT2 = 0x08, MCR_LOOP = 0x10, MCR_MASK = 0x1f };
enum { LSR_READY = 0x01, LSR_OVERRUN = 0x02, LSR_TRANSMIT_EMPTY = 0x60 };
enum { MSR_CTS = 0x10, MSR_DSR = 0x20, MSR_RI = 0x40, MSR_DCD = 0x80, MSR_DELTAS = 0x0f };

struct uart {
	struct device device;
	struct irq_line irq;
	struct serial_sink sink;
	void (*room)(void *opaque);
	void *room_opaque;
	bool refused; /* a receive took less than it was offered; room will be told */
	bool level;   /* what the wire was last driven to */

	uint8_t ier, fcr, lcr, mcr, scr, dll, dlm;
	uint8_t overrun;    /* LSR_OVERRUN or 0 */
	uint8_t msr_deltas; /* low four bits of MSR */
	bool thre_pending;  /* the transmitter became empty and IIR was not read since */
	uint8_t fifo[FIFO_SIZE];
	uint8_t wire[UART16550_INPUT_MAX];
	uint16_t fifo_count, wire_count;
};

static uint16_t fifo_capacity(const struct uart *uart)
{
	return uart->fcr & FCR_ENABLE ? FIFO_SIZE : 1;
}

static uint16_t trigger_level(const struct uart *uart)
{
	static const uint8_t levels[] = {1, 4, 8, 14};

	return uart->fcr & FCR_ENABLE ? levels[uart->fcr >> 6] : 1;
}

/* The identification of the highest-priority interrupt (table IV of the data sheet). */
static uint8_t interrupt_cause(const struct uart *uart)
{
	if ((uart->ier & IER_LINE) && uart->overrun)
		return IIR_LINE;
	if ((uart->ier & IER_RECEIVE) && uart->fifo_count)
		return uart->fifo_count >= trigger_level(uart) ? IIR_RECEIVE : IIR_TIMEOUT;
	if ((uart->ier & IER_TRANSMIT) && uart->thre_pending)
		return IIR_TRANSMIT;
	if ((uart->ier & IER_MODEM) && uart->msr_deltas)
		return IIR_MODEM;
	return IIR_NONE;
}

static void drive(struct uart *uart)
{
	bool level = interrupt_cause(uart) != IIR_NONE;

	if (level == uart->level)
		return;
	uart->level = level;
	irq_set(&uart->irq, level);
}

static void tell_room(struct uart *uart)
{
	if (!uart->refused || uart->wire_count > UART16550_INPUT_MAX / 2)
		return;
	uart->refused = false;
	if (uart->room)
		uart->room(uart->room_opaque);
}

/* Moves up to `room` bytes out of the front of a queue of *count bytes. */
static uint16_t take(uint8_t *queue, uint16_t *count, uint8_t *bytes, size_t room)
{
	uint16_t taken = room < *count ? (uint16_t)room : *count;

	memcpy(bytes, queue, taken);
	*count = (uint16_t)(*count - taken);
	memmove(queue, queue + taken, *count);
	memset(queue + *count, 0, taken); /* what was typed does not linger in a snapshot */
	return taken;
}

static void clear(uint8_t *queue, uint16_t *count)
{
	memset(queue, 0, *count);
	*count = 0;
}

/* Lets waiting bytes into the FIFO. In loopback the serial input is disconnected. */
static void refill(struct uart *uart)
{
	uint16_t capacity = fifo_capacity(uart);

	if (uart->fifo_count >= capacity || !uart->wire_count || (uart->mcr & MCR_LOOP))
		return;
	uart->fifo_count = (uint16_t)(uart->fifo_count + take(uart->wire, &uart->wire_count,
							       uart->fifo + uart->fifo_count,
							       (size_t)(capacity - uart->fifo_count)));
	tell_room(uart);
}

static uint8_t rbr_read(struct uart *uart)
{
	uint8_t byte = 0;

	take(uart->fifo, &uart->fifo_count, &byte, 1);
	refill(uart);
	return byte;
}

/* On overrun a full FIFO keeps what it has; without FIFOs the newer byte replaces the older. */
static void loop_back(struct uart *uart, uint8_t byte)
{
	if (uart->fifo_count < fifo_capacity(uart)) {
		uart->fifo[uart->fifo_count++] = byte;
		return;
	}
	uart->overrun = LSR_OVERRUN;
	if (!(uart->fcr & FCR_ENABLE))
		uart->fifo[0] = byte;
}

static void thr_write(struct uart *uart, uint8_t byte)
{
	if (uart->mcr & MCR_LOOP)
		loop_back(uart, byte);
	else if (uart->sink.write)
		uart->sink.write(uart->sink.console, &byte, 1);
	uart->thre_pending = true;
}

static void ier_write(struct uart *uart, uint8_t value)
{
	if (value & ~uart->ier & IER_TRANSMIT)
		uart->thre_pending = true;
	uart->ier = value & IER_MASK;
}

static uint8_t iir_read(struct uart *uart)
{
	uint8_t cause = interrupt_cause(uart);

	if (cause == IIR_TRANSMIT)
		uart->thre_pending = false;
	return uart->fcr & FCR_ENABLE ? cause | IIR_FIFOS : cause;
}

static void fcr_write(struct uart *uart, uint8_t value)
{
	if (((value ^ uart->fcr) & FCR_ENABLE) || (value & FCR_ENABLE && value & FCR_CLEAR_RECEIVE))
		clear(uart->fifo, &uart->fifo_count);
	uart->fcr = value & FCR_ENABLE ? value & FCR_KEPT : 0;
	refill(uart);
}

/* The modem inputs: of an attached peer that is always ready, or in loopback the own outputs. */
static uint8_t modem_inputs(uint8_t mcr)
{
	static const struct {
		uint8_t output, input;
	} loops[] = {{MCR_DTR, MSR_DSR}, {MCR_RTS, MSR_CTS}, {MCR_OUT1, MSR_RI}, {MCR_OUT2, MSR_DCD}};
	uint8_t inputs = 0;

	if (!(mcr & MCR_LOOP))
		return MSR_CTS | MSR_DSR | MSR_DCD;
	for (size_t i = 0; i < ARRAY_SIZE(loops); i++)
		if (mcr & loops[i].output)
			inputs |= loops[i].input;
	return inputs;
}

/* A delta bit reports a change of its input; the one of RI only the end of a ring. */
static void mcr_write(struct uart *uart, uint8_t value)
{
	uint8_t before = modem_inputs(uart->mcr), after = modem_inputs(value);
	uint8_t changed = before ^ after;

	if (after & MSR_RI)
		changed &= (uint8_t)~MSR_RI;
	uart->msr_deltas |= changed >> 4;
	uart->mcr = value & MCR_MASK;
	refill(uart);
}

static uint8_t lsr_read(struct uart *uart)
{
	uint8_t value = LSR_TRANSMIT_EMPTY | uart->overrun;

	uart->overrun = 0;
	return uart->fifo_count ? value | LSR_READY : value;
}

static uint8_t msr_read(struct uart *uart)
{
	uint8_t value = modem_inputs(uart->mcr) | uart->msr_deltas;

	uart->msr_deltas = 0;
	return value;
}

static uint8_t register_read(struct uart *uart, uint64_t offset)
{
	bool dlab = uart->lcr & LCR_DLAB;

	switch (offset) {
	case RBR_THR_DLL:
		return dlab ? uart->dll : rbr_read(uart);
	case IER_DLM:
		return dlab ? uart->dlm : uart->ier;
	case IIR_FCR:
		return iir_read(uart);
	case LCR:
		return uart->lcr;
	case MCR:
		return uart->mcr;
	case LSR:
		return lsr_read(uart);
	case MSR:
		return msr_read(uart);
	case SCR:
		return uart->scr;
	default:
		return 0;
	}
}

static void divisor_write(struct uart *uart, uint64_t offset, uint8_t value)
{
	if (offset == RBR_THR_DLL)
		uart->dll = value;
	else
		uart->dlm = value;
}

static void register_write(struct uart *uart, uint64_t offset, uint8_t value)
{
	switch (offset) {
	case RBR_THR_DLL:
		thr_write(uart, value);
		break;
	case IER_DLM:
		ier_write(uart, value);
		break;
	case IIR_FCR:
		fcr_write(uart, value);
		break;
	case LCR:
		uart->lcr = value;
		break;
	case MCR:
		mcr_write(uart, value);
		break;
	case SCR:
		uart->scr = value;
		break;
	default: /* LSR and MSR are not writable */
		break;
	}
}

/* Registers are bytes; a wider access reaches the one at its address. */
static uint64_t uart_read(void *device, uint64_t offset, unsigned size)
{
	struct uart *uart = device;
	uint64_t value = register_read(uart, offset);

	(void)size;
	drive(uart);
	return value;
}

static void uart_write(void *device, uint64_t offset, uint64_t value, unsigned size)
{
	struct uart *uart = device;

	(void)size;
	if ((uart->lcr & LCR_DLAB) && offset <= IER_DLM)
		divisor_write(uart, offset, (uint8_t)value);
	else
		register_write(uart, offset, (uint8_t)value);
	drive(uart);
}

size_t uart16550_receive(struct device *device, const uint8_t *bytes, size_t length)
{
	struct uart *uart = (struct uart *)device;
	size_t taken;

	pthread_mutex_lock(&device->lock);
	taken = UART16550_INPUT_MAX - (size_t)uart->wire_count;
	if (taken > length)
		taken = length;
	memcpy(uart->wire + uart->wire_count, bytes, taken);
	uart->wire_count = (uint16_t)(uart->wire_count + taken);
	refill(uart);
	uart->refused = taken < length;
	drive(uart);
	pthread_mutex_unlock(&device->lock);
	return taken;
}

void uart16550_on_room(struct device *device, void (*room)(void *opaque), void *opaque)
{
	struct uart *uart = (struct uart *)device;

	pthread_mutex_lock(&device->lock);
	uart->room = room;
	uart->room_opaque = opaque;
	pthread_mutex_unlock(&device->lock);
}

/* In loopback the FIFO holds the guest's own output, which is not input. */
size_t uart16550_take_input(struct device *device, uint8_t *bytes, size_t room)
{
	struct uart *uart = (struct uart *)device;
	size_t taken = 0;

	pthread_mutex_lock(&device->lock);
	if (!(uart->mcr & MCR_LOOP))
		taken = take(uart->fifo, &uart->fifo_count, bytes, room);
	taken += take(uart->wire, &uart->wire_count, bytes + taken, room - taken);
	refill(uart);
	tell_room(uart);
	drive(uart);
	pthread_mutex_unlock(&device->lock);
	return taken;
}

/* The wire is driven whatever it was last: the controller may have been reset or loaded, too. */
static void uart_loaded(struct device *device)
{
	struct uart *uart = (struct uart *)device;

	uart->level = interrupt_cause(uart) != IIR_NONE;
	irq_set(&uart->irq, uart->level);
	tell_room(uart);
}

static void uart_reset(struct device *device)
{
	struct uart *uart = (struct uart *)device;

	uart->ier = uart->fcr = uart->lcr = uart->mcr = uart->scr = uart->dll = uart->dlm = 0;
	uart->overrun = uart->msr_deltas = 0;
	uart->thre_pending = false;
	clear(uart->fifo, &uart->fifo_count);
	clear(uart->wire, &uart->wire_count);
	uart_loaded(device);
}

static int uart_validate(const void *shadow, struct error *e)
{
	const struct uart *uart = shadow;

	if (uart->fifo_count > fifo_capacity(uart) || uart->wire_count > UART16550_INPUT_MAX)
		return error_set(e, ERROR_USAGE, -EINVAL, "UART state: %u bytes in the FIFO and %u behind it",
				 uart->fifo_count, uart->wire_count);
	if ((uart->ier & ~IER_MASK) || (uart->mcr & ~MCR_MASK) || (uart->fcr & ~FCR_KEPT) ||
	    (uart->fcr && !(uart->fcr & FCR_ENABLE)) || (uart->overrun & ~LSR_OVERRUN) ||
	    (uart->msr_deltas & ~MSR_DELTAS))
		return error_set(e, ERROR_USAGE, -EINVAL, "UART state: impossible register contents");
	return 0;
}

static const struct state_field uart_fields[] = {
	STATE_FIELD(struct uart, ier, STATE_U8),
	STATE_FIELD(struct uart, fcr, STATE_U8),
	STATE_FIELD(struct uart, lcr, STATE_U8),
	STATE_FIELD(struct uart, mcr, STATE_U8),
	STATE_FIELD(struct uart, scr, STATE_U8),
	STATE_FIELD(struct uart, dll, STATE_U8),
	STATE_FIELD(struct uart, dlm, STATE_U8),
	STATE_FIELD(struct uart, overrun, STATE_U8),
	STATE_FIELD(struct uart, msr_deltas, STATE_U8),
	STATE_FIELD(struct uart, thre_pending, STATE_BOOL),
	STATE_FIELD(struct uart, fifo, STATE_U8),
	STATE_FIELD(struct uart, wire, STATE_U8),
	STATE_FIELD(struct uart, fifo_count, STATE_U16),
	STATE_FIELD(struct uart, wire_count, STATE_U16),
};

static const struct state_descriptor uart_state = {
	.kind = "uart16550",
	.version = 1,
	.oldest = 1,
	.object_size = sizeof(struct uart),
	.fields = uart_fields,
	.field_count = ARRAY_SIZE(uart_fields),
	.validate = uart_validate,
};

static void uart_describe(struct device *device, struct fdt_writer *fdt)
{
	fdt_node(fdt, "serial@%llx", (unsigned long long)device->base.value);
	fdt_text(fdt, "compatible", "ns16550a");
	fdt_reg(fdt, device->base, device->size);
	fdt_u32(fdt, "clock-frequency", CLOCK_RATE);
	fdt_interrupt(fdt, ((struct uart *)device)->irq.number);
	fdt_end(fdt);
}

static const struct bus_ops uart_ops = {.read = uart_read, .write = uart_write, .sizes = 1 | 2 | 4 | 8};

const struct device_type uart16550_type = {
	.name = "uart16550",
	.help = "16550A serial port: the guest's console",
	.state = &uart_state,
	.ops = &uart_ops,
	.reset = uart_reset,
	.loaded = uart_loaded,
	.describe = uart_describe,
	.destroy = device_destroy_plain,
};

int uart16550_new(struct device **out, const char *name, gpa_t base, struct irq_line irq,
		  struct serial_sink sink, struct error *e)
{
	struct uart *uart = calloc(1, sizeof *uart);

	if (!uart)
		return error_errno(e, -ENOMEM, "device %s", name);
	device_init(&uart->device, &uart16550_type, name, base, WINDOW_SIZE);
	uart->irq = irq;
	uart->sink = sink;
	*out = &uart->device;
	return 0;
}
