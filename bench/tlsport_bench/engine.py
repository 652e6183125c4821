# SPDX-License-Identifier: GPL-2.0-or-later
"""The servers that are compared, each in a directory and on a port of its own.  What "sending" means to each:
sendfile, the web server uses sendfile() where it can; send, it does not; splice, HAProxy hands plaintext through in
tcp mode with splice()."""
import contextlib
import os
import signal
import subprocess

from .base import Failure, Unavailable, built, find_program, read_text, try_read, wait_for, write_text

LISTEN = "0A"  # the state in /proc/net/tcp


def children(pid):
    text = try_read(f"/proc/{pid}/task/{pid}/children") or ""
    found = []
    for child in map(int, text.split()):
        found += [child] + children(child)
    return found


def listens(pid, port):
    for name in ("tcp", "tcp6"):
        for line in (try_read(f"/proc/{pid}/net/{name}") or "").splitlines()[1:]:
            words = line.split()
            if words[3] == LISTEN and int(words[1].rsplit(":", 1)[1], 16) == port:
                return True
    return False


class Process:
    """A server in the foreground, with its children."""

    def __init__(self, site, directory, port, command):
        self.log = directory + "/log"
        with open(self.log, "ab") as log:
            self.popen = subprocess.Popen(  # pylint: disable=consider-using-with
                [*site.topology.server_prefix, *site.pin_server, *command], stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, start_new_session=True)
        wait_for(lambda: self.popen.poll() is not None or listens(self.popen.pid, port),
                 f"{command[0]} listens on port {port}")
        if self.popen.poll() is not None:
            last = (read_text(self.log).strip().splitlines() or ["without a word"])[-1]
            raise Unavailable(f"{os.path.basename(command[0])} ended at once: {last}")

    def pids(self):
        return [self.popen.pid] + children(self.popen.pid)

    def stop(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGTERM)
        try:
            self.popen.wait(5)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.popen.pid, signal.SIGKILL)
            self.popen.wait()


NGINX = """
daemon off; user root; worker_processes {workers}; pid {dir}/pid; error_log {dir}/error.log warn;
events {{ worker_connections {most}; }}
http {{
  access_log off; sendfile {sendfile}; tcp_nopush on; keepalive_timeout 1h; keepalive_requests 1000000000;
  open_file_cache max=100; client_max_body_size 0; client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy;
  fastcgi_temp_path {dir}/fastcgi; uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
  server {{
    listen {port} backlog=4096 {tls}; root {www};
    location /up/ {{ root {dir}; dav_methods PUT; }}
  }}
}}
"""
# the kernel has no more for other curves; what clients prefer
SSL = "ssl; ssl_certificate {cert}; ssl_certificate_key {key}; ssl_protocols TLSv1.2 TLSv1.3; ssl_ecdh_curve X25519"
SESSIONS = "; ssl_session_cache shared:bench:10m"

HAPROXY = """
global
  nbthread {threads}
  maxconn {most}
  ssl-default-bind-options ssl-min-ver TLSv1.2
  ssl-default-bind-curves X25519
defaults
  mode {mode}
  {options}
  timeout connect 60s
  timeout client 1h
  timeout server 1h
frontend front
  bind :{port} backlog 4096 {tls}
  default_backend back
backend back
  server it 127.0.0.1:{back}
"""

STUNNEL = """
foreground = yes
pid =
debug = 3
syslog = no
[bench]
accept = {port}
connect = 127.0.0.1:{back}
cert = {cert}
key = {key}
curves = X25519
sslVersionMin = TLSv1.2
TIMEOUTidle = 3600
socket = l:TCP_NODELAY=1
socket = r:TCP_NODELAY=1
"""

HITCH = """
frontend = {{ host = "*" port = "{port}" }}
backend = "[127.0.0.1]:{back}"
pem-file = "{pem}"
workers = {threads}
backlog = 4096
user = "{user}"
tls-protos = TLSv1.2 TLSv1.3
ecdh-curve = "X25519"
"""


class Engine:
    """One that can be measured: name and label in the outputs, the ways of sending that it has."""
    name = label = None
    tls = True
    ways = ("sendfile", "send")
    kernel_tls = None  # True, False: the kernel's counters must rise, must not
    memory_only = False  # has no files

    def __init__(self, site, sending):
        self.site, self.sending = site, sending
        self.port = site.new_port()
        self.dir = f"{site.work}/{self.name}-{sending}"
        os.makedirs(self.dir + "/up")
        self.parts = {}  # {"server": Process, "proxy": Process}
        try:
            self.start()
        except Failure as failure:
            self.stop()
            raise Unavailable(str(failure)) from None
        except Unavailable:
            self.stop()
            raise

    def start(self):
        raise NotImplementedError

    def stop(self):
        for part in self.parts.values():
            part.stop()

    def pids(self):
        """{"server": [...]}, with "proxy" and "helper" where there are such."""
        return {name: part.pids() for name, part in self.parts.items()}

    def before(self):
        """Before its connections come."""
        self.site.topology.offload(False)

    def counters(self):
        """Its own, where it has some."""
        return {}

    def uploads(self):
        """Where what came is; None: it looks itself."""
        return self.dir + "/up"

    def start_nginx(self, port, tls="", sendfile=True):
        path = self.dir + "/nginx.conf"
        write_text(path, NGINX.format(
            workers=self.site.threads, most=self.site.connections_most(), dir=self.dir, port=port, tls=tls,
            www=self.site.www, sendfile="on" if sendfile else "off"))
        self.parts["server"] = Process(self.site, self.dir, port, [
            find_program("nginx", "nginx-light"), "-e", self.dir + "/error.log", "-c", path])

    def start_proxy(self, command):
        """In front of what start_nginx() started."""
        self.parts["proxy"] = Process(self.site, self.dir, self.port, command)

    def start_behind(self):
        """A plaintext nginx; returns its port."""
        back = self.site.new_port()
        self.start_nginx(back, sendfile=self.sending != "send")
        return back

    def start_haproxy(self, mode, options, tls):
        path = self.dir + "/haproxy.conf"
        write_text(path, HAPROXY.format(
            threads=self.site.threads, most=self.site.connections_most(), mode=mode, options=options, port=self.port,
            tls=tls, back=self.start_behind()))
        self.start_proxy([find_program("haproxy", "haproxy"), "-db", "-f", path])

    def start_plain(self):
        """A server that knows nothing of TLS."""
        if self.sending == "splice":
            self.start_haproxy("tcp", "option splice-request\n  option splice-response", "")
        else:
            self.start_nginx(self.port, sendfile=self.sending == "sendfile")


class Plain(Engine):
    name, label, tls, kernel_tls = "plain", "plain TCP", False, False
    ways = ("sendfile", "send", "splice")

    def start(self):
        self.start_plain()


class Openssl(Engine):
    name, label, kernel_tls = "openssl", "nginx + OpenSSL", False
    more = ""

    def start(self):
        self.start_nginx(self.port, SSL.format(cert=self.site.cert, key=self.site.key) + SESSIONS + self.more,
                         self.sending == "sendfile")


class Ktls(Openssl):
    name, label, kernel_tls = "ktls", "nginx + OpenSSL kTLS", True
    more = "; ssl_conf_command Options KTLS"


class Tlsport(Engine):
    name, label, kernel_tls = "tlsport", "tlsport software", True
    ways = ("sendfile", "send", "splice")
    mode = "sw"

    def start(self):
        self.site.product().enable(self.port, self.site.cert, self.site.key)
        self.start_plain()

    def pids(self):
        return {**super().pids(), "helper": self.site.product().pids()}

    def counters(self):
        return self.site.product().counters(self.port)


class TlsportNic(Tlsport):
    name, label, mode = "tlsport-nic", None, "nic"

    def __init__(self, site, sending):
        topology = site.topology
        self.label = topology.nic_label
        if not self.label:
            raise Unavailable(topology.why_no_nic())
        super().__init__(site, sending)

    def before(self):
        self.site.topology.offload(True)


class Haproxy(Engine):
    name, label = "haproxy", "HAProxy"

    def start(self):
        self.start_haproxy("http", "option http-keep-alive\n  http-reuse always", f"ssl crt {self.site.pem}")


class Stunnel(Engine):
    name, label = "stunnel", "stunnel, plain nginx behind"

    def start(self):
        path = self.dir + "/stunnel.conf"
        write_text(path, STUNNEL.format(port=self.port, back=self.start_behind(), cert=self.site.cert,
                                        key=self.site.key))
        self.start_proxy([find_program("stunnel4", "stunnel4"), path])


class Hitch(Engine):
    name, label = "hitch", "hitch, plain nginx behind"

    def start(self):
        path = self.dir + "/hitch.conf"
        write_text(path, HITCH.format(port=self.port, back=self.start_behind(), pem=self.site.pem,
                                      threads=self.site.threads, user="nobody"))
        self.start_proxy([find_program("hitch", "hitch"), f"--config={path}"])


class Wolfssl(Engine):
    name, label, memory_only, kernel_tls = "wolfssl", "wolfSSL in the server", True, False

    def start(self):
        self.parts["server"] = Process(self.site, self.dir, self.port, [
            built("wolfserve", "bench"), str(self.port), str(self.site.threads), self.site.cert, self.site.key,
            self.site.pattern])

    def uploads(self):
        return None


ENGINES = {engine.name: engine for engine in (Plain, Openssl, Ktls, Tlsport, TlsportNic, Haproxy, Stunnel, Hitch,
                                              Wolfssl)}
