# SPDX-License-Identifier: BSD-2-Clause
"""Prints tables as the monitor does, by the kernel's own descriptions of them (table.h).

    table = Table(variable("arena_tree_table"), keys=False)
    table.row({"name": "base", "used": 4096, ...})
    table.end()

A row has a value for each of the columns' keys.  A column of text that is given a number shows it as an
amount, in bytes if the row says `in_bytes`; `shown` of a row has texts that people see in place of its values.
"""

from memory import Trouble, constant, text

HEADER = "kern/include/table.h"


class Column:
    def __init__(self, value):
        self.title, self.key = text(value["title"]), text(value["key"])
        self.width, self.kind = int(value["width"]), str(value["kind"])
        self.flags = int(value["flags"])

    def has(self, flag):
        return bool(self.flags & constant(flag, HEADER))


def columns_of(table):
    return [Column(table["columns"][i]) for i in range(int(table["column_count"]))]


def bytes_text(n):
    unit = max(n.bit_length() - 1, 0) // 10
    if unit == 0:
        return f"{n} B"
    tenths = (n * 10 + (1 << 10 * unit - 1)) >> 10 * unit
    if tenths == 10240 and unit < 6:
        tenths, unit = 10, unit + 1
    return f"{tenths // 10}.{tenths % 10} {'KMGTPE'[unit - 1]}iB"


def time_text(ns):
    if ns < 1000:
        return f"{ns} ns"
    unit = min((len(str(ns)) - 1) // 3, 3)
    tenths = ns // (1000 ** unit // 10)
    return f"{tenths // 10}.{tenths % 10} {('ns', 'us', 'ms', 's')[unit]}"


def thousands(n):
    unit = (len(str(n)) - 1) // 3
    tenths = n // (1000 ** unit // 10)
    return f"{tenths // 10}.{tenths % 10}{' KMGTPE'[unit]}"


def cell(kind, value):
    """A number as it is shown for people."""
    if value == 0 and kind != "TABLE_NUMBER":
        return "-"
    if kind == "TABLE_BYTES":
        return bytes_text(value)
    if kind == "TABLE_HEX":
        return f"{value:#x}"
    if kind == "TABLE_TIME":
        return time_text(value)
    if kind == "TABLE_PERMILLE":
        return f"{value // 10}.{value % 10}%"
    return str(value)


def amount(value, in_bytes):
    return cell("TABLE_BYTES" if in_bytes else "TABLE_COUNT", value)


def permille(part, whole):
    """As table_permille(): 0 for nothing alone."""
    if part == 0 or whole == 0:
        return 0
    return 1000 if part >= whole else max(part * 1000 // whole, 1)


def lay_out(texts, widths):
    """Each text in its field; one that is wider takes room from the gaps to its right."""
    line, field = "", 0
    for shown, width in zip(texts, widths):
        start = field + (0 if width < 0 else max(0, width - len(shown)))
        field += abs(width) + 1
        if shown:
            line = line.ljust(max(start, len(line) + 1 if line else 0)) + shown
    return line


class Table:
    def __init__(self, description, keys, columns=None):
        self.object, self.keys = text(description["object"]), keys
        hidden = "TABLE_PEOPLE_ONLY" if keys else "TABLE_KEY_ONLY"
        self.columns = [c for c in columns or columns_of(description) if not c.has(hidden)]
        self.width = constant("SINK_COLUMNS", "kern/include/sink.h")
        self.totals, self.rows = {}, 0
        if not keys:
            self.print([c.title for c in self.columns])

    def row(self, row, shown=None):
        self.rows += 1
        for column in self.columns:
            if column.has("TABLE_TOTAL"):
                self.totals[column.key] = self.totals.get(column.key, 0) + row[column.key]
        if self.keys:
            print(" ".join([self.object, *(f"{c.key}={self.value(c, row)}" for c in self.columns)]))
        else:
            self.print([self.text(c, row, shown or {}) for c in self.columns])

    def end(self):
        if self.keys or self.rows < 2 or not self.totals:
            return
        texts = [self.number(c, self.totals[c.key]) if c.key in self.totals else "" for c in self.columns]
        self.print(["total", *texts[1:]])

    @staticmethod
    def value(column, row):
        """A value for scripts, which split the line at spaces."""
        value = row.get(column.key)
        if value is None:
            raise Trouble(f"nothing is known for the column {column.key}: "
                          "is this the tree that the kernel was built from?")
        if column.kind == "TABLE_STRING":
            return value.replace(" ", "_") or "-"
        return f"{value:#x}" if column.kind == "TABLE_HEX" else str(value)

    def text(self, column, row, shown):
        value = shown.get(column.key, row.get(column.key, ""))
        if isinstance(value, str):
            return value
        if column.kind == "TABLE_STRING":
            return amount(value, row["in_bytes"])
        return self.number(column, value)

    @staticmethod
    def number(column, value):
        shown = cell(column.kind, value)
        is_wide = column.kind == "TABLE_COUNT" and value >= 1000 and len(shown) > abs(column.width)
        return thousands(value) if is_wide else shown

    def print(self, texts):
        """What makes a line too wide is cut: the text that stands out of its field most."""
        widths = [c.width for c in self.columns]
        while len(line := lay_out(texts, widths)) > self.width:
            over, i = max((len(t) - abs(w), i) for i, (t, w) in enumerate(zip(texts, widths)))
            if over <= 0:
                break
            texts[i] = texts[i].rstrip("~")[:-1] + "~"
        print(line)
