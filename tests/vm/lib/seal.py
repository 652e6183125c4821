# SPDX-License-Identifier: GPL-2.0-or-later
"""Records by hand, encrypted by OpenSSL's libcrypto: also those that no library would send."""
import ctypes
import struct

TYPE_DATA = 23
TAG_LEN, GET_TAG = 16, 16
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


class Sealer:
    """The keys of life.traffic_keys(), AES-128-GCM, from record 0 on."""

    def __init__(self, tls13, key=b"k"):
        self.tls13, self.key, self.fixed, self.number = tls13, key * 16, key * 12, 0

    def forged(self, kind, body=b""):
        """A record whose tag is wrong."""
        record = self.seal(kind, body)
        return record[:-1] + bytes([record[-1] ^ 1])

    def seal(self, kind, body=b"", padding=0, outer=None):
        """A record; with TLS 1.3 with so many bytes of padding, and with another type outside."""
        number = struct.pack(">Q", self.number)
        self.number += 1
        if self.tls13:
            plain = body + bytes([kind]) + bytes(padding)
            header = struct.pack(">BHH", outer or TYPE_DATA, 0x0303, len(plain) + TAG_LEN)
            nonce = self.fixed[:4] + bytes(a ^ b for a, b in zip(self.fixed[4:], number))
            return header + aes_128_gcm(self.key, nonce, header, plain)
        header = struct.pack(">BHH", kind, 0x0303, len(body))
        return header[:3] + struct.pack(">H", len(body) + 8 + TAG_LEN) + number + \
            aes_128_gcm(self.key, self.fixed[:4] + number, number + header, body)
