# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line."""
import argparse
import os
import sys

from . import compare, load, machine, report, run
from .base import Failure
from .case import BASE, DIMENSIONS, PROFILES
from .engine import ENGINES
from .site import parse_cpus

USAGE = """tlsport-bench [run] [TOPOLOGY] [OPTION]...         measure, and write a JSON
       tlsport-bench report JSON... -o REPORT.html         one page with plots; --csv FILE
       tlsport-bench compare BEFORE.json AFTER.json        what got worse or better; status 1: worse, or missing
       tlsport-bench client [--listen ADDRESS:PORT | --stdio]   the load generator for a run on another machine
       tlsport-bench list                                  engines, dimensions and profiles"""


class Parser(argparse.ArgumentParser):
    def error(self, message):
        raise Failure(f"{message} (--help)")


def positive(text):
    value = float(text)
    if not 0 < value < 1e7:
        raise ValueError
    return value


def count(text):
    value = int(text)
    if value < 0:
        raise ValueError
    return value


def some(text):
    value = count(text)
    if not value:
        raise ValueError
    return value


for function, name in ((positive, "number above 0"), (count, "count"), (some, "count above 0")):
    function.__name__ = name  # argparse says "invalid NAME value"


def add_run(commands):
    parser = commands.add_parser("run", usage=USAGE.split("\n", maxsplit=1)[0])
    parser.set_defaults(function=run.main)
    where = parser.add_argument_group("topologies").add_mutually_exclusive_group()
    for name, text in (("loopback", "client and server on the loopback device (default)"),
                       ("netns", "a veth pair between two network namespaces"),
                       ("nicsim", "a NIC that is a module (tests/nicsim): exact, not fast")):
        where.add_argument("--" + name, dest="topology", action="store_const", const=name, help=text)
    where.add_argument("--dev", metavar="ETH", help="a network card; the client is another machine")
    parser.set_defaults(topology="loopback")
    parser.add_argument("--peer", metavar="HOST[:PORT]", help="with --dev: where 'tlsport-bench client' listens")
    parser.add_argument("--client", metavar="COMMAND",
                        help="or how to start it: 'ssh HOST tlsport-bench client --stdio'")
    parser.add_argument("--address", help="with --dev: where the client finds the server (the device's first)")
    what = parser.add_argument_group("the matrix", "--profile, or lists of values: every combination is a case")
    what.add_argument("--profile", choices=PROFILES, default="standard")
    for name, allowed in DIMENSIONS.items():
        what.add_argument("--" + name.replace("_", "-"), metavar="A,B",
                          help=f"{'|'.join(allowed) if allowed else 'numbers'} ({getattr(BASE, name)})")
    what.add_argument("--engines", metavar="A,B", help=", ".join(ENGINES))
    parser.add_argument("-o", "--output", metavar="JSON", default="tlsport-bench.json")
    parser.add_argument("--rounds", type=some, default=5)
    parser.add_argument("--duration", type=positive, default=5.0, metavar="SECONDS", help="of a round")
    parser.add_argument("--warm-up", type=positive, default=1.0, metavar="SECONDS")
    parser.add_argument("--limit", type=positive, default=0, metavar="SECONDS", help="of all; rounds take 0.7 of it")
    parser.add_argument("--until", type=float, metavar="TIME", help="a limit, in seconds since 1970")
    parser.add_argument("--idle", type=count, default=500, metavar="N",
                        help="connections of the memory measurement; 0: none")
    parser.add_argument("--no-sample", dest="sample", action="store_false", help="no round with perf's samples")
    parser.add_argument("--no-floor", dest="floor", action="store_false")
    parser.add_argument("--generator", choices=("load", "wrk", "h2load"), default="load", help="ours checks payloads")
    parser.add_argument("--server-cpus", metavar="LIST")
    parser.add_argument("--client-cpus", metavar="LIST")
    parser.add_argument("--port", type=some, default=9400, help="the first of some dozens that are used")


def client(options):
    cpus = parse_cpus(options.cpus) if options.cpus else load.cpus_of_client()
    facts = {**machine.system(), "place": machine.place()}
    if options.stdio:
        load.serve(sys.stdin, sys.stdout, cpus, facts)
        return 0
    load.listen(options.listen, cpus, facts)
    return 0


def add_client(commands):
    parser = commands.add_parser("client")
    parser.set_defaults(function=client)
    parser.add_argument("--listen", metavar="ADDRESS:PORT", default=f"0.0.0.0:{load.CLIENT_PORT}")
    parser.add_argument("--stdio", action="store_true")
    parser.add_argument("--cpus", metavar="LIST")


def add_readers(commands):
    parser = commands.add_parser("report")
    parser.set_defaults(function=report.main)
    parser.add_argument("json", nargs="+")
    parser.add_argument("-o", "--output", metavar="HTML", default="tlsport-bench.html")
    parser.add_argument("--csv", metavar="FILE")
    parser = commands.add_parser("compare")
    parser.set_defaults(function=compare.main)
    parser.add_argument("before")
    parser.add_argument("after")
    parser.add_argument("--threshold", type=positive, default=3.0, metavar="PERCENT",
                        help="smaller differences are none")
    parser.add_argument("--all", action="store_true", help="show also what did not change")


def show_list(_):
    print("engines")
    for engine in ENGINES.values():
        label = engine.label or "tlsport, records encrypted by the device"
        print(f"  {engine.name:12} {label} ({', '.join(engine.ways)})")
    print("dimensions")
    for name, allowed in DIMENSIONS.items():
        print(f"  --{name.replace('_', '-'):12} {' '.join(allowed) if allowed else 'numbers'}")
    for name, cases in PROFILES.items():
        print(f"profile {name}: {len(cases)} cases")
        for case in cases if len(cases) <= 40 else []:
            print(f"  {case.label()}")
    return 0


def parse(argv):
    if not argv or argv[0].startswith("-") and argv[0] not in ("-h", "--help"):
        argv = ["run", *argv]
    parser = Parser(prog="tlsport-bench", usage=USAGE)
    commands = parser.add_subparsers(required=True, parser_class=Parser)
    add_run(commands)
    add_client(commands)
    add_readers(commands)
    commands.add_parser("list").set_defaults(function=show_list)
    return parser.parse_args(argv)


def main(argv=None):
    try:
        options = parse(sys.argv[1:] if argv is None else argv)
        status = options.function(options)
        sys.stdout.flush()
        return status
    except Failure as failure:
        print(f"tlsport-bench: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("tlsport-bench: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
