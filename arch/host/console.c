/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The host's console: standard input and output, raw when standard input is a terminal.
 */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "host.h"
#include "lib/panic.h"
#include "machine.h"
#include "port.h"

/* Output is kept until a newline, so that a table costs a system call per line, not per cell. */
static char pending[4096];
static size_t pending_length;
static bool locked; /* guards both */

#define FORCE_TRIES 1000

static struct termios terminal_before;
static volatile bool terminal_raw;

static void flush_pending(void)
{
	size_t done = 0;

	while (done < pending_length) {
		ssize_t n = write(STDOUT_FILENO, pending + done, pending_length - done);

		if (n < 0 && errno == EAGAIN) {
			struct pollfd out = {STDOUT_FILENO, POLLOUT, 0};
			poll(&out, 1, -1);
		} else if (n < 0 && errno != EINTR) {
			break; /* the reader is gone */
		}
		done += n > 0 ? (size_t)n : 0;
	}
	pending_length = 0;
}

/* In a panic the holder may be a frozen core: after FORCE_TRIES the caller goes on without the
 * lock. */
static void console_lock(void)
{
	for (unsigned tries = 0; __atomic_exchange_n(&locked, true, __ATOMIC_ACQUIRE); tries++) {
		if (panic_happened() && tries > FORCE_TRIES)
			return;
		sched_yield();
	}
}

/* Release: pairs with the acquire in console_lock(). */
static void console_unlock(void)
{
	__atomic_store_n(&locked, false, __ATOMIC_RELEASE);
}

static void write_pending(const char *bytes, size_t n)
{
	bool line_ends = memchr(bytes, '\n', n) != NULL;

	while (n) {
		size_t part = sizeof(pending) - pending_length;

		if (part > n)
			part = n;
		memcpy(pending + pending_length, bytes, part);
		pending_length += part;
		bytes += part;
		n -= part;
		if (pending_length == sizeof(pending))
			flush_pending();
	}
	if (line_ends)
		flush_pending();
}

void port_console_write(const char *bytes, size_t n)
{
	console_lock();
	write_pending(bytes, n);
	console_unlock();
}

void host_console_flush(void)
{
	console_lock();
	flush_pending();
	console_unlock();
}

/* Reads one byte per system call: what is unread at a reboot is the next process's. */
int machine_console_getc(bool wait)
{
	struct pollfd in = {STDIN_FILENO, POLLIN, 0};
	unsigned char byte;
	ssize_t n;

	host_console_flush();
	for (;;) {
		int ready = poll(&in, 1, wait ? -1 : 0);

		if (ready == 0) {
			host_input_await();
			return MACHINE_CONSOLE_NONE;
		}
		n = ready < 0 ? ready : read(STDIN_FILENO, &byte, 1);
		if (n == 1)
			return byte;
		if (n == 0 || (errno != EINTR && errno != EAGAIN))
			return MACHINE_CONSOLE_CLOSED;
	}
}

void host_console_restore(void)
{
	if (!terminal_raw)
		return;
	terminal_raw = false;
	tcsetattr(STDIN_FILENO, TCSADRAIN, &terminal_before);
}

void host_console_init(void)
{
	struct termios raw;

	if (tcgetattr(STDIN_FILENO, &terminal_before) != 0)
		return;
	raw = terminal_before;
	raw.c_iflag &= ~(tcflag_t)(IXON | ICRNL | INLCR | IGNCR | ISTRIP);
	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO | ISIG | IEXTEN);
	raw.c_cc[VMIN] = 1;
	raw.c_cc[VTIME] = 0;
	atexit(host_console_restore);
	terminal_raw = tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) == 0;
}
