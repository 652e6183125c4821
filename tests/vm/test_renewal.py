# SPDX-License-Identifier: GPL-2.0-or-later
"""Certificates that are replaced while connections come."""
import json
import os
import shutil
import signal
import ssl

import lib
from lib import test, equal


def der(kind):
    return ssl.PEM_cert_to_DER_cert(lib.read_text(lib.cert_path(kind)))


def served(port):
    with lib.TlsClient(port, lib.TLS13) as client:
        return client.tls.getpeercert(binary_form=True)


def renewed_in_a_second(port, kind, function):
    """Renews the files; the other certificate is served within a second."""
    function()
    with lib.takes(0, 1, "the new certificate"):
        lib.wait_for(lambda: served(port) == der(kind), 10, "the new certificate is served")


def certificates(name, *kinds):
    """A directory with a subdirectory for each, 1, 2 and so on, and the port that has the first, by the link now."""
    port, directory = lib.new_port(), f"{lib.WORK}/{name}"
    shutil.rmtree(directory, ignore_errors=True)
    for number, kind in enumerate(kinds, 1):
        os.makedirs(f"{directory}/{number}")
        shutil.copy(lib.cert_path(kind), f"{directory}/{number}/cert")
        shutil.copy(lib.key_path(kind), f"{directory}/{number}/key")
    lib.defer(shutil.rmtree, directory)
    os.symlink("1", directory + "/now")
    lib.ctl("enable", port, "--cert", directory + "/now/cert", "--key", directory + "/now/key")
    lib.defer(lib.ctl, "disable", port, check=False)
    lib.serve(lib.listen(port))
    return port, directory


def by_rename(directory, number):
    for name in ("cert", "key"):
        os.rename(f"{directory}/{number}/{name}", f"{directory}/now/{name}")


@test("a certificate is replaced, by a link and by rename: the new one is served within a second, no client fails; a "
      "broken one: not", timeout=240)
def replace():
    port, directory = certificates("renewal", "ec", "rsa", "ec")
    clients = lib.Clients(port)

    def link():
        os.symlink("2", directory + "/next")
        os.rename(directory + "/next", directory + "/now")
    for kind, function in (("rsa", link), ("ec", lambda: by_rename(directory, 3))):
        renewed_in_a_second(port, kind, function)
    lib.write_file(directory + "/now/cert", "junk\n")
    lib.wait_for(lambda: "the certificate in force stays" in lib.read_text(lib.RUN_DIR + "/log"), what="it is said")
    equal(served(port), der("ec"), "the certificate")
    clients.end()
    equal(clients.failed, [], f"of {clients.count} clients")


@test("SIGHUP to tlsportd: it reads configuration and certificates again; what is wrong is told, and all stays as is")
def hangup():
    port, old, log = lib.new_port(), lib.new_port(), lib.RUN_DIR + "/log"
    lib.enable(old)
    path = lib.drop_in(port)
    for number in (port, old):
        lib.serve(lib.listen(number))

    def hang_up(text):
        lib.write_file(path, text)
        os.kill(lib.helper_parent(), signal.SIGHUP)
    with lib.TlsClient(old) as client:
        for kind in ("ec", "rsa"):
            hang_up(f"cert = {lib.cert_path(kind)}\nkey = {lib.key_path(kind)}\n")
            lib.wait_for(lambda kind=kind: lib.outcome(serves, port, kind), what=f"{kind} is served")
        said = len(lib.read_text(log))
        hang_up("colour = blue\n")
        lib.wait_for(lambda: "the old configuration stays in force" in lib.read_text(log)[said:], what="it is said")
        assert "unknown key 'colour'" in lib.read_text(log)[said:], "the log has no reason"
        for number, kind in ((port, "rsa"), (old, "ec")):
            equal(served(number), der(kind), "the certificate")
        equal(client.read_exactly(len(lib.MARKER)), lib.MARKER, "on a connection from before")


def serves(port, kind):
    try:
        return served(port) == der(kind)
    except ssl.SSLError:
        return False


HOOK = lib.TOP + "/scripts/deploy-hook"


def hook(*words, **environment):
    return lib.run(HOOK, *words, check=False, env={
        **os.environ, "PATH": f"{os.path.dirname(lib.CTL)}:{os.environ['PATH']}", **environment})


@test("the deploy hook as lego and acme.sh call it ends when the renewed certificate is served; without one, and for a "
      "file of no port, it says why it cannot")
def hooks():
    port, directory = certificates("hooks", "ec", "rsa", "ec")
    cert = directory + "/now/cert"
    for number, kind, words, variables in (
            (2, "rsa", (), {"LEGO_CERT_DOMAIN": "acme.test", "LEGO_CERT_PATH": cert,
                            "LEGO_CERT_KEY_PATH": directory + "/now/key"}),
            (3, "ec", (cert,), {"CERT_FULLCHAIN_PATH": cert, "Le_Domain": "acme.test"})):
        by_rename(directory, number)
        done = hook(*words, **variables)
        equal((done.returncode, done.stderr), (0, b""), f"status and words of the hook, {words} {variables}")
        equal(served(port), der(kind), "the certificate")
    done = hook()
    equal((done.returncode, done.stderr[:6]), (2, b"usage:"), "without a certificate")
    done = hook(lib.cert_path("rsa"))
    equal(done.returncode, 1, "with a file of no port")
    assert b"no port has cert" in done.stderr, done.stderr


class Acme:
    """A certificate authority, and certbot as its client, for one name."""

    def __init__(self, directory, name):
        self.directory, self.name = directory, name
        with open("/etc/hosts", "a", encoding="ascii") as f:
            f.write(f"127.0.0.1 {name}\n")
        lib.make_certificate(directory + "/ca.pem", directory + "/ca.key", "ec", "localhost", "DNS:localhost")
        lib.write_file(directory + "/pebble.json", json.dumps({"pebble": {
            "listenAddress": "127.0.0.1:14000", "managementListenAddress": "127.0.0.1:15000",
            "certificate": directory + "/ca.pem", "privateKey": directory + "/ca.key",
            "httpPort": 5002, "tlsPort": 5001}}))
        lib.Tool("env", "PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=0",
                 "pebble", "-config", directory + "/pebble.json")
        lib.wait_for(lambda: lib.outcome(self.connects), 60, "the certificate authority listens")

    @staticmethod
    def connects():
        with lib.TcpClient(14000):
            return True

    def certbot(self, *words, **environment):
        where = [word for name in ("config", "work", "logs") for word in (f"--{name}-dir", f"{self.directory}/{name}")]
        done = lib.run("certbot", *words, "--non-interactive", *where, check=False, timeout=120,
                       env={**os.environ, "REQUESTS_CA_BUNDLE": self.directory + "/ca.pem", **environment})
        text = (done.stdout + done.stderr).decode()
        equal(done.returncode, 0, text)
        return text

    def live(self, file):
        return f"{self.directory}/config/live/{self.name}/{file}.pem"


def acme():
    directory, port = f"{lib.WORK}/acme", lib.new_port()
    shutil.rmtree(directory, ignore_errors=True)
    os.makedirs(directory)
    lib.defer(shutil.rmtree, directory)
    authority = Acme(directory, "acme.test")
    authority.certbot("certonly", "--standalone", "--http-01-port", "5002", "-d", "acme.test", "--agree-tos",
                      "--register-unsafely-without-email", "--server", "https://localhost:14000/dir")
    lib.ctl("enable", port, "--cert", authority.live("fullchain"), "--key", authority.live("privkey"))
    lib.defer(lib.ctl, "disable", port, check=False)
    listener = lib.listen(port)
    with lib.TlsClient(port) as old:
        conn = listener.accept()[0]
        lib.defer(conn.close)
        first = old.tls.getpeercert(binary_form=True)
        lib.serve(listener)
        renewed = authority.certbot("renew", "--force-renewal", "--no-random-sleep-on-renew", "--deploy-hook", HOOK,
                                    PATH=f"{os.path.dirname(lib.CTL)}:{os.environ['PATH']}")
        assert "deploy-hook: " not in renewed and "ran with error" not in renewed, renewed
        new = served(port)
        assert new != first, "the first certificate is still served"
        equal(new, ssl.PEM_cert_to_DER_cert(lib.read_text(authority.live("fullchain")).split("-----END")[0] +
                                            "-----END CERTIFICATE-----\n"), "what is served")
        lib.echo_to(old, [conn])
    lib.write_file(authority.live("privkey"), "junk\n")
    lib.write_file(authority.live("fullchain"), lib.read_text(lib.cert_path("other")))
    done = hook(authority.live("fullchain"))
    equal(done.returncode, 1, "of the hook, with a broken key")
    assert b"is not served" in done.stderr, done.stderr


if lib.HOST_ROOT:  # another release's guest has neither pebble nor certbot
    test("certbot renews at a certificate authority of ACME: the new one is served, an old connection goes on; its hook "
         "sees to it", timeout=400)(acme)
