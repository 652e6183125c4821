# SPDX-License-Identifier: GPL-2.0-or-later
"""The TLS clients that people use, over both families, and what is refused."""
import hashlib

import lib
from lib import test, equal

SIZE = 1 << 20
SUITES13 = {"TLS_AES_128_GCM_SHA256": "AES-128-GCM", "TLS_AES_256_GCM_SHA384": "AES-256-GCM",
            "TLS_CHACHA20_POLY1305_SHA256": "CHACHA20-POLY1305"}
SUITES12 = {"ECDHE-{}-AES128-GCM-SHA256": "AES-128-GCM", "ECDHE-{}-AES256-GCM-SHA384": "AES-256-GCM",
            "ECDHE-{}-CHACHA20-POLY1305": "CHACHA20-POLY1305"}
HOSTS = ("127.0.0.1", "::1")


def bracket(host):
    return f"[{host}]" if ":" in host else host


def by_curl(host, port, version, suite, _, cert):
    words = ["--tlsv1.3", "--tls13-ciphers", suite] if version == "1.3" else \
        ["--tlsv1.2", "--tls-max", "1.2", "--ciphers", suite]
    return lib.curl("-g", *words, f"https://{bracket(host)}:{port}/file", authority=cert).stdout


def request(tool, port):
    tool.type(f"GET /file HTTP/1.0\r\nHost: x:{port}\r\nConnection: close\r\n\r\n".encode())
    return tool.finish().partition(b"\r\n\r\n")[2]


def by_openssl(host, port, version, suite, _, cert):
    words = ["-tls1_3", "-ciphersuites", suite] if version == "1.3" else ["-tls1_2", "-cipher", suite]
    return request(lib.Tool("openssl", "s_client", "-quiet", "-verify_return_error", "-CAfile", lib.cert_path(cert),
                            "-connect", f"{bracket(host)}:{port}", *words), port)


def by_gnutls(host, port, version, _, cipher, cert):
    priority = f"NORMAL:-VERS-ALL:+VERS-TLS{version}:-CIPHER-ALL:+{cipher}"
    return request(lib.Tool("gnutls-cli", "--x509cafile", lib.cert_path(cert), "--logfile=/dev/null", "--priority",
                            priority, "-p", str(port), host), port)


def combinations(suites):
    """Each suite with each family, so that half of them still has all of both."""
    return lib.some_of((*suite, host) for i, suite in enumerate(suites.items()) for host in HOSTS[::1 - 2 * (i % 2)])


def fetch_all(client, version, kind):
    """Each suite over each family; the bytes, and the suite that the kernel was told of."""
    port = lib.new_port()
    nginx = lib.Nginx(port)
    wanted, cert = nginx.file("file", SIZE), "rsa" if kind == "RSA" else "ec"
    lib.enable(port, cert)
    ktls, sniffer = lib.KtlsDelta(), lib.Sniffer(port)
    suites = SUITES13 if version == "1.3" else {s.format(kind): c for s, c in SUITES12.items()}
    cases = combinations(suites)
    for suite, cipher, host in cases:
        body = client(host, port, version, suite, cipher, cert)
        equal(hashlib.sha256(body).hexdigest(), wanted, f"{suite} over {host}, {len(body)} bytes")
    ktls.check(len(cases))
    lib.no_conns(port)
    sniffer.assert_tls(len(cases))
    sniffer.assert_absent(b"HTTP/1.", b"200 OK")
    stats = lib.status(port)["stats"]
    equal(stats["attached_tls13"], stats["attached"] if version == "1.3" else 0, "TLS 1.3 connections")


def make(name, client, version, kind, core=False):
    label = "TLS 1.3" if version == "1.3" else f"TLS 1.2 ECDHE-{kind}"

    @test(f"{name} fetches over {label} with each cipher, IPv4 and IPv6", timeout=240, core=core)
    def function():
        fetch_all(client, version, kind)
    function.__name__ = f"{name}_{version.replace('.', '')}_{kind.lower()}"


for tool_name, tool_client in (("curl", by_curl), ("openssl", by_openssl), ("gnutls", by_gnutls)):
    make(tool_name, tool_client, "1.3", "ECDSA", core=tool_name == "curl")
    make(tool_name, tool_client, "1.2", "ECDSA", core=tool_name == "openssl")
    make(tool_name, tool_client, "1.2", "RSA")


@test("TLS 1.3 works with an RSA certificate")
def rsa_certificate_13():
    port = lib.new_port()
    lib.enable(port, "rsa")
    lib.Server(port)
    ktls = lib.KtlsDelta()
    lib.echo(port, version=lib.TLS13)
    ktls.check(1)


def refused(hello, alert):
    port = lib.new_port()
    lib.enable(port)
    server = lib.Server(port, "--do", "banner", "--text", lib.MARKER.decode())
    answer = lib.exchange(port, hello)
    equal(lib.alert_of(answer), (2, alert), "alert")
    lib.no_conns(port)
    assert lib.MARKER not in answer and not server.all_events(), "the application saw the connection"
    equal(lib.status(port)["ended"], {"handshake_refused": 1}, "why it ended")


GOOD = (0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9)


@test("SSL 3.0, TLS 1.0 and 1.1 get the alert protocol_version")
def old_versions():
    for version in (0x0300, 0x0301, 0x0302):
        refused(lib.client_hello(GOOD, version=version), 70)


@test("supported_versions with only old versions gets the alert protocol_version")
def old_supported_versions():
    refused(lib.client_hello(GOOD, versions=(0x0302, 0x0301)), 70)


@test("a client that offers RSA key exchange only gets handshake_failure")
def rsa_key_exchange():
    refused(lib.client_hello((0x009c, 0x009d, 0x002f, 0x0035)), 40)


@test("a client that offers CBC suites only gets handshake_failure")
def cbc():
    refused(lib.client_hello((0xc009, 0xc00a, 0xc013, 0xc014, 0xc023, 0xc024, 0xc027, 0xc028)), 40)


@test("X25519MLKEM768 is the group with an openssl that has it, else X25519; a port may say otherwise", core=True)
def groups():
    port = lib.new_port()
    lib.enable(port)
    lib.Server(port)
    listed = lib.run("openssl", "list", "-tls-groups", check=False).stdout  # OpenSSL 3.5 and newer
    hybrid = b"X25519MLKEM768" in listed
    assert hybrid or lib.HOST_ROOT, "Debian 13's openssl has no X25519MLKEM768"
    best = "X25519MLKEM768" if hybrid else "X25519"
    cases = [((), best), (("-groups", "X25519:P-256"), "X25519")]
    if hybrid:  # the others are asked for it by HelloRetryRequest
        cases += [(("-groups", groups), best)
                  for groups in ("X25519MLKEM768", "P-521:X25519MLKEM768", "X25519:X25519MLKEM768")]
    for settings in ({}, {"groups": "X25519"}):
        lib.enable(port, **settings)
        for words, group in cases if not settings else [((), "X25519")]:
            tool = lib.Tool("openssl", "s_client", "-tls1_3", "-connect", f"127.0.0.1:{port}", *words)
            tool.expect(b"Verify return code")
            tool.echo(b"a line")
            out = bytes(tool.out)
            tool.stop()
            assert f"Temp Key: {group},".encode() in out or f"TLS1.3 group: {group}\n".encode() in out, (words, out)


@test("ALPN: HTTP/2 with nginx; who offers other protocols is refused, who offers none is not")
def alpn():
    port = lib.new_port()
    lib.enable(port, alpn="h2")
    wanted = lib.Nginx(port, listen="http2").file("file", SIZE)
    url = f"https://127.0.0.1:{port}/file"
    for words in (("--tls-max", "1.2"), ("--tlsv1.3",)):
        done = lib.curl("--http2", "-w", "%{stderr}version %{http_version}", *words, url)
        equal(hashlib.sha256(done.stdout).hexdigest(), wanted, f"SHA-256, {words}")
        assert done.stderr.endswith(b"version 2"), done.stderr
        done = lib.curl("--http1.1", *words, url, check=False)
        assert done.returncode and b"no application protocol" in done.stderr, done.stderr
        lib.TlsClient(port, lib.TLS12 if "1.2" in words else lib.TLS13).sock.close()


@test("openssl s_client is refused with TLS 1.0, TLS 1.1 and CBC")
def openssl_refused():
    port = lib.new_port()
    lib.enable(port)
    lib.Server(port)
    for words, alert in ((("-tls1", "-cipher", "DEFAULT@SECLEVEL=0"), b"alert number 70"),
                         (("-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"), b"alert number 70"),
                         (("-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA256"), b"alert number 40")):
        done = lib.run("openssl", "s_client", "-connect", f"127.0.0.1:{port}", *words, check=False)
        assert done.returncode and alert in done.stderr, f"{words}: {done.returncode} {done.stderr[-300:]!r}"


@test("renegotiation in TLS 1.2 is answered by the warning no_renegotiation (GnuTLS)")
def renegotiation_gnutls():
    port = lib.new_port()
    lib.enable(port)
    server = lib.Server(port)
    tool = lib.Tool("gnutls-cli", "--no-ca-verification", "--inline-commands", "--priority",
                    "NORMAL:-VERS-ALL:+VERS-TLS1.2", "-p", str(port), "127.0.0.1")
    tool.expect(b"Handshake was completed")
    tool.echo(b"before-it")
    tool.type(b"^renegotiate^\n")
    tool.expect(b"Received alert [100]")
    # gnutls-cli asks again and again, until it gives up.  The application saw none of it.
    tool.stop()
    equal(server.event().get("got"), len(b"before-it\n"), "bytes of the application")


@test("renegotiation by openssl s_client ends by its own choice, with no_renegotiation")
def renegotiation_openssl():
    port = lib.new_port()
    lib.enable(port)
    lib.Server(port)
    tool = lib.Tool("openssl", "s_client", "-tls1_2", "-connect", f"127.0.0.1:{port}")
    tool.expect(b"Verify return code")
    tool.echo(b"before-it")
    tool.type(b"R\n")
    tool.finish()
    assert b"no renegotiation" in tool.err, bytes(tool.err[-500:])


@test("an interoperability test fails where the port is not enabled")
def fails_without_tls():
    port = lib.new_port()
    lib.Nginx(port).file("file", 100)
    done = lib.curl(f"https://127.0.0.1:{port}/file", check=False)
    assert done.returncode, "curl spoke TLS with a plaintext server"
