# SPDX-License-Identifier: GPL-2.0-or-later
"""io_uring: a process of uring/uring.c that does on a socket of this one what it is told."""
import os
import subprocess

from .harness import TOP, defer

PROGRAM = os.path.join(TOP, "build/userspace/uring")


class Ring:
    """Its own copy of the descriptor, so that close() here is not the end."""

    def __init__(self, sock):
        self.process = subprocess.Popen([PROGRAM, str(sock.fileno())], pass_fds=[sock.fileno()],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        defer(self.stop)

    def stop(self):
        self.process.kill()
        self.process.wait()

    def tell(self, *commands):
        for command in commands:
            self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def start(self, *commands):
        """Submits them; answers() has what comes of them."""
        self.tell(*commands, "go 0")
        self.answers()

    def answers(self):
        """The completions of a "go", as the program prints them."""
        lines = []
        while (line := self.process.stdout.readline().rstrip()) != "done":
            assert line, f"uring ended with status {self.process.wait()}"
            lines.append(line)
        return lines

    def ready(self):
        """How many completions are there, of what was started."""
        self.tell("look")
        return int(self.answers()[0])

    def wait(self, count=1):
        self.tell(f"go {count}")
        return self.answers()

    def do(self, *commands, count=None):
        """All of them, one after the other or, where they are linked, together."""
        self.tell(*commands, f"go {len(commands) if count is None else count}")
        return self.answers()


def ring_hash(data):
    """As the program prints it."""
    value = 0xcbf29ce484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001b3 & (1 << 64) - 1
    return f"{value:016x}"
