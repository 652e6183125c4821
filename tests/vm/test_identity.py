# SPDX-License-Identifier: GPL-2.0-or-later
"""Who the client is reaches the program: getsockopt, libtlsport, the header of the PROXY protocol."""
import ctypes
import errno
import fcntl
import hashlib
import importlib.util
import mmap
import os
import platform
import select
import shutil
import socket
import ssl
import struct
import threading

import lib
from lib import equal, outcome, test

DIRECTORY = f"{lib.WORK}/identity"
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
MSG_TRUNC = 0x20
USERFAULTFD, SPLICE = {"x86_64": (323, 275), "aarch64": (282, 76)}[platform.machine()]
UFFDIO_API, UFFDIO_REGISTER, UFFDIO_ZEROPAGE = 0xc018aa3f, 0xc020aa00, 0xc020aa04


def bindings():
    """lib/tlsport.py, as an installation has it."""
    spec = importlib.util.spec_from_file_location("tlsport", f"{lib.TOP}/lib/tlsport.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def openssl(*words):
    lib.run("openssl", *words, cwd=DIRECTORY)


def infrastructure():
    """An authority, one below it, a client of that, and a stranger."""
    shutil.rmtree(DIRECTORY, ignore_errors=True)
    os.makedirs(DIRECTORY)
    lib.defer(shutil.rmtree, DIRECTORY)
    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    authority = ("-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=keyCertSign,cRLSign")
    openssl("req", "-x509", *new, "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=authority", "-days", "2")
    openssl("req", "-x509", *new, "-keyout", "other.key", "-out", "other.crt", "-subj", "/CN=other", "-days", "2")
    openssl("req", *new, "-keyout", "below.key", "-out", "below.csr", "-subj", "/CN=below", *authority)
    openssl("x509", "-req", "-in", "below.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-out", "below.crt",
            "-copy_extensions", "copy", "-days", "2")
    openssl("req", *new, "-keyout", "client.key", "-out", "client.csr", "-subj", "/O=Works/CN=client one",
            "-addext", "subjectAltName=DNS:one.example,email:one@example.org")
    openssl("x509", "-req", "-in", "client.csr", "-CA", "below.crt", "-CAkey", "below.key", "-out", "client.crt",
            "-copy_extensions", "copy", "-days", "2")
    with open(f"{DIRECTORY}/chain.crt", "w", encoding="ascii") as chain:
        chain.write(lib.read_text(f"{DIRECTORY}/client.crt") + lib.read_text(f"{DIRECTORY}/below.crt"))


def context_of(version, cert=None, key=None):
    context = lib.tls_context(version)
    context.set_alpn_protocols(["h2", "http/1.1"])
    if cert:
        context.load_cert_chain(f"{DIRECTORY}/{cert}", f"{DIRECTORY}/{key}")
    return context


def der(name):
    return ssl.PEM_cert_to_DER_cert(lib.read_text(f"{DIRECTORY}/{name}"))


def alert_of(port, version, cert=None, key=None):
    """Which alert the client gets; a client of TLS 1.3 sees it when it reads."""
    def shake():
        with lib.TlsClient(port, context=context_of(version, cert, key)) as client:
            client.read(1)
    try:
        shake()
        return None
    except ssl.SSLError as error:
        return error.reason


class Client(ctypes.Structure):
    _fields_ = [("subject", ctypes.c_char_p), ("common_name", ctypes.c_char_p),
                ("names", ctypes.POINTER(ctypes.c_char_p)), ("name_count", ctypes.c_size_t),
                ("sha256", ctypes.c_uint8 * 32), ("chain", ctypes.c_void_p), ("chain_len", ctypes.c_size_t)]


class Session(ctypes.Structure):
    _fields_ = [("id", ctypes.c_uint64), ("version", ctypes.c_uint16), ("suite", ctypes.c_uint16),
                ("resumed", ctypes.c_int), ("tx_nic", ctypes.c_int), ("rx_nic", ctypes.c_int),
                ("server_name", ctypes.c_char_p), ("alpn", ctypes.c_char_p), ("client", ctypes.POINTER(Client))]


def by_library(conn):
    library = ctypes.CDLL(f"{lib.TOP}/{os.environ.get('BUILD', 'build')}/userspace/libtlsport.so.0", use_errno=True)
    library.tlsport_info.restype = ctypes.POINTER(Session)
    found = library.tlsport_info(conn.fileno())
    if not found:
        return os.strerror(ctypes.get_errno())
    session = found.contents
    facts = [session.version, session.server_name, session.alpn]
    if session.client:
        client = session.client.contents
        facts += [client.subject, client.common_name, client.names[0], client.name_count, bytes(client.sha256),
                  client.chain_len]
    library.tlsport_free(found)
    return facts


@test("client-auth: who has a certificate of the authority gets in, and the program is told who it is; the others get "
      "the alert that says why")
def certificates():
    infrastructure()
    port = lib.new_port()
    tlsport = bindings()
    lib.enable(port, alpn="http/1.1", client_auth="require", client_ca=f"{DIRECTORY}/ca.crt")
    listener = lib.listen(port)
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        with lib.TlsClient(port, context=context_of(version, "chain.crt", "client.key")) as client:
            conn = listener.accept()[0]
            with conn:
                conn.sendall(b"x")
                equal(client.read(1), b"x", "a byte")
                info = tlsport.info(conn)
                equal((info.version, info.server_name, info.alpn, info.resumed),
                      (int(version), "localhost", "http/1.1", False), "of the connection")
                equal(info.client.common_name, "client one", "common name")
                equal(info.client.subject, "CN=client one,O=Works", "subject")
                equal(sorted(info.client.names), ["DNS:one.example", "email:one@example.org"], "names")
                equal(info.client.sha256, hashlib.sha256(der("client.crt")).digest(), "fingerprint")
                equal(info.client.chain, (der("client.crt"), der("below.crt")), "chain")
                equal(by_library(conn)[:5], [int(version), b"localhost", b"http/1.1", b"CN=client one,O=Works",
                                             b"client one"], "of libtlsport")
                equal(by_library(conn)[6:], [2, info.client.sha256, 2], "of libtlsport")
                equal(conn.getsockopt(tlsport.SOL_TLSPORT, tlsport.INFO, 8), struct.pack("=Q", info.id), "the id alone")
                equal(outcome(conn.getsockopt, tlsport.SOL_TLSPORT, tlsport.DETAILS, 100), "ERANGE", "too short")
                equal(outcome(conn.getsockopt, tlsport.SOL_TLSPORT, 77, 100), "ENOPROTOOPT", "another option")
        missing = "SSLV3_ALERT_HANDSHAKE_FAILURE" if version == ssl.TLSVersion.TLSv1_2 else \
            "TLSV13_ALERT_CERTIFICATE_REQUIRED"
        equal(alert_of(port, version), missing, "no certificate")
        equal(alert_of(port, version, "other.crt", "other.key"), "TLSV1_ALERT_UNKNOWN_CA", "a stranger")
    lib.no_conns(port)
    lib.ctl("enable", port, "--client-auth", "request")
    with lib.TlsClient(port) as client:
        conn = listener.accept()[0]
        with conn:
            conn.sendall(b"x")
            equal(client.read(1), b"x", "a byte")
            equal(tlsport.info(conn).client, None, "no certificate")
            equal(by_library(conn), [0x0304, b"localhost", b""], "of libtlsport")
            equal(outcome(conn.getsockopt, tlsport.SOL_TLSPORT, tlsport.DETAILS, 100), "ENODATA", "no details")
    with socket.socket() as plain:
        equal(tlsport.info(plain), None, "no connection of a TLS port")
        equal(by_library(plain), "Protocol not available", "of libtlsport")


def address_of(page):
    return ctypes.addressof(ctypes.c_char.from_buffer(page))


@test("getsockopt(SOL_TLSPORT) with a length or an address that is none: the errors of TCP_INFO")
def bad_memory():
    tlsport, port, page = bindings(), lib.new_port(), mmap.mmap(-1, mmap.PAGESIZE)
    lib.enable(port, alpn="http/1.1")
    listener = lib.listen(port)
    read_only = ctypes.c_void_p(address_of(page))
    equal(lib.LIBC.mprotect(read_only, mmap.PAGESIZE, mmap.PROT_READ), 0, "mprotect()")
    nowhere, value = ctypes.c_void_p(8), ctypes.create_string_buffer(4096)
    with lib.TlsClient(port, context=context_of(lib.TLS13)), listener.accept()[0] as conn:
        def errors(*option):
            found = []
            for to, size in ((value, nowhere), (value, read_only), (value, ctypes.byref(ctypes.c_int(-1))),
                             (nowhere, ctypes.byref(ctypes.c_int(4096)))):
                equal(lib.LIBC.getsockopt(conn.fileno(), *option, to, size), -1, "getsockopt()")
                found.append(errno.errorcode[ctypes.get_errno()])
            return found
        wanted = errors(socket.IPPROTO_TCP, socket.TCP_INFO)
        for option in (tlsport.INFO, tlsport.DETAILS):
            assert conn.getsockopt(tlsport.SOL_TLSPORT, option, 1024)
            equal(errors(tlsport.SOL_TLSPORT, option), wanted, f"option {option}")


def parse(header):
    """{type: value}, with what is inside of PP2_TYPE_SSL; checks the rest."""
    equal(header[:12], SIGNATURE, "signature")
    equal(header[12], 0x21, "version and command")
    size, = struct.unpack(">H", header[14:16])
    equal(len(header), 16 + size, "length")
    at, found = {0x11: 28, 0x21: 52}[header[13]], {}
    while at < len(header):
        kind, length = struct.unpack(">BH", header[at:at + 3])
        found[kind] = header[at + 3:at + 3 + length]
        at += 3 + (5 if kind == 0x20 else length)
    return found


def read_header(conn, receive):
    """The header, by its own length."""
    head = receive(conn, 16)
    return head + receive(conn, struct.unpack(">H", head[14:16])[0])


def whole(conn, size):
    return conn.recv(size, socket.MSG_WAITALL)


def byte_by_byte(conn, size):
    return b"".join(conn.recv(1) for _ in range(size))


def looked_at_first(conn, size):
    seen = conn.recv(size, socket.MSG_PEEK)
    got = conn.recv(size, socket.MSG_WAITALL)
    equal(seen, got, "peeked")
    return got


def spliced(conn, size):
    read_end, write_end = os.pipe()
    try:
        n = 0
        while n < size:
            n += os.splice(conn.fileno(), write_end, size - n)
        return os.read(read_end, size)
    finally:
        os.close(read_end)
        os.close(write_end)


def scattered(conn, size):
    parts = [bytearray(size // 2), bytearray(size - size // 2)]
    equal(conn.recvmsg_into(parts, 0, socket.MSG_WAITALL)[0], size, "scattered")
    return bytes(parts[0] + parts[1])


@test("proxy-protocol = v2: the header comes before the first byte of the client, whichever call reads it", core=True)
def header():
    infrastructure()
    port = lib.new_port()
    lib.enable(port, alpn="h2", client_auth="request", client_ca=f"{DIRECTORY}/ca.crt", proxy_protocol="v2")
    listener = lib.listen(port)
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        for receive in (whole, byte_by_byte, looked_at_first, spliced, scattered):
            what = f"{version.name}, {receive.__name__}"
            with lib.TlsClient(port, context=context_of(version, "chain.crt", "client.key")) as client:
                conn = listener.accept()[0]
                with conn:
                    # before the client has sent anything
                    equal(select.select([conn], [], [], 0)[0], [conn], "readable")
                    waiting = lib.waiting(conn)
                    got = read_header(conn, receive)
                    equal(waiting, len(got), "FIONREAD")
                    fields = parse(got)
                    equal(got[16:20], socket.inet_aton("127.0.0.1"), "address")
                    equal(struct.unpack(">HH", got[24:28]), (client.sock.getsockname()[1], port), "ports")
                    equal((fields[1], fields[2], fields[0x22]), (b"h2", b"localhost", b"client one"), what)
                    equal(fields[0x21], {3: b"TLSv1.2", 4: b"TLSv1.3"}[int(version) & 7], what)
                    equal(fields[0x20][:5], b"\x07\0\0\0\0", "SSL, with a certificate that was verified")
                    equal(select.select([conn], [], [], 0)[0], [], "nothing is left")
                    equal(outcome(conn.recv, 1, socket.MSG_DONTWAIT), "EAGAIN", what)
                    client.write(b"data")
                    equal(receive(conn, 4), b"data", what)
                    conn.sendall(b"answer")
                    equal(client.read(6), b"answer", what)


def tcp_closed(conn):
    return conn.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == 7


@test("proxy-protocol = v2: looked at together with data, dropped, left unread, and after the client has gone", core=True)
def header_and_data():
    port = lib.new_port()
    lib.enable(port, proxy_protocol="v2")
    listener = lib.listen(port)

    def accepted(client):
        client.write(b"data")
        conn = listener.accept()[0]
        lib.wait_for(lambda: conn.recv(4096, socket.MSG_PEEK).endswith(b"data"), 10, "the data")
        return conn
    with lib.TlsClient(port) as client, accepted(client) as conn:
        size = len(conn.recv(4096, socket.MSG_PEEK)) - 4
        got = conn.recv(4096, socket.MSG_PEEK)
        equal(outcome(parse, got[:size]) and got[size:], b"data", "both at once")
        equal(conn.recv(size + 2, socket.MSG_WAITALL), got[:size + 2], "up to the middle of the data")
        equal(conn.recv(10), b"ta", "the rest")
    with lib.TlsClient(port) as client, accepted(client) as conn:
        # less than was asked for is all: who waits for the next edge of epoll believes that
        equal(conn.recv(4096)[size:], b"data", "one call takes both")
    with lib.TlsClient(port) as client, accepted(client) as conn:
        equal(len(conn.recv(size, MSG_TRUNC)), size, "dropped")
        equal(conn.recv(10), b"data", "what is behind it")
    with lib.TlsClient(port) as client, accepted(client) as conn:
        client.close_notify()
        client.sock.close()
        parse(conn.recv(size))
        equal((conn.recv(10), conn.recv(10)), (b"data", b""), "after the end")
    for flags in (socket.MSG_WAITALL, 0):
        client = lib.TlsClient(port)
        with listener.accept()[0] as conn:
            client.reset()
            lib.wait_for(lambda conn=conn: select.select([conn], [], [conn], 0)[0] and tcp_closed(conn), 10, "the reset")
            equal(len(conn.recv(size + 10, flags)), size, "before the reset")
            equal(outcome(conn.recv, 10), "ECONNRESET", "which is not an end")
    with lib.TlsClient(port) as client, listener.accept()[0] as conn:
        conn.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1000)
        equal(select.select([conn], [], [], 0)[0], [conn], "it is enough for SO_RCVLOWAT")
        equal(len(conn.recv(4096)), size, "it is enough for SO_RCVLOWAT")
    with lib.TlsClient(port) as client:
        listener.accept()[0].close()  # with all of it unread: no reset
        equal(client.read(10), b"", "close_notify")
    lib.no_conns(port)


class SlowPage:
    """Memory: whoever writes there waits until it is given."""

    def __init__(self):
        self.page = mmap.mmap(-1, mmap.PAGESIZE)
        self.address, self.fd = address_of(self.page), lib.LIBC.syscall(USERFAULTFD, os.O_CLOEXEC)
        assert self.fd >= 0, "userfaultfd()"
        lib.defer(os.close, self.fd)
        fcntl.ioctl(self.fd, UFFDIO_API, struct.pack("QQQ", 0xaa, 0, 0))
        fcntl.ioctl(self.fd, UFFDIO_REGISTER, struct.pack("QQQQ", self.address, mmap.PAGESIZE, 1, 0))

    def wait(self):
        """Until somebody writes there."""
        os.read(self.fd, 32)

    def give(self):
        fcntl.ioctl(self.fd, UFFDIO_ZEROPAGE, struct.pack("QQQq", self.address, mmap.PAGESIZE, 0, 0))


@test("proxy-protocol = v2: two threads read at once, the first into memory that has to be waited for: it gets the "
      "whole header, the other what is behind it")
def header_once():
    port = lib.new_port()
    lib.enable(port, proxy_protocol="v2")
    listener = lib.listen(port)
    for receive in (socket.socket.recv, spliced):
        with lib.TlsClient(port) as client, listener.accept()[0] as conn:
            page = SlowPage()
            first = lib.in_thread(lib.LIBC.recv, conn.fileno(), ctypes.c_void_p(page.address), 1000, 0)
            page.wait()
            second = lib.in_thread(receive, conn, 4)
            lib.in_call(os.getpid(), *lib.RECEIVES, SPLICE, threads=2)
            page.give()
            parse(page.page[:first()])
            lib.in_call(os.getpid(), *lib.RECEIVES, SPLICE)
            client.write(b"data")
            equal(second(), b"data", receive.__name__)


@test("proxy-protocol = v2, memory is short in splice() of the header and in recv() that drops data: ENOMEM, and "
      "nothing is lost, or net/tls ends the connection", timeout=lib.SCAN_TIMEOUT)
def no_page():
    port = lib.new_port()
    lib.enable(port, proxy_protocol="v2")
    listener = lib.listen(port)
    read_end, write_end = os.pipe()
    lib.defer(os.close, read_end)
    lib.defer(os.close, write_end)
    failed = []

    def twice(call, *args):
        try:
            return call(*args)
        except OSError as error:
            if error.errno != errno.ENOMEM:
                raise
            failed.append(call.__name__)
        return call(*args)

    def scenario(failing):
        failed.clear()
        with lib.TlsClient(port) as client, listener.accept()[0] as conn:
            client.write(b"dropped, kept")
            with failing:
                size = twice(os.splice, conn.fileno(), write_end, 1000)
                parse(os.read(read_end, size))
                try:
                    twice(conn.recv, len("dropped, "), socket.MSG_TRUNC)
                except ConnectionResetError:
                    return "a record could not be decrypted"
            equal(conn.recv(100), b"kept")
        lib.no_conns(port)
        return f"ENOMEM of {failed}" if failed else None
    lib.scan(scenario)


@test("proxy-protocol = v2, memory is short: the program gets the header first, or no connection",
      timeout=lib.SCAN_TIMEOUT)
def memory():
    infrastructure()
    port = lib.new_port()
    lib.enable(port, alpn="h2", client_auth="require", client_ca=f"{DIRECTORY}/ca.crt", proxy_protocol="v2")
    listener = lib.listen(port)
    listener.settimeout(0.2)
    without = []

    def serve():
        while listener.fileno() >= 0:
            try:
                conn = listener.accept()[0]
            except OSError:
                continue
            with conn:
                conn.settimeout(5 * lib.SLOW)
                first = outcome(conn.recv, 1024)
                if not (isinstance(first, bytes) and first.startswith(SIGNATURE)):
                    without.append(first)
                lib.stopped(conn.sendall, b"x")
    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    lib.defer(lambda: (listener.close(), thread.join()))

    def visit():
        with lib.TlsClient(port, context=context_of(lib.TLS13, "chain.crt", "client.key"), timeout=5) as client:
            if client.read(1) != b"x":
                raise ConnectionError("the end came first")
            client.close_notify()

    def scenario(failing):
        with failing:
            ended = lib.stopped(visit)
        lib.all_ended(port)
        equal(without, [], "what was read in place of the header")
        return ended
    lib.scan(scenario)
