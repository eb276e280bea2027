/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The console on a 16550.
 *
 * Concepts.  Output goes into a ring.  The writer sends what the device takes at once; the device's
 * interrupts send the rest.  Until the device has interrupts, readers and writers poll.  Interrupts
 * come through the I/O APIC, or through the 8259 if there is none.
 *
 * Input stays in the device until a reader takes it, and its sender waits meanwhile.  A reader that
 * finds none has the next byte raise an interrupt, which wakes it.  So input that no reader wants
 * costs no instruction.  The FIFO is left as it is found: turning it on or off drops what the device
 * has received, a byte that comes at that moment too.
 *
 * Locking.  `locked` guards ring and device, for at most CHUNK bytes at a time.  Before it, a
 * writer takes `turn`, for one whole call and with interrupts left as they are, so that texts of
 * two cores don't mix.  Nothing breaks without `turn`: a writer that has waited TURN_NS for it, or
 * that interrupts the core that holds it, writes without it, since the holder may wait for
 * something that this writer holds.
 *
 * NMIs and panics.  A writer in an NMI or a panic takes `polling`, for one text at a time, and then
 * tries to take `locked`, for a bounded time: its holder may be the code that the NMI interrupted,
 * or a frozen core.  The bound is shorter than the wait for `polling`.  Without `locked`, an NMI
 * writes its own text to the device, past the ring; a panic uses rings and device all the same.
 *
 * The device's interrupt is an edge.  After each one, and once at the beginning, the device's
 * interrupts are turned off and on again, which raises a new edge if there is still something to
 * do.
 */
#include "serial.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core.h"
#include "io_apic.h"
#include "irq.h"
#include "lib/panic.h"
#include "machine.h"
#include "pic.h"
#include "port.h"
#include "x86.h"

#define UART 0x3f8
#define UART_IRQ 4
#define UART_DATA (UART + 0)    /* with LCR_DIVISOR: the divisor's low byte */
#define UART_ENABLE (UART + 1)  /* interrupts; with LCR_DIVISOR: the divisor's high byte */
#define UART_CAUSE (UART + 2)   /* read: the interrupt's cause; reading acknowledges it */
#define UART_LINE (UART + 3)    /* format */
#define UART_MODEM (UART + 4)   /* control */
#define UART_STATUS (UART + 5)  /* line status */
#define UART_SCRATCH (UART + 7) /* keeps what is written to it */

#define ENABLE_RECEIVED 0x01
#define ENABLE_ROOM 0x02
#define LINE_8N1 0x03
#define LINE_DIVISOR 0x80
#define MODEM_DTR_RTS 0x03
#define MODEM_INTERRUPTS 0x08 /* on a PC: connects the device to its interrupt line */
#define STATUS_RECEIVED 0x01
#define STATUS_ROOM 0x20 /* for a byte */
#define STATUS_SENT 0x40

#define BAUD 115200
#define BAUD_MAX 115200 /* divisor 1 */

#define RING_SIZE 4096	     /* a power of two; a third of a second's output at 115200 baud */
#define CHUNK 64	     /* bytes for each time the lock is held */
#define TURN_NS 10000000ull  /* the wait for another core's text */
#define FLUSH_NS 1000000000ull /* after so long a device that takes nothing is given up */
#define TRIES_MAX 100000     /* for the lock, in an NMI or a panic: some milliseconds */

struct ring {
	char bytes[RING_SIZE];
	size_t head, tail; /* counts of bytes ever put in and taken out */
};

static bool present;
static bool by_interrupts;

/* Guarded by locked. */
static bool locked;
static struct ring out;
static uint8_t enabled;	       /* interrupts of the device */
static bool awaited;	       /* a reader found no input: the next byte raises an interrupt */
static port_thread_t *reader; /* asleep until there is input */

static bool polling;  /* a core writes in an NMI or a panic */
static unsigned turn; /* the writing core's id + 1; 0: none writes */

static size_t ring_used(const struct ring *r)
{
	return r->head - r->tail;
}

static size_t ring_room(const struct ring *r)
{
	return RING_SIZE - ring_used(r);
}

static void ring_put(struct ring *r, char byte)
{
	r->bytes[r->head++ % RING_SIZE] = byte;
}

static char ring_take(struct ring *r)
{
	return r->bytes[r->tail++ % RING_SIZE];
}

/* The lock */

static port_irq_t lock(void)
{
	port_irq_t irq = port_irq_save();

	while (__atomic_exchange_n(&locked, true, __ATOMIC_ACQUIRE))
		port_pause();
	return irq;
}

static void unlock(port_irq_t irq)
{
	__atomic_store_n(&locked, false, __ATOMIC_RELEASE);
	port_irq_restore(irq);
}

static bool try_lock(void)
{
	for (int i = 0; i < TRIES_MAX; i++) {
		if (!__atomic_exchange_n(&locked, true, __ATOMIC_ACQUIRE))
			return true;
		port_pause();
	}
	return false;
}

/* The device */

/* Without a device a port reads as 0xff, whatever was written to it. */
static bool uart_answers(void)
{
	outb(UART_SCRATCH, 0x5a);
	if (inb(UART_SCRATCH) != 0x5a)
		return false;
	outb(UART_SCRATCH, 0xa5);
	return inb(UART_SCRATCH) == 0xa5;
}

/* Sends from the ring what the device takes at once. */
static void send(void)
{
	for (int i = 0; i < CHUNK && ring_used(&out) > 0 && inb(UART_STATUS) & STATUS_ROOM; i++)
		outb(UART_DATA, (uint8_t)ring_take(&out));
}

static bool has_received(void)
{
	return inb(UART_STATUS) & STATUS_RECEIVED;
}

/* The next byte, or MACHINE_CONSOLE_NONE. */
static int receive(void)
{
	return has_received() ? inb(UART_DATA) : MACHINE_CONSOLE_NONE;
}

void serial_init(void)
{
	present = uart_answers();
	if (!present)
		return;
	outb(UART_ENABLE, 0);
	outb(UART_LINE, LINE_DIVISOR);
	outb(UART_DATA, BAUD_MAX / BAUD);
	outb(UART_ENABLE, 0);
	outb(UART_LINE, LINE_8N1);
	outb(UART_MODEM, MODEM_DTR_RTS | MODEM_INTERRUPTS);
}

/* Enables the device's interrupts for what is left to do. */
static void set_interrupts(void)
{
	uint8_t wanted = (awaited ? ENABLE_RECEIVED : 0) |
			 (ring_used(&out) > 0 ? ENABLE_ROOM : 0);

	if (!by_interrupts || wanted == enabled)
		return;
	outb(UART_ENABLE, wanted);
	enabled = wanted;
}

/* The reader's thread can't end meanwhile: before it returns it clears `reader`, under the lock. */
static void wake_reader(void)
{
	if (reader)
		port_thread_unblock(reader);
	reader = NULL;
}

static void interrupt(void)
{
	port_irq_t irq = lock();
	bool has_come;

	inb(UART_CAUSE);
	send();
	has_come = awaited && has_received();
	if (has_come) {
		awaited = false;
		wake_reader();
	}
	outb(UART_ENABLE, 0);
	enabled = 0;
	set_interrupts();
	unlock(irq);
	if (has_come)
		kernel_input();
}

static void vector_interrupt(void *arg)
{
	interrupt();
}

/* Routes the device's interrupts to this core; false if no vector is left. */
static bool route(void)
{
	unsigned vector = irq_alloc("serial", vector_interrupt, NULL);

	if (!vector)
		return false;
	if (!io_apic_route_isa(UART_IRQ, vector, core_self()->apic)) {
		irq_free(vector);
		pic_use(UART_IRQ, interrupt);
	}
	return true;
}

void serial_use_interrupts(void)
{
	port_irq_t irq;

	if (!present || !route())
		return;
	irq = lock();
	by_interrupts = true;
	set_interrupts();
	unlock(irq);
}

/* Output */

static bool take_turn(void)
{
	unsigned me = port_core_id() + 1, none = 0;
	uint64_t end = 0;

	if (__atomic_load_n(&turn, __ATOMIC_RELAXED) == me)
		return false;
	while (!__atomic_compare_exchange_n(
		&turn, &none, me, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
		uint64_t now = port_ns();

		if (end == 0)
			end = now + TURN_NS;
		if (now >= end)
			return false;
		none = 0;
		port_pause();
	}
	return true;
}

static void end_turn(void)
{
	__atomic_store_n(&turn, 0, __ATOMIC_RELEASE);
}

/* Puts into the ring what fits of bytes[0 .. n), a chunk at most; returns how many. */
static size_t put(const char *bytes, size_t n)
{
	size_t taken = 0;

	while (taken < n && taken < CHUNK && ring_room(&out) >= 2) {
		if (bytes[taken] == '\n')
			ring_put(&out, '\r');
		ring_put(&out, bytes[taken++]);
	}
	return taken;
}

static size_t write_chunk(const char *bytes, size_t n)
{
	port_irq_t irq = lock();
	size_t taken = put(bytes, n);

	do {
		send();
	} while (!by_interrupts && ring_used(&out) > 0);
	set_interrupts();
	unlock(irq);
	return taken;
}

static void put_polled(char byte)
{
	while (!(inb(UART_STATUS) & STATUS_ROOM))
		port_pause();
	outb(UART_DATA, (uint8_t)byte);
}

static void send_polled(void)
{
	while (ring_used(&out) > 0)
		put_polled(ring_take(&out));
}

/* Leaves the device empty: an NMI may have interrupted a writer that had found it empty. */
static void write_past(const char *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (bytes[i] == '\n')
			put_polled('\r');
		put_polled(bytes[i]);
	}
	while (!(inb(UART_STATUS) & STATUS_ROOM))
		port_pause();
}

static bool take_polling(void)
{
	uint64_t end = port_ns() + FLUSH_NS;

	while (__atomic_exchange_n(&polling, true, __ATOMIC_ACQUIRE)) {
		if (port_ns() >= end)
			return false;
		port_pause();
	}
	return true;
}

/* In an NMI or a panic. */
static void write_polled(const char *bytes, size_t n)
{
	static bool is_lost; /* a holder is frozen, or is below this call on the stack */
	bool alone = !is_lost && take_polling();
	bool mine = !is_lost && try_lock();

	if (!(alone && mine) && panic_happened())
		is_lost = true;
	if (mine || is_lost)
		send_polled();
	write_past(bytes, n);
	if (mine)
		__atomic_store_n(&locked, false, __ATOMIC_RELEASE);
	if (alone)
		__atomic_store_n(&polling, false, __ATOMIC_RELEASE);
}

void port_console_write(const char *bytes, size_t n)
{
	bool mine;

	if (!present)
		return;
	if (port_in_nmi() || panic_happened()) {
		write_polled(bytes, n);
		return;
	}
	mine = take_turn();
	while (n > 0) {
		size_t taken = write_chunk(bytes, n);

		bytes += taken;
		n -= taken;
	}
	if (mine)
		end_turn();
}

void serial_flush(void)
{
	uint64_t end = port_ns() + FLUSH_NS;
	port_irq_t irq;
	bool mine;

	if (!present)
		return;
	irq = port_irq_save();
	mine = try_lock();
	while (ring_used(&out) > 0 && port_ns() < end)
		send();
	while (!(inb(UART_STATUS) & STATUS_SENT) && port_ns() < end)
		port_pause();
	if (mine)
		__atomic_store_n(&locked, false, __ATOMIC_RELEASE);
	port_irq_restore(irq);
}

/* Input */

/* The next byte, or MACHINE_CONSOLE_NONE: then the next input raises an interrupt, and with `wait` it
 * wakes this thread. */
static int take_byte(bool wait)
{
	port_irq_t irq = lock();
	int byte = receive();

	awaited = byte == MACHINE_CONSOLE_NONE;
	reader = awaited && wait ? port_thread_self() : NULL;
	set_interrupts();
	unlock(irq);
	return byte;
}

static void wait_for_byte(void)
{
	if (by_interrupts && port_thread_self() && !panic_happened())
		port_thread_block(PORT_FOREVER);
	else
		port_pause();
}

int machine_console_getc(bool wait)
{
	if (!present)
		return MACHINE_CONSOLE_CLOSED;
	for (;;) {
		int byte = panic_happened() ? receive() : take_byte(wait);

		if (byte != MACHINE_CONSOLE_NONE || !wait)
			return byte;
		wait_for_byte();
	}
}
