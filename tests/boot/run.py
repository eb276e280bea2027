#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Boots the kernel, types at its monitor and checks its output; the host process likewise.

    tests/boot/run.py [--quick | --long] [--only console | --only units] [--debug check | full]
                      [--kernel FILE] [--host FILE] [FILTER]

Prints each test that fails, then `N passed, N failed`.  The unit tests that run in the kernel are
counted one by one.  --debug: under a debug mode, where a test names none itself.
"""

import argparse
import os
import re
import socket
import struct
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager

from console import Console, keys, run_one

PAGE = 4096
MIB = 1 << 20
IMAGE_WINDOW = 0xffffffff80000000
PROMPT = r"(?m)^spandrel> $"

TESTS = []
options = None


def test(name, quick=False, long=False):
    """Registers a test: a behaviour, whether it is among the quick ones, and whether --long alone runs it."""
    def register(function):
        TESTS.append((name, quick, long, function))
        return function
    return register


def equal(got, wanted):
    assert got == wanted, f"{got!r}, wanted {wanted!r}"


# Seconds that a run may take.  Only one that hangs takes so long: on a busy machine, where emulated
# cores wait for real ones, a run takes many times what it takes alone.
RUN_LIMIT = 300
UNIT_RUN_LIMIT = 1500
LONG_UNIT_RUN_LIMIT, LONG_TEST_LIMIT = 6000, 3000


def with_mode(arguments):
    """The arguments of a run, with --debug's mode on its command line, unless it has one of its own."""
    words = [arguments[i + 1] for i, argument in enumerate(arguments[:-1]) if argument == "--append"]
    if not options.debug or any("kmem_debug" in word for word in words):
        return list(arguments)
    if not words:
        return ["--append", f"kmem_debug={options.debug}", *arguments]
    place = arguments.index("--append") + 1
    return [*arguments[:place], f"kmem_debug={options.debug} {arguments[place]}", *arguments[place + 1:]]


def qemu(*arguments, limit=RUN_LIMIT):
    return Console(["scripts/qemu", "--kernel", options.kernel, "--timeout", str(limit),
                    *with_mode(arguments)], limit + 10)


def host(*arguments):
    return Console([options.host, *with_mode(arguments)], RUN_LIMIT)


def ask(console, line):
    """What the monitor answers to a line."""
    console.type(line + "\n")
    return console.expect(r"(?s)(.*)\nspandrel> $")[1]


def inject_nmi(path):
    """Raises an NMI on every core of the QEMU with the QMP socket `path`."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(RUN_LIMIT)
        s.connect(path)
        lines = s.makefile("rw")
        lines.readline()
        for command in ("qmp_capabilities", "inject-nmi"):
            lines.write(f'{{"execute": "{command}"}}\n')
            lines.flush()
            assert '"return"' in lines.readline(), command


def run(console):
    """Waits until it ends; returns its exit status and its output."""
    with console:
        status = console.status()
        return status, console.text


# Booting

def check_accounts(text, ram, initrd=0, kept=MIB):
    """Every page of the memory map is used or free in base, or in one of the other accounts.  The firmware
    keeps less than `kept` bytes."""
    rows = keys(text)
    memory = [row for word, row in rows if word == "memory"]
    base = next(row for word, row in rows if word == "arena" and row["name"] == "base")
    in_base = sum(int(row["bytes"]) for row in memory if row["in"] == "base")
    in_ram = sum(int(row["bytes"]) for row in memory if row["in"] == "ram")
    total = next(row for word, row in rows if word == "ram")
    equal(int(base["used"]) + int(base["free"]), int(base["total"]))
    equal(in_base, int(base["total"]))
    equal(int(base["total"]) % PAGE, 0)
    equal(in_base + in_ram, int(total["total"]))
    # A BIOS keeps a few hundred KiB, UEFI a few MiB.
    assert 0 <= ram - int(total["total"]) < kept, f"{total} of {ram}"
    # Only the kernel's image, page tables, initrd, boot data and partial pages aren't handed out.
    assert in_ram - initrd < 8 * MIB, in_ram


def boots_with(size, mib):
    status, text = run(qemu("--mem", size, "--autorun",
                            "mem -k; arena tree -k; arena check; poweroff"))
    equal(status, 0)
    check_accounts(text, mib * MIB)
    assert re.search(r"(?m)^base +all hold$", text), text


@test("boot: 32 MiB, every page accounted for", quick=True)
def _():
    boots_with("32M", 32)


@test("boot: 256 MiB, every page accounted for")
def _():
    boots_with("256M", 256)


@test("boot: 4 GiB, every page accounted for")
def _():
    boots_with("4G", 4096)


@test("boot: 64 GiB, every page accounted for")
def _():
    boots_with("64G", 65536)


def boot_ticks(size, *arguments):
    status, text = run(qemu("--icount", "--mem", size, "--autorun", "cores -k", *arguments))
    equal(status, 0)
    return next(int(row["ticks"]) for word, row in keys(text) if word == "boot")


@test("boot: one line says what runs, in units that people read", quick=True)
def _():
    for machine, name in ((qemu, "x86-64" if is_x86() else "riscv64"), (host, "host")):
        for cores, word in (("1", "core"), ("4", "cores")):
            text = run(machine("--cores", cores, "--mem", "64M", "--autorun", ""))[1]
            assert re.fullmatch(rf"spandrel: {name}, {cores} {word}, [56]\d\.\d MiB of memory, "
                                r"booted in \d+\.\d ms\n", text), text


def boots_or_is_refused(machine, size, cores):
    """Boots, or says in one line why it doesn't; returns the cores that run, 0: it is refused."""
    status, text, errors = piped("", *machine, "--mem", size, "--cores", str(cores), "--autorun",
                                 "cores -k; mem; top; slab; ps; arena check; poweroff 43")
    refused = re.findall(r"(?m)^(?:qemu|spandrel-host|spandrel): .*(?:too little memory|no room).*$",
                         text + errors)
    count = len(re.findall(r"(?m)^core id=", text))
    assert (status, len(refused)) == ((127, 1) if count == 0 else (43, 0)), (size, cores, text, errors)
    assert "panic" not in text and ("others are left out" in text) == (0 < count < cores), text
    return count


@test("boot: too little memory is one plain line, or fewer cores")
def _():
    machine = ["scripts/qemu", "--kernel", options.kernel, "--timeout", str(RUN_LIMIT)]
    rows = keys(run(qemu("--autorun", "mem -k"))[1])
    image = next(int(row["bytes"]) for word, row in rows if row.get("what") == "kernel_image")
    end = (MIB + image) >> 10  # KiB
    for size in "1M", "2M", "3200K", f"{end - 1}K", f"{end + 100}K":
        equal(boots_or_is_refused(machine, size, 1), 0)
    for more in range(200, 1200, 200):
        boots_or_is_refused(machine, f"{end + more}K", 4)
    equal(boots_or_is_refused(machine, f"{end + 1100}K", 1), 1)
    for more, cores in ((800, 8), (4000, 64), (12000, 255)):
        assert 0 < boots_or_is_refused(machine, f"{end + more}K", cores) < cores
    for size, cores in (("64K", 1), ("1M", 1), ("2000K", 255)):
        equal(boots_or_is_refused([options.host], size, cores), 0)
    equal(boots_or_is_refused([options.host], "2M", 1), 1)
    for size in "2M", "3M":
        assert 0 < boots_or_is_refused([options.host], size, 255) < 255


def numbers(text):
    return [int(n.replace(",", "")) for n in re.findall(r"[\d,]*\d", text)]


@test("boot: takes the memory that README has for few cores, and its image ends about there")
def _():
    readme = open("README.md").read()
    rows = keys(run(qemu("--autorun", "symbols -k"))[1])
    end = max(int(row["end"], 16) for word, row in rows if word == "section") - IMAGE_WINDOW
    written = numbers(re.search(r"which ends at some ([\d,]+) KiB", readme)[1])[0]
    assert abs(end // 1024 - written) <= 256, (end // 1024, written)
    cores = numbers(re.search(r"(?m)^\| cores (\|.*)", readme)[1])
    least = numbers(re.search(r"(?m)^\| `scripts/qemu`, beside the image (\|.*)", readme)[1])
    for count, kib in list(zip(cores, least, strict=True))[:4]:
        text = run(qemu("--mem", f"{end // 1024 + kib}K", "--cores", str(count), "--autorun", "cores -k; poweroff"))[1]
        equal(len(re.findall(r"(?m)^core id=", text)), count)


@test("boot: memory that may be plugged in is left out, with one line")
def _():
    status, text = run(qemu("--autorun", "mem -k", "--", "-m", "256M,slots=2,maxmem=1G",
                            "-object", "memory-backend-ram,id=later,size=128M",
                            "-device", "pc-dimm,memdev=later"))
    equal(status, 0)
    found = re.findall(r"(?m)^acpi: 0x[0-9a-f]+, .*: can be plugged in, left out beyond the memory map$",
                       text)
    equal(len(found), 1)
    total = next(int(row["total"]) for word, row in keys(text) if word == "ram")
    assert 255 * MIB < total <= 256 * MIB, total


@test("boot: takes the same instructions with 1 GiB and with 64 GiB, below 20 million")
def _():
    small, large = boot_ticks("1G"), boot_ticks("64G")
    assert large < 20_000_000 and small < 20_000_000, (small, large)
    assert abs(large - small) * 10 < small, (small, large)


@test("boot: instructions counted repeat to the digit")
def _():
    equal(boot_ticks("256M"), boot_ticks("256M"))


@test("boot: a processor with 1 GiB pages")
def _():
    status, text = run(qemu("--mem", "4G", "--autorun", "arena check; poweroff 5",
                            "--", "-cpu", "max"))
    equal(status, 5)


@test("boot: an array of many objects in memory never touched, and an NMI in its first touch")
def _():
    status, text = run(qemu("--mem", "3G", "--autorun", "test touch; poweroff"))
    equal(status, 0)
    equal(re.search(r"(\d+) failed", text)[1], "0")


@test("boot: an unknown word on the command line gets one plain line")
def _():
    status, text = run(qemu("--append", "nonsense=1", "--autorun", "poweroff"))
    equal(status, 0)
    equal(len(re.findall("nonsense", text)), 1)


# Cores

def cores_of(text):
    return [row for word, row in keys(text) if word == "core"]


def boots_with_cores(count):
    status, text = run(qemu("--cores", str(count), "--autorun",
                            "cores -k; irq -k; arena check; poweroff"))
    equal(status, 0)
    rows = cores_of(text)
    equal([row["id"] for row in rows], [str(i) for i in range(count)])
    # QEMU's table lists local APICs in the order of their numbers.
    equal([row["apic"] for row in rows], [str(i) for i in range(count)])
    equal({row["state"] for row in rows}, {"online"})
    assert "left out" not in text, text


@test("cores: 4 come up, in the order of the firmware's table", quick=True)
def _():
    boots_with_cores(4)


@test("cores: each has a number of the machine's own", quick=True)
def _():
    status, text = run(qemu("--cores", "4", "--autorun", "cores -k; arena check; poweroff"))
    equal(status, 0)
    equal(sorted(row["apic"] for row in cores_of(text)), list("0123"))


@test("cores: 2, 8 and 64 come up")
def _():
    for count in (2, 8, 64):
        boots_with_cores(count)


@test("cores: 255 come up")
def _():
    boots_with_cores(255)


@test("cores: boot does not wait for cores that may be plugged in later")
def _():
    status, text = run(qemu("--autorun", "cores -k; poweroff", "--", "-smp", "3,maxcpus=8"))
    equal(status, 0)
    equal(len(cores_of(text)), 3)


@test("cores: numbers of local APICs may have gaps")
def _():
    status, text = run(qemu("--autorun", "cores -k; poweroff", "--",
                            "-smp", "6,sockets=2,cores=3,threads=1"))
    equal(status, 0)
    equal([row["apic"] for row in cores_of(text)], ["0", "1", "2", "4", "5", "6"])


@test("cores: without ACPI tables one runs, with console interrupts from the 8259")
def _():
    with qemu("--cores", "2", "--", "-machine", "pc,acpi=off") as console:
        console.expect(r"(?m)^acpi: .*ignored$")
        console.expect(PROMPT)
        console.type("cores -k\n")
        equal(len(cores_of(console.expect(r"(?s)(.*)\nspandrel> $")[1])), 1)
        console.type("poweroff 5\n")
        equal(console.status(), 5)


NUMA = ["-M", "q35", "-object", "memory-backend-ram,id=m0,size=128M",
        "-object", "memory-backend-ram,id=m1,size=128M",
        "-numa", "node,nodeid=0,cpus=0-1,memdev=m0", "-numa", "node,nodeid=1,cpus=2-3,memdev=m1",
        "-numa", "dist,src=0,dst=1,val=21"]


@test("cores: each has its node of memory, and nodes have distances")
def _():
    status, text = run(qemu("--cores", "4", "--autorun", "cores -k; arena tree -k; poweroff", "--", *NUMA))
    equal(status, 0)
    nodes = [row for word, row in keys(text) if word == "node"]
    base = next(row for word, row in keys(text) if word == "arena" and row["name"] == "base")
    equal(sum(int(row["bytes"]) for row in nodes), int(base["total"]))
    # The kernel lies on the first, which has the hole below 1 MiB.
    equal(int(nodes[1]["bytes"]), 128 * MIB - 128 * 1024)
    assert all(0 < int(row["free"]) <= int(row["bytes"]) for row in nodes), nodes
    status, screen = run(qemu("--cores", "4", "--autorun", "cores; poweroff", "--", *NUMA))
    assert re.search(r"(?m)^ +1 +12\d.\d MiB +12\d.\d MiB +21,10$", screen), screen
    equal([row["node"] for row in cores_of(text)], ["0", "0", "1", "1"])
    equal([row["distances"] for word, row in keys(text) if word == "node"], ["10,21", "21,10"])


@test("cores: counts repeat to the digit under icount")
def _():
    equal(boot_ticks("256M", "--cores", "2"), boot_ticks("256M", "--cores", "2"))


@test("nmi: each core prints a line for an unexpected one, and continues")
def _():
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/qmp"
        with qemu("--cores", "4", "--", "-qmp", f"unix:{path},server=on,wait=off") as console:
            console.expect(PROMPT)
            inject_nmi(path)
            cores = {console.expect(r"NMI 1 on core (\d), unexpected")[1] for _ in range(4)}
            equal(cores, set("0123"))
            console.type("cores -k\n")
            rows = cores_of(console.expect(r"(?s)core id=0 .*\nspandrel> $")[0])
            equal([row["nmis"] for row in rows], ["1"] * 4)
            console.type("poweroff 5\n")
            equal(console.status(), 5)


# The monitor, by autorun

@test("autorun: shows base and its importers, and ends with the code of poweroff", quick=True)
def _():
    status, text = run(qemu("--mem", "512M", "--autorun",
                            "arena tree -a; mem; arena check; poweroff 3"))
    equal(status, 3)
    assert re.search(r"(?m)^base ", text) and re.search(r"(?m)^  kpages ", text), text
    assert re.search(r"(?m)^    monitor ", text), text
    assert "kernel image" in text and "firmware holes" in text, text


@test("autorun: the host shows its tree of arenas", quick=True)
def _():
    status, text = run(host("--mem", "256M", "--autorun", "arena tree -k; poweroff"))
    equal(status, 0)
    rows = [row for word, row in keys(text) if word == "arena"]
    sources = {row["name"]: row["source"] for row in rows}
    for name in ("base", "vaddr", "ktask-ids", "vectors"):
        equal(sources[name], "-")
    equal(sources["kpages"], "base")
    equal(rows[0]["total"], str(256 * MIB))


@test("autorun: a command that can't run gets one plain line, and the rest runs")
def _():
    status, text = run(host("--autorun", "frobnicate; arena show missing; arena tree x y; "
                            "poweroff 100; whatis zzz; help nothing; poweroff 7"))
    equal(status, 7)
    lines = [line for line in text.splitlines() if "spandrel:" not in line]
    equal(len(lines), 6)
    for line, word in zip(lines, ["frobnicate", "missing", "arena tree", "100", "zzz", "nothing"]):
        assert word in line, (line, word)


@test("autorun: every command's example works")
def _():
    with host() as console:
        console.expect(PROMPT)
        console.type("help -k\n")
        listed = keys(console.expect(r"(?s)(.*)\nspandrel> $")[1])
        assert len(listed) >= 10, listed
        for _, row in listed:
            name = row["name"].replace("_", " ")
            if name in ("panic", "reboot", "poweroff", "test", "demo", "watch", "clear"):
                continue
            console.type(f"help {name}\n")
            example = console.expect(r"(?m)^ *example:? +(.*)$")[1]
            console.expect(PROMPT)
            console.type(example + "\n")
            output = console.expect(r"(?s)(.*)\nspandrel> $")[1]
            assert "unknown" not in output and "usage" not in output, (example, output)
        console.close_input()
        equal(console.status(), 0)


# The monitor, typed at

@test("typing: editing, history and completion at the prompt", quick=True)
def _():
    with qemu("--mem", "64M") as console:
        console.expect(PROMPT)
        # Ctrl-A and Ctrl-E move to the ends of the line.
        console.type("rena tre\x01a\x05e\n")
        console.expect(r"(?m)^base ")
        console.expect(PROMPT)
        # Ctrl-U and Ctrl-K delete all before and behind the cursor, Ctrl-W deletes a word.
        console.type("rubbish\x15mem junk\x17\x7f\n")
        console.expect("kernel image")
        console.expect(PROMPT)
        console.type("whatis 0x10 more\x1b[D\x1b[D\x1b[D\x1b[D\x1b[D\x0b\n")
        console.expect("0x10")
        console.expect(PROMPT)
        # History: up twice is `mem`.
        console.type("\x1b[A\x1b[A\n")
        console.expect("kernel image")
        console.expect(PROMPT)
        # Completion of a command and of an arena's name.
        console.type("arena sho\tkpa\t\n")
        console.expect("kpages")
        console.expect(PROMPT)
        # Ctrl-C drops the line.
        console.type("panic\x03")
        console.expect(r"spandrel> $")
        console.type("poweroff 9\n")
        equal(console.status(), 9)


@test("typing: a line that is too long gets one plain line")
def _():
    with qemu("--mem", "64M") as console:
        console.expect(PROMPT)
        console.type("x" * 5000 + "\n")
        console.expect("too long")
        console.expect(r"spandrel> $")
        console.type("poweroff 4\n")
        equal(console.status(), 4)


# Input that nobody types

CLOSED = "\nend of input: powering off\n"


def piped(keys, *command):
    """Runs a command whose input is there before it begins; returns its status, output and errors."""
    done = subprocess.run(command, input=keys.encode(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=RUN_LIMIT + 10, check=False)
    return done.returncode, done.stdout.decode(errors="replace").replace("\r", ""), done.stderr.decode()


def qemu_command(*arguments):
    return ["scripts/qemu", "--kernel", options.kernel, "--timeout", str(RUN_LIMIT), *with_mode(arguments)]


@test("input: of what is piped in no byte is lost", quick=True)
def _():
    for icount in [[], ["--icount"]] * (1 if options.quick else 4):
        status, text, _ = piped("help mem\npoweroff 37\n", *qemu_command("--mem", "32M", *icount))
        equal(status, 37)
        assert text.endswith("spandrel> poweroff 37\n"), text
        assert "no such command" not in text and "example: mem\n" in text, text


@test("input: long lines come whole and in order, also while commands run")
def _():
    # Each is refused with a line of its own, which is broken where it is too wide.
    words = ["x" * (7 * i % 500) + str(i) for i in range(80)]
    lines = "".join(word + "\n" for word in words)
    for command in qemu_command("--cores", "4", "--mem", "64M"), [options.host]:
        status, text, _ = piped(lines + "test lib\npoweroff 38\n", *command)
        equal(status, 38)
        refused = re.findall(r"(?m)^((?:x|\n    )*(?:\d|\n    )+):\s+no\s+such", text)
        equal([re.sub(r"\s", "", word) for word in refused], words)


@test("input: its end ends the line, and the machine", quick=True)
def _():
    for command in qemu_command("--mem", "32M"), [options.host]:
        for keys in "", "\n", "help mem\n", "help mem", "mem -w":
            status, text, _ = piped(keys, *command)
            equal((status, text.count(CLOSED)), (0, 1))
            equal("example: mem\n" in text, keys.startswith("help"))
        equal(piped("poweroff 39", *command)[0], 39)


@test("input: Ctrl-D at the prompt says what it does")
def _():
    for start in qemu, host:
        with start("--mem", "32M") as console:
            console.expect(PROMPT)
            console.type("help\x04\n")
            console.expect("what it does")
            console.expect(PROMPT)
            console.type("\x04")
            equal(console.status(), 0)
            assert console.text.endswith(CLOSED), console.text


def without_files(*files):
    """For a process that begins: closes standard files."""
    def close():
        for file in files:
            os.close(file)
    return close


@test("input: standard files that are closed are empty, and take no other file's number")
def _():
    for files in (0,), (1,), (0, 1), (0, 1, 2):
        for command in qemu_command("--mem", "32M"), [options.host]:
            def run_without(arguments):
                return subprocess.run([*command, *arguments], stdin=subprocess.DEVNULL,
                                      stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False,
                                      timeout=RUN_LIMIT, preexec_fn=without_files(*files))
            done = run_without([])
            equal(done.returncode, 0)
            equal(b"\nspandrel> " in done.stdout, 1 not in files)
            equal(run_without(["--autorun", "mem; arena check; poweroff 7"]).returncode, 7)


@test("autorun: powers off at its end, with 1 if a command failed")
def _():
    for start in qemu, host:
        for commands, code in (("help mem", 0), ("", 0), ("help mem; mem x", 1), ("whatis \"\\ a\"", 1)):
            status, text = run(start("--mem", "32M", "--autorun", commands))
            equal(status, code)
            assert "spandrel> " not in text, text
    text = run(host("--autorun", 'help "a \\b"'))[1]
    assert "no command a \\b" in text, text


@test("filters: one that no test and no benchmark has is an error everywhere")
def _():
    for start in qemu, host:
        for command in "test", "bench", "bench -c":
            status, text = run(start("--autorun", f"{command} frob; poweroff"))
            assert re.search(rf'(?m)^{command[:5].strip()}: no (test|benchmark) has "frob" in its name$',
                             text), text
            equal(run(start("--autorun", f"{command} frob"))[0], 1)
    status, text = run(host("--test", "frob"))
    equal(status, 1)
    assert 'no test has "frob" in its name' in text, text
    for command in (["python3", "tests/boot/run.py", "frob"], ["scripts/bench", "frob"],
                    ["scripts/bench-host", "frob"]):
        status, text, errors = piped("", *command)
        equal(status, 1)
        equal(re.sub(r'.*: no (test|benchmark) has "frob" in its name\n', "", errors), "")


@test("typing: reboot starts the machine again")
def _():
    with qemu("--mem", "64M") as console:
        console.expect(PROMPT)
        console.type("reboot\n")
        console.expect("rebooting")
        console.expect(r"booted in [\d.]+ ms\n")
        console.expect(PROMPT)
        console.type("poweroff 6\n")
        equal(console.status(), 6)


# Screens

COLUMNS = 80
# They end the run, take long, or wait for a key.
NOT_RUN = ("panic", "reboot", "poweroff", "test", "bench", "demo", "watch")


def answer(console, line):
    """What a line prints, behind its echo."""
    console.type(line + "\n")
    return console.expect(r"(?s)\n(.*)spandrel> $")[1]


def check_width(line, text):
    for row in text.splitlines():
        assert len(row) <= COLUMNS, f"{line}: {len(row)} columns: {row}"
        assert not row.endswith("~"), f"{line}: is cut: {row}"


def lines_to_show(commands):
    """Each command's example, its help, and where it can, what is empty, too."""
    for _, row in commands:
        name, usage = row["name"].replace("_", " "), row["usage"]
        yield f"help {name}"
        if name in NOT_RUN:
            continue
        example = row["example"].replace("_", " ")
        yield example
        if "[-a]" in usage:
            yield example + " -a"


@test("screens: no row of any command is wider than 80 columns", quick=True)
def _():
    with tempfile.TemporaryDirectory() as folder:
        path, initrd = make_image(folder, 256), make_initrd(folder)[0]
        for console in (qemu("--cores", "4", "--disk", path, "--initrd", initrd), host("--initrd", initrd)):
            with console:
                console.expect(PROMPT)
                for line in ("reclaim run 3", "cache fill all 1", "work start alloc 10"):
                    answer(console, line)
                for line in lines_to_show(keys(answer(console, "help -k"))):
                    check_width(line, answer(console, line))
                for line in ("work list", "test -l"):
                    check_width(line, answer(console, line))
                answer(console, "work stop")
                console.type("poweroff 9\n")
                equal(console.status(), 9)


MORE = r"-- more: .* --"


@test("screens: on a terminal long output stops at each page, until it is read or refused", quick=True)
def _():
    for start in (qemu, host):
        with start("--append", "terminal=80x24") as console:
            console.expect(PROMPT)
            console.type("slab -a\n")
            equal(console.expect(rf"(?s)slab -a\n(.*){MORE}")[1].count("\n"), 23)
            # Another key is no answer; Enter is one row, space another page.
            console.type("x")
            console.expect("\a")
            console.type("\r")
            equal(console.expect(rf"(?s)\x1b\[K(.*){MORE}")[1].count("\n"), 1)
            console.type(" ")
            equal(console.expect(rf"(?s)\x1b\[K(.*){MORE}")[1].count("\n"), 23)
            console.type("q")
            equal(console.expect(r"(?s)\x1b\[K(.*)spandrel> $")[1], "")
            # Ctrl-C ends the whole line.
            console.type("slab -a; mem\n")
            console.expect(MORE)
            console.type("\x03")
            equal(console.expect(r"(?s)\x1b\[K(.*)spandrel> $")[1], "")
            # What a script reads isn't stopped, nor what fits.
            for line in ("slab -k", "help ps", "terminal none", "slab -a"):
                assert "-- more" not in answer(console, line), line
            console.type("poweroff 7\n")
            equal(console.status(), 7)


@test("screens: output isn't stopped by autorun, nor without a terminal")
def _():
    for start in (qemu, host):
        status, text = run(start("--append", "terminal=80x24", "--autorun", "slab -a; poweroff 3"))
        equal(status, 3)
        assert "-- more" not in text, text
        status, text = run(start("--append", "terminal=80", "--autorun", "terminal; poweroff 3"))
        equal(status, 3)
        assert re.search(r"(?m)^.*terminal.*not a size as 80x24", text), text
        assert "no size is known" in text, text


@test("screens: Ctrl-C ends what takes long, and what is typed ahead isn't lost", quick=True)
def _():
    for start in (qemu, host):
        with start("--cores", "2") as console:
            console.expect(PROMPT)
            console.type("alloc ktask-ids 1 1000000; mem\n\x03")
            assert "kernel image" not in console.expect(r"(?s)\n(.*)spandrel> $")[1]
            held = keys(answer(console, "alloc -k"))
            assert sum(int(row["pieces"]) for _, row in held) < 1000000, held
            console.type("free\nalloc -k vaddr 4096 3\nslab -a\nalloc -k\npoweroff 9\n")
            equal(console.status(), 9)
            equal(len(re.findall(r"from=vaddr size=4096 pieces=3 ", console.text)), 2)


@test("screens: Ctrl-C ends a command that waits, and what it began goes on", quick=True)
def _():
    for start in (qemu, host):
        with start("--cores", "2", "--mem", "64M") as console:
            console.expect(PROMPT)
            # Until nothing is left: the workload's ktask sleeps for memory, and can't end.
            answer(console, "work start alloc 70 1; alloc kpages 4096 100000")
            text = ""
            # Ctrl-C may come before the second command has begun.
            while "interrupted: what was told to stop ends by itself" not in text:
                console.type("help mem; work stop\n")
                console.expect(r"example: mem\n")
                console.type("\x03")
                text = console.expect(r"(?s)(.*)spandrel> $")[1]
            assert "stopping" in answer(console, "work list"), console.text
            answer(console, "free")
            while "no workload runs" not in answer(console, "work list"):
                pass
            assert "broken" not in answer(console, "arena check; slab check")
            console.type("poweroff 9\n")
            equal(console.status(), 9)


@test("fail: allocations fail by rules from the monitor, and what they were for is refused", quick=True)
def _():
    for start in (qemu, host):
        with start("--cores", "2") as console:
            console.expect(PROMPT)
            equal(answer(console, "fail").strip(), "no allocation is made to fail")
            answer(console, "fail start kmalloc-64 after=1 times=1; fail start vectors")
            said = [answer(console, "alloc kmalloc-64") for _ in range(3)]
            equal(["no more can be had" in text for text in said], [False, True, False])
            equal([(row["of"], row["matched"], row["failed"]) for _, row in keys(answer(console, "fail -k"))],
                  [("kmalloc-64", "3", "1"), ("vectors", "0", "0")])
            # Of a function: its first allocation, and some behind that.
            for after in range(3):
                text = answer(console, f"fail start all site=work_start after={after}; work start ids 2; fail stop all")
                assert "no memory for it" in text, text
            answer(console, "fail start all site=work_start after=1000; work start ids 2")
            answer(console, "fail stop all; work stop 1; free")
            check = answer(console, "arena check; fail; work list")
            assert "broken" not in check and "no allocation is made to fail" in check, check
            console.type("fail sta\tktask-i\toops\n")
            console.expect("oops: neither site=")
            console.expect(PROMPT)
            console.type("poweroff 9\n")
            equal(console.status(), 9)


@test("alloc: from every arena and every cache, and free leaves all whole")
def _():
    for start in (qemu, host):
        with start("--cores", "2") as console:
            console.expect(PROMPT)
            names = [row["name"] for _, row in keys(answer(console, "arena tree -k; slab -k"))]
            assert len(names) > 50, names
            for name in names:
                text = answer(console, f"alloc {name}")
                assert re.search(rf"\d {name} ", text) or "no more" in text or "isn't for" in text, text
            assert len(keys(answer(console, "alloc -k"))) > 50
            answer(console, "free")
            check = answer(console, "arena check; alloc")
            assert "broken" not in check and "nothing is held" in check, check
            console.type("poweroff 9\n")
            equal(console.status(), 9)


GOES_ON = "-- any key goes on, Ctrl-C ends the demo --"


@test("demo: fragments an arena, has a request sleep until it is served, and frees all", quick=True)
def _():
    for start in (qemu, host):
        status, text = run(start("--cores", "2", "--autorun", "demo; arena tree -k; arena check; poweroff 3"))
        equal(status, 3)
        assert "MEM_ATOMIC) is NULL" in text, text
        assert re.search(r"(?m)^fragmentation +99.2%", text), text
        assert re.search(r"(?m)^demo +64.0 KiB MEM_WAIT ", text), text
        assert re.search(r"(?m)^the ktask was served: 0x", text), text
        assert "name=demo" not in text and "broken" not in text, text
        check_width("demo", text[:text.index("arena name=")])


@test("demo: goes on at a key, and Ctrl-C ends it at any step, with all freed")
def _():
    with qemu("--cores", "2") as console:
        console.expect(PROMPT)
        for keys_before in range(5):
            console.type("demo\n")
            for _ in range(keys_before):
                console.expect(GOES_ON)
                console.type("x")
            console.expect(GOES_ON)
            console.type("\x03")
            console.expect(r"spandrel> $")
            assert "name=demo" not in answer(console, "arena tree -k")
        console.type("poweroff 9\n")
        equal(console.status(), 9)


@test("watch: repeats a command until a key", quick=True)
def _():
    for start in (qemu, host):
        with start("--append", "terminal=80x24") as console:
            console.expect(PROMPT)
            console.type("watch arena check base\n")
            for _ in range(3):
                console.expect(r"\x1b\[H\x1b\[2Jarena +invariants\nbase +all hold\n")
            console.type("x")
            console.expect(r"spandrel> $")
            console.type("poweroff 9\n")
            equal(console.status(), 9)


# Reclaim

def interrupted(console, line, is_so):
    """Ctrl-C while the line runs, until that ended it: it may come before the command has begun, or after."""
    while True:
        console.type(f"help mem; {line}\n")
        console.expect(r"example: mem\n")
        console.type("\x03")
        text = console.expect(r"(?s)(.*)spandrel> $")[1]
        if is_so(text):
            return text


@test("screens: Ctrl-C ends every command that takes long", quick=True)
def _():
    pieces = 300000
    with qemu("--cores", "2", "--mem", "64M") as console:
        console.expect(PROMPT)
        answer(console, f"alloc ktask-ids 1 {pieces}")
        for line, begin, end in (("arena segs ktask-ids", "segment +start", f"{1 << 31:#x}"),
                                 ("arena map ktask-ids", "# full", "free\\)"),
                                 ("arena check", "base +all hold", "ktask-ids +all hold"),
                                 ("arena check ktask-ids", "arena +invariants", "all hold|broken")):
            interrupted(console, line, lambda text: re.search(begin, text) and not re.search(end, text))
        for line, begin in ("watch arena tree", "arena +quantum"), ("mem -w", "kernel image"), ("demo", "1\\. "):
            interrupted(console, line, lambda text: re.search(begin, text))
        console.type("bench\n")
        console.expect(r"name,n,value,unit\n.*\n")
        console.type("\x03")
        assert console.expect(r"(?s)(.*)spandrel> $")[1].count("\n") < 40, console.text
        # It may come before the first is freed, or after the last.
        while True:
            text = interrupted(console, "free", lambda text: "freed" in text)
            left = sum(int(row["pieces"]) for _, row in keys(answer(console, "alloc -k")))
            if 0 < left < pieces:
                break
            answer(console, "free")
            answer(console, f"alloc ktask-ids 1 {pieces}")
        assert "free: " in text, text
        answer(console, "free")
        answer(console, "work start alloc 70 2")
        interrupted(console, "reclaim run", lambda text: "the run goes on by itself" in text)
        console.type("work stop\npoweroff 9\n")
        equal(console.status(), 9)


@test("screens: Ctrl-C ends what reads, writes or syncs a disk")
def _():
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/disk"
        with open(path, "wb") as image:
            image.truncate(1 << 36)
        with qemu("--mem", "64M", "--disk", path) as console:
            console.expect(PROMPT)
            for line in "cache read all", "cache verify all", "cache fill all 3":
                text = interrupted(console, line, lambda text: "interrupted" in text)
                assert f"{(1 << 36) // PAGE} blocks" not in text, text
            console.type("poweroff 9\n")
            equal(console.status(), 9)
        drive = f"if=none,id=slow,format=raw,file={path},throttling.iops-write=1"
        with qemu("--mem", "64M", "--", "-drive", drive, "-device", "virtio-blk-pci,drive=slow") as console:
            console.expect(PROMPT)
            text = ""
            while "what is dirty is still being written" not in text:
                console.type("cache fill 0-1999 3; cache sync\n")
                console.expect(r"0 bad\n")
                console.type("\x03")
                text = console.expect(r"(?s)(.*)spandrel> $")[1]


@test("reclaim: by autorun a run gives memory back, and says at which root", quick=True)
def _():
    status, text = run(qemu("--cores", "4", "--autorun",
                            "slab; reclaim run -k 3; reclaim -k; reclaim run 4; "
                            "reclaim run 2; mem -k; arena check; poweroff 5"))
    equal(status, 5)
    rows = keys(text)
    ran = next(row for word, row in rows if word == "run")
    equal(ran["level"], "3")
    freed = {row["name"]: int(row["units"]) for word, row in rows if word == "freed"}
    assert freed["base"] >= PAGE, freed
    roots = {row["name"]: row for word, row in rows if word == "root"}
    assert 0 < int(roots["base"]["low"]) < int(roots["base"]["high"]), roots
    equal([row["level"] for word, row in rows if word == "pass"], ["1", "2", "3"])
    nodes = [row for word, row in rows if word == "node"]
    equal(nodes[0]["name"], "base")
    assert sum(int(row["given"]) for row in nodes) >= PAGE, nodes
    assert "4 is not a level from 1 to 3" in text, text
    assert re.search(r"(?m)^base +all hold$", text), text


@test("reclaim: shows a shortage when no memory is left, and needs none itself")
def _():
    with qemu("--mem", "64M") as console:
        console.expect(PROMPT)
        # Its ktask sleeps for memory, and nothing gives any.
        answer(console, "work start alloc 70 1; alloc kpages 4096 100000")
        text = ""
        while "\nnow 1 wait" not in text:
            text = answer(console, "reclaim")
            assert "no memory" not in text, text
        assert re.search(r"(?m)^base +- ", text), text
        assert re.search(r"(?m)^kpages +4.0 KiB +MEM_WAIT ", text), text
        rows = keys(answer(console, "reclaim -k"))
        equal([row["piece"] for word, row in rows if word == "waiter"], ["4096"])
        assert "no memory" not in answer(console, "reclaim run"), console.text
        console.type("free\nwork stop\npoweroff\n")
        equal(console.status(), 0)


@test("mem: what is reclaimable of what is handed out is that of each arena")
def _():
    for start in (qemu, host):
        status, text = run(start("--cores", "4", "--autorun",
                                 "alloc kmalloc-4096 4096 100; free; mem -k; poweroff"))
        equal(status, 0)
        rows = keys(text)
        handed_out = next(row for word, row in rows
                          if word == "memory" and row["what"] == "handed_out")
        idle = [row for word, row in rows if word == "reclaimable"]
        for row in idle:
            equal(int(row["spans"]) + int(row["objects"]), int(row["bytes"]))
        equal(sum(int(row["bytes"]) for row in idle), int(handed_out["reclaimable"]))
        assert 0 < int(handed_out["reclaimable"]) <= int(handed_out["bytes"]), text


# What stays idle besides: magazines themselves, boundary tags, page tables.
OTHERWISE_IDLE = MIB // 4


@test("mem: what it takes for reclaimable is between half and twice of what a hardest pass gives")
def _():
    for start in (qemu, host):
        with start("--cores", "2", "--mem", "128M") as console:
            console.expect(PROMPT)
            for kinds in (("alloc 40",), ("bursts",), ("maps", "ids"), ("alloc 20", "bursts", "maps")):
                for kind in kinds:
                    ask(console, f"work start {kind}")
                while not all(int(row["ops"]) > 500
                              for word, row in keys(ask(console, "work list -k")) if word == "work"):
                    pass
                ask(console, "work stop")
                rows = keys(ask(console, "mem -k; reclaim run -k 3"))
                estimate = next(int(row["reclaimable"]) for word, row in rows
                                if word == "memory" and row["what"] == "handed_out")
                given = sum(int(row["units"]) for word, row in rows
                            if word == "freed" and row["name"] == "base")
                assert given <= 2 * estimate + OTHERWISE_IDLE, (kinds, estimate, given)
                assert estimate <= 2 * given + OTHERWISE_IDLE, (kinds, estimate, given)
            console.type("poweroff\n")
            equal(console.status(), 0)


# Who holds memory

def holders_of(text):
    """The rows of the `top -k` or `mem -k` in it."""
    return [row for word, row in keys(text) if word == "holder"]


def top(console):
    console.type("top -k\n")
    return holders_of(console.expect(r"(?s)(.*)\nspandrel> $")[1])


def held(rows, name):
    return sum(int(row["bytes"]) for row in rows if row["name"] == name)


def nameless(rows):
    """Rows of memory that its holders didn't count under a name."""
    return [row for row in rows
            if row["kind"] == "callers" and row["in"] != "monitor" and row["bytes"] != "0"]


def adds_up(rows, total):
    equal(sum(int(row["bytes"]) for row in rows), total)
    sizes = [int(row["bytes"]) for row in rows]
    assert min(sizes) >= 0, rows


def all_ram(console):
    console.type("mem -k\n")
    text = console.expect(r"(?s)(.*)\nspandrel> $")[1]
    total = int(next(row for word, row in keys(text) if word == "ram")["total"])
    adds_up(holders_of(text), total)
    return total


@test("top: who holds memory adds up to all of it, to the byte, at boot and under load", quick=True)
def _():
    for start, page_tables in ((qemu, True), (host, False)):
        with start("--cores", "4", "--mem", "128M") as console:
            console.expect(PROMPT)
            total, rows = all_ram(console), top(console)
            adds_up(rows, total)
            names = {row["name"] for row in rows}
            assert names >= {"free", "stacks", "arenas", "arena_tags_and_hashes", "caches",
                             "page_frame_table", "run_queues"}, names
            # Arenas have none under a debug mode.
            assert options.debug or "quantum_caches" in names, names
            assert not page_tables or names >= {"kernel_image", "page_tables", "cores'_areas"}, names
            assert not nameless(rows), rows
            for kind in ("alloc 30", "bursts", "maps", "hog 10 10"):
                console.type(f"work start {kind}\n")
                console.expect(r"runs\n(?s:.*)spandrel> $")
            most = 0
            while most < 1 << 20:
                rows = top(console)
                adds_up(rows, total)
                most = max(most, held(rows, "work_alloc"))
            console.type("work stop; reclaim run 3\n")
            console.expect(PROMPT)
            rows = top(console)
            adds_up(rows, total)
            for name in ("work_alloc", "work_maps", "work_hog", "large_kmalloc"):
                equal(held(rows, name), 0)
            assert not nameless(rows), rows
            console.type("poweroff\n")
            equal(console.status(), 0)


@test("top: shows what has changed since the last one, most first, and free memory last")
def _():
    with qemu("--mem", "128M") as console:
        console.expect(PROMPT)
        equal({row["change"] for row in top(console)}, {"0"})
        console.type("work start hog 60000\n")
        console.expect(PROMPT)
        change = 0
        while change < 64 * MIB:
            rows = top(console)
            change += sum(int(row["change"]) for row in rows if row["name"] == "work_hog")
            equal(change, held(rows, "work_hog"))
        equal(rows[-1]["kind"], "free")
        sizes = [int(row["bytes"]) for row in rows[:-1]]
        equal(sizes, sorted(sizes, reverse=True))
        console.type("top\n")
        screen = console.expect(r"(?s)(.*)\nspandrel> $")[1].splitlines()
        assert re.match(r"work hog +kernel +kpages +[\d.]+ MiB +[\d.]+% ", screen[2]), screen
        assert len(screen) <= 22 and max(map(len, screen)) <= 80, screen
        assert re.match(r"\d+ others ", screen[-3]) and screen[-2].startswith("free "), screen
        console.type("poweroff\n")
        equal(console.status(), 0)


@test("who: its example says how to boot for it, and works then")
def _():
    with qemu("--append", "kmem_debug=off") as console:
        console.expect(PROMPT)
        line = ask(console, "who kpages").strip()
    words = re.search(r"boot by scripts/qemu (--append \S+)$", line)
    assert words, line
    with qemu(*words[1].split()) as console:
        console.expect(PROMPT)
        text = ask(console, "who kpages")
        assert re.search(r"(?m)^ +\d+ +[\d.]+ \w*B .*\+0x", text), text


@test("top: works when no memory is left, and so does mem")
def _():
    with qemu("--mem", "64M") as console:
        console.expect(PROMPT)
        ask(console, "work start hog 60000 1; work start maps 3")
        free = MIB
        while free >= 64 * PAGE:
            rows = top(console)
            free = held(rows, "free")
        for line in "top", "top -s change", "mem":
            text = ask(console, line)
            assert re.search(r"(?m)^work hog +kernel +kpages ", text) and "no memory" not in text, text
        adds_up(rows, all_ram(console))
        ask(console, "work stop")
        console.type("poweroff\n")
        equal(console.status(), 0)


@test("top: among the rows on a screen are those that have changed most, and -s sorts before it cuts")
def _():
    with qemu("--mem", "128M") as console:
        console.expect(PROMPT)
        ask(console, "work start alloc 30")
        while len([row for row in top(console) if row["kind"] == "cache"]) < 40:
            pass
        ask(console, "work stop; reclaim run 3; top -k; alloc kmalloc-8 8 1")
        screen = ask(console, "top").splitlines()
        assert any(re.match(r"kmalloc-8 .*\+4.0 KiB$", line) for line in screen), screen
        rows = top(console)
        names = [line[:27].strip() for line in ask(console, "top -s holder").splitlines()[2:-2]]
        equal(names, sorted(row["name"].replace("_", " ") for row in rows)[:len(names)])
        equal(len(names), 18)
        last = ask(console, "top -s change -k; top -s nothing").splitlines()[-1]
        equal(last, "top: no column nothing: `help top` lists them")
        console.type("poweroff\n")
        equal(console.status(), 0)


# What lies at an address

def whatis(console, address):
    """The rows of `whatis -k`, by their first word."""
    if isinstance(address, int):
        address = f"{address:#x}"
    return {word: row for word, row in keys(ask(console, f"whatis -k {address}"))}


DIRECT = 0xffff800000000000


def knows_image(console):
    for symbol, part in (("kernel_main+0x4", "kernel_text"), ("base_arena", "kernel_bss"),
                         ("btag_span_order", "kernel_read-only_data")):
        here = whatis(console, symbol)
        equal(here["place"]["what"], part)
        equal(here["symbol"]["name"], symbol.split("+")[0])
        there = whatis(console, here["place"]["direct"])
        equal(there["place"]["what"], part)
        equal((there["symbol"], there["place"]["image"]), (here["symbol"], here["place"]["address"]))
    for stack in ("boot", "nmi"):
        assert "guard_page" in whatis(console, f"{stack}_stack_guard")["place"]["what"]


def knows_holes(console):
    for address, what in ((0x800000000000, "not_a_canonical"), (0x1000, "lower_half"),
                          (DIRECT + (1 << 44), "hole"), (DIRECT + 0xa0000, "hole"),
                          (0xffffd00000000000, "between_the_parts"), (0xffffe00000000000, "device_memory"),
                          (0xffffffff80000000, "around_the_kernel_image")):
        rows = whatis(console, address)
        assert what in rows["place"]["what"], rows
        equal(rows["place"]["mapped"], "1" if what == "device_memory" else "0")


def knows_stacks(console):
    rows = [row for word, row in keys(ask(console, "ps -k")) if word == "ktask"]
    for row in (row for row in rows if row["guard"] != "0x0"):
        guard = int(row["guard"], 16)
        for offset, is_guard in ((0, "1"), (PAGE - 1, "1"), (PAGE, "0"), (PAGE + int(row["stack"]) - 1, "0")):
            stack = whatis(console, guard + offset)
            equal((stack["stack"]["name"], stack["stack"]["guard"]), (row["name"], is_guard))
            equal(stack["place"]["mapped"], "0" if is_guard == "1" else "1")
    assert "first_stack_of_core_1" in whatis(console, 0xffffc00000000000)["place"]["what"]
    assert "NMI_stack_of_core_1" in whatis(console, 0xffffe0004001fff8)["place"]["what"]


def kinds_known(rows):
    user = rows.get("user", {"name": "a_caller_of"})["name"]
    plain = rows["place"]["what"] == "RAM_in_the_direct_map"
    cache = not rows.get("object", {"cache": "kpages-"})["cache"].startswith("kpages-")
    unknown = user.startswith("a_caller_of") or user == "what_arena_base_is_made_of"
    return not plain or cache or rows.keys() & {"frames", "stack"} or not unknown


# What README.md and docs/monitor.md name.
PLACES = [
    ("0x4000", "not used"),
    ("0x800000000000", "not a canonical address"),
    ("-p 0x4000", r"used by what arena base is made of"),
    ("-p 0xfee00000", "hole in the direct map"),
    ("0xffff880000000000", "hole in the direct map"),
    ("0xffffc00000000000", "guard page of the first stack of core 1"),
    ("0xffffd00000000000", "between the parts"),
    ("0xffffe00000000000", "device memory"),
    ("0xffffe0004001fff8", "NMI stack of core 1"),
    ("0xffffe00040000000", "no core has an interrupt stack there"),
    ("0xffffe00041000000", "no core has an interrupt stack there"),
    ("0xffffffff80000000", "unmapped, around the kernel image"),
    ("kernel_main+0x10", r"kernel text, physical 0x[\da-f]+\n(.*\n)?symbol kernel_main\+0x10$"),
    ("base_arena", "kernel bss"),
    ("nmi_stack_guard", "guard page of the NMI stack of core 0"),
]


@test("whatis: answers for each part of the address space that the documents name", quick=True)
def _():
    with open("README.md") as readme, open("docs/monitor.md") as monitor:
        text = readme.read() + monitor.read()
    examples = re.findall(r"(?:> |`)whatis (-p )?((?!ADDR)\w+(?:\+\w+)?)(?:`|\n)", text)
    assert {flag + address for flag, address in examples} <= {place for place, _ in PLACES}, examples
    assert len(examples) >= 10, examples
    with qemu("--cores", "2", "--mem", "64M") as console:
        console.expect(PROMPT)
        for place, answer in PLACES:
            text = ask(console, f"whatis {place}")
            assert re.search(f"(?m){answer}", text), text
            assert max(map(len, text.splitlines())) <= 80, text
        page = int(whatis(console, "0xffffe0004001fff8")["place"]["phys"], 16)
        equal(whatis(console, f"-p {page:#x}")["user"]["name"], "NMI_stack_of_core_1")
        assert "no physical address" in ask(console, "whatis -p 0x400000000000")
        console.type("poweroff\n")
        equal(console.status(), 0)


def knows_memory(console):
    """Each page of base is known: free, or in use as what; but for those that it counts as its own, and the hash of
    backtraces."""
    kinds, nameless = set(), 0
    before = top(console)
    for word, row in keys(ask(console, "arena segs base -k")):
        if row["kind"] == "span":
            continue
        # The last page of a free one: the first may be taken meanwhile.
        is_free = row["kind"] == "free"
        rows = whatis(console, int(row["end"], 16) - 8 if is_free else int(row["start"], 16) + 8)
        equal(rows["place"]["mapped"], "1")
        kinds |= {rows["place"]["what"].split(",")[0]} | rows.keys()
        if is_free and int(row["size"]) > MIB:
            equal((rows["segment"]["arena"], rows["segment"]["state"]), ("base", "free"))
            kinds.add("free")
        # The start of a span may be free in the arena that imported it, or in its cache.
        is_free |= rows["segment"]["state"] == "free" or rows.get("object", {}).get("free") == "1"
        if not is_free and not kinds_known(rows):
            nameless += int(row["size"])
    # Under a debug mode asking takes some, too.
    after = top(console)
    least, most = held(before, "arena_tags_and_hashes"), held(after, "arena_tags_and_hashes")
    if options.debug:
        most += held(after, "backtraces")
    assert least <= nameless <= most, (least, nameless, most)
    assert kinds >= {"page_table", "frames", "object", "free", "area_of_core_1"}, kinds


@test("whatis: knows the image, stacks, tables, devices, holes and free memory")
def _():
    with qemu("--cores", "2", "--mem", "64M") as console:
        console.expect(PROMPT)
        knows_image(console)
        knows_holes(console)
        knows_stacks(console)
        knows_memory(console)
        for line in ask(console, "whatis kernel_main; whatis 0xffffc00000000000; whatis all_arenas").splitlines():
            assert len(line) <= 80, line
        console.type("poweroff\n")
        equal(console.status(), 0)


SHOWN = "that is all RAM of the memory map"


@test("mem: -w shows it every second until a key is pressed", quick=True)
def _():
    for start in (qemu, host):
        with start("--mem", "64M") as console:
            console.expect(PROMPT)
            # Enter as two bytes: the second one is neither a key nor an empty line.
            console.type("mem -w\r\n")
            for _ in range(3):
                console.expect(SHOWN)
            console.type("\r\n")
            console.expect(PROMPT)
            # An arrow key is several bytes, and none of them ends up in the next line.
            console.type("mem -w -k\n")
            console.expect(r"\Amem -w -k\n")
            console.expect(r"(?s)ram total=.*ram total=")
            console.type("\x1b[A")
            console.expect(PROMPT)
            console.type("poweroff 9\n")
            console.expect(r"\Apoweroff 9\n")
            equal(console.status(), 9)


@test("mem: -w shows it once by autorun, at the end of input and after a panic")
def _():
    for start in (qemu, host):
        status, text = run(start("--autorun", "mem -w; poweroff 3"))
        equal(status, 3)
        equal(len(re.findall(SHOWN, text)), 1)
    with host() as console:
        console.expect(PROMPT)
        console.type("mem -w\n")
        console.close_input()
        equal(console.status(), 0)
        equal(len(re.findall(SHOWN, console.text)), 1)
    with panicked("panic") as console:
        assert "reclaim: not safe after a panic" in after_panic(console, "reclaim")
        equal(len(re.findall(SHOWN, after_panic(console, "mem -w"))), 1)


# ktasks

def ps(console):
    return [row for word, row in keys(ask(console, "ps -k")) if word == "ktask"]


@test("ps: what a sleeper waits for, the peak of its stack, times with units, in 80 columns", quick=True)
def _():
    for start in (qemu, host):
        with start("--cores", "2", "--mem", "64M") as console:
            console.expect(PROMPT)
            rows = {row["name"]: row for row in ps(console)}
            equal(rows["serve"]["wait"], "rendez_is_poked")
            for row in rows.values():
                assert 0 < int(row["peak"]) < int(row["stack"]) or row["stack"] == "0", row
            # All memory is held by the hog, so others wait for some.
            ask(console, "work start hog 60000 1; work start maps 3")
            waits = set()
            while not any(wait.startswith("memory_of_") for wait in waits):
                waits = {row["wait"] for row in ps(console)}
            screen = ask(console, "ps").splitlines()
            assert max(map(len, screen)) <= 80, screen
            assert any(re.search(r" [\d.]+ (us|ms|s) ", line) for line in screen), screen
            ask(console, "work stop")
            console.type("poweroff\n")
            equal(console.status(), 0)


# Workloads

@test("work: ktasks that hold nearly all of memory go on, and can be stopped")
def _():
    def operations():
        rows = [row for word, row in keys(ask(console, "work list -k")) if word == "work"]
        return int(rows[0]["ops"])

    with qemu("--cores", "4", "--mem", "32M") as console:
        console.expect(PROMPT)
        ask(console, "work start alloc 90 4")
        # They come to their shares in some 50,000 operations.
        while operations() < 100_000:
            time.sleep(0.2)
        assert "stopped count=1" in ask(console, "work stop -k")
        console.type("poweroff\n")
        equal(console.status(), 0)


# Panics

class Debugger:
    """QEMU's gdb stub, to read and write a machine's memory behind its back."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(RUN_LIMIT)
        self.socket.connect(path)
        self.received = b""
        self.command("?")

    def packet(self):
        while not (match := re.match(rb"\+*\$([^#]*)#..", self.received)):
            self.received += self.socket.recv(4096)
        self.received = self.received[match.end():]
        self.socket.sendall(b"+")
        return match[1].decode()

    def command(self, text):
        """Its answer.  That the machine has stopped is said unasked, too, and at any time."""
        self.socket.sendall(f"${text}#{sum(text.encode()) % 256:02x}".encode())
        while (answer := self.packet()).startswith("T") and text != "?":
            pass
        return answer

    def read(self, address):
        return struct.unpack("<Q", bytes.fromhex(self.command(f"m{address:x},8")))[0]

    def write(self, address, value):
        equal(self.command(f"M{address:x},8:{struct.pack('<Q', value).hex()}"), "OK")

    def resume(self):
        """Lets the machine run on, for good."""
        self.command("D")
        self.socket.close()


def address_of(symbol):
    with open(options.kernel + ".sym", encoding="ascii") as symbols:
        return next(int(line.split()[0], 16) for line in symbols if line.split()[-1] == symbol)


@contextmanager
def panicked(line, *arguments):
    """The monitor of a kernel that a line has panicked; it powers off at the end."""
    with qemu("--mem", "128M", *arguments) as console:
        console.expect(PROMPT)
        console.type(line + "\n")
        console.expect(r"panic> $")
        yield console
        console.type("poweroff 7\n")
        equal(console.status(), 7)


@contextmanager
def panicked_and_written(line, words):
    """The same, with words written into its memory, by their addresses, before it goes on."""
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/gdb"
        with panicked(line, "--", "-gdb", f"unix:{path},server=on,wait=off") as console:
            debugger = Debugger(path)
            for address, value in words.items():
                debugger.write(address, value)
            debugger.resume()
            yield console


def after_panic(console, line):
    console.type(line + "\n")
    return console.expect(r"(?s)(.*)\npanic> $")[1]


SAFE = ("arena tree", "arena show base", "arena show kpages -v", "arena segs kpages", "arena map base",
        "slab", "slab kmalloc-64", "ps", "top", "mem", "whatis kernel_main", "debug")


@test("misuse: mode full's report has who allocated, who freed and who met it", quick=True)
def _():
    with qemu("--cores", "2", "--mem", "64M", "--append", "kmem_debug=full") as console:
        console.expect(PROMPT)
        assert "free_twice " in ask(console, "misuse")
        console.type("misuse write_first_byte_of_free\n")
        text = console.expect(r"(?s)(.*)panic> $")[1]
        first, allocated, freed, here = re.split(r"(?m)^(?:allocated|freed) .* ago by ktask .*:$|^reported here:$",
                                                 text)
        assert re.search(r"byte 0 of free object 0x[\da-f]+ was written", " ".join(first.split())), text
        assert "begin+" in allocated and "plant_write_first_byte_of_free+" in freed and "reuse+" in here, text
        assert max(map(len, text.splitlines())) <= COLUMNS, text
        console.type("poweroff 7\n")
        equal(console.status(), 7)


@test("samples: the first of a boot are refused without memory, and keep nothing", quick=True)
def _():
    for start in (qemu, host):
        with start("--cores", "2") as console:
            console.expect(PROMPT)
            answer(console, "fail start base site=kmem_sample_set")
            assert "no memory" in answer(console, "debug sample 100")
            shown = dict(keys(answer(console, "debug -k")))["debug"]
            equal((shown["sample"], shown["sample_bytes"]), ("0", "0"))
            assert "and 1 failed" in answer(console, "fail stop 1")
            equal(answer(console, "debug sample 100"), "")
            shown = dict(keys(answer(console, "debug -k")))["debug"]
            assert shown["sample"] == "100" and int(shown["sample_bytes"]) > 0, shown
            console.type("poweroff 8\n")
            equal(console.status(), 8)


@test("samples: on from boot, a read of a freed one has its whole story, in both worlds", quick=True)
def _():
    for start in (qemu, host):
        with start("--cores", "2", "--append", "kmem_sample=1000") as console:
            console.expect(PROMPT)
            shown = dict(keys(answer(console, "debug -k")))["debug"]
            equal(shown["sample"], "1000")
            assert 16 <= int(shown["sample_slots"]) <= 4096, shown
            answer(console, "debug sample 0")
            equal(dict(keys(answer(console, "debug -k")))["debug"]["sample"], "0")
            console.type("misuse sample_read_of_freed\n")
            text = console.expect(r"(?s)(panic: .*)\npanic> $")[1]
            check_width("misuse", text)
            first, allocated, freed, here = re.split(
                r"(?m)^(?:allocated|freed) .* ago by ktask .*:$|^reported here:$", text)
            line = " ".join(first.split())
            address = re.search(r"panic: cache misuse: read of byte 0 of free object (0x[\da-f]+), of 100 bytes, "
                                r"in plant_sample_read_of_freed\+", line)[1]
            assert re.search(r"sampled\+|begin\+", allocated) and "freed+" in freed and "plant_sample_read_of_freed+" in here, text
            text = after_panic(console, f"whatis {address}")
            check_width("whatis", text)
            assert "page of a sample of cache misuse\n" in text and f"object {address} of 100 bytes is free" in text, text
            assert "a sample in" in after_panic(console, "debug")


@test("panic: under load on 4 cores, all that can be walked is shown")
def _():
    with panicked("work start alloc 30; work start maps; work start bursts; ps; panic", "--cores", "4") as console:
        for line in SAFE:
            text = after_panic(console, line)
            assert "not safe" not in text and "stopped by a panic" not in text, (line, text)
            assert text.count("\n") > 1, (line, text)
        frames = [row for word, row in keys(after_panic(console, "ps -k")) if word == "frame"]
        functions = {re.split(r"[.+]", row["symbol"])[0] for row in frames}
        # The monitor's, which panicked; ktasks that sleep; what other cores ran.
        assert functions >= {"panic_command", "port_thread_block", "ktask_main", "sched_idle"}, functions
        rows = {word: row for word, row in keys(after_panic(console, "whatis -k base_arena"))}
        equal(rows["symbol"]["name"], "base_arena")
        stack = next(row for word, row in keys(after_panic(console, "ps -k"))
                     if word == "ktask" and row["name"] == "reclaim")
        text = after_panic(console, f"whatis {int(stack['guard'], 16) + 64:#x}")
        assert "guard page of the stack of ktask" in text and "vaddr " in text, text


@test("panic: what stays locked for good stops nothing")
def _():
    # The lock of the tree of ktasks; a qlock, and the spinlock in it.
    qlock = address_of("arenas_and_slabs_lock")
    with panicked_and_written("panic", {address_of("all"): 1, qlock: 1, qlock + 32: 1}) as console:
        for line in SAFE:
            text = after_panic(console, line)
            assert "panic:" not in text and text.count("\n") > 1, (line, text)


@test("panic: a fault while something is shown gives one line and the prompt")
def _():
    with panicked_and_written("panic -f", {address_of("all_arenas"): 0x8000000000000000}) as console:
        for line in ("arena tree", "arena show base", "slab", "whatis base_arena", "arena tree"):
            text = after_panic(console, line)
            faults = [row for row in text.splitlines() if "panic" in row]
            equal(len(faults), 1)
            assert "stopped by a panic: general protection fault" in faults[0], text
        assert "monitor" in after_panic(console, "ps")


TELLS = ("slab misuse", "debug", "who base", "who kpages", "who misuse", "trace -a", "whatis kernel_main")


@test("leaks: what the monitor holds is none, and is one when its pointer is overwritten", quick=True)
def _():
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/gdb"
        with qemu("--cores", "2", "--append", "kmem_debug=full", "--", "-gdb",
                  f"unix:{path},server=on,wait=off") as console:
            console.expect(PROMPT)
            held = dict(keys(answer(console, "alloc -k kmalloc-64 64 100")))["held"]
            equal(answer(console, "leaks -k"), "")
            debugger = Debugger(path)
            record = debugger.read(address_of("all_held"))
            pieces = next(at for at in range(record, record + 512, 8) if debugger.read(at) == int(held["first"], 16))
            for i in range(1, 100):
                debugger.write(pieces + 8 * i, 0)
            debugger.resume()
            for line in ("leaks", "leaks", "leaks kmalloc-64"):
                text = answer(console, line)
                check_width(line, text)
            assert re.search(r"allocated by\n +99 .* alloc_\w+\+", text), text
            rows = {row["cache"]: row for word, row in keys(answer(console, "leaks -k")) if word == "leaks"}
            equal(list(rows), ["kmalloc-64"])
            assert 90 <= int(rows["kmalloc-64"]["count"]) < 100, rows
            answer(console, "leaks -c")
            assert "no leaks" in answer(console, "leaks kmalloc-64")
            answer(console, "alloc ktask-ids 1 3")
            text = answer(console, "leaks -i -a")
            check_width("leaks -i -a", text)
            assert re.search(r"users of ktask-ids, oldest first:\n(?s:.*) 3 .* alloc_command\+0x", text), text
            assert "users of vectors," in text and "users of kpages," not in text, text
            console.type("poweroff 7\n")
            equal(console.status(), 7)


@test("debug: from the report of a double free to where it was allocated and freed", quick=True)
def _():
    for start in (qemu, host):
        with start("--cores", "2", "--append", "kmem_debug=full") as console:
            console.expect(PROMPT)
            console.type("misuse free_twice\n")
            report = console.expect(r"(?s)(panic: .*)\npanic> $")[1]
            check_width("misuse", report)
            address, size = re.search(r"(?m)^object (0x[0-9a-f]+) of (\d+) bytes is free$", report).groups()
            line = report.replace("\n    ", " ").splitlines()[0]
            assert line.startswith(f"panic: cache misuse: free of {address}, which is not allocated"), line
            text = after_panic(console, f"whatis {address}")
            check_width("whatis", text)
            for part in (f"object {address} of {size} bytes is free\n", "allocated ", "freed "):
                assert f"\n{part}" in text, (part, text)
            rows = keys(after_panic(console, f"whatis -k {address}"))
            frames = {row["what"]: row["frames"].split(",") for word, row in rows if word == "event"}
            for what in "alloc", "free":
                assert any(frame.startswith("misuse_command+") for frame in frames[what]), frames
            for line in TELLS:
                text = after_panic(console, line)
                check_width(line, text)
                assert text.count("\n") > 1 and "stopped by" not in text and "not safe" not in text, (line, text)
            console.type("poweroff 7\n")
            equal(console.status(), 7)


def report_of(start, line, *arguments):
    """What a panic under autorun prints, in rows that fit; it ends the run with 126."""
    status, text = run(start(*arguments, "--autorun", f"{line}; poweroff"))
    equal(status, 126)
    check_width(line, text)
    equal(len(re.findall(r"(?m)^panic", text)), 1)
    assert re.search(r"(?m)^base ", text), text
    return text


CALLED = r"(?m)^ *#\d+ 0x[0-9a-f]+ command_run_line\+0x"


@test("panic: under autorun it ends the run with 126 after its report", quick=True)
def _():
    for start in (qemu, host):
        text = report_of(start, "panic now")
        assert re.search(r"(?m)^panic: now$", text) and re.search(CALLED, text), text


@test("panic: a fault is reported with registers and a symbolised backtrace")
def _():
    for start, fault in ((qemu, "page fault: write to 0x10"), (host, "SIGSEGV at 0x10")):
        text = report_of(start, "panic -f")
        assert re.search(rf"(?m)^panic: {fault}, .*panic_command", text) and re.search(CALLED, text), text
        equal(bool(re.search(r"rax +[0-9a-f]{16}", text)), start == qemu)


@test("panic: a stack overflow is reported with the name of its ktask")
def _():
    for start in (qemu, host):
        text = report_of(start, "panic -o", "--cores", "4")
        assert re.search(r"(?m)^panic: stack overflow of ktask \d+ \(monitor\)", text), text[-3000:]


@test("panic: a long line takes as many rows as it needs")
def _():
    words = " ".join(f"word{i}" for i in range(30))
    for start in (qemu, host):
        text = report_of(start, f'panic "{words}"')
        assert f"panic: {words}\n" in text.replace("\n    ", " "), text


@test("panic: with several cores it ends the run once")
def _():
    assert re.search(CALLED, report_of(qemu, "panic now", "--cores", "4"))


@test("panic: the monitor goes on, with the commands that are safe in a panic")
def _():
    with panicked("panic \"on purpose\"") as console:
        assert re.search(r"(?m)^  kpages ", after_panic(console, "arena tree"))
        assert "kernel image" in after_panic(console, "mem")
        assert re.search(r"(?m)^.*test.*panic.*$", after_panic(console, "test"))


# Disks

BLOCK_LINES = 64


def block_of(number, generation):
    """A block as disk_pattern.h has it."""
    flip = (1 << 64) - 1
    words = [(number, generation, line, int.from_bytes(b"SPANDREL", "little"))
             for line in range(BLOCK_LINES)]
    return b"".join(struct.pack("<8Q", *line, *(word ^ flip for word in line)) for line in words)


def make_image(folder, blocks):
    path = f"{folder}/disk"
    with open(path, "wb") as image:
        for number in range(blocks):
            image.write(block_of(number, 0))
    return path


def generations(path, count):
    """The generations of an image's first blocks, which must be whole."""
    found = []
    with open(path, "rb") as image:
        for data in (image.read(PAGE) for _ in range(count)):
            generation = int.from_bytes(data[8:16], "little")
            assert data == block_of(len(found), generation), f"block {len(found)} is torn"
            found.append(generation)
    return found


def disk_runs_with(cores, *arguments):
    """The kernel's tests read all blocks and write a fifth of them."""
    with tempfile.TemporaryDirectory() as folder:
        path = make_image(folder, DISK_BLOCKS)
        status, text = run(qemu("--cores", str(cores), "--disk", path, "--autorun",
                                "test disk; disk -k; irq -k; poweroff", *arguments))
        equal(status, 0)
        assert " 0 failed" in text, text
        disk = next(row for word, row in keys(text) if word == "disk")
        equal(disk["blocks"], str(DISK_BLOCKS))
        equal(disk["errors"], "0")
        assert int(disk["reads"]) > DISK_BLOCKS and int(disk["writes"]) > DISK_BLOCKS / 6, disk
        found = generations(path, DISK_BLOCKS)
        assert sum(g > 0 for g in found) > DISK_BLOCKS / 6, found
        return disk, sum(row["name"] == "disk" for word, row in keys(text) if word == "irq")


DISK_BLOCKS = 2048


@test("disk: 8 MiB read and written block by block, with 1 and 4 cores")
def _():
    for cores in (1, 4):
        disk, vectors = disk_runs_with(cores)
        equal(disk["queues"], str(cores))
        equal(vectors, cores)


@test("disk: 4 queues share 2 messages of the device")
def _():
    disk, vectors = disk_runs_with(4, "--", "-global", "virtio-blk-pci.vectors=2")
    equal(disk["queues"], "4")
    equal(vectors, 2)


def is_left_out(why, *arguments):
    status, text = run(qemu("--autorun", "disk -k; poweroff", *arguments))
    equal(status, 0)
    assert re.search(rf"(?m)^disk at PCI .* is left out: {why}$", text), text


@test("disk: one that can't be used is left out, with one line that says why")
def _():
    with tempfile.TemporaryDirectory() as folder:
        path = make_image(folder, 16)
        second = ["--", "-drive", f"if=none,id=two,format=raw,read-only=on,file={path}", "-device"]
        is_left_out("it can't send messages as interrupts", "--disk", path, "--",
                    "-global", "virtio-blk-pci.vectors=0")
        is_left_out("it can't be written", *second, "virtio-blk-pci,drive=two")
        is_left_out("it has only the older interface", *second,
                    "virtio-blk-pci,drive=two,disable-modern=on")


def second_disk(drive, *commands):
    """Runs commands on a disk that QEMU makes of the words `drive`."""
    status, text = run(qemu("--autorun", "; ".join([*commands, "disk -k", "poweroff"]), "--",
                            "-drive", f"if=none,id=two,format=raw,{drive}",
                            "-device", "virtio-blk-pci,drive=two,disable-legacy=on"))
    equal(status, 0)
    return text, next(row for word, row in keys(text) if word == "disk")


def failing(folder, path, event):
    """The words of a drive that fails `event` on block 7."""
    with open(f"{folder}/faults", "w", encoding="utf-8") as faults:
        faults.write(f'[inject-error]\nevent = "{event}"\nsector = "58"\n')
    return f"file=blkdebug:{folder}/faults:{path}"


@test("disk: one without a cache of its own has nothing to flush")
def _():
    with tempfile.TemporaryDirectory() as folder:
        path = make_image(folder, 16)
        text, disk = second_disk(f"cache=writethrough,file={path}", "cache fill all 5", "cache sync")
        equal((disk["writes"], disk["errors"]), ("16", "0"))
        assert "lost" not in text, text
        equal(generations(path, 16), [5] * 16)


@test("disk: a sector that can't be read is one block's error")
def _():
    with tempfile.TemporaryDirectory() as folder:
        path = make_image(folder, 16)
        text, disk = second_disk(failing(folder, path, "read_aio"), "cache verify all")
        equal(disk["errors"], "1")
        assert "block 7: the disk can't read it" in text, text
        assert "verify: 16 blocks, 1 bad" in text, text


@test("disk: one behind a bridge is found")
def _():
    with tempfile.TemporaryDirectory() as folder:
        path = make_image(folder, 16)
        status, text = run(qemu("--autorun", "disk -k; poweroff", "--",
                                "-device", "pci-bridge,id=b,chassis_nr=1",
                                "-drive", f"if=none,id=two,format=raw,file={path}",
                                "-device", "virtio-blk-pci,drive=two,bus=b,addr=3"))
        equal(status, 0)
        assert "disk name=disk0" in text, text


@test("cache: blocks are verified, filled, written back, and given up in a full memory")
def _():
    with tempfile.TemporaryDirectory() as folder:
        # Twice the machine's memory, in a file that is mostly a hole.
        path = f"{folder}/disk"
        with open(path, "wb") as image:
            image.truncate(64 * MIB)
        blocks = 64 * MIB // PAGE
        status, text = run(qemu(
            "--cores", "4", "--mem", "32M", "--disk", path, "--autorun",
            f"cache verify 1-20; cache fill -k 0-3999 7; cache verify -k 0-3999; cache sync; "
            f"cache read -k 4000-{blocks - 1}; cache verify -k 0-3999; cache -k; poweroff"))
        equal(status, 0)
        rows = dict(keys(text))
        assert "verify: 20 blocks, 20 bad" in text, text
        equal(text.count("verify blocks=4000 bad=0 oldest=7 newest=7"), 2)
        equal(rows["read"], {"blocks": str(blocks - 4000), "bad": "0"})
        equal(rows["block_cache"]["dirty"], "0")
        equal(generations(path, 4000), [7] * 4000)


@test("poweroff: what is dirty is on the disk then, also at the end of a script or of input, and for reboot")
def _():
    with tempfile.TemporaryDirectory() as folder:
        path = make_image(folder, DISK_BLOCKS)
        for generation, commands in enumerate(("cache fill all 1; poweroff 9", "cache fill all 2"), 1):
            status, _ = run(qemu("--cores", "2", "--disk", path, "--autorun", commands))
            equal((status, set(generations(path, DISK_BLOCKS))), (9 * (generation == 1), {generation}))
        equal(piped("cache fill all 3\n", *qemu_command("--disk", path))[0], 0)
        equal(set(generations(path, DISK_BLOCKS)), {3})
        with qemu("--disk", path) as console:
            console.expect(PROMPT)
            console.type("cache fill all 4; reboot\n")
            console.expect("rebooting")
            equal(set(generations(path, DISK_BLOCKS)), {4})


@test("poweroff: a disk that fails, or never answers, gets one line and is given up")
def _():
    with tempfile.TemporaryDirectory() as folder:
        # More than QEMU joins to one write, the first of which is never throttled.
        path = make_image(folder, 1024)
        for drive, wrong in ((failing(folder, path, "write_aio"), "has failed"),
                             (f"throttling.bps-write=1,file={path}", "doesn't answer")):
            text, _ = second_disk(drive, "cache fill all 5")
            assert text.count(f"disk0 {wrong}: not all that was changed is on it\n") == 1, text


@test("disk: --disk with a file that isn't there is one plain line and status 127")
def _():
    done = subprocess.run(["scripts/qemu", "--kernel", options.kernel, "--disk", "/nonexistent"],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    equal(done.returncode, 127)
    equal(done.stderr, "qemu: can't read /nonexistent\n")


# The initrd

STREAM = "tests/data/gcc.va.sptr.xz"

# Two objects of a cache, one of them freed: ids, bytes, class, processor, operation.
RECORDS = [(0, 96, 0, 0, 3), (1, 96, 0, 1, 3), (0, 0, 0, 1, 4)]


def stream_of(records):
    """A stream as tests/data/README.md describes it."""
    return (struct.pack("<4sIII", b"SPTR", 1, 1, len(records)) +
            struct.pack("<40sII", b"things", 96, 8) +
            b"".join(struct.pack("<IIHBB", *record) for record in records))


def make_initrd(folder):
    """By scripts/stream, of a file that is packed and one that isn't; returns its path and bytes."""
    with open(f"{folder}/small.sptr", "wb") as plain:
        plain.write(stream_of(RECORDS))
    with open(f"{folder}/initrd", "wb") as out:
        subprocess.run(["scripts/stream", STREAM, f"{folder}/small.sptr"], stdout=out, check=True)
        return out.name, out.tell()


def check_streams(text):
    rows = [row for word, row in keys(text) if word == "stream"]
    equal([(row["kind"], row["caches"], row["records"], row["objects"], row["live"]) for row in rows],
          [("ranges", "0", "87522", "43761", "0"), ("objects", "1", "3", "2", "1")])


@test("initrd: its streams are listed and replayed, and every page is accounted for", quick=True)
def _():
    with tempfile.TemporaryDirectory() as folder:
        path, size = make_initrd(folder)
        status, text = run(qemu("--cores", "4", "--mem", "64M", "--initrd", path, "--autorun",
                                "initrd -k; test initrd; mem -k; arena tree -k; poweroff"))
        equal(status, 0)
        check_streams(text)
        assert "2 passed, 0 failed" in text, text
        check_accounts(text, 64 * MIB, size)
        vaddr = next(row for word, row in keys(text) if word == "arena" and row["name"] == "vaddr")
        assert int(vaddr["allocs"]) > 10000, vaddr  # spans of what was replayed
        memory = {row["what"]: row["bytes"] for word, row in keys(text) if word == "memory"}
        equal(memory["initrd"], str(size))


@test("initrd: memory held over a stream is measured, and its holders add up to it", quick=True)
def _():
    sizes = [4096 << order for order in (0, 1, 0, 3, 0)]
    records = [(i, sizes[i], order, 0, 5) for i, order in enumerate((0, 1, 0, 3, 0))]
    records += [(5 + i, 96, 0, 0, 3) for i in range(500)] + [(i, 0, 0, 0, 4) for i in range(5, 500)]
    records += [(505, 5000, 0, 0, 1)] + [(505, 0, 0, 0, 2)]
    live = {"peak": sum(sizes) + 500 * 96, "end": sum(sizes) + 5 * 96}
    with tempfile.TemporaryDirectory() as folder:
        with open(f"{folder}/initrd", "wb") as out:
            out.write(stream_of(records))
        status, text = run(host("--initrd", out.name, "--autorun", "bench held_permille; poweroff"))
    equal(status, 0)
    rows = [line.split(",") for line in text.splitlines() if line.startswith("held_")]
    values = {row[0]: int(row[2]) for row in rows}
    for moment, asked in live.items():
        held = values[f"held_bytes.{moment}"]
        equal(values[f"held_live.{moment}"], asked)
        equal(values[f"held_permille.{moment}"], round(held * 1000 / asked))
        equal(sum(value * {moment: 1, "start": -1}.get(name.split(".")[1], 0) for name, value in values.items()
                  if name.startswith("held_by.") and not name.endswith(".front.live")), held)


@test("initrd: the host process reads the same file")
def _():
    with tempfile.TemporaryDirectory() as folder:
        path, _ = make_initrd(folder)
        status, text = run(host("--initrd", path, "--autorun", "initrd; initrd -k; poweroff"))
        assert re.search(r"(?m)^ +1 objects +1 +3 +2 +1 +192 B$", text), text
        equal(status, 0)
        check_streams(text)


@test("initrd: a stream that is wrong, and none, are one plain line")
def _():
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/initrd"
        with open(path, "wb") as out:
            out.write(stream_of(RECORDS) + stream_of(RECORDS + [(7, 0, 0, 0, 4)]))
        for machine in (qemu, host):
            status, text = run(machine("--initrd", path, "--autorun", "initrd -k; poweroff"))
            equal(status, 0)
            equal(sum(word == "stream" for word, _ in keys(text)), 1)
            assert re.search(r"(?m)^initrd: stream 1 is refused: record 3: a free of what was never "
                             r"allocated$", text), text
            status, text = run(machine("--autorun", "initrd; poweroff"))
            assert re.search(r"(?m)^initrd: there is no initrd", text), text


@test("initrd: scripts/stream refuses what is no stream with one plain line")
def _():
    for path in ("README.md", "/nonexistent"):
        done = subprocess.run(["scripts/stream", path], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, check=False)
        equal((done.returncode, done.stdout), (1, ""))
        assert re.fullmatch(rf"stream: {path}: .*\n", done.stderr), done.stderr


# The image with GRUB

def iso_boots(kept, *machine):
    """An image's kernel finds memory, cores, initrd and command line, and runs what that says."""
    with tempfile.TemporaryDirectory() as folder:
        initrd, size = make_initrd(folder)
        subprocess.run(["scripts/iso", "--kernel", options.kernel, "--initrd", initrd, f"{folder}/iso",
                        "no \"such\\option's", "autorun=mem -k; arena tree -k; cores -k; initrd -k; poweroff 43"],
                       check=True)
        status, text = run(Console(["scripts/qemu", "--iso", f"{folder}/iso", "--cores", "2", "--timeout",
                                    str(RUN_LIMIT), *machine], RUN_LIMIT + 10))
    equal(status, 43)
    # Firmware and GRUB may have said something before.
    refused = "command line: no \"such\\option's: unknown, ignored\n"
    assert refused in text, text
    text = text[text.index(refused):]
    equal(re.findall("(?m)^(?:command line|acpi):.*\n", text), [refused])
    check_accounts(text, 256 * MIB, size, kept)
    equal(sum(word == "core" for word, _ in keys(text)), 2)
    check_streams(text)


@test("iso: boots from a BIOS with memory, cores, initrd and command line")
def _():
    iso_boots(MIB)


@test("iso: boots from UEFI with memory, cores, initrd and command line", long=True)
def _():
    iso_boots(16 * MIB, "--uefi")


@test("iso: what can't be made is one plain line and status 1")
def _():
    for words in "--kernel /nonexistent x", f"--kernel {options.kernel} --initrd / x":
        status, text, errors = piped("", "scripts/iso", *words.split())
        equal((status, text), (1, ""))
        assert re.fullmatch("iso: .*\n", errors), errors
    status, text, errors = piped("", "scripts/iso", "--kernel", options.kernel, "/proc/x/y")
    equal((status, text), (1, ""))
    assert re.search(r"(?m)^iso: grub-mkrescue failed, status \d+$", errors), errors


# The tests' own runner

def runs_of(*commands, seed=1):
    """What the commands print, in the kernel and then as a process."""
    for machine in (qemu, host):
        with machine("--append", f"test_seed={seed}") as console:
            console.expect(PROMPT)
            console.type("; ".join([*commands, "poweroff"]) + "\n")
            equal(console.status(), 0)
            yield console.text


PRINTS = "test: what is printed is shown only if the test fails"


@test("test: names each test as it begins, with its number and the seconds", quick=True)
def _():
    for text in runs_of('test "test: "'):
        begins = re.findall(r"(?m)^\[ *(\d+)/(\d+)\] +\d+\.\d s  test: ", text)
        count = len(begins)
        equal(begins, [(str(i), str(count)) for i in range(1, count + 1)])
        assert text.endswith(f"{count} passed, 0 failed\n"), text


@test("test: what a test prints is shown by -v, or if it fails")
def _():
    for text in runs_of(f'test "{PRINTS}"'):
        assert "printed by a test" not in text, text
    for text in runs_of(f'test -v "{PRINTS}"'):
        assert re.search(rf"{PRINTS}\nprinted by a test\n1 passed, 0 failed", text), text
    for text in runs_of(f'test "{PRINTS}"', seed=0xfa11):
        assert re.search(rf"FAIL {PRINTS}\n.*\n  replay: .*\n  its output:\nprinted by a test\n"
                         "0 passed, 1 failed", text), text


@test("test: -l lists those with the filter in their names")
def _():
    for text in runs_of('test -l "test: "', 'test -l what is printed', "test -x"):
        listed = re.findall(r"(?m)^test: .*$", text)
        assert PRINTS in listed and "passed" not in text, text
        assert "test: too many words" in text and "test: -x is neither" in text, text


@test("test: one that doesn't end is ended at its limit, with backtraces of cores and ktasks")
def _():
    for cores in ("1", "3"):
        for seed, where in ((0x51ee9, "sleep_for_ever"), (0x59111, "run_body")):
            words = f"test_limit=1 test_seed={seed} test=doesn't"
            for machine in (qemu, host):
                status, text = run(machine("--cores", cores, "--append", words))
                equal(status, 126)
                assert re.search(r'(?m)^panic: test "test: one that .*" takes longer\s+than\s+1 s', text), text
                assert re.search(rf'(?m)^in the test "test: one that .*, seed {seed:#x}$', text), text
                equal(sorted(re.findall(r"(?m)^  core (\d)", text)), list("012"[:int(cores)]))
                assert "did not stop" not in text, text
                assert re.search(rf"#\d+ 0x[0-9a-f]+ {where}\+", text), text


@test("test: Ctrl-C ends a run, and the next line is typed ahead")
def _():
    for machine in (qemu, host):
        with machine() as console:
            console.expect(PROMPT)
            console.type("test arena\n")
            console.expect(r"\[ +3/")
            console.type("dropped\x03test -l \"what is printed\"\n")
            console.expect(r"interrupted: \d+ of \d+ tests were not run\n\d+ passed, 0 failed\n")
            console.expect(PRINTS)
            console.expect(PROMPT)
            console.type("poweroff 5\n")
            equal(console.status(), 5)


@test("test: Ctrl-C ends a run that the command line asked for")
def _():
    for start in (qemu("--append", "test=arena"), host("--test", "arena")):
        with start as console:
            console.expect(r"\[ +3/")
            console.type("\x03")
            console.expect(r"interrupted: \d+ of \d+ tests were not run")
            equal(console.status(), 1)


@test("test: on a terminal the progress is one line, no wider than the terminal")
def _():
    status, text = run(host("--append", "terminal", "--test", "arena: next"))
    equal(status, 0)
    parts = text.split("\x1b[K")
    assert len(parts) > 3 and not any("\n" in part for part in parts[1:-1]), text
    assert max(map(len, parts[1:-1])) == 79, text


# Makefile

@test("make help: lists every target", quick=True)
def _():
    with open("Makefile", encoding="utf-8") as makefile:
        targets = re.search(r"(?m)^\.PHONY: FORCE (.*)$", makefile.read())[1].split()
    out = subprocess.run(["make", "--no-print-directory", "help"], stdout=subprocess.PIPE, text=True,
                         check=True).stdout
    equal(sorted(re.findall(r"(?m)^  make (\S+) ", out)), sorted(targets))


# scripts/qemu

TRIPLE_FAULT = """
    .section .note.pvh, "a", @note
    .balign 4
    .long 4, 8, 18
    .asciz "Xen"
    .quad start
    .text
    .code32
    .globl start
start:
    lidt nothing
    int3
nothing:
    .word 0
    .long 0
"""


WRONG = ["--timeout nan", "--timeout inf", "--timeout -1", "--timeout 0", "--timeout 1e999",
         "--timeout x", "--cores 0", "--cores 256", "--cores -1", "--cores 1_0", "--cores x",
         "--mem 0", "--mem -1", "--mem 1X", "--mem x", "--mem 1M", "--mem 3.2M", "--kernel /nonexistent",
         "--kernel /", "--initrd /nonexistent", "--initrd /", "--initrd", "--disk /", "--frob", "frob",
         "--core 2", "--autorun", "--append a=\"b", "--append a\\", "--kvm --icount", "--iso README.md", "--uefi",
         "--gdb", "--gdb=", "--halted", "-- --frob"]
WRONG_ISO = ["/", "/nonexistent", "", "README.md --append a", "README.md --autorun a",
             "README.md --initrd README.md"]


def is_refused(lines_of, status, text, errors, words):
    """Status 127, and one plain line of the program's own."""
    assert status == 127, (words, status, text, errors)
    equal((words, text, len(re.findall(rf"(?m)^{lines_of}: ", errors))), (words, "", 1))
    assert "Traceback" not in errors, errors


@test("scripts/qemu: each wrong argument is one plain line and status 127", quick=True)
def _():
    for words in WRONG:
        is_refused("qemu", *piped("", "scripts/qemu", "--kernel", options.kernel, *words.split()), words)
    for words in WRONG_ISO:
        is_refused("qemu", *piped("", "scripts/qemu", "--iso", *words.split(" ")), f"--iso {words}")
    is_refused("qemu", *piped("", "scripts/qemu", "--initrd", ""), "--initrd ''")


@test("spandrel-host: each wrong argument is one plain line and status 127", quick=True)
def _():
    for words in ["--cores 0", "--cores 256", "--cores x", "--cores", "--mem 0", "--mem 1M", "--mem x",
                  "--mem 99999999999999999999", "--mem 9999999T", "--seed x", "--initrd /nonexistent",
                  "--initrd /", "--frob", "frob", "--autorun", "--append a=\"b", "--append a\\",
                  "--append " + 5000 * "x"]:
        is_refused("spandrel-host", *piped("", options.host, *words.split()), words)


@test("scripts: a wrong argument is status 2, and no traceback")
def _():
    for words in ["tests/run.py --frob", "tests/run.py frob", "tests/boot/run.py --frob",
                  "tests/boot/run.py a b", "tests/boot/run.py --kernel /nonexistent x",
                  "tests/boot/gdb.py a b", "scripts/gdb/start --frob", "scripts/gdb/start --pid 1 --at 1",
                  "scripts/dump", "scripts/dump x", "tests/boot/soak.py --seconds nan",
                  "tests/boot/soak.py --seconds -1",
                  "tests/boot/soak.py --mem x", "tests/boot/soak.py --disk 0",
                  "tests/boot/soak.py --without frob", "tests/boot/soak.py --kernel /nonexistent",
                  "scripts/iso", "scripts/iso --frob x", "scripts/iso x a\x01",
                  "scripts/bench a b", "scripts/bench --frob", "scripts/bench-host a b",
                  "scripts/bench-host --frob", "scripts/bench-compare frob", "scripts/bench-linux frob",
                  "scripts/bench-baseline frob", "scripts/bench-baseline --base", "scripts/bench-baseline --base /x",
                  "scripts/bench-baseline --base --all", "scripts/bench-baseline --base= --write",
                  "scripts/bench-baseline --base HEAD --write", "scripts/held frob", "scripts/irqoff",
                  "scripts/irqoff /nonexistent x",
                  f"scripts/irqoff {options.kernel} /proc/x/y"]:
        command = words.split()
        if command[0].endswith(".py"):
            command.insert(0, sys.executable)
        status, text, errors = piped("", *command)
        equal((words, status, text), (words, 2, ""))
        assert errors and "Traceback" not in errors, (words, errors)


@test("scripts/bench-linux: what is missing is one plain line and status 1")
def _():
    # Where the kernel's packages aren't missing, make is.
    with tempfile.TemporaryDirectory() as folder:
        status, text, errors = piped("", "env", f"PATH={folder}", sys.executable, "scripts/bench-linux")
    equal((status, text), (1, ""))
    assert re.fullmatch("bench-linux: .*(linux-headers-amd64|'make').*\n", errors), errors


@test("scripts/qemu: --kvm runs where this machine has it, and is one plain line elsewhere")
def _():
    status, text, errors = piped("", *qemu_command("--kvm", "--mem", "64M", "--autorun", "poweroff 41"))
    if os.access("/dev/kvm", os.R_OK | os.W_OK):
        equal(status, 41)
    else:
        equal((status, text, errors), (127, "", "qemu: no --kvm here: can't use /dev/kvm\n"))


@test("scripts/qemu: a triple fault ends with status 125")
def _():
    with tempfile.TemporaryDirectory() as folder:
        with open(f"{folder}/t.S", "w", encoding="utf-8") as source:
            source.write(TRIPLE_FAULT)
        subprocess.run(["gcc", "-nostdlib", "-static", "-no-pie", "-Wl,-Ttext=0x100000,-e,start",
                        "-Wl,--build-id=none", f"{folder}/t.S", "-o", f"{folder}/t.elf"], check=True)
        console = Console(["scripts/qemu", "--kernel", f"{folder}/t.elf", "--timeout", str(RUN_LIMIT)],
                          RUN_LIMIT + 10)
        equal(run(console)[0], 125)


@test("scripts/qemu: the time limit ends a run with status 124")
def _():
    equal(run(qemu("--mem", "64M", limit=3))[0], 124)


# The unit tests, in the kernel

# Cores, and the divisor of the number of a random test's operations.
UNIT_RUNS = [(1, 4), (4, 10)]
QUICK_UNIT_RUNS = [(2, 10)]
RISCV64_UNIT_RUNS = [(1, 10)]
LONG_UNIT_RUNS = [(1, 1), (2, 1), (4, 1), (8, 1)]


def unit_tests(cores, divisor):
    """Runs them all in one boot; returns how many passed and failed."""
    words = f"test_divisor={divisor}" + (f" test_limit={LONG_TEST_LIMIT}" if options.long else "")
    with qemu("--mem", "256M", "--cores", str(cores), "--append", words, "--autorun", "test; poweroff",
              limit=LONG_UNIT_RUN_LIMIT if options.long else UNIT_RUN_LIMIT) as console:
        status = console.status()
        count = re.search(r"(?m)^(\d+) passed, (\d+) failed$", console.text)
        if not count or status != 0 or count[2] != "0":
            print(console.text)
        assert count and status == 0, status
        return int(count[1]), int(count[2])


def run_unit_tests(cores, divisor):
    try:
        return unit_tests(cores, divisor)
    except AssertionError as error:
        print(f"FAIL unit tests in the kernel on {cores} cores: {error}")
        return 0, 1


def unit_runs():
    if options.quick:
        return QUICK_UNIT_RUNS if is_x86() else RISCV64_UNIT_RUNS
    return LONG_UNIT_RUNS if options.long else UNIT_RUNS


# How the names of those tests begin that hold on riscv64, too.  The others are about what x86, its firmware or QEMU's
# disks have, or about the host alone.
EVERYWHERE = (
    "boot: 32", "boot: 256", "boot: 4 ", "boot: 64", "boot: one", "boot: takes", "boot: instr", "boot: an unknown",
    "cores: each has a", "cores: counts", "autorun: every", "autorun: powers", "typing:", "input:", "mem:",
    "work: ktasks that", "leaks: what the monitor", "panic: under", "panic: what", "panic: a stack",
    "panic: a long", "panic: with", "panic: the", "initrd: its", "initrd: memory", "initrd: a stream", "test:",
    "screens: on", "screens: output", "scripts/qemu: the time",
)


def is_x86():
    """Whether the kernel is for x86, by its file."""
    with open(options.kernel, "rb") as f:
        return f.read(20)[18:] == b"\x3e\0"


def main():
    global options
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--only", choices=("console", "units"))
    parser.add_argument("--debug", choices=("check", "full"))
    parser.add_argument("--kernel", default="build/x86/spandrel.elf")
    parser.add_argument("--host", default="build/host/spandrel-host")
    parser.add_argument("filter", nargs="?", default="")
    options = parser.parse_args()
    for file in options.kernel, options.host:
        if not os.path.isfile(file):
            parser.error(f"there is no file {file}")
    chosen = [(name, function) for name, quick, long, function in TESTS
              if options.filter in name and (quick or not options.quick) and (options.long or not long) and
              (is_x86() or name.startswith(EVERYWHERE))]
    if options.only == "units" and not options.filter:
        chosen = []
    elif not chosen:
        sys.exit(f'tests/boot/run.py: no test has "{options.filter}" in its name')

    passed = failed = 0
    for name, function in chosen:
        good = run_one(name, function)
        passed, failed = passed + good, failed + (not good)
    if not options.filter and options.only != "console":
        for cores, divisor in unit_runs():
            p, f = run_unit_tests(cores, divisor)
            passed, failed = passed + p, failed + f
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


sys.exit(main())
