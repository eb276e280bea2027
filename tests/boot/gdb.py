#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Compares what scripts/gdb reads from outside with what the monitor says of the same moment.

    tests/boot/gdb.py [--kernel FILE] [--host FILE] [FILTER]

After a panic nothing changes any more: what the monitor prints then, line by line, is what gdb has to print for
the live machine, for a dump of it, for a host process and for its core file.  Prints `N passed, N failed`.
"""

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager

from console import Console, keys, run_one

LIMIT = 120  # seconds that a run may take; only one that hangs does
MARK = "=-=-="
# Runs a program in a folder, which any process may trace, also where that isn't so by itself, and whose core
# file may be as large as it is.
RUN_IN = "import ctypes, os, resource, sys; ctypes.CDLL(None).prctl(0x59616d61, ctypes.c_ulong(-1), 0, 0, 0); " \
         "resource.setrlimit(resource.RLIMIT_CORE, 2 * resource.getrlimit(resource.RLIMIT_CORE)[1:]); " \
         "os.chdir(sys.argv[1]); os.execv(sys.argv[2], sys.argv[2:])"

TESTS = []
options = None


def test(name):
    def register(function):
        TESTS.append((name, function))
        return function
    return register


def equal(got, wanted):
    assert got == wanted, f"{got!r}, wanted {wanted!r}"


def inside(*arguments, commands):
    """What each of the commands prints in gdb."""
    command = [sys.executable, "scripts/gdb/start", "--kernel", options.kernel, "--host", options.host, *arguments,
               "--", "-nx", "-batch", "-ex", f"echo {MARK}\\n"]
    for line in commands:
        command += ["-ex", line, "-ex", f"echo {MARK}\\n"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=LIMIT, check=False, text=True)
    parts = done.stdout.split(MARK + "\n")
    assert "Traceback" not in done.stdout and len(parts) == len(commands) + 2, done.stdout
    return parts[1:-1]


# A kernel that has handed out and taken back something, and has panicked

SET_UP = ("alloc kmalloc-64 64 70", "alloc kpages 8192 3", "alloc kmalloc-256 256 9", "free 3")


def ask(console, line, prompt="spandrel> "):
    console.type(line + "\n")
    return console.expect(rf"(?s)(.*)\n{prompt}$")[1]


def first_address(text):
    return re.search(r"0xffff[0-9a-f]+|0x[0-9a-f]{6,}", text)[0]


@contextmanager
def panicked(command):
    """The console, and addresses: of an object, of one that was freed, of pages."""
    with Console(command, LIMIT) as console:
        console.expect(r"(?m)^spandrel> $")
        said = [ask(console, line) for line in SET_UP]
        console.type("panic inside\n")
        console.expect(r"panic> $")
        yield console, [first_address(said[i]) for i in (0, 2, 1)]


# By their `-k` lines, and one as people see it.  All of them are short: after a panic the console is slow.
LINES = ("arena tree -k", "arena segs vectors -k", "arena segs monitor -k", "arena show base -v -k",
         "arena show ktask-ids -k", "slab", "slab kmalloc-64 -k", "slab kmalloc-256 -k", "slab vaddr-1 -k",
         "whatis -k kernel_main+0x10", "whatis -k base_arena")


def rows_of(text, *without):
    return [row for row in keys(re.sub("\n+", "\n", text).strip("\n")) if row[0] not in without]


def ktasks_of(text):
    """The monitor's ktask goes on, so that the peak of its stack may grow."""
    rows = [row for word, row in rows_of(text) if word == "ktask"]
    return [{key: value for key, value in row.items() if key != "peak" or row["state"] != "running"} for row in rows]


def frames_of(text):
    """The symbols of each ktask that sleeps."""
    asleep = {row["id"] for row in ktasks_of(text) if row["state"] == "asleep"}
    return [(row["ktask"], row["symbol"]) for word, row in rows_of(text)
            if word == "frame" and row["ktask"] in asleep]


def said_after(console, addresses):
    """What the monitor says of all that is compared, by line."""
    lines = [*LINES, *(f"whatis -k {address}" for address in addresses), "ps -k"]
    return {line: ask(console, line, "panic> ") for line in lines}


def is_the_same(said, *arguments):
    """What the monitor has said, and what gdb does."""
    lines = [*said][:-1]
    commands = [line if line[:6] != "whatis" else f"spandrel {line}" for line in lines]
    *got, ktasks, waiters, screen = inside(*arguments, commands=[*commands, "ps -k -v", "waiters -k", "arena tree"])
    for line, ours in zip(lines, got, strict=True):
        # The rows that gdb leaves out.
        theirs = rows_of(said[line], "place", "user", "free") or said[line].partition("\n")[2].strip()
        assert theirs, line
        equal((line, rows_of(ours) or ours.strip()), (line, theirs))
    equal(ktasks_of(ktasks), ktasks_of(said["ps -k"]))
    equal(frames_of(ktasks), frames_of(said["ps -k"]))
    assert "symbol=rendez_sleep" in ktasks and waiters == "", (ktasks, waiters)
    assert max(map(len, screen.splitlines())) <= 80 and re.search(r"(?m)^  kpages ", screen), screen


def stays_plain(*arguments):
    """Lists that come back to where they were, or lead nowhere, are one plain line."""
    commands = ["set var kpages_arena->store.anchor.next->next = kpages_arena->store.anchor.next",
                "arena segs kpages", "set var all_arenas->all_next = (struct arena *)0x18", "arena tree -k",
                "arena segs nonsense", "slab nonsense", "spandrel whatis nonsense", "whatis all_arenas"]
    said = inside(*arguments, commands=commands)
    assert re.search(r"(?m)^arena segs: segments: the list comes to 0x\w+ a second time$", said[1]), said[1]
    assert re.search(r"(?m)^arena tree: Cannot access memory at address 0x", said[3]), said[3]
    equal([len(text.splitlines()) for text in said[4:]], [1, 1, 1, 1])
    equal(said[-1], "type = struct arena *\n")


@test("gdb: of a live machine and of its dump it says what the monitor does, and stays plain if lists are broken")
def _():
    with tempfile.TemporaryDirectory() as folder:
        stub, control, dump = (f"{folder}/{name}" for name in ("gdb", "control", "dump"))
        machine = ["scripts/qemu", "--kernel", options.kernel, "--timeout", str(LIMIT), "--cores", "2", "--mem", "32M",
                   "--gdb", stub, "--control", control]
        with panicked(machine) as (console, addresses):
            said = said_after(console, addresses)
            is_the_same(said, "--at", stub)
            subprocess.run(["scripts/dump", control, dump], check=True)
            is_the_same(said, "--core", dump)
            stays_plain("--at", stub)


@test("gdb: of a host process and of its core file it says what the monitor does")
def _():
    with tempfile.TemporaryDirectory() as folder:
        process = [sys.executable, "-c", RUN_IN, folder, os.path.abspath(options.host), "--cores", "2", "--mem", "16M"]
        with panicked(process) as (console, addresses):
            said, number = said_after(console, addresses), str(console.process.pid)
            is_the_same(said, "--pid", number)
            console.process.send_signal(signal.SIGABRT)
            console.process.wait()
        cores = [file for file in os.listdir(folder) if file.startswith("core")]
        if cores:
            is_the_same(said, "--core", f"{folder}/{cores[0]}")
        else:
            print("skipped: gdb: a process's core file doesn't lie where it ran (core_pattern, ulimit -c)")


def sees_sleeper(shown, screen, waiters, ktasks):
    """The request that sleeps in the demo, as the monitor has shown it, and its ktask."""
    wanted = re.search(r"(?m)^(demo +64\.0 KiB MEM_WAIT) .* (sleep_for_large\+0x\w+)$", shown)
    assert wanted, shown
    got = re.search(r"(?m)^(demo +64\.0 KiB MEM_WAIT) +- +no +\d+ (sleep_for_large\+0x\w+)$", screen)
    assert got and got.groups() == wanted.groups(), screen
    row = rows_of(waiters)[0][1]
    sleeper = next(row for row in ktasks_of(ktasks) if row["name"] == "demo")
    equal((row["ktask"], row["piece"], sleeper["wait"]), (sleeper["id"], "65536", "memory_of_demo"))


@test("gdb: boots a kernel to its prompt, types at it, sees what that did, and who sleeps in the demo")
def _():
    lines = ("arena segs kpages -k", "slab kmalloc-64 -k", "arena show vectors -k")
    commands = ["console alloc kmalloc-64 64 70", *(word + line for line in lines for word in ("console ", "")),
                "console demo", *["console"] * 3, "waiters", "waiters -k", "ps -k"]
    said = inside("--qemu", "--cores 2 --mem 32M", commands=commands)
    for typed, read in zip(said[1:7:2], said[2:7:2], strict=True):
        equal(rows_of(read), rows_of(typed, "free"))
        assert rows_of(read), typed
    sees_sleeper(*said[-4:])


def main():
    global options
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--kernel", default="build/x86/spandrel.elf")
    parser.add_argument("--host", default="build/host/spandrel-host")
    parser.add_argument("filter", nargs="?", default="")
    options = parser.parse_args()
    for file in options.kernel, options.host:
        if not os.path.isfile(file):
            parser.error(f"there is no file {file}")
    results = [run_one(*test) for test in TESTS if options.filter in test[0]]
    print(f"{sum(results)} passed, {len(results) - sum(results)} failed")
    return 0 if all(results) and results else 1


sys.exit(main())
