# SPDX-License-Identifier: GPL-2.0-or-later
"""The wire: TLS records, and all that goes over the loopback device."""
import os
import socket
import struct
import threading

from .harness import defer


def parse_records(data):
    """[(type, version, body)] and the bytes of an unfinished record.  Raises for bytes that are not TLS."""
    parsed, at = [], 0
    while len(data) - at >= 5:
        kind, version, length = struct.unpack_from(">BHH", data, at)
        assert 20 <= kind <= 23 and version >> 8 == 3 and length <= 16384 + 256, \
            f"not a TLS record at byte {at}: {bytes(data[at:at + 40])!r}"
        if at + 5 + length > len(data):
            break
        parsed.append((kind, version, bytes(data[at + 5:at + 5 + length])))
        at += 5 + length
    rest = bytes(data[at:])
    assert not rest or 20 <= rest[0] <= 23, f"not a TLS record at byte {at}: {rest[:40]!r}"
    return parsed, rest


class Stream:
    """One direction of one connection, in order."""

    def __init__(self, key, base, from_server):
        self.key, self.base, self.from_server = key, base, from_server
        self.data = bytearray()
        self.early = {}
        self.raw = []  # payloads as they came
        self.fin = self.rst = False

    def add(self, seq, payload):
        self.raw.append(payload)
        offset = (seq - self.base) & 0xffffffff
        if offset < 1 << 31:
            self.early[offset] = max(payload, self.early.get(offset, b""), key=len)
        while self.early and min(self.early) <= len(self.data):
            offset = min(self.early)
            payload = self.early.pop(offset)
            self.data += payload[len(self.data) - offset:]


class Sniffer:
    """All TCP payload of some ports on the loopback device, both ways."""

    def __init__(self, *ports):
        self.ports = set(ports)
        self.streams = []
        self.current = {}
        self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
        self.sock.setsockopt(socket.SOL_SOCKET, 33, 256 << 20)  # SO_RCVBUFFORCE
        self.sock.bind(("lo", 3))
        self.stopped = False
        self.last_word = os.urandom(16)
        self.error = None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        defer(self.stop)

    def _run(self):
        try:
            while True:
                data, address = self.sock.recvfrom(1 << 18)
                if data.endswith(self.last_word):
                    return
                if address[2] != 4:  # PACKET_OUTGOING: the device shows it once more
                    self._packet(data)
        except Exception as error:  # pylint: disable=broad-except
            self.error = error

    def _packet(self, data):
        if data[0] >> 4 == 4 and data[9] == 6:
            header, total = (data[0] & 15) * 4, struct.unpack_from(">H", data, 2)[0] or len(data)
            ends = data[12:16], data[16:20]
        elif data[0] >> 4 == 6 and data[6] == 6:
            header, total = 40, len(data)
            ends = data[8:24], data[24:40]
        else:
            return
        source, target, seq = struct.unpack_from(">HHI", data, header)
        if source not in self.ports and target not in self.ports:
            return
        flags = data[header + 13]
        payload = data[header + (data[header + 12] >> 4) * 4:total]
        key = (ends[0], source, ends[1], target)
        stream = self.current.get(key)
        if flags & 2:  # SYN; again it is a retransmission
            seq = (seq + 1) & 0xffffffff
            if stream and stream.base != seq:
                stream = None
        if stream is None:
            stream = self.current[key] = Stream(key, seq, source in self.ports)
            self.streams.append(stream)
        if payload:
            stream.add(seq, payload)
        stream.fin |= bool(flags & 1)
        stream.rst |= bool(flags & 4)

    def stop(self):
        """All that was sent so far is in after this."""
        if self.stopped:
            return
        self.stopped = True
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            while self.thread.is_alive():
                sock.sendto(self.last_word, ("127.0.0.1", 9))
                self.thread.join(0.5)
        drops = struct.unpack("II", self.sock.getsockopt(263, 6, 8))[1]  # SOL_PACKET, PACKET_STATISTICS
        self.sock.close()
        assert not self.error, f"sniffer: {self.error!r}"
        assert drops == 0, f"the sniffer lost {drops} packets"

    def assert_absent(self, *markers):
        """None left a port of ours."""
        self.stop()
        for marker in markers:
            for stream in self.streams:
                assert not stream.from_server or marker not in stream.data and \
                    not any(marker in p for p in stream.raw), \
                    f"{marker!r} is on the wire, from port {stream.key[1]} to {stream.key[3]}"

    def assert_tls(self, connections=1, whole=True):
        """Every stream is TLS records, and there are at least so many connections."""
        self.stop()
        count = 0
        for stream in self.streams:
            _, rest = parse_records(stream.data)
            assert not whole or not rest, f"the stream from port {stream.key[1]} ends inside a record"
            count += stream.from_server and bool(stream.data)
        assert count >= connections, f"only {count} connections were on the wire, wanted {connections}"

    def server_streams(self):
        self.stop()
        return [s for s in self.streams if s.from_server]
