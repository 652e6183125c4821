# SPDX-License-Identifier: GPL-2.0-or-later
# Takes the ELF kernel out of a bzImage, so that the guest need not decompress itself: vmlinux.py BZIMAGE VMLINUX
import struct
import subprocess
import sys

MAGIC = {b"\xfd7zXZ": ["xz", "-dc", "--single-stream"], b"\x28\xb5\x2f\xfd": ["zstd", "-dcq"]}

with open(sys.argv[1], "rb") as f:
    image = f.read()
setup = image[0x1F1] or 4
offset, length = struct.unpack_from("<II", image, 0x248)
payload = image[(setup + 1) * 512 + offset :][:length]
command = next((c for m, c in MAGIC.items() if payload.startswith(m)), None)
if not command:
    sys.exit(f"{sys.argv[1]}: unknown compression")
# The four bytes behind the payload (its size) make zstd end with an error: the output tells.
elf = subprocess.run(command, input=payload, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False).stdout
if len(elf) != struct.unpack("<I", payload[-4:])[0] or not elf.startswith(b"\x7fELF"):
    sys.exit(f"{sys.argv[1]}: the kernel does not unpack")
with open(sys.argv[2], "wb") as f:
    f.write(elf)
