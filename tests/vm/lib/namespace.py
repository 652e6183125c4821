# SPDX-License-Identifier: GPL-2.0-or-later
"""Network namespaces of a test's own: ports and workers there are those of the test alone."""
import ctypes
import fcntl
import os
import socket
import struct

from .harness import defer, parallel

CLONE_NEWNET = 0x40000000
SIOCSIFFLAGS, IFF_UP = 0x8914, 1


def checked(result):
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def new_namespace():
    """This thread is in a new one from here on, with a loopback device that is up."""
    checked(ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET))
    with socket.socket() as sock:
        fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP))


def own_namespace():
    """From here to the end of the test sockets and programs are in a namespace of their own."""
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    new_namespace()

    def back():
        checked(ctypes.CDLL(None, use_errno=True).setns(before, CLONE_NEWNET))
        os.close(before)
    defer(back)


def in_a_namespace(function):
    """Runs it in a thread with a namespace of its own, which goes when the last that it opened there closes."""
    def inside(_):
        new_namespace()
        return function()
    result, = parallel(1, inside)
    if isinstance(result, Exception):
        raise result
    return result
