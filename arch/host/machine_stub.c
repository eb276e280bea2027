/* temporary: until the host's half of machine.h is there */
#include "machine.h"
unsigned machine_cores_start(void *(*stack_alloc)(void)) { return 1; }
void machine_idle(const bool *idle) {}
uint64_t port_stack_restarts(unsigned core) { return 0; }
