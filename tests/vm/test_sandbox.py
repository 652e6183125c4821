# SPDX-License-Identifier: GPL-2.0-or-later
"""What the helper's workers may still do."""
import os
import re

import lib
from lib import equal, test


def status_of(pid):
    return dict(line.split(":", 1) for line in lib.read_text(f"/proc/{pid}/status").splitlines())


@test("workers serve as a user of their own, with CAP_NET_ADMIN alone and system calls filtered", core=True)
def workers():
    port = lib.new_port()
    lib.enable(port)
    lib.Server(port)
    for version, _ in lib.BOTH:
        lib.echo(port, context=lib.tls_context(version))
    workers = lib.helper_pids()[1:]
    assert workers, "no workers"
    for pid in workers:
        status = {key: value.strip() for key, value in status_of(pid).items()}
        assert "0" not in status["Uid"].split() + status["Gid"].split(), f"user {status['Uid']}, group {status['Gid']}"
        equal([status[key] for key in ("Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp")],
              ["", "0" * 16, "0" * 12 + "1000", "0" * 12 + "1000", "0" * 16, "0" * 16, "1", "2"], "of the worker's status")


@test("keys are not written to a disk: the memory of the parent and of each worker is locked, and there are no core dumps", core=True)
def locked():
    port = lib.new_port()
    lib.enable(port)
    lib.ctl("upgrade")
    pids = lib.helper_pids()
    assert len(pids) > 1, "no workers"
    for pid in pids:
        status = status_of(pid)
        size, kept = (int(status[key].split()[0]) for key in ("VmSize", "VmLck"))
        assert kept > size / 2, f"of {size} kB only {kept} kB are locked in {status['Name'].strip()}"
        limit = re.search(r"^Max core file size +(\S+) +(\S+)", lib.read_text(f"/proc/{pid}/limits"), re.M).groups()
        equal(limit, ("0", "0"), f"limits of a core dump of {status['Name'].strip()}")
        # what is of root alone belongs to a process that is not to be dumped
        equal(os.stat(f"/proc/{pid}/environ").st_uid, 0, f"owner of the environment of {status['Name'].strip()}")
