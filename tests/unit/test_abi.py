#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The netlink ABI is written down three times; they say the same.

Documentation/netlink/specs/tlsport.yaml, include/uapi/linux/tlsport.h (with
tlsport_reason.h and tlsport_sw.h) and the policies in kmod/netlink.c.  Output is TAP.
"""

import os
import re
import subprocess
import sys
import tempfile

import yaml

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
SPEC = os.path.join(ROOT, "Documentation/netlink/specs/tlsport.yaml")
UAPI = os.path.join(ROOT, "include/uapi")
HEADER = os.path.join(UAPI, "linux/tlsport.h")
REASONS = os.path.join(UAPI, "linux/tlsport_reason.h")
SW = os.path.join(UAPI, "linux/tlsport_sw.h")
POLICY_DIR = os.path.join(ROOT, "kmod")
CC = os.environ.get("CC", "cc")

# A policy may say less than the spec (NLA_BINARY without a length), never
# another type; how the policies of net/netlink spell a type of the spec.
NLA = {
    "u8": {"NLA_U8"},
    "u16": {"NLA_U16"},
    "u32": {"NLA_U32"},
    "u64": {"NLA_U64"},
    "uint": {"NLA_U64", "NLA_UINT"},
    "flag": {"NLA_FLAG"},
    "binary": {"NLA_BINARY"},
    "string": {"NLA_STRING", "NLA_NUL_STRING"},
    "nest": {"NLA_NESTED"},
}


def c_name(*parts):
    return "-".join(parts).replace("-", "_").upper()


class Spec:
    """The constants that the spec stands for, by their C names."""

    def __init__(self, path):
        with open(path, encoding="utf-8") as f:
            self.doc = yaml.safe_load(f)
        self.family = self.doc["name"]
        self.sets = {s["name"]: s for s in self.doc["attribute-sets"]}
        self.enums = {d["name"]: d for d in self.doc["definitions"] if d["type"] == "enum"}
        self.consts = {
            c_name(self.family, d["name"]): d["value"]
            for d in self.doc["definitions"]
            if d["type"] == "const"
        }
        self.ops = self.doc["operations"]["list"]

    def enum_values(self):
        values = {}
        for enum in self.enums.values():
            prefix = enum.get("name-prefix", f"{self.family}-{enum['name']}-")
            number = enum.get("value-start", 0)
            for entry in enum["entries"]:
                number = entry.get("value", number)
                values[c_name(prefix + entry["name"])] = number
                number += 1
        return values

    def attributes(self):
        """C name -> (number, attribute, name of its set)"""
        found = {}
        for aset in self.sets.values():
            prefix = aset.get("name-prefix", f"{self.family}-a-{aset['name']}-")
            number = 1
            for attr in aset["attributes"]:
                number = attr.get("value", number)
                found[c_name(prefix + attr["name"])] = (number, attr, aset["name"])
                number += 1
        return found

    def commands(self):
        """C name -> (number, operation)"""
        found = {}
        number = 1
        for op in self.ops:
            number = op.get("value", number)
            found[c_name(self.family, "cmd", op["name"])] = (number, op)
            number += 1
        return found

    def requested(self):
        """C names of the attributes that some request carries."""
        names = set()
        for op in self.ops:
            for kind in ("do", "dump"):
                for attr in op.get(kind, {}).get("request", {}).get("attributes", []):
                    names.add(c_name(self.family, "a", op["attribute-set"], attr))
        return names

    def number(self, value):
        if isinstance(value, int):
            return value
        return self.consts[c_name(self.family, value)]


class Header:
    """The constants of the C header: numbers by the compiler, types by the comments."""

    def __init__(self):
        self.text = open(HEADER, encoding="utf-8").read()
        pre = subprocess.run(
            [CC, "-E", "-P", "-I", UAPI, HEADER], check=True, capture_output=True, text=True
        ).stdout
        self.enumerators = []
        for body in re.findall(r"\benum\b\s*\w*\s*\{(.*?)\}", pre, re.S):
            for item in body.split(","):
                name = item.split("=")[0].strip()
                if name:
                    self.enumerators.append(name)
        defines = re.findall(r"^#define[ \t]+(TLSPORT_\w+)[ \t]+\S", self.text, re.M)
        self.strings = {}
        self.values = self.evaluate(self.enumerators + defines)

    def evaluate(self, names):
        lines = "".join(
            f"\tSHOW({n});\n" for n in names
        )
        program = (
            "#include <stdio.h>\n#include <linux/tlsport.h>\n"
            "static void number(const char *n, long long v) { printf(\"%s %lld\\n\", n, v); }\n"
            "static void text(const char *n, const char *v) { printf(\"%s \\\"%s\\n\", n, v); }\n"
            "#define SHOW(x) _Generic((x), char *: text, const char *: text, default: number)"
            "(#x, x)\n"
            "int main(void)\n{\n" + lines + "\treturn 0;\n}\n"
        )
        with tempfile.TemporaryDirectory() as tmp:
            src, exe = os.path.join(tmp, "abi.c"), os.path.join(tmp, "abi")
            with open(src, "w", encoding="utf-8") as f:
                f.write(program)
            subprocess.run([CC, "-I", UAPI, "-o", exe, src], check=True)
            out = subprocess.run([exe], check=True, capture_output=True, text=True).stdout
        values = {}
        for line in out.splitlines():
            name, value = line.split(" ", 1)
            if value.startswith('"'):
                self.strings[name] = value[1:]
            else:
                values[name] = int(value)
        return values

    def types(self):
        """Attribute -> the type that its comment names."""
        found = {}
        for enum in re.findall(r"((?:/\*(?:(?!\*/).)*\*/\s*)?)enum\s*\{(.*?)\n\};", self.text, re.S):
            heading, body = enum
            default = "u64" if "all u64" in heading else None
            pending = None
            for match in re.finditer(
                r"/\*(?P<above>(?:(?!\*/).)*)\*/\s*\n"
                r"|(?P<name>TLSPORT_A_\w+),(?:[ \t]*/\*(?P<beside>(?:(?!\*/).)*)\*/)?",
                body,
                re.S,
            ):
                if match.group("name") is None:
                    pending = self.comment_type(match.group("above"))
                    continue
                beside = match.group("beside")
                kind = self.comment_type(beside) if beside else None
                found[match.group("name")] = kind or pending or default
                pending = None
        return found

    @staticmethod
    def comment_type(comment):
        words = re.sub(r"^[\s*]+", "", comment)
        match = re.match(r"(?:multi: )?(u8|u16|u32|u64|flag|binary|string|nest)\b", words)
        return match.group(1) if match else None

    @staticmethod
    def table(path):
        """A table of reasons: symbol, name, text"""
        with open(path, encoding="utf-8") as f:
            return re.findall(r'X\((\w+), "([\w-]+)", "([^"]*)"\)', f.read())


def read_policies():
    """kmod's policies: attribute -> (type, minimum, maximum, length)"""
    found = {}
    if not os.path.isfile(os.path.join(POLICY_DIR, "netlink.c")):
        return None
    with open(os.path.join(POLICY_DIR, "netlink.c"), encoding="utf-8") as f:
        text = re.sub(r"/\*.*?\*/", "", f.read(), flags=re.S)
    for table in re.findall(r"struct nla_policy \w+\[[^\]]*\]\s*=\s*\{(.*?)\n\};", text, re.S):
        for name, rest in re.findall(r"\[(TLSPORT_A_\w+)\]\s*=\s*(.*?)(?=\n\s*\[|\Z)", table, re.S):
            kind = re.search(r"NLA_(?!POLICY)\w+", rest)
            length = None
            if kind is None and "NLA_POLICY_EXACT_LEN" in rest:
                kind = "NLA_BINARY"
            elif kind is None and "NLA_POLICY_NESTED" in rest:
                kind = "NLA_NESTED"
            elif kind is not None:
                kind = kind.group(0)
            low = high = None
            match = re.search(r"NLA_POLICY_RANGE\(\s*\w+,\s*([^,]+),\s*([^)]+)\)", rest)
            if match and kind != "NLA_BINARY":
                low, high = match.group(1).strip(), match.group(2).strip()
            match = re.search(r"NLA_POLICY_MIN\(\s*\w+,\s*([^)]+)\)", rest)
            if match:
                low = match.group(1).strip()
            match = re.search(r"NLA_POLICY_MAX\(\s*\w+,\s*([^)]+)\)", rest)
            if match:
                high = match.group(1).strip()
            match = re.search(r"\.len\s*=\s*([^,}]+)", rest)
            if match:
                length = match.group(1).strip()
            match = re.search(r"NLA_POLICY_MAX_LEN\(\s*([^)]+)\)", rest)
            if match:
                kind, length = "NLA_BINARY", match.group(1).strip()
            found.setdefault(name, []).append((kind, low, high, length))
    return found


def compare(what, left, right, left_name, right_name):
    """Differences of two dictionaries, one line each."""
    out = []
    for name in sorted(set(left) | set(right)):
        if name not in right:
            out.append(f"{what} {name}: only in the {left_name}")
        elif name not in left:
            out.append(f"{what} {name}: only in the {right_name}")
        elif left[name] != right[name]:
            out.append(
                f"{what} {name}: {left[name]} in the {left_name}, "
                f"{right[name]} in the {right_name}"
            )
    return out


def bookkeeping(name):
    """Enumerators that a spec never names."""
    return name.startswith("__") or name.endswith("_UNSPEC")


def check_family(spec, header):
    expect = {
        c_name(spec.doc["c-family-name"]): spec.family,
    }
    out = compare("string", expect, header.strings, "spec", "header")
    if c_name(spec.doc["c-version-name"]) not in header.values:
        out.append("the header has no version")
    return out


def check_constants(spec, header):
    found = {n: header.values[n] for n in spec.consts if n in header.values}
    return compare("constant", spec.consts, found, "spec", "header")


def check_enums(spec, header):
    prefixes = ("TLSPORT_A_", "TLSPORT_CMD_")
    found = {
        n: header.values[n]
        for n in header.enumerators
        if not bookkeeping(n) and not n.startswith(prefixes)
    }
    return compare("value", spec.enum_values(), found, "spec", "header")


def check_attributes(spec, header):
    found = {
        n: header.values[n]
        for n in header.enumerators
        if n.startswith("TLSPORT_A_") and not bookkeeping(n)
    }
    expect = {n: v[0] for n, v in spec.attributes().items()}
    out = compare("attribute", expect, found, "spec", "header")
    for aset in spec.sets:
        last = max(n for n, _, s in spec.attributes().values() if s == aset)
        name = c_name(spec.family, "a", aset, "max")
        if header.values.get(name) != last:
            out.append(f"attribute {name}: {header.values.get(name)}, the last one is {last}")
    return out


def check_types(spec, header):
    found = header.types()
    out = []
    for name, (_, attr, _) in spec.attributes().items():
        kind = attr["type"]
        if kind == "pad":
            if not name.endswith("_PAD"):
                out.append(f"attribute {name}: a pad by another name")
            continue
        said = found.get(name)
        if said is None:
            # The number of a port is u16 by its comment, all others say it too.
            out.append(f"attribute {name}: its comment in the header names no type")
        elif said != ("u64" if kind == "uint" else kind):
            out.append(f"attribute {name}: {kind} in the spec, {said} in the header")
        if "enum" in attr and attr["enum"] not in spec.enums:
            out.append(f"attribute {name}: there is no enum {attr['enum']}")
        if kind == "nest" and attr.get("nested-attributes") not in spec.sets:
            out.append(f"attribute {name}: nest of an unknown set")
    return out


def check_ranges(spec, header):
    """`u32, ms, 100..600000 (10000)` in the header is min and max in the spec."""
    out = []
    for name, (_, attr, _) in spec.attributes().items():
        match = re.search(rf"\b{name},[ \t]*/\*[^*]*?(\d+)\.\.(\d+)", header.text)
        if not match:
            continue
        low, high = int(match.group(1)), int(match.group(2))
        checks = attr.get("checks", {})
        limit = {"u8": 0xFF, "u16": 0xFFFF, "u32": 0xFFFFFFFF}[attr["type"]]
        if checks.get("min", 0) != low or checks.get("max", limit) != high:
            out.append(f"attribute {name}: {checks} in the spec, {low}..{high} in the header")
    return out


def check_commands(spec, header):
    found = {
        n: header.values[n]
        for n in header.enumerators
        if n.startswith("TLSPORT_CMD_") and not bookkeeping(n)
    }
    expect = {n: v[0] for n, v in spec.commands().items()}
    out = compare("command", expect, found, "spec", "header")
    if header.values.get(c_name(spec.doc["cmd-max-name"])) != max(expect.values()):
        out.append("command: the last one and the header's maximum differ")
    for op in spec.ops:
        names = {a["name"] for a in spec.sets[op["attribute-set"]]["attributes"]}
        lists = [op.get("event", {})]
        for kind in ("do", "dump"):
            lists += [op.get(kind, {}).get("request", {}), op.get(kind, {}).get("reply", {})]
        for attrs in lists:
            for attr in attrs.get("attributes", []):
                if attr not in names:
                    out.append(f"operation {op['name']}: its set has no attribute {attr}")
    return out


def check_reasons(spec, header):
    """The counters of why a connection ended have underscores in their names."""
    out = []
    for enum, path, separator in (("reason", REASONS, "_"), ("sw", SW, "-")):
        expect = [(e["name"].replace("-", separator), e["doc"]) for e in spec.enums[enum]["entries"]]
        table = header.table(path)
        found = [(name, text) for _, name, text in table]
        for left, right in zip(expect, found):
            if left != right:
                out.append(f"{enum}: {left} in the spec, {right} in the header")
        if len(expect) != len(found):
            out.append(f"{enum}: {len(expect)} in the spec, {len(found)} in the header")
        for symbol, name, _ in table:
            if symbol.lower() != name.replace("-", "_"):
                out.append(f"{enum} {symbol}: its name is {name}")
    return out


def check_policies(spec, header):
    policies = read_policies()
    if policies is None:
        return None
    out = []
    attributes = spec.attributes()
    requested = spec.requested()

    def number(text):
        """A limit in C: a number, or a constant of the header."""
        text = text.strip()
        if text in header.values:
            return header.values[text]
        try:
            return int(text.rstrip("uUlL"), 0)
        except ValueError:
            return None

    for name in sorted(requested - set(policies)):
        out.append(f"policy: {name} may be in a request and has no policy")
    for name, entries in sorted(policies.items()):
        if name not in attributes:
            out.append(f"policy: {name} is not in the spec")
            continue
        attr = attributes[name][1]
        if name not in requested and attr["type"] != "pad":
            if any(e[0] != "NLA_REJECT" for e in entries):
                out.append(f"policy: {name} is accepted, no request of the spec carries it")
            continue
        for kind, low, high, length in entries:
            if attr["type"] == "pad" or kind == "NLA_REJECT":
                continue
            if kind not in NLA[attr["type"]]:
                out.append(f"policy: {name} is {kind}, {attr['type']} in the spec")
            checks = attr.get("checks", {})
            for word, text in (("min", low), ("max", high), ("max-len", length)):
                if text is None or number(text) is None or word not in checks:
                    continue
                if number(text) != spec.number(checks[word]):
                    out.append(
                        f"policy: {name} has {word} {text}, {checks[word]} in the spec"
                    )
    return out


TESTS = [
    ("family name and version", check_family),
    ("constants", check_constants),
    ("enumerations: names and numbers", check_enums),
    ("attributes: names and numbers", check_attributes),
    ("attributes: types", check_types),
    ("attributes: ranges", check_ranges),
    ("commands: names, numbers and attributes", check_commands),
    ("reasons: names and texts", check_reasons),
    ("policies of kmod/netlink.c: attributes, types and limits", check_policies),
]


def main():
    spec, header = Spec(SPEC), Header()
    strict = os.environ.get("TLSPORT_TEST_STRICT") == "1"
    failed = 0
    print("TAP version 13")
    print(f"1..{len(TESTS)}")
    for number, (name, test) in enumerate(TESTS, 1):
        differences = test(spec, header)
        if differences is None and not strict:
            print(f"ok {number} - {name} # SKIP kmod/netlink.c is missing")
            continue
        if differences is None:
            differences = ["kmod/netlink.c is missing"]
        print(f"{'not ok' if differences else 'ok'} {number} - {name}")
        for line in differences:
            print(f"# {line}")
        failed += bool(differences)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
