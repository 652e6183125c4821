# SPDX-License-Identifier: GPL-2.0-or-later
"""TLS clients whose every byte a test decides on, and a client that speaks none."""
import ctypes
import socket
import ssl
import struct
import threading
import time

from .certificates import cert_path
from .harness import SLOW, defer, equal, run, wait_for
from .product import conns

MARKER = b"PLAINTEXT-OF-THE-APPLICATION"
MPTCP = socket.IPPROTO_MPTCP
CLIENT_MARKER = b"PLAINTEXT-OF-THE-CLIENT"


def curl(*words, authority=None, **options):
    trust = ("--cacert", cert_path(authority)) if authority else ("-k",)
    return run("curl", "-sS", *trust, *map(str, words), **options)


def tls_context(version=None, ciphers=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF  # which makes a FIN alone look like close_notify
    if version:
        context.minimum_version = context.maximum_version = version
    if ciphers:
        context.set_ciphers(ciphers)
    return context


def handshake_messages(context):
    """A list that gets the type of every handshake message that comes from the server."""
    seen = []

    def callback(_conn, direction, _version, content, kind, _data):
        if direction == "read" and content == 22:
            seen.append(int(kind))
    context._msg_callback = callback  # pylint: disable=protected-access
    return seen


def is_mptcp(sock):
    """Not one that has fallen back to TCP."""
    try:
        return bool(sock.getsockopt(284, 1, 64))  # SOL_MPTCP, MPTCP_INFO
    except OSError:
        return False


KEY_UPDATE = 24
TLS12, TLS13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
BOTH = ((TLS13, "TLS 1.3"), (TLS12, "TLS 1.2"))


TCP_FASTOPEN_CONNECT = 30


def reset(sock):
    """Ends the connection by RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


class TcpClient:
    """What TlsClient is, without TLS."""

    def __init__(self, port, host="127.0.0.1", timeout=30, rcvbuf=0, source=None, fastopen=False, protocol=0,
                 mss=0):
        self.sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, proto=protocol)
        try:
            if rcvbuf:
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
            if mss:
                self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, mss)
            if source:
                self.sock.bind((source, 0))
            if fastopen:  # what is sent first goes with the SYN
                self.sock.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1)
            self.sock.settimeout(timeout * SLOW)
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.sock.connect((host, port))
        except BaseException:
            self.sock.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def write(self, data):
        self.sock.sendall(data)

    def read(self, size=65536):
        """b"" at the end."""
        return self.sock.recv(size)

    def read_exactly(self, size):
        data = bytearray()
        while len(data) < size:
            more = self.read(size - len(data))
            assert more, f"the connection ended after {len(data)} of {size} bytes"
            data += more
        return bytes(data)

    def read_all(self):
        data = bytearray()
        while more := self.read():
            data += more
        return bytes(data)

    def close_notify(self):
        """Says that no more comes, and can go on reading."""
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self):
        reset(self.sock)


class TlsClient(TcpClient):
    """TLS over memory: the test decides which bytes leave when."""

    def __init__(self, port, version=None, host="127.0.0.1", context=None, session=None, timeout=30,
                 handshake=True, rcvbuf=0, source=None, fastopen=False, protocol=0, mss=0):
        super().__init__(port, host, timeout, rcvbuf, source, fastopen, protocol, mss)
        self.send = self.sock.sendall
        try:
            self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            self.tls = (context or tls_context(version)).wrap_bio(self.incoming, self.outgoing,
                                                                  server_hostname="localhost", session=session)
            if handshake:
                self.handshake()
        except BaseException:
            self.sock.close()
            raise

    def flush(self):
        data = self.outgoing.read()
        if data:
            self.send(data)

    def pull(self):
        data = self.sock.recv(65536)
        if data:
            self.incoming.write(data)
        else:
            self.incoming.write_eof()

    def call(self, function, *args):
        while True:
            try:
                return function(*args)
            except ssl.SSLWantReadError:
                self.flush()
                self.pull()

    def hello(self):
        """The ClientHello, unsent."""
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            pass
        return self.outgoing.read()

    def handshake(self, flush=True):
        """Without flush the last flight (TLS 1.3, resumed TLS 1.2) stays in outgoing."""
        self.call(self.tls.do_handshake)
        if flush:
            self.flush()

    def write(self, data):
        view = memoryview(data)
        while view:
            view = view[self.tls.write(view[:16384]):]
            self.flush()

    def read(self, size=65536):
        """b"" after close_notify; SSLEOFError for a FIN without."""
        try:
            return self.call(self.tls.read, size)
        except ssl.SSLZeroReturnError:
            return b""

    def close_notify(self):
        """Sends it and can go on reading."""
        try:
            self.tls.unwrap()
        except ssl.SSLWantReadError:
            pass
        self.flush()

    def key_update(self, requested=True):
        """Sends KeyUpdate.  Python has no call for it: the SSL is the second member of its object."""
        libssl = ctypes.CDLL("libssl.so.3")
        members = ctypes.cast(id(self.tls._sslobj), ctypes.POINTER(ctypes.c_void_p))  # pylint: disable=protected-access
        handle = ctypes.c_void_p(members[object.__basicsize__ // ctypes.sizeof(ctypes.c_void_p) + 1])
        libssl.SSL_get_version.restype = ctypes.c_char_p
        equal(libssl.SSL_get_version(handle), b"TLSv1.3", "version")
        equal(libssl.SSL_key_update(handle, int(requested)), 1, "SSL_key_update")
        self.tls.do_handshake()
        self.flush()

    def read_slowly(self, size, pause=0.0):
        """All that comes, in steps of this size, to the last close_notify, fatal alert or FIN; then FIN.
        Returns the data and how it ended."""
        wire, data, end = bytearray(), bytearray(), "close_notify"
        while more := self.sock.recv(size):
            wire += more
            time.sleep(pause)
        self.incoming.write(wire)
        self.incoming.write_eof()
        try:
            while more := self.tls.read(65536):
                data += more
        except ssl.SSLZeroReturnError:
            pass
        except ssl.SSLEOFError:
            end = "FIN alone"
        except ssl.SSLError as error:
            end = error.reason
        return bytes(data), end

    def end(self):
        """close_notify both ways and FIN."""
        self.close_notify()
        equal(self.read_all(), b"", "data before the peer's close_notify")
        equal(self.sock.recv(1), b"", "after close_notify")
        self.sock.close()


def echo(port, data=b"some bytes", **options):
    """One connection to an echo server; returns the session."""
    with TlsClient(port, **options) as client:
        client.write(data)
        assert client.read_exactly(len(data)) == data, "the echo differs"
        client.end()
        return client.tls.session


def greeting(port, text=MARKER, **options):
    """One connection to a server that says something first."""
    with TlsClient(port, **options) as client:
        equal(client.read_exactly(len(text)), text, "greeting")
        client.end()


class Clients:
    """One after the other, until the end, of servers that say something first; those that failed."""

    def __init__(self, port, threads=2):
        self.port, self.count, self.longest, self.failed, self.stop = port, 0, 0, [], threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(i,), daemon=True) for i in range(threads)]
        for thread in self.threads:
            thread.start()
        defer(self.end)

    def run(self, i):
        while not self.stop.is_set():
            began = time.monotonic()
            try:
                greeting(self.port, version=BOTH[i % 2][0])
            except Exception as error:  # pylint: disable=broad-except
                self.failed.append(repr(error))
            self.longest = max(self.longest, time.monotonic() - began)
            self.count += 1

    def end(self):
        self.stop.set()
        for thread in self.threads:
            thread.join()


def echo_to(client, accepted):
    """Bytes there and back, over what accept() returned."""
    client.write(b"there")
    equal(accepted[0].recv(100), b"there")
    accepted[0].sendall(b"back")
    equal(client.read_exactly(4), b"back")


STATES = ("nothing", "half a hello", "server hello")


def stuck(port, state):
    """A client that has come to a state of the handshake and stays there."""
    there = len(conns(port))
    client = TlsClient(port, TLS13, handshake=False)
    defer(client.sock.close)
    hello = client.hello()
    if state != "nothing":
        client.sock.sendall(hello if state != "half a hello" else hello[:100])
    if state == "server hello":
        client.call(client.tls.do_handshake)  # its Finished stays unsent
    wait_for(lambda: len(conns(port)) > there, what=lambda: f"{state}: one connection more, {conns(port)}")
    return client


def probe(port, data=b"GET / HTTP/1.0\r\n\r\n", wait=1.5, host="127.0.0.1", half_close=False):
    """A plaintext client; returns all bytes that it got in the time given, or until the end."""
    got = b""
    end = time.monotonic() + wait
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as sock:
        sock.settimeout(wait)
        try:
            sock.connect((host, port))
            sock.sendall(data)
            if half_close:
                sock.shutdown(socket.SHUT_WR)
            while (left := end - time.monotonic()) > 0:
                sock.settimeout(left)
                more = sock.recv(65536)
                if not more:
                    break
                got += more
        except OSError:
            pass
    return got


def only_alert(data):
    """Nothing, or alert records in plaintext, is all that a plain client may see."""
    while data:
        assert data[0] == 21 and data[1] == 3 and data[3:5] == b"\0\2", f"not an alert: {data[:40]!r}"
        data = data[7:]
