/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Printing backtraces.
 */
#include "lib/frames.h"

#include "lib/symbol.h"

/* A return address is that of the instruction after the call.  If the call is the last instruction
 * of its function, that is the next function's: so the name is looked up one byte earlier. */
void frame_print(struct sink *sink, unsigned number, uintptr_t pc, bool is_return)
{
	uintptr_t offset;
	const char *name = symbol_find(pc - is_return, &offset);

	sink_printf(sink, "  #%u 0x%016zx ", number, pc);
	if (name)
		sink_printf(sink, "%s+0x%zx\n", name, offset + is_return);
	else
		sink_puts(sink, "?\n");
}

void frames_print(struct sink *sink, const uintptr_t *pcs, size_t n)
{
	for (size_t i = 0; i < n; i++)
		frame_print(sink, (unsigned)i, pcs[i], i > 0);
}
