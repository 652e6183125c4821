#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The unmodified plaintext applications of the suite: one process, one listening
socket.  How it waits for connections, and what it does with each, are options.
Says "ready PID" when it listens and one line of JSON when a connection ended."""
import argparse
import errno
import hashlib
import json
import os
import select
import signal
import socket
import struct
import sys
import threading
import time

parser = argparse.ArgumentParser()
parser.add_argument("port", type=int)
parser.add_argument("--wait", default="thread",
                    choices=["block", "thread", "threads", "select", "poll", "epoll", "spin", "never"])
parser.add_argument("--do", default="echo",
                    choices=["echo", "banner", "sink", "send", "fill", "hold", "reply", "shutwr"])
parser.add_argument("--family", default="4", choices=["4", "6"])
parser.add_argument("--mptcp", action="store_true")
parser.add_argument("--reuseport", action="store_true")
parser.add_argument("--backlog", type=int, default=128)
parser.add_argument("--threads", type=int, default=4)
parser.add_argument("--text", default="")
parser.add_argument("--sndbuf", type=int, default=0)
parser.add_argument("--linger", type=int, default=-1)
parser.add_argument("--write", type=int, default=4096)
parser.add_argument("--size", type=int, default=0)
args = parser.parse_args()
text = args.text.encode()
say_lock = threading.Lock()


def say(**event):
    with say_lock:
        sys.stdout.write(json.dumps(event) + "\n")
        sys.stdout.flush()


def pattern(size):
    block = b"".join(b"%08d " % i for i in range(1024))
    return (block * (size // len(block) + 1))[:size]


def read_all(conn, event):
    digest, got = hashlib.sha256(), 0
    try:
        while data := conn.recv(65536):
            digest.update(data)
            got += len(data)
        event["end"] = "eof"
    except OSError as error:
        event["end"] = errno.errorcode.get(error.errno, str(error))
    event.update(got=got, sha=digest.hexdigest())


def do_echo(conn, event):
    got, head = 0, b""
    while data := conn.recv(65536):
        got += len(data)
        head = (head + data)[:256]
        event.update(got=got, head=head.decode("latin1"))
        conn.sendall(data)
    event["end"] = "eof"


def do_banner(conn, event):
    conn.sendall(text)
    do_echo(conn, event)


def do_send(conn, event):
    """Fills the send buffer without waiting, then closes at once."""
    data, sent = pattern(args.size), 0
    if args.sndbuf:
        conn.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, args.sndbuf)
    conn.recv(1)
    conn.setblocking(False)
    try:
        while sent < len(data):
            sent += conn.send(data[sent:sent + args.write])
    except BlockingIOError:
        event["full"] = True
    event.update(sent=sent, sha=hashlib.sha256(data[:sent]).hexdigest())


def do_fill(conn, event):
    """Writes until the peer's window and the send buffer take no more, for a second, then closes."""
    conn.recv(1)
    conn.setblocking(False)
    refused = 0
    while refused < 10:
        try:
            conn.send(bytes(args.write))
            refused = 0
        except BlockingIOError:
            refused += 1
            time.sleep(0.1)
    event["full"] = True


def do_hold(conn, event):
    """Fills the send buffer, says so, and keeps the connection."""
    data, sent = pattern(4 << 20), 0
    conn.setblocking(False)
    try:
        while sent < len(data):
            sent += conn.send(data[sent:sent + args.write])
    except BlockingIOError:
        event["full"] = True
    say(**event, sent=sent, sha=hashlib.sha256(data[:sent]).hexdigest())
    signal.pause()


def do_reply(conn, event):
    read_all(conn, event)
    conn.sendall(event["sha"].encode())


def do_shutwr(conn, event):
    conn.sendall(b"greeting")
    conn.shutdown(socket.SHUT_WR)
    read_all(conn, event)


def do_sink(conn, event):
    read_all(conn, event)


def serve(conn, peer):
    event = {"peer": peer[0], "peer_port": peer[1]}
    try:
        conn.setblocking(True)
        if args.linger >= 0:
            conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, args.linger))
        globals()["do_" + args.do](conn, event)
    except OSError as error:
        event["end"] = errno.errorcode.get(error.errno, str(error))
    conn.close()
    say(**event)


def start(conn, peer):
    threading.Thread(target=serve, args=(conn, peer), daemon=True).start()


listener = socket.socket(socket.AF_INET6 if args.family == "6" else socket.AF_INET, socket.SOCK_STREAM,
                         socket.IPPROTO_MPTCP if args.mptcp else 0)
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
if args.reuseport:
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
if args.sndbuf:
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, args.sndbuf)
listener.bind(("", args.port))
listener.listen(args.backlog)
threading.stack_size(256 * 1024)


def ready():
    sys.stdout.write(f"ready {os.getpid()}\n")
    sys.stdout.flush()


def accept_ready():
    while True:
        try:
            start(*listener.accept())
        except BlockingIOError:
            return
        except ConnectionError:
            continue


def wait_block():
    ready()
    while True:
        serve(*listener.accept())


def wait_thread():
    ready()
    while True:
        start(*listener.accept())


def run_threads(loop):
    ready()  # before a thread can say that a connection ended
    for _ in range(args.threads):
        threading.Thread(target=loop, daemon=True).start()
    signal.pause()


def wait_threads():
    """Each thread sleeps in accept(2) by itself."""
    def loop():
        while True:
            serve(*listener.accept())
    run_threads(loop)


def accept_when(readable):
    """readable() returns when connections wait."""
    listener.setblocking(False)
    ready()
    while True:
        readable()
        accept_ready()


def wait_select():
    accept_when(lambda: select.select([listener], [], []))


def wait_poll():
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    accept_when(poll.poll)


def wait_epoll():
    epoll = select.epoll()
    epoll.register(listener, select.EPOLLIN)
    accept_when(epoll.poll)


def wait_spin():
    """Threads that poll and accept all the time: for races with enable and disable."""
    listener.setblocking(False)

    def loop():
        while True:
            select.select([listener], [], [], 0.01)
            try:
                conn, peer = listener.accept()
            except OSError:
                continue
            conn.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 2, 0))
            serve(conn, peer)
    run_threads(loop)


def wait_never():
    ready()
    signal.pause()


globals()["wait_" + args.wait]()
