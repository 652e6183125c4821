# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line and the netlink family: what is refused, and what is told."""
import errno
import glob
import json
import os
import socket
import struct

import lib
from lib import test, equal


def state():
    """All that a refused command must leave alone."""
    files = {path: lib.read_text(path) for path in glob.glob(lib.CONFIG_DIR + "/**/*.conf", recursive=True)}
    return files, json.loads(lib.ctl("list", "--json").out)


@test("bad input: one line on stderr, a status that is not 0, nothing changed")
def bad_input():
    port = lib.new_port()
    good = ("--cert", lib.cert_path("ec"), "--key", lib.key_path("ec"))
    before = state()
    for words in (("enable",), ("enable", 0, *good), ("enable", 65536, *good), ("enable", "nosuchservice", *good),
                  ("enable", port), ("enable", port, "--cert"), ("enable", port, "--cert", "/nonexistent"),
                  ("enable", port, "--cert", lib.cert_path("ec"), "--key", lib.key_path("other")),
                  ("enable", port, "--cert", lib.key_path("ec"), "--key", lib.key_path("ec")),
                  ("enable", port, "--cert", "/etc/passwd", "--key", lib.key_path("ec")),
                  ("enable", port, *good, "--min-version", "1.1"),
                  ("enable", port, *good, "--min-version", "1.3", "--max-version", "1.2"),
                  ("enable", port, *good, "--handshake-timeout", "1ms"),
                  ("enable", port, *good, "--handshake-timeout", "700s"),
                  ("enable", port, *good, "--truncation", "maybe"), ("enable", port, *good, "--max-handshakes", "0"),
                  ("enable", port, *good, "--ciphers", "RC4-SHA"), ("enable", port, *good, "--groups", "P-999"),
                  ("enable", port, *good, "--nonsense", "1"), ("enable", port, port, *good),
                  ("disable",), ("disable", port), ("disable", "x"), ("status", port), ("nosuchcommand",), ()):
        done = lib.ctl(*words, check=False)
        assert done.returncode in (1, 2), f"{words}: status {done.returncode}"
        assert words in ((), ("nosuchcommand",)) or done.err.count("\n") == 1, f"{words}: {done.err!r}"
    equal(state(), before, "configuration and kernel")


@test("errors with --json are one JSON object with the member error")
def json_errors():
    done = lib.ctl("disable", lib.new_port(), "--json", check=False)
    equal(done.returncode, 1, "status")
    assert "not enabled" in json.loads(done.out)["error"], done.out


@test("an expired certificate: enable says so")
def expired():
    done = lib.enable(lib.new_port(), "expired", check=False)
    assert "expired" in done.err, (done.returncode, done.err)


@test("list, status, conns and services print JSON that tells the truth")
def json_output():
    port = lib.new_port()
    lib.enable(port, min_version="1.2", truncation="tolerate", handshake_timeout="7s", max_handshakes="99")
    entry = next(p for p in json.loads(lib.ctl("list", "--json").out)["ports"] if p["port"] == port)
    equal((entry["state"], entry["cert"]), ("idle", lib.cert_path("ec")), "list")
    lib.Server(port)
    with lib.TlsClient(port, lib.TLS13) as client:
        client.write(b"x")
        client.read_exactly(1)
        conn, = lib.conns(port)
        for name, value in (("state", "open"), ("version", "1.3"), ("tx", "sw"), ("rx", "sw"),
                            ("resumed", False), ("server_name", "localhost"),
                            ("peer", "127.0.0.1:%d" % client.sock.getsockname()[1])):
            equal(conn[name], value, name)
        equal(conn["suite"], client.tls.cipher()[0], "suite")
        equal(lib.conns(lib.new_port()), [], "connections of another port")
        shown = lib.status(port)
        equal((shown["open"], shown["listeners"], shown["handshakes"]), (1, 1, 0), "status")
        policy = shown["policy"]
        equal((policy["truncation"], policy["handshake_timeout_ms"], policy["max_handshakes"]),
              ("tolerate", 7000, 99), "policy")
        client.end()
    lib.no_conns(port)
    shown = lib.status(port)
    for name, value in (("started", 1), ("attached", 1), ("attached_tls13", 1), ("accepted", 1), ("upcalls", 2)):
        equal(shown["stats"][name], value, name)
    equal(shown["ended"], {"closed": 1}, "ended")
    assert any(s["service"] == "https" for s in json.loads(lib.ctl("services", "--json").out)["services"])
    status = json.loads(lib.ctl("status", "--json").out)
    equal(status["helper"]["pid"], lib.helper_parent(), "pid of the helper")
    equal(len(status["helper"]["workers"]) >= 1 and status["tls_stat"]["TlsTxSw"], lib.tls_stat()["TlsTxSw"], "TlsTxSw")
    for words in (("list",), ("status",), ("conns",), ("services",), ("check-config",), ("reload",)):
        lib.ctl(*words)


@test("settings take effect: versions, ciphers, and a change on an enabled port keeps the others")
def settings():
    port = lib.new_port()
    lib.enable(port, min_version="1.3", ciphers="TLS_CHACHA20_POLY1305_SHA256")
    lib.Server(port)
    with lib.TlsClient(port) as client:
        equal(client.tls.cipher()[0], "TLS_CHACHA20_POLY1305_SHA256", "suite")
    try:
        lib.echo(port, version=lib.TLS12)
        raise AssertionError("TLS 1.2 was spoken")
    except lib.ssl.SSLError as error:
        assert "PROTOCOL_VERSION" in str(error).upper().replace(" ", "_"), error
    lib.ctl("enable", port, "--truncation", "tolerate")
    equal((lib.status(port)["policy"]["min_version"], lib.status(port)["policy"]["truncation"]), ("1.3", "tolerate"))
    with lib.TlsClient(port) as client:
        equal(client.tls.cipher()[0], "TLS_CHACHA20_POLY1305_SHA256", "suite")


@test("disable: new listeners are plain TCP, established connections go on as TLS")
def disable_keeps():
    port = lib.new_port()
    lib.enable(port)
    server = lib.Server(port, "--wait", "epoll")
    with lib.TlsClient(port) as client:
        client.write(b"one")
        client.read_exactly(3)
        lib.disable(port)
        client.write(b"two")
        equal(client.read_exactly(3), b"two")
        server.stop()
    lib.Server(port, "--do", "banner", "--text", "plain")
    assert b"plain" in lib.probe(port, b"x", half_close=True)


# --- generic netlink by hand ---

PORT_SET, PORT_DEL, CONN_GET, WORKER_SET, CONTINUE, FAIL = 1, 2, 5, 6, 9, 10
HS_ID, HS_CONSUMED, WORKER_SCRATCH = 2, 9, 2
NUMBER, MIN_VERSION, MAX_VERSION, TRUNCATION, TIMEOUT, MAX_HANDSHAKES = 1, 2, 3, 4, 5, 6


def attribute(kind, body):
    return struct.pack("HH", 4 + len(body), kind) + body + b"\0" * (-len(body) % 4)


def u8(kind, value):
    return attribute(kind, struct.pack("B", value))


def u16(kind, value):
    return attribute(kind, struct.pack("H", value))


def u32(kind, value):
    return attribute(kind, struct.pack("I", value))


def u64(kind, value):
    return attribute(kind, struct.pack("Q", value))


class Genl:
    def __init__(self):
        self.sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 16)
        self.sock.settimeout(10)
        self.sock.bind((0, 0))
        self.sock.setsockopt(270, 11, 1)  # SOL_NETLINK, NETLINK_EXT_ACK
        self.family = 16
        self.sock.send(self.message(3, attribute(2, b"tlsport\0"), flags=1))  # CTRL_CMD_GETFAMILY
        data = self.sock.recv(65536)
        at = 20
        while at < len(data):
            length, kind = struct.unpack_from("HH", data, at)
            if kind == 1:
                self.family = struct.unpack_from("H", data, at + 4)[0]
            at += length + -length % 4

    def message(self, command, attributes, flags=5):
        body = struct.pack("BBH", command, 1, 0) + attributes
        return struct.pack("IHHII", 16 + len(body), self.family, flags, 1, 0) + body

    def ask(self, command, *attributes):
        """(errno, text of the extended ACK)"""
        self.sock.send(self.message(command, b"".join(attributes)))
        data = self.sock.recv(65536)
        length, kind, flags = struct.unpack_from("IHH", data)
        equal(kind, 2, "type of the answer")
        error = -struct.unpack_from("i", data, 16)[0]
        at = 20 + (16 if flags & 0x100 else struct.unpack_from("I", data, 20)[0])
        text = ""
        while flags & 0x200 and at < length:
            size, what = struct.unpack_from("HH", data, at)
            if what & 0x3fff == 1:
                text = data[at + 4:at + size].rstrip(b"\0").decode()
            at += size + -size % 4
        return error, text


@test("netlink: attributes out of range are refused with text, and nothing is registered", core=True)
def netlink_ranges():
    genl = Genl()
    number = lib.new_port()
    before = state()
    for attributes in ((u16(NUMBER, 0),), (), (u16(NUMBER, number), u16(MIN_VERSION, 0x0302)),
                       (u16(NUMBER, number), u16(MAX_VERSION, 0x0305)),
                       (u16(NUMBER, number), u16(MIN_VERSION, 0x0304), u16(MAX_VERSION, 0x0303)),
                       (u16(NUMBER, number), u8(TRUNCATION, 2)), (u16(NUMBER, number), u32(TIMEOUT, 99)),
                       (u16(NUMBER, number), u32(TIMEOUT, 600001)), (u16(NUMBER, number), u32(MAX_HANDSHAKES, 0)),
                       (u16(NUMBER, number), u32(MAX_HANDSHAKES, 1000001)),
                       (u16(NUMBER, number), u16(TIMEOUT, 1000)), (u16(NUMBER, number), u32(99, 1))):
        error, text = genl.ask(PORT_SET, *attributes)
        assert error in (errno.EINVAL, errno.ERANGE), f"{attributes}: {error} {text}"
        assert text, f"{attributes}: no text with {errno.errorcode[error]}"
    error, text = genl.ask(PORT_DEL, u16(NUMBER, number))
    equal((error, text), (errno.ENOENT, "the port is not enabled"))
    equal(state(), before, "registry")


@test("netlink: who is no worker gives no answers; a worker needs a page of its own")
def netlink_worker():
    genl = Genl()
    for command in (CONTINUE, FAIL):
        equal(genl.ask(command, u64(HS_ID, 12345), u32(HS_CONSUMED, 0))[0], errno.EPERM, f"command {command}")
    assert genl.ask(WORKER_SET)[0] == errno.EINVAL
    assert genl.ask(WORKER_SET, u64(WORKER_SCRATCH, 0xffff888000000000))[0] == errno.EFAULT


@test("netlink: without CAP_NET_ADMIN every command is refused with EPERM")
def netlink_unprivileged():
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            genl = Genl()
            results = [genl.ask(c, u16(NUMBER, 4433))[0] for c in range(1, 11)]
            status = 0 if set(results) <= {errno.EPERM, errno.EOPNOTSUPP} and results[0] == errno.EPERM else 2
            if status:
                print("#", results, flush=True)
        finally:
            os._exit(status)
    equal(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 0, "status of the unprivileged process")
