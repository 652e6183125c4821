# SPDX-License-Identifier: GPL-2.0-or-later
"""The machine, its software and its device: what a figure depends on."""
import os
import platform
import re
import shutil
import subprocess

from .base import TOP, try_read

PROGRAMS = {"nginx": ("nginx", "-v"), "openssl": ("openssl", "version"), "haproxy": ("haproxy", "-v"),
            "stunnel": ("stunnel4", "-version"), "hitch": ("hitch", "--version"), "wrk": ("wrk", "-v"),
            "h2load": ("h2load", "--version"), "perf": ("perf", "--version")}
VERSION = re.compile(r"\d+\.\d[\w.+-]*")
PACKAGES = ("libssl3", "libssl3t64", "libwolfssl35", "libwolfssl-dev")


def output(*command):
    """Its first lines, from wherever it printed them; empty: it cannot be run."""
    path = shutil.which(command[0]) or shutil.which(command[0], path="/usr/sbin:/sbin")
    if not path:
        return ""
    try:
        done = subprocess.run([path, *command[1:]], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout


def versions():
    found = {}
    for name, command in PROGRAMS.items():
        match = VERSION.search(output(*command))
        if match:
            found[name] = match.group(0)
    for line in output("dpkg-query", "-W", "-f", "${Package} ${Version}\n", *PACKAGES).splitlines():
        words = line.split()
        if len(words) == 2:
            found[words[0]] = words[1]
    return found


def crypto_driver(name="gcm(aes)"):
    """Which code of the kernel serves it; None: none has been asked for."""
    best = None
    for block in (try_read("/proc/crypto") or "").split("\n\n"):
        fields = dict(re.findall(r"^(\w+)\s*: (.*)$", block, re.M))
        if fields.get("name") == name and (not best or int(fields["priority"]) > best[0]):
            best = int(fields["priority"]), fields["driver"]
    return best and best[1]


def processor():
    text = try_read("/proc/cpuinfo") or ""
    model = re.search(r"^model name\s*: (.*)$", text, re.M)
    flags = set((re.search(r"^(?:flags|Features)\s*: (.*)$", text, re.M) or re.match("()", "")).group(1).split())
    model = model.group(1) if model else platform.machine()
    emulated = "QEMU TCG" in model or "qemu" in model.lower() and "hypervisor" in flags
    return {"model": model, "count": os.cpu_count(), "usable": sorted(os.sched_getaffinity(0)),
            "flags": sorted(flags & {"aes", "pclmulqdq", "vpclmulqdq", "vaes", "avx2", "avx512f", "sha_ni", "pmull"}),
            "hypervisor": "hypervisor" in flags, "emulated": emulated,
            "governor": try_read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
            "smt": try_read("/sys/devices/system/cpu/smt/active")}


def device_facts(topology):
    """Driver, firmware, and how the device is set."""
    if not topology.device:
        return None
    text = topology.in_server("ethtool", "-i", topology.device, check=False)
    info = dict(re.findall(r"^(\S[^:]*): (.*)$", text, re.M))
    features = topology.features()
    speed = re.search(r"Speed: (\S+)", topology.in_server("ethtool", topology.device, check=False))
    return {"driver": info.get("driver"), "version": info.get("version"), "firmware": info.get("firmware-version"),
            "bus": info.get("bus-info"), "speed": speed and speed.group(1),
            "features": {name: features[name] for name in sorted(features) if "tls" in name or name in (
                "tcp-segmentation-offload", "generic-receive-offload", "rx-checksumming", "tx-checksumming")},
            "mtu": re.search(r"mtu (\d+)", topology.in_server("ip", "link", "show", "dev", topology.device)).group(1)}


def commit():
    """Of the tree that this runs from; a tree that differs from it says "-dirty"."""
    try:
        done = subprocess.run(["git", "-c", f"safe.directory={TOP}", "-C", TOP, "describe", "--always", "--dirty",
                               "--abbrev=12"], capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() or None


def system():
    release = dict(re.findall(r'^(\w+)="?(.*?)"?$', try_read("/etc/os-release") or "", re.M))
    memory = re.search(r"MemTotal:\s+(\d+)", try_read("/proc/meminfo") or "")
    return {"kernel": os.uname().release, "build": os.uname().version, "arch": os.uname().machine,
            "command_line": try_read("/proc/cmdline"), "distribution": release.get("PRETTY_NAME"),
            "memory": memory and int(memory.group(1)) * 1024, "processor": processor(),
            "congestion_control": try_read("/proc/sys/net/ipv4/tcp_congestion_control"),
            "tcp_rmem": try_read("/proc/sys/net/ipv4/tcp_rmem"), "tcp_wmem": try_read("/proc/sys/net/ipv4/tcp_wmem"),
            "vulnerabilities": {name: try_read(f"/sys/devices/system/cpu/vulnerabilities/{name}") for name in
                                sorted(os.listdir("/sys/devices/system/cpu/vulnerabilities"))}
            if os.path.isdir("/sys/devices/system/cpu/vulnerabilities") else {},
            "module": {"loaded": os.path.exists("/sys/module/tlsport"),
                       "srcversion": try_read("/sys/module/tlsport/srcversion")}}


def place():
    """Equal for processes of which one reaches the other without a device."""
    try:
        return [try_read("/proc/sys/kernel/random/boot_id"), os.readlink("/proc/self/ns/net")]
    except OSError:
        return None


def facts(topology):
    return {**system(), "versions": versions(), "commit": commit(), "crypto_driver": crypto_driver(),
            "device": device_facts(topology)}
