# SPDX-License-Identifier: GPL-2.0-or-later
"""What connections take: slab and per-CPU memory of the kernel, private memory of processes."""
import re
import subprocess
import time

from .base import read_text, write_text


def meminfo():
    return {line.split(":")[0]: int(line.split()[1]) * 1024 for line in read_text("/proc/meminfo").splitlines()}


def private(pids):
    """What these processes have for themselves."""
    return sum(int(n) * 1024 for pid in pids
               for n in re.findall(r"^Private_\w+:\s+(\d+)", read_text(f"/proc/{pid}/smaps_rollup"), re.M))


def resident(pids):
    return sum(int(n) * 1024 for pid in pids for n in re.findall(r"^VmRSS:\s+(\d+)", read_text(f"/proc/{pid}/status"),
                                                                 re.M))


def objects():
    """{slab: bytes in use}"""
    found = {}
    for line in read_text("/proc/slabinfo").splitlines()[2:]:
        name, active, _, size = line.split()[:4]
        found[name] = int(active) * int(size)
    return found


def settle():
    """Until what can be given back is."""
    subprocess.run(["sync"], check=True)
    for _ in range(2):
        time.sleep(1)
        write_text("/proc/sys/vm/drop_caches", "3")


class Usage:
    """How much there is now; what is subtracted was before."""

    def __init__(self, pids):
        info = meminfo()
        self.slab, self.percpu = info["Slab"], info["Percpu"]
        self.private, self.resident, self.objects = private(pids), resident(pids), objects()

    def since(self, before, connections, least=30):
        """Bytes a connection; of the slabs those that took at least so many."""
        kinds = {slab: (size - before.objects[slab]) / connections
                 for slab, size in self.objects.items() if slab in before.objects}
        grown = {name: (getattr(self, name) - getattr(before, name)) / connections
                 for name in ("slab", "percpu", "private", "resident")}
        grown["objects"] = {slab: round(n) for slab, n in sorted(kinds.items(), key=lambda k: -k[1]) if n > least}
        return grown
