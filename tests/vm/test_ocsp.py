# SPDX-License-Identifier: GPL-2.0-or-later
"""OCSP responses that go with the certificate: of a file, and of a responder that is asked."""
import json
import os
import shutil
import subprocess

import lib
from lib import equal, test

DIRECTORY = f"{lib.WORK}/ocsp"
CERT, KEY, CA, CA_KEY, INDEX = (f"{DIRECTORY}/{name}" for name in ("cert.pem", "cert.key", "ca.pem", "ca.key", "index"))
NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


def issue(responder):
    """An authority, a certificate that names its responder, and the list that openssl ocsp answers from."""
    lib.run("openssl", "req", "-x509", *NEW_KEY, "-keyout", CA_KEY, "-out", CA, "-days", "30", "-subj", "/CN=authority")
    lib.run("openssl", "req", *NEW_KEY, "-keyout", KEY, "-out", f"{DIRECTORY}/request", "-subj", "/CN=localhost")
    with open(f"{DIRECTORY}/extensions", "w", encoding="ascii") as file:
        file.write(f"authorityInfoAccess = OCSP;URI:{responder}\nsubjectAltName = DNS:localhost\n")
    lib.run("openssl", "x509", "-req", "-in", f"{DIRECTORY}/request", "-CA", CA, "-CAkey", CA_KEY, "-CAcreateserial",
            "-days", "20", "-extfile", f"{DIRECTORY}/extensions", "-out", CERT)
    serial = lib.run("openssl", "x509", "-in", CERT, "-noout", "-serial").stdout.decode().strip().split("=")[1]
    with open(CERT, "a", encoding="ascii") as file:
        file.write(lib.read_text(CA))
    with open(INDEX, "w", encoding="ascii") as file:
        file.write(f"V\t491231235959Z\t\t{serial}\tunknown\t/CN=localhost\n")


AUTHORITY = ("openssl", "ocsp", "-index", INDEX, "-CA", CA, "-rsigner", CA, "-rkey", CA_KEY, "-ndays", "7")


def stapled(port, *words):
    """What s_client says of the response."""
    done = lib.run("openssl", "s_client", "-status", "-verify_return_error", "-CAfile", CA, "-servername", "localhost",
                   "-connect", f"127.0.0.1:{port}", *words)
    return b"OCSP Response Status: successful" in done.stdout and b"Cert Status: good" in done.stdout


def told(port):
    return json.loads(lib.ctl("status", port, "--json").out)["ports"][0]["certificate"]["ocsp"]


def both(port, wanted):
    for version in ("-tls1_2", "-tls1_3"):
        equal(stapled(port, version), wanted, version)


@test("an OCSP response goes with the certificate: of a file that comes and goes, and of a responder that is asked")
def responses():
    port, responder = lib.new_port(), lib.new_port()
    shutil.rmtree(DIRECTORY, ignore_errors=True)
    os.makedirs(DIRECTORY)
    lib.defer(shutil.rmtree, DIRECTORY)
    issue(f"http://127.0.0.1:{responder}/")
    lib.ctl("enable", port, "--cert", CERT, "--key", KEY)
    lib.defer(lib.ctl, "disable", port, check=False)
    lib.serve(lib.listen(port))
    both(port, False)
    lib.run("openssl", "ocsp", "-issuer", CA, "-cert", CERT, "-no_nonce", "-reqout", f"{DIRECTORY}/question")
    lib.run(*AUTHORITY, "-reqin", f"{DIRECTORY}/question", "-respout", f"{DIRECTORY}/cert.ocsp")
    lib.wait_for(lambda: told(port)["until"], 10, "the file is taken")
    both(port, True)
    os.unlink(f"{DIRECTORY}/cert.ocsp")
    lib.wait_for(lambda: not told(port)["until"], 10, "the file is gone")
    both(port, False)
    answers = subprocess.Popen([*AUTHORITY, "-port", str(responder)], stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    lib.defer(lambda: (answers.kill(), answers.wait()))
    lib.wait_for(lambda: not lib.run("openssl", "ocsp", "-issuer", CA, "-cert", CERT, "-CAfile", CA, "-url",
                                     f"http://127.0.0.1:{responder}/", check=False).returncode, 15, "the responder answers")
    lib.ctl("enable", port, "--ocsp", "fetch")
    lib.wait_for(lambda: told(port)["until"], 15, lambda: f"it is fetched: {told(port)}")
    both(port, True)
