#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Builds the library against ports of other kernels, and programs and a kernel with it, from the archives and
# public headers alone, and runs them.  Prints what failed, then `N passed, N failed`.
set -u
cd "$(dirname "$0")/../.."
out=build/embed passed=0 failed=0
host=$(gcc -dumpmachine)

# told NAME COMMAND...: it must succeed; its output is shown if not.
told() {
	what=$1
	shift
	if "$@" >"$out/log" 2>&1; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "FAIL embed: $what"
		tail -20 "$out/log"
	fi
}

# lib NAME PORT [VARIABLE=VALUE...]
lib() {
	name=$1 port=$2
	shift 2
	told "library, $name" make --no-print-directory -s "-j$(nproc)" lib B="$out/$name" ARCH_INC="tests/embed/$port" \
		LIB_WERROR=-Werror "$@"
}

# program NAME LIBRARY PORT ARCHIVE SOURCES AND FLAGS...: builds and runs it.
program() {
	name=$1 library=$2 port=$3 archive=$4
	shift 4
	told "$name: it builds" "${CXX_FOR:-gcc}" -O1 -g -Wall -Wextra -Werror -Itests/embed "-Itests/embed/$port" \
		"-I$out/$library/lib/include" "$@" "$out/$library/lib/$archive" -pthread -o "$out/program"
	told "$name" timeout 300 "$out/program"
}

# What the archive leaves to its port, and nothing else.
only_needs() {
	archive=$1
	shift
	[ "$(nm "$archive" | awk '$1 == "U" {print $2}' | sort -u | tr '\n' ' ')" = "$* " ] ||
		{ nm "$archive" | grep ' U '; return 1; }
}

# Its global names are the public ones.
has_names() {
	nm "$1" | awk '$2 ~ /[A-TV-Z]/ {print $3}' | sort -u >"$out/has"
	scripts/lib-headers --names "$2" | sed "s/^/${3-}/" | sort -u >"$out/public"
	[ -z "$(comm -23 "$out/has" "$out/public")" ] && grep -q "${3-}arena_alloc\|btag_store_init" "$out/has"
}

# Its own boot code and names; it ends QEMU with status 1.
kernel() {
	gcc -O2 -g -Wall -Wextra -Werror -ffreestanding -fno-pic -mno-red-zone -mgeneral-regs-only \
		-fno-stack-protector -fcf-protection=none -nostdlib -static -no-pie \
		-Wl,-Ttext-segment=0x100000,-z,noexecstack,--build-id=none,-e,entry -Itests/embed \
		-Itests/embed/kernel "-I$out/kernel/lib/include" tests/embed/kernel/boot.S tests/embed/kernel/main.c \
		tests/embed/check.c "$out/kernel/lib/libspandrel.a" -o "$out/kernel.elf" || return 1
	timeout 300 qemu-system-x86_64 -display none -nodefaults -no-reboot -serial stdio \
		-device isa-debug-exit,iobase=0xf4,iosize=4 -m 64M -kernel "$out/kernel.elf" </dev/null
	[ $? = 1 ]
}

mkdir -p "$out"

lib memory memory
for archive in btag arena; do
	told "names of libspandrel-$archive.a" has_names "$out/memory/lib/libspandrel-$archive.a" $archive
done
told "names of libspandrel.a" has_names "$out/memory/lib/libspandrel.a" all
told "what memory alone needs" only_needs "$out/memory/lib/libspandrel.a" port_bug
program "memory alone" memory memory libspandrel.a tests/embed/memory/main.c tests/embed/check.c
program "memory alone, 24 pages" memory memory libspandrel.a -DPAGES=24 tests/embed/memory/main.c \
	tests/embed/check.c
program "mistakes in the order of boot" memory memory libspandrel.a tests/embed/memory/order.c
told install make --no-print-directory -s install B="$out/memory" ARCH_INC=tests/embed/memory \
	LIB_WERROR=-Werror DESTDIR="$PWD/$out/root" prefix=/usr
told "a program of what is installed" gcc tests/embed/memory/ids.c "-I$out/root/usr/include" \
	"-I$out/root/usr/include/spandrel" "-L$out/root/usr/lib" -lspandrel -o "$out/program"
program "arenas alone" memory memory libspandrel-arena.a tests/embed/memory/ids.c
program "segments alone" memory memory libspandrel-btag.a tests/embed/memory/store.c
lib memory memory PREFIX=sp_ LIB_CFLAGS="-O1 -g -fPIE"
told "names with a prefix" has_names "$out/memory/lib/libspandrel.a" all sp_
CXX_FOR=g++ program "names with a prefix, in C++" memory memory libspandrel.a tests/embed/memory/prefix.cc

large="-DEMBED_PAGE_SHIFT=14 -DEMBED_LINE_SIZE=128"
lib large memory LIB_CFLAGS="-O0 -g -fPIE $large"
# shellcheck disable=SC2086
program "pages of 16 KiB, lines of 128, at -O0" large memory libspandrel.a $large tests/embed/memory/main.c \
	tests/embed/check.c

lib threads threads LIB_CFLAGS="-O1 -g -fPIE"
told "what threads need" only_needs "$out/threads/lib/libspandrel.a" port_bug port_core_count port_core_id \
	port_core_max port_core_run port_irq_restore port_irq_save port_may_sleep port_ns port_pause \
	port_thread_block port_thread_self port_thread_unblock port_thread_words port_ticks
program threads threads threads libspandrel.a tests/embed/threads/main.c tests/embed/check.c
program "255 cores" threads threads libspandrel.a -DCORES=255 -DPAGES=8192 tests/embed/threads/main.c \
	tests/embed/check.c
lib still threads LIB_CFLAGS="-O1 -g -fPIE -DEMBED_NO_CLOCK"
program "threads without a clock" still threads libspandrel.a -DEMBED_NO_CLOCK -DPAGES=512 -DROUNDS=10000 -DCHECKS=30 \
	tests/embed/threads/main.c tests/embed/check.c

case $host in
x86_64*)
	lib preempt preempt LIB_CFLAGS="-O1 -g -fPIE"
	program preemption preempt preempt libspandrel.a -mgeneral-regs-only tests/embed/preempt/main.c
	lib kernel kernel
	told "a kernel of its own" kernel
	;;
esac

# Compiled, not linked; at the other sizes of pages and lines.
for machine in aarch64 riscv64; do
	told "objects for $machine" make --no-print-directory -s "-j$(nproc)" lib-objects B="$out/$machine" \
		CC="clang --target=$machine-linux-gnu" LIB_CFLAGS="-O0 -DEMBED_PAGE_SHIFT=16 -DEMBED_LINE_SIZE=32" \
		ARCH_INC=tests/embed/memory
done

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
