/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The console on a 16550, polled, so that it works in every context.
 */
#include "serial.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "port.h"
#include "x86.h"

#define UART 0x3f8
#define UART_DATA (UART + 0)    /* with LCR_DIVISOR: the divisor's low byte */
#define UART_ENABLE (UART + 1)  /* interrupts; with LCR_DIVISOR: the divisor's high byte */
#define UART_FIFO (UART + 2)    /* written */
#define UART_LINE (UART + 3)    /* format */
#define UART_MODEM (UART + 4)   /* control */
#define UART_STATUS (UART + 5)  /* line status */
#define UART_SCRATCH (UART + 7) /* keeps what is written to it */

#define LINE_8N1 0x03
#define LINE_DIVISOR 0x80
#define FIFO_ON_CLEAR 0x07
#define MODEM_DTR_RTS 0x03
#define STATUS_RECEIVED 0x01
#define STATUS_ROOM 0x20

#define BAUD 115200
#define BAUD_MAX 115200 /* divisor 1 */

static bool present;

/* A port nobody answers reads as 0xff whatever is written to it. */
static bool uart_answers(void)
{
	outb(UART_SCRATCH, 0x5a);
	if (inb(UART_SCRATCH) != 0x5a)
		return false;
	outb(UART_SCRATCH, 0xa5);
	return inb(UART_SCRATCH) == 0xa5;
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
	outb(UART_FIFO, FIFO_ON_CLEAR);
	outb(UART_MODEM, MODEM_DTR_RTS);
}

static void put(char byte)
{
	while (!(inb(UART_STATUS) & STATUS_ROOM))
		port_pause();
	outb(UART_DATA, (uint8_t)byte);
}

void port_console_write(const char *bytes, size_t n)
{
	if (!present)
		return;
	for (size_t i = 0; i < n; i++) {
		if (bytes[i] == '\n')
			put('\r');
		put(bytes[i]);
	}
}

int port_console_getc(bool wait)
{
	if (!present)
		return PORT_CONSOLE_CLOSED;
	while (!(inb(UART_STATUS) & STATUS_RECEIVED)) {
		if (!wait)
			return PORT_CONSOLE_NONE;
		port_halt();
	}
	return inb(UART_DATA);
}
