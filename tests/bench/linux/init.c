/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The first process of the Linux that is measured: loads the module, whose benchmarks run as it is loaded, and ends
 * the machine by the device of scripts/qemu, with status 0, or 1 if the module couldn't be loaded.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/io.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EXIT_PORT 0xf4

int main(void)
{
	int module = open("/spandrel_bench.ko", O_RDONLY);
	int failed = module < 0 || syscall(SYS_finit_module, module, "", 0) != 0;

	if (failed)
		perror("init: spandrel_bench.ko");
	if (ioperm(EXIT_PORT, 1, 1) == 0)
		outb(failed, EXIT_PORT);
	/* Nothing has ended the machine; the end of the first process is a panic, which does. */
	return 1;
}
