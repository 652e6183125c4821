# SPDX-License-Identifier: GPL-2.0-or-later
"""Another network namespace: a tlsportd runs inside, and tlsportctl --netns is for it."""
import json
import os
import signal
import socket

import lib
from lib import test, equal

NAME = "blue"
CONFIG, RUN = f"/etc/netns/{NAME}/tlsport", f"/run/tlsport@{NAME}"


def start_helper():
    environment = dict(os.environ, TLSPORT_CONFIG_DIR=CONFIG, TLSPORT_RUN_DIR=RUN)
    lib.run("nsenter", f"--net=/run/netns/{NAME}", lib.TOP + "/scripts/start", env=environment)


@test("--netns NAME: a port of that namespace is served, by its own helper, and ours is another")
def other_namespace():
    lib.run("ip", "netns", "add", NAME)
    lib.defer(lib.run, "ip", "netns", "del", NAME)
    lib.run("ip", "-n", NAME, "link", "set", "lo", "up")
    start_helper()
    lib.defer(lib.helper_kill, signal.SIGTERM, RUN)
    port = lib.new_port()
    lib.ctl("--netns", NAME, "enable", port, "--cert", lib.cert_path("ec"), "--key", lib.key_path("ec"))
    lib.defer(lib.ctl, "--netns", NAME, "disable", port)
    assert os.path.exists(f"{CONFIG}/ports.d/{port}.conf"), "its configuration is elsewhere"

    def enabled(*words):
        return [entry["port"] for entry in json.loads(lib.ctl(*words, "list", "--json").out)["ports"]]
    equal((enabled("--netns", NAME), port in enabled()), ([port], False), "enabled there, and here")
    listener = lib.inside(NAME, lambda: socket.create_server(("127.0.0.1", port)))
    lib.defer(listener.close)
    client = lib.inside(NAME, lambda: lib.TlsClient(port))
    conn = listener.accept()[0]
    client.write(b"there")
    equal(conn.recv(100), b"there")
    conn.sendall(b"back")
    equal(client.read_exactly(4), b"back")
    there = json.loads(lib.ctl("--netns", NAME, "conns", "--json").out)["connections"]
    equal(([c["port"] for c in there], lib.conns(port)), ([port], []), "connections there, and here")
    conn.close()
    client.end()
    plain = lib.listen(port)  # the same number, not enabled here
    with lib.TcpClient(port) as other:
        with plain.accept()[0] as here:
            here.sendall(b"plain")
            equal(other.read_exactly(5), b"plain")
