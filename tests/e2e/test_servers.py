# SPDX-License-Identifier: GPL-2.0-or-later
"""Servers of every kind."""
import signal

from lib import *

PORT = 8800


def get(port=PORT, path=""):
    return run("curl", "-sSk", f"https://127.0.0.1:{port}/{path}").stdout


@test("nginx: restart, reload, two workers with reuseport", core=True)
def nginx():
    enable(PORT)
    for listen in ("", "reuseport"):
        with Nginx(PORT, workers=2, listen=listen) as first, ktls(8):
            assert get() == b"hello\n"
            os.kill(first.pid(), signal.SIGHUP)
            for _ in range(6):
                assert get() == b"hello\n"
            first.stop()
            first.start()
            assert get() == b"hello\n"
    no_conns()


@test("a thread a connection, poll, epoll and select", core=True)
def styles():
    enable(PORT)
    for how in ("block", "poll", "epoll", "select"):
        with server(PORT, how, banner=b"hi"), ktls(3):
            for _ in range(3):
                with tls(PORT) as client:
                    client.sendall(b"there")
                    assert read_all(client, 7) == b"hithere"
    no_conns()


@test("python3 -m http.server")
def http_server():
    enable(PORT)
    where = tempfile.mkdtemp(dir=WORK.dir)
    with open(os.path.join(where, "file"), "wb") as f:
        f.write(pattern(1 << 20))
    with Process(lambda: (os.chdir(where), os.dup2(os.open("/dev/null", os.O_WRONLY), 2),
                          os.execlp("python3", "python3", "-m", "http.server", str(PORT)))):
        wait_for(lambda: listening(PORT))
        assert get(path="file") == pattern(1 << 20)


@test("disable gives plain TCP, enable gives TLS again, to the same listening socket", core=True)
def disable_enable():
    for how in ("poll", "block"):
        enable(PORT)
        with server(PORT, how, banner=b"hi"):
            for _ in range(2):
                with tls(PORT) as client:
                    assert read_all(client, 2) == b"hi"
                ctl("disable", PORT)
                assert plain(PORT, b"x", 1).startswith(b"hi")
                enable(PORT)
        ctl("disable", PORT)
