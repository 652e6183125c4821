#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Unit tests of tlsport-bench: statistics, cases, what it reads of perf, report and comparison.  TAP."""
import contextlib
import csv
import io
import itertools
import json
import math
import os
import random
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from unittest import mock
from xml.etree import ElementTree

sys.dont_write_bytecode = True
TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
sys.path.insert(0, TOP + "/bench")
# pylint: disable=wrong-import-position
from tap import near, run_all, test  # noqa: E402
from tlsport_bench import base, case, compare, engine, floor, load, machine, main, measure, perf, record  # noqa: E402
from tlsport_bench import product, report, result, run, shares, site, stats  # noqa: E402
from tlsport_bench.base import Failure, Unavailable, parse_size, show_size  # noqa: E402
from tlsport_bench import round as rounds_of  # noqa: E402
from tlsport_bench.round import Rounds, figures  # noqa: E402
from tlsport_bench.topology import Device  # noqa: E402


def refused(words, function, *args):
    try:
        function(*args)
    except Failure as failure:
        assert words in str(failure) and "\n" not in str(failure), f"says: {failure}"
        return
    raise AssertionError(f"not refused: {args}")


@test("a percentile is the least value that so many percent do not exceed")
def percentiles():
    histogram = [[value, 1] for value in range(1, 1001)]
    for percent, wanted in ((50, 500), (99, 990), (99.9, 999), (100, 1000)):
        assert stats.percentile(histogram, percent) == wanted, percent
    assert stats.percentile([[5, 999], [7, 1]], 99.9) == 5
    assert stats.percentile([[5, 998], [7, 2]], 99.9) == 7
    assert stats.percentile([], 50) is None


@test("histograms are merged by value")
def merged():
    assert stats.merge([[[1, 2], [5, 1]], [[5, 3], [2, 1]]]) == [(1, 2), (2, 1), (5, 4)]


@test("the ratio of rounds in turn has no part in what drifts, and its interval is Student's")
def paired():
    base = [100, 200, 400]
    near(stats.paired_ratio([110, 220, 440], base)[0], 1.1)
    middle, low, high = stats.paired_ratio([110, 220, 440], base)
    near(low, middle), near(high, middle)
    middle, low, high = stats.paired_ratio([math.exp(0.1), math.exp(0.2), math.exp(0.3)], [1, 1, 1])
    near(math.log(middle), 0.2)
    near(math.log(high), 0.2 + 4.303 * 0.1 / math.sqrt(3))
    near(math.log(low), 0.2 - 4.303 * 0.1 / math.sqrt(3))
    assert stats.paired_ratio([2], [1]) == (2.0, 0.0, math.inf)
    assert stats.paired_ratio([None], [1]) is None


@test("the ratio of two runs is Welch's")
def unpaired():
    middle, low, high = stats.unpaired_ratio([math.e ** x for x in (1, 2, 3)], [math.e ** x for x in (0, 1, 2)])
    near(math.log(middle), 1)
    near(math.log(high), 1 + stats.quantile_t(4) * math.sqrt(2 / 3))
    assert low < 1 < middle < high
    assert stats.unpaired_ratio([], [1]) is None
    near(stats.unpaired_ratio([3, 3], [2, 2])[1], 1.5)


@test("few degrees of freedom make wide intervals")
def quantiles():
    found = [stats.quantile_t(n) for n in range(0, 100)]
    assert found == sorted(found, reverse=True) and found[0] == math.inf and found[1] == 12.706 and found[99] == 2.0


@test("sizes are read as they are written")
def sizes():
    for text, size in (("100", 100), ("16k", 16384), ("1MiB", 1 << 20), ("2G", 2 << 30)):
        assert parse_size(text) == size
        assert parse_size(show_size(size).replace(" ", "")) == size
    for text in ("", "x", "-1", "1.5M", "1kM", "k", "1X"):
        refused("is no size", parse_size, text)


@test("a matrix is every combination of what is given, without those that there cannot be")
def matrices():
    cases = case.chosen("quick", {"tls": "1.2,1.3", "key_update": "0,16", "size": "100"}, False)
    assert len(cases) == 3 and not [c for c in cases if c.tls == "1.2" and c.key_update]
    refused("is none of", case.chosen, "quick", {"tls": "1.1"}, False)
    refused("no number", case.chosen, "quick", {"connections": "0"}, False)
    refused("no number", case.chosen, "quick", {"loss": "101"}, True)
    refused("no number", case.chosen, "quick", {"rate": "nan"}, False)
    refused("want --netns", case.chosen, "quick", {"loss": "1"}, False)
    refused("TLS 1.3's", case.chosen, "quick", {"tls": "1.2", "key_update": "1"}, False)
    assert any(c.loss for c in case.chosen("standard", {}, True))
    assert not any(c.loss for c in case.chosen("standard", {}, False))
    for cases in case.PROFILES.values():
        labels = [c.label() for c in cases]
        assert cases and len(set(labels)) == len(labels), "two cases of one label"


@test("where a device encrypts, a profile has what it can: TLS 1.2, down and up, and first of all")
def cases_of_a_nic():
    for profile in ("quick", "standard", "smoke"):
        usual, more = case.chosen(profile, {}, False), case.chosen(profile, {}, False, True)
        assert len(set(more)) == len(more) and set(usual) < set(more), profile
        assert [c.tls for c in more[:len(more) - len(usual)]] == ["1.2"] * (len(more) - len(usual))
        assert profile == "smoke" or any(c.direction == "upload" for c in more if c.tls == "1.2")
        assert not [c for c in usual if c.tls == "1.2"] or profile == "standard"
    assert case.chosen("quick", {"size": "100"}, False, True) == case.chosen("quick", {"size": "100"}, False)


@test("the memory of idle connections is that of TLS 1.2 where a device is to have them, for each engine")
def idle_of_a_nic():
    for engines, tls in ((["tlsport", "tlsport-nic"], "1.2"), (["tlsport"], "1.3")):
        with tempfile.TemporaryDirectory() as directory:
            found, _ = a_run(directory)
            found.options.idle, found.engines = 10, engines
            found.site.engine.return_value.pids.return_value = {"server": [os.getpid()]}
            with mock.patch.object(run.memory, "settle"), mock.patch.object(run.memory, "objects", return_value={}), \
                    contextlib.redirect_stderr(io.StringIO()):
                found.idle()
        asked = [call.args[1].tls for call in found.rounds.hold.call_args_list]
        assert asked == [tls] * 2 * len(engines), asked
        assert [entry.get("tls") for entry in found.idle_found.values()] == [tls] * len(engines), found.idle_found


@test("bad command lines get one line")
def command_lines():
    for words in (["--foo"], ["run", "--rounds", "0"], ["--duration", "nan"], ["--loopback", "--netns"], ["nonsense"],
                  ["report"], ["compare", "x"], ["--server-cpus", "999"], ["--engines", "foo"], ["--dev", "lo"]):
        out = io.StringIO()
        with contextlib.redirect_stderr(out):
            status = main.main(words)
        text = out.getvalue()
        assert status == 1 and text.count("\n") == 1 and text.startswith("tlsport-bench: "), f"{words}: {text}"


@test("an engine that the device is to help does not run over loopback, and loopback is no NIC")
def no_loopback_nic():
    out = io.StringIO()
    with contextlib.redirect_stderr(out):
        assert main.main(["--loopback", "--engines", "tlsport-nic"]) == 1
    assert "loopback is no NIC" in out.getvalue() or "be root" in out.getvalue(), out.getvalue()


@test("counts of perf are read, and what it cannot count is left out")
def perf_stat():
    found = perf.parse_stat("# x\n12;;cycles;1;100\n<not supported>;;instructions;0;0\n"
                            "1.5;MiB;uncore_imc/data_reads/;1;100\n")
    assert found == {"cycles": (12.0, ""), "uncore_imc/data_reads/": (1.5, "MiB")}, found
    assert perf.to_bytes(1.5, "MiB") == 1.5 * (1 << 20) and perf.to_bytes(2, "") == 128


@test("counters of memory controllers are found by what their drivers tell")
def perf_memory():
    with tempfile.TemporaryDirectory() as root:
        assert not perf.memory_events(root)
        for path in ("uncore_imc_0/events/cas_count_read", "uncore_imc_0/events/cas_count_write",
                     "uncore_imc_1/events/cas_count_read", "cpu/events/cycles", "amd_umc_3/format/rdwrmask",
                     "amd_umc_4/format/event"):
            os.makedirs(os.path.dirname(f"{root}/{path}"), exist_ok=True)
            with open(f"{root}/{path}", "w", encoding="ascii"):
                pass
        assert perf.memory_events(root) == {
            "read": ["uncore_imc_0/cas_count_read/", "uncore_imc_1/cas_count_read/",
                     "amd_umc_3/event=0x0a,rdwrmask=0x1,name=amd_umc_3_read/"],
            "write": ["uncore_imc_0/cas_count_write/", "amd_umc_3/event=0x0a,rdwrmask=0x2,name=amd_umc_3_write/"]}
        assert [perf.printed(event) for event in ("a/b/", "c/d=1,name=c_read/")] == ["a/b/", "c_read"]


SAMPLES = """nginx
\tffffffff81 gcm_enc_128+0x12 ([aesni_intel])
\tffffffff82 tls_push_record+0x1 ([tls])

nginx
\tffffffff81 tcp_sendmsg ([kernel.kallsyms])

nginx
\tffffffff81 tcp_v4_rcv ([kernel.kallsyms])
\tffffffff82 __do_softirq+0x3 ([kernel.kallsyms])

tlsportd
\t7f0000000000 wc_ecc_sign (/usr/lib/libwolfssl.so.35)

load
\t7f0000000000 aesni_gcm_decrypt (/usr/lib/libcrypto.so.3)

swapper
\tffffffff81 default_idle ([kernel.kallsyms])

swapper
\tffffffff81 net_rx_action ([kernel.kallsyms])
\tffffffff82 handle_softirqs ([kernel.kallsyms])

kworker/0:1
\tffffffff81 worker_thread ([kernel.kallsyms])

sshd
\t7f0000000000 main (/usr/sbin/sshd)

tlsportd
\t7f0000000000 sp_256_mul_4 (/usr/sbin/tlsportd)

wolfserve
\t7f0000000000 L_AES_GCM_encrypt_avx2_ghash_128 (/x/build/bench/wolfserve)

wolfserve
\t7f0000000000 send_answer (/x/build/bench/wolfserve)
"""


@test("samples are told apart: cryptography, softirq, whose the rest is; the client's cryptography is the client's")
def perf_samples():
    found = perf.parse_samples(SAMPLES, {"nginx": "server", "wolfserve": "server", "tlsportd": "helper",
                                              "load": "load"})
    assert found == {"crypto": 4, "server": 2, "softirq": 2, "client": 1, "kernel": 1, "others": 1}, found


@test("what wrk and h2load print is read")
def tools():
    text = "  Latency Distribution\n     50%  210.00us\n     75%    1.00ms\n     90%    2.00ms\n" \
           "     99%    3.50ms\n  Non-2xx or 3xx responses: 3\nRequests/sec:   1000.50\n"
    found = load.Tool.parse("wrk", text, 100, 2)
    assert found["requests"] == 2001 and found["received"] == 200100 and found["failures"]["status"] == 3
    near(found["percentiles"]["99"], 3.5e6)
    text = "finished in 1.00s, 123.00 req/s, 1MB/s\n" \
           "requests: 123 total, 123 started, 123 done, 122 succeeded, 1 failed, 0 errored\n"
    found = load.Tool.parse("h2load", text, 10, 1)
    assert found["requests"] == 123 and found["failures"]["status"] == 1
    refused("h2load", load.Tool.parse, "h2load", "no", 10, 1)


@test("the client on another machine runs nothing but the load generator")
def elsewhere():
    asked = io.StringIO('{"run": ["--connect", "1.2.3.4:5; reboot"], "number": 0}\n{"run": [7], "number": 1}\n'
                        '{"stop": 5}\n')
    said = io.StringIO()
    load.serve(asked, said, [0], {"kernel": "x"})
    lines = [json.loads(line) for line in said.getvalue().splitlines()]
    assert lines[0] == {"threads": 1, "facts": {"kernel": "x"}, "protocol": load.PROTOCOL}
    assert lines[1:] == [{"of": n, "error": "these are no arguments of a load generator"} for n in (0, 1)]


@contextlib.contextmanager
def a_client(script):
    """Remote, and at the other end of a socket pair what "client" does, with that script as the load generator."""
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as stack:
        path = directory + "/load"
        with open(path, "w", encoding="ascii") as file:
            file.write("#!/bin/sh\n" + script)
        os.chmod(path, 0o755)
        stack.enter_context(mock.patch.object(load, "built", lambda *_: path))
        ours, theirs = (stack.enter_context(sock) for sock in socket.socketpair())
        for sock in (ours, theirs):
            sock.settimeout(20)  # that what hangs fails
        reader, writer = theirs.makefile("r"), theirs.makefile("w")
        thread = threading.Thread(target=load.serve, args=(reader, writer, load.cpus_of_client(), {}), daemon=True)
        thread.start()
        remote = load.Remote("there", ours.makefile("r"), ours.makefile("w"))
        try:
            yield remote
        finally:
            remote.close()
            ours.shutdown(socket.SHUT_RDWR)
            thread.join(20)
            assert not thread.is_alive(), "the client does not end with its connection"


@test("two load generators on another machine hold their connections side by side, and end when they are told")
def two_holds():
    with a_client('echo "ready $1"\nexec cat\n') as remote:
        held = [remote.run([word]) for word in ("--one", "--two")]
        lines = [loaded.lines() for loaded in held]
        assert [next(of) for of in reversed(lines)] == ["ready --two", "ready --one"]
        for loaded in held:
            loaded.close()
            assert loaded.ended
        assert next(remote.run(["--three"]).lines()) == "ready --three"


@test("a client that has gone, or whose machine has, is told in a line and ends the run")
def gone_client():
    with a_client("exit 0\n") as remote:
        remote.reader = mock.Mock(readline=mock.Mock(side_effect=ConnectionResetError(104, "Connection reset by peer")))
        refused("has gone: there", lambda: next(remote.run(["--x"]).lines()))
        remote.reader = io.StringIO("")
        refused("has gone: there", lambda: next(remote.run(["--x"]).lines()))
        remote.writer = mock.Mock(write=mock.Mock(side_effect=BrokenPipeError(32, "Broken pipe")))
        refused("has gone: there: Broken pipe", remote.run, ["--x"])
        remote.writer = mock.Mock()


@test("a client of another version is refused")
def other_version():
    refused("another version", load.Remote, "there", io.StringIO('{"threads": 1, "facts": {}}\n'), io.StringIO())
    refused("no tlsport-bench client", load.Remote, "there", io.StringIO(""), io.StringIO())


@test("every argument of a case can be sent to another machine")
def arguments_elsewhere():
    for some in case.chosen("standard", {}, True) + case.chosen("quick", {"pace": "1M", "rate": "10.5"}, False):
        words = load.arguments(some, "fd00::1", 9400, True, 1.5, 0.3, 2, some.rate)
        assert all(load.OPTION.fullmatch(word) for word in words), words


@test("a stored upload is compared byte by byte")
def stored():
    with tempfile.TemporaryDirectory() as directory:
        path = directory + "/x"
        site.write_pattern(path, 200000)
        assert site.is_pattern(path, 200000) is None
        assert "200000 bytes, not 200001" in site.is_pattern(path, 200001)
        with open(path, "r+b") as file:
            file.seek(150000)
            byte = file.read(1)[0]
            file.seek(150000)
            file.write(bytes([byte ^ 1]))
        assert "wrong bytes" in site.is_pattern(path, 200000)


@test("uploads are kept for the comparison, as many as there is room for, and all that are kept are compared")
def kept_uploads():
    for size, connections, wanted in ((1 << 20, 8, 8), (16384, 8, 64), (100, 512, 1), (1 << 30, 512, 1), (0, 1, 512)):
        assert load.uploads_kept(case.Case(size=size, connections=connections)) == wanted, (size, connections)
    with tempfile.TemporaryDirectory() as directory:
        for name, size in (("0-0", 1000), ("0-1", 999), ("1-0", 1000)):
            site.write_pattern(f"{directory}/{name}", size)
        found, number = rounds_of.wrong_uploads(mock.Mock(uploads=lambda: directory), 1000)
        assert found == ["upload 0-1: 999 bytes, not 1000"] and number == 3 and not os.listdir(directory)
    assert rounds_of.wrong_uploads(mock.Mock(uploads=lambda: None), 1000) == ([], 0)


def a_round(speed, cpu, size=1 << 20, latency=1000000, failures=0, busy=0.5):  # pylint: disable=R0913,R0917
    """What a round leaves, so many bytes in a second."""
    owners = {"server": cpu * 0.5, "proxy": 0.0, "helper": 0.0, "kernel": cpu * 0.4, "interrupts": cpu * 0.1,
              "load": 0.1, "others": 0.2}
    found = {"load": {"elapsed": 1.0, "cpu": busy * 2, "threads": 2, "requests": speed // size, "received": speed,
                      "sent": 0, "full": 0, "resumed": 0, "latency": [[latency, 99], [latency * 10, 1]],
                      "first_byte": [[latency, 100]], "handshake": [], "percentiles": {},
                      "failures": {"payload": failures}, "first_failure": ""},
             "cost": {"cpu": owners, "busy": cpu + 0.2, "softirq": {"all": 0.01, "server_cpus": 0.01},
                      "switches": {"all": 1000}, "tls": {"TlsTxSw": 3}, "tcp": {}, "device": {}, "seconds": 1.0},
             "perf": {"all": {"cycles": 3e9, "instructions": 4e9, "sched:sched_wakeup": 500,
                              "memory": {"read": speed * 2.0}, "seconds": 1.0}}}
    found["figures"] = figures(case.Case(size=size), found)
    return found


def a_result(directory, name, factor=1.0, cpu=1.0, kernel="6.1.0", kind="loopback", **dimensions):
    """A file as a run leaves it: plain, OpenSSL, kTLS and tlsport at 1 MiB."""
    speeds = {"plain": 800 << 20, "openssl": 400 << 20, "ktls": 500 << 20, "tlsport": int((600 << 20) * factor)}
    rounds = {engine: [a_round(int(speed * (1 + wobble)), cpu) for wobble in (0, 0.01, -0.01, 0.005)]
              for engine, speed in speeds.items()}
    processor = {"model": "A <b>", "count": 2, "flags": ["aes"], "governor": None, "emulated": True,
                 "hypervisor": True}
    document = {
        "format": record.FORMAT, "tool": "tlsport-bench", "time": "2026-01-02T03:04:05+00:00",
        "topology": {"kind": kind, "label": kind, "address": "127.0.0.1", "device": None},
        "machine": {"kernel": kernel, "arch": "x", "build": "#1", "commit": "abc", "processor": processor,
                    "distribution": "D", "crypto_driver": "generic-gcm-aesni", "command_line": "quiet",
                    "device": None, "versions": {"nginx": "1.22"}},
        "perf": {"why_not": "", "events": ["cycles"]},
        "labels": {"plain": "plain TCP", "tlsport": "tlsport software"},
        "floor": {"aes256": {"median": 0.5, "low": 0.4, "high": 0.6},
                  "aes128": {"median": 0.4, "low": 0.4, "high": 0.4}},
        "configuration": {"profile": "quick", "given": {}, "rounds": 4, "duration": 1.0, "warm_up": 0.3,
                          "server_cpus": [0], "client_cpus": [1], "generator": "load", "certificate": "P-256",
                          "group": "X25519"},
        "cases": [{"case": {"size": 1 << 20, **dimensions}, "label": "x", "engines": rounds,
                   "left_out": {"hitch": "not <installed>"},
                   "samples": {"tlsport": {"samples": 10, "crypto": 0.6, "server": 0.4}, "plain": None}}],
        "idle": {"tlsport": {"slab": 5000.0, "percpu": 0.0, "private": 12.0, "resident": 13.0,
                             "objects": {"TCP": 2000}}, "hitch": {"why_not": "no"}}}
    path = f"{directory}/{name}.json"
    with open(path, "w", encoding="utf-8") as file:
        json.dump(document, file)
    return path


def a_run(directory, *errors):
    """A run of two cases whose rounds are made up, until the first of the errors; and its record."""
    options = main.parse(["--rounds", "3", "--idle", "0", "-o", directory + "/run.json"])
    turns = iter([a_round(100 << 20, 0.5) for _ in range(5)] + list(errors))
    fake = mock.Mock(absent={}, connections=1)
    rounds = mock.Mock(run=mock.Mock(side_effect=turns), perf=mock.Mock(sampler=None))
    fake.engine.return_value.label = "plain TCP"
    cases = [case.Case(size=size) for size in (100, 1 << 20)]
    found = run.Run(options, fake, rounds, ["plain"], cases)
    with contextlib.redirect_stderr(io.StringIO()):
        head = json.loads(read(a_result(directory, "head")))
        return found, record.Record(options.output, {name: head[name] for name in head if name not in (
            "format", "tool", "labels", "cases", "idle")})


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


@test("what was measured is written, whatever ends the run: a signal, a client that has gone, an error nobody foresaw")
def written():
    for error in (SystemExit(143), KeyboardInterrupt(), load.Gone("there"), RuntimeError("x")):
        with tempfile.TemporaryDirectory() as directory:
            found, kept = a_run(directory, error)
            with contextlib.redirect_stderr(io.StringIO()), contextlib.suppress(type(error)):
                run.measure_all(found, kept)
            done = result.Result(kept.path)
            assert [len(done.values(some, "plain", "failures")) for some in done.cases] == [3, 2], error
            assert not done.document["complete"] and "ended before all" in report.page([done])
            assert sorted(os.listdir(directory)) == ["head.json", "run.json"]


@test("each round is written when it has ended, and an error of a file or a process is one of that turn alone")
def rounds_written():
    with tempfile.TemporaryDirectory() as directory:
        found, kept = a_run(directory, OSError(5, "broken"))
        counts, write = [], kept.write
        kept.write = lambda *words: (write(*words), counts.append(sum(
            len(entry["engines"]["plain"]) for entry in json.loads(read(kept.path))["cases"])))
        with contextlib.redirect_stderr(io.StringIO()):
            run.measure_all(found, kept)
        assert counts == [2, 4, 5, 5], counts
        assert json.loads(read(kept.path))["complete"]
        assert "broken" in json.loads(read(kept.path))["cases"][1]["left_out"]["plain"]


@test("a limit ends a run also in the middle of a round, with what was measured")
def limits():
    with tempfile.TemporaryDirectory() as directory:
        found, kept = a_run(directory)
        found.options.limit = 0.5
        good = found.rounds.run.side_effect
        found.rounds.run.side_effect = lambda *words: next(good, None) or time.sleep(20)
        began, said = time.monotonic(), io.StringIO()
        with contextlib.redirect_stderr(said), mock.patch.object(found, "out_of_time", return_value=False):
            run.measure_all(found, kept)
        assert time.monotonic() - began < 10 and "are over" in said.getvalue()
        assert [len(e["engines"]["plain"]) for e in json.loads(read(kept.path))["cases"]] == [3, 2]
    with tempfile.TemporaryDirectory() as directory, contextlib.redirect_stderr(io.StringIO()):
        found, kept = a_run(directory)
        with mock.patch.object(found, "out_of_time", side_effect=[False, True]):
            run.measure_all(found, kept)
        assert not json.loads(read(kept.path))["complete"], "rounds are missing"
    options = main.parse(["--until", str(time.time() + 100), "--limit", "200"])
    run.take_limit(options)
    near(options.limit, 100, 0.1)
    refused("less than a round", run.take_limit, main.parse(["--until", str(time.time() + 3)]))
    refused("seconds ago", run.take_limit, main.parse(["--until", "1000"]))


@test("a result that cannot be written is refused before anything is measured, and an old one stays until then")
def unwritable():
    with tempfile.TemporaryDirectory() as directory:
        refused("No such file", record.Record, directory + "/no/x.json", {})
        refused("Is a directory", record.Record, directory, {})
        path = a_result(directory, "a")
        before = read(path)
        record.Record(path, {})
        with contextlib.suppress(TypeError):
            record.save(path, {"x": object()})
        assert read(path) == before
        record.save("/dev/null", {})
        assert not os.path.isfile("/dev/null")


@test("figures of a round: a part of a long answer counts as a part, and the client is not the server's side")
def round_figures():
    moved = (100 << 20) + (1 << 19)
    found = a_round(moved, 0.5)["figures"]
    near(found["bytes_per_second"], moved)
    near(found["cpu_server_side_per_byte"], 0.5e9 / moved)
    near(found["cpu_server_side_per_request"], 0.5e9 / 100.5)
    near(found["cycles_per_byte"], 3e9 / moved)
    near(found["memory_bytes_per_byte"], 2)
    near(found["wakeups_per_request"], 500 / 100.5)
    assert found["latency_p50"] == 1000000 and found["latency_p99.9"] == 10000000
    assert found["handshakes_per_second"] == 0 and found["handshake_p50"] is None


@test("what was counted for longer than what came is taken down to the same time")
def windows():
    usual = a_round(100 << 20, 0.5)
    longer = a_round(100 << 20, 1.0)
    longer["cost"].update(seconds=2.0, busy=1.4, switches={"all": 2000}, softirq={"all": 0.02})
    longer["perf"]["all"] = {name: value * 2 if name != "memory" else {"read": value["read"] * 2}
                             for name, value in longer["perf"]["all"].items()}
    longer["cost"]["cpu"].update(load=0.2, others=0.4)
    for name, value in figures(case.Case(), longer).items():
        assert value == usual["figures"][name] or math.isclose(value, usual["figures"][name]), name
    longer["load"]["unchecked"] = True
    near(figures(case.Case(), longer)["cpu_server_side_per_byte"], usual["figures"]["cpu_server_side_per_byte"] * 2)


def a_moment(clock, ran, owners, idle, softirq=(0, 0)):
    processors = {cpu: {**dict.fromkeys(measure.STATES, 0.0), "idle": idle[cpu], "softirq": softirq[cpu]}
                  for cpu in (0, 1)}
    return mock.Mock(clock=clock, ran={pid: int(seconds * 1e9) for pid, seconds in ran.items()}, owners=owners,
                     processors=processors, tcp={}, switches={}, all_switches=0)


@test("a process of which nothing is known is no part of the server's side, nor is one that ended meanwhile")
def owners():
    begin = a_moment(10, {1: 5.0, 2: 1.0, 3: 0}, {1: "server", 2: "kernel"}, (0, 0))
    end = a_moment(11, {1: 5.5, 2: 1.25, 3: 0.2, 2 ** 22 + 1: 0.05}, {1: "server"}, (0.5, 0.5))
    found = measure.between(begin, end, [0], False)["cpu"]
    near(found["server"], 0.5), near(found["kernel"], 0.25), near(found["others"], 0.25)
    near(measure.server_side(found), 0.75)
    assert not measure.is_kernel(os.getpid()) and not measure.is_kernel(2 ** 22 + 1)
    with mock.patch.object(measure, "try_read", return_value="2 (kthread) d) S 0 0 0 0 -1 2129984 0 0"):
        assert measure.is_kernel(2)


@test("interrupts on idle processors are the server's side, those on its processors where the client is here too")
def interrupts():
    begin = a_moment(10, {1: 5.0}, {1: "server"}, (0, 0))
    end = a_moment(12, {1: 6.0}, {1: "server"}, (0.6, 1.2), (0.3, 0.1))
    near(measure.between(begin, end, [0], True)["cpu"]["interrupts"], 4 - 1.8 - 1)
    found = measure.between(begin, end, [0], False)
    near(found["cpu"]["interrupts"], 1.2 * 0.75)
    near(measure.server_side(found["cpu"]), 1 + 1.2 * 0.75)
    near(found["busy"], 4 - 1.8)


@test("an engine is what its name says in the direction of the case, and with every connection of a round")
def judged():
    down, up = case.Case(tls="1.2"), case.Case(tls="1.2", direction="upload")
    nic, soft, ktls, own = engine.TlsportNic, engine.Tlsport, engine.Ktls, engine.Openssl

    def unavailable(words, function, *args):
        try:
            function(*args)
        except Unavailable as why:
            assert words and words in str(why), why
        else:
            assert not words, args
    for kind, point, modes, words in (
            (nic, down, {"tx": "nic", "rx": "sw"}, ""), (nic, up, {"tx": "nic", "rx": "nic"}, ""),
            (nic, up, {"tx": "nic", "rx": "sw"}, "does not decrypt"), (nic, down, {"tx": "sw"}, "does not encrypt"),
            (soft, up, {"tx": "sw", "rx": "nic"}, "the device decrypted"), (soft, up, {"tx": "sw", "rx": "sw"}, ""),
            (ktls, up, {"tx": "sw"}, ""), (own, up, {"tx": "sw"}, "to do it itself"), (own, up, {}, "")):
        unavailable(words, Rounds.judge, kind, point, modes)
    for kind, point, risen, words in (
            (nic, down, {"TlsTxDevice": 8, "TlsRxSw": 8}, ""), (nic, down, {"TlsTxDevice": 7, "TlsTxSw": 1}, "by 1"),
            (nic, up, {"TlsTxDevice": 8, "TlsRxDevice": 7, "TlsRxSw": 1}, "TlsRxSw"), (own, up, {"TlsTxSw": 3}, ""),
            (soft, down, {"TlsTxSw": 8, "TlsRxSw": 8}, ""), (soft, up, {"TlsTxSw": 7, "TlsRxDevice": 1}, "the device")):
        unavailable(words, Rounds.judge_all, kind, point, risen)


CRYPTO = """name         : gcm(aes)
driver       : gcm_base(ctr(aes-generic),ghash-generic)
priority     : 100

name         : gcm(aes)
driver       : generic-gcm-vaes-avx10
priority     : 800

name         : aes
driver       : aes-aesni
priority     : 900
"""


@test("a result has the device's driver, firmware and features, the cipher's driver, and the commit")
def facts():
    said = {("ethtool", "-i"): "driver: mlx5_core\nversion: 6.1.0\nfirmware-version: 22.39.1002 (MT_0)\n"
                               "bus-info: 0000:03:00.0\n",
            ("ethtool", "eth1"): "Settings for eth1:\n\tSpeed: 100000Mb/s\n",
            ("ip", "link"): "2: eth1: <UP> mtu 9000 qdisc mq\n",
            ("ethtool", "-k"): "Features for eth1:\ntls-hw-tx-offload: on\ntls-hw-rx-offload: off [fixed]\n"
                               "tcp-segmentation-offload: on\n\ttx-tcp-segmentation: on\n"}
    topology = Device("eth1", "192.0.2.1")
    topology.in_server = lambda *command, **_: said[command[:2]]
    crypto = mock.patch.object(machine, "try_read", lambda path, real=machine.try_read:
                               CRYPTO if path == "/proc/crypto" else real(path))
    with tempfile.TemporaryDirectory() as directory, crypto:
        found, kept = a_run(directory)
        kept.head["machine"] = machine.facts(topology) | {"crypto_driver": None}
        found.rounds.run.side_effect = itertools.cycle([a_round(100 << 20, 0.5)])
        with contextlib.redirect_stderr(io.StringIO()):
            run.measure_all(found, kept)
        written = json.loads(read(kept.path))["machine"]
    device = written["device"]
    assert (device["driver"], device["firmware"], device["mtu"]) == ("mlx5_core", "22.39.1002 (MT_0)", "9000"), device
    assert device["features"] == {"tls-hw-tx-offload": True, "tls-hw-rx-offload": False,
                                  "tcp-segmentation-offload": True}, device
    assert written["crypto_driver"] == "generic-gcm-vaes-avx10" and written["kernel"] == os.uname().release
    assert written["commit"] == machine.commit() and (written["commit"] or not os.path.exists(TOP + "/.git"))


def some_rounds(client=None, site_of=None, perf_of=None):
    options = main.parse(["--warm-up", "0.1", "--duration", "0.1"])
    return Rounds(site_of or mock.Mock(), client or mock.Mock(threads=1), perf_of or mock.Mock(), options, [0])


def left_behind():
    return {name for name in os.listdir(tempfile.gettempdir()) if name.startswith("tlsport-bench-")}


@test("perf and its directory go with a client that cannot be started, and with a perf that cannot")
def perf_goes():
    before = left_behind()
    stub = mock.Mock(path="/bin/sleep", why="", events=["cycles"], memory={}, sampler="cycles")
    started = []

    def count(pids):
        started.append(perf.Counter(stub, pids))
        return started[-1]

    def sample():
        started.append(perf.Sampler(stub, 1))
        return started[-1].running
    stub.counter.side_effect, stub.sample.side_effect = count, sample
    client = mock.Mock(threads=1, run=mock.Mock(side_effect=Failure("no client")))
    server = mock.Mock(port=1, tls=True, pids=lambda: {"server": [os.getpid()]})
    rounds = some_rounds(client, perf_of=stub)
    rounds.site.topology.address = "127.0.0.1"
    for function, args in ((rounds.run_load, (server, case.BASE, 0, 1)), (rounds.sample, (server, case.BASE))):
        refused("no client", function, *args)
    assert len(started) == 2 and left_behind() == before, left_behind() - before
    stub.path = "/no/perf"
    for function in (lambda: perf.Counter(stub, {}), lambda: perf.Sampler(stub, 1)):
        with contextlib.suppress(OSError):
            function()
            raise AssertionError("it was started")
    assert left_behind() == before, left_behind() - before


@test("what an engine is when it does not answer at once is asked again, on a wire without loss, and not for ever")
def probed_again():
    server = mock.Mock(sending="sendfile", kernel_tls=False, spec=["name", "sending", "kernel_tls"])
    server.name = "openssl"
    for errors, wanted in (([Failure("lost")], None), ([Failure("lost")] * 2, None), ([Failure("lost")] * 3, "lost"),
                           ([Unavailable("never")], "never")):
        rounds = some_rounds()
        rounds.look = mock.Mock(side_effect=[*errors, {}, {}])
        for _ in range(2):  # a reason stays, and so does an answer
            try:
                rounds.probe(server, case.Case(loss=5.0))
                assert not wanted, errors
            except Unavailable as why:
                assert str(why) == wanted, errors
        assert rounds.look.call_count == len(errors) + (not wanted), errors
        assert [call.args[0].loss for call in rounds.site.topology.impair.call_args_list] == [0.0, 5.0]


@test("a client on the same machine is refused with --dev, for what it asks for does not pass the device")
def same_machine():
    options = main.parse(["--dev", "eth1", "--peer", "192.0.2.1"])
    for place, words in ((machine.place(), "over lo, not over eth1"), (["x", "net:[1]"], None), (None, None)):
        client = mock.Mock(facts={"place": place})
        with mock.patch.object(run, "reach", return_value=client):
            if words:
                refused(words, run.choose_client, options, None, None, [0])
            else:
                assert run.choose_client(options, None, None, [0]) is client
        assert client.close.called == bool(words)


@test("payload that did not pass the device is told, in JSON, on the page and as the round ends: no figure of a NIC")
def passed_by():
    down, up, moved = case.BASE, case.Case(direction="upload"), {"received": 1000, "sent": 500}
    with mock.patch.object(rounds_of, "COUNTERS_LATE", 0.3):
        for point, counts, wanted in ((down, [{"rx": 9, "tx": 1100}], 0), (down, [{"rx": 5000, "tx": 140}], 960),
                                      (up, [{"rx": 600, "tx": 5}], 0), (up, [{"rx": 100, "tx": 900}], 500),
                                      (down, [{"rx": 0, "tx": 500}, {"rx": 0, "tx": 1100}], 0)):
            topology = mock.Mock(passed=mock.Mock(side_effect=counts + counts[-1:] * 9))
            assert rounds_of.passed_by(topology, {"rx": 100, "tx": 100}, point, moved) == wanted, (point, counts)
        assert rounds_of.passed_by(mock.Mock(), None, down, moved) is None
    assert "NOT OVER THE DEVICE: 960" in run.Run.describe({**a_round(1 << 20, 0.1), "passed_by": 960})
    assert Device("lo", None).passed().keys() == {"rx", "tx"} and Device("lo", None).passed()["tx"] >= 0

    def by(document):
        document["topology"].update(kind="device", label="device eth1", device="eth1")
        for entry in document["cases"][0]["engines"]["tlsport"]:
            entry["passed_by"] = 7
    with tempfile.TemporaryDirectory() as directory:
        path = changed(a_result(directory, "a"), by)
        text = report.page([result.Result(path)])
        assert text.count("In 4 rounds fewer bytes passed eth1 than came: no figure is one of a NIC") == 1
        assert "BEFORE: in 4 rounds fewer bytes" in compared(path, path)[1]


@contextlib.contextmanager
def a_product(pids):
    """Of a topology without namespaces, where a helper runs with these, and without one starts; and its commands."""
    topology = mock.Mock(server_prefix=())
    with contextlib.ExitStack() as stack, tempfile.TemporaryDirectory() as directory:
        def patch(name, value):
            return stack.enter_context(mock.patch.object(product, name, value))
        patch("built", lambda name, _: name), patch("say", mock.Mock())
        commands = patch("run", mock.Mock())
        exists = os.path.exists
        stack.enter_context(mock.patch.object(os.path, "exists", lambda path: path.startswith("/sys/") or exists(path)))
        stack.enter_context(mock.patch.object(product.Product, "pids", lambda _: pids))
        made = product.Product(topology, directory, sorted(os.sched_getaffinity(0))[:1])
        yield made, [list(call.args) for call in commands.call_args_list]


@test("the helper has a worker a processor of the server's; one that runs already is pinned there, and as before later")
def helper_pinned():
    usual = sorted(os.sched_getaffinity(0))
    with a_product([]) as (_, commands):
        words = commands[0]
        assert words[words.index("--workers") + 1] == "1" and words[:3] == ["taskset", "-c", str(usual[0])], words
    with subprocess.Popen(["sleep", "60"]) as old, subprocess.Popen(["sleep", "60"]) as new:
        try:
            pids = [old.pid]
            with a_product(pids) as (made, commands):
                assert not commands and os.sched_getaffinity(old.pid) == {usual[0]}
                os.sched_setaffinity(new.pid, usual[:1])  # as a worker that has been started anew
                pids.append(new.pid)
                made.stop()
            assert [sorted(os.sched_getaffinity(pid)) for pid in pids] == [usual, usual]
        finally:
            old.kill(), new.kill()


@test("the floor is what plain TCP costs and the cipher for the same bytes")
def floors():
    near(floor.server_seconds({"aes256": {"median": 2.0}}, "aes256", 1e-3, 1000000), 3e-3)
    assert floor.server_seconds({"why_not": "x"}, "aes256", 1e-3, 1) is None
    assert floor.server_seconds(None, "aes256", 1e-3, 1) is None
    with tempfile.TemporaryDirectory() as directory:
        found = result.Result(a_result(directory, "a"))
        point = next(iter(found.cases))
        plain = found.summary(point, "plain", "cpu_server_side_per_request")["median"]
        near(found.floor(point), plain + 0.5 * (1 << 20))


@test("a report is one page with nothing outside it; what was left out and who is not checked is in it")
def one_page():
    with tempfile.TemporaryDirectory() as directory:
        text = report.page([result.Result(a_result(directory, "a"))])
    assert not re.search(r"(src|href)=|url\(|@import|<script", text), "it points outside"
    drawings = re.findall(r"<svg viewBox.*?</svg>", text, re.S)
    assert len(drawings) >= 4, "plots are missing"
    for drawing in drawings:
        ElementTree.fromstring(drawing)
        assert "nan" not in drawing and "inf" not in drawing
    for words in ("not &lt;installed&gt;", "A &lt;b&gt;", "TlsTxSw 12", "The processor is emulated",
                  "no figure is one of a NIC", "tlsport software", "of the floor", "An idle connection", "1.200 ("):
        assert words in text, f"{words} is missing"


def row_of(page, label, head):
    """{head: cell} of the first table with that head."""
    table_of = next(text for text in re.findall("<table.*?</table>", page, re.S) if f"<th>{head}</th>" in text)
    heads = re.findall("<th>(.*?)</th>", table_of)
    return next(dict(zip(heads, cells)) for cells in (re.findall("<td>(.*?)</td>", row) for row in
                                                      re.findall("<tr>(<td>.*?)</tr>", table_of)) if cells[0] == label)


@test("server, helper, softirq and cryptography have processor time and cycles by byte and by request")
def owners_cost():
    speed, samples = 100 << 20, {"samples": 100, "crypto": 0.5, "softirq": 0.1, "server": 0.1, "others": 0.2}
    rounds = [a_round(speed, cpu) for cpu in (0.5, 0.6, 0.7)]
    found = shares.costs(samples, rounds, "cycles")
    near(found["crypto"]["cpu_per_byte"], 0.625 * 0.8e9 / speed)
    near(found["crypto"]["cpu_per_request"], 0.625 * 0.8e9 / 100)
    near(found["softirq"]["cycles_per_byte"], 0.1 * 3e9 / speed)
    near(found["server"]["cycles_per_request"], 0.1 * 3e9 / 100)
    assert found["helper"] == dict.fromkeys(found["crypto"], 0.0) and "others" not in found
    found = shares.costs(samples, rounds, "cpu-clock")
    assert found["crypto"].keys() == {"cpu_per_byte", "cpu_per_request"}, "cycles are not what was sampled"

    def sampled(document):
        document["cases"][0]["samples"]["tlsport"] = {**samples, "costs": found}
    with tempfile.TemporaryDirectory() as directory:
        page = report.page([result.Result(changed(a_result(directory, "a"), sampled))])
    assert "<td>tlsport software</td><td>crypto</td><td>50.0%</td><td>4.77</td><td>5,000</td>" in page
    assert "<td>tlsport software</td><td>helper</td>" not in page
    counted = a_round(speed, 0.5)
    counted["perf"]["helper"] = {"instructions": 1e6, "seconds": 1.0}
    counted = figures(case.Case(size=1 << 20), counted)
    near(counted["instructions_helper_per_request"], 1e4), near(counted["instructions_helper_per_byte"], 1e6 / speed)


@test("processor time has its ratio to plain TCP and to kTLS with an interval, as throughput has")
def cpu_ratios():
    with tempfile.TemporaryDirectory() as directory:
        page = report.page([result.Result(a_result(directory, "a"))])
    row = row_of(page, "tlsport software", "CPU of plain (95 %)")
    assert row["CPU of plain (95 %)"].startswith("1.333 (1.333"), row
    assert row["CPU of kTLS (95 %)"].startswith("0.833 ("), row
    assert row["of plain (95 %)"].startswith("0.750 ("), row
    assert row_of(page, "plain TCP", "CPU of plain (95 %)")["CPU of plain (95 %)"] == "1"


@test("handshakes that were to be resumed and were not are told")
def not_resumed():
    found = a_round(100 << 20, 0.5)
    found["load"].update(full=30, resumed=70)
    near(figures(case.Case(size=1 << 20), found)["resumed_part"], 0.7)
    with tempfile.TemporaryDirectory() as directory:
        path = a_result(directory, "a", requests="one", handshake="resumed")
        with open(path, encoding="utf-8") as file:
            document = json.load(file)
        for entry in document["cases"][0]["engines"]["openssl"]:
            entry["figures"]["resumed_part"] = 0.5
        for entry in document["cases"][0]["engines"]["tlsport"]:
            entry["figures"]["resumed_part"] = 1.0
        with open(path, "w", encoding="utf-8") as file:
            json.dump(document, file)
        text = report.page([result.Result(path)])
    assert text.count("were resumed") == 1 and "nginx + OpenSSL: only 50% were resumed" in text


@test("with a connection a request plain TCP's requests are called requests, and the others have a ratio to them")
def one_request():
    def one(document):
        for engine, entries in document["cases"][0]["engines"].items():
            for entry in entries:
                entry["figures"]["handshakes_per_second"] = 0 if engine == "plain" else 77.0
    with tempfile.TemporaryDirectory() as directory:
        text = report.page([result.Result(changed(a_result(directory, "a", requests="one"), one))])
    rows = {re.match("<td>(.*?)</td>", row).group(1): re.findall("<td>(.*?)</td>", row)
            for row in re.findall("<tr>(<td>.*?)</tr>", text) if "%" in row}
    heads = re.findall("<th>(.*?)</th>", next(head for head in re.findall("<tr>(<th>.*?)</tr>", text)
                                              if "handshakes/s" in head))
    at = {name: heads.index(name) for name in ("requests, 1/s", "of plain (95 %)", "handshakes/s")}
    assert [rows["plain TCP"][n] for n in at.values()] == ["801.5", "1", "–"], rows["plain TCP"]
    assert rows["tlsport software"][at["of plain (95 %)"]].startswith("0.75"), rows["tlsport software"]
    assert rows["tlsport software"][at["handshakes/s"]] == "77.00"


@test("the table for other programs has a line a figure and round")
def table():
    with tempfile.TemporaryDirectory() as directory:
        rows = list(csv.DictReader(io.StringIO(report.csv_text([result.Result(a_result(directory, "a"))]))))
    found = [row for row in rows if row["engine"] == "tlsport software" and row["figure"] == "bytes_per_second"]
    assert [row["round"] for row in found] == ["1", "2", "3", "4"] and float(found[0]["value"]) == 600 << 20
    assert found[0]["size"] == str(1 << 20) and found[0]["kernel"] == "6.1.0"


def compared(*words):
    out, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        status = main.main(["compare", *words])
    return status, out.getvalue() + errors.getvalue()


@test("a comparison finds what got worse, and better, and takes noise for neither")
def comparison():
    with tempfile.TemporaryDirectory() as directory:
        before = a_result(directory, "a")
        status, text = compared(before, a_result(directory, "b", kernel="6.12.0"))
        assert status == 0 and "0 worse, 0 better" in text and "kernel: 6.1.0 | 6.12.0" in text, text
        status, text = compared(before, a_result(directory, "c", factor=0.9))
        assert status == 1 and re.search(r"worse +tlsport software +throughput .* x 0\.900", text), text
        status, text = compared(before, a_result(directory, "d", factor=1.2))
        assert status == 0 and re.search(r"better +tlsport software +throughput", text), text
        status, text = compared(before, a_result(directory, "e", cpu=1.5))
        assert status == 1 and re.search(r"worse +tlsport software +server's side", text), text
        status, text = compared(before, a_result(directory, "f", factor=0.99))
        assert status == 0, text
        status, text = compared(before, a_result(directory, "g", kind="netns"))
        assert status == 1 and "not to be compared" in text, text


def changed(path, change):
    """The result with what change(document) does."""
    document = json.loads(read(path))
    change(document)
    with open(path, "w", encoding="utf-8") as file:
        json.dump(document, file)
    return path


@test("an engine whose requests fail, or that is not measured any more, is worse and has no ratio")
def failing():
    def fail(document):
        for entry in document["cases"][0]["engines"]["tlsport"]:
            entry["figures"]["failures"] = 3

    def leave_out(document):
        del document["cases"][0]["engines"]["tlsport"]
        document["cases"][0]["left_out"]["tlsport"] = "failed: gone"
    with tempfile.TemporaryDirectory() as directory:
        before, after = a_result(directory, "a"), changed(a_result(directory, "b", factor=1.2), fail)
        status, text = compared(before, after)
        assert status == 1 and "requests that failed: 0 -> 12" in text and "1 worse, 0 better" in text, text
        assert compared(after, before)[0] == 0 and "1 better" in compared(after, before)[1]
        page = report.page([result.Result(after)])
        assert "1.200 (" in report.page([result.Result(before)]) and "1.440 (" not in page, "it has a ratio"
        status, text = compared(before, changed(a_result(directory, "c"), leave_out))
        assert status == 1 and "is not measured any more: failed: gone" in text, text


@test("an engine that ended after some rounds, one or a case that is missing, and too few rounds are told, and the "
      "status is not 0")
def gaps_told():
    def end_early(document):
        document["cases"][0]["left_out"]["tlsport"] = "failed: x"
        del document["cases"][0]["engines"]["tlsport"][1:]

    def fail_late(document):
        document["cases"][0]["left_out"]["tlsport"] = "failed: x"
        del document["cases"][0]["engines"]["tlsport"][3:]

    def cut(document):
        document["complete"] = False
        document["configuration"]["engines"] = ["plain", "openssl", "ktls", "tlsport"]
        del document["cases"][0]["engines"]["tlsport"]

    def one_case_more(document):
        document["cases"].append({**document["cases"][0], "case": {"size": 100}})

    def few(document):
        document["configuration"]["rounds"] = 1
        for entries in document["cases"][0]["engines"].values():
            del entries[1:]

    def cut_late(document):
        document["cases"][0]["engines"]["tlsport"].pop()

    with tempfile.TemporaryDirectory() as directory:
        usual = a_result(directory, "usual")
        for before, after, status, *wanted in (
                ((), (fail_late,), 1, "worse   tlsport software", "ended after 4 and 3 rounds: did not -> failed: x",
                 "1 worse"),
                ((fail_late,), (), 0, "better  tlsport software", "ended after 3 and 4 rounds: failed: x -> did not"),
                ((fail_late,), (fail_late,), 0, "same    tlsport software", "0 worse"),
                ((), (end_early,), 1, "too few rounds to judge: 4 and 1", "1 with too few rounds"),
                ((), (cut,), 1, "missing tlsport software", "1 missing",
                 "AFTER ended before all was measured: of 4 engines in cases 1"),
                ((cut,), (), 0, "BEFORE ended before all was measured", "0 missing"),
                ((), (cut_late,), 1, "AFTER ended before all was measured", "0 worse"),
                ((one_case_more,), (), 1, "missing every engine", "the case is not in AFTER"),
                ((), (one_case_more,), 0, "0 missing"),
                ((few,), (few,), 1, "too few rounds to judge: 1 and 1", "0 worse", "4 with too few rounds")):
            paths = []
            for name, changes in (("a", before), ("b", after)):
                paths.append(a_result(directory, name) if changes else usual)
                for change in changes:
                    changed(paths[-1], change)
            found, text = compared(*paths)
            assert found == status, text
            for words in wanted:
                assert words in text, f"{words} is missing: {text}"
        done = changed(a_result(directory, "c"), lambda document: document.update(complete=False))
        status, text = compared(usual, done)
        assert status == 0 and "AFTER ended before all was measured, but has all rounds" in text, text


@test("an engine that one machine has not is told, and nothing is worse for it")
def not_installed():
    def without(document):
        del document["cases"][0]["engines"]["tlsport"]
        document["cases"][0]["left_out"]["tlsport"] = "haproxy is not installed (Debian: haproxy; scripts/deps bench)"
    with tempfile.TemporaryDirectory() as directory:
        usual, poor = a_result(directory, "a"), changed(a_result(directory, "b"), without)
        for before, after, where in ((usual, poor, "AFTER"), (poor, usual, "BEFORE")):
            status, text = compared(before, after)
            assert status == 0 and "0 worse" in text and "0 missing" in text, text
            assert f"tlsport software is not compared, for it was not installed in {where}: haproxy" in text, text
    with mock.patch.object(base.shutil, "which", return_value=None):
        try:
            base.find_program("hitch", "hitch")
        except Unavailable as why:
            assert base.is_not_installed(str(why))
        else:
            raise AssertionError("found")


@test("a client that has no time left is told: as the round ends, in a column, and in words")
def full_client():
    with tempfile.TemporaryDirectory() as directory:
        path = a_result(directory, "a")
        page = report.page([result.Result(path)])
        assert "no time left" not in page and "<th>client busy</th>" in page and "<td>50%</td>" in page

        def fill(document):
            for entry in document["cases"][0]["engines"]["tlsport"]:
                entry["figures"]["client_busy"] = 0.97
        page = report.page([result.Result(changed(path, fill))])
    assert page.count("no time left with tlsport software:") == 1 and "<td>97%</td>" in page
    done = a_round(1 << 20, 0.1, busy=0.95)
    near(done["figures"]["client_busy"], 0.95)
    assert "THE CLIENT IS THE LIMIT: 95% busy" in run.Run.describe(done)
    assert "CLIENT" not in run.Run.describe(a_round(1 << 20, 0.1))


@test("an open loop is asked alike in all rounds, and two runs that were not are not compared")
def rates():
    found = run.Run(main.parse([]), None, None, ["plain"], [])
    closed, half = case.Case(size=100), case.Case(size=100, rate=0.5)
    for speed in (1000, 3000):
        found.results[closed] = {"plain": [{"figures": {"requests_per_second": speed}}]}
        assert found.rate_of(half) == 500

    def rate(value):
        def change(document):
            for entries in document["cases"][0]["engines"].values():
                for entry in entries:
                    entry["rate"] = value
        return change
    with tempfile.TemporaryDirectory() as directory:
        before, after = (changed(a_result(directory, name, factor=factor, rate=0.5), rate(value))
                         for name, factor, value in (("a", 1, 500), ("b", 0.5, 600)))
        status, text = compared(before, after)
        assert status == 0 and "was asked at 500 and 600 requests/s" in text and "worse tls" not in text, text
        status, text = compared(before, changed(after, rate(501)))
        assert status == 1 and "was asked" not in text, text


@test("a comparison tells of other processors, durations and rounds, and is none with another generator")
def unlike_settings():
    with tempfile.TemporaryDirectory() as directory:
        before = a_result(directory, "a")

        def settings(document):
            document["configuration"].update(server_cpus=[0, 1], duration=9.0)
            document["machine"]["processor"].update(governor="performance")
        text = compared(before, changed(a_result(directory, "b"), settings))[1]
        for words in ("server cpus: [0] | [0, 1]", "duration: 1.0 | 9.0", "processors, governor: None | performance"):
            assert words in text, f"{words} is missing: {text}"
        other = changed(a_result(directory, "c"), lambda document: document["configuration"].update(generator="wrk"))
        status, text = compared(before, other)
        assert status == 1 and "one is by load, the other by wrk" in text, text


@test("of many that did not change none is called a difference because there are so many")
def many_tests():
    for t, freedom, wanted in ((12.706, 1, 0.05), (2.776, 4, 0.05), (2.776, 4.0, 0.05), (4.604, 4, 0.01),
                               (2.042, 30, 0.05), (0, 7, 1), (8.610, 4, 0.001)):
        near(stats.chance_of_t(t, freedom), wanted, 2e-3)
    assert stats.discoveries([0.04] + [0.5] * 99) == [False] * 100
    assert stats.discoveries([0.0001] + [0.5] * 99) == [True] + [False] * 99
    assert stats.discoveries([0.04, 0.05, 0.03]) == [True] * 3 and stats.discoveries([]) == []
    numbers = random.Random(3)
    called = one_by_one = 0
    for _ in range(20):
        sides = [[[math.exp(numbers.gauss(0, 0.1)) for _ in range(4)] for _ in range(100)] for _ in range(2)]
        chances = [stats.unpaired_chance(*pair) for pair in zip(*sides)]
        called += any(stats.discoveries(chances))
        one_by_one += any(chance < 0.05 for chance in chances)
    assert one_by_one >= 18 and called <= 3, (one_by_one, called)


@test("a file that is no result is refused in a line")
def no_result():
    with tempfile.TemporaryDirectory() as directory:
        path = directory + "/x"
        for text in ("", "{}", "[]", '{"tool": "tlsport-bench"}', "\0"):
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
            refused("is no result", result.Result, path)
        refused("No such file", result.Result, directory + "/y")
        with open(path, "w", encoding="utf-8") as file:
            file.write('{"tool": "tlsport-bench", "format": 99}')
        refused("format 99", result.Result, path)


@test("the verdict takes both the interval and the threshold")
def verdicts():
    speed, cost = result.BY_KEY["bytes_per_second"], result.BY_KEY["latency_p50"]
    for metric, ratio, wanted in ((speed, (0.9, 0.85, 0.95), "worse"), (speed, (0.9, 0.7, 1.1), "same"),
                                  (speed, (0.99, 0.98, 0.995), "same"), (speed, (1.2, 1.1, 1.3), "better"),
                                  (cost, (1.2, 1.1, 1.3), "worse"), (cost, (0.8, 0.7, 0.9), "better")):
        assert compare.verdict(metric, ratio, 0.03) == wanted, (metric.key, ratio)


run_all("bench")
