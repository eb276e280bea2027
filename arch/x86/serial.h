/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The serial line the console runs on: a 16550 at 0x3f8, polled.
 */
#ifndef SPANDREL_X86_SERIAL_H
#define SPANDREL_X86_SERIAL_H

/* Finds the device and sets it to 115200 8N1.  Without one, output is lost and input closed. */
void serial_init(void);

#endif
