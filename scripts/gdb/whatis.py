# SPDX-License-Identifier: BSD-2-Clause
"""What lies at an address."""

import re

import arenas
import gdb
import ktasks
import slabs
from memory import Trouble, page_size, symbol_of, target, text, type_of, variable, words
from table import Table

FRAMES_MAX = 64


def address_of(word):
    """A number, a symbol of the kernel with or without an offset, else what gdb says that it is."""
    match = re.fullmatch(r"([A-Za-z_.][\w.]*)(?:\+(\w+))?", word)
    try:
        if match and gdb.lookup_static_symbol(match[1]) or match and gdb.lookup_global_symbol(match[1]):
            word = f"(unsigned long)&'{match[1]}'+{match[2] or 0}"
        return int(gdb.parse_and_eval(f"(unsigned long)({word})")) % (1 << 64)
    except gdb.error as error:
        raise Trouble(f"{word} is neither an address nor a symbol: {error}") from None


def show_symbol(address, keys):
    found = symbol_of(address)
    if found:
        print(f"symbol name={found[0]} offset={found[1]:#x}" if keys else f"symbol {found[0]}+{found[1]:#x}")
    return bool(found)


def show_stacks(address, keys):
    """The stack of a ktask, its guard page included."""
    shown = False
    for ktask in ktasks.all_ktasks():
        low, high = ktasks.stack_range(ktask) or (0, 0)
        if not low - page_size() <= address < high:
            continue
        number, name, is_guard, shown = int(ktask["id"]), text(ktask["name"]), address < low, True
        if keys:
            print(f"stack ktask={number} name={name} guard={int(is_guard)} end={high:#x}")
        else:
            print(f"{'guard page of the stack' if is_guard else 'stack'} of ktask {number} ({name}), "
                  f"{high - address:#x} below its top")
    return shown


def show_segments(address, keys):
    """The segment in every arena that has one, sources first; returns those arenas, whether it is used, its tag."""
    found, table = [], None
    for arena, depth in arenas.tree():
        segment = arenas.segment_at(arena, address)
        if segment is None:
            continue
        kind, tag = segment
        table = table or Table(variable("table", "kern/monitor/cmd_whatis.c"), keys)
        start, name = int(tag["start"]), text(arena["name"])
        table.row({"arena": name, "state": kind, "start": start, "end": start + int(tag["size"]),
                   "offset": address - start}, {"arena": "  " * depth + name})
        found.append((arena, depth, kind == "used", tag))
    return found


def show_objects(address, found, keys):
    """Slab and object in every cache that has the address; returns whether one is that fronts no arena."""
    has_object = False
    for arena, _, is_used, _ in found:
        for cache in slabs.of_arena(arena) if is_used else ():
            where = slabs.find(cache, address)
            if where is not None:
                show_object(text(cache["name"]), where, address, keys)
                has_object |= not slabs.has(cache, "KMC_QCACHE")
    return has_object


def show_object(cache, where, address, keys):
    offset = address - (where.object or where.slab)
    state = "free object" if where.is_free else "free object (in a magazine)" if where.is_idle else "used object"
    if keys:
        print(f"object cache={cache} slab={where.slab:#x} start={where.object or 0:#x} offset={offset:#x} "
              f"free={int(where.is_free or where.is_idle)} magazine={int(where.is_idle)}")
    elif where.object is None:
        print(f"cache {cache}, slab {where.slab:#x}, behind its objects, offset {offset:#x}")
    else:
        print(f"cache {cache}, slab {where.slab:#x},\n  {state} {where.object:#x}, offset {offset:#x}")


def show_allocation(arena, depth, tag, keys):
    """Where a segment was allocated, if a debug mode has noted that."""
    if not int(tag["user"]):
        return
    stack = target(tag["user"])
    count = min(int(stack["count"]), FRAMES_MAX)
    pcs = words(int(stack.address) + type_of("struct stack").sizeof, count)
    name = text(arena["name"])
    print(f"allocation arena={name} start={int(tag['start']):#x} size={int(tag['size'])}" if keys else
          f"allocated from {name} by:")
    ktasks.show_frames(pcs, f"arena={name} " if keys else None)


def handed_out(found):
    """The used segments of which nothing is a span of another arena's."""
    out = []
    for arena, depth, is_used, tag in found:
        if out and out[-1][1] < depth:
            out.pop()
        if is_used:
            out.append((arena, depth, tag))
    return out


def show(given, flags):
    """What lies at an address: symbol, stack, segments, object, where it was allocated."""
    if not given:
        raise Trouble("it takes an address or a symbol")
    address, keys = address_of(" ".join(given)), "k" in flags
    if not keys:
        print(f"{address:#x}:")
    named = show_symbol(address, keys) | show_stacks(address, keys)
    found = show_segments(address, keys)
    has_object = show_objects(address, found, keys)
    for arena, depth, tag in handed_out(found) if not has_object else ():
        show_allocation(arena, depth, tag, keys)
    if not named and not found and not keys:
        print("no arena has it")
