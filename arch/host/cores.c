/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a process can tell of its cores: they are threads, and Linux has the rest.
 */
#include "machine.h"

void machine_core_info(unsigned core, struct machine_core_info *info)
{
	*info = (struct machine_core_info){.hardware_id = core};
}

size_t machine_node_count(void)
{
	return 0;
}

unsigned machine_node_distance(size_t from, size_t to)
{
	return 0;
}
