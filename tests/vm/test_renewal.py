# SPDX-License-Identifier: GPL-2.0-or-later
"""Certificates that are replaced while connections come."""
import json
import os
import shutil
import ssl
import time

import lib
from lib import test, equal


def der(kind):
    return ssl.PEM_cert_to_DER_cert(lib.read_text(lib.cert_path(kind)))


def served(port):
    with lib.TlsClient(port, lib.TLS13) as client:
        return client.tls.getpeercert(binary_form=True)


def replaced(port, kind, function):
    """Returns after how many seconds the other certificate is served."""
    began = time.monotonic()
    function()
    lib.wait_for(lambda: served(port) == der(kind), 10, "the new certificate is served")
    return time.monotonic() - began


@test("a certificate is replaced, by a link and by rename: the new one is served, no client fails; a broken one: not",
      timeout=240)
def replace():
    port, directory = lib.new_port(), f"{lib.WORK}/renewal"
    shutil.rmtree(directory, ignore_errors=True)
    for kind, name in (("ec", "1"), ("rsa", "2"), ("ec", "3")):
        os.makedirs(f"{directory}/{name}")
        shutil.copy(lib.cert_path(kind), f"{directory}/{name}/cert")
        shutil.copy(lib.key_path(kind), f"{directory}/{name}/key")
    lib.defer(shutil.rmtree, directory)
    os.symlink("1", directory + "/now")
    cert, key = directory + "/now/cert", directory + "/now/key"
    lib.ctl("enable", port, "--cert", cert, "--key", key)
    lib.defer(lib.ctl, "disable", port, check=False)
    lib.serve(lib.listen(port))
    clients = lib.Clients(port)

    def link():
        os.symlink("2", directory + "/next")
        os.rename(directory + "/next", directory + "/now")

    def rename():
        for name in ("cert", "key"):
            os.rename(f"{directory}/3/{name}", f"{directory}/now/{name}")
    for kind, function in (("rsa", link), ("ec", rename)):
        before = clients.count
        seconds = replaced(port, kind, function)
        lib.note(f"{function.__name__}: {seconds:.1f} s, {clients.count - before} clients meanwhile")
    lib.write_file(cert, "junk\n")
    lib.wait_for(lambda: "the certificate in force stays" in lib.read_text(lib.RUN_DIR + "/log"), what="it is said")
    equal(served(port), der("ec"), "the certificate")
    clients.end()
    equal(clients.failed, [], f"of {clients.count} clients")


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
        hook = lib.TOP + "/scripts/deploy-hook"
        path = {"PATH": f"{os.path.dirname(lib.CTL)}:{os.environ['PATH']}"}
        renewed = authority.certbot("renew", "--force-renewal", "--no-random-sleep-on-renew", "--deploy-hook", hook,
                                    **path)
        assert "deploy-hook: " not in renewed and "ran with error" not in renewed, renewed
        new = served(port)
        assert new != first, "the first certificate is still served"
        equal(new, ssl.PEM_cert_to_DER_cert(lib.read_text(authority.live("fullchain")).split("-----END")[0] +
                                            "-----END CERTIFICATE-----\n"), "what is served")
        lib.echo_to(old, [conn])
    lib.write_file(authority.live("privkey"), "junk\n")
    lib.write_file(authority.live("fullchain"), lib.read_text(lib.cert_path("other")))
    done = lib.run(hook, authority.live("fullchain"), check=False, env={**os.environ, **path})
    equal(done.returncode, 1, "of the hook, with a broken key")
    assert b"is not served" in done.stderr, done.stderr


if lib.HOST_ROOT:  # another release's guest has neither pebble nor certbot
    test("certbot renews at a certificate authority of ACME: the new one is served, an old connection goes on; its hook "
         "sees to it", timeout=400)(acme)
