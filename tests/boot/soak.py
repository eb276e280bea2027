#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Runs all workloads at once, in a machine with little memory and a large disk.

    tests/boot/soak.py [--seconds N] [--mem SIZE] [--disk MIB] [--without NAME]... [--icount] [--kernel FILE]

Starts every workload over the console and lets them run; then each of them must still go on, none
may have found an error, all must stop, and the console must have shown no panic and no memory that
is out.  Memory must then come home: base has as much free as after boot, but for 5 in 1000 or 64
pages.  With --icount there is one core, time is counted in instructions, and no request may have slept for
10^9 of them before it was served.  Prints each workload's operations, each check that fails, `home_permille`, and
`N passed, N failed` last.
"""

import argparse
import os
import re
import sys
import tempfile
import time

from console import Console, keys

PAGE = 4096
MIB = 1 << 20
CORES = 4

# The hog comes last: what the others need to start is then still free.
WORKLOADS = ["alloc 40 4", "bursts 2", "disk disk0 2 2", "ids 4", "maps 2", "hog 10 100"]

# Seconds.  A workload that does nothing for PATIENCE hangs.
LOOK_EVERY = 5
PATIENCE = 60
SLACK = 200  # to boot, stop and reclaim
SECONDS_MAX = 10**8

HOME_PERMILLE = 995
HOME_PAGES = 64


# On a busy machine a callback may take long; the report comes in the middle of any other output.
REPORT = re.compile(r"reclaim: the callback of \S+ took \d+ ms; it is left out for 10 s\n")


class Recorder(Console):
    """A console that keeps all that was shown, and takes REPORT out of what is expected."""

    def __init__(self, command, limit):
        self.shown = ""
        super().__init__(command, limit)

    def _read(self):
        before = len(self.text)
        more = super()._read()
        self.shown += self.text[before:]
        self.text = REPORT.sub("", self.text)
        return more

    def answer(self):
        """The output up to the next prompt."""
        match = self.expect(r"(?ms)(.*?)^(spandrel|panic)> ")
        assert match[2] == "spandrel", f"a panic: {self.shown[-3000:]}"
        return match[1]

    def ask(self, line):
        """Runs a command; returns its output."""
        self.type(line + "\n")
        self.expect(re.escape(line) + "\n")
        return self.answer()


class Soak:
    """One run, and its checks."""

    def __init__(self, console, without, icount):
        self.console = console
        self.icount = icount
        self.without = without
        self.workloads = []
        self.passed = self.failed = 0

    def check(self, what, good, detail=""):
        self.passed, self.failed = self.passed + bool(good), self.failed + (not good)
        if not good:
            print(f"FAIL {what}: {detail}")

    def base_free(self):
        rows = keys(self.console.ask("arena tree -k"))
        return next(int(row["free"]) for word, row in rows
                    if word == "arena" and row["name"] == "base")

    def look(self):
        """The workloads' rows, in order of id."""
        return [row for word, row in keys(self.console.ask("work list -k")) if word == "work"]

    def see_go_on(self, rows):
        """Waits until each workload has done more than in `rows`; returns how it stands then."""
        late = time.monotonic() + PATIENCE
        while True:
            new = self.look()
            idle = [row["name"] for row, before in zip(new, rows) if row["ops"] == before["ops"]]
            if not idle:
                return new
            assert time.monotonic() < late, f"{idle} hang: {new}"
            time.sleep(1)

    def start(self):
        self.workloads = [line for line in WORKLOADS if line.split()[0] not in self.without]
        for line in self.workloads:
            answer = self.console.ask(f"work start -k {line}")
            assert answer.startswith("started id="), f"{line}: {answer}"

    def run(self, seconds):
        end = time.monotonic() + seconds
        rows = self.see_go_on(self.look())
        while time.monotonic() < end:
            time.sleep(min(LOOK_EVERY, max(0, end - time.monotonic())))
            rows = self.see_go_on(rows)
        for row in rows:
            bad = {key: row[key] for key in ("wrong", "refused", "failed") if row[key] != "0"}
            print(f"{row['name']:8} {row['ops']:>12} operations")
            self.check(f"{row['name']} finds no error", not bad, bad)

    def stop(self):
        answer = self.console.ask("work stop -k")
        self.check("all workloads stop", answer == f"stopped count={len(self.workloads)}\n", answer)
        self.check("no workload is left", not self.console.ask("work list -k"))
        self.check("arenas and caches are sound", "broken" not in self.console.ask("arena check"))

    def come_home(self, free_at_boot):
        """What disks lack is written first: a block may be given up only then."""
        self.console.ask("cache sync")
        self.console.ask("reclaim run 3")
        free = self.base_free()
        permille = free * 1000 // free_at_boot
        print(f"home_permille {permille}")
        self.check("memory comes home",
                   permille >= HOME_PERMILLE or free_at_boot - free <= HOME_PAGES * PAGE,
                   f"{free_at_boot} bytes of base were free after boot, {free} are now")

    def check_sleeps(self):
        """A nanosecond is an instruction, or one that an idle core would have executed."""
        row = next(row for word, row in keys(self.console.ask("reclaim -k")) if word == "reclaim")
        longest = int(row["longest_ns"])
        print(f"longest sleep {longest / 1e6:.1f} ms of {row['served']} that were served")
        self.check("requests are served in time", not self.icount or longest < 10**9, longest)

    def all(self, seconds):
        self.console.answer()
        free_at_boot = self.base_free()
        self.start()
        self.run(seconds)
        self.stop()
        self.come_home(free_at_boot)
        self.check_sleeps()
        shown = re.findall(r"(?m)^panic: .*$|^.*out of memory.*$", self.console.shown)
        self.check("no panic, and memory isn't out", not shown, shown)
        self.console.type("poweroff 7\n")
        status = self.console.status()
        self.check("the kernel ends", status == 7, status)


def soak(options):
    with tempfile.TemporaryDirectory() as folder:
        disk = f"{folder}/disk"
        with open(disk, "wb") as image:
            image.truncate(options.disk * MIB)
        limit = options.seconds + SLACK
        command = ["scripts/qemu", "--kernel", options.kernel, "--timeout", str(limit), "--cores",
                   "1" if options.icount else str(CORES), "--mem", options.mem, "--disk", disk]
        if options.icount:
            command.append("--icount")
        with Recorder(command, limit + 10) as console:
            run = Soak(console, options.without, options.icount)
            try:
                run.all(options.seconds)
            except AssertionError as error:
                run.check("the run ends", False, error)
            if run.failed:
                print(f"the console's last lines:\n{console.shown[-4000:]}")
            return run.passed, run.failed


def checked(parser):
    """The options; ends the script if one can't be used."""
    options = parser.parse_args()
    if not 0 <= options.seconds <= SECONDS_MAX:
        parser.error(f"--seconds: not a number from 0 to {SECONDS_MAX}")
    if not re.fullmatch(r"[1-9][0-9]*[KMGT]?", options.mem, re.I):
        parser.error(f"--mem: not a size: {options.mem}")
    if options.disk < 1:
        parser.error("--disk: not a number above 0")
    if not os.path.isfile(options.kernel):
        parser.error(f"there is no file {options.kernel}")
    return options


def main():
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--mem", default="64M")
    parser.add_argument("--disk", type=int, default=1024, metavar="MIB")
    parser.add_argument("--without", action="append", default=[], metavar="NAME",
                        choices=[line.split()[0] for line in WORKLOADS])
    parser.add_argument("--icount", action="store_true")
    parser.add_argument("--kernel", default="build/x86/spandrel.elf")
    passed, failed = soak(checked(parser))
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


sys.exit(main())
