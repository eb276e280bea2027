#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Every header of the kernel compiles alone, for every port.
set -u
passed=0 failed=0
for arch in x86 riscv64 host; do
	for header in kern/include/*.h kern/lib/*.h kern/src/*/*.h kern/monitor/*.h kern/work/*.h kern/dev/*.h; do
		if echo "#include \"$header\"" | gcc -std=gnu11 -Wall -Wextra -Werror \
			-Wno-unused-parameter -fsyntax-only -I. -Ikern/include -Ikern \
			-Ikern/src -Itests -Iarch/$arch/include -xc -; then
			passed=$((passed + 1))
		else
			failed=$((failed + 1))
		fi
	done
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
