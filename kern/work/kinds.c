/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The kinds of workloads.
 */
#include "kinds.h"

#include "lib/array.h"
#include "lib/check.h"
#include "lib/panic.h"
#include "lib/string.h"

static const struct work_kind kinds[] = {
	{{"alloc", "PERCENT [KTASKS]", "holds PERCENT of memory in all sorts of pieces"},
		work_start_alloc},
	{{"bursts", "[KTASKS]", "starts ktasks that allocate, free and end"}, work_start_bursts},
	{{"disk", "[DISK] [READERS] [WRITERS]",
		 "overwrites and checks blocks of a disk"},
		work_start_disk},
	{{"hog", "[HOLD_MS] [PAUSE_MS]", "takes all free pages and frees them, again"},
		work_start_hog},
	{{"ids", "[KTASKS]", "allocates and frees IDs"}, work_start_ids},
	{{"maps", "[KTASKS]", "maps and unmaps pages"}, work_start_maps},
	{{"replay", "STREAM [KTASKS]", "replays a recorded stream of the initrd"}, work_start_replay},
};

const struct work_kind *work_kind_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (strcmp(kinds[i].info.name, name) == 0)
			return &kinds[i];
	return NULL;
}

bool work_kinds(size_t i, struct work_info *info)
{
	check_given("work_kinds", "info", info, __builtin_return_address(0));
	if (i >= ARRAY_SIZE(kinds))
		return false;
	*info = kinds[i].info;
	return true;
}
