# SPDX-License-Identifier: GPL-2.0-or-later
"""What connections must give back: memory of kernel and helper, sockets."""
import re

from .harness import read_text
from .product import helper_pids

def rss(pid):
    """kB"""
    return int(re.search(r"VmRSS:\s+(\d+)", read_text(f"/proc/{pid}/status")).group(1))
