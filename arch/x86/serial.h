/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The serial line the console runs on: a 16550 at 0x3f8.  Polled at first and in a panic, by
 * interrupts in between.
 */
#ifndef SPANDREL_X86_SERIAL_H
#define SPANDREL_X86_SERIAL_H

/* Finds the device and sets it to 115200 8N1.  Without one, output is lost and input closed. */
void serial_init(void);

/* Has its interrupts come to this core from now on, if a vector is left.  Call once, interrupts on. */
void serial_use_interrupts(void);

/* Sends what is still waiting to go out.  Any context; bounded. */
void serial_flush(void);

#endif
