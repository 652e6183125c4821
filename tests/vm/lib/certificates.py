# SPDX-License-Identifier: GPL-2.0-or-later
"""Certificates, made once a run."""
import os

from .harness import WORK, run


def cert_path(name):
    return f"{WORK}/{name}.pem"


def key_path(name):
    return f"{WORK}/{name}.key"


def make_certificates():
    os.makedirs(WORK, exist_ok=True)
    os.chmod(WORK, 0o755)
    ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    san = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1"]
    for name, kind in (("ec", ec), ("other", ec), ("rsa", ["-newkey", "rsa:2048"])):
        run("openssl", "req", "-x509", *kind, "-nodes", "-keyout", key_path(name), "-out", cert_path(name),
            "-days", "30", *san)
    run("openssl", "req", "-new", *ec, "-nodes", "-keyout", key_path("expired"), "-out", f"{WORK}/expired.csr",
        "-subj", "/CN=localhost")
    run("openssl", "x509", "-req", "-in", f"{WORK}/expired.csr", "-signkey", key_path("expired"),
        "-out", cert_path("expired"), "-days", "-1")
