/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The two 8259 interrupt controllers, which stay masked if there is an I/O APIC.
 */
#ifndef SPANDREL_X86_PIC_H
#define SPANDREL_X86_PIC_H

#include <stdbool.h>
#include <stdint.h>

/* Moves their interrupts from the exceptions' vectors to 32 and up, and masks all. */
void pic_init(void);

/* Unmasks `line`, 0 to 7, of the first controller, and has it call handler(). */
void pic_use(unsigned line, void (*handler)(void));

/* Handles an interrupt of the 8259s; false if no line in use raised it. */
bool pic_handle(uint64_t vector);

#endif
