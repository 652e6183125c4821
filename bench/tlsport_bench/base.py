# SPDX-License-Identifier: GPL-2.0-or-later
"""What all files here share: where things are, errors for the user, commands, units."""
import contextlib
import os
import re
import shutil
import subprocess
import sys
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
PATTERN_SEED, PATTERN_LEN = 1, 65521  # a prime: no block of a record, a page or a buffer repeats it

UNITS = {"": 1, "B": 1, "k": 1 << 10, "KiB": 1 << 10, "M": 1 << 20, "MiB": 1 << 20, "G": 1 << 30, "GiB": 1 << 30}
NOT_INSTALLED = "is not installed"


class Failure(Exception):
    """What the user is told, in a line."""


class Unavailable(Exception):
    """Why an engine, or a case of it, cannot be measured here."""


def parse_size(text):
    number, unit = re.fullmatch(r"(\d*)(.*)", text, re.S).groups()
    if not number or unit not in UNITS:
        raise Failure(f'"{text}" is no size: 100, 16KiB, 1M')
    return int(number) * UNITS[unit]


def show_size(size):
    for unit in ("GiB", "MiB", "KiB"):
        if size and size % UNITS[unit] == 0:
            return f"{size // UNITS[unit]} {unit}"
    return f"{size} B"


def built(name, directory):
    """A program of ours: from the build tree, else an installed one."""
    path = f"{TOP}/build/{directory}/{name}"
    found = path if os.access(path, os.X_OK) else shutil.which(name)
    if not found:
        raise Failure(f"{name} is not built: run 'make bench-programs'")
    return found


def find_program(name, package):
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if not found:
        raise Unavailable(f"{name} {NOT_INSTALLED} (Debian: {package}; scripts/deps bench)")
    return found


def is_not_installed(why):
    """Whether that is the reason; results have it in words alone."""
    return NOT_INSTALLED in why


def read_text(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def write_text(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def try_read(path):
    """None: it cannot be read."""
    try:
        return read_text(path).strip()
    except OSError:
        return None


def run(*command, check=True, timeout=60):
    """What it printed; a failure is the user's to know."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout,
                              check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failure(f"{command[0]}: {error}") from None
    if check and done.returncode:
        text = (done.stderr or done.stdout).strip().splitlines()
        raise Failure(f"{' '.join(command)}: {text[-1] if text else f'status {done.returncode}'}")
    return done.stdout


def wait_for(condition, what, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise Failure(f"waited {seconds} s in vain: {what}")
        time.sleep(0.02)


def say(text):
    with contextlib.suppress(OSError):  # the terminal may have gone, the run goes on
        print(text, file=sys.stderr, flush=True)
