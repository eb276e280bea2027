#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Runs the tests in stages and adds their counts.

    tests/run.py [--quick]

Each stage is a command.  If the last line of its output is `N passed, N failed`, these are its
counts; else the stage counts as one test.  A stage's output is shown only if it fails.  Prints the
seconds that each stage took, and the sums last.
"""

import os
import re
import subprocess
import sys
import time

MAKE = ["make", "--no-print-directory", f"-j{os.cpu_count() or 1}"]
COUNT = re.compile(r"^(\d+) passed, (\d+) failed$")

# A stage: its name, its command, how many seconds it may take, whether it is among the quick ones.
STAGES = [
    ("build with gcc", [*MAKE, "CC=gcc", "kernel", "host"], 300, True),
    ("build for ASan", [*MAKE, "CC=gcc", "build/asan/spandrel-host"], 300, True),
    ("build for TSan", [*MAKE, "CC=gcc", "build/tsan/spandrel-host"], 300, False),
    ("build with clang", [*MAKE, "CC=clang", "B=build/clang", "kernel", "host"], 300, False),
    ("layers", ["scripts/layers", "build/x86/obj"], 60, True),
    ("headers", ["tests/headers.sh"], 60, True),
    ("includes", ["scripts/includes"], 60, True),
    ("host tests, ASan and UBSan", ["build/asan/spandrel-host", "--test"], 300, False),
    ("host tests, ASan and UBSan, 4 cores", ["build/asan/spandrel-host", "--cores", "4", "--test"],
     300, True),
    ("host tests, TSan, 4 cores", ["build/tsan/spandrel-host", "--cores", "4", "--append",
                                   "test_divisor=10", "--test"], 300, False),
    ("host tests, gcc", ["build/host/spandrel-host", "--test"], 300, False),
    ("host tests, gcc, 8 cores", ["build/host/spandrel-host", "--cores", "8", "--test"],
     300, False),
    ("host tests, clang, 2 cores", ["build/clang/host/spandrel-host", "--cores", "2", "--test"],
     300, False),
    ("boot, quick", ["python3", "tests/boot/run.py", "--quick"], 120, True),
    ("boot", ["python3", "tests/boot/run.py"], 600, False),
    ("soak, 20 s", ["python3", "tests/boot/soak.py", "--seconds", "20"], 300, False),
    ("soak by instructions, 10 s", ["python3", "tests/boot/soak.py", "--seconds", "10", "--icount"], 300,
     False),
    ("boot, clang", ["python3", "tests/boot/run.py", "--kernel",
                     "build/clang/x86/spandrel.elf", "--quick"], 120, False),
]


def run_stage(command, limit):
    """Runs one stage; returns passed, failed and its output."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=limit, check=False)
        output, code = done.stdout, done.returncode
    except subprocess.TimeoutExpired as late:
        output, code = (late.stdout or b"") + b"\n(time is up)\n", 124
    except OSError as error:
        output, code = str(error).encode(), 127
    text = output.decode("utf-8", "replace")
    lines = text.strip().splitlines()
    count = COUNT.match(lines[-1]) if lines else None
    if not count:
        return (1, 0, text) if code == 0 else (0, 1, text)
    passed, failed = int(count[1]), int(count[2])
    # A bad exit status or a count of 0 is a failure too.
    if (code != 0 and failed == 0) or passed + failed == 0:
        failed += 1
    return passed, failed, text


def main():
    quick = sys.argv[1:] == ["--quick"]
    if sys.argv[1:] and not quick:
        print("usage: tests/run.py [--quick]", file=sys.stderr)
        return 2
    passed = failed = 0
    began = time.monotonic()
    for name, command, limit, is_quick in STAGES:
        if quick and not is_quick or not quick and name == "boot, quick":
            continue
        start = time.monotonic()
        p, f, text = run_stage(command, limit)
        passed, failed = passed + p, failed + f
        if f:
            print(text, end="")
        print(f"{time.monotonic() - start:6.1f} s  {name}: {p} passed, {f} failed", flush=True)
    print(f"{time.monotonic() - began:6.1f} s  in all")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


sys.exit(main())
