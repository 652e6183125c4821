# SPDX-License-Identifier: GPL-2.0-or-later
"""Another helper takes over, or is started in its place, while connections come."""
import os
import re
import shutil
import signal
import socket
import struct
import subprocess

import lib
from lib import test, equal

INSTALLED = f"{lib.WORK}/sbin/tlsportd"
BUILT = lib.TOP + "/build/userspace/tlsportd"


def install(content):
    """As a package is: the old file stays whoever's it is."""
    with open(INSTALLED + ".new", "wb") as file:
        file.write(content)
    os.chmod(INSTALLED + ".new", 0o755)
    os.rename(INSTALLED + ".new", INSTALLED)


def program(version=None):
    """The helper, with another version written into it."""
    with open(BUILT, "rb") as file:
        content = file.read()
    now = re.match(rb"tlsportd (\S+),", lib.run(BUILT, "--version").stdout).group(1)
    # among other strings: an address may have its bytes
    places = re.compile(rb"(?<=[ -~]\0)" + re.escape(now) + rb"(?=\0[ -~])")
    equal(len(places.findall(content)), 1, "places of the version")
    return places.sub(version.encode().ljust(len(now), b"\0"), content) if version else content


def end_all():
    lib.helper_kill(signal.SIGTERM)
    shutil.rmtree(os.path.dirname(INSTALLED))
    lib.helper_start()


def start_installed(start=lib.helper_start):
    os.makedirs(os.path.dirname(INSTALLED))
    install(program())
    lib.helper_kill(signal.SIGTERM)
    lib.defer(end_all)
    start(env={**os.environ, "TLSPORTD": INSTALLED})


def clients(port):
    lib.enable(port, handshake_timeout=f"{30 * lib.SLOW}s")
    lib.serve(lib.listen(port))
    return lib.Clients(port, 4)


def more(stream, count=12):
    wanted = stream.count + count
    lib.wait_for(lambda: stream.count >= wanted, 60, "more clients")


def who(helper):
    return helper["pid"], helper["version"]


def begun(port):
    """A client whose Finished is still to be sent."""
    client = lib.TlsClient(port, lib.TLS13, handshake=False)
    lib.defer(client.sock.close)
    client.handshake(flush=False)
    return client


def upgrades(port, stream, version):
    """A handshake that has begun with the old one ends with it, later."""
    before = lib.helper()
    install(program(version))
    slow = begun(port)
    out = lib.ctl("upgrade").out
    slow.flush()
    equal(slow.read_exactly(len(lib.MARKER)), lib.MARKER, "greeting of the slow one")
    slow.end()
    after = lib.helper()
    equal(after["version"], version, "version of the helper")
    assert after["pid"] != before["pid"], "the same process"
    equal(out, f"tlsportd {version} (pid {after['pid']}) has taken over\n", "what upgrade says")
    equal(lib.helper_parent(), after["pid"], "pid in the lock")
    more(stream)
    return before["pid"]


def refuses(saying):
    before = lib.helper()
    done = lib.ctl("upgrade", check=False)
    equal(done.returncode, 1, "status of upgrade")
    for text in (saying, "the old tlsportd goes on"):
        assert text in done.err, done.err
    after = lib.helper()
    equal(who(after), who(before), "the helper")
    equal([w["pid"] for w in after["workers"]], [w["pid"] for w in before["workers"]], "its workers")


@test("clients come all the time, the helper is upgraded again and again, to broken ones too: no handshake fails, and "
      "sessions live on", timeout=300)
def upgrade():
    start_installed()
    port = lib.new_port()
    stream = clients(port)
    contexts = [lib.tls_context(version) for version, _ in lib.BOTH]
    sessions = []
    for context in contexts:
        with lib.TlsClient(port, context=context) as client:
            client.read_exactly(len(lib.MARKER))
            client.end()
            sessions.append(client.tls.session)
    old = [upgrades(port, stream, version) for version in ("8.1", "8.2")]
    install(b"junk")
    refuses("Exec format error")
    install(b"#!/bin/sh\nexit 3\n")
    refuses("ended with status 3 before it had taken over")
    install(program("8.3")[:1 << 20])  # a download that was cut
    refuses(INSTALLED)
    install(program("8.3"))
    lib.write_file(lib.drop_in(8443), "[port 8443]\ncolour = blue\n")
    refuses("unknown key 'colour'")
    os.unlink(f"{lib.CONFIG_DIR}/ports.d/8443.conf")
    old.append(upgrades(port, stream, "8.3"))
    stream.end()
    equal(stream.failed, [], f"of {stream.count} clients")
    lib.note(f"{stream.count} clients, the longest took {stream.longest:.1f} s")
    for context, session in zip(contexts, sessions):
        with lib.TlsClient(port, context=context, session=session) as client:
            client.read_exactly(len(lib.MARKER))
            assert client.tls.session_reused, "not resumed"
            client.end()
    lib.wait_for(lambda: not any(map(lib.alive, old)), 30, "the old ones are gone")
    equal([w["state"] for w in lib.helper()["workers"]], ["ready"] * len(lib.helper_pids()[1:]), "workers")


@test("a program that never says that it is ready is given up: the old helper goes on", timeout=180)
def hangs():
    start_installed()
    port = lib.new_port()
    stream = clients(port)
    install(b"#!/bin/sh\nexec sleep 1000\n")
    with lib.takes(15, 20, "upgrade"):
        refuses("did not take over in time")
    more(stream)
    stream.end()
    equal(stream.failed, [], f"of {stream.count} clients")


def start_by_hand(messages):
    def start(env):
        path = f"\0tlsport-test-{os.getpid()}"
        messages.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        messages.bind(path)
        messages.settimeout(30 * lib.SLOW)
        with open(lib.RUN_DIR + "/log", "ab") as log:
            process = subprocess.Popen([INSTALLED, "--config-dir", lib.CONFIG_DIR, "--run-dir", lib.RUN_DIR],
                                       env={**env, "NOTIFY_SOCKET": "@" + path[1:]}, stdin=subprocess.DEVNULL,
                                       stdout=log, stderr=log, start_new_session=True)
        lib.defer(process.poll)
    return start


def next_message(messages):
    """Who says what."""
    data, control, _, _ = messages.recvmsg(65536, 1024)
    return struct.unpack("iII", control[0][2])[0], data.decode().split("\n")


@test("systemd follows: the old helper names the new one as main process, and only then that speaks")
def notify():
    messages = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    lib.defer(messages.close)
    start_installed(start_by_hand(messages))
    main, lines = next_message(messages)
    while "READY=1" not in lines:
        main, lines = next_message(messages)
    equal(main, lib.helper_parent(), "the main process")
    lib.ctl("upgrade")
    new = lib.helper_parent()
    lines = []
    while "READY=1" not in lines:
        pid, lines = next_message(messages)
        equal(pid, main, f"who says {lines}")  # systemd listens to nobody else
        main = next((int(line[8:]) for line in lines if line.startswith("MAINPID=")), main)
    equal(main, new, "the main process")


@test("the helper is stopped and started again, as by systemctl restart: handshakes wait, none fails", timeout=180)
def restart():
    lib.helper_restart_later()
    port = lib.new_port()
    stream = clients(port)
    for _ in range(3):
        lib.helper_kill(signal.SIGTERM)
        lib.helper_start()
        more(stream)
    stream.end()
    equal(stream.failed, [], f"of {stream.count} clients")
    lib.note(f"{stream.count} clients, the longest took {stream.longest:.1f} s")
