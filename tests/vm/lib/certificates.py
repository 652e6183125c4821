# SPDX-License-Identifier: GPL-2.0-or-later
"""Certificates, made once a run."""
import os

from .harness import WORK, run


def cert_path(name):
    return f"{WORK}/{name}.pem"


def key_path(name):
    return f"{WORK}/{name}.key"


def make_certificate(cert, key, kind, common_name, names):
    """Self-signed; names: a subjectAltName as openssl has it."""
    kinds = {"ec": ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"), "rsa": ("-newkey", "rsa:2048")}
    run("openssl", "req", "-x509", *kinds[kind], "-nodes", "-keyout", key, "-out", cert, "-days", "30",
        "-subj", f"/CN={common_name}", "-addext", f"subjectAltName={names}")


def make_certificates():
    os.makedirs(WORK, exist_ok=True)
    os.chmod(WORK, 0o755)
    for name, kind in (("ec", "ec"), ("other", "ec"), ("rsa", "rsa")):
        make_certificate(cert_path(name), key_path(name), kind, "localhost", "DNS:localhost,IP:127.0.0.1,IP:::1")
    expired()


def expired():
    """openssl of some versions makes none that ends before it begins."""
    template = f"{WORK}/expired.template"
    with open(template, "w") as f:
        f.write('cn = localhost\nactivation_date = "2020-01-01 00:00:00"\nexpiration_date = "2020-02-01 00:00:00"\n')
    run("certtool", "--generate-privkey", "--key-type", "ecdsa", "--curve", "secp256r1",
        "--outfile", key_path("expired"))
    run("certtool", "--generate-self-signed", "--load-privkey", key_path("expired"), "--template", template,
        "--outfile", cert_path("expired"))
