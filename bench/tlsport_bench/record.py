# SPDX-License-Identifier: GPL-2.0-or-later
"""The JSON of a run.  It is written again after each round, for hours are lost with what is only in memory."""
import dataclasses
import json
import os

from . import machine
from .base import Failure

FORMAT = 2


def document(run):
    return [{"case": dataclasses.asdict(case), "label": case.label(), "engines": run.results[case],
             "left_out": run.left_out[case], "samples": run.samples[case]} for case in run.cases]


def save(path, what):
    """All of it or nothing: what was there stays until then."""
    # a pipe or a device cannot be replaced
    part = path if os.path.exists(path) and not os.path.isfile(path) else path + ".part"
    try:
        with open(part, "w", encoding="utf-8") as file:
            json.dump(what, file)
            file.write("\n")
            file.flush()
            if part != path:
                os.fsync(file.fileno())
        if part != path:
            os.replace(part, path)
    except OSError as error:
        raise Failure(f"{path}: {error.strerror}") from None


class Record:
    def __init__(self, path, head):
        self.path, self.head = path, head
        try:  # better now than after hours
            with open(path, "a", encoding="utf-8"):
                pass
            if os.path.isfile(path) and not os.path.getsize(path):
                os.unlink(path)
        except OSError as error:
            raise Failure(f"{path}: {error.strerror}") from None

    def write(self, run, complete=False):
        """Nothing while nothing has been measured."""
        if not any(run.results.values()):
            return
        # which code serves a cipher is known when it has been asked for
        self.head["machine"]["crypto_driver"] = machine.crypto_driver()
        save(self.path, {"format": FORMAT, "tool": "tlsport-bench", **self.head, "complete": complete,
                         "labels": run.labels, "cases": document(run), "idle": run.idle_found,
                         "absent": {f"{name}, {sending}": why for (name, sending), why in run.site.absent.items()}})
