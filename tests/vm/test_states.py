# SPDX-License-Identifier: GPL-2.0-or-later
"""The life of a connection as the table of Documentation/design.rst has it: a test a row, that brings a connection into
the state of each column, lets the event of the row happen and holds what comes of it against the cell.

The document is the list of the tests: a row without an event here fails, as does an event without a row."""
import contextlib
import errno
import json
import os
import re
import signal
import socket
import struct

import lib
from lib import equal, u8, u32

HEADER, TABLE = lib.simple_table(lib.section(lib.DESIGN, "Life of a connection"))
STATES = ("HELLO", "HANDSHAKE", "READY", "OPEN", "CLOSING", "REFUSED")
CELLS = {row[0]: dict(zip(HEADER[1:], row[1:])) for row in TABLE}
# How one that has gone on is ended after its cell
BY_ITSELF = {"HELLO": "peer_reset", "HANDSHAKE": "peer_reset", "READY": "closed", "OPEN": "closed",
             "CLOSING": "closed", "REFUSED": "handshake_refused"}
TIMEOUT = 1000 * lib.SLOW

events = {}


def event(name, *only, half=False, versions=(), policy=(), together=False):
    """What happens in a row.  only: in these states, -- elsewhere; half: in a handshake also behind half a record;
    versions: with keys in each of these; together: all cells wait at the same time."""
    def register(function):
        function.only, function.half, function.policy, function.together = only or STATES, half, policy, together
        function.versions = versions or ((lib.VERSION13, lib.VERSION12)[len(events) % 2],)
        events[name] = function
        return function
    return register


BOTH = {"versions": (lib.VERSION13, lib.VERSION12)}


# What the peer does

@event("part of a record", **BOTH)
def part(c):
    c.client.sendall(b"\x17\3\3")


@event("whole records", **BOTH)
def whole(c):
    c.send_record(lib.TYPE_DATA, b"data")


@event("no record", **BOTH)
def no_record(c):
    c.client.sendall(b"\x17\4\3\0\x10" + bytes(16))


@event("over-long record", **BOTH)
def over_long(c):
    c.client.sendall(b"\x17\3\3\x50\0" + bytes(16))


@event("forged record", **BOTH)
def forged(c):
    c.send_record(lib.TYPE_DATA, b"data", key=b"x")


@event("padding alone, TLS 1.3", versions=(lib.VERSION13,))
def padding(c):
    c.send_record(0, bytes(100))


@event("fatal alert", **BOTH)
def fatal_alert(c):
    c.send_record(lib.TYPE_ALERT, b"\2\x28")


@event("user_canceled", **BOTH)
def user_canceled(c):
    c.send_record(lib.TYPE_ALERT, b"\1\x5a")


@event("close_notify", **BOTH)
def close_notify(c):
    c.send_record(lib.TYPE_ALERT, b"\1\0")


@event("KeyUpdate, TLS 1.3", versions=(lib.VERSION13,))
def key_update(c):
    c.send_record(lib.TYPE_HANDSHAKE, b"\x18\0\0\1\1")


@event("ClientHello, TLS 1.2", versions=(lib.VERSION12,))
def renegotiation(c):
    c.send_record(lib.TYPE_HANDSHAKE, b"\1\0\0\x20" + b"h" * 32)


@event("other handshake message", **BOTH)
def other_message(c):
    c.send_record(lib.TYPE_HANDSHAKE, b"\x14\0\0\x0c" + b"f" * 12)


@event("256 KiB of records", **BOTH)
def many_records(c):
    """Where they are not read, as many as there is room for."""
    c.settles = c.base in ("CLOSING", "REFUSED")
    c.client.settimeout(20 * lib.SLOW if c.settles else 0)
    with contextlib.suppress(OSError):
        for _ in range(20):
            c.send_record(lib.TYPE_DATA, bytes(16000))


@event("close_notify and FIN", **BOTH)
def orderly_end(c):
    close_notify(c)
    c.fin()


@event("FIN alone, strict", half=True, **BOTH)
def fin_strict(c):
    c.fin()


@event("FIN alone, tolerate", half=True, policy=(u8(lib.PORT_TRUNCATION, 1),), **BOTH)
def fin_tolerate(c):
    c.fin()


@event("RST", half=True, **BOTH)
def reset(c):
    lib.reset(c.client)


@event("takes all, no FIN", "CLOSING")
def takes_all(c):
    while c.client.recv(65536):
        pass


# What the helper does

def ask(c):
    """In the handshake an answer is due."""
    if c.base in ("HELLO", "HANDSHAKE"):
        c.ask()


@event("CONTINUE")
def proceed(c):
    ask(c)
    return c.proceed()


@event("CONTINUE, keys", **BOTH)
def proceed_keys(c):
    ask(c)
    return c.give_keys()


@event("CONTINUE, too long")
def proceed_too_long(c):
    ask(c)
    return c.proceed(consumed=len(lib.FIRST_RECORD) + 1)


@event("CONTINUE, nothing used")
def proceed_nothing_used(c):
    ask(c)
    return c.proceed(consumed=0)


@event("CONTINUE, unfit keys")
def proceed_unfit_keys(c):
    ask(c)
    return c.give_keys(tx=lib.traffic_keys(lib.VERSION12 + lib.VERSION13 - c.version))


@event("CONTINUE, lost page")
def proceed_lost_page(c):
    ask(c)
    equal(c.worker.ask(lib.WORKER_SET, lib.u64(lib.WORKER_SCRATCH, 4096)), (0, ""), "a page that is not mapped")
    return c.give_keys()


@event("FAIL")
def fail(c):
    ask(c)
    return c.refuse()


@event("FAIL, too long")
def fail_too_long(c):
    ask(c)
    return c.refuse(consumed=len(lib.FIRST_RECORD) + 1)


def both_answers(c, worker):
    said = c.proceed(worker=worker)
    equal(c.refuse(worker=worker), said, "FAIL, after CONTINUE")
    return said


@event("answer unasked")
def unasked(c):
    return both_answers(c, c.worker)


@event("answer of another")
def of_another(c):
    ask(c)
    return both_answers(c, c.new_worker())


@event("worker drains")
def drains(c):
    equal(c.worker.ask(lib.WORKER_SET, lib.attribute(lib.WORKER_DRAIN)), (0, ""), "drain")
    c.other = c.new_worker()
    if c.base in ("HELLO", "HANDSHAKE"):
        c.client.sendall(lib.FIRST_RECORD)


@event("worker dies")
def dies(c):
    ask(c)
    c.worker.close()
    c.other = c.new_worker()


# What the application does

@event("accept()")
def accept(c):
    return lib.outcome(c.accept)


@event("shutdown(SHUT_WR)", "OPEN", **BOTH)
def shutdown(c):
    c.conn.shutdown(socket.SHUT_WR)


@event("shutdown(SHUT_WR), FIN", "OPEN", policy=(u8(lib.PORT_TRUNCATION, 1),), **BOTH)
def shutdown_both(c):
    c.conn.shutdown(socket.SHUT_WR)
    while c.client.recv(65536):
        pass
    c.fin()


@event("close()", "OPEN", **BOTH)
def close(c):
    c.fill()
    c.conn.close()


@event("close(), SO_LINGER 0", "OPEN", **BOTH)
def close_at_once(c):
    c.conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    c.conn.close()


@event("listener is closed", half=True)
def listener_closed(c):
    c.listener.close()


@event("listener is shut down", half=True)
def listener_shut_down(c):
    c.listener.shutdown(socket.SHUT_RD)


@event("SIGKILL", half=True)
def killed(c):
    """A child has the application's sockets."""
    if c.base == "OPEN":
        c.fill()
    child = os.fork()
    if child == 0:
        try:
            signal.pause()
        finally:
            os._exit(1)
    c.listener.close()
    if c.conn:
        c.conn.close()
    equal(c.state(), c.base, "the state before SIGKILL")
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


# What the administrator and the clock do

@event("PORT_DEL", half=True)
def port_del(c):
    c.world.del_port(c.port)
    c.port_is_there = False


@event("PORT_DEL, PORT_SET", half=True)
def port_del_and_set(c):
    port_del(c)
    c.world.set_port(c.port)


@event("a handshake too many", half=True, policy=(u32(lib.PORT_MAX_HANDSHAKES, 1),))
def too_many(c):
    def others():
        return [found for found in c.dump() if lib.number(found[lib.CONN_ID]) != c.id]
    client = c.connect()
    lib.wait_for(others, what="the new one is there")
    lib.reset(client)
    lib.wait_for(lambda: not others(), what="the new one is gone")
    c.extra["peer_reset"] += 1


@event("rmmod", half=True)
def rmmod(c):
    c.held = lib.module_references()
    return "held" if lib.delete_module() in (errno.EBUSY, errno.EAGAIN) else None


@event("deadline", half=True, policy=(u32(lib.PORT_TIMEOUT, TIMEOUT),), together=True)
def deadline(c):
    """It has passed when a younger handshake has met it."""
    if c.base in ("READY", "OPEN"):
        c.connect()
        c.extra["handshake_timeout"] += 1
        lib.wait_for(lambda: c.ended() == c.extra, what="a younger one meets the deadline")


# The walk

def check(c, state, row, said):
    """What came of the event is what the cell of the state says.  said: what it returned."""
    cell = row[state]
    what, _, more = cell.partition(", ")
    names = lib.reasons()
    if what == "ends":
        c.wait_gone()
        c.end(BY_ITSELF[c.base])
    elif what in names:
        equal(said, None, "the answer")
        c.wait_gone()
        c.end(what)
    elif what.startswith("-E") and more:
        equal((said, c.state()), (what, None), "the answer, the state")
        c.end(more)
    elif what == "queued":
        c.settle()
        equal((said, c.state()), (None, "READY"), "the answer, the state")
        c.accept()
        check(c, "OPEN", row, said)
    else:
        goes_on(c, state, what, more, said)
        c.end(more if more in names else BY_ITSELF[c.state()])


def goes_on(c, state, what, more, said):
    answered = what.startswith("-E") or what in ("EAGAIN", "held")
    after = what[3:] if what.startswith("-> ") else state
    assert answered or what.startswith("-> ") or what in ("stays", "followed", "upcall", "data", "EOF", "ECONNRESET"), \
        f"no outcome is called {what!r}"
    equal(said, what if answered else None, "the answer")
    c.settle()
    equal(c.state(), after, "the state")
    if what in ("data", "EOF", "ECONNRESET"):
        equal(lib.wait_for(c.read, what="recv() returns"), what, "recv()")
    elif after == "OPEN":
        equal(c.read(), None, "recv()")
    if what == "upcall":
        shown = len(c.asked(c.other if more == "another" else c.worker))
        assert 0 < shown <= lib.DATA_MAX, f"bytes of the upcall: {shown}"
    if c.port_is_there:
        if what == "followed":
            lib.wait_for(lambda: c.stat(lib.STATS_KEY_UPDATES) == 1, what="the KeyUpdate is counted")
        equal(c.stat(lib.STATS_KEY_UPDATES), int(what == "followed"), "KeyUpdates")
        upcalls = c.upcalls + (what == "upcall")
        lib.wait_for(lambda: c.stat(lib.STATS_UPCALLS) == upcalls, what=lambda: f"upcalls: {upcalls}")
    equal(c.state(), after, "the state, in the end")


def lives(function):
    """(state, version, half) of the connections of a row."""
    for state in function.only:
        for version in function.versions if state in ("READY", "OPEN", "CLOSING") else function.versions[:1]:
            yield state, version, False
        if function.half and state in ("HELLO", "HANDSHAKE"):
            yield state, function.versions[0], True


def cell(world, name, life, worker):
    """Stops twice: the connection is in its state; the event has happened."""
    function, row = events[name], CELLS[name]
    c = lib.Life(world, *life, function.policy, worker)
    try:
        yield
        said = function(c)
        yield
        check(c, c.base, row, said)
    finally:
        c.close()


def walk(name):
    function, row = events[name], CELLS[name]
    empty = {state for state in STATES if row[state] == "--"}
    equal(empty, set(STATES) - set(function.only), f"{name}: the states where it cannot be")
    world, errors = lib.World(), []
    all_lives = list(lives(function))
    worker = lib.Worker() if function.together else None
    for batch in [all_lives] if function.together else [[life] for life in all_lives]:
        cells = [cell(world, name, life, worker) for life in batch]
        for _step in range(3):
            for (state, version, half), steps in zip(batch, cells):
                try:
                    next(steps, None)
                except (AssertionError, OSError) as error:
                    errors.append(f"{state}{' behind half a record' * half}, version {version:#x}: "
                                  f"{row[state]!r}, but {error!r}")
    if worker:
        worker.close()
    assert not errors, "\n".join([name, *errors])
    lib.note(f"{len(all_lives)} connections")


def make_row(name):
    def row_test():
        if name == "deadline":
            lib.linger_timeout(10)
        assert name in CELLS, "the document has no such row"
        assert name in events, "the document has a row that nothing here checks"
        walk(name)
    row_test.__name__ = re.sub(r"\W+", "_", name).strip("_").lower()
    said = "; ".join(f"{state} {what}" for state, what in CELLS.get(name, {}).items() if what != "--")
    lib.test(f"{name}: {said}", timeout=300, core=name in ("CONTINUE, keys", "RST", "PORT_DEL"))(row_test)


for row_name in dict.fromkeys([*CELLS, *events]):
    make_row(row_name)


@lib.test("the table of the document has a column for each state, and each reason is in it or under it")
def document():
    equal(tuple(HEADER[1:]), STATES, "columns")
    equal(len(CELLS), len(TABLE), "rows of different names")
    text = lib.section(lib.DESIGN, "Life of a connection")
    unnamed = [name for name in lib.reasons()[1:] if not re.search(rf"\b{name}\b", text)]
    equal(unnamed, [], "reasons that the section does not name")


@lib.test("tlsportctl conns shows each state by its name, CLOSING after an alert as well")
def shown():
    world = lib.World()
    worker = lib.Worker()
    lib.defer(worker.close)
    there = [lib.Life(world, state, worker=worker) for state in STATES]
    states = {c["port"]: c["state"] for c in json.loads(lib.ctl("conns", "--json").out)["connections"]}
    for c in there:
        lib.defer(c.close)
    equal([states.get(c.port) for c in there[:-1]], [state.lower() for state in STATES[:-1]], "states")
    assert states.get(there[-1].port) in ("closing", None), states  # it ends after two seconds
