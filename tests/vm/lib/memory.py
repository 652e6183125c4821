# SPDX-License-Identifier: GPL-2.0-or-later
"""What connections must give back: sockets, memory of the kernel and of the helper."""
import os
import re
import time

from .harness import read_text, wait_for, write_file
from .product import helper_pids

# TIME_WAIT is TCP's own and stays for a minute; it has caches of its own.
CACHES = re.compile(r"kmalloc|TCP$|TCPv6$|sock_inode_cache|skbuff|request_sock_TCP|tlsport")


KMEMLEAK = "/sys/kernel/debug/kmemleak"
DEBUG_KERNEL = os.path.exists(KMEMLEAK)


def leaks():
    """What kmemleak says of memory that nothing points to; nothing where the kernel has no kmemleak."""
    if not DEBUG_KERNEL:
        return ""
    # The first scan takes a checksum of what it suspects, the second reports what has it still.
    write_file(KMEMLEAK, "scan")
    time.sleep(5)  # what is younger is not suspected
    write_file(KMEMLEAK, "scan")
    return read_text(KMEMLEAK)


def rss(pid):
    """kB; one that is ending has none"""
    found = re.search(r"VmRSS:\s+(\d+)", read_text(f"/proc/{pid}/status"))
    return int(found.group(1)) if found else 0


def slabs():
    """{cache: bytes in use}"""
    lines = [line.split() for line in read_text("/proc/slabinfo").splitlines()[2:]]
    return {words[0]: int(words[1]) * int(words[3]) for words in lines if CACHES.search(words[0])}


def open_files(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


class Memory:
    """How much of it there is now."""

    def __init__(self):
        names = re.search(r"TCP: inuse (\d+) orphan (\d+) tw \d+ alloc (\d+)", read_text("/proc/net/sockstat"))
        self.sockets = tuple(map(int, names.groups()))
        self.references = int(read_text("/sys/module/tlsport/refcnt"))
        self.files = sum(map(open_files, helper_pids()))
        self.helper = sum(map(rss, helper_pids()))
        self.slabs = slabs()

    def grown(self, before, slab, helper):
        """Text of all that is more than before, for slabs and helper by more than so many kB."""
        grown = [f"{name}: {was} before, {now} now" for name, was, now in (
            ("TCP sockets (in use, orphans, allocated)", before.sockets, self.sockets),
            ("references of the module", before.references, self.references),
            ("files of the helper", before.files, self.files)) if now > was]
        if self.helper > before.helper + helper:
            grown.append(f"helper: {before.helper} kB before, {self.helper} kB now")
        if sum(self.slabs.values()) > sum(before.slabs.values()) + slab * 1024:
            grown += [f"{cache}: {before.slabs.get(cache, 0)} bytes before, {size} now"
                      for cache, size in self.slabs.items() if size > before.slabs.get(cache, 0)]
        return ", ".join(grown)

    def change(self, before):
        most = sorted(((size - before.slabs.get(cache, 0), cache) for cache, size in self.slabs.items()), reverse=True)
        return f"helper {self.helper - before.helper:+d} kB, slab " \
            f"{(sum(self.slabs.values()) - sum(before.slabs.values())) / 1024:+.0f} kB, most of it " + \
            ", ".join(f"{cache} {size / 1024:+.0f}" for size, cache in most[:3])


def memory_is_back(before, slab, helper):
    """Waits until what is on its way out is gone; returns how it is now."""
    wait_for(lambda: not Memory().grown(before, slab, helper), 40, lambda: Memory().grown(before, slab, helper), 0.5)
    return Memory()
