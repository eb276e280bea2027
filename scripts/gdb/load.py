# SPDX-License-Identifier: BSD-2-Clause
"""Gives gdb the monitor's commands, for a live kernel, a dump of its memory, a host process or its core file.

    (gdb) source scripts/gdb/load.py
    (gdb) arena tree

Each command is `spandrel NAME`, and plain NAME where gdb has no command of that name: its own `whatis`, which
shows a type, stays.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import arenas
import console
import gdb
import ktasks
import memory
import slabs
import waiters
import whatis
from commands import Look, Prefix

# Name, function, its one-letter words, usage, what completes it.
COMMANDS = [
    ("arena tree", arenas.show_tree, "ka", "[-k] [-a]", None),
    ("arena show", arenas.show_one, "kv", "[-k] NAME [-v]", arenas.names),
    ("arena segs", arenas.show_segments, "k", "[-k] NAME", arenas.names),
    ("slab", slabs.show, "ka", "[-k] [-a] [NAME]", slabs.names),
    ("whatis", whatis.show, "k", "[-k] ADDRESS|SYMBOL[+OFFSET]|EXPRESSION", None),
    ("ps", ktasks.show, "kv", "[-k] [-v]", None),
    ("waiters", waiters.show, "k", "[-k]", None),
]

Prefix("spandrel", "What the kernel's monitor shows, read from outside.")
for prefix in "", "spandrel ":
    Prefix(f"{prefix}arena", "Arenas: as a tree, one of them, segment by segment.")
    for name, *about in COMMANDS:
        if prefix or name != "whatis":
            Look(prefix + name, *about)

if console.is_there():
    Look("console", console.type_line, "", "LINE")

gdb.events.new_objfile.connect(lambda _: memory.forget())
