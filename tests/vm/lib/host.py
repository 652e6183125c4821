# SPDX-License-Identifier: GPL-2.0-or-later
"""Another host, at the far end of a tunnel device: it sends what a test makes, and answers nothing by itself."""
import fcntl
import os
import select
import socket
import struct

from .harness import SLOW, defer, new_port, run

SYN, RST, ACK = 2, 4, 16
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454ca, 1, 0x1000
DESTINATION_OPTIONS, FRAGMENT = 60, 44


def checksum(data):
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


class Host:
    """Its addresses are HERE with 2 at the end; the machine's 1."""
    NAME = "tun-test"
    NET = {4: "10.77.0.", 6: "fd77::"}

    def __init__(self, version=4):
        run("modprobe", "tun")
        self.device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        defer(os.close, self.device)
        fcntl.ioctl(self.device, TUNSETIFF, struct.pack("16sH22x", self.NAME.encode(), IFF_TUN | IFF_NO_PI))
        self.version = version
        self.server, self.address = self.NET[version] + "1", self.NET[version] + "2"
        family = socket.AF_INET6 if version == 6 else socket.AF_INET
        self.src, self.dst = (socket.inet_pton(family, a) for a in (self.address, self.server))
        run("ip", "address", "add", self.server + ("/64" if version == 6 else "/24"), "dev", self.NAME,
            *(("nodad",) if version == 6 else ()))
        run("ip", "link", "set", self.NAME, "up")

    def segment(self, source, port, seq, ack, flags, options=b"", data=b""):
        """A segment of TCP."""
        options += b"\x01" * (-len(options) % 4)
        head = struct.pack(">HHIIBBHHH", source, port, seq & 0xffffffff, ack & 0xffffffff,
                           (20 + len(options)) // 4 << 4, flags, 65535, 0, 0)
        body = head + options + data
        pseudo = self.src + self.dst + struct.pack(">IHBB", len(body), 0, 0, 6)
        return body[:16] + struct.pack(">H", checksum(pseudo + body)) + body[18:]

    def send(self, payload, protocol=6):
        if self.version == 6:
            head = struct.pack(">IHBB", 6 << 28, len(payload), protocol, 64) + self.src + self.dst
        else:
            head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(payload), 0, 0, 64, protocol, 0) + self.src + self.dst
            head = head[:10] + struct.pack(">H", checksum(head)) + head[12:]
        os.write(self.device, head + payload)

    def send_hidden(self, segment):
        """IPv6: in two fragments, of which the first has no header of TCP (RFC 7112 forbids it)."""
        identification = int.from_bytes(os.urandom(4), "big")
        options = struct.pack(">BBBB4x", DESTINATION_OPTIONS, 0, 1, 4), struct.pack(">BBBB4x", 6, 0, 1, 4)
        self.send(struct.pack(">BBHI", DESTINATION_OPTIONS, 0, 1, identification) + options[0], FRAGMENT)
        self.send(struct.pack(">BBHI", DESTINATION_OPTIONS, 0, 8, identification) + options[1] + segment, FRAGMENT)

    def receive(self, source, port, seconds=1.0):
        """The next segment of that connection: (flags, seq, ack, options, data), None: there is none."""
        while select.select([self.device], [], [], seconds * SLOW)[0]:
            packet = os.read(self.device, 65536)
            if packet[0] >> 4 != self.version or packet[6 if self.version == 6 else 9] != 6:
                continue
            tcp = packet[40:] if self.version == 6 else packet[(packet[0] & 15) * 4:]
            if struct.unpack(">HH", tcp[:4]) == (port, source):
                seq, ack = struct.unpack(">II", tcp[4:12])
                offset = (tcp[12] >> 4) * 4
                return tcp[13], seq, ack, tcp[20:offset], tcp[offset:]
        return None


class HandMade:
    """A connection of that host, segment by segment."""

    def __init__(self, host, port, hidden=False):
        self.host, self.port, self.source = host, port, new_port()
        self.seq, self.ack = 1000, 0
        self.how = host.send_hidden if hidden else host.send

    def send(self, flags, data=b"", options=b"", seq=None):
        self.how(self.host.segment(self.source, self.port, self.seq if seq is None else seq, self.ack, flags,
                                   options, data))

    def syn(self, options=b""):
        """True when it is answered."""
        self.send(SYN, options=options)
        answer = self.host.receive(self.source, self.port)
        if not answer or answer[0] != SYN | ACK:
            return False
        self.seq, self.ack, self.options = 1001, answer[1] + 1, answer[3]
        return True

    def answer(self, seconds=1.0):
        """The bytes that come, None: not one."""
        while got := self.host.receive(self.source, self.port, seconds):
            if got[4]:
                return got[4]
        return None
