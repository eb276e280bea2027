# SPDX-License-Identifier: BSD-2-Clause
# Spandrel: one makefile for all flavours.  `make help` lists the targets.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules
Q := $(if $(V),,@)
ifeq ($(origin CC),default)
CC := gcc
endif
NM ?= nm
OBJDUMP ?= objdump
# The kernel that `kernel` and `run` are about: x86 or riscv64.
ARCH ?= x86
# The tools for riscv64; clang compiles for it itself.
CROSS ?= riscv64-linux-gnu-
ifneq ($(findstring clang,$(CC)),)
RISCV64_CC := $(CC) --target=riscv64-linux-gnu
RISCV64_MARCH := rv64imac
else
RISCV64_CC := $(CROSS)gcc
RISCV64_MARCH := rv64imac_zicsr_zifencei
endif

B := build
comma := ,

# Sources ------------------------------------------------------------------------------------------

# kern/lib/bug.c stands for kern/lib/panic.c in the library.
KERN_C := $(filter-out kern/lib/bug.c,$(wildcard kern/src/*.c kern/src/*/*.c kern/lib/*.c kern/boot/*.c \
	kern/dev/*.c kern/work/*.c kern/monitor/*.c))
RANGES_C := $(B)/data/gcc_ranges.c
UNIT_C := $(wildcard tests/unit/*.c tests/fence/*.c tests/bench/*.c tests/data/*.c) $(RANGES_C)
X86_C := $(KERN_C) $(UNIT_C) $(wildcard arch/x86/*.c arch/x86/tests/*.c)
X86_S := $(wildcard arch/x86/*.S)
RISCV64_C := $(KERN_C) $(UNIT_C) $(wildcard arch/riscv64/*.c arch/riscv64/tests/*.c)
RISCV64_S := $(wildcard arch/riscv64/*.S)
# On a host the string functions come from the C library, whose calls the sanitizers check.
HOST_C := $(filter-out kern/lib/string.c,$(KERN_C)) $(UNIT_C) $(wildcard arch/host/*.c arch/host/tests/*.c)

# Simulated cores: the sources as a process has them, with tests of their own.
SIM_C := $(filter-out arch/host/clock.c arch/host/keeper.c arch/host/thread.c,$(HOST_C)) \
	$(wildcard arch/host/sim/*.c tests/sim/*.c)

WARN := -Wall -Wextra -Werror -Wshadow -Wvla -Walloca -Wundef -Wstrict-prototypes \
	-Wmissing-prototypes -Wold-style-definition -Wpointer-arith -Wwrite-strings -Wformat=2 -Wimplicit-fallthrough \
	-Wno-unused-parameter
# A stack overflow must meet the guard page below the stack, a page of 4 KiB: so no frame of the
# kernel's is as large.  Those of tests, and any frame with sanitizers, may be larger, and touch each
# of their pages as they are made.
FRAME_MAX := 3072
COMMON := -std=gnu11 -O2 -g -fno-omit-frame-pointer -fno-optimize-sibling-calls \
	-fno-common -fno-strict-aliasing -fstack-clash-protection -Wframe-larger-than=$(FRAME_MAX) \
	$(WARN) -Ikern/include -Ikern -Ikern/src -Itests

X86_CFLAGS := $(COMMON) -Iarch/x86/include -ffreestanding -fno-pic -fno-stack-protector \
	-fno-asynchronous-unwind-tables -mno-red-zone -mcmodel=kernel -mgeneral-regs-only \
	-fcf-protection=none
RISCV64_CFLAGS := $(filter-out -fstack-clash-protection,$(COMMON)) -Iarch/riscv64/include -ffreestanding -fno-pic \
	-fno-stack-protector -fno-asynchronous-unwind-tables -march=$(RISCV64_MARCH) -mabi=lp64 -mcmodel=medany \
	-mno-relax -msmall-data-limit=0
HOST_CFLAGS := $(COMMON) -Iarch/host/include -fno-pie -fno-builtin-printf
ASAN_CFLAGS := $(HOST_CFLAGS) -O1 -DSPANDREL_DEBUG=1 -fsanitize=address,undefined \
	-fno-sanitize-recover=all -Wno-frame-larger-than
TSAN_CFLAGS := $(HOST_CFLAGS) -O1 -DSPANDREL_DEBUG=1 -fsanitize=thread -Wno-frame-larger-than
# Mistakes that scripts/mutants makes: objects without debug information are the same if the code is.
MUTANTS_CFLAGS := $(HOST_CFLAGS) -g0 -DSPANDREL_DEBUG=1
# Branches are those of the source, not those that an optimizer makes; cores count at once.
COV_CFLAGS := $(HOST_CFLAGS) -O0 -Wno-frame-larger-than \
	$$(if $$(filter kern/src/%,$$<),--coverage -fprofile-update=atomic)
# What isn't of the host port is instrumented; the simulation has its own library for that.
SIM_STEPS := -DHOST_SIM=1 -Iarch/host $$(if $$(filter-out arch/%,$$<),-fsanitize=thread)
SIM_CFLAGS := $(HOST_CFLAGS) -DSPANDREL_DEBUG=1 -Wno-frame-larger-than $(SIM_STEPS)

# Flavours -----------------------------------------------------------------------------------------
# $(call flavour,name,sources,flags,compiler): the objects of a flavour, in build/name; they are built again
# when the compiler or the flags change.

# Without tail calls, a caller whose last call is one of the subsystem's stays on the stack, and
# reports name it.  The files below pass the caller on as an argument, so their hot paths may end in
# jumps.
TAIL_CALLS := $(addprefix kern/src/,arena.c slab.c slab/kmalloc.c slab/qcache.c)
flags_of = $(if $(filter $(TAIL_CALLS),$(1)),-foptimize-sibling-calls) \
	$(if $(filter tests/% arch/x86/tests/% arch/riscv64/tests/%,$(1)),-Wno-frame-larger-than)

objects = $(patsubst %,$(B)/$(1)/obj/%.o,$(basename $(2)))

define flavour
$(1)_OBJ := $$(call objects,$(1),$(2))
$(B)/$(1)/flags: FORCE
	$$(Q)mkdir -p $$(@D); echo '$(4) $(3)' | cmp -s - $$@ || echo '$(4) $(3)' > $$@
$(B)/$(1)/obj/%.o: %.c $(B)/$(1)/flags
	@$$(if $$(V),,echo '  CC   $(1) $$<')
	$$(Q)mkdir -p $$(@D); $(4) $(3) $$(call flags_of,$$<) -MMD -MP -c $$< -o $$@
$(B)/$(1)/obj/%.o: %.S $(B)/$(1)/flags
	@$$(if $$(V),,echo '  AS   $(1) $$<')
	$$(Q)mkdir -p $$(@D); $(4) $(3) -MMD -MP -c $$< -o $$@
-include $$($(1)_OBJ:.o=.d)
endef

$(eval $(call flavour,x86,$(X86_C) $(X86_S),$(X86_CFLAGS),$(CC)))
$(eval $(call flavour,riscv64,$(RISCV64_C) $(RISCV64_S),$(RISCV64_CFLAGS),$(RISCV64_CC)))
$(eval $(call flavour,host,$(HOST_C),$(HOST_CFLAGS),$(CC)))
$(eval $(call flavour,asan,$(HOST_C),$(ASAN_CFLAGS),$(CC)))
$(eval $(call flavour,sim,$(SIM_C),$(SIM_CFLAGS),$(CC)))
$(eval $(call flavour,tsan,$(HOST_C),$(TSAN_CFLAGS),$(CC)))
$(eval $(call flavour,mutants,$(HOST_C),$(MUTANTS_CFLAGS),$(CC)))
$(eval $(call flavour,cov,$(HOST_C),$(COV_CFLAGS),gcc))
$(eval $(call flavour,covsim,$(SIM_C),$(COV_CFLAGS) $(SIM_STEPS),gcc))

# The kernel that measures how long interrupts are off, with stubs in front of public functions and of spin_wait().
IRQOFF_C := $(X86_C) $(wildcard arch/x86/irqoff/*.c tests/irqoff/*.c)
IRQOFF_STUBS := $(B)/irqoff/stubs.S
IRQOFF_CFLAGS := $(X86_CFLAGS) -DPORT_IRQOFF=1 -Iarch/x86/irqoff
$(eval $(call flavour,irqoff,$(IRQOFF_C) $(X86_S) $(IRQOFF_STUBS),$(IRQOFF_CFLAGS),$(CC)))
$(IRQOFF_STUBS): scripts/publics $(wildcard kern/include/*.h)
	$(Q)mkdir -p $(@D); scripts/publics --stubs > $@

# Fuzzers: the host's kernel without its tests, under the main() of tests/fuzz/kernel.c.  With libFuzzer, which
# takes clang; and, of the objects for ASan, with a driver that replays files, which takes any compiler.
FUZZ_CC ?= clang
FUZZ_DRIVER = $(shell $(FUZZ_CC) -print-file-name=libclang_rt.fuzzer_no_main-$(shell uname -m).a)
FUZZERS := $(filter-out kernel replay,$(basename $(notdir $(wildcard tests/fuzz/*.c))))
FUZZ_KERNEL_C := $(filter-out kern/lib/string.c arch/host/main.c,$(KERN_C) $(wildcard arch/host/*.c)) \
	$(wildcard tests/fence/*.c) tests/fuzz/kernel.c
FUZZ_CFLAGS := $(ASAN_CFLAGS) -fsanitize=fuzzer-no-link
$(eval $(call flavour,fuzz,$(FUZZ_KERNEL_C) $(FUZZERS:%=tests/fuzz/%.c),$(FUZZ_CFLAGS),$(FUZZ_CC)))
-include $(patsubst %,$(B)/asan/obj/tests/fuzz/%.d,$(FUZZERS) kernel replay)

# A recorded stream, as C.
$(RANGES_C): tests/data/gcc.va.sptr.xz scripts/ranges
	$(Q)mkdir -p $(@D); scripts/ranges $< gcc_ranges > $@

# The library --------------------------------------------------------------------------------------
# Three archives of one relocatable object each, whose global names are the public ones; against the
# port_arch.h in ARCH_INC, with PREFIX before each public name.  LIB_CFLAGS are the kernel's that it is for; on
# x86 a library that interrupt handlers call needs those of LIB_X86, which come first.  Other compilers and
# optimisers warn of other things, so a warning is an error for LIB_WERROR=-Werror alone.

ARCH_INC ?= tests/embed/memory
PREFIX ?=
OBJCOPY ?= objcopy
LIB ?= $(B)/lib
LIB_CFLAGS ?= -O2 -g -fPIE
LIB_WERROR ?=
LIB_X86 := $(if $(findstring x86_64,$(shell $(CC) -dumpmachine)),-mno-red-zone -mgeneral-regs-only)
lib_CFLAGS := -std=gnu11 -ffreestanding -fno-common -fno-strict-aliasing -fno-stack-protector \
	-fno-asynchronous-unwind-tables -include kern/lib/hidden.h $(LIB_X86) $(LIB_CFLAGS) $(filter-out -Werror,$(WARN)) $(LIB_WERROR) -Ikern/include -Ikern -Ikern/src -I$(ARCH_INC)
LIB_BTAG_C := $(addprefix kern/lib/,bitmap.c bug.c frames.c hash.c linear_hash.c printf.c sink.c str.c string.c \
	symbol.c tree.c) $(wildcard kern/src/btag/*.c)
LIB_ARENA_C := $(LIB_BTAG_C) kern/lib/held.c kern/lib/spinlock.c kern/lib/table.c kern/src/sync.c kern/src/arena.c \
	$(wildcard kern/src/arena/*.c)
LIB_ALL_C := $(LIB_ARENA_C) kern/src/slab.c kern/src/reclaim.c $(wildcard kern/src/slab/*.c kern/src/reclaim/*.c)
LIB_ARCHIVES := $(addprefix $(LIB)/,libspandrel-btag.a libspandrel-arena.a libspandrel.a)
LIB_SYMBOLS := $(B)/lib/symbols.S

$(eval $(call flavour,lib,$(LIB_ALL_C) $(LIB_SYMBOLS),$(lib_CFLAGS),$(CC)))
$(LIB_SYMBOLS): scripts/symbols
	$(Q)mkdir -p $(@D); scripts/symbols --empty > $@

# $(call archive,archive,names)
define archive
	@$(if $(V),,echo '  AR   $@')
	$(Q)mkdir -p $(@D); $(LD) -r -o $(@:.a=.o) $(call objects,lib,$(1) $(LIB_SYMBOLS))
	$(Q)scripts/lib-headers --names $(2) > $(@:.a=.names)
	$(Q)$(OBJCOPY) --keep-global-symbols=$(@:.a=.names) $(@:.a=.o)
	$(Q)$(if $(PREFIX),sed 's/.*/& $(PREFIX)&/' $(@:.a=.names) > $(@:.a=.renamed) && \
		$(OBJCOPY) --redefine-syms=$(@:.a=.renamed) $(@:.a=.o))
	$(Q)rm -f $@ $(@:.a=.names) $(@:.a=.renamed); $(AR) rcs $@ $(@:.a=.o); rm -f $(@:.a=.o)
endef
$(B)/lib/prefix: FORCE
	$(Q)mkdir -p $(@D); echo '$(PREFIX)' | cmp -s - $@ || echo '$(PREFIX)' > $@
$(LIB_ARCHIVES): $(B)/lib/prefix scripts/lib-headers

# What was built with other flags doesn't outlast them, if the build fails.
.PHONY: lib-port
lib-port: $(B)/lib/flags $(B)/lib/prefix
	$(Q)test -f '$(ARCH_INC)/port_arch.h' || \
		{ echo 'lib: no port_arch.h in ARCH_INC=$(ARCH_INC), which is taken from $(CURDIR) unless absolute' >&2; exit 1; }
	$(Q)for archive in $(LIB_ARCHIVES); do \
		for change in $^; do \
			! [ $$change -nt $$archive ] || rm -rf $$archive $(LIB)/include/spandrel; \
		done; \
	done
$(lib_OBJ): | lib-port
$(LIB)/libspandrel-btag.a: $(call objects,lib,$(LIB_BTAG_C) $(LIB_SYMBOLS))
	$(call archive,$(LIB_BTAG_C),btag)
$(LIB)/libspandrel-arena.a: $(call objects,lib,$(LIB_ARENA_C) $(LIB_SYMBOLS))
	$(call archive,$(LIB_ARENA_C),arena)
$(LIB)/libspandrel.a: $(lib_OBJ)
	$(call archive,$(LIB_ALL_C),all)

# Linking ------------------------------------------------------------------------------------------
# Each image is linked until the symbol table in it is right: without one, to learn the names; with one of
# about its final size, to learn the addresses, since a process has its data behind the table; and again
# while that still moves any.  Beside the image are .map, .sym (its symbols) and .lst (its listing).

# $(call link,flavour,link command)
define link
	@$(if $(V),,echo '  LINK $@')
	$(Q)scripts/symbols --empty > $(@D)/symbols.S
	$(Q)for pass in 1 2 3 4 5 6 7 8 wrong; do \
		[ $$pass != wrong ] || { echo 'the symbol table moves at each link' >&2; exit 1; }; \
		$(or $($(1)_AS),$(CC)) -c $(@D)/symbols.S -o $(@D)/symbols.o && \
		$(2) -Wl,-Map=$@.map -o $@.1 $($(1)_OBJ) $(@D)/symbols.o && \
		$(NM) -n $@.1 | scripts/symbols > $(@D)/symbols.next || exit 1; \
		! cmp -s $(@D)/symbols.next $(@D)/symbols.S || break; \
		mv $(@D)/symbols.next $(@D)/symbols.S; \
	done
	$(Q)mv $@.1 $@; rm -f $(@D)/symbols.next; $(NM) -n $@ > $@.sym; $(or $($(1)_OBJDUMP),$(OBJDUMP)) -dl $@ > $@.lst
endef

X86_LD := $(CC) -nostdlib -static -Wl,--build-id=none,-z,max-page-size=4096,-z,noexecstack \
	-Wl,-T,arch/x86/kernel.lds
# The cross compiler links what clang compiled, too.
riscv64_AS := $(CROSS)gcc -march=rv64imac -mabi=lp64
riscv64_OBJDUMP := $(CROSS)objdump
RISCV64_LD := $(riscv64_AS) -nostdlib -static -Wl,--build-id=none,-z,max-page-size=4096,-z,noexecstack,--no-relax \
	-Wl,-T,arch/riscv64/kernel.lds
HOST_LD := $(CC) -no-pie -pthread
ASAN_LD := $(HOST_LD) -fsanitize=address,undefined
TSAN_LD := $(HOST_LD) -fsanitize=thread
COV_LD := gcc -no-pie -pthread --coverage

$(B)/x86/spandrel.elf: $(x86_OBJ) arch/x86/kernel.lds scripts/symbols
	$(call link,x86,$(X86_LD))
$(B)/riscv64/spandrel.elf: $(riscv64_OBJ) arch/riscv64/kernel.lds scripts/symbols
	$(call link,riscv64,$(RISCV64_LD))
IRQOFF_LD = $(X86_LD) $(addprefix -Wl$(comma)--wrap=,spin_wait $(shell scripts/publics))
$(B)/irqoff/spandrel.elf: $(irqoff_OBJ) arch/x86/kernel.lds scripts/symbols
	$(call link,irqoff,$(IRQOFF_LD))
$(B)/host/spandrel-host: $(host_OBJ) scripts/symbols
	$(call link,host,$(HOST_LD))
$(B)/asan/spandrel-host: $(asan_OBJ) scripts/symbols
	$(call link,asan,$(ASAN_LD))
$(B)/tsan/spandrel-host: $(tsan_OBJ) scripts/symbols
	$(call link,tsan,$(TSAN_LD))
$(B)/mutants/spandrel-host: $(mutants_OBJ) scripts/symbols
	$(call link,mutants,$(HOST_LD))
$(B)/cov/spandrel-host: $(cov_OBJ) scripts/symbols
	$(call link,cov,$(COV_LD))
$(B)/covsim/spandrel-sim: $(covsim_OBJ) scripts/symbols
	$(call link,covsim,$(COV_LD))
$(B)/sim/spandrel-sim: $(sim_OBJ) scripts/symbols
	$(call link,sim,$(HOST_LD))

# $(call link_fuzzer,flavour,compiler,driver): without the kernel's symbol table, which no fuzzer asks for.
define link_fuzzer
	@$(if $(V),,echo '  LINK $@')
	$(Q)mkdir -p $(@D); scripts/symbols --empty > $@.S
	$(Q)$(2) -no-pie -pthread -fsanitize=address,undefined -o $@ $(call objects,$(1),$(FUZZ_KERNEL_C)) \
		$(B)/$(1)/obj/tests/fuzz/$(notdir $@).o $@.S $(3)
endef
$(FUZZERS:%=$(B)/fuzz/%): $(B)/fuzz/%: $(B)/fuzz/obj/tests/fuzz/%.o $(call objects,fuzz,$(FUZZ_KERNEL_C))
	$(call link_fuzzer,fuzz,$(FUZZ_CC),$(FUZZ_DRIVER) -lstdc++ -lm)
$(FUZZERS:%=$(B)/asan/fuzz/%): $(B)/asan/fuzz/%: $(B)/asan/obj/tests/fuzz/%.o $(call objects,asan,$(FUZZ_KERNEL_C) tests/fuzz/replay.c)
	$(call link_fuzzer,asan,$(CC),$(B)/asan/obj/tests/fuzz/replay.o)

# Other allocators, by LD_PRELOAD, do what benchmarks do with this one.
$(B)/host/peers: $(B)/host/obj/tests/peers/peers.o $(B)/host/obj/kern/work/stream.o
	@$(if $(V),,echo '  LINK $@')
	$(Q)$(HOST_LD) -o $@ $^
-include $(B)/host/obj/tests/peers/peers.d

# Targets ------------------------------------------------------------------------------------------

.PHONY: FORCE help run gdb kernel iso host lib install bench bench-irqoff bench-baseline bench-compare bench-linux plots sim model quick test test-long cov fuzz soak replay lint compdb clean mutants

run: ## install what is missing, build the kernel, boot it to its monitor in QEMU
	$(Q)scripts/deps $(if $(filter riscv64,$(ARCH)),riscv,run)
	$(Q)$(MAKE) --no-print-directory kernel
	$(Q)scripts/qemu --kernel $(B)/$(ARCH)/spandrel.elf --append kmem_debug=check

# What is looked at stays as it was built.
gdb: ## boot the kernel, stop it in gdb with the monitor's commands; else look at CORE=FILE, PID=N, AT=PORT; HALTED=1
	$(Q)scripts/deps gdb
	$(Q)$(if $(CORE)$(PID)$(AT),,$(MAKE) --no-print-directory kernel)
	$(Q)scripts/gdb/start --kernel $(B)/$(ARCH)/spandrel.elf --host $(B)/host/spandrel-host $(if $(CORE),--core "$(CORE)") \
		$(if $(PID),--pid "$(PID)") $(if $(AT),--at "$(AT)") $(if $(HALTED),--halted)

kernel: $(B)/$(ARCH)/spandrel.elf ## build the kernel, build/x86/spandrel.elf; ARCH=riscv64: another one

lib: $(LIB_ARCHIVES) ## build the library: ARCH_INC=DIR has port_arch.h, PREFIX=, LIB=DIR, LIB_CFLAGS=
	$(Q)scripts/lib-headers $(LIB)/include/spandrel $(PREFIX)
	$(Q)cp $(ARCH_INC)/port_arch.h $(LIB)/include/spandrel
	@echo '  PORT $(ARCH_INC)/port_arch.h:' $$(echo '#include "port.h"' | $(CC) $(lib_CFLAGS) -E -dM -x c - | \
		sed -n 's/^#define \(PORT_HAS_[A-Z_]*\) 1$$/\1/p' | sort | grep . || echo memory alone)

# For hosted use: a port's objects are the program's.
prefix ?= /usr/local
install: lib ## install the library, its headers and a pkg-config file under prefix= (DESTDIR=)
	$(Q)mkdir -p $(DESTDIR)$(prefix)/lib/pkgconfig $(DESTDIR)$(prefix)/include/spandrel
	$(Q)install -m 644 $(LIB_ARCHIVES) $(DESTDIR)$(prefix)/lib
	$(Q)install -m 644 $(LIB)/include/spandrel/*.h $(DESTDIR)$(prefix)/include/spandrel
	$(Q)sed 's|@prefix@|$(prefix)|; s|@version@|$(shell cat VERSION)|' scripts/spandrel.pc.in \
		> $(DESTDIR)$(prefix)/lib/pkgconfig/spandrel.pc

.PHONY: lib-objects
lib-objects: $(lib_OBJ)

iso: ## make build/x86/spandrel.iso, which boots by GRUB; APPEND="..." for its kernel's command line
	$(Q)scripts/deps iso
	$(Q)$(MAKE) --no-print-directory kernel
	$(Q)scripts/iso --kernel $(B)/x86/spandrel.elf $(B)/x86/spandrel.iso $(APPEND)

host: $(B)/host/spandrel-host ## build the Linux process, build/host/spandrel-host

quick: ## run the tests that must pass at every commit: sanitizers, one boot
	$(Q)scripts/deps test
	$(Q)tests/run.py --quick

test: ## install what is missing and run all tests
	$(Q)scripts/deps test
	$(Q)tests/run.py

test-long: ## run all tests with all operations on any number of cores, some hours
	$(Q)scripts/deps long
	$(Q)tests/run.py --long

cov: ## count the branches of kern/src that tests take, build/cov/html; installs what is missing
	$(Q)scripts/deps cov
	$(Q)$(MAKE) --no-print-directory $(B)/cov/spandrel-host $(B)/covsim/spandrel-sim
	$(Q)scripts/cov

# What replays the corpora in `make test`.
.PHONY: fuzzers
fuzzers: $(FUZZERS:%=$(B)/asan/fuzz/%)

fuzz: ## look for inputs that fail, T=60 seconds with each fuzzer of tests/fuzz, or with F=NAME
	$(Q)scripts/deps fuzz
	$(Q)[ -e "$(FUZZ_DRIVER)" ] || { echo "fuzz: $(FUZZ_CC) lacks libFuzzer (Debian's name: libclang-rt-dev)" >&2; exit 1; }
	$(Q)$(MAKE) --no-print-directory $(patsubst %,$(B)/fuzz/%,$(or $(F),$(FUZZERS)))
	$(Q)scripts/fuzz $(or $(T),60) $(F)

mutants: ## make N=200 single mistakes in kern/src, in the order of SEED=1, and print those that no test notices
	$(Q)scripts/deps mutants
	$(Q)scripts/mutants --runs $(or $(N),200) --seed $(or $(SEED),1)

soak: kernel ## run all workloads for 5 minutes, in a machine with little memory and a large disk
	$(Q)scripts/deps test
	$(Q)python3 tests/boot/soak.py

bench: kernel host $(B)/host/peers $(B)/irqoff/spandrel.elf ## run all benchmarks and check the budgets
	$(Q)scripts/bench

bench-irqoff: $(B)/irqoff/spandrel.elf ## measure how long interrupts are off
	$(Q)scripts/irqoff $< $(B)/bench/irqoff.csv

bench-baseline: kernel ## count the rows of tests/bench/baseline.csv and write it
	$(Q)scripts/bench-baseline --write

bench-compare: $(if $(BASE),kernel,host $(B)/host/peers) ## compare with other allocators, installed if missing; BASE=COMMIT: with that commit
	$(Q)$(if $(BASE),scripts/bench-baseline --base "$(BASE)",scripts/deps compare)
	$(Q)$(if $(BASE),,scripts/bench-compare)

bench-linux: ## count what Linux' allocators take in the same QEMU; installs what is missing
	$(Q)scripts/deps linux
	$(Q)scripts/bench-linux

plots: ## draw docs/plots from build/bench, or from docs/data, and docs/pictures
	$(Q)scripts/deps plots
	$(Q)scripts/plots
	$(Q)scripts/pictures

sim: $(B)/sim/spandrel-sim ## run concurrent tests on simulated cores: SEED=first, N=seeds
	$(Q)scripts/sim --seed $(or $(SEED),1) --runs $(or $(N),500)

model: host $(B)/asan/spandrel-host ## run random operations against models: N=100000, SEED=first of the sequences
	$(Q)scripts/model --seed $(or $(SEED),1) --operations $(or $(N),100000)

replay: $(if $(SIM),$(B)/sim/spandrel-sim,host) ## run one test again: TEST="name" SEED=0x..., or SIM= of a simulation
	$(Q)$(if $(SIM),scripts/sim -v --seed $(SIM) --runs 1 --filter "$(TEST)",$(B)/host/spandrel-host --seed $(or $(SEED),1) --test "$(TEST)")

# The process' port stands for all.  clang-tidy takes its checks from .clang-tidy.
LINT_C := $(filter-out arch/% tests/% $(B)/%,$(HOST_C)) kern/lib/string.c
LINT_CFLAGS := -std=gnu11 -DSPANDREL_DEBUG=1 -Ikern/include -Ikern -Ikern/src -Itests -Iarch/host/include
lint: ## check locks by clang's analysis, and the sources with clang-tidy and cppcheck; installs what is missing
	$(Q)scripts/deps lint
	@echo '  LINT locks'
	$(Q)clang $(LINT_CFLAGS) -DSPANDREL_LINT -fsyntax-only -Wthread-safety -Werror -Wno-gcc-compat $(LINT_C)
	@echo '  LINT clang-tidy'
	$(Q)clang-tidy --quiet $(LINT_C) -- $(LINT_CFLAGS)
	@echo '  LINT cppcheck'
	$(Q)cppcheck --quiet --std=c11 --error-exitcode=1 --suppressions-list=scripts/lint.txt \
		--enable=warning,performance,portability \
		-Ikern/include -Ikern -Ikern/src -Itests -Iarch/host/include \
		kern arch/host tests/unit

compdb: ## write compile_commands.json, for editors (bear)
	$(Q)bear -- $(MAKE) --no-print-directory B=$(B)/compdb kernel host

clean: ## remove build/
	$(Q)rm -rf $(B)

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' Makefile
	@echo '  variables: CC=clang chooses the compiler, V=1 shows the commands'
