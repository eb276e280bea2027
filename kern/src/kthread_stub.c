/* temporary: until kthread.c is there */
#include "machine.h"
void kernel_core_main(void)
{
	bool idle = true;
	for (;;) {
		port_irq_save();
		machine_idle(&idle);
	}
}
void kernel_timer(void) {}
bool kernel_stack_guard(uintptr_t a, char *o, size_t n) { return false; }
port_thread_t *port_thread_self(void) { return NULL; }
void port_thread_block(uint64_t d) {}
void port_thread_unblock(port_thread_t *t) {}
