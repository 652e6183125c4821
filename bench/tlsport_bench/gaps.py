# SPDX-License-Identifier: GPL-2.0-or-later
"""What two runs leave that no figures can be compared of: missing, failed, cut short, or with too few rounds."""
from .base import is_not_installed
from .engine import ENGINES

ROUNDS_LEAST = 2  # one of a kind says nothing of how far it varies
SAME_RATE = 0.02


def vanished(after, case, engine):
    """(verdict, why) of an engine that the second run has no rounds of; None: nothing that counts."""
    why = after.left_out(case, engine)
    if why is None:
        return "missing", "is not in AFTER, which was not asked for it or ended before"
    return None if is_not_installed(why) else ("worse", f"is not measured any more: {why}")


def incomparable(before, after, case, engine):
    """(verdict, why) of one that both have, whose figures are not to be compared; None: they are."""
    old, new = before.failures(case, engine), after.failures(case, engine)
    if old or new:
        return "better" if not new else "worse" if not old else "same", f"requests that failed: {old} -> {new}"
    old, new = before.rate(case, engine), after.rate(case, engine)
    if old and new and abs(new / old - 1) > SAME_RATE:
        return "same", f"was asked at {old:.0f} and {new:.0f} requests/s: not compared, give --rate"
    old, new = before.rounds(case, engine), after.rounds(case, engine)
    if min(old, new) < ROUNDS_LEAST:
        return "unsure", f"too few rounds to judge: {old} and {new}, {ROUNDS_LEAST} of both are the least"
    return None


def lost(before, after):
    """(case, engine, verdict, why) of what BEFORE has and what is not to be compared; the engine is None for all of a
    case."""
    for case in filter(before.engines, before.cases):
        if case not in after.cases:
            yield case, None, "missing", "the case is not in AFTER"
            continue
        for engine in before.engines(case):
            found = incomparable(before, after, case, engine) if after.rounds(case, engine) else \
                vanished(after, case, engine)
            if found:
                yield case, engine, *found


def ended(before, after):
    """(case, engine, verdict, why) of engines that did some rounds and then no more; these are compared still."""
    for case in before.cases:
        for engine in before.engines(case):
            old, new = before.left_out(case, engine), after.left_out(case, engine)
            if (old or new) and after.rounds(case, engine):
                yield (case, engine, "same" if old and new else "worse" if new else "better",
                       f"ended after {before.rounds(case, engine)} and {after.rounds(case, engine)} rounds: "
                       f"{old or 'did not'} -> {new or 'did not'}")


def not_installed(before, after):
    """Of engines that one of the machines has not: a line each, for nothing got worse."""
    for side, other, name in ((before, after, "BEFORE"), (after, before, "AFTER")):
        for engine in ENGINES:
            cases = [case for case in side.cases if is_not_installed(side.left_out(case, engine) or "")
                     and other.rounds(case, engine)]
            if cases:
                yield f"{other.label(engine)} is not compared, for it was not installed in {name}: " \
                      f"{side.left_out(cases[0], engine)}"


def cut_short(result):
    """(case, engine) of what the run was to do more rounds of than it did, and gives no reason for."""
    wanted = result.document["configuration"]["rounds"]
    return [(case, engine) for case in result.cases for engine in result.engines_wanted()
            if result.rounds(case, engine) < wanted and result.left_out(case, engine) is None]


def incomplete(result, name):
    """In words; empty: it did all that it was to do."""
    cut = cut_short(result)
    if cut:
        asked = len(result.cases) * len(result.engines_wanted())
        return f"{name} ended before all was measured: of {asked} engines in cases {len(cut)} have fewer rounds than " \
               f"the {result.document['configuration']['rounds']} they were to have"
    if not result.document.get("complete", True):
        return f"{name} ended before all was measured, but has all rounds"
    return ""
