# SPDX-License-Identifier: BSD-2-Clause
"""Arenas: as a tree, one of them, segment by segment."""

import slabs
from commands import LEFT_OUT
from memory import (Trouble, Walk, at, chain, constant, enumerator, linked, offset_of, page_size, target, text,
                    type_of, variable)
from table import Table, amount, cell, columns_of, permille

DEPTH_MAX = 64  # arenas from one to its root

# Keys of the monitor, and the enumerators that they stand for.
STYLES = {key: f"ARENA_STYLE_{key.upper()}" for key in ("best", "next", "high", "constrained")}
FAILURES = {f"fails_{key}": f"ARENA_FAILURE_{key.upper()}"
            for key in ("shortage", "impossible", "index", "tags", "deadline")}


# The tree

def all_arenas():
    return chain(variable("all_arenas"), "all_next", "all_arenas")


def tree():
    """Each arena and its depth, sources before their importers."""
    walk = Walk("arenas")
    for root in all_arenas():
        if not int(root["tree_source"]):
            yield from below(root, 0, walk)


def below(arena, depth, walk):
    walk.meet(int(arena.address))
    if depth > DEPTH_MAX:
        raise Trouble(f"arena {text(arena['name'])}: it has more than {DEPTH_MAX} sources below it")
    yield arena, depth
    for importer in linked(arena["importers"], "struct arena", "importer_link", "importers"):
        yield from below(importer, depth + 1, walk)


def names():
    return [text(arena["name"]) for arena in all_arenas()]


def named(name):
    for arena in all_arenas():
        if text(arena["name"]) == name:
            return arena
    raise Trouble(f"there is no arena {name}")


# Numbers

def in_bytes(arena):
    return bool(arena["is_memory"]) or int(arena["store"]["quantum"]) % page_size() == 0


def source_name(arena):
    return text(target(arena["source"])["name"]) if int(arena["source"]) else "-"


def tag_at(address):
    return at(address, "struct btag")


def largest_free(store):
    """By the index, else the largest of the last bin that isn't empty."""
    index = store["index"]
    if bool(index["stands"]) and int(index["by_address"]["root"]):
        node = int(index["by_address"]["root"]) - offset_of("struct btag_node", "by_address")
        return int(at(node, "struct btag_node")["max"][0])
    bits = sum(int(store["bin_map"][i]) << 64 * i for i in range(store["bin_map"].type.range()[1] + 1))
    if not bits:
        return 0
    return max(int(tag["size"]) for tag in chain(store["bins"][bits.bit_length() - 1], "bin_next", "bin"))


def own_pages(arena):
    """Of a base arena, for itself, tags and hashes."""
    if int(arena["base"]) != int(arena.address):
        return 0
    head = -(-type_of("struct base_head").sizeof // page_size())
    supply = target(arena["supply"])
    return head + int(supply["pages"]) + int(target(arena["node_supply"])["pages"]) + int(supply["hash_pages"])


def stats(arena):
    """What `arena show -k -v` has, and in_bytes."""
    store = arena["store"]
    row = {key: int(store[name]) for key, name in (
        ("quantum", "quantum"), ("total", "total"), ("used", "used"), ("spans", "spans"),
        ("segments_free", "segments_free"))}
    row |= {key: int(arena[name]) for key, name in (
        ("allocs", "allocs"), ("imports", "imports"), ("returns", "returns"), ("retained", "retained"),
        ("waiting", "waiting"), ("sleeps", "sleeps"), ("wakeups", "wakeups"), ("served", "waits_served"),
        ("qcache_max", "qcache_max"), ("search_looks", "search_looks_max"))}
    row |= {"name": text(arena["name"]), "source": source_name(arena), "in_bytes": in_bytes(arena)}
    row["peak"] = max(row["used"], int(store["used_peak"]))
    row["free"] = row["total"] - row["used"]
    row["largest_free"] = largest_free(store)
    row["fragmentation"] = (row["free"] - row["largest_free"]) * 1000 // row["free"] if row["free"] else 0
    row["used_permille"] = permille(row["used"], row["total"])
    row["segments_used"] = int(store["hash"]["entries"])
    row["frees"] = row["allocs"] - row["segments_used"]
    row |= {key: int(arena["allocs_by"][enumerator(name)]) for key, name in STYLES.items()}
    row["instant"] = row["allocs"] - sum(row[key] for key in STYLES)
    row |= {key: int(arena["failures_by"][enumerator(name)]) for key, name in FAILURES.items()}
    row["fails"] = sum(int(arena["failures_by"][i]) for i in range(enumerator("ARENA_FAILURES")))
    row["importers"] = sum(1 for _ in linked(arena["importers"], "struct arena", "importer_link", "importers"))
    row["tags_spare"] = int(store["spare"]["count"])
    row["hash_buckets"] = int(store["hash"]["buckets"])
    row["hash_pages"] = int(store["hash"]["pages_held"])
    row["index_bytes"] = int(store["index"]["nodes_held"]) * constant("BTAG_NODE_SIZE", "kern/src/btag/btag.h")
    row["tag_pages"] = own_pages(arena)
    return row


# arena tree

def shown_in_tree(row, depth):
    percent = row["fragmentation"] // 10
    return {"name": "  " * depth + row["name"], "fragmentation": f"{percent}%" if row["fragmentation"] else "-"}


def cache_in_tree(cache):
    """A cache in an arena's columns."""
    row = slabs.stats(cache)
    used = min(row["used"], row["total"])
    return row | {"quantum": row["size"], "used": used, "free": row["total"] - used, "largest_free": 0,
                  "fragmentation": 0, "spans": row["slabs"], "fails": row["failures"],
                  "used_permille": permille(used, row["total"])}


def show_tree(_, flags):
    """Every arena under its source, and its caches."""
    if not int(variable("all_arenas")):
        raise Trouble("there is no arena: the kernel hasn't begun, or this file has none of its memory")
    table, left_out = Table(variable("arena_tree_table"), "k" in flags), 0
    for arena, depth in tree():
        rows = [(stats(arena), depth)]
        if "k" not in flags:
            rows += [(cache_in_tree(cache), depth + 1) for cache in slabs.of_arena(arena)]
        for row, row_depth in rows:
            if row["total"] or flags & {"a", "k"}:
                table.row(row, shown_in_tree(row, row_depth))
            else:
                left_out += 1
    table.end()
    if left_out:
        print(LEFT_OUT.format(left_out))


# arena show

def show_one(words, flags):
    """One arena; -v: its boundary tags and hash, too."""
    if len(words) != 1:
        raise Trouble("it takes the name of an arena")
    row = stats(named(words[0]))
    full, brief = variable("arena_show_table"), variable("show_brief", "kern/src/arena/print.c")
    table = full if "v" in flags else brief
    if "k" in flags:
        Table(table, True).row(row)
        return
    print(f"arena {row['name']}, " + (f"source {row['source']}" if row["source"] != "-" else "without a source"))
    show_fields(row, columns_of(full), variable("show_lines", "kern/src/arena/print.c"), "v" in flags)


def show_fields(row, columns, lines, is_full):
    """Three to a line, as the kernel's list of lines has them; 0: none."""
    for i in range(lines.type.range()[1] + 1):
        fields = [int(lines[i][j]) for j in range(lines.type.target().range()[1] + 1)]
        if not any(fields) and not is_full:
            return
        print("  ".join(field(row, columns[f]) if f else " " * 25 for f in fields).rstrip())


def field(row, column):
    value = row[column.key]
    is_amount = column.kind == "TABLE_BYTES"
    shown = amount(value, row["in_bytes"] or column.key == "index_bytes") if is_amount else cell(column.kind, value)
    return f"{column.title:<14} {shown:>10}"


# arena segs

def segments(arena):
    """Kind (`span`, `free` or `used`) and tag of all of them, in the order of their addresses."""
    store = arena["store"]
    return tags_from(store, int(store["anchor"]["next"]))


def tags_from(store, first):
    """Those from a tag on.  The store says how many there can be; it may be about to have a few more."""
    count = int(store["spans"]) + int(store["segments_free"]) + int(store["hash"]["entries"]) + 4
    walk, end = Walk("segments", count), int(store["anchor"].address)
    kinds = {enumerator(f"BTAG_{name}"): kind for name, kind in (
        ("SPAN", "span"), ("FREE", "free"), ("USED", "used"), ("XALLOCATED", "used"))}
    while first != end:
        walk.meet(first)
        tag = tag_at(first)
        kind = kinds.get(int(tag["kind"]))
        if kind is None:
            raise Trouble(f"the boundary tag at {first:#x} is neither a span's nor a segment's")
        yield kind, tag
        first = int(tag["next"])


def show_segments(words, flags):
    """Every span and segment of an arena."""
    if len(words) != 1:
        raise Trouble("it takes the name of an arena")
    arena = named(words[0])
    table = Table(variable("segs_table", "kern/monitor/cmd_arena.c"), "k" in flags)
    for kind, tag in segments(arena):
        start, size = int(tag["start"]), int(tag["size"])
        row = {"kind": kind, "start": start, "end": start + size, "size": size, "in_bytes": in_bytes(arena)}
        table.row(row, {"kind": kind if kind == "span" else "  " + kind})
    table.end()


def segment_at(arena, address):
    """The segment, not the span, that has an address: whether it is used, and its tag; or None."""
    store, below_it = arena["store"], None
    node, offset = int(store["span_tree"]["root"]), offset_of("struct btag", "span")
    walk = Walk("spans", int(store["spans"]) + 4)
    while node:
        walk.meet(node)
        span = tag_at(node - offset)
        if int(span["start"]) <= address:
            below_it = span
        node = int(span["span"]["right" if int(span["start"]) <= address else "left"])
    if below_it is None:
        return None
    for kind, tag in tags_from(store, int(below_it.address)):
        if int(tag["start"]) > address:
            return None
        if kind != "span" and address - int(tag["start"]) < int(tag["size"]):
            return kind, tag
    return None
