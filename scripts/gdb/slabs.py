# SPDX-License-Identifier: BSD-2-Clause
"""Slab caches: all of them, one in depth, and the object that an address lies in."""

import arenas
from commands import LEFT_OUT
from memory import (Trouble, at, chain, constant, core_count, linked, page_size, target, text, type_of,
                    variable, words)
from table import Table, columns_of, permille

SOURCES = "kern/include/slab.h", "kern/src/slab/slab_impl.h"
MAGAZINE_ROUNDS_MAX = 1 << 12  # no magazine has more


def of_arena(arena):
    return linked(arena["slabs"], "struct kmem_cache", "source_link", "caches")


def all_caches():
    """In the order of the arena tree."""
    for arena, _ in arenas.tree():
        yield from of_arena(arena)


def names():
    return [text(cache["name"]) for cache in all_caches()]


def has(cache, flag):
    return bool(int(cache["flags"]) & constant(flag, *SOURCES))


# Numbers

def cores_of(cache):
    """What each core has of it; a cache of the module's own has none."""
    if not int(cache["cores"]):
        return []
    size = type_of("struct kmem_core").sizeof
    return [at(int(cache["cores"]) + i * size, "struct kmem_core") for i in range(core_count())]


def loaded(core):
    """The rounds in a core's loaded magazine: where they lie, how many."""
    stack = core["rounds"]["stack"]
    count = (int(stack["top"]) - int(stack["bottom"])) // 8
    return int(stack["bottom"]), count if 0 <= count <= MAGAZINE_ROUNDS_MAX else 0


def debug_of(cache):
    return target(cache["debug"]) if int(cache["debug"]) else None


def count_cores(cache, row):
    cores = cores_of(cache)
    row["core_rounds"] = sum(loaded(core)[1] + int(core["previous_rounds"]) for core in cores)
    row["allocs"] = sum(int(core["rounds"]["allocs"]) for core in cores)
    row["frees"] = sum(int(core["rounds"]["frees"]) for core in cores)
    for key in "alloc_misses", "free_misses", "failures", "depot_trips":
        row[key] = sum(int(core[key]) for core in cores)


def stats(cache):
    """What `slab -k` has, and in_bytes."""
    source, debug = target(cache["source"]), debug_of(cache)
    row = {key: int(cache[name]) for key, name in (
        ("size", "obj_size"), ("stride", "stride"), ("align", "align"), ("lead", "lead"),
        ("slab_size", "slab_size"), ("slab_objects", "slab_objects"), ("slabs", "slabs"),
        ("slabs_empty", "slabs_empty"), ("reserve", "reserve"), ("slab_trips", "trips"), ("grows", "grows"),
        ("shrinks", "shrinks"), ("ctor_failures", "ctor_failures"), ("samples", "samples"))}
    row |= {"name": text(cache["name"]), "source": text(source["name"]), "in_bytes": arenas.in_bytes(source)}
    row |= {"tracked": int(debug["tracks"]["entries"]) if debug else 0,
            "untracked": int(debug["untracked"]) if debug else 0,
            "quarantined": int(debug["quarantined"]) if debug else 0}
    count_cores(cache, row)
    full, empty = cache["depot"]["full"], cache["depot"]["empty"]
    row |= {"depot_rounds": int(full["rounds"]), "depot_full": int(full["count"]), "depot_empty": int(empty["count"])}
    row["objects"] = row["slabs"] * row["slab_objects"]
    row["out"] = row["objects"] - int(cache["objects_free"]) - row["quarantined"]
    live = max(row["out"] - row["depot_rounds"] - row["core_rounds"], 0)
    row["live"] = live + row["samples"]
    row["total"] = row["slabs"] * row["slab_size"]
    row["used"] = row["live"] * row["stride"]
    row["hash_buckets"] = 0 if bool(cache["is_frames"]) else int(cache["hash"]["buckets"])
    row["magazine_size"] = int(cache["magazine_size"]) if int(cache["cores"]) else 0
    row["zones"] = row["slabs"] * (row["lead"] + row["slab_objects"] * (row["stride"] - row["size"])) \
        if has(cache, "KMC_ZONES") else 0
    row["used_permille"] = permille(live, row["objects"])
    row["wasted_permille"] = permille(max(row["total"] - row["objects"] * row["size"], 0), row["total"])
    return row


def mode(cache, debug):
    """Its debug mode in the monitor's words."""
    if has(cache, "KMC_FULL"):
        found = ["full"]
    else:
        found = ["check"] * has(cache, "KMC_CHECK") + ["trace"] * bool(debug and debug["is_tracing"])
    found += ["fail"] * bool(cache["is_failing"])
    return ", ".join(found) or "off"


# slab

def show(words_given, flags):
    """Slab caches, or one in depth."""
    if words_given:
        show_named(words_given, flags)
        return
    table, left_out = Table(variable("table", "kern/monitor/cmd_slab.c"), "k" in flags), 0
    for cache in all_caches():
        if int(cache["slabs"]) or flags & {"a", "k"}:
            table.row(stats(cache))
        else:
            left_out += 1
    table.end()
    if left_out:
        print(LEFT_OUT.format(left_out))


def show_named(words_given, flags):
    found = [cache for cache in all_caches() if [text(cache["name"])] == words_given]
    if not found:
        raise Trouble(f"there is no cache {' '.join(words_given)}")
    for cache in found:
        row = stats(cache)
        if "k" in flags:
            Table(variable("table", "kern/monitor/cmd_slab.c"), True).row(row)
        else:
            show_kind(cache, row)
            columns = columns_of(variable("table", "kern/monitor/cmd_slab.c"))
            arenas.show_fields(row, columns, variable("lines", "kern/monitor/cmd_slab.c"), True)
            print()
        show_fullness(cache, row, flags)


def show_kind(cache, row):
    is_own, is_memory = has(cache, "KMC_META"), bool(cache["is_memory"])
    what = ", what caches are made of" if is_own else ", a quantum cache" if has(cache, "KMC_QCACHE") else ""
    memory = "no memory" if not is_memory else \
        "memory that isn't touched" if has(cache, "KMC_NOTOUCH") else "memory"
    found_by = "the page frame table" if bool(cache["is_frames"]) else "a hash"
    closed = bool(int(cache["cores"])) and int(cache["slow"]) > 0
    print(f"cache {row['name']}, source {row['source']}{what}")
    print(f"{memory}; slabs found by {found_by}, headers {'in' if bool(cache['is_inside']) else 'outside'} them"
          + ("; constructor" if int(cache["ctor"]) or int(cache["dtor"]) else ""))
    print(f"debug mode {mode(cache, debug_of(cache))}, "
          f"magazines {'none' if is_own else 'closed' if closed else 'open'}")


def all_slabs(cache):
    """Oldest first; without places of walks, which stand in the list, too."""
    for slab in linked(cache["all"], "struct slab", "all_link", f"slabs of {text(cache['name'])}"):
        if int(slab["cache"]):
            yield slab


def show_fullness(cache, row, flags):
    table = Table(variable("slabs_table", "kern/monitor/cmd_slab.c"), "k" in flags)
    counts = {key: 0 for key in ("full", "quarter", "half", "three_quarters", "more", "all")}
    for slab in all_slabs(cache):
        place = int(slab["place"])
        if place >= len(counts):
            raise Trouble(f"the slab at {int(slab.address):#x} is in place {place}, which there isn't")
        counts[list(counts)[place]] += 1
    table.row({"name": row["name"], "mode": mode(cache, debug_of(cache)), **counts})
    table.end()


# Objects

def frame_entry(address):
    """What the page frame table says of the page that an address lies in, 0: nothing."""
    frames = variable("frames")
    slots = page_size() // 8
    leaf_bytes = slots * page_size()
    if not 0 <= (address - int(frames["first"])) // leaf_bytes < int(frames["count"]):
        frames = late_frames(address, leaf_bytes * slots, slots)
        if frames is None:
            return 0
    leaf = frames["root"][(address - int(frames["first"])) // leaf_bytes]
    return int(leaf[address // page_size() % slots])


def late_frames(address, region_bytes, slots):
    """That of the RAM which came after boot."""
    directories = variable("directories", "kern/src/slab/frames.c")
    count = directories.type.range()[1] + 1
    directory = directories[address // (region_bytes * slots) % count]
    if not int(directory):
        return None
    region = directory.dereference()[address // region_bytes % slots]
    return region.dereference()["frames"] if int(region) else None


def slab_at(cache, address):
    """The slab of a cache that an address lies in, or None."""
    if bool(cache["is_frames"]):
        entry, large, mark = frame_entry(address), *(
            constant(name, "kern/src/slab/frames.h") for name in ("FRAMES_LARGE", "FRAMES_KMALLOC"))
        slab = at(entry & ~mark, "struct slab") if entry and not entry & large else None
        return slab if slab is not None and int(slab["cache"]) == int(cache.address) else None
    for slab in all_slabs(cache):
        if 0 <= address - (int(slab["base"]) - int(cache["lead"])) < int(cache["slab_size"]):
            return slab
    return None


class Found:
    """An object: its slab's start, its own (None behind the objects), whether it is free."""

    def __init__(self, cache, slab, address):
        index = (address - int(slab["base"])) // int(cache["stride"])
        self.slab, self.object, self.is_free = int(slab["base"]) - int(cache["lead"]), None, False
        if 0 <= index < int(cache["slab_objects"]):
            self.object = int(slab["base"]) + index * int(cache["stride"])
            self.is_free = bool(int(slab["map"][index // 64]) >> index % 64 & 1)
        self.is_idle = self.object is not None and not self.is_free and is_in_magazine(cache, self.object)


def find(cache, address):
    slab = slab_at(cache, address)
    return None if slab is None else Found(cache, slab, address)


def is_in_magazine(cache, address):
    for core in cores_of(cache):
        if address in words(*loaded(core)):
            return True
        if int(core["previous"]) and address in rounds_of(core["previous"], int(core["previous_rounds"])):
            return True
    return any(address in rounds_of(magazine.address, int(magazine["count"]))
               for magazine in chain(cache["depot"]["full"]["head"], "next", "depot"))


def rounds_of(magazine, count):
    if count > MAGAZINE_ROUNDS_MAX:
        raise Trouble(f"the magazine at {int(magazine):#x} says that it has {count} rounds")
    return words(int(magazine) + type_of("struct magazine").sizeof, count)
