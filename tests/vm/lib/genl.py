# SPDX-License-Identifier: GPL-2.0-or-later
"""Generic netlink by hand: what no well-behaved administrator or helper sends."""
import collections
import ctypes
import mmap
import socket
import struct
import sys

from .harness import SLOW, equal

PORT_SET, PORT_DEL, PORT_GET, LISTENER_GET, CONN_GET, WORKER_SET, HANDSHAKE, CANCEL, CONTINUE, FAIL = range(1, 11)
(PORT_NUMBER, PORT_MIN_VERSION, PORT_MAX_VERSION, PORT_TRUNCATION, PORT_TIMEOUT, PORT_MAX_HANDSHAKES,
 PORT_MAX_PER_SOURCE, PORT_KEY_LIMIT, PORT_OFFLOAD,
 PORT_ZEROCOPY, PORT_MAX_RATE) = range(1, 12)
PORT_STATS, PORT_MAX_PORT_RATE = 16, 17
STATS_UPCALLS, STATS_KEY_UPDATES, STATS_ENDED, ENDED_REASON, ENDED_COUNT = 9, 11, 13, 2, 3
LISTENER_INODE = 2
CONN_ID, CONN_PORT, CONN_STATE, CONN_AGE, CONN_VERSION = 2, 3, 4, 8, 9
WORKER_SCRATCH, WORKER_DRAIN = 2, 3
(HS_ID, HS_PORT, HS_LOCAL_ADDR, HS_PEER_ADDR, HS_PEER_PORT, HS_DATA, HS_EOF, HS_CONSUMED, HS_TX, HS_RX, HS_TX_SECRET,
 HS_RX_SECRET, HS_SUITE, HS_RESUMED, HS_SERVER_NAME, HS_REASON) = range(2, 18)
DATA_MAX = 32768
NLMSG_ERROR, NLMSG_DONE = 2, 3


def attribute(kind, body=b""):
    return struct.pack("HH", 4 + len(body), kind) + body + b"\0" * (-len(body) % 4)


def u8(kind, value):
    return attribute(kind, struct.pack("B", value))


def u16(kind, value):
    return attribute(kind, struct.pack("H", value))


def u32(kind, value):
    return attribute(kind, struct.pack("I", value))


def u64(kind, value):
    return attribute(kind, struct.pack("Q", value))


def each_attribute(data):
    """(type, body) of the attributes that the bytes are."""
    at = 0
    while at + 4 <= len(data):
        length, kind = struct.unpack_from("HH", data, at)
        yield kind & 0x3fff, data[at + 4:at + length]
        at += length + -length % 4


def attributes(data):
    """{type: body} of the attributes that the bytes are."""
    return dict(each_attribute(data))


def number(body):
    """An integer attribute."""
    return int.from_bytes(body, sys.byteorder)


class Genl:
    """A socket that speaks to the module's family.  No message of a list is longer than room."""

    def __init__(self, room=1 << 17):
        self.room = room
        self.sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 16)
        self.sock.settimeout(20 * SLOW)
        self.sock.bind((0, 0))
        self.sock.setsockopt(270, 11, 1)  # SOL_NETLINK, NETLINK_EXT_ACK
        self.events = collections.deque()
        self.messages = 0  # of lists
        self.family = 16
        self.sock.send(self.message(3, attribute(2, b"tlsport\0"), flags=1))  # CTRL_CMD_GETFAMILY
        self.family = struct.unpack("H", attributes(self.sock.recv(room)[20:])[1])[0]

    def message(self, command, body, flags=5):
        body = struct.pack("BBH", command, 1, 0) + body
        return struct.pack("IHHII", 16 + len(body), self.family, flags, 1, 0) + body

    def ask(self, command, *body):
        """(errno, text of the extended ACK)"""
        self.sock.send(self.message(command, b"".join(body)))
        while True:
            data = self.sock.recv(self.room)
            length, kind, flags = struct.unpack_from("IHH", data)
            if kind == NLMSG_ERROR:
                break
            self.events.append(data)
        error = -struct.unpack_from("i", data, 16)[0]
        at = 20 + (16 if flags & 0x100 else struct.unpack_from("I", data, 20)[0])  # NLM_F_CAPPED
        text = attributes(data[at:length]).get(1, b"") if flags & 0x200 else b""  # NLM_F_ACK_TLVS
        return error, text.rstrip(b"\0").decode()

    def get(self, command, *body):
        """The attributes of the reply, which are bytes, or None for an error."""
        error, _ = self.ask(command, *body)
        return None if error else self.events.popleft()[20:]

    def dump(self, command, *body):
        """The attributes of each object."""
        self.sock.send(self.message(command, b"".join(body), flags=0x301))
        found = []
        while True:
            data = self.sock.recv(self.room)
            self.messages += 1
            while data:
                length, kind = struct.unpack_from("IH", data)
                if kind in (NLMSG_DONE, NLMSG_ERROR):
                    return found
                found.append(attributes(data[20:length]))
                data = data[length + -length % 4:]

    def event(self, command):
        """The attributes of the next event, which must be this."""
        data = self.events.popleft() if self.events else self.sock.recv(self.room)
        equal(data[16], command, "command of the event")
        return attributes(data[20:])


class Worker(Genl):
    """A registered worker that does not know TLS."""

    def __init__(self):
        super().__init__()
        self.page = mmap.mmap(-1, 4096)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self.page))
        equal(self.ask(WORKER_SET, u64(WORKER_SCRATCH, self.address)), (0, ""), "registration")

    def close(self):
        self.sock.close()
