/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The console's serial line: a 16550 at 0x3f8.  It is polled early in boot and in a panic, and uses
 * interrupts in between.
 */
#ifndef SPANDREL_X86_SERIAL_H
#define SPANDREL_X86_SERIAL_H

/* Finds the device and sets it to 115200 8N1.  Without one, output is lost and input closed. */
void serial_init(void);

/* Routes the device's interrupts to this core from now on, if a vector is left.  Call once, with
 * interrupts on. */
void serial_use_interrupts(void);

/* Sends what is left in the output ring.  Context: any.  Cost: bounded in time. */
void serial_flush(void);

#endif
