#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""scripts/deploy-hook with a tlsportctl that is played.  Output is TAP."""

import json
import os
import subprocess
import sys
import tempfile
import time

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
HOOK = os.path.join(ROOT, "scripts/deploy-hook")
# Each call takes the next of the answers, the last one again and again: a file of JSON, or what sh does.
PLAYED = """#!/bin/sh
[ "$1" = status ] || exit 0
cd "${0%/*}" || exit 9
n=$(($(cat count 2>/dev/null) + 1))
[ -e answer$n ] && echo $n >count || n=$((n - 1))
. ./answer$n
"""
WAIT = 10  # of the hook


def make_certificate(path):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-keyout", path + ".key", "-out", path, "-subj", "/CN=test", "-set_serial", "0x0abc"],
                   check=True, capture_output=True)


def says(helper, *ports):
    """As sh, a status with (file, serial, usable) of each port"""
    listed = [{"certificate": {"certificates": [{"cert": cert, "serial": serial, "usable": usable}]}}
              for cert, serial, usable in ports]
    return f"cat <<'END'\n{json.dumps({'helper': helper, 'ports': listed})}\nEND\n"


def run(directory, *answers):
    """(status, what it says, seconds)"""
    for name in os.listdir(directory):
        if name.startswith("answer") or name == "count":
            os.unlink(os.path.join(directory, name))
    for number, answer in enumerate(answers, 1):
        with open(f"{directory}/answer{number}", "w", encoding="utf-8") as f:
            f.write(answer)
    began = time.monotonic()
    done = subprocess.run([HOOK, f"{directory}/cert.pem"], capture_output=True, text=True, check=False,
                          env={**os.environ, "PATH": f"{directory}:{os.environ['PATH']}"})
    return done.returncode, done.stderr, time.monotonic() - began


AWAY = says(None)
SILENT = says({"error": "no answer from /run/tlsport/control: Connection timed out"})
UP = {"pid": 1}
TESTS = []


def test(function):
    TESTS.append(function)
    return function


@test
def away_for_a_moment(directory, cert):
    """tlsportd is not running at first, then does not answer, then serves the old one, then the new one"""
    status, err, took = run(directory, AWAY, SILENT, says(UP, (cert, "0123", True)), says(UP, (cert, "0abc", True)))
    return status == 0 and not err and took < WAIT / 2, (status, err, took)


@test
def no_port(directory, cert):
    """no port has the file: it is said at once"""
    status, err, took = run(directory, says(UP, (cert + "x", "0abc", True)))
    return status == 1 and err == f"deploy-hook: no port has cert = {cert}\n" and took < WAIT / 2, (status, err, took)


@test
def stays_away(directory, cert):
    """tlsportd stays away: that is the reason, when the time is over"""
    status, err, took = run(directory, AWAY)
    return (status == 1 and err == f"deploy-hook: {cert} is not served: tlsportd is not running\n"
            and WAIT - 1 < took < WAIT + 5), (status, err, took)


@test
def hangs(directory, cert):
    """tlsportd does not answer: it is waited for no longer than for all else"""
    status, err, took = run(directory, "exec sleep 60")
    return (status == 1 and err == f"deploy-hook: {cert} is not served: tlsportd does not answer\n"
            and WAIT - 1 < took < WAIT + 5), (status, err, took)


@test
def broken(directory, cert):
    """the port has no usable certificate"""
    status, err, took = run(directory, says(UP, (cert, "0123", True)), says(UP, (cert, "0abc", False)))
    return (status == 1 and err.startswith(f"deploy-hook: {cert} is not served: it is of no use; ")
            and took > WAIT - 1), (status, err, took)


@test
def fails(directory, cert):
    """tlsportctl itself fails"""
    status, err, took = run(directory, "echo 'tlsportctl: no module' >&2; exit 1")
    return (status == 1 and "no module" in err and f"does not say whether {cert} is served" in err
            and took < WAIT / 2), (status, err, took)


def main():
    print("TAP version 13")
    print(f"1..{len(TESTS)}")
    failed = 0
    for number, function in enumerate(TESTS, 1):
        with tempfile.TemporaryDirectory() as directory:
            cert = f"{directory}/cert.pem"
            make_certificate(cert)
            with open(f"{directory}/tlsportctl", "w", encoding="utf-8") as f:
                f.write(PLAYED)
            os.chmod(f"{directory}/tlsportctl", 0o755)
            good, seen = function(directory, cert)
        failed += not good
        print(f"{'ok' if good else 'not ok'} {number} - {function.__doc__}")
        if not good:
            print(f"# {seen}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
