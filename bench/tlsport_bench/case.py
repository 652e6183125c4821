# SPDX-License-Identifier: GPL-2.0-or-later
"""What is asked of an engine: a point of the matrix."""
import dataclasses
import itertools

from .base import Failure, parse_size, show_size

# name: the values that there are; None: any number
DIMENSIONS = {
    "tls": ("1.2", "1.3"), "cipher": ("aes128", "aes256"), "sending": ("sendfile", "send", "splice"), "size": None,
    "connections": None, "requests": ("keepalive", "one"), "handshake": ("full", "resumed"),
    "direction": ("download", "upload"), "loss": None, "reorder": None, "delay": None, "rate": None,
    "key_update": None, "pace": None}


@dataclasses.dataclass(frozen=True)
class Case:
    """rate: requests a second, below 1 a part of what the slowest engine does in a closed loop, 0 a closed loop;
    loss and reorder: percent; delay: milliseconds each way; key_update: after so many requests; pace: bytes a
    second."""
    tls: str = "1.3"
    cipher: str = "aes256"
    sending: str = "sendfile"
    size: int = 1 << 20
    connections: int = 8
    requests: str = "keepalive"
    handshake: str = "full"
    direction: str = "download"
    loss: float = 0.0
    reorder: float = 0.0
    delay: float = 0.0
    rate: float = 0.0
    key_update: int = 0
    pace: int = 0

    def label(self):
        words = [f"TLS {self.tls} {self.cipher}", show_size(self.size), self.direction]
        if self.direction == "download":
            words.append(self.sending)
        words.append(f"{self.connections} connection{'s' if self.connections > 1 else ''}")
        if self.requests == "one":
            words.append(f"{self.handshake} handshake a request")
        words += [f"{name} {getattr(self, name):g} %" for name in ("loss", "reorder") if getattr(self, name)]
        if self.delay:
            words.append(f"delay {self.delay:g} ms")
        if self.rate:
            words.append(f"open loop at {self.rate:.0%} of the slowest" if self.rate < 1 else
                         f"open loop at {self.rate:g} requests/s")
        if self.key_update:
            words.append(f"KeyUpdate every {self.key_update} requests")
        if self.pace:
            words.append(f"{show_size(self.pace)}/s a connection")
        return ", ".join(words)

    def closed(self):
        """The same in a closed loop."""
        return dataclasses.replace(self, rate=0.0)

    def why_not(self):
        """Why there is no such case; None: there is."""
        if self.key_update and self.tls != "1.3":
            return "KeyUpdate is TLS 1.3's"
        if self.direction == "upload" and self.sending != "sendfile":
            return "an upload is not sent by the server"
        if self.requests == "keepalive" and self.handshake == "resumed":
            return "connections that stay are not resumed"
        return None


BASE = Case()


def vary(**dimensions):
    """Every combination of these, the others as in BASE."""
    names = list(dimensions)
    for values in itertools.product(*dimensions.values()):
        yield dataclasses.replace(BASE, **dict(zip(names, values)))


def sweep(*parts):
    cases = dict.fromkeys(case for part in parts for case in part if not case.why_not())
    return list(cases)


SIZES = tuple(map(parse_size, ("100", "1k", "16k", "128k", "1M", "10M", "100M")))
PROFILES = {
    # what a change of the module shows first
    "quick": sweep(vary(size=[100]), vary(size=[16384]), vary(size=[1 << 20]), vary(direction=["upload"]),
                   vary(size=[100], requests=["one"], handshake=["full", "resumed"])),
    # one dimension after the other
    "standard": sweep(
        vary(size=SIZES), vary(size=[100, 1 << 20], connections=[1, 64, 512]),
        vary(tls=["1.2", "1.3"], cipher=["aes128", "aes256"], size=[16384, 1 << 20]),
        vary(sending=["sendfile", "send", "splice"], size=[16384, 1 << 20]),
        vary(size=[100], requests=["one"], handshake=["full", "resumed"], tls=["1.2", "1.3"], connections=[32]),
        vary(direction=["upload"], size=[16384, 1 << 20, 10 << 20]),
        vary(size=[100, 16384], rate=[0.5], connections=[64]), vary(size=[16384], key_update=[16])),
    # every combination
    "full": sweep(
        vary(tls=["1.2", "1.3"], cipher=["aes128", "aes256"], sending=["sendfile", "send", "splice"], size=SIZES,
             connections=[1, 8, 64, 512], direction=["download", "upload"], requests=["keepalive", "one"],
             handshake=["full", "resumed"])),
    "smoke": sweep(vary(size=[100, 1 << 20], connections=[2])),
}
WIRE = sweep(vary(size=[1 << 20], loss=[0.1, 1.0]), vary(size=[1 << 20], reorder=[1.0], delay=[1.0]))
# no kernel up to 7.3 gives TLS 1.3 to a device: what there is more of where one encrypts
NIC = {
    "smoke": sweep(vary(tls=["1.2"], size=[100, 1 << 20], connections=[2])),
    "quick": sweep(vary(tls=["1.2"], size=[100, 16384, 1 << 20]), vary(tls=["1.2"], direction=["upload"])),
    "standard": sweep(
        vary(tls=["1.2"], size=SIZES), vary(tls=["1.2"], size=[100, 1 << 20], connections=[1, 64, 512]),
        vary(tls=["1.2"], sending=["send", "splice"], size=[16384, 1 << 20]),
        vary(tls=["1.2"], direction=["upload"], size=[16384, 1 << 20, 10 << 20])),
}


def parse_value(name, text):
    allowed = DIMENSIONS[name]
    if allowed:
        if text not in allowed:
            raise Failure(f'--{name.replace("_", "-")}: "{text}" is none of {", ".join(allowed)}')
        return text
    if name in ("size", "pace"):
        return parse_size(text)
    kind = type(getattr(BASE, name))
    try:
        value = kind(text)
    except ValueError:
        value = -1
    if value < 0 or (name == "connections" and value < 1) or (name in ("loss", "reorder") and value > 100) or \
            value != value or value == float("inf"):  # pylint: disable=comparison-with-itself
        raise Failure(f'--{name.replace("_", "-")}: "{text}" is no number that makes sense')
    return value


def chosen(profile, given, wire, nic=False):
    """The cases: of the profile, or if dimensions are given {name: "A,B"} every combination of these."""
    values = {name: [parse_value(name, word) for word in text.split(",")] for name, text in given.items()}
    if not values:
        cases = PROFILES[profile] + (WIRE if wire and profile in ("standard", "full") else [])
        # first what the device is there for: a limit cuts off the end
        return list(dict.fromkeys((NIC.get(profile, []) if nic else []) + cases))
    cases = sweep(vary(**values))
    if not cases:
        raise Failure(next(why for why in (case.why_not() for case in vary(**values)) if why))
    needs = [case for case in cases if case.loss or case.reorder or case.delay]
    if needs and not wire:
        raise Failure("loss, reorder and delay want --netns or --nicsim")
    return cases
