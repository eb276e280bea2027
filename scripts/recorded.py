# SPDX-License-Identifier: BSD-2-Clause
"""Recorded streams, for the scripts that measure by them (tests/data/README.md has the format)."""
import contextlib
import lzma
import os
import random
import struct
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# Where streams are looked for: the environment may name a folder with others.
FOLDERS = [os.path.join(ROOT, "tests/data")] + [os.environ[v] for v in ["STREAMS"] if v in os.environ]
# What is measured.  NAME.users is the page stream without the recorded slab allocator's own pages,
# NAME.kmalloc the slab stream with all objects from kmalloc.
STREAMS = ["shell.page", "files.page", "shell.page.users", "files.page.users",
           "shell.slab", "files.slab", "shell.slab.small", "files.slab.small",
           "shell.slab.kmalloc", "files.slab.kmalloc"]

# Made here, and measured for memory held alone.
MADE = ["churn.page"]

MOMENTS = ["mean", "peak", "end"]  # of memory held; the mean over the stream's course
HELD_SECONDS = 300

HEADER, CACHE, RECORD = struct.Struct("<4sIII"), 48, struct.Struct("<IIHBB")
BY_SLAB = 0xc000  # marks of pages that the slab allocator took
KMALLOC, KFREE, CACHE_ALLOC, CACHE_FREE, PAGE_ALLOC, PAGE_FREE = range(1, 7)


def load(path):
    """The bytes of a file's stream."""
    opener = lzma.open if path.endswith(".xz") else open
    with opener(path, "rb") as file:
        data = file.read()
    if len(data) < HEADER.size:
        raise ValueError("shorter than a stream's header")
    magic, version, caches, records = HEADER.unpack_from(data)
    if (magic, version) != (b"SPTR", 1):
        raise ValueError("not a stream of version 1")
    if len(data) != HEADER.size + CACHE * caches + RECORD.size * records:
        raise ValueError("not as long as its header says")
    return data


def records_of(data):
    caches = HEADER.unpack_from(data)[2]
    return RECORD.iter_unpack(data[HEADER.size + CACHE * caches:])


def without_caches(records):
    return HEADER.pack(b"SPTR", 1, 0, len(records)) + b"".join(records)


def users(data):
    """Ids are given anew."""
    ids = {}
    return without_caches([
        RECORD.pack(ids.setdefault(number, len(ids)), size, mark, cpu, op)
        for number, size, mark, cpu, op in records_of(data)
        if op not in (PAGE_ALLOC, PAGE_FREE) or not mark & BY_SLAB])


def kmalloc(data):
    to = {CACHE_ALLOC: KMALLOC, CACHE_FREE: KFREE}
    return without_caches([
        RECORD.pack(number, size, 0 if op in to else mark, cpu, to.get(op, op))
        for number, size, mark, cpu, op in records_of(data)])


# Blocks of pages: most of one page, then most of eight to 64, then as at first, of orders drawn by
# weight; about so many bytes live, freed in random order.
CHURN_PHASES = [[8, 4, 2, 1, 0, 0, 0], [1, 1, 1, 4, 4, 2, 1], [8, 4, 2, 1, 0, 0, 0]]
CHURN_RECORDS, CHURN_LIVE = 40_000, 64 << 20  # in each phase


def churn():
    """The stream churn.page.  random.random() gives the same numbers in every Python."""
    draw = random.Random(1).random
    records, live, size, ids = [], [], 0, 0
    for weights in CHURN_PHASES:
        orders = [order for order, weight in enumerate(weights) for _ in range(weight)]
        for _ in range(CHURN_RECORDS):
            if size >= CHURN_LIVE:
                at = int(draw() * len(live))
                live[at], live[-1] = live[-1], live[at]
                number, order = live.pop()
                size -= 4096 << order
                records.append(RECORD.pack(number, 0, order, 0, PAGE_FREE))
            else:
                order = orders[int(draw() * len(orders))]
                live.append((ids, order))
                size += 4096 << order
                records.append(RECORD.pack(ids, 4096 << order, order, 0, PAGE_ALLOC))
                ids += 1
    return without_caches(records)


CHANGES = {".users": users, ".kmalloc": kmalloc}


def find(name):
    """The stream's bytes, or None if there is no such file."""
    if name in MADE:
        return churn()
    change = next((suffix for suffix in CHANGES if name.endswith(suffix)), "")
    for folder in FOLDERS:
        path = os.path.join(folder, f"{name.removesuffix(change)}.sptr.xz")
        if os.path.exists(path):
            return CHANGES[change](load(path)) if change else load(path)
    return None


def find_all(names):
    """Those of these streams that there are: a dictionary from name to bytes."""
    found = {name: find(name) for name in names}
    for name in [name for name, data in found.items() if not data]:
        print(f"no stream {name} in {' or '.join(FOLDERS)}: it is left out", file=sys.stderr)
        del found[name]
    return found


@contextlib.contextmanager
def initrd(streams):
    """The path of a file with these streams' bytes, one after the other."""
    with tempfile.NamedTemporaryFile(prefix="spandrel-streams-") as file:
        file.writelines(streams)
        file.flush()
        yield file.name


def run_rows(command, seconds, preload=None):
    """The rows `name,n,value,unit` that a command prints, in their order."""
    env = dict(os.environ, LD_PRELOAD=preload) if preload else None
    out = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                         errors="replace", timeout=seconds, env=env, check=False)
    if out.returncode != 0:
        sys.exit(out.stdout + f"{command[0]} ended with status {out.returncode}")
    fields = (line.strip().split(",") for line in out.stdout.splitlines())
    return [(f[0], int(f[1]), int(f[2]), f[3]) for f in fields if len(f) == 4 and f[1].isdigit()]


def host(commands, *options):
    """The command that runs the host build with these monitor commands."""
    return [os.path.join(ROOT, "build/host/spandrel-host"), "--mem", "1G", *options,
            "--autorun", f"{commands}; poweroff"]


def held(data):
    """What the benchmark held_permille prints of a stream, alone in a process: a dictionary from
    name to value, equal names added up."""
    rows = {}
    with initrd([data]) as path:
        command = host("bench held_permille", "--initrd", path)
        for name, _, value, _ in run_rows(command, HELD_SECONDS):
            rows[name] = rows.get(name, 0) + value
    return rows
