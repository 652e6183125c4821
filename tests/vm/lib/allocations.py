# SPDX-License-Identifier: GPL-2.0-or-later
"""Allocations that fail: the Nth of what tlsport, and whoever works for it, makes (failnth/failnth.c)."""
import contextlib
import glob
import os

from .harness import MODULES, equal, read_text, run, write_file

FAILNTH = "/sys/module/failnth/parameters/"
NEVER = 1 << 30


def _parameter(name):
    return read_text(FAILNTH + name).strip()


@contextlib.contextmanager
def one_cpu():
    """While kernel code is patched: an emulated processor that runs what another one changes may die."""
    others = [path for path in glob.glob("/sys/devices/system/cpu/cpu*/online") if read_text(path).strip() == "1"]
    try:
        for path in others:
            write_file(path, "0")
        yield
    finally:
        for path in others:
            write_file(path, "1")


def _load():
    """Loads the module where it is not, or where tlsport has been since.  It stays: while not armed a probe costs
    next to nothing."""
    text = int(read_text("/sys/module/tlsport/sections/.text"), 16)
    loaded = os.path.exists(FAILNTH)
    if loaded and int(_parameter("text")) == text:
        return
    with one_cpu():
        if loaded:
            run("rmmod", "failnth")
        run("insmod", f"{MODULES}/failnth.ko", f"text={text}")


class Failing:
    """While the block runs, the Nth allocation fails; with rest=True all that come after, too."""

    def __init__(self, nth, rest=False):
        self.nth, self.rest = nth, rest
        self.seen, self.victim = 0, ""

    def __enter__(self):
        _load()
        write_file(FAILNTH + "rest", str(int(self.rest)))
        write_file(FAILNTH + "nth", str(self.nth))
        return self

    def __exit__(self, *_):
        write_file(FAILNTH + "nth", "0")
        self.seen, self.victim = int(_parameter("seen")), _parameter("victim")
        equal(self.hit, self.seen >= self.nth, f"failed, of {self.seen}, the {self.nth}th")

    @property
    def hit(self):
        return bool(self.victim)

    def who(self):
        """The call that failed, and its callers up to tlsport's last."""
        lines = [line.split("+")[0] + (" [tlsport]" if "[tlsport]" in line else "") for line in self.victim.split("\n")]
        last = max((i for i, line in enumerate(lines) if "[tlsport]" in line), default=len(lines))
        return " < ".join(lines[:last + 1]).replace(" [tlsport]", "*")
