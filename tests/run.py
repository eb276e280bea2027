#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Runs the tests in stages and adds their counts.

    tests/run.py [--quick | --long]

--long: with all operations of the random tests on any number of cores, and the soak of 5 minutes.
Each stage is a command.  If the last line of its output is `N passed, N failed`, these are its
counts; else the stage counts as one test.  The builds run one after another, then as many stages at
once as there are processors.  A stage's output is shown only if it fails, but for lines that begin with
`skipped:`.  Prints the seconds that each stage took, and the sums last.
"""

import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

MAKE = ["make", "--no-print-directory", f"-j{os.cpu_count() or 1}"]
COUNT = re.compile(r"^(\d+) passed, (\d+) failed$")

# Mappings at ever new addresses would have it take memory for each.
TSAN = ["env", "TSAN_OPTIONS=memory_limit_mb=6000"]

# A stage: its name, its command, whether it is among the quick ones.
BUILDS = [
    ("build with gcc", [*MAKE, "CC=gcc", "kernel", "host"], True),
    ("build for ASan", [*MAKE, "CC=gcc", "build/asan/spandrel-host"], True),
    ("build fuzzers for ASan", [*MAKE, "CC=gcc", "fuzzers"], False),
    ("build with clang", [*MAKE, "CC=clang", "B=build/clang", "kernel"], False),
    ("build with clang for TSan", [*MAKE, "CC=clang", "B=build/clang", "build/clang/tsan/spandrel-host"], False),
    ("build for riscv64", [*MAKE, "CC=gcc", "ARCH=riscv64", "kernel"], False),
    ("build of the simulation", [*MAKE, "CC=gcc", "build/sim/spandrel-sim"], False),
]
LONG_BUILDS = [
    ("build of the host with clang", [*MAKE, "CC=clang", "B=build/clang", "host"], False),
    ("build for debugging", [*MAKE, "CC=gcc -DSPANDREL_DEBUG=1", "B=build/debug", "kernel"], False),
    ("build for riscv64 with clang", [*MAKE, "CC=clang", "B=build/clang", "ARCH=riscv64", "kernel"], False),
]
# The longest first, so that none is left over when all others have ended.
STAGES = [
    ("boot", ["python3", "tests/boot/run.py", "--only", "console"], False),
    ("unit tests in the kernel", ["python3", "tests/boot/run.py", "--only", "units"], False),
    ("boot, quick", ["python3", "tests/boot/run.py", "--quick"], True),
    ("host tests, clang, TSan, 4 cores", [*TSAN, "build/clang/tsan/spandrel-host", "--cores", "4", "--append",
                                          "test_divisor=20", "--test"], False),
    ("host tests, ASan and UBSan, 4 cores", ["build/asan/spandrel-host", "--cores", "4", "--append",
                                             "test_divisor=10", "--test"], True),
    ("unit tests in the kernel, riscv64, 1 core",
     ["scripts/qemu", "--arch", "riscv64", "--cores", "1", "--timeout", "780", "--append", "test_divisor=10",
      "--autorun", "test; poweroff"], False),
    ("panics, clang", ["python3", "tests/boot/run.py", "--kernel",
                     "build/clang/x86/spandrel.elf", "--only", "console", "panic:"], False),
    ("gdb", ["python3", "tests/boot/gdb.py"], False),
    ("soak, 20 s", ["python3", "tests/boot/soak.py", "--seconds", "20"], False),
    ("soak by instructions, 10 s", ["python3", "tests/boot/soak.py", "--seconds", "10", "--icount"],
     False),
    ("host tests, gcc, 4 cores, debug mode check",
     ["build/host/spandrel-host", "--cores", "4", "--append", "kmem_debug=check test_divisor=10",
      "--test"], False),
    ("counted benchmarks against their baseline", ["scripts/bench-baseline"], False),
    ("costs in headers", ["scripts/costs"], False),
    ("outputs in the monitor's page", ["scripts/monitor-doc", "--check"], False),
    ("fuzzers, their corpora", ["scripts/fuzz", "--replay"], False),
    ("simulation, 500 seeds", ["scripts/sim", "--runs", "500", "--share", "3"], False),
    ("mutations, five at their seeds", ["scripts/mutations", "--check", "5"], False),
    ("models, 20,000 operations", ["scripts/model", "--operations", "20000"], False),
    ("layers", ["scripts/layers", "build/x86/obj"], True),
    ("headers", ["tests/headers.sh"], True),
    ("frames", ["tests/frames.sh"], True),
    ("includes", ["scripts/includes"], True),
    ("links", ["scripts/links"], True),
    ("pictures", ["scripts/pictures", "--check"], True),
    ("embedding", ["tests/embed/run.sh"], False),
    ("table of misuses", ["scripts/misuse-table", "--check"], True),
]

LONG_STAGES = [
    ("simulation, 5000 seeds", ["scripts/sim", "--runs", "5000"], False),
    ("mutations, the search", ["scripts/mutations", "--search"], False),
    ("host tests, clang, 2 cores", ["build/clang/host/spandrel-host", "--cores", "2", "--test"], False),
    ("host tests, gcc, 8 cores", ["build/host/spandrel-host", "--cores", "8", "--test"], False),
    ("host tests, gcc", ["build/host/spandrel-host", "--test"], False),
    ("host tests, ASan and UBSan, debug mode full",
     ["build/asan/spandrel-host", "--append", "kmem_debug=full test_limit=1000", "--test"], False),
    ("host tests, gcc, debug mode check",
     ["build/host/spandrel-host", "--append", "kmem_debug=check test_limit=3000", "--test"], False),
    ("host tests, gcc, 4 cores, debug mode full",
     ["build/host/spandrel-host", "--cores", "4", "--append", "kmem_debug=full test_limit=3000",
      "--test"], False),
    ("riscv64", ["python3", "tests/boot/run.py", "--kernel", "build/riscv64/spandrel.elf", "--long"], False),
    ("unit tests in the kernel, clang",
     ["python3", "tests/boot/run.py", "--kernel", "build/clang/x86/spandrel.elf", "--only", "units"], False),
    ("unit tests in the kernel, built for debugging",
     ["python3", "tests/boot/run.py", "--kernel", "build/debug/x86/spandrel.elf", "--only", "units"], False),
    ("boot, debug mode check", ["python3", "tests/boot/run.py", "--only", "console", "--debug", "check"], False),
    ("unit tests in the kernel, debug mode check",
     ["scripts/qemu", "--cores", "4", "--mem", "512M", "--timeout", "3600", "--append",
      "kmem_debug=check test_limit=1000", "--autorun", "test; poweroff"], False),
    ("unit tests in the kernel, debug mode full",
     ["scripts/qemu", "--cores", "4", "--mem", "512M", "--timeout", "3600", "--append",
      "kmem_debug=full test_limit=1000", "--autorun", "test; poweroff"], False),
]

# What --long does instead of the stage of that name.
LONG = {
    "panics, clang": ["python3", "tests/boot/run.py", "--kernel", "build/clang/x86/spandrel.elf", "--only", "console"],
    "boot": ["python3", "tests/boot/run.py", "--only", "console", "--long"],
    "unit tests in the kernel": ["python3", "tests/boot/run.py", "--only", "units", "--long"],
    "host tests, clang, TSan, 4 cores": [*TSAN, "build/clang/tsan/spandrel-host", "--cores", "4", "--append",
                                         "test_limit=3000", "--test"],
    "host tests, ASan and UBSan, 4 cores": ["build/asan/spandrel-host", "--cores", "4", "--append",
                                            "test_limit=3000", "--test"],
    "mutations, five at their seeds": ["scripts/mutations"],
    "models, 20,000 operations": ["scripts/model", "--operations", "1000000"],
    "soak, 20 s": ["python3", "tests/boot/soak.py"],
}

# Seconds that a stage may take; only one that hangs takes so long.
LIMIT, LONG_LIMIT = 800, 14400


def run_command(command, limit):
    """Runs a stage's command; returns passed, failed and its output."""
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
        # Unit tests that end without a count haven't all run.
        return (1, 0, text) if code == 0 and "--test" not in command else (0, 1, text)
    passed, failed = int(count[1]), int(count[2])
    # A bad exit status or a count of 0 is a failure too.
    if (code != 0 and failed == 0) or passed + failed == 0:
        failed += 1
    return passed, failed, text


def run_stage(stage):
    """Runs one stage and prints what came of it; returns passed and failed."""
    name, command, _ = stage
    start = time.monotonic()
    long = sys.argv[1:] == ["--long"]
    passed, failed, text = run_command(LONG.get(name, command) if long else command,
                                       LONG_LIMIT if long else LIMIT)
    seconds = f"{time.monotonic() - start:6.1f} s"
    skipped = "".join(re.findall(r"(?m)^skipped:.*\n", text))
    print((text if failed else skipped) + f"{seconds}  {name}: {passed} passed, {failed} failed",
          flush=True)
    return passed, failed


def main():
    quick = sys.argv[1:] == ["--quick"]
    if sys.argv[1:] not in ([], ["--quick"], ["--long"]):
        print("usage: tests/run.py [--quick | --long]", file=sys.stderr)
        return 2

    def chosen(stages):
        return [stage for stage in stages
                if (stage[2] if quick else stage[0] != "boot, quick")]

    began = time.monotonic()
    is_long = sys.argv[1:] == ["--long"]
    counts = [run_stage(stage) for stage in chosen(BUILDS + (LONG_BUILDS if is_long else []))]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        more = LONG_STAGES if is_long else []
        counts += pool.map(run_stage, chosen(STAGES + more))
    passed, failed = (sum(column) for column in zip(*counts))
    print(f"{time.monotonic() - began:6.1f} s  in all")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


sys.exit(main())
