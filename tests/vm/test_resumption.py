# SPDX-License-Identifier: GPL-2.0-or-later
"""Session tickets: by any worker, on their port alone."""
import base64
import os
import shutil
import time

import lib
from lib import test, equal


def s_client(port, version, session, *words):
    done = lib.run("openssl", "s_client", "-connect", f"127.0.0.1:{port}", version, *words, session,
                   input=b"GET / HTTP/1.0\r\n\r\n", check=False)
    return done.stdout


def resume(port, version):
    session = f"{lib.WORK}/session-{port}{version}"
    tool = lib.Tool("openssl", "s_client", "-connect", f"127.0.0.1:{port}", version, "-sess_out", session)
    tool.expect(b"Verify return code")
    tool.echo(b"hello there")
    tool.type(b"Q\n")
    tool.finish()
    return session


@test("session tickets are taken again, by any worker, TLS 1.2 and 1.3; also after the helper reloaded")
def resumption():
    port = lib.new_port()
    lib.enable(port)
    lib.Server(port)
    for version in ("-tls1_3", "-tls1_2"):
        session = resume(port, version)
        for _ in range(4):
            out = s_client(port, version, session, "-sess_in")
            assert b"Reused, TLS" in out, f"{version}: {out[-400:]!r}"
    equal(lib.status(port)["stats"]["resumed"], 8, "resumed connections")
    for version, name in lib.BOTH:
        context = lib.tls_context(version)
        session = lib.echo(port, context=context)
        lib.ctl("reload")
        with lib.TlsClient(port, context=context, session=session) as client:
            client.write(b"data")
            equal(client.read_exactly(4), b"data")
            assert client.tls.session_reused, f"{name}: not resumed after a reload"


@test("a ticket of one port is not taken at another with another certificate")
def foreign_ticket():
    first, second = lib.new_port(), lib.new_port()
    lib.enable(first)
    lib.enable(second, "other")
    lib.Server(first)
    lib.Server(second)
    for version, name in lib.BOTH:
        context = lib.tls_context(version)
        session = lib.echo(first, context=context)
        with lib.TlsClient(second, context=context, session=session) as client:
            client.write(b"data")
            equal(client.read_exactly(4), b"data")
            assert not client.tls.session_reused, f"{name}: resumed at another port"
    equal(lib.status(second)["stats"]["resumed"], 0, "resumed at the other port")


@test("resumption off: no ticket is taken")
def resumption_off():
    port = lib.new_port()
    lib.enable(port, resumption="off")
    lib.Server(port)
    for version, name in lib.BOTH:
        context = lib.tls_context(version)
        session = lib.echo(port, context=context)
        with lib.TlsClient(port, context=context, session=session) as client:
            assert not client.tls.session_reused, name


def sessions(port):
    """One of each version, with what it can be resumed by."""
    for version, name in lib.BOTH:
        context = lib.tls_context(version)
        yield name, context, lib.echo(port, context=context)


def resumed(port, context, session):
    with lib.TlsClient(port, context=context, session=session) as client:
        client.write(b"data")
        equal(client.read_exactly(4), b"data")
        return client.tls.session_reused


def restart():
    lib.helper_kill()
    lib.helper_start()


@test("sessions outlive the helper: its own ticket keys are kept, those of ticket-keys are read again, and when they change",
      timeout=180)
def helper_restarts():
    lib.helper_restart_later()
    file = f"{lib.WORK}/ticket-keys"
    first, second, third = (base64.b64encode(os.urandom(48)).decode() + "\n" for _ in range(3))
    lib.write_file(file, first)
    lib.defer(os.unlink, file)
    own, shared = lib.new_port(), lib.new_port()
    lib.enable(own)
    lib.enable(shared, ticket_keys=file)
    for port in (own, shared):
        lib.Server(port)
    before = {port: list(sessions(port)) for port in (own, shared)}
    restart()
    for port in (own, shared):
        equal([name for name, context, session in before[port] if resumed(port, context, session)],
              [name for _, name in lib.BOTH], "resumed after a restart")
    lib.helper_kill()
    os.unlink(lib.RUN_DIR + "/ticket-keys")
    lib.helper_start()
    for port, wanted in ((own, []), (shared, [name for _, name in lib.BOTH])):
        equal([name for name, context, session in before[port] if resumed(port, context, session)], wanted,
              "resumed by a helper that has the shared keys alone")
    generation = lib.helper_pids()
    lib.write_file(file, second + third)
    lib.wait_for(lambda: not resumed(shared, *before[shared][0][1:]), 10, "the first key is forgotten")
    equal(lib.helper_pids(), generation, "workers: keys are changed in place")
    for name, context, session in sessions(shared):
        assert resumed(shared, context, session), f"{name}: with a new key"


def start_rotating(age):
    """The helper with --ticket-rotation 60s; the keys that it finds are so many seconds old.  Their file, and they"""
    saved, program = lib.RUN_DIR + "/ticket-keys", f"{lib.WORK}/tlsportd-60s"
    lib.write_file(program, f'#!/bin/sh\nexec {lib.TOP}/build/userspace/tlsportd --ticket-rotation 60s "$@"\n')
    lib.defer(os.unlink, program)
    os.chmod(program, 0o755)
    then = time.time() - age
    os.utime(saved, (then, then))
    kept = lib.read_text(saved)
    lib.helper_start(env={**os.environ, "TLSPORTD": program})
    return saved, kept


@test("--ticket-rotation: a helper that runs replaces its ticket keys at that age, in workers that stay; sessions of "
      "before are resumed", timeout=120)
def rotation_by_age():
    lib.helper_restart_later()
    lib.defer(lib.helper_kill)  # the next has the usual age
    port = lib.new_port()
    lib.enable(port)
    lib.Server(port)
    before = list(sessions(port))
    lib.helper_kill()
    saved, kept = start_rotating(45)
    workers = lib.helper_pids()
    lib.wait_for(lambda: lib.read_text(saved) != kept, 30, "keys are replaced")
    equal(lib.read_text(saved).splitlines()[:-1], kept.splitlines()[-2:], "the keys of before")
    equal(lib.helper_pids(), workers, "who has them")
    for name, context, session in before + list(sessions(port)):
        assert resumed(port, context, session), f"{name}: not resumed"


@test("ticket-keys of a directory, changed as Kubernetes changes a mounted secret: taken while connections go on")
def keys_in_directory():
    directory = lib.WORK + "/secret"
    lib.defer(shutil.rmtree, directory)
    keys = [base64.b64encode(os.urandom(48)).decode() + "\n" for _ in range(4)]

    def mount(version, *files):
        """The directory's names lead through a link to a directory of this version, which changes at one stroke."""
        place = f"{directory}/..{version}"
        os.makedirs(place)
        for number, text in enumerate(files):
            lib.write_file(f"{place}/{number}", text)
            os.chmod(f"{place}/{number}", 0o400)
            if not os.path.lexists(f"{directory}/{number}"):
                os.symlink(f"..data/{number}", f"{directory}/{number}")
        os.symlink(f"..{version}", directory + "/..new")
        os.rename(directory + "/..new", directory + "/..data")
    mount(1, keys[0], keys[1])
    port = lib.new_port()
    lib.enable(port, ticket_keys=directory)
    lib.Server(port)
    generation, old = lib.helper_pids(), list(sessions(port))
    with lib.TlsClient(port) as client:
        mount(2, keys[2], keys[3])
        lib.wait_for(lambda: not resumed(port, *old[0][1:]), 10, "the old keys are forgotten")
        for name, context, session in old:
            assert not resumed(port, context, session), f"{name}: by a key that is gone"
        for name, context, session in sessions(port):
            assert resumed(port, context, session), f"{name}: with a new key"
        client.write(b"still here")
        equal(client.read_exactly(10), b"still here")
    equal(lib.helper_pids(), generation, "workers: keys are changed in place")
