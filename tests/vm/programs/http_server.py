# SPDX-License-Identifier: GPL-2.0-or-later
"""A server of Python's http.server: http_server.py PORT DIRECTORY.  GET gives a file of the directory, POST the SHA-256
of what came."""
import functools
import hashlib
import http.server
import sys

PORT, DIRECTORY = sys.argv[1:]


class Handler(http.server.SimpleHTTPRequestHandler):
    """That can take an upload."""

    protocol_version = "HTTP/1.1"  # keeps connections

    def do_POST(self):  # pylint: disable=invalid-name
        digest, left = hashlib.sha256(), int(self.headers["Content-Length"])
        while left and (data := self.rfile.read1(left)):
            digest.update(data)
            left -= len(data)
        answer = digest.hexdigest().encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


http.server.ThreadingHTTPServer(("127.0.0.1", int(PORT)), functools.partial(Handler, directory=DIRECTORY)).serve_forever()
