# SPDX-License-Identifier: GPL-2.0-or-later
"""What server, helper, softirq and cryptography cost by byte and by request: their parts of perf's samples, of what
processors took in the rounds that count.  Time of programs that have no part in it is on neither side, for of that
there may be more in one round than in another."""
from .stats import summary

OWNERS = ("server", "proxy", "helper", "kernel", "softirq", "crypto")
# what a part of is taken: the figure; cycles only where these were sampled
WHOLES = {"cpu": "cpu_busy", "cycles": "cycles"}
UNITS = ("byte", "request")


def whole(rounds, name, unit):
    found = summary([entry["figures"].get(f"{WHOLES[name]}_per_{unit}") for entry in rounds])
    return found and found["median"]


def costs(samples, rounds, sampler):
    """{owner: {"cpu_per_byte": nanoseconds, "cycles_per_request": ...}}, of what there is"""
    names = [name for name in WHOLES if name == "cpu" or sampler == "cycles"]
    wholes = {f"{name}_per_{unit}": whole(rounds, name, unit) for name in names for unit in UNITS}
    ours = 1 - samples.get("others", 0.0)
    return {owner: {name: value * samples.get(owner, 0.0) / (ours if name.startswith("cpu") else 1)
                    for name, value in wholes.items() if value is not None} for owner in OWNERS if ours}
