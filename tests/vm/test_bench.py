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
    return path, ["--rounds", "1", "--duration", str(0.3 * SLOW), "--warm-up", "0.1", "--no-sample", "-o", path,
                  *(() if "--idle" in more else ("--idle", "0")), *more]


def measured(*words):
    """The result of a run, in which everything that was received was right; and its file."""
    path, words = options("bench", *words)
    run(sys.executable, BENCH, *words, timeout=200)
    with open(path, encoding="utf-8") as file:
        document = json.load(file)
    for entry in document["cases"]:
        for name, (result,) in entry["engines"].items():
            moved = result["load"]["sent" if entry["case"]["direction"] == "upload" else "received"]
            assert moved > 0, f"{name}, {entry['label']}: nothing came"
            equal(sum(result["load"]["failures"].values()), 0, f"failures, {name}: {result['load']['first_failure']}")
            assert result["figures"]["cpu_server_side_per_request"] > 0, f"{name}: no processor time"
    return document, path


@test("tlsport-bench: plain TCP and the TLS port, 100 B and 1 MiB, idle connections, the floor, what was measured on, and a "
      "report of it")
def two_engines():
    document, path = measured("--engines", "plain,tlsport", "--profile", "smoke", "--idle", "100")
    equal(document["topology"]["label"], "loopback", "where it measured")
    for entry in document["cases"]:
        equal(sorted(entry["engines"]), ["plain", "tlsport"], f"measured, {entry['label']}; {entry['left_out']}")
        for name, (result,) in entry["engines"].items():
            assert result["figures"]["cpu_server_side_per_byte"] > 0, f"{name}: no processor time"
        equal(entry["engines"]["tlsport"][0]["modes"], {"tx": "sw", "rx": "sw"}, "who encrypts")
        assert entry["engines"]["tlsport"][0]["figures"]["cpu_helper_per_request"] is not None
    idle = document["idle"]
    assert idle["tlsport"]["slab"] > 0 and "TCP" in idle["plain"]["objects"], f"bytes of an idle connection: {idle}"
    assert idle["tlsport"]["objects"]["tlsport_conn"] > 500, f"bytes of an idle connection: {idle['tlsport']}"
    floor = document["floor"]
    assert floor.get("why_not") and not lib.HOST_ROOT or min(floor["aes128"]["median"], floor["aes256"]["median"]) > 0, \
        f"AES-GCM's floor: {floor}"
    equal(document["machine"]["kernel"], os.uname().release, "the kernel that it names")
    assert {"nginx", "openssl"} <= document["machine"]["versions"].keys(), f"programs that it names: {document['machine']}"
    page = path.replace(".json", ".html")
    defer(os.unlink, page)
    run(sys.executable, BENCH, "report", path, "-o", page)
    assert "tlsport software" in lib.read_text(page)
    lib.note(f"AES-GCM's floor: {document['floor']}")


# Of those that it may leave out.
REASONS = ("is not installed", "has no kTLS")


@test("tlsport-bench: every other engine is measured, or it says why not: downloads and uploads, both versions", timeout=240,
      long=True)
def other_engines():
    document, _ = measured("--engines", "openssl,ktls,haproxy,stunnel,hitch,wolfssl", "--size", "16384", "--connections", "2",
                           "--tls", "1.2,1.3", "--direction", "download,upload")
    equal(len(document["cases"]), 4, "cases")
    found = set()
    for entry in document["cases"]:
        found.update(entry["engines"])
        for name, why in entry["left_out"].items():
            assert any(reason in why for reason in REASONS), f"{name}, {entry['label']}: {why}"
    wanted = {"openssl", "wolfssl"} | ({"ktls", "haproxy", "stunnel", "hitch"} if lib.HOST_ROOT else set())
    assert wanted <= found, f"measured: {sorted(found)}, not {sorted(wanted - found)}"
    lib.note(f"measured: {' '.join(sorted(found))}")


def one_case(*words, engines=("plain", "tlsport")):
    """{engine: result}"""
    document, _ = measured("--engines", ",".join(engines), "--connections", "2", *words)
    equal(len(document["cases"]), 1, f"cases, {words}")
    entry, = document["cases"]
    equal(entry["left_out"], {}, f"left out, {words}")
    return {name: result for name, (result,) in entry["engines"].items()}


@test("tlsport-bench: a handshake a request, full and resumed; each way to send; KeyUpdates in the mix; an open loop; slow "
      "readers; wrk", timeout=300, long=True)
def dimensions():
    for handshake in ("resumed", "full"):
        load = one_case("--requests", "one", "--size", "100", "--handshake", handshake)["tlsport"]["load"]
        assert load[handshake] > 0, f"no such handshake: {load}"
    for sending in ("splice", "send"):
        one_case("--sending", sending, "--size", "16384")
    load = one_case("--key-update", "2", "--size", "16384")["tlsport"]["load"]
    assert load["key_updates"] > 0, f"no KeyUpdate: {load}"
    one_case("--rate", "20", "--size", "100")
    for name, result in one_case("--pace", "100k", "--size", "16384").items():
        load = result["load"]
        # of each of two connections; a twentieth of a second more may have come, and what it takes at once
        most = 2 * 102400 * (load["elapsed"] + 0.2)
        assert load["received"] <= most, f"{name}: {load['received']} bytes in {load['elapsed']} s, {most:.0f} at most"
    if lib.HOST_ROOT:
        one_case("--generator", "wrk", "--size", "16384")


@test("tlsport-bench: between two namespaces with loss and reordering, and with the NIC that is a module", timeout=240, long=True)
def topologies():
    one_case("--netns", "--loss", "1", "--delay", "1", "--reorder", "5", "--size", "16384")
    modes = one_case("--nicsim", "--tls", "1.2", "--size", "100000", engines=("tlsport-nic",))["tlsport-nic"]["modes"]
    equal(modes["tx"], "nic", f"who encrypts: {modes}")


@test("tlsport-bench: one wrong byte in a MiB fails the run")
def wrong_byte():
    _, words = options("wrong", "--engines", "tlsport", "--size", "1M", "--connections", "1")
    done = run(sys.executable, "-c", DAMAGED, TOP + "/bench", *words, check=False)
    equal(done.returncode, 1, "status")
    assert b"WRONG DATA: tlsport software" in done.stderr, done.stderr.decode()[-500:]
