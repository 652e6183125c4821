# SPDX-License-Identifier: GPL-2.0-or-later
"""A listening socket of MPTCP, as Go makes one by itself: served as one of TCP, which MPTCP clients fall back to."""
import socket

import lib
from lib import MARKER, MPTCP, equal, test
from test_listening import live, nothing_to_accept, refuses_plaintext, serves_plain, serves_tls

OPTION = 30
ANSWERED = "MPCapableSYNRX"  # a SYN that asks for MPTCP has reached it


def serves(port, listener, host="127.0.0.1"):
    """Clients of TCP and of MPTCP."""
    asked = lib.net_stat(ANSWERED)
    ktls = lib.KtlsDelta()
    for protocol in (0, MPTCP):
        for version, _ in lib.BOTH:
            with lib.TlsClient(port, version, host, protocol=protocol) as client:
                accepted = listener.accept()
                lib.echo_to(client, accepted)
                assert not lib.is_mptcp(client.sock), "the client's connection is of MPTCP"
                equal(accepted[0].getsockopt(socket.SOL_SOCKET, 38), socket.IPPROTO_TCP, "SO_PROTOCOL")
                accepted[0].close()
                client.end()
    ktls.check(4)
    equal(lib.net_stat(ANSWERED), asked, "requests for MPTCP that came through")
    lib.no_conns(port)


@test("MPTCP listeners of IPv4, IPv6 and both are served; a client of MPTCP falls back to TCP", core=True)
def served():
    for address, host in (("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("::", "::1"), ("::", "127.0.0.1")):
        port = lib.new_port()
        lib.enable(port)
        listener = lib.listen(port, address, MPTCP)
        serves(port, listener, host)
        refuses_plaintext(port, listener) if host == "127.0.0.1" else nothing_to_accept(listener)
        equal(lib.status(port)["state"], "served")
        listener.close()


def plain_mptcp(port, listener):
    """A connection of MPTCP, while the port is not enabled: its two ends."""
    client = socket.socket(proto=MPTCP)
    lib.defer(client.close)
    client.settimeout(20)
    client.connect(("127.0.0.1", port))
    conn = listener.accept()[0]
    lib.defer(conn.close)
    conn.settimeout(20)
    for one, other in ((client, conn), (conn, client)):
        one.sendall(b"plain")
        equal(other.recv(100), b"plain")
    assert lib.is_mptcp(client) and lib.is_mptcp(conn), "the connection is of TCP"
    return client, conn


@test("an MPTCP listener over the lives of its port: served while it is enabled, with MPTCP while it is not")
def lives():
    port = lib.new_port()
    listener = lib.listen(port, protocol=MPTCP)
    for _ in range(3):
        before = plain_mptcp(port, listener)
        waiting = socket.socket(proto=MPTCP)  # for accept()
        waiting.settimeout(20)
        waiting.connect(("127.0.0.1", port))
        equal(lib.enable(port).err, "", "warnings of enable")
        equal(lib.outcome(waiting.recv, 100), "ECONNRESET", "what a connection that nobody has accepted gets")
        sniffer = lib.Sniffer(port)
        for sock in before:  # MPTCP would take another way to the peer: there is none
            sock.sendall(MARKER)
        serves(port, listener)
        sniffer.assert_absent(MARKER)
        refuses_plaintext(port, listener)
        lib.disable(port)
        serves_plain(port, listener)


@test("an MPTCP listener that is shut down and listens again is what its port is")
def listens_again():
    for steps, tls in (("down listen", True), ("down disable listen", False), ("disable down listen", False),
                       ("down disable listen enable", True), ("disable down enable listen", True)):
        port = lib.new_port()
        lib.enable(port)
        listener = lib.listen(port, protocol=MPTCP)
        serves_tls(port, listener)
        live(port, listener, steps)
        if tls:
            serves(port, listener)
            refuses_plaintext(port, listener)
        else:
            plain_mptcp(port, listener)
        listener.close()


@test("an MPTCP listener that closes, or is shut down, ends what waits at it")
def closed_waiting():
    for end in (socket.socket.close, lambda listener: listener.shutdown(socket.SHUT_RDWR)):
        port = lib.new_port()
        lib.enable(port, handshake_timeout="60s")
        listener = lib.listen(port, protocol=MPTCP)
        clients = [lib.stuck(port, state) for state in lib.STATES]
        client = lib.TlsClient(port, protocol=MPTCP)
        lib.defer(client.sock.close)
        lib.wait_for(lambda port=port: "ready" in [c["state"] for c in lib.conns(port)], what="one waits for accept()")
        end(listener)
        lib.no_conns(port)
        equal(lib.status(port)["ended"], {"listener_closed": len(clients) + 1}, "why they ended")


@test("an MPTCP listener that answers with SYN cookies")
def cookies():
    lib.sysctl("net/ipv4/tcp_syncookies", "2")  # always
    port = lib.new_port()
    lib.enable(port)
    serves(port, lib.listen(port, protocol=MPTCP))


CAPABLE = bytes((OPTION, 4, 0x01, 0x01))
JOIN = bytes((OPTION, 12, 0x10, 0)) + bytes(8)
MSS = b"\x02\x04\x05\xb4"
REQUESTS = {
    "at an even place": CAPABLE + MSS,
    "at an odd place": b"\x01" + CAPABLE + MSS,
    "twice, of odd length": bytes((OPTION, 5, 0x01, 0x01, 7)) + MSS + CAPABLE,
    "to join a connection": MSS + JOIN,
    "last, behind what is unknown": b"\xfd\x03\x07\x01" + MSS + CAPABLE,
}
MALFORMED = {
    "longer than the header": bytes((OPTION, 40, 0x01, 0x01)),
    "without a length": MSS + b"\x01\x01\x01" + bytes((OPTION,)),
    "of no length": bytes((OPTION, 0, 0x01, 0x01)),
    "behind the end": MSS + b"\x00" + CAPABLE + b"\x00",
}


@test("what a SYN asks of an MPTCP listener is taken out wherever it is in the options; the sum is right")
def places():
    host, port = lib.Host(), lib.new_port()
    listener = lib.listen(port, host.server, MPTCP)
    plain = lib.HandMade(host, port)
    assert plain.syn(CAPABLE + MSS) and OPTION in plain.options, "MPTCP is not answered while the port is not enabled"
    lib.enable(port)
    asked = lib.net_stat(ANSWERED)
    for where, options in {**REQUESTS, **MALFORMED}.items():
        client = lib.HandMade(host, port)
        assert client.syn(options), f"no answer to a request {where}"
        assert OPTION not in client.options, f"MPTCP is answered where the request is {where}: {client.options.hex()}"
    equal(lib.net_stat(ANSWERED), asked, "requests for MPTCP that came through")
    nothing_to_accept(listener)


@test("a SYN whose header is longer than the packet reaches no MPTCP listener, and is counted")
def cut_header():
    host, port = lib.Host(), lib.new_port()
    lib.enable(port)
    lib.listen(port, host.server, MPTCP)
    syn = bytearray(host.segment(lib.new_port(), port, 1000, 0, lib.SYN))
    syn[12] = 15 << 4
    host.send(bytes(syn))
    equal(lib.status(port)["stats"]["guard_syn"], 1, "packets that the guard kept")
    assert lib.HandMade(host, port).syn(CAPABLE + MSS), "no answer to one that is whole"


@test("a listening socket of the kernel itself is shut, and named")
def of_the_kernel():
    port = lib.new_port()
    lib.run("ip", "mptcp", "endpoint", "add", "127.0.0.1", "port", str(port), "signal")
    lib.defer(lib.run, "ip", "mptcp", "endpoint", "flush")
    done = lib.enable(port)
    assert "cannot be served" in done.err, f"it is not named: {done.err!r}"
    lib.only_alert(lib.probe(port, MARKER))
    assert lib.status(port)["stats"]["guard_syn"] > 0, "the guard kept nothing"
    equal(lib.status(port)["state"], "shut")
