# SPDX-License-Identifier: MIT
"""What a program may ask about the TLS of a connection that accept() gave it.

    import tlsport
    tls = tlsport.info(connection)
    if tls.client and "DNS:printer.example.org" in tls.client.names: ...

It needs no privilege, and no key can be had.  "python3 tlsport.py PORT" is an example:
a server in plaintext that tells each client who it is.
"""
import errno
import socket
import struct
import sys
from typing import NamedTuple, Optional

SOL_TLSPORT = 0x746c
INFO, DETAILS = 1, 2
ALPN, SUBJECT, COMMON_NAME, NAME, SHA256, CERTIFICATE = range(1, 7)
_INFO = struct.Struct("=QHHBBBxI4x256s")
_NIC = 2


class Client(NamedTuple):
    """By the certificate that it has proven; chain: DER, its own first, behind it what it has not proven."""
    subject: str
    common_name: str
    names: tuple
    sha256: bytes
    chain: tuple


class Info(NamedTuple):
    """id: as in "tlsportctl conns"; version: 0x0303, 0x0304; suite: IANA number; client: None without a certificate."""
    id: int
    version: int
    suite: int
    resumed: bool
    tx_nic: bool
    rx_nic: bool
    server_name: str
    alpn: str
    client: Optional[Client]


def _attributes(data):
    found = {}
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        if not 4 <= length <= len(data):
            break
        found.setdefault(kind, []).append(data[4:length])
        data = data[(length + 3) & ~3:]
    return found


def _text(values):
    return values[0].rstrip(b"\0").decode(errors="replace") if values else ""


def _client(found):
    if CERTIFICATE not in found:
        return None
    return Client(_text(found.get(SUBJECT)), _text(found.get(COMMON_NAME)),
                  tuple(_text([name]) for name in found.get(NAME, [])), found[SHA256][0], tuple(found[CERTIFICATE]))


def info(connection):
    """Of a socket, or None: it is no connection of a TLS port."""
    try:
        data = connection.getsockopt(SOL_TLSPORT, INFO, _INFO.size)
    except OSError as error:
        if error.errno in (errno.ENOPROTOOPT, errno.EOPNOTSUPP):
            return None
        raise
    number, version, suite, resumed, tx, rx, length, name = _INFO.unpack(data.ljust(_INFO.size, b"\0"))
    found = {}
    if length:  # Python's own buffer ends at 1024
        found = _attributes(_long_option(connection, DETAILS, length))
    return Info(number, version, suite, bool(resumed), tx == _NIC, rx == _NIC, _text([name.split(b"\0")[0]]),
                found.get(ALPN, [b""])[0].decode(errors="replace"), _client(found))


def _long_option(connection, option, length):
    import ctypes  # pylint: disable=import-outside-toplevel
    libc = ctypes.CDLL(None, use_errno=True)
    buffer, size = ctypes.create_string_buffer(length), ctypes.c_uint(length)
    if libc.getsockopt(connection.fileno(), SOL_TLSPORT, option, buffer, ctypes.byref(size)):
        error = ctypes.get_errno()
        raise OSError(error, errno.errorcode.get(error, "getsockopt"))
    return buffer.raw[:size.value]


def _example(port):
    with socket.create_server(("", port)) as server:
        while True:
            connection = server.accept()[0]
            with connection:
                connection.sendall(f"{info(connection)}\n".encode())


if __name__ == "__main__":
    _example(int(sys.argv[1]))
