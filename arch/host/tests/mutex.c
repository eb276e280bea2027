/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A mutex of pthreads, beside which an arena that cores share is measured.
 */
#include <pthread.h>

#include "bench/arena_shared.h"
#include "port.h"

static struct {
	pthread_mutex_t mutex;
	char line[PORT_LINE_SIZE];
	size_t count;
} guarded = {.mutex = PTHREAD_MUTEX_INITIALIZER};

void shared_mutex_calls(size_t calls)
{
	unsigned seed = port_core_id();

	while (calls-- > 0) {
		pthread_mutex_lock(&guarded.mutex);
		guarded.count++;
		pthread_mutex_unlock(&guarded.mutex);
		shared_work(&seed);
	}
}
