# SPDX-License-Identifier: GPL-2.0-or-later
"""Keys in a token (PKCS#11), which SoftHSM is here: workers serve that have neither the key nor the token."""
import json
import os
import re
import signal

import lib
from lib import equal, test

DIRECTORY = f"{lib.WORK}/token"
CERTIFICATES = {kind: f"{DIRECTORY}/{kind}.crt" for kind in ("ec", "rsa")}
PIN_FILE = f"{DIRECTORY}/pin"


def write_pin(pin):
    lib.write_file(PIN_FILE, pin + "\n")
    os.chmod(PIN_FILE, 0o600)


def make_token():
    """With a key of each kind, which is nowhere else."""
    os.makedirs(DIRECTORY, exist_ok=True)
    write_pin("1234")
    lib.run("softhsm2-util", "--init-token", "--free", "--label", "web", "--so-pin", "0000", "--pin", "1234")
    lib.defer(lib.run, "softhsm2-util", "--delete-token", "--token", "web")
    for number, (kind, cert) in enumerate(CERTIFICATES.items()):
        key = f"{DIRECTORY}/{kind}.key"
        lib.make_certificate(cert, key, kind, "localhost", "DNS:localhost")
        lib.run("softhsm2-util", "--import", key, "--token", "web", "--label", kind, "--id", f"0{number}", "--pin", "1234")
        os.unlink(key)


def enable(port, cert, key, check=True):
    done = lib.ctl("enable", port, "--cert", CERTIFICATES[cert], "--key", f"pkcs11:token=web;object={key}",
                   "--passphrase", PIN_FILE, check=check)
    if not done.returncode:
        lib.defer(lib.ctl, "disable", port, check=False)
    return done


def handshakes(port):
    for version, _ in lib.BOTH:
        lib.echo(port, context=lib.tls_context(version))


def processes(name):
    return [pid for pid in lib.helper_pids()[1:] if lib.read_text(f"/proc/{pid}/comm") == name + "\n"]


def maps(pid):
    return lib.read_text(f"/proc/{pid}/maps")


@test("key = pkcs11: ECDSA and RSA, TLS 1.2 and 1.3; no worker has loaded the module, and all are sandboxed")
def served():
    make_token()
    for kind in CERTIFICATES:
        port = lib.new_port()
        enable(port, kind, kind)
        lib.Server(port)
        handshakes(port)
        shown = json.loads(lib.ctl("status", port, "--json").out)["ports"][0]["certificate"]
        equal(shown["key"], f"pkcs11:token=web;object={kind}", "of status")
    equal(len(processes("tlsport-signer")), 2, "processes that sign")
    for pid in processes("tlsport-signer"):
        assert "libsofthsm2" in maps(pid), "the module is not where it is looked for"
    assert processes("tlsportd-worker"), "no workers"
    for pid in processes("tlsportd-worker") + lib.helper_pids()[:1]:
        assert "libsofthsm2" not in maps(pid), f"{pid} has loaded the module"
    for pid in processes("tlsportd-worker"):
        equal(re.search(r"Seccomp:\s*(\d)", lib.read_text(f"/proc/{pid}/status"))[1], "2", "Seccomp")


@test("a process that signs ends: another logs in, new workers ask it; the last port that is disabled ends it")
def another():
    make_token()
    port = lib.new_port()
    enable(port, "ec", "ec")
    lib.Server(port)
    handshakes(port)
    before = processes("tlsport-signer")
    equal(len(before), 1, "processes that sign")
    os.kill(before[0], signal.SIGKILL)
    lib.wait_for(lambda: processes("tlsport-signer") not in ([], before), 20, "another one")
    # Until then workers that ask the old one have the handshakes.
    lib.wait_for(lambda: lib.outcome(handshakes, port) is None, 20, "handshakes")
    lib.ctl("disable", port)
    lib.wait_for(lambda: not processes("tlsport-signer"), 30, "none is left")


@test("a key that is not the certificate's, no such key, a wrong PIN: enable says so, and changes nothing")
def refused():
    make_token()
    port = lib.new_port()

    def refusal(cert, key):
        done = enable(port, cert, key, check=False)
        equal((done.returncode, len(done.err.splitlines())), (1, 1), f"status and lines of: {done.err}")
        assert lib.ctl("status", port, check=False).returncode, "the port is registered"
        return done.err

    assert "another type" in refusal("rsa", "ec")
    assert "no such private key" in refusal("ec", "none")
    lib.make_certificate(f"{DIRECTORY}/ec.crt", f"{DIRECTORY}/other.key", "ec", "localhost", "DNS:localhost")
    assert "does not belong to the certificate" in refusal("ec", "ec")
    write_pin("9999")
    assert "refuses the PIN" in refusal("rsa", "rsa")
    write_pin("1234")
    enable(port, "rsa", "rsa")
    lib.Server(port)
    handshakes(port)
