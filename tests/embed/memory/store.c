/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The segment store by itself: libspandrel-btag.a alone, with boundary tags from where the program has them.
 */
#include <stdio.h>
#include <stdlib.h>

#include "spandrel/btag.h"

void port_bug(const char *message);

void port_bug(const char *message)
{
	printf("bug: %s\n", message);
	exit(1);
}

static void must(int holds, const char *what)
{
	if (!holds)
		port_bug(what);
}

int main(void)
{
	static struct btag_store store;
	static struct btag tags[32];
	struct btag_chain chain = {NULL, 0};
	struct btag_extent extent;
	struct btag *segments[10];
	uintptr_t sum = 0;

	btag_store_init(&store, 1);
	for (size_t i = 0; i < sizeof(tags) / sizeof(tags[0]); i++)
		btag_chain_push(&chain, &tags[i]);
	btag_give(&store, &chain);
	must(btag_extent_find(&store, 1, 100, &extent), "there is a span");
	btag_span_in(&store, &extent, false, extent.first, 0, BTAG_FREE);
	for (int i = 0; i < 10; i++) {
		struct btag *f = btag_fit_instant(&store, btag_scaled(&store, 10));

		must(f != NULL, "no segment serves");
		segments[i] = btag_carve(&store, f, f->start, 10, BTAG_USED);
		sum += segments[i]->start;
	}
	must(sum == 10 * 46 && store.used == 100 && store.segments_free == 0, "not all is used");
	must(!btag_fit_instant(&store, btag_scaled(&store, 1)), "something is free");
	for (int i = 0; i < 10; i++)
		btag_release(&store, btag_unuse(&store, btag_seek(&store, segments[i]->start)));
	must(store.used == 0 && store.segments_free == 1 && btag_largest_free(&store) == 100, "it isn't whole");
	printf("ok\n");
	return 0;
}
