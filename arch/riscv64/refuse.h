/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The end of a boot that can't go on.
 */
#ifndef SPANDREL_RISCV64_REFUSE_H
#define SPANDREL_RISCV64_REFUSE_H

/* Prints the reason in one line, and stops with MACHINE_STOP_REFUSED. */
void refuse(const char *fmt, ...) __attribute__((noreturn, cold, format(printf, 1, 2)));

#endif
