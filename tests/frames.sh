#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# No frame of the kernel's is larger than a stack's guard page: both compilers refuse one, by the
# flags that the kernel and the host program are built with.
set -u
passed=0 failed=0
for flavour in x86 host; do
	for compiler in gcc clang; do
		make -s CC=$compiler B=build/frames build/frames/$flavour/flags
		compile=$(cat build/frames/$flavour/flags)
		for size in 2000 4000; do
			echo "void use(char *); void f(void); void f(void) { char a[$size]; use(a); }" |
				$compile -c -o /dev/null -xc - 2>/dev/null
			refused=$?
			if [ $((refused != 0)) = $((size > 3072)) ]; then
				passed=$((passed + 1))
			else
				echo "$flavour, $compiler: a frame of $size bytes"
				failed=$((failed + 1))
			fi
		done
	done
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
