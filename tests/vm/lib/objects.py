# SPDX-License-Identifier: GPL-2.0-or-later
"""The objects of the module, by its tracepoints: each that is made must be destroyed; and why connections ended."""
import collections
import os
import re

from .harness import run, wait_for, write_file

TRACING = "/sys/kernel/tracing/"
EVENT = re.compile(r"tlsport_object_(new|free): kind=(\S+) object=(\S+)")
END = re.compile(r"tlsport_(?:handshake_fail|close): id=(\d+) .*reason=(\w+)")


def switch_events(value):
    for event in ("object_new", "object_free", "handshake_fail", "close"):
        write_file(f"{TRACING}events/tlsport/tlsport_{event}/enable", value)


class Objects:
    """All that are made, or end, from now on.  Reads the trace as it goes, so that its buffer need not hold a run."""

    running = None  # the run's

    def __init__(self):
        Objects.running = self
        self.ends = collections.defaultdict(list)  # the reasons of the test's connections, by id
        if not os.path.exists(TRACING + "trace"):
            run("mount", "-t", "tracefs", "tracefs", TRACING)
        write_file(TRACING + "buffer_size_kb", "16384")
        write_file(TRACING + "trace", "")
        write_file(TRACING + "options/record-cmd", "0")  # see keep_code()
        switch_events("1")
        write_file(TRACING + "tracing_on", "1")
        self.pipe = os.open(TRACING + "trace_pipe", os.O_RDONLY | os.O_NONBLOCK)
        self.rest = ""
        self.made, self.balance = collections.Counter(), collections.Counter()
        self.lost = False

    def read(self):
        """Takes in the events since the last time."""
        while True:
            try:
                text = self.rest + os.read(self.pipe, 1 << 16).decode(errors="replace")
            except BlockingIOError:
                return
            *lines, self.rest = text.split("\n")
            for line in lines:
                self._event(line)

    def _event(self, line):
        self.lost |= "LOST" in line
        match = END.search(line)
        if match:
            self.ends[int(match[1])].append(match[2])
        match = EVENT.search(line)
        if match:
            event, kind, pointer = match.groups()
            self.made[kind] += event == "new"
            self.balance[kind, pointer] += 1 if event == "new" else -1
            if not self.balance[kind, pointer]:
                del self.balance[kind, pointer]

    def living(self, *but):
        """[(kind, pointer, how often it was made more than destroyed)], but for some kinds."""
        self.read()
        return sorted((*key, n) for key, n in self.balance.items() if key[0] not in but)

    def check(self, *but):
        """Waits until all are destroyed."""
        wait_for(lambda: not self.living(*but), 40, lambda: f"every object is destroyed: {self.living(*but)}", 0.05)
        self.ends.clear()
        assert not self.lost, "the trace lost events"

    def stop(self):
        os.close(self.pipe)
        switch_events("0")
