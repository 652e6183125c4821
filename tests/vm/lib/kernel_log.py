# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel log: read before any pass mark is written."""
import os
import re

COMPLAINT = re.compile(r"WARNING|BUG:|Oops|blocked for more than|refcount_t|general protection fault|soft lockup"
                       r"|detected stall|KASAN|UBSAN|Kernel panic|suspicious RCU|DEADLOCK|Call Trace|memory leak"
                       r"|segfault|traps:|lines were lost")


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


def complaints(lines):
    return [line for line in lines if COMPLAINT.search(line)]
