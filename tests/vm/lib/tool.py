# SPDX-License-Identifier: GPL-2.0-or-later
"""TLS clients that are programs of others."""
import subprocess
import threading

from .harness import SLOW, defer, wait_for


class Tool:
    """openssl s_client or gnutls-cli with its standard input held open."""

    def __init__(self, *command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, bufsize=0)
        defer(self.stop)
        self.out, self.err = bytearray(), bytearray()
        self.readers = [threading.Thread(target=self._read, args=pair, daemon=True) for pair in
                        ((self.process.stdout, self.out), (self.process.stderr, self.err))]
        for reader in self.readers:
            reader.start()

    @staticmethod
    def _read(pipe, into):
        while data := pipe.read(65536):
            into += data

    def type(self, data):
        self.process.stdin.write(data)

    def expect(self, text, timeout=20):
        wait_for(lambda: text in self.out, timeout,
                 lambda: f"{text!r} in the output of {self.process.args[0]}: {bytes(self.out[-300:])!r} "
                 f"{bytes(self.err[-300:])!r}")

    def echo(self, text):
        """Through a server that sends back what it gets."""
        self.type(text + b"\n")
        self.expect(text)

    def finish(self, timeout=60):
        self.process.wait(timeout * SLOW)
        for reader in self.readers:
            reader.join()
        return bytes(self.out)

    def stop(self):
        self.process.kill()
        self.process.wait()
