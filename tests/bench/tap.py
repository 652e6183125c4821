# SPDX-License-Identifier: GPL-2.0-or-later
"""Tests with a promise each, and what they come to as TAP."""
import sys

tests = []


def test(promise):
    def register(function):
        function.promise = promise
        tests.append(function)
        return function
    return register


def near(found, wanted, part=1e-3):
    assert abs(found - wanted) <= abs(wanted) * part, f"{found}, wanted {wanted}"


def run_all(name):
    failed = 0
    for number, function in enumerate(tests, 1):
        try:
            function()
            print(f"ok {number} - {name}: {function.promise}")
        except Exception as error:  # pylint: disable=broad-except
            failed += 1
            line = error.__traceback__.tb_next.tb_lineno
            print(f"not ok {number} - {name}: {function.promise}\n# line {line}: {type(error).__name__}: {error}")
    print(f"1..{len(tests)}")
    sys.exit(failed > 0)
