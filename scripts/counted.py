# SPDX-License-Identifier: BSD-2-Clause
"""Benchmarks that run in the kernel, for the scripts that count instructions."""
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
KERNEL = os.path.join(ROOT, "build/x86/spandrel.elf")
SECONDS_MAX = 600
FIELDS = ["name", "n", "value", "unit"]


def rows_of(text):
    """The rows `name,n,value,unit` among the lines: a dictionary from (name, n) to (value, unit)."""
    fields = (line.strip().split(",") for line in text.splitlines())
    return {(f[0], int(f[1])): (int(f[2]), f[3]) for f in fields if len(f) == 4 and f[1].isdigit() and f[2].isdigit()}


def run(patterns, cores=1, memory="2G", counts=True, kernel=KERNEL, words=""):
    """The rows of the benchmarks that have the pattern in their names, or one of a list of them; `words` go
    on the kernel's command line.  Ends the script if the kernel doesn't finish."""
    commands = "; ".join(f'bench "{p}"' for p in ([patterns] if isinstance(patterns, str) else patterns))
    out = subprocess.run(
        [os.path.join(ROOT, "scripts/qemu"), *(["--icount"] if counts else []), "--kernel", kernel,
         "--cores", str(cores), "--mem", memory, "--append", words,
         "--timeout", str(SECONDS_MAX), "--autorun", f"{commands}; poweroff"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, errors="replace", check=False)
    if out.returncode != 0 or ",".join(FIELDS) not in out.stdout:
        sys.exit(out.stdout + f"bench: the kernel didn't finish, status {out.returncode}")
    return rows_of(out.stdout)
