/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The two 8259 interrupt controllers, which this kernel keeps masked.
 */
#ifndef SPANDREL_X86_PIC_H
#define SPANDREL_X86_PIC_H

#include <stdint.h>

/* Moves their interrupts away from the exceptions' vectors, to 32 and up, and masks all. */
void pic_init(void);

/* Ends the handling of an interrupt; vectors that aren't theirs are ignored. */
void pic_acknowledge(uint64_t vector);

#endif
