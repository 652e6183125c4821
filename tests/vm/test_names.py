# SPDX-License-Identifier: GPL-2.0-or-later
"""Several certificates on one port, chosen by the name that the client asks for."""
import json
import os
import shutil
import socket
import ssl

import lib
from lib import equal, outcome, test

DIRECTORY = f"{lib.WORK}/names"


def connect(port, name):
    """A client that verifies name and chain, with the certificates themselves as trust; whom the certificate is for."""
    context = ssl.create_default_context()
    context.load_verify_locations(cadata="".join(
        lib.read_text(f"{DIRECTORY}/{entry}") for entry in os.listdir(DIRECTORY) if entry.endswith(".crt")))
    with socket.create_connection(("127.0.0.1", port), 30 * lib.SLOW) as sock:
        with context.wrap_socket(sock, server_hostname=name) as tls:
            equal(tls.recv(len(lib.MARKER)), lib.MARKER, "greeting")
            return dict(field[0] for field in tls.getpeercert()["subject"])["commonName"]


def add(stem, *words):
    lib.make_certificate(f"{DIRECTORY}/{stem}.crt", f"{DIRECTORY}/{stem}.key", *words)


def refused(port, name):
    try:
        return connect(port, name)
    except ssl.SSLError as error:
        return error.reason


@test("cert-dir: each client gets the certificate of its name, also one that comes later; strict-sni refuses the others")
def by_name():
    port = lib.new_port()
    shutil.rmtree(DIRECTORY, ignore_errors=True)
    os.makedirs(DIRECTORY)
    lib.defer(shutil.rmtree, DIRECTORY)
    add("one", "ec", "one", "DNS:one.example,DNS:*.one.example")
    add("two", "rsa", "two", "DNS:two.example")
    lib.ctl("enable", port, "--cert-dir", DIRECTORY)
    lib.defer(lib.ctl, "disable", port, check=False)
    lib.serve(lib.listen(port))
    for name, wanted in (("one.example", "one"), ("www.one.example", "one"), ("two.example", "two")):
        equal(connect(port, name), wanted, name)
    equal(refused(port, "three.example"), "CERTIFICATE_VERIFY_FAILED", "the first one, which is not for it")
    add("three", "ec", "three", "DNS:three.example")
    lib.wait_for(lambda: outcome(connect, port, "three.example") == "three", 10, "the new one is served")
    lib.ctl("enable", port, "--strict-sni", "on")
    equal(connect(port, "three.example"), "three", "strict")
    equal(refused(port, "four.example"), "TLSV1_UNRECOGNIZED_NAME", "strict")
    status = json.loads(lib.ctl("status", port, "--json").out)["ports"][0]["certificate"]["certificates"]
    equal([sorted(entry["names"]) for entry in status],
          [["*.one.example", "one.example"], ["three.example"], ["two.example"]], "of status")


@test("address: the port is served there, also to a listening socket of all addresses; at the others it is shut")
def by_address():
    port = lib.new_port()
    lib.enable(port, address="127.0.0.2, ::1")
    lib.serve(lib.listen(port, "::"))
    sniffer = lib.Sniffer(port)
    for host in ("127.0.0.2", "::1"):
        lib.greeting(port, host=host)
    for version, _ in lib.BOTH:
        try:
            lib.greeting(port, host="127.0.0.1", context=lib.tls_context(version))
        except ssl.SSLError as error:
            equal(error.reason, "TLSV1_ALERT_INTERNAL_ERROR", "the other address")
        else:
            raise AssertionError("the other address is served")
    equal(lib.status(port)["ended"]["no_context"], 2, "why they ended")
    sniffer.assert_absent(lib.MARKER)
    lib.ctl("enable", port, "--address", "127.0.0.1")
    lib.greeting(port)
    settings = json.loads(lib.ctl("status", port, "--json").out)["ports"][0]["certificate"]["settings"]
    equal(settings["addresses"], ["127.0.0.1"], "of status")
