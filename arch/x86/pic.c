/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The 8259s, remapped and masked.  Even a masked one raises its spurious interrupt, number 7, when
 * a line drops before the processor has asked for the line's number.
 */
#include "pic.h"

#include <stddef.h>

#include "x86.h"

#define PIC_FIRST 0x20 /* command; data is the next port */
#define PIC_SECOND 0xa0
#define PIC_VECTOR 32 /* 16 from here */

#define PIC_INIT 0x11 /* edge triggered, cascaded, four words to come */
#define PIC_8086 0x01
#define PIC_CASCADE 2 /* the line of the first that the second is connected to */
#define PIC_END 0x20
#define PIC_READ_IN_SERVICE 0x0b

static void (*handlers[8])(void); /* of the first controller's lines */

static void pic_set(uint16_t pic, uint8_t vector, uint8_t wiring)
{
	outb(pic, PIC_INIT);
	outb(pic + 1, vector);
	outb(pic + 1, wiring);
	outb(pic + 1, PIC_8086);
	outb(pic + 1, 0xff);
}

void pic_init(void)
{
	pic_set(PIC_FIRST, PIC_VECTOR, 1 << PIC_CASCADE);
	pic_set(PIC_SECOND, PIC_VECTOR + 8, PIC_CASCADE);
}

/* A spurious interrupt isn't marked as in service: its end would end another interrupt. */
static bool is_in_service(uint16_t pic, unsigned line)
{
	outb(pic, PIC_READ_IN_SERVICE);
	return inb(pic) >> line & 1;
}

void pic_use(unsigned line, void (*handler)(void))
{
	handlers[line] = handler;
	outb(PIC_FIRST + 1, inb(PIC_FIRST + 1) & (uint8_t) ~(1u << line));
}

static void end(unsigned line)
{
	if (line >= 8 && is_in_service(PIC_SECOND, line - 8))
		outb(PIC_SECOND, PIC_END);
	if (line >= 8 || is_in_service(PIC_FIRST, line))
		outb(PIC_FIRST, PIC_END);
}

bool pic_handle(uint64_t vector)
{
	unsigned line = (unsigned)vector - PIC_VECTOR;
	bool known = line < 8 && handlers[line] && is_in_service(PIC_FIRST, line);

	if (line >= 16)
		return false;
	if (known)
		handlers[line]();
	end(line);
	return known;
}
