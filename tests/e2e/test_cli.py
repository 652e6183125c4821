# SPDX-License-Identifier: GPL-2.0-or-later
"""Bad input gets one line and changes nothing; what is shown can be read by programs."""
import json
import socket
import struct

from lib import *

PORT = 8900


def refused(*args, words=()):
    before = ctl("list", "--json").stdout
    done = ctl(*args, check=False)
    lines = done.stderr.decode().splitlines()
    assert done.returncode and len(lines) == 1, f"{args}: {done.returncode} {lines}"
    for word in words:
        assert word in lines[0], f"{args}: {lines[0]}"
    assert ctl("list", "--json").stdout == before, f"{args} changed something"


@test("tlsportctl refuses bad input in one line", core=True)
def bad_input():
    cert, key = WORK.cert()
    other = WORK.cert("other")[1]
    pair = ("--cert", cert, "--key", key)
    refused("enable", "notaport", *pair)
    refused("enable", "0", *pair)
    refused("enable", "65536", *pair)
    refused("enable", "-1", *pair)
    refused("enable", PORT)
    refused("enable", PORT, "--cert", "/nonexistent", "--key", key, words=["/nonexistent"])
    refused("enable", PORT, "--cert", cert, "--key", "/nonexistent", words=["/nonexistent"])
    refused("enable", PORT, "--cert", cert, "--key", other)
    refused("enable", PORT, "--cert", key, "--key", key)
    refused("enable", PORT, *pair, "--min-version", "1.1")
    refused("enable", PORT, *pair, "--colour", "blue", words=["--colour"])
    refused("disable", PORT)
    secret = WORK.path("secret.key")
    run("openssl", "ec", "-in", key, "-aes256", "-passout", "pass:x", "-out", secret)
    refused("enable", PORT, "--cert", cert, "--key", secret, words=["passphrase"])


@test("an expired certificate is warned of")
def expired():
    cert, key = WORK.path("expired.pem"), WORK.cert()[1]
    request = WORK.path("expired.csr")
    run("openssl", "req", "-new", "-key", key, "-subj", "/CN=old", "-out", request)
    run("openssl", "x509", "-req", "-in", request, "-signkey", key, "-days", "-1", "-out", cert)
    done = ctl("enable", PORT, "--cert", cert, "--key", key)
    assert b"expired" in done.stderr, done.stderr


@test("list, status, conns and services speak JSON", core=True)
def shown():
    enable(PORT)
    with server(PORT), tls(PORT) as client:
        client.sendall(b"x")
        assert client.recv(1) == b"x"
        for command in ("list", "status", "conns", "services"):
            json.loads(ctl(command, "--json").stdout)
        text = ctl("conns").stdout.decode()
        assert "gcm" in text and " sw " in text and "127.0.0.1" in text, text
    for command in ("enable", "disable", "list", "status", "conns", "services"):
        assert ctl(command, "--help").stdout


@test("without privilege nothing is done")
def unprivileged():
    done = run("setpriv", "--reuid", "65534", "--clear-groups", CTL, "list", check=False)
    assert done.returncode and b"root" in done.stderr, done.stderr
    enable(PORT)
    done = run("setpriv", "--reuid", "65534", "--clear-groups", CTL, "disable", str(PORT), check=False)
    assert done.returncode


class Genl:
    """Generic netlink by hand: what no well-behaved client sends."""
    def __init__(self):
        self.sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 16)
        self.sock.setsockopt(270, 11, 1)        # NETLINK_EXT_ACK
        self.sock.bind((0, 0))
        self.family = 16
        reply = self.call(3, self.attribute(2, b"tlsport\0"), 1)[1]
        at = 20
        while at < len(reply):
            length, kind = struct.unpack_from("HH", reply, at)
            if kind == 1:
                self.family = struct.unpack_from("H", reply, at + 4)[0]
            at += (length + 3) & ~3

    @staticmethod
    def attribute(kind, data):
        return struct.pack("HH", 4 + len(data), kind) + data + bytes(-len(data) % 4)

    def call(self, command, attributes, version=1):
        """(errno, message)"""
        body = struct.pack("BBH", command, version, 0) + attributes
        self.sock.send(struct.pack("IHHII", 16 + len(body), self.family, 5, 1, 0) + body)
        reply = self.sock.recv(65536)
        if struct.unpack_from("H", reply, 4)[0] != 2:
            self.sock.recv(65536)               # the ACK
            return 0, reply[:struct.unpack_from("I", reply)[0]]
        return -struct.unpack_from("i", reply, 16)[0], reply


@test("netlink attributes are range-checked, with a text, and nothing is changed", core=True)
def attributes():
    genl, a = Genl(), Genl.attribute
    number = a(1, struct.pack("H", PORT))
    EINVAL, ERANGE = 22, 34
    for what in (b"", a(1, struct.pack("H", 0)), number + a(2, struct.pack("H", 0x302)),
                 number + a(3, struct.pack("H", 0x305)), number + a(4, b"\x02"),
                 number + a(5, struct.pack("I", 99)), number + a(5, struct.pack("I", 600001)),
                 number + a(6, struct.pack("I", 0)), number + a(7, struct.pack("I", 1000001)),
                 number + a(2, struct.pack("H", 0x304)) + a(3, struct.pack("H", 0x303)),
                 a(1, b"\x01"), number + a(99, b"\0\0\0\0")):
        error, reply = genl.call(1, what)
        assert error in (EINVAL, ERANGE), f"{what!r}: {error}"
        assert len(reply) > 60, f"{what!r}: no text"
    assert genl.call(2, number)[0] == 2                                     # ENOENT
    assert genl.call(6, b"")[0] == EINVAL
    assert genl.call(6, a(2, struct.pack("Q", 1 << 63)))[0] == 14           # EFAULT
    assert genl.call(9, a(2, struct.pack("Q", 1)))[0] == 1                  # EPERM: no worker
    assert not [x for x in ctl("list").stdout.decode().splitlines()[1:] if x]
