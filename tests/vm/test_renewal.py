# SPDX-License-Identifier: GPL-2.0-or-later
"""Certificates that are replaced while connections come."""
import os
import shutil
import ssl
import threading
import time

import lib
from lib import test, equal


def der(kind):
    return ssl.PEM_cert_to_DER_cert(lib.read_text(lib.cert_path(kind)))


class Clients:
    """One after the other, until the end; those that failed."""

    def __init__(self, port):
        self.port, self.count, self.failed, self.stop = port, 0, [], threading.Event()
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(2)]
        for thread in self.threads:
            thread.start()
        lib.defer(self.end)

    def run(self):
        while not self.stop.is_set():
            try:
                lib.greeting(self.port)
            except Exception as error:  # pylint: disable=broad-except
                self.failed.append(repr(error))
            self.count += 1

    def end(self):
        self.stop.set()
        for thread in self.threads:
            thread.join()


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
    clients = Clients(port)

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
