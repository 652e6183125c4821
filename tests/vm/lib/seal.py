# SPDX-License-Identifier: GPL-2.0-or-later
"""Records by hand, encrypted by OpenSSL's libcrypto: also those that no library would send.  And read by hand: each
under the key and with the number that it must have."""
import ctypes
import hmac
import struct

from .life import TYPE_DATA, TYPE_HANDSHAKE

KEY_UPDATE_HEAD = b"\x18\0\0\1"
HEADER_LEN, TAG_LEN, GET_TAG, SET_TAG = 5, 16, 16, 17
CRYPTO = ctypes.CDLL("libcrypto.so.3")
for name in ("EVP_CIPHER_CTX_new", "EVP_aes_128_gcm"):
    getattr(CRYPTO, name).restype = ctypes.c_void_p


def aes_128_gcm(key, nonce, header, plain):
    """Ciphertext and tag."""
    context = ctypes.c_void_p(CRYPTO.EVP_CIPHER_CTX_new())
    out, tag, size = ctypes.create_string_buffer(len(plain) + 16), ctypes.create_string_buffer(TAG_LEN), ctypes.c_int()
    try:
        done = (CRYPTO.EVP_EncryptInit_ex(context, ctypes.c_void_p(CRYPTO.EVP_aes_128_gcm()), None, key, nonce),
                CRYPTO.EVP_EncryptUpdate(context, None, ctypes.byref(size), header, len(header)),
                CRYPTO.EVP_EncryptUpdate(context, out, ctypes.byref(size), plain, len(plain)),
                CRYPTO.EVP_EncryptFinal_ex(context, ctypes.byref(out, len(plain)), ctypes.byref(ctypes.c_int())),
                CRYPTO.EVP_CIPHER_CTX_ctrl(context, GET_TAG, TAG_LEN, tag))
    finally:
        CRYPTO.EVP_CIPHER_CTX_free(context)
    assert done == (1,) * len(done), f"libcrypto failed: {done}"
    return out.raw[:len(plain)] + tag.raw


def open_aes_128_gcm(key, nonce, header, sealed):
    """The plaintext; None: the tag is wrong."""
    context = ctypes.c_void_p(CRYPTO.EVP_CIPHER_CTX_new())
    body, tag = sealed[:-TAG_LEN], sealed[-TAG_LEN:]
    out, size = ctypes.create_string_buffer(len(body) + 16), ctypes.c_int()
    try:
        done = (CRYPTO.EVP_DecryptInit_ex(context, ctypes.c_void_p(CRYPTO.EVP_aes_128_gcm()), None, key, nonce),
                CRYPTO.EVP_DecryptUpdate(context, None, ctypes.byref(size), header, len(header)),
                CRYPTO.EVP_DecryptUpdate(context, out, ctypes.byref(size), body, len(body)),
                CRYPTO.EVP_CIPHER_CTX_ctrl(context, SET_TAG, TAG_LEN, tag))
        assert done == (1,) * len(done), f"libcrypto failed: {done}"
        good = CRYPTO.EVP_DecryptFinal_ex(context, ctypes.byref(out, len(body)), ctypes.byref(ctypes.c_int()))
    finally:
        CRYPTO.EVP_CIPHER_CTX_free(context)
    return out.raw[:len(body)] if good == 1 else None


def expand_label(secret, label, size):
    """HKDF-Expand-Label of RFC 8446 7.1 with SHA-256, without context, of one block at most."""
    label = b"tls13 " + label
    info = struct.pack(">HB", size, len(label)) + label + b"\0\1"
    return hmac.digest(secret, info, "sha256")[:size]


class Keys:
    """One direction: those of life.traffic_keys(), AES-128-GCM, from record 0 on."""

    def __init__(self, tls13, key=b"k"):
        self.tls13, self.key, self.fixed, self.number = tls13, key * 16, key * 12, 0
        self.secret, self.updates = b"s" * 32, 0

    def next_nonce(self):
        number = struct.pack(">Q", self.number)
        self.number += 1
        return self.fixed[:4] + bytes(a ^ b for a, b in zip(self.fixed[4:], number))

    def update(self):
        """To the next traffic secret: RFC 8446 7.2."""
        self.secret = expand_label(self.secret, b"traffic upd", 32)
        self.key, self.fixed = expand_label(self.secret, b"key", 16), expand_label(self.secret, b"iv", 12)
        self.number = 0
        self.updates += 1


class Opener(Keys):
    """TLS 1.3.  The records of a stream: each must decrypt with the key and the number of its place."""

    def __init__(self, key=b"k"):
        super().__init__(True, key)
        self.wire = bytearray()

    def feed(self, data):
        """The type and the content of each record that is whole now."""
        self.wire += data
        records = []
        while len(self.wire) >= HEADER_LEN:
            header = bytes(self.wire[:HEADER_LEN])
            kind, version, size = struct.unpack(">BHH", header)
            assert (kind, version) == (TYPE_DATA, 0x0303), f"record {self.number}: type {kind}, version {version:#x}"
            if len(self.wire) < HEADER_LEN + size:
                break
            sealed = bytes(self.wire[HEADER_LEN:HEADER_LEN + size])
            del self.wire[:HEADER_LEN + size]
            place = f"record {self.number} after {self.updates} KeyUpdates"
            plain = open_aes_128_gcm(self.key, self.next_nonce(), header, sealed)
            assert plain is not None, f"{place} does not decrypt"
            plain = plain.rstrip(b"\0")
            records.append((plain[-1], plain[:-1]))
            if records[-1][0] == TYPE_HANDSHAKE and records[-1][1].startswith(KEY_UPDATE_HEAD):
                self.update()
        return records


class Sealer(Keys):
    """Makes records."""

    def forged(self, kind, body=b""):
        """A record whose tag is wrong."""
        record = self.seal(kind, body)
        return record[:-1] + bytes([record[-1] ^ 1])

    def seal(self, kind, body=b"", padding=0, outer=None):
        """A record; with TLS 1.3 with so many bytes of padding, and with another type outside."""
        if self.tls13:
            plain = body + bytes([kind]) + bytes(padding)
            header = struct.pack(">BHH", outer or TYPE_DATA, 0x0303, len(plain) + TAG_LEN)
            return header + aes_128_gcm(self.key, self.next_nonce(), header, plain)
        number = struct.pack(">Q", self.number)
        self.number += 1
        header = struct.pack(">BHH", kind, 0x0303, len(body))
        return header[:3] + struct.pack(">H", len(body) + 8 + TAG_LEN) + number + \
            aes_128_gcm(self.key, self.fixed[:4] + number, number + header, body)
