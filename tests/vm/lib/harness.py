# SPDX-License-Identifier: GPL-2.0-or-later
"""The harness: tests, what undoes them, waiting, and running programs.

Waiting is for events (wait_for); nothing here or in a test sleeps for a guess.
What a test starts it registers with defer(); run undoes it after the test."""
import contextlib
import errno
import hashlib
import os
import subprocess
import threading
import time

HERE = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
TOP = os.path.dirname(os.path.dirname(HERE))
MODULES = f"{TOP}/build/kmod/{os.uname().release}"
WORK = "/tmp/tlsport-tests"
STRICT = os.environ.get("TLSPORT_TEST_STRICT") == "1"
SLOW = int(os.environ.get("TLSPORT_TEST_SLOW", "1"))
STRIDE = int(os.environ.get("TLSPORT_TEST_STRIDE", "1"))

tests = []
notes = []
_deferred = []


class Skip(Exception):
    """The test cannot run here: the text names the missing feature."""


class Timeout(BaseException):
    """The test's time is over.  Not an Exception: no handler of a test catches it."""


def test(promise, timeout=120, core=False, long=False):
    def register(function):
        function.promise, function.timeout, function.core, function.long = promise, timeout, core, long
        tests.append(function)
        return function
    return register


def defer(function, *args, **kwargs):
    _deferred.append((function, args, kwargs))


def run_deferred():
    """Undoes all; returns what went wrong."""
    errors = []
    while _deferred:
        function, args, kwargs = _deferred.pop()
        try:
            function(*args, **kwargs)
        except Exception as error:  # pylint: disable=broad-except
            errors.append(f"undoing, {getattr(function, '__qualname__', function)}: {error!r}")
    return errors


def note(text):
    notes.append(str(text))


def equal(got, wanted, what=""):
    if isinstance(got, dict) and isinstance(wanted, dict):  # what differs is enough
        same = {key for key in got if key in wanted and got[key] == wanted[key]}
        got, wanted = ({key: value for key, value in d.items() if key not in same} for d in (got, wanted))
    assert got == wanted, f"{what}: got {got!r}, wanted {wanted!r}"


def wait_for(condition, timeout=15, what="condition", pause=0.02):
    """Returns the first true value of condition(); what may be a function that tells of now."""
    end = time.monotonic() + timeout * SLOW
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"after {timeout * SLOW} s still not: {what() if callable(what) else what}")
        time.sleep(pause)


def stays(condition, seconds, what):
    """condition() is true for so long, on a slow kernel too: for a limit of the module that must not strike."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert condition(), f"{what} did not stay"
        time.sleep(0.1)


@contextlib.contextmanager
def takes(least, most, what):
    """The block takes so many seconds; a busy machine may add two to them."""
    began = time.monotonic()
    yield
    seconds = time.monotonic() - began
    assert least <= seconds <= (most + 2) * SLOW, f"{what} took {seconds:.2f} s, wanted {least} to {most}"


def at_once(what):
    """The block does not wait for a peer."""
    return takes(0, 1, what)


def run(*command, check=True, timeout=100, **kwargs):
    if "input" not in kwargs:
        kwargs.setdefault("stdin", subprocess.DEVNULL)
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout * SLOW, **kwargs)
    if check and done.returncode:
        raise AssertionError(f"{' '.join(map(str, command))}: status {done.returncode}: "
                             f"{done.stderr.decode(errors='replace')[-500:]}")
    return done


def keep_code():
    """The first packet filter and the last make the kernel patch code of its packet path, and an emulated processor may
    hang or die in what is patched as it runs: one filter stays."""
    for family in ("ip", "ip6"):
        for hook in ("prerouting", "input", "output"):
            run("nft", f"add table {family} tlsport-tests; add chain {family} tlsport-tests {hook} "
                       f"{{ type filter hook {hook} priority 0; }}")


def write_file(path, text):
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def read_text(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def sysctl(name, value):
    """Of the kernel; as it was after the test."""
    path = "/proc/sys/" + name
    defer(write_file, path, read_text(path))
    write_file(path, value)


def parallel(count, function, *args):
    """Runs function(i, *args) in count threads; returns results and exceptions in order."""
    results = [None] * count

    def one(i):
        try:
            results[i] = function(i, *args)
        except Exception as error:  # pylint: disable=broad-except
            results[i] = error
    threads = [threading.Thread(target=one, args=(i,), daemon=True) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def outcome(function, *args):
    """What it returns, or the name of its error."""
    try:
        return function(*args)
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))


def in_thread(function, *args):
    """Starts it; returns what waits for its result."""
    results = []
    thread = threading.Thread(target=lambda: results.append(outcome(function, *args)), daemon=True)
    thread.start()

    def result():
        thread.join(20 * SLOW)
        assert results, "it did not return"
        return results[0]
    return result


TEXT = b"".join(b"%07d " % i for i in range(1 << 15))  # 256 KiB


def digest(data):
    """For a comparison that can be printed."""
    return len(data), hashlib.sha256(data).hexdigest()


def some_of(cases):
    """Of a long row of like cases those that are tried: all, or where time is short each second."""
    return list(cases)[::STRIDE]


_ports = iter(range(20000, 30000))


def new_port():
    return next(_ports)
