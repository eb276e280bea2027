/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The simulation: the host port with one thread, whose cores are coroutines.
 *
 *	TEST("sim: two cores that free never lose a wake-up")
 *	{
 *		sim_begin();
 *		...
 *	}
 *
 * At each step a scheduler, which draws from a seed, says which core goes on, and whether an interrupt or an
 * NMI comes there (schedule.c).  So one seed is one run, to the byte.
 *
 * Time passes with steps; when all cores sleep, it jumps to the next deadline.
 */
#ifndef SPANDREL_HOST_SIM_H
#define SPANDREL_HOST_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* For tests.  Begins a schedule: from here on to the end of the test cores change and interrupts come by chance. */
void sim_begin(void);

/* Ends it, once interrupts that have begun are over, before the test takes down what they use. */
void sim_end(void);

/* The longest time, since sim_begin(), that all cores slept through: no more than what a test's own threads sleep, unless
 * a wake-up was lost and a deadline made up for it.  In nanoseconds. */
uint64_t sim_longest_idle(void);

/* A moment of port_ns() that comes after a random number of steps, more often soon than late. */
uint64_t sim_soon(void);

/* Overwrites what calls that have returned left on the caller's stack, so that what still reads it shows. */
void sim_scribble(void);

/* From now on fn() is called at random places, in an interrupt, and in an NMI; NULL: no longer.  sim_begin() and
 * sim_end() lift both. */
void sim_set_interrupt(void (*fn)(void));
void sim_set_nmi(void (*fn)(void));

/* Between the files of the simulation */

#define SIM_CORES_MAX 64 /* bits of a map */

/* Where a step is, from what happens there most seldom to what happens most often. */
enum sim_kind {
	SIM_PORT,   /* a function of the port; a lock is taken, or tried for */
	SIM_ATOMIC, /* an atomic load or store */
	SIM_PLAIN,  /* another access to memory */
};
void sim_step(enum sim_kind kind, void *pc);

/* Atomic stores that stay with their core (access.c): whether one does; whether the oldest goes to memory now; all of a
 * core's go. */
bool sim_schedule_keeps_stores(void);
bool sim_schedule_drains(void);
void sim_stores_drain(unsigned core);

/* What comes of chance; `more` goes into the seed. */
void sim_schedule_begin(unsigned cores, uint64_t more);
void sim_schedule_end(void);
/* Whether there is a choice at all. */
extern enum sim_kind sim_finest;
static inline bool sim_schedule_looks(enum sim_kind kind)
{
	return kind <= sim_finest;
}
/* The core that goes on, among those of the map that can; `waits`: the running one waits for others. */
unsigned sim_schedule_next(unsigned self, uint64_t runnable, bool waits);
bool sim_schedule_interrupts(void);
bool sim_schedule_nmi(void);
uint64_t sim_schedule_step_ns(void);
void sim_schedule_describe(char *text, size_t size);

#endif
