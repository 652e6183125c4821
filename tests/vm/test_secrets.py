# SPDX-License-Identifier: GPL-2.0-or-later
"""What is in the memory of processes once the kernel has the keys."""
import contextlib
import hashlib
import hmac
import os
import re

import lib
from lib import test, equal

SUITES = {  # as openssl names them: hash, bytes of a key
    "TLS_AES_128_GCM_SHA256": (hashlib.sha256, 16),
    "TLS_AES_256_GCM_SHA384": (hashlib.sha384, 32),
    "TLS_CHACHA20_POLY1305_SHA256": (hashlib.sha256, 32),
    "ECDHE-ECDSA-AES128-GCM-SHA256": (hashlib.sha256, 16),
    "ECDHE-ECDSA-AES256-GCM-SHA384": (hashlib.sha384, 32),
    "ECDHE-ECDSA-CHACHA20-POLY1305": (hashlib.sha256, 32),
}
MASTER = "CLIENT_RANDOM"


def memory(pid):
    """All that the process has mapped and can be read: where, what."""
    with open(f"/proc/{pid}/maps", encoding="utf-8") as maps, open(f"/proc/{pid}/mem", "rb", 0) as mem:
        for line in maps:
            if line.split()[1][0] != "r":
                continue
            start, end = (int(word, 16) for word in line.split(" ", 1)[0].split("-"))
            with contextlib.suppress(OSError, OverflowError, ValueError):  # [vvar], [vsyscall]
                mem.seek(start)
                yield line.strip(), mem.read(end - start)


def search(pids, secrets):
    """[who has which of the secrets where], and how many bytes were looked at"""
    found, looked = [], 0
    for pid in pids:
        for where, content in memory(pid):
            looked += len(content)
            found += [f"{name} in {pid}, {where}" for name, secret in secrets.items() if secret in content]
    return found, looked


def expand_label(algorithm, secret, label, length):
    """HKDF-Expand-Label (RFC 8446 7.1), one block."""
    label = b"tls13 " + label
    info = length.to_bytes(2, "big") + bytes([len(label)]) + label + b"\0"
    return hmac.digest(secret, info + b"\1", algorithm().name)[:length]


def key_block(algorithm, master, seed, length):
    """The PRF of RFC 5246 5."""
    seed = b"key expansion" + seed
    block, a = b"", seed
    while len(block) < length:
        a = hmac.digest(master, a, algorithm().name)
        block += hmac.digest(master, a + seed, algorithm().name)
    return block[:length]


def derive(suite, logged, client_random, server_random):
    """What records are protected with; nonces of TLS 1.2 have too few bytes to be searched for."""
    algorithm, length = SUITES[suite]
    keys = {}
    for name, secret in logged.items():
        if name == MASTER:
            block = key_block(algorithm, secret, server_random + client_random, 2 * length)
            keys["client key"], keys["server key"] = block[:length], block[length:]
        elif "TRAFFIC" in name:
            keys[name + " key"] = expand_label(algorithm, secret, b"key", length)
            keys[name + " iv"] = expand_label(algorithm, secret, b"iv", 12)
    return keys


class Connection:
    """s_client, which stays, and its secrets as it has logged them."""

    def __init__(self, port, suite, session=()):
        log = f"{lib.WORK}/secrets"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(log)
        version, words = ("-tls1_3", "-ciphersuites") if suite.startswith("TLS_") else ("-tls1_2", "-cipher")
        sniffer = lib.Sniffer(port)
        self.tool = lib.Tool("openssl", "s_client", "-connect", f"127.0.0.1:{port}", version, words, suite,
                             "-keylogfile", log, *session)
        self.tool.expect(b"Verify return code")
        self.tool.echo(b"hello there")
        sniffer.stop()
        lines = [line.split() for line in lib.read_text(log).splitlines() if not line.startswith("#")]
        logged = {name: bytes.fromhex(secret) for name, _, secret in lines}
        hello = next(s for s in sniffer.streams if s.from_server).data
        equal((hello[0], hello[5]), (22, 2), "a ServerHello")
        self.secrets = {**logged, **derive(suite, logged, bytes.fromhex(lines[0][1]), bytes(hello[11:43]))}
        assert len(self.secrets) >= 3, self.secrets

    def finish(self):
        self.tool.type(b"Q\n")
        return self.tool.finish()


def nothing_left(what, pids, secrets):
    """The worker may be on its way back from the call that gave the keys to the kernel."""
    lib.wait_for(lambda: not search(pids, secrets)[0], 5, lambda: f"{what}: none of {search(pids, secrets)[0]}")


def look(port, server, suite, session=()):
    connection = Connection(port, suite, session)
    own, _ = search([connection.tool.process.pid], connection.secrets)
    assert own, f"{suite}: the client itself has none of its secrets: they are searched for in the wrong way"
    found, looked = search([server.pid], connection.secrets)
    equal(found, [], f"{suite}: the application has, of {looked} bytes,")
    assert looked > 1 << 20, f"{looked} bytes of the application"
    workers = lib.helper_pids()
    assert all(search([pid], {})[1] > 1 << 20 for pid in workers), "memory of the helper cannot be read"
    nothing_left(suite, workers, connection.secrets)
    out = connection.finish()
    nothing_left(suite + ", after the end", [server.pid, *workers], connection.secrets)
    return out, len(own)


@test("traffic secrets, master secrets and keys of records are in no process but the client's: not in the application, "
      "not in the helper", timeout=400)
def secrets():
    port = lib.new_port()
    lib.enable(port)
    server = lib.Server(port)
    session = f"{lib.WORK}/secrets-session"
    for suite in SUITES:
        _, own = look(port, server, suite, ("-sess_out", session))
        out, _ = look(port, server, suite, ("-sess_in", session))
        assert re.search(rb"Reused, TLS", out), f"{suite}: not resumed: {out[-300:]!r}"
        lib.note(f"{suite}: {own} found in the client")


@test("a helper in the middle of a handshake has its secrets: they would be found")
def positive_control():
    port = lib.new_port()
    lib.enable(port)
    lib.Server(port)
    log = f"{lib.WORK}/secrets"
    context = lib.tls_context(lib.TLS13)
    context.keylog_filename = log
    client = lib.TlsClient(port, context=context, handshake=False)
    lib.defer(client.sock.close)
    client.sock.sendall(client.hello())
    client.call(client.tls.do_handshake)  # its Finished stays unsent
    lines = [line.split() for line in lib.read_text(log).splitlines() if not line.startswith("#")]
    known = {name: bytes.fromhex(secret) for name, _, secret in lines}
    found, _ = search(lib.helper_pids()[1:], known)
    assert any(entry.startswith("CLIENT_TRAFFIC_SECRET_0 ") for entry in found), found
    client.flush()
    client.write(b"data")
    equal(client.read_exactly(4), b"data")
    nothing_left("after the handshake", lib.helper_pids(), known)
