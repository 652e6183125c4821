# SPDX-License-Identifier: GPL-2.0-or-later
"""A BPF program that puts connections into a sockmap, as those that speed up proxies do."""
import contextlib
import ctypes
import os
import struct

from .syscalls import LIBC

BPF = 321  # x86_64
MAP_CREATE, PROG_LOAD, PROG_ATTACH, PROG_DETACH = 0, 5, 8, 9
SOCKMAP, SOCK_OPS = 15, 13  # types of a map, of a program
CGROUP_SOCK_OPS = 3  # where it is attached
PASSIVE_ESTABLISHED = 5
SOCK_MAP_UPDATE = 53
CGROUP = "/sys/fs/cgroup/"


def bpf(command, attributes):
    attributes = ctypes.create_string_buffer(attributes.ljust(128, b"\0"), 128)
    result = LIBC.syscall(BPF, command, attributes, len(attributes))
    if result < 0:
        raise OSError(ctypes.get_errno(), f"bpf({command})")
    return result


def instruction(code, to=0, source=0, offset=0, value=0):
    return struct.pack("<BBhi", code, source << 4 | to, offset, value)


def program(sockmap):
    """Each connection that a listening socket gets goes to place 0 of the map."""
    return b"".join((
        instruction(0x61, 2, 1),  # r2 = what has happened
        instruction(0x55, 2, offset=7, value=PASSIVE_ESTABLISHED),  # if it is something else: to the end
        instruction(0x62, 10, offset=-4),  # the place
        instruction(0x18, 2, 1, value=sockmap), instruction(0),
        instruction(0xbf, 3, 10), instruction(0x07, 3, value=-4),
        instruction(0xb7, 4),  # whatever is there
        instruction(0x85, value=SOCK_MAP_UPDATE),
        instruction(0xb7, value=1),
        instruction(0x95)))


@contextlib.contextmanager
def sockmap_of_all():
    """While it is entered every connection that arrives is put into a sockmap."""
    sockmap = bpf(MAP_CREATE, struct.pack("IIII", SOCKMAP, 4, 4, 1))
    code, licence = ctypes.create_string_buffer(program(sockmap)), ctypes.create_string_buffer(b"GPL")
    loaded = bpf(PROG_LOAD, struct.pack("IIQQ", SOCK_OPS, (len(code) - 1) // 8, ctypes.addressof(code),
                                        ctypes.addressof(licence)))
    cgroup = os.open(CGROUP, os.O_RDONLY)
    place = struct.pack("IIII", cgroup, loaded, CGROUP_SOCK_OPS, 0)
    try:
        bpf(PROG_ATTACH, place)
        try:
            yield
        finally:
            bpf(PROG_DETACH, place)
    finally:
        for fd in (cgroup, loaded, sockmap):
            os.close(fd)
