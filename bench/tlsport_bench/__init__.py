# SPDX-License-Identifier: GPL-2.0-or-later
"""tlsport-bench: what TLS costs, engine beside engine.  A file is a noun."""
