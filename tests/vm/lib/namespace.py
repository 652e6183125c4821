# SPDX-License-Identifier: GPL-2.0-or-later
"""A network namespace of the test's own: ports and workers there are those of the test alone."""
import ctypes
import fcntl
import os
import socket
import struct

from .harness import defer

CLONE_NEWNET = 0x40000000
SIOCSIFFLAGS, IFF_UP = 0x8914, 1


def checked(result):
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def own_namespace():
    """From here to the end of the test sockets and programs are in a namespace with a loopback device."""
    libc = ctypes.CDLL(None, use_errno=True)
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    checked(libc.unshare(CLONE_NEWNET))

    def back():
        checked(libc.setns(before, CLONE_NEWNET))
        os.close(before)
    defer(back)
    with socket.socket() as sock:
        fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP))
