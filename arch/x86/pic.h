/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The two 8259 interrupt controllers, which this kernel keeps masked if there is an I/O APIC.
 */
#ifndef SPANDREL_X86_PIC_H
#define SPANDREL_X86_PIC_H

#include <stdbool.h>
#include <stdint.h>

/* Moves their interrupts away from the exceptions' vectors, to 32 and up, and masks all. */
void pic_init(void);

/* Lets line 0 to 7 of the first through, and has it call handler(). */
void pic_use(unsigned line, void (*handler)(void));

/* Handles an interrupt of theirs; false if it is none that was asked for. */
bool pic_handle(uint64_t vector);

#endif
