# SPDX-License-Identifier: BSD-2-Clause
"""The ktasks: state, time, stack, what they wait for, and where they are."""

import os

import gdb
from arenas import all_arenas
from memory import (Trouble, at, constant, enumerator, in_order, page_size, read, symbol_of, symbol_text, text, type_of,
                    variable, words)
from table import Table

FRAMES_MAX = 32
LINE_MAX = 80


def all_ktasks():
    root = variable("all", "kern/src/kthread.c")["by_id"]["root"]
    return in_order(root, "struct ktask", "id_node", "ktasks")


def word_of(ktask, name):
    return int(ktask["words"][enumerator(name)])


def state_of(ktask):
    return str(ktask["state"]).removeprefix("KTASK_").lower()


def stack_range(ktask):
    """Its stack without the guard page below; None if it has the one that its core started on."""
    if not int(ktask["stack"]):
        return None
    low = int(ktask["stack"]) + page_size()
    return low, low + int(ktask["stack_size"])


def peak(ktask):
    """The most of its stack that was ever in use: above the words that still are as they were painted."""
    if not stack_range(ktask):
        return 0
    low, high = stack_range(ktask)
    paint = constant("STACK_PAINT", "kern/src/kthread/kthread_impl.h").to_bytes(8, "little")
    for start in range(low, high, page_size()):
        page = read(start, page_size())
        if page != paint * (page_size() // 8):
            used = next(i for i in range(0, page_size(), 8) if page[i:i + 8] != paint)
            return high - start - used
    return 0


def wait_text(ktask):
    """What it sleeps for, in words."""
    if state_of(ktask) != "asleep" or not word_of(ktask, "PORT_THREAD_WAIT"):
        return ""
    what, of = text(ktask["words"][enumerator("PORT_THREAD_WAIT")].cast(type_of("char").pointer())), \
        word_of(ktask, "PORT_THREAD_WAIT_OF")
    if what == "memory":
        arena = next((a for a in all_arenas() if int(a.address) == of), None)
        if arena is not None:
            return f"memory of {text(arena['name'])}"
    symbol = symbol_of(of) if of else None
    if symbol and symbol[1] == 0:
        return f"{what} {symbol[0]}"
    return f"{what} {of:#x}" if of else what


def stats(ktask):
    """What `ps -k` has."""
    return {"id": int(ktask["id"]), "name": text(ktask["name"]), "state": state_of(ktask), "core": int(ktask["core"]),
            "pinned": int(ktask["pinned"]), "switches": int(ktask["switches"]), "us": int(ktask["ns"]) // 1000,
            "ns": int(ktask["ns"]), "guard": int(ktask["stack"]), "stack": int(ktask["stack_size"]),
            "peak": peak(ktask), "wait": wait_text(ktask), "": wait_text(ktask)}


def show(_, flags):
    """The ktasks; -v: with backtraces."""
    table = Table(variable("ps_table", "kern/monitor/cmd_ps.c"), "k" in flags)
    ktasks = list(all_ktasks())
    for ktask in ktasks:
        table.row(stats(ktask))
        if "v" in flags:
            show_frames(backtrace(ktask, ktasks), f"ktask={int(ktask['id'])} " if "k" in flags else None)
    table.end()


# Backtraces

def show_frames(pcs, keys=None):
    """The name is that of the call, which may be the last instruction of its function."""
    for i, pc in enumerate(pcs):
        name = symbol_text(pc, i > 0)
        if keys is not None:
            print(f"frame {keys}number={i} pc={pc:#x} symbol={symbol_text(pc - (i > 0))}")
            continue
        place = gdb.find_pc_line(pc - (i > 0))
        source = f" {os.path.basename(place.symtab.filename)}:{place.line}" if place.symtab else ""
        line = f"  #{i} {pc:#018x} {name}{source}"
        print(line if len(line) <= LINE_MAX else line[:LINE_MAX - 1] + "~")


def was_running(ktask, ktasks):
    """Whether a core is in it: its idle ktask if it is in no other."""
    if state_of(ktask) != "idle":
        return state_of(ktask) == "running"
    return all(state_of(other) != "running" or int(other["core"]) != int(ktask["core"]) for other in ktasks)


def backtrace(ktask, ktasks):
    """Its return addresses, innermost first."""
    if was_running(ktask, ktasks):
        return thread_frames(thread_of(ktask))
    return fiber_frames(int(ktask["fiber"]["sp"]))


def thread_of(ktask):
    """The core that is in it: by its stack, or, on one that a core started on, by the core's number; else None."""
    for thread in gdb.selected_inferior().threads():
        if stack_range(ktask) and holds(thread, *stack_range(ktask)):
            return thread
        if not stack_range(ktask) and is_machine() and thread.num == int(ktask["core"]) + 1:
            return thread
    return None


def is_machine():
    """Whether the threads are a machine's cores, not a process's."""
    return gdb.lookup_global_symbol("port_cores", gdb.SYMBOL_VAR_DOMAIN) is not None


def holds(thread, low, high):
    return low <= on_thread(thread, lambda: int(gdb.parse_and_eval("$sp").cast(type_of("uintptr_t")))) <= high


def on_thread(thread, look):
    """What look() finds on a thread; the selected one is the same before and after."""
    before, frame = gdb.selected_thread(), None
    try:
        frame = gdb.selected_frame()
    except gdb.error:
        pass
    try:
        thread.switch()
        return look()
    finally:
        if before is not None and before.is_valid():
            before.switch()
        if frame is not None and frame.is_valid():
            frame.select()


def thread_frames(thread):
    return on_thread(thread, newest_frames) if thread is not None else []


def newest_frames():
    """Without what gdb takes for frames where assembly has called: those lie in no function."""
    pcs, frame = [], gdb.newest_frame()
    while frame is not None and frame.pc() and len(pcs) < FRAMES_MAX:
        if frame.type() != gdb.INLINE_FRAME and symbol_of(frame.pc()):
            pcs.append(frame.pc())
        frame = frame.older()
    return pcs


def fiber_frames(sp):
    """Of a ktask that left its core in machine_switch(), by frame pointers."""
    if not sp:
        return []
    architecture = gdb.selected_inferior().architecture().name()
    if architecture.startswith("riscv"):
        frame, below = sp + type_of("struct saved").sizeof, 2
    elif is_machine():
        frame, below = sp + 8 * constant("SWITCH_REGISTERS", "arch/x86/port.c"), 0
    else:
        frame, below = sp + 8 * (constant("FRAME_WORDS", "arch/host/fiber.c") - 2), 0
    return walk_frames(frame, below)


def walk_frames(frame, below):
    """A frame is its caller's and the return address, at its frame pointer or `below` words under it."""
    pcs = []
    while frame and frame % 8 == 0 and len(pcs) < FRAMES_MAX:
        try:
            outer, pc = words(frame - 8 * below, 2)
        except gdb.MemoryError:
            break
        if not pc or symbol_of(pc) is None:
            break
        pcs.append(pc)
        if outer <= frame:
            break
        frame = outer
    return pcs


def ktask_at(pointer):
    if not int(pointer):
        raise Trouble("there is no ktask")
    return at(int(pointer), "struct ktask")
