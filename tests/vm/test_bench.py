# SPDX-License-Identifier: GPL-2.0-or-later
"""tlsport-bench runs here, measures what it says, and catches wrong bytes.  No figure is looked at."""
import json
import os
import sys

import lib
from lib import SLOW, TOP, WORK, defer, equal, run, test

BENCH = TOP + "/bench/tlsport-bench"
# The tool, with an object that is not what its clients expect.
DAMAGED = """
import sys
sys.dont_write_bytecode = True
sys.path.insert(0, sys.argv[1])
from tlsport_bench import main, site
make = site.Site.make_object
def damaged(self, size):
    make(self, size)
    with open(f"{self.www}/{size}", "r+b") as file:
        file.seek(size - 1)
        last = file.read(1)[0]
        file.seek(size - 1)
        file.write(bytes([last ^ 1]))
    site.Site.make_object = make
site.Site.make_object = damaged
sys.exit(main.main(sys.argv[2:]))
"""


def options(name, *more):
    """And where the result will be."""
    path = f"{WORK}/{name}.json"
    os.makedirs(WORK, exist_ok=True)
    defer(lambda: os.path.exists(path) and os.unlink(path))
    return path, ["--rounds", "1", "--duration", str(0.3 * SLOW), "--warm-up", "0.1", "--idle", "0", "--no-sample",
                  "-o", path, *more]


@test("tlsport-bench: plain TCP and the TLS port, 100 B and 1 MiB, and a report of it")
def two_engines():
    path, words = options("bench", "--engines", "plain,tlsport", "--profile", "smoke")
    run(sys.executable, BENCH, *words)
    with open(path, encoding="utf-8") as file:
        document = json.load(file)
    equal(document["topology"]["label"], "loopback", "where it measured")
    for entry in document["cases"]:
        equal(sorted(entry["engines"]), ["plain", "tlsport"], f"measured, {entry['label']}; {entry['left_out']}")
        for name, (result,) in entry["engines"].items():
            assert result["load"]["received"] > 0, f"{name}, {entry['label']}: nothing came"
            equal(sum(result["load"]["failures"].values()), 0, f"failures, {name}: {result['load']['first_failure']}")
            assert result["figures"]["cpu_server_side_per_byte"] > 0, f"{name}: no processor time"
        equal(entry["engines"]["tlsport"][0]["modes"], {"tx": "sw", "rx": "sw"}, "who encrypts")
        assert entry["engines"]["tlsport"][0]["figures"]["cpu_helper_per_request"] is not None
    page = path.replace(".json", ".html")
    defer(os.unlink, page)
    run(sys.executable, BENCH, "report", path, "-o", page)
    assert "tlsport software" in lib.read_text(page)
    lib.note(f"AES-GCM's floor: {document['floor']}")


@test("tlsport-bench: one wrong byte in a MiB fails the run")
def wrong_byte():
    _, words = options("wrong", "--engines", "tlsport", "--size", "1M", "--connections", "1")
    done = run(sys.executable, "-c", DAMAGED, TOP + "/bench", *words, check=False)
    equal(done.returncode, 1, "status")
    assert b"WRONG DATA: tlsport software" in done.stderr, done.stderr.decode()[-500:]
