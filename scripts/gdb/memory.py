# SPDX-License-Identifier: BSD-2-Clause
"""Reads the kernel's structures through its debug information.

    for arena in chain(variable("all_arenas"), "all_next"):
        text(arena["name"])

What is read may be in the middle of a change, or overwritten: a walk ends with Trouble, one plain line,
where it meets an entry for the second time or more entries than there can be.  The debug information has
no macros; constant() reads those from the sources that the kernel was built from.
"""

import os
import re

import gdb

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ENTRIES_MAX = 1 << 22  # of a list that doesn't say how many it has
DEPTH_MAX = 128  # of a tree: a balanced one of 2^64 nodes is less deep
TEXT_MAX = 64  # bytes of a string

types, constants, symbols = {}, {}, {}


class Trouble(Exception):
    """Why a command can't go on, in a line."""


# Names

def forget():
    """A file of symbols was loaded: what was looked up in the last one isn't true any more."""
    types.clear()
    constants.clear()
    symbols.clear()


def variable(name, file=None):
    """A variable of the kernel, by its source if it is static; that of a frame never hides it."""
    symbol = symbols.get((name, file)) or find_variable(name, file)
    if symbol is None:
        raise Trouble(f"there is no variable {name}: is this file a kernel, with debug information?")
    symbols[name, file] = symbol
    return symbol.value()


def find_variable(name, file=None):
    if file is None:
        return gdb.lookup_global_symbol(name, gdb.SYMBOL_VAR_DOMAIN)
    return next((s for s in gdb.lookup_static_symbols(name) if s.symtab.filename.endswith(file)), None)


def type_of(name):
    if name not in types:
        try:
            types[name] = gdb.lookup_type(name)
        except gdb.error:
            raise Trouble(f"there is no type {name}: is this file a kernel, with debug information?") from None
    return types[name]


def constant(name, *files):
    """What `#define name ...` says in the first of the sources that has it."""
    if name not in constants:
        for file in files:
            with open(os.path.join(ROOT, file), encoding="utf-8") as source:
                match = re.search(rf"(?m)^#define {name} ([^/\n]+)", source.read())
            if match:
                constants[name] = int(gdb.parse_and_eval(match[1]))
                break
        else:
            raise Trouble(f"{files[0]} has no #define {name}")
    return constants[name]


def enumerator(name):
    return int(gdb.parse_and_eval(name))


# Structures

def at(address, name):
    """The structure at an address, read as a whole."""
    value = gdb.Value(int(address)).cast(type_of(name).pointer()).dereference()
    value.fetch_lazy()
    return value


def target(pointer):
    """What a pointer leads to, read as a whole."""
    value = pointer.dereference()
    value.fetch_lazy()
    return value


def offset_of(name, member):
    """Bytes before a member, which may lie in a nameless one."""
    def find(kind):
        for field in kind.fields():
            if field.name == member:
                return field.bitpos // 8
            if not field.name and field.type.code in (gdb.TYPE_CODE_STRUCT, gdb.TYPE_CODE_UNION):
                inner = find(field.type)
                if inner is not None:
                    return field.bitpos // 8 + inner
        return None
    return find(type_of(name).strip_typedefs())


def text(value):
    """A string in an array, or at a pointer; bytes that are none of ASCII are shown as ?."""
    if value.type.code == gdb.TYPE_CODE_ARRAY:
        raw = bytes(int(value[i]) & 0xff for i in range(value.type.range()[1] + 1))
    else:
        raw = read_up_to(int(value), TEXT_MAX)
    return "".join(chr(b) if 32 <= b < 127 else "?" for b in raw.split(b"\0")[0])


def read(address, size):
    return bytes(gdb.selected_inferior().read_memory(address, size))


def read_up_to(address, size):
    """Fewer bytes if memory ends there."""
    try:
        return read(address, size)
    except gdb.MemoryError:
        return read(address, min(size, -address % page_size() or size))


def page_size():
    return variable("empty", "kern/src/slab/frames.c").type.sizeof


def words(address, count):
    raw = read(address, 8 * count)
    return [int.from_bytes(raw[i:i + 8], "little") for i in range(0, len(raw), 8)]


# Walks

class Walk:
    """What a walk has met so far; `limit`: more entries there can't be."""

    def __init__(self, what, limit=ENTRIES_MAX):
        self.what, self.limit, self.met = what, limit, set()

    def meet(self, address):
        if address in self.met:
            raise Trouble(f"{self.what}: the list comes to {address:#x} a second time")
        if len(self.met) >= self.limit:
            raise Trouble(f"{self.what}: the list goes on behind its {self.limit} entries")
        self.met.add(address)


def chain(pointer, member, what="list"):
    """The structures of a list that ends with NULL."""
    walk = Walk(what)
    while int(pointer):
        walk.meet(int(pointer))
        entry = target(pointer)
        yield entry
        pointer = entry[member]


def linked(head, name, member, what="list"):
    """The structures of a circular list (lib/list.h)."""
    walk, offset, end = Walk(what), offset_of(name, member), int(head.address)
    link = int(head["next"])
    while link != end:
        walk.meet(link)
        entry = at(link - offset, name)
        yield entry
        link = int(entry[member]["next"])


def in_order(root, name, member, what="tree"):
    """The structures of a tree (lib/tree.h), in its order."""
    walk, offset, path, node = Walk(what), offset_of(name, member), [], int(root)
    while node or path:
        while node:
            walk.meet(node)
            path.append(at(node - offset, name))
            if len(path) > DEPTH_MAX:
                raise Trouble(f"{what}: the tree is deeper than {DEPTH_MAX}")
            node = int(path[-1][member]["left"])
        entry = path.pop()
        yield entry
        node = int(entry[member]["right"])


def core_count():
    if find_variable("port_cores"):
        return int(variable("port_cores"))
    return int(variable("core_count", "arch/host/core.c"))


# Symbols

def symbol_of(address):
    """The name that an address lies behind, and how far; None outside of the kernel's image."""
    answer = gdb.execute(f"info symbol {address:#x}", to_string=True)
    match = re.match(r"(\S+)(?: \+ (\d+))? in section ", answer)
    return (match[1].replace("[cold]", ".cold"), int(match[2] or 0)) if match else None


def symbol_text(address, is_return=False):
    """As the monitor writes it: NAME+0x10.  A return address belongs to the instruction before it."""
    found = symbol_of(address - is_return)
    return f"{found[0]}+{found[1] + is_return:#x}" if found else f"{address:#x}"
