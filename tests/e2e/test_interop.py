# SPDX-License-Identifier: GPL-2.0-or-later
"""Every version and suite, with clients that others wrote, over IPv4 and IPv6."""
from lib import *

PORT = 8443
BODY = pattern(1 << 20, "interop")
TLS13 = {"AES-128-GCM": "TLS_AES_128_GCM_SHA256", "AES-256-GCM": "TLS_AES_256_GCM_SHA384",
         "CHACHA20-POLY1305": "TLS_CHACHA20_POLY1305_SHA256"}
TLS12 = {"AES-128-GCM": "AES128-GCM-SHA256", "AES-256-GCM": "AES256-GCM-SHA384",
         "CHACHA20-POLY1305": "CHACHA20-POLY1305"}
REQUEST = b"GET /body HTTP/1.0\r\n\r\n"


def tls12_name(cipher, kind):
    return f"ECDHE-{'ECDSA' if kind == 'ec' else 'RSA'}-{TLS12[cipher]}"


def curl(host, version, cipher, kind):
    how = ["--tlsv1.3", "--tls13-ciphers", TLS13[cipher]] if version == "1.3" else \
        ["--tls-max", "1.2", "--ciphers", tls12_name(cipher, kind)]
    return run("curl", "-sS", "--cacert", WORK.cert(kind)[0], *how, f"https://{host}:{PORT}/body").stdout


def s_client(host, version, cipher, kind):
    how = ["-tls1_3", "-ciphersuites", TLS13[cipher]] if version == "1.3" else \
        ["-tls1_2", "-cipher", tls12_name(cipher, kind)]
    out = run("openssl", "s_client", "-quiet", "-connect", f"{host}:{PORT}", *how, stdin=None,
              input=REQUEST).stdout
    return out.partition(b"\r\n\r\n")[2]


def gnutls(host, version, cipher, kind):
    priority = f"NONE:+VERS-TLS{version}:+{cipher}:+AEAD:+SIGN-ALL:+GROUP-ALL:+CTYPE-ALL:+COMP-NULL:" \
        "+ECDHE-ECDSA:+ECDHE-RSA"
    out = run("gnutls-cli", "--x509cafile", WORK.cert(kind)[0], "--priority", priority, "-p", str(PORT),
              "--logfile=/dev/null", "--no-ca-verification", host.strip("[]"), stdin=None, input=REQUEST,
              check=False).stdout
    return out.partition(b"\r\n\r\n")[2]


def add(version, cipher, kind):
    @test(f"TLS {version} {cipher}" + (f" {kind}" if version == "1.2" else "") + ": s_client, gnutls-cli, curl",
          core=(cipher == "AES-256-GCM" and kind == "ec"), limit=240)
    def case():
        enable(PORT, kind)
        nginx = Nginx(PORT)
        nginx.file("body", BODY)
        with nginx, Sniffer(PORT) as wire, ktls(6):
            for client in (curl, s_client, gnutls):
                for host in ("127.0.0.1", "[::1]"):
                    body = client(host, version, cipher, kind)
                    assert sha(body) == sha(BODY), f"{client.__name__} {host}: {len(body)} bytes"
            no_conns()
        wire.assert_tls()
        wire.assert_not_seen(b"HTTP/1.1 200 OK", BODY[:64])


for suite in TLS13:
    add("1.3", suite, "ec")
    add("1.2", suite, "ec")
    add("1.2", suite, "rsa")

GROUPS = bytes.fromhex("000a0006000400170018") + bytes.fromhex("000b00020100")
SIGNATURES = bytes.fromhex("000d00080006040308040401")


def client_hello(version, suites, extensions):
    body = version + bytes(32) + b"\0" + len(suites).to_bytes(2, "big") + suites + b"\x01\0" + \
        len(extensions).to_bytes(2, "big") + extensions
    message = b"\x01" + len(body).to_bytes(3, "big") + body
    return b"\x16\x03\x01" + len(message).to_bytes(2, "big") + message


def alert_of(hello):
    with connect(PORT) as sock:
        sock.sendall(hello)
        got = read_all(sock)
    assert len(got) == 7 and got[0] == 21 and got[5] == 2, f"no fatal alert: {got!r}"
    return got[6]


@test("SSLv3, TLS 1.0 and 1.1 are refused with protocol_version", core=True)
def old_versions():
    enable(PORT)
    with server(PORT):
        for version in (b"\x03\0", b"\x03\x01", b"\x03\x02"):
            assert alert_of(client_hello(version, b"\xc0\x2b\xc0\x2f", GROUPS)) == 70
    assert status(PORT)["ended handshake_refused"] == 3


@test("RSA key exchange and CBC are refused with handshake_failure", core=True)
def old_suites():
    enable(PORT)
    with server(PORT):
        for suites in ("009c009d002f0035", "c009c00ac013c014c023c027"):
            assert alert_of(client_hello(b"\x03\x03", bytes.fromhex(suites), GROUPS + SIGNATURES)) == 40
    assert status(PORT)["ended handshake_refused"] == 2


@test("what is no TLS gets unexpected_message and is counted as such")
def not_tls():
    enable(PORT)
    with server(PORT, banner=b"BANNER"):
        assert plain(PORT) == b"\x15\x03\x03\0\x02\x02\x0a"
        wait_for(lambda: status(PORT).get("ended not_tls") == 1, 5)
