# SPDX-License-Identifier: BSD-2-Clause
"""Types at the console of the kernel that `make gdb` has booted, which lies in a folder: `input`, `output`."""

import os
import re
import signal
import threading

import gdb
from memory import Trouble

FOLDER = os.environ.get("SPANDREL_CONSOLE", "")
WAITS = re.compile(rb"(?:spandrel|panic)> $|-- $|--$")  # for a line, or for a key
POLL_S = 0.02


def is_there():
    return bool(FOLDER)


def output(start):
    with open(os.path.join(FOLDER, "output"), "rb") as file:
        file.seek(start)
        return file.read()


def type_line(words, _):
    """Types a line at the kernel's console, lets the kernel run until it waits for the next, and stops it."""
    start = len(output(0))
    with open(os.path.join(FOLDER, "input"), "w", encoding="ascii") as keys:
        keys.write(" ".join(words) + "\n")
    ended = threading.Event()
    watcher = threading.Thread(target=interrupt, args=(start, ended), daemon=True)
    watcher.start()
    try:
        gdb.execute("continue", to_string=True)
    except gdb.error as error:
        raise Trouble(str(error)) from None
    finally:
        ended.set()
        watcher.join()
        print(output(start).decode("ascii", "replace").replace("\r", ""))


def interrupt(start, ended):
    """Presses Ctrl-C, for gdb, when the kernel waits for keys again."""
    while not ended.wait(POLL_S):
        if WAITS.search(output(start)):
            os.kill(os.getpid(), signal.SIGINT)
            return
