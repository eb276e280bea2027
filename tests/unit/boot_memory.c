/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How many cores memory is enough for.
 */
#include "boot.h"
#include "lib/test.h"
#include "machine.h"

/* With two pieces of memory that have `bytes` together. */
static unsigned cores_for(uint64_t bytes, unsigned cores)
{
	const struct boot_ram ram[] = {{PORT_PAGE_SIZE, PORT_PAGE_SIZE},
		{1 << 20, (size_t)bytes - PORT_PAGE_SIZE}};
	const struct boot_info info = {.ram = ram, .ram_count = 2};

	return boot_cores_for(&info, cores);
}

TEST("boot: memory decides how many of the cores start")
{
	const uint64_t least = MACHINE_MEMORY_MIN, each = MACHINE_CORE_MEMORY;

	CHECK_EQ(cores_for(least - 1, 255), 0);
	CHECK_EQ(cores_for(least - 1, 1), 0);
	CHECK_EQ(cores_for(least, 1), 1);
	CHECK_EQ(cores_for(least + each - 1, 255), 1);
	CHECK_EQ(cores_for(least + each, 255), 2);
	CHECK_EQ(cores_for(least + 62 * each, 64), 63);
	CHECK_EQ(cores_for(least + 63 * each, 64), 64);
	CHECK_EQ(cores_for(least + 64 * each, 64), 64);
	CHECK_EQ(cores_for((uint64_t)1 << 50, 255), 255);
}

TEST("boot: what the port hands over is in order, whole pages, and adds up")
{
	const struct boot_info *info = boot_info;
	uint64_t bytes = 0, end = 0;

	for (size_t i = 0; i < info->ram_count; i++) {
		const struct boot_ram *r = &info->ram[i];

		CHECK_LT(0, r->start);
		CHECK_LT(0, r->size);
		CHECK_EQ((r->start | r->size) % PORT_PAGE_SIZE, 0);
		CHECK_LE(end, r->start);
		end = r->start + r->size;
		bytes += r->size;
		CHECK((uintptr_t)info->initrd + info->initrd_size <= r->start || (uintptr_t)info->initrd >= end);
	}
	for (size_t i = 0; i < info->account_count; i++)
		bytes += info->account[i].is_ram ? info->account[i].bytes : 0;
	CHECK_EQ(bytes, info->ram_total);
	CHECK(info->cmdline && *info->machine);
	CHECK_EQ(info->initrd == NULL, info->initrd_size == 0);
	CHECK_LT(0, boot_ticks);
	CHECK_LE(info->entry_ticks + boot_ticks, port_ticks());
}
