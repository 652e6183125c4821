# SPDX-License-Identifier: GPL-2.0-or-later
"""System calls that Python does not have, or does not give whole."""
import ctypes

LIBC = ctypes.CDLL(None, use_errno=True)


class Iovec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("len", ctypes.c_size_t)]


class Msghdr(ctypes.Structure):
    _fields_ = [("name", ctypes.c_void_p), ("namelen", ctypes.c_uint32), ("iov", ctypes.POINTER(Iovec)),
                ("iovlen", ctypes.c_size_t), ("control", ctypes.c_void_p), ("controllen", ctypes.c_size_t),
                ("flags", ctypes.c_int)]


class Mmsghdr(ctypes.Structure):
    _fields_ = [("hdr", Msghdr), ("len", ctypes.c_uint)]


def messages_of(buffers):
    vectors = [Iovec(ctypes.addressof(b), len(b)) for b in buffers]
    return (Mmsghdr * len(buffers))(*[Mmsghdr(Msghdr(iov=ctypes.pointer(v), iovlen=1)) for v in vectors])


def recvmmsg(conn, sizes, flags=0):
    """What each message got."""
    buffers = [ctypes.create_string_buffer(size) for size in sizes]
    messages = messages_of(buffers)
    count = LIBC.recvmmsg(conn.fileno(), messages, len(sizes), flags, None)
    if count < 0:
        raise OSError(ctypes.get_errno(), "recvmmsg")
    return [buffers[i].raw[:messages[i].len] for i in range(count)]


def sendmmsg(conn, parts):
    """How many messages went, and the bytes of each."""
    buffers = [ctypes.create_string_buffer(part, len(part)) for part in parts]
    messages = messages_of(buffers)
    return LIBC.sendmmsg(conn.fileno(), messages, len(parts), 0), [m.len for m in messages]
