# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line: what is refused, and what is told."""
import glob
import json
import os
import shutil
import signal
import ssl

import lib
from lib import test, equal

DAEMON = os.path.dirname(lib.CTL) + "/tlsportd"


def state():
    """All that a refused command must leave alone."""
    files = {path: lib.read_text(path) for path in glob.glob(lib.CONFIG_DIR + "/**/*.conf", recursive=True)}
    return files, json.loads(lib.ctl("list", "--json").out)


def refused(*words, saying="", check=lib.ctl):
    done = check(*words, check=False)
    assert done.returncode in (1, 2), f"{words}: status {done.returncode}"
    equal((done.out, done.err.count("\n")), ("", 1), f"output, lines on stderr, {words}: {done.err!r}")
    assert saying in done.err, f"{words}: {done.err!r} does not say {saying!r}"


@test("bad input: one line on stderr, a status that is not 0, nothing changed")
def bad_input():
    port = lib.new_port()
    good = ("--cert", lib.cert_path("ec"), "--key", lib.key_path("ec"))
    secret = lib.WORK + "/secret.key"
    lib.run("openssl", "ec", "-in", lib.key_path("ec"), "-aes256", "-passout", "pass:x", "-out", secret)
    before = state()
    for number in ("0", "65536", "-1", "4 43", "0x1bb", "443x", "99999999999", "nosuchservice", ""):
        refused("enable", number, *good)
    for words, saying in (((), ""), ((port,), "--cert"), ((port, "--cert"), "--cert"), ((port, port, *good), ""),
                          ((port, "--cert", "/nonexistent"), "/nonexistent"),
                          ((port, "--cert", lib.cert_path("ec"), "--key", "/nonexistent"), "/nonexistent"),
                          ((port, "--cert", "/etc", "--key", lib.key_path("ec")), "/etc"),
                          ((port, "--cert", lib.cert_path("ec"), "--key", lib.key_path("other")), ""),
                          ((port, "--cert", lib.key_path("ec"), "--key", lib.key_path("ec")), ""),
                          ((port, "--cert", "/etc/passwd", "--key", lib.key_path("ec")), "/etc/passwd"),
                          ((port, "--cert", lib.cert_path("ec"), "--key", secret), "passphrase")):
        refused("enable", *words, saying=saying)
    for setting in (("--min-version", "1.1"), ("--min-version", "1.3", "--max-version", "1.2"),
                    ("--handshake-timeout", "1ms"), ("--handshake-timeout", "700s"), ("--truncation", "maybe"),
                    ("--max-handshakes", "0"), ("--max-handshakes-per-source", "1000001"), ("--key-limit", "0"),
                    ("--ciphers", "RC4-SHA"),
                    ("--groups", "P-999"), ("--resumption", "perhaps"), ("--offload", "on"),
                    ("--offload-tls13", "1.2"), ("--offload", "require", "--min-version", "1.3")):
        refused("enable", port, *good, *setting)
    refused("enable", port, *good, "--colour", "blue", saying="--colour")
    for words in (("disable",), ("disable", port), ("disable", "x"), ("status", port), ("conns", "x")):
        refused(*words)
    for words in ((), ("nosuchcommand",)):
        assert lib.ctl(*words, check=False).returncode in (1, 2), words
    equal(state(), before, "configuration and kernel")


@test("without privilege: one line that says so, and nothing changed")
def unprivileged():
    port = lib.new_port()
    lib.enable(port)
    before = state()

    def as_nobody(*words, check):
        return lib.ctl(*words, check=check, prefix=("setpriv", "--reuid", "65534", "--clear-groups"))
    for words in (("list",), ("status",), ("conns",)):
        refused(*words, saying="root", check=as_nobody)
    for words in (("disable", port), ("enable", port, "--truncation", "tolerate"), ("reload",), ("upgrade",)):
        refused(*words, check=as_nobody)
    equal(state(), before, "configuration and kernel")


@test("every command has --help")
def helps():
    for command in ("enable", "disable", "list", "status", "conns", "check", "services", "reload", "upgrade", "check-config"):
        assert command in lib.ctl(command, "--help").out, command


@test("errors with --json are one JSON object with the member error")
def json_errors():
    done = lib.ctl("disable", lib.new_port(), "--json", check=False)
    equal(done.returncode, 1, "status")
    assert "not enabled" in json.loads(done.out)["error"], done.out


@test("an expired certificate: enable says so")
def expired():
    done = lib.enable(lib.new_port(), "expired")
    assert "expired" in done.err, done.err


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
    assert status["helper"]["workers"], status
    equal(status["tls_stat"]["TlsTxSw"], lib.tls_stat()["TlsTxSw"], "TlsTxSw")
    for words in (("list",), ("status",), ("conns",), ("services",), ("check-config",), ("reload",)):
        lib.ctl(*words)


@test("a helper that hangs is not one that is not running: status says so after half a minute, its workers go on "
      "serving, and enable changes nothing", timeout=240)
def helper_hangs():
    port, new = lib.new_port(), lib.new_port()
    lib.enable(port)
    lib.Server(port)
    before = state()
    parent = lib.helper_parent()
    os.kill(parent, signal.SIGSTOP)
    lib.defer(os.kill, parent, signal.SIGCONT)
    lib.echo(port)
    done = lib.ctl("status", port)
    why = f"no answer from {lib.RUN_DIR}/control: Connection timed out"
    assert f"helper   unknown: {why}\n" in done.out, done.out
    assert f": unknown: {why}\n" in done.out and "not running" not in done.out, done.out
    refused("enable", new, "--cert", lib.cert_path("ec"), "--key", lib.key_path("ec"),
            saying=f"tlsportd does not answer, nothing was changed: {why}")
    lib.echo(port)
    os.kill(parent, signal.SIGCONT)
    equal(state(), before, "all is as before")


@test("conns prints who encrypts, with which suite, for whom")
def conns_text():
    port = lib.new_port()
    lib.enable(port)
    lib.Server(port)
    with lib.TlsClient(port, lib.TLS13) as client:
        client.write(b"x")
        client.read_exactly(1)
        text = lib.ctl("conns", port).out
        for word in (client.tls.cipher()[0], "sw", "127.0.0.1:%d" % client.sock.getsockname()[1], "gcm"):
            assert word in text, f"{word!r} is not in {text!r}"
        client.end()


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
    except ssl.SSLError as error:
        assert "PROTOCOL_VERSION" in str(error).upper().replace(" ", "_"), error
    lib.ctl("enable", port, "--truncation", "tolerate")
    equal((lib.status(port)["policy"]["min_version"], lib.status(port)["policy"]["truncation"]), ("1.3", "tolerate"))
    with lib.TlsClient(port) as client:
        equal(client.tls.cipher()[0], "TLS_CHACHA20_POLY1305_SHA256", "suite")


@test("a TLS version that no suite is of is not spoken, and clients that know both get the other")
def versions_by_suites():
    port = lib.new_port()
    lib.enable(port)
    lib.Server(port)
    for ciphers, spoken in (("ECDHE-ECDSA-AES128-GCM-SHA256", "1.2"), ("TLS_AES_128_GCM_SHA256", "1.3")):
        done = lib.enable(port, ciphers=ciphers)
        assert "is not spoken: ciphers has no suite of it" in done.err, done.err
        policy = lib.status(port)["policy"]
        equal((policy["min_version"], policy["max_version"]), (spoken, spoken), "versions")
        with lib.TlsClient(port) as client:
            equal(client.tls.version(), "TLSv" + spoken, "version")


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


@test("a broken configuration: check-config and tlsportd -t name file, line and key of each fault, and change nothing")
def broken_configuration():
    directory = lib.WORK + "/broken"
    os.makedirs(directory + "/ports.d")
    lib.defer(shutil.rmtree, directory)
    main, first, second = directory + "/tlsport.conf", directory + "/ports.d/1.conf", directory + "/ports.d/2.conf"
    before = state()
    for command in ((lib.CTL, "--config-dir", directory, "check-config"), (DAEMON, "-t", "--config-dir", directory)):
        lib.write_file(main, "[port 443]\ncert = /nonexistent\n\ngroups = P-999\n")
        lib.write_file(first, f"cert = {lib.cert_path('ec')}\nprofle = modern\n")
        os.symlink("/nonexistent", second)
        done = lib.run(*command, check=False)
        lines = done.stderr.decode().splitlines()
        equal((done.returncode, done.stdout, len(lines)), (1, b"", 3), f"of {command}: {lines}")
        for line, words in zip(lines, ((main + ":4: ", "groups", "P-999", "X25519"),
                                       (first + ":2: ", "profle", "profile"), (second + ": ", "leads nowhere"))):
            assert line.startswith(words[0]) and all(word in line for word in words), f"{line!r} does not say {words}"
        lib.write_file(main, f"[port 443]\ncert = {lib.cert_path('ec')}\nkey = {lib.key_path('other')}\n")
        os.unlink(first)
        os.unlink(second)
        done = lib.run(*command, check=False)
        equal((done.returncode, done.stderr.count(b"\n")), (1, 1), f"a key of another certificate: {done.stderr!r}")
        assert done.stderr.startswith(main.encode() + b":"), done.stderr
        lib.write_file(main, f"[port 443]\ncert = {lib.cert_path('ec')}\nkey = {lib.key_path('ec')}\n")
        done = lib.run(*command)
        assert b"valid" in done.stdout or b"good" in done.stdout, done.stdout
    equal(state(), before, "configuration and kernel")
