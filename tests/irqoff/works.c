/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Workloads of each kind: one after the other, then all at once.
 */
#include "work.h"

#include "drive.h"
#include "kthread.h"
#include "lib/array.h"
#include "lib/test.h"

#define ALONE_US 30000u
#define TOGETHER_US 300000u

static const struct {
	const char *name;
	size_t n;
	const char *const args[2];
} works[] = {
	{"alloc", 2, {"30", "4"}}, {"bursts", 1, {"4"}}, {"disk", 0, {NULL}}, {"ids", 1, {"4"}},
	{"maps", 1, {"4"}}, {"hog", 2, {"10", "10"}},
};

static uint64_t start(size_t i)
{
	uint64_t id = work_start(works[i].name, works[i].n, works[i].args, &null_sink);

	CHECK_NE(id, 0);
	return id;
}

void drive_works(void)
{
	static struct work_stats rows[ARRAY_SIZE(works)];
	struct work_info info;

	for (size_t i = 0; work_kinds(i, &info); i++)
		;
	for (size_t i = 0; i < ARRAY_SIZE(works); i++) {
		uint64_t id = start(i);

		kthread_usleep(ALONE_US);
		CHECK(work_stop(id));
	}
	for (size_t i = 0; i < ARRAY_SIZE(works); i++)
		start(i);
	kthread_usleep(TOGETHER_US);
	CHECK_EQ(work_list(0, rows, ARRAY_SIZE(works)), ARRAY_SIZE(works));
	CHECK_EQ(work_stop_all(), ARRAY_SIZE(works));
}
