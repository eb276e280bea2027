# SPDX-License-Identifier: BSD-2-Clause
"""The requests that sleep."""

from arenas import in_bytes
from ktasks import ktask_at
from memory import Trouble, Walk, at, constant, symbol_text, target, text, variable
from table import Column, Table, columns_of


class KtaskColumn(Column):
    """The monitor has no column for the ktask that sleeps."""

    def __init__(self):
        self.title, self.key, self.width, self.kind, self.flags = "ktask", "ktask", 5, "TABLE_NUMBER", 0


def all_waiters():
    """In the order of their arrival, without the server's place among them."""
    queue = variable("shortage_queue")
    walk, end = Walk("requests that sleep"), int(queue["head"].address)
    record = int(queue["head"]["next"])
    while record and record != end:
        walk.meet(record)
        waiter = at(record, "struct shortage")
        if record != int(queue["cursor"].address):
            yield waiter
        record = int(waiter["next"])


def stats(waiter):
    if not int(waiter["parts"]):
        raise Trouble(f"the request at {int(waiter.address):#x} asks for nothing")
    part = target(waiter["parts"])
    arena, parked = target(part["arena"]), bool(waiter["is_parked"])
    is_error = int(waiter["flags"]) & constant("MEM_ERROR", "kern/include/arena.h")
    return {"arena": text(arena["name"]), "piece": int(part["piece"]), "amount": int(part["amount"]),
            "parts": int(waiter["part_count"]), "flag": "MEM_ERROR" if is_error else "MEM_WAIT",
            "passed": int(waiter["passed"]), "parked": int(parked), "caller": symbol_text(int(waiter["caller"])),
            "ktask": int(ktask_at(waiter["thread"])["id"]), "in_bytes": in_bytes(arena)}


def show(_, flags):
    """The requests that sleep, the oldest first: for what, by which flag, which ktask."""
    description = variable("waiter_table", "kern/monitor/cmd_reclaim.c")
    # Nobody here knows what time it is: how long they have slept is left out.
    columns = [c for c in columns_of(description) if c.key not in ("since_ns", "since_ms")]
    columns.insert(-1, KtaskColumn())
    table = Table(description, "k" in flags, columns)
    for waiter in all_waiters():
        row = stats(waiter)
        table.row(row, {"parked": "yes" if row["parked"] else "no"})
    table.end()
