# SPDX-License-Identifier: GPL-2.0-or-later
"""A server of Python's asyncio, which knows as much HTTP as its tests: http_asyncio.py PORT DIRECTORY.
GET gives a file of the directory, POST the SHA-256 of what came."""
import asyncio
import hashlib
import sys

PORT, DIRECTORY = sys.argv[1:]


async def serve(reader, writer):
    loop = asyncio.get_running_loop()
    while True:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            break
        method, path, _ = head.split(b"\r\n", 1)[0].split(b" ")
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
        if method == b"POST":
            body = await reader.readexactly(int(fields[b"content-length"]))
            answer = hashlib.sha256(body).hexdigest().encode()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answer) + answer)
        else:
            with open(DIRECTORY + path.decode(), "rb") as file:
                size = file.seek(0, 2)
                file.seek(0)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
                await writer.drain()
                await loop.sendfile(writer.transport, file)
        await writer.drain()
        if fields.get(b"connection") == b"close":
            break
    writer.close()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", int(PORT))
    async with server:
        await server.serve_forever()


asyncio.run(main())
