# SPDX-License-Identifier: BSD-2-Clause
"""Runs a kernel, in QEMU or as a process, types at its console and reads its output."""

import os
import re
import select
import subprocess
import sys
import time
import traceback


class Console:
    """A process that runs a kernel; pipes are its console."""

    def __init__(self, command, limit):
        self.deadline = time.monotonic() + limit
        self.text = ""
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def type(self, text):
        """Sends keys."""
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def close_input(self):
        self.process.stdin.close()

    def expect(self, pattern):
        """Reads until the pattern matches; returns the match and drops all text up to its end."""
        while True:
            match = re.search(pattern, self.text)
            if match:
                self.text = self.text[match.end():]
                return match
            if not self._read():
                raise AssertionError(f"{pattern!r} never came; the output: {self.text[-2000:]!r}")

    def status(self):
        """Reads to the end and returns the exit status."""
        while self._read():
            pass
        return self.process.wait(max(0.1, self.deadline - time.monotonic()))

    def _read(self):
        left = self.deadline - time.monotonic()
        if left <= 0 or not select.select([self.process.stdout], [], [], left)[0]:
            raise AssertionError(f"time is up; the output: {self.text[-2000:]!r}")
        chunk = os.read(self.process.stdout.fileno(), 65536)
        self.text += chunk.decode("utf-8", "replace").replace("\r", "")
        return bool(chunk)


def keys(text):
    """The objects of `-k` lines: (word, {key: value})."""
    rows = []
    for line in text.splitlines():
        word, *pairs = line.split()
        if pairs and all("=" in pair for pair in pairs):
            rows.append((word, dict(pair.split("=", 1) for pair in pairs)))
    return rows


def run_one(name, function):
    """Runs a test; returns whether it passed, and prints how it failed."""
    try:
        function()
        return True
    except Exception:  # a test may fail in any way
        print(f"FAIL {name}")
        traceback.print_exc(file=sys.stdout)
        return False
