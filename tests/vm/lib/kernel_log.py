# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel log: read before any pass mark is written."""
import os
import re

from .harness import read_text

COMPLAINT = re.compile(r"WARNING|BUG:|Oops|blocked for more than|refcount_t|general protection fault|soft lockup"
                       r"|detected stall|KASAN|UBSAN|Kernel panic|suspicious RCU|DEADLOCK|Call Trace"
                       r"|memory leak(?! detector)|segfault|traps:|lines were lost"
                       # what the debug kernel says without any of these words
                       r"|kernel BUG at|self-detected|detected expedited stall|ODEBUG|ref_tracker|list_(add|del) "
                       r"|turning off the locking|lockdep is turned off|non-static key"
                       r"|kmemleak: .*(suspected|disabled|Cannot)")
# A report of KCSAN ends with a line of these, and names both accesses with their stacks.
RACE, RACE_END, OURS = "BUG: KCSAN: ", "=" * 20, "[tlsport]"
# In a stack of it: whoever was interrupted has no part in it.
STACK, INTERRUPTED = re.compile(r"(read|write) .*to 0x"), re.compile(r" *asm_(sysvec|common_interrupt)")
LOCKDEP = "/proc/lockdep_stats"


class KernelLog:
    """What the kernel says from now on, or all that it still remembers."""

    def __init__(self, whole=False):
        self.file = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
        if not whole:
            os.lseek(self.file, 0, os.SEEK_END)

    def read(self):
        """The lines since the last read."""
        lines = []
        while True:
            try:
                text = os.read(self.file, 8192).decode(errors="replace")
            except BlockingIOError:
                return lines
            except BrokenPipeError:
                text = "0,0,0,-;lines were lost"
            lines.append(text.partition(";")[2].split("\n")[0])


def lockdep_sleeps():
    """lockdep, where there is one, looks no further after its first report."""
    return os.path.exists(LOCKDEP) and not re.search(r"debug_locks: +1\n", read_text(LOCKDEP))


def races(lines):
    """KCSAN's reports, each a range of lines."""
    start = None
    for number, line in enumerate(lines):
        if line.startswith(RACE):
            start = number
        elif line.startswith(RACE_END) and start is not None:
            yield range(start, number)
            start = None


def has_part(lines):
    """A function of the module made one of the accesses, or called who did."""
    interrupted = False
    for line in lines:
        if STACK.match(line):
            interrupted = False
        interrupted = interrupted or bool(INTERRUPTED.match(line))
        if OURS in line and not interrupted:
            return True
    return False


def complaints(lines):
    """The lines that are one.  Of a data race those of its report, unless the module has no part in it: the stock
    kernel has many of its own, most of them harmless, and none of them ours to mend."""
    foreign, ours = set(), set()
    for report in races(lines):
        (ours if has_part([lines[number] for number in report]) else foreign).update(report)
    return [line for number, line in enumerate(lines)
            if number in ours or (COMPLAINT.search(line) and not (number in foreign and line.startswith(RACE)))]
