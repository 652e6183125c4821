# SPDX-License-Identifier: GPL-2.0-or-later
"""No packet, however it is made, brings a connection to a listening socket that is shut."""
import socket

import lib
from lib import ACK, MARKER, SYN, equal, test

BANNER = ("--do", "banner", "--text", MARKER.decode())


def sleeping(port, family="4"):
    """A program asleep in the stock accept(): its socket is shut when the port is enabled."""
    server = lib.Server(port, "--wait", "block", "--family", family, *BANNER)
    server.in_call(*lib.ACCEPT)
    return server


def enable_shut(port):
    assert "restart it" in lib.enable(port).err, "the socket is not shut"


@test("IPv6 fragments whose first has no header of TCP, on every way to a connection")
def fragments():
    host = lib.Host(6)
    for enabled in (False, True):
        port = lib.new_port()
        sleeping(port, "6")
        if enabled:
            enable_shut(port)
        hidden = lib.HandMade(host, port, hidden=True)
        equal(hidden.syn(), not enabled, f"an answer to a hidden SYN, port enabled: {enabled}")
    port = lib.new_port()
    sleeping(port, "6")
    late = lib.HandMade(host, port)
    assert late.syn()
    enable_shut(port)
    late.how = host.send_hidden
    late.send(ACK, b"GET /")
    equal(late.answer(), None, "data that come back after a hidden ACK")
    equal(lib.established(port), b"", "connections")


@test("a handshake that was begun before, and is ended by ACK, by data, or by SYN|ACK with data")
def begun_before():
    host = lib.Host()
    for flags in (ACK, ACK | 8, SYN | ACK):
        for enabled in (False, True):
            port = lib.new_port()
            server = sleeping(port)
            client = lib.HandMade(host, port)
            assert client.syn(), "no answer before the port is enabled"
            if enabled:
                enable_shut(port)
            # the peer's SYN is a number before its first byte
            client.send(flags, b"GET /", seq=1000 if flags & SYN else None)
            if flags & SYN:
                client.send(ACK, b"GET /")
            answer = client.answer()
            if not flags & SYN:  # for that one TCP wakes nobody
                equal(answer, None if enabled else MARKER, f"what comes back, flags {flags}, enabled {enabled}")
            equal(lib.established(port) == b"", enabled, f"there is no connection, flags {flags}")
            server.stop()


@test("what begins no connection: a stray SYN|ACK gets the RST that TCP gives, half a header does not come to TCP")
def strays():
    def segments():
        before = lib.net_stat("InSegs")
        host.send(bytes(10))
        return lib.net_stat("InSegs") - before
    host, port = lib.Host(), lib.new_port()
    equal(segments(), 1, "segments that TCP has seen, without a guard")
    sleeping(port)
    enable_shut(port)
    equal(segments(), 0, "segments that TCP has seen")
    stray = lib.HandMade(host, port)
    stray.send(SYN | ACK)
    equal(host.receive(stray.source, port)[0], lib.RST, "flags of the answer")
    equal(lib.status(port)["stats"]["guard_syn"], 0, "packets that the guard kept")


IP_TRANSPARENT = 19


@test("packets that TPROXY brings to a listening socket of another address: shut while it is, and served")
def tproxy():
    def outcome():
        with socket.socket() as client:
            client.settimeout(1.5 * lib.SLOW)
            return lib.outcome(client.connect, ("127.0.0.9", port))

    def transparent():
        listener = lib.listen(port)
        listener.setsockopt(socket.SOL_IP, IP_TRANSPARENT, 1)
        return listener
    port = lib.new_port()
    lib.enable(port)
    lib.parameter("fail_hook")
    shut = transparent()
    equal(outcome(), "ECONNREFUSED", "without TPROXY")
    lib.run("nft", "add table ip tlsport-tproxy; add chain ip tlsport-tproxy prerouting "
                   "{ type filter hook prerouting priority mangle; }; add rule ip tlsport-tproxy prerouting "
                   f"tcp dport {port} tproxy to 127.0.0.1:{port}")
    lib.defer(lib.run, "nft", "delete table ip tlsport-tproxy")
    equal(outcome(), "timed out", "a connection at a socket that is shut")
    assert lib.status(port)["stats"]["guard_syn"], "the guard kept nothing"
    lib.write_file(lib.PARAMETERS + "fail_hook", "0")
    shut.close()
    listener = transparent()
    with lib.TlsClient(port, host="127.0.0.9") as client:
        lib.echo_to(client, listener.accept())


@test("a listening socket bound to a device: shut and served for clients of the machine itself as well")
def bound_to_device():
    host = lib.Host()

    def connects(port, address=host.server):
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, host.NAME.encode())
            client.settimeout(1.5 * lib.SLOW)
            return lib.outcome(client.connect, (address, port)) is None

    port = lib.new_port()
    with lib.listen(port, host.server) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, host.NAME.encode())
        assert connects(port), "not even while the port is not enabled"
        listener.accept()[0].close()
    lib.parameter("fail_hook")
    lib.enable(port)
    shut = lib.listen(port, host.server)
    shut.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, host.NAME.encode())
    assert not connects(port), "a connection at a socket that is shut"
    lib.write_file(lib.PARAMETERS + "fail_hook", "0")
    shut.close()
    served = lib.listen(port, host.server)
    served.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, host.NAME.encode())
    with lib.TlsClient(port, host=host.server) as client:
        lib.echo_to(client, served.accept())
