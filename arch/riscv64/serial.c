/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The console on a 16550.
 *
 * Output.  A writer waits until the device has room, for each byte with interrupts off.  Before it, a writer
 * takes `turn` for one whole call and with interrupts left as they are, so that texts of two cores don't mix.
 * Nothing breaks without `turn`: a writer that has waited TURN_NS for it, or that interrupts the core that
 * holds it, or panics, writes without it, since the holder may wait for something that this writer holds, or
 * be frozen.
 *
 * Input stays in the device until a reader takes it, and its sender waits meanwhile.  The device raises no
 * interrupt.  Instead, a core that finds no input has its timer look for it (timer.h) until some has come: soon
 * at first, since the sender may have more, then less and less often.  `locked` guards who waits.
 */
#include "serial.h"

#include <stdbool.h>
#include <stddef.h>

#include "lib/panic.h"
#include "machine.h"
#include "port.h"
#include "riscv.h"
#include "sbi.h"
#include "timer.h"

/* Registers */
#define UART_DATA 0
#define UART_STATUS 5 /* line status */

#define STATUS_RECEIVED 0x01
#define STATUS_ROOM 0x20
#define STATUS_SENT 0x40

#define TURN_NS 10000000ull    /* the wait for another core's text */
#define FLUSH_NS 1000000000ull /* after so long a device that takes nothing is given up */
#define LOOK_FIRST_NS 50000ull /* pauses between looks for input: doubled each time, until some comes */
#define LOOK_LAST_NS 10000000ull

static volatile uint8_t *uart; /* NULL: there is none */
static unsigned uart_shift;

static unsigned turn; /* the writing core's id + 1; 0: none writes */

/* Guarded by locked. */
static bool locked;
static bool awaited;	      /* a reader has found no input: a core's timer looks for it */
static port_thread_t *reader; /* asleep until there is input */
static uint64_t look_pause = LOOK_FIRST_NS;

static uint8_t read_register(unsigned which)
{
	return device_read8(uart + ((size_t)which << uart_shift));
}

void serial_use(volatile void *base, unsigned shift)
{
	uart = base;
	uart_shift = shift;
}

/* Output */

static bool take_turn(void)
{
	unsigned me = port_core_id() + 1, none = 0;
	uint64_t end = 0;

	if (panic_happened() || __atomic_load_n(&turn, __ATOMIC_RELAXED) == me)
		return false;
	while (!__atomic_compare_exchange_n(&turn, &none, me, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
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

static void put(char byte)
{
	port_irq_t irq = port_irq_save();

	if (uart) {
		while (!(read_register(UART_STATUS) & STATUS_ROOM))
			port_pause();
		device_write8(uart + ((size_t)UART_DATA << uart_shift), (uint8_t)byte);
	} else {
		sbi_put(byte);
	}
	port_irq_restore(irq);
}

void port_console_write(const char *bytes, size_t n)
{
	bool mine = take_turn();

	for (size_t i = 0; i < n; i++) {
		if (bytes[i] == '\n')
			put('\r');
		put(bytes[i]);
	}
	if (mine)
		__atomic_store_n(&turn, 0, __ATOMIC_RELEASE);
}

void serial_flush(void)
{
	uint64_t end = port_ns() + FLUSH_NS;

	while (uart && !(read_register(UART_STATUS) & STATUS_SENT) && port_ns() < end)
		port_pause();
}

/* Input */

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

static bool has_received(void)
{
	return read_register(UART_STATUS) & STATUS_RECEIVED;
}

/* The next byte, or MACHINE_CONSOLE_NONE. */
static int receive(void)
{
	return has_received() ? read_register(UART_DATA) : MACHINE_CONSOLE_NONE;
}

/* Context: the lock is held. */
static void look_later(void)
{
	timer_poll_at(port_ns() + look_pause);
	look_pause = look_pause < LOOK_LAST_NS ? 2 * look_pause : LOOK_LAST_NS;
}

/* The reader's thread can't end meanwhile: before it returns it clears `reader`, under the lock. */
static void wake_reader(void)
{
	if (reader)
		port_thread_unblock(reader);
	reader = NULL;
}

void serial_look(void)
{
	port_irq_t irq = lock();
	bool has_come = awaited && has_received();

	if (has_come) {
		awaited = false;
		wake_reader();
	} else if (awaited) {
		look_later();
	}
	unlock(irq);
	if (has_come)
		kernel_input();
}

/* The next byte, or MACHINE_CONSOLE_NONE: then this core looks for the next input, and with `wait` that wakes
 * this thread. */
static int take_byte(bool wait)
{
	port_irq_t irq = lock();
	int byte = receive();

	awaited = byte == MACHINE_CONSOLE_NONE;
	reader = awaited && wait ? port_thread_self() : NULL;
	if (awaited)
		look_later();
	else
		look_pause = LOOK_FIRST_NS;
	unlock(irq);
	return byte;
}

static void wait_for_byte(void)
{
	if (port_thread_self() && !panic_happened())
		port_thread_block(PORT_FOREVER);
	else
		port_pause();
}

int machine_console_getc(bool wait)
{
	if (!uart)
		return MACHINE_CONSOLE_CLOSED;
	for (;;) {
		int byte = panic_happened() ? receive() : take_byte(wait);

		if (byte != MACHINE_CONSOLE_NONE || !wait)
			return byte;
		wait_for_byte();
	}
}
