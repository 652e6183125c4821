# SPDX-License-Identifier: GPL-2.0-or-later
"""HTTP/2 of a client that knows that the server speaks it, without ALPN: many streams of one connection."""
import re
import struct

from .clients import TlsClient
from .harness import equal

__all__ = ["Http2Client"]  # the names of frames are its own

DATA, HEADERS, SETTINGS, WINDOW_UPDATE = 0, 1, 4, 8
END_STREAM = ACK = 1
END_HEADERS = 4
INITIAL_WINDOW_SIZE = 4
FRAME, WINDOW = 16384, 65535  # until the peer says otherwise
LARGE = 1 << 30
HTTPS = b"\x87"  # :scheme, from the static table
STATUS = re.compile(rb"\x20?(\x88|\x89|H\x03201)")  # 200, 204 and 201; the table's size may come before


def frame(kind, flags, stream, content):
    return struct.pack(">I", len(content))[1:] + struct.pack(">BBI", kind, flags, stream) + content


def field(index, value):
    """A header whose name is in the static table, as it is."""
    return (bytes((index,)) if index < 15 else bytes((15, index - 15))) + bytes((len(value),)) + value


class Stream:
    """A request, and what has come of its answer."""

    def __init__(self, body, window):
        self.left, self.window = memoryview(body), window
        self.head, self.content, self.ended = b"", bytearray(), False


class Http2Client:
    """No window of its own ever closes."""

    def __init__(self, port, version):
        self.client = TlsClient(port, version, timeout=60)
        self.window = self.initial = WINDOW
        self.streams = {}
        self.client.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" +
                          frame(SETTINGS, 0, 0, struct.pack(">HI", INITIAL_WINDOW_SIZE, LARGE)) +
                          frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", LARGE)))

    def ask(self, method, path, body=b""):
        number = 2 * len(self.streams) + 1
        self.streams[number] = Stream(body, self.initial)
        head = field(2, method.encode()) + HTTPS + field(4, path.encode()) + field(1, b"localhost")
        head += field(28, str(len(body)).encode())
        self.client.write(frame(HEADERS, END_HEADERS | (0 if body else END_STREAM), number, head))

    def answers(self):
        """To all that was asked, in order."""
        while not all(stream.ended for stream in self.streams.values()):
            while any([self.send(number, stream) for number, stream in self.streams.items()]):
                pass
            self.receive()
        for stream in self.streams.values():
            assert STATUS.match(stream.head), f"status: {stream.head!r}"
        return [bytes(stream.content) for stream in self.streams.values()]

    def send(self, number, stream):
        """One frame of the body, if the windows have room for it."""
        size = min(len(stream.left), stream.window, self.window, FRAME)
        if size > 0:
            part, stream.left = stream.left[:size], stream.left[size:]
            stream.window -= size
            self.window -= size
            self.client.write(frame(DATA, 0 if stream.left else END_STREAM, number, part))
        return size > 0

    def receive(self):
        """One frame."""
        head = self.client.read_exactly(9)
        content = self.client.read_exactly(int.from_bytes(head[:3], "big"))
        kind, flags, number = struct.unpack(">BBI", head[3:])
        if kind == SETTINGS and not flags & ACK:
            self.set(content)
        elif kind == WINDOW_UPDATE:
            more = int.from_bytes(content, "big")
            if number:
                self.streams[number].window += more
            else:
                self.window += more
        elif kind in (HEADERS, DATA):
            stream = self.streams[number]
            if kind == HEADERS:
                stream.head = content
            else:
                stream.content += content
            stream.ended = bool(flags & END_STREAM)
        else:
            equal((kind, flags), (SETTINGS, ACK), f"frame of stream {number}: {content!r}")

    def set(self, content):
        for i in range(0, len(content), 6):
            name, value = struct.unpack_from(">HI", content, i)
            if name == INITIAL_WINDOW_SIZE:
                for stream in self.streams.values():
                    stream.window += value - self.initial
                self.initial = value
        self.client.write(frame(SETTINGS, ACK, 0, b""))

    def end(self):
        """close_notify both ways."""
        self.client.end()
