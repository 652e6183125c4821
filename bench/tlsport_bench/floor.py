# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel's AES-GCM costs a byte on this machine: with what plain TCP costs for the same bytes it is the
floor, under which no engine comes that encrypts with this processor.

AF_ALG runs the code that kTLS uses.  The difference between large and small messages leaves out system calls; the two
copies that AF_ALG makes are those that it makes of a cipher that does nothing, whose cost is subtracted."""
import os
import socket
import statistics
import time

SMALL, LARGE = 4096, 16384
ROUNDS, SECONDS = 5, 0.15
TAG = 16


def send_aead(operation, payload):
    operation.sendmsg_afalg([payload], op=socket.ALG_OP_ENCRYPT, iv=bytes(12), assoclen=0)


def send_nothing(operation, payload):
    operation.sendmsg_afalg([payload], op=socket.ALG_OP_ENCRYPT)


def cost_a_message(operation, send, size, seconds):
    """Seconds of this process."""
    # no byte more than comes: AF_ALG would wait for it
    buffer = bytearray(size + (TAG if send is send_aead else 0))
    payload = memoryview(bytes(size))
    count, began = 0, time.process_time()
    while (spent := time.process_time() - began) < seconds or not count:
        for _ in range(16):
            send(operation, payload)
            operation.recv_into(buffer)
        count += 16
    return spent / count


def slope(kind, name, key, send, seconds):
    """Nanoseconds a byte, of each round."""
    with socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET) as parent:
        parent.bind((kind, name))
        if key:
            parent.setsockopt(socket.SOL_ALG, socket.ALG_SET_KEY, key)
        if kind == "aead":
            parent.setsockopt(socket.SOL_ALG, socket.ALG_SET_AEAD_AUTHSIZE, None, TAG)
        operation, _ = parent.accept()
        with operation:
            values = []
            for _ in range(ROUNDS):
                small, large = (cost_a_message(operation, send, size, seconds) for size in (SMALL, LARGE))
                values.append((large - small) / (LARGE - SMALL) * 1e9)
            return values


def measure(seconds=SECONDS):
    """{"aes128": nanoseconds a byte, "aes256": ..., "copies": ..., "low", "high"}, or {"why_not": ...}"""
    found = {}
    try:
        for bits in (128, 256):
            values = slope("aead", "gcm(aes)", os.urandom(bits // 8), send_aead, seconds)
            found[f"aes{bits}"] = {"median": statistics.median(values), "low": min(values), "high": max(values)}
    except OSError as error:
        return {"why_not": f"the kernel's AES-GCM cannot be had by AF_ALG here: {error.strerror}"}
    try:
        copies = statistics.median(slope("skcipher", "ecb(cipher_null)", None, send_nothing, seconds))
    except OSError:
        found["copies"] = None  # they are in the figures then
        return found
    found["copies"] = copies
    for bits in (128, 256):
        for name in ("median", "low", "high"):
            found[f"aes{bits}"][name] = max(found[f"aes{bits}"][name] - copies, 0.0)
    return found


def server_seconds(floor, cipher, plain_seconds, size):
    """Of a request of that size: what plain TCP costs the server's side, and the cipher."""
    if not floor or cipher not in floor or plain_seconds is None:
        return None
    return plain_seconds + floor[cipher]["median"] * size / 1e9
