#!/usr/bin/env python3
"""Proxy CPU per request beside nginx, haproxy and nghttpx: one worker pinned to core 0, load and backend on core 1, rounds interleaved, medians.

  proxy_bench.py build/cmd/monopod [--rounds 5] [--seconds 2] [--scenario h1_1k]...

After them latency, memory and reload (rows.py): --scenario latency, memory, reload, websocket, sockmap. Peers write no access log and keep no metrics of routes; ours does both: the handicap is ours. `direct` is load straight to the backend in the same
rounds: rps alone, as there is no proxy whose time could count.
"""
import argparse
import os
import random
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import rows  # noqa: E402

BACKEND, BACKEND_TLS, BACKEND_H2, BACKEND_MTLS = 18100, 18101, 18102, 18103
# name: (kind, path, connections, must: of the better of nginx and haproxy, or of one peer)
SCENARIOS = {
    "h1_1k": ("plain", "/1k", 64, 1.00, None),
    "h1_64k": ("plain", "/64k", 32, 1.00, "haproxy"),
    "h1_1m": ("plain", "/1m", 16, 0.90, "haproxy"),
    "tls_1k": ("tls", "/1k", 64, 1.05, "haproxy"),
    "tls_both_1k": ("both", "/1k", 64, 1.00, None),
    # Client certificates both ways. No load tool shows one: a server on the load's core takes plain requests and passes them on as such a client.
    "mtls_1k": ("mtls", "/1k", 64, 1.00, None),
    # A full TLS 1.3 handshake and one request.
    "handshake": ("tls", "/1k", 16, 1.00, "haproxy"),
    "tcp_1m": ("tcp", "/1m", 16, 0.60, "nginx"),
    # HTTP/2 by prior knowledge, ten streams at a time on each connection: to HTTP/1.1; and, gRPC in shape (POST, answer with a trailer), to HTTP/2.
    "h2_1k": ("h2", "/1k", 8, 1.05, "haproxy"),
    "h2_64k": ("h2", "/64k", 4, 1.05, "haproxy"),
    "h2tls_1k": ("h2tls", "/1k", 8, 1.05, "haproxy"),
    "grpc": ("grpc", "/grpc", 8, 0.60, "haproxy"),
}
PORTS = {"monopod": 18200, "nginx": 18300, "haproxy": 18400, "nghttpx": 18500}
OFFSETS = {"plain": 0, "tls": 1, "both": 2, "tcp": 3, "h2": 4, "grpc": 5, "mtls": 6, "h2tls": 7}
NGHTTPX_KINDS = ("h2", "grpc", "h2tls")
LOADER = 18600  # of mtls: LOADER + the proxy's place
STREAMS = 10


def kind_of(scenario):
    return SCENARIOS[scenario][0]


def write(path, text):
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    return path


def make_certificates(d):
    run = lambda *a: subprocess.run(["openssl", *a], check=True, capture_output=True, cwd=d)
    run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "key.pem", "-out", "cert.pem", "-days", "30",
        "-subj", "/CN=bench.test", "-addext", "subjectAltName=DNS:bench.test")
    with open(f"{d}/cert.pem") as c, open(f"{d}/key.pem") as k:
        write(f"{d}/both.pem", c.read() + k.read())


def backend_config(d):
    return write(f"{d}/backend.conf", f"""
daemon off; worker_processes 1; pid {d}/backend.pid; error_log /dev/null;
events {{ worker_connections 4096; }}
http {{ access_log off; keepalive_requests 100000000; keepalive_timeout 600s; sendfile on;
 ssl_certificate {d}/cert.pem; ssl_certificate_key {d}/key.pem;
 server {{ listen 127.0.0.1:{BACKEND_MTLS} ssl backlog=1024; root {d}/www; ssl_client_certificate {d}/cert.pem; ssl_verify_client on; }}
{loaders(d)} server {{ listen 127.0.0.1:{BACKEND} backlog=1024; listen 127.0.0.1:{BACKEND_TLS} ssl backlog=1024; root {d}/www; }}
 server {{ listen 127.0.0.1:{BACKEND_H2} http2 backlog=1024; root {d}/www;
  location /grpc {{ default_type application/grpc; add_trailer grpc-status 0; return 200 "{'x' * 100}"; }} }} }}""")


def loaders(d):
    out = ""
    for i, port in enumerate([BACKEND_MTLS, *(PORTS[who] + OFFSETS["mtls"] for who in ("monopod", "nginx", "haproxy"))]):
        out += f""" upstream load{i} {{ server 127.0.0.1:{port}; keepalive 128; keepalive_requests 100000000; }}
 server {{ listen 127.0.0.1:{LOADER + i} backlog=1024; location / {{ proxy_pass https://load{i}; proxy_http_version 1.1; proxy_set_header Connection "";
  proxy_ssl_certificate {d}/cert.pem; proxy_ssl_certificate_key {d}/key.pem; }} }}
"""
    return out


def nghttpx_config(d, kind):
    p = PORTS["nghttpx"] + OFFSETS[kind]
    tls = "" if kind == "h2tls" else ";no-tls"
    backend = f"127.0.0.1,{BACKEND_H2};;proto=h2" if kind == "grpc" else f"127.0.0.1,{BACKEND}"
    certificate = f"private-key-file={d}/key.pem\ncertificate-file={d}/cert.pem\n" if kind == "h2tls" else ""
    return write(f"{d}/nghttpx-{kind}.conf", f"frontend=127.0.0.1,{p}{tls}\nbackend={backend}\nworkers=1\nerrorlog-file=/dev/null\n{certificate}")


def nginx_config(d):
    p = PORTS["nginx"]
    common = "proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_set_header X-Forwarded-For $remote_addr; proxy_buffering on;"
    return write(f"{d}/nginx.conf", f"""
daemon off; worker_processes 1; pid {d}/nginx.pid; error_log /dev/null; load_module modules/ngx_stream_module.so;
events {{ worker_connections 4096; }}
stream {{ server {{ listen 127.0.0.1:{p + 3}; proxy_pass 127.0.0.1:{BACKEND}; }} }}
http {{ access_log off; ssl_protocols TLSv1.2 TLSv1.3; keepalive_requests 100000000; keepalive_timeout 600s; proxy_temp_path {d}/nginx_tmp;
 ssl_certificate {d}/cert.pem; ssl_certificate_key {d}/key.pem;
 upstream plain {{ server 127.0.0.1:{BACKEND}; keepalive 128; keepalive_requests 100000000; }}
 upstream h2 {{ server 127.0.0.1:{BACKEND_H2}; keepalive 128; keepalive_requests 100000000; }}
 server {{ listen 127.0.0.1:{p + 4} http2 backlog=1024; location / {{ proxy_pass http://plain; {common} }} }}
 server {{ listen 127.0.0.1:{p + 5} http2 backlog=1024; location / {{ grpc_pass grpc://h2; grpc_set_header X-Forwarded-For $remote_addr; }} }}
 server {{ listen 127.0.0.1:{p + 7} ssl http2 backlog=1024; location / {{ proxy_pass http://plain; {common} }} }}
 upstream mtls {{ server 127.0.0.1:{BACKEND_MTLS}; keepalive 128; keepalive_requests 100000000; }}
 server {{ listen 127.0.0.1:{p + 6} ssl backlog=1024; ssl_client_certificate {d}/cert.pem; ssl_verify_client on;
  location / {{ proxy_pass https://mtls; proxy_ssl_certificate {d}/cert.pem; proxy_ssl_certificate_key {d}/key.pem;
   proxy_ssl_verify on; proxy_ssl_trusted_certificate {d}/cert.pem; proxy_ssl_name bench.test; {common} }} }}
 server {{ listen 127.0.0.1:{p + 8} backlog=1024; location / {{ proxy_pass http://127.0.0.1:{rows.ECHO}; proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; }} }}
 upstream tls {{ server 127.0.0.1:{BACKEND_TLS}; keepalive 128; keepalive_requests 100000000; }}
 server {{ listen 127.0.0.1:{p} backlog=1024; location / {{ proxy_pass http://plain; {common} }} }}
 server {{ listen 127.0.0.1:{p + 1} ssl backlog=1024; location / {{ proxy_pass http://plain; {common} }} }}
 server {{ listen 127.0.0.1:{p + 2} ssl backlog=1024; location / {{ proxy_pass https://tls; proxy_ssl_session_reuse on; {common} }} }} }}""")


def haproxy_config(d):
    p = PORTS["haproxy"]
    return write(f"{d}/haproxy.cfg", f"""
global
  nbthread 1
  maxconn 4096
  ssl-default-bind-options no-sslv3
defaults
  mode http
  timeout connect 2s
  timeout client 60s
  timeout server 60s
  option forwardfor
  http-reuse always
  option splice-auto
frontend plain
  bind 127.0.0.1:{p}
  default_backend plain
frontend tls
  bind 127.0.0.1:{p + 1} ssl crt {d}/both.pem
  default_backend plain
frontend both
  bind 127.0.0.1:{p + 2} ssl crt {d}/both.pem
  default_backend tls
frontend h2
  bind 127.0.0.1:{p + 4} proto h2
  default_backend plain
frontend grpc
  bind 127.0.0.1:{p + 5} proto h2
  default_backend h2
frontend h2tls
  bind 127.0.0.1:{p + 7} ssl crt {d}/both.pem alpn h2
  default_backend plain
frontend mtls
  bind 127.0.0.1:{p + 6} ssl crt {d}/both.pem ca-file {d}/cert.pem verify required
  default_backend mtls
backend mtls
  server a 127.0.0.1:{BACKEND_MTLS} ssl crt {d}/both.pem ca-file {d}/cert.pem verify required verifyhost bench.test pool-max-conn 256
frontend websocket
  bind 127.0.0.1:{p + 8}
  default_backend echo
backend echo
  timeout tunnel 60s
  server a 127.0.0.1:{rows.ECHO}
backend h2
  server a 127.0.0.1:{BACKEND_H2} proto h2 pool-max-conn 256
backend plain
  server a 127.0.0.1:{BACKEND} pool-max-conn 256
backend tls
  server a 127.0.0.1:{BACKEND_TLS} ssl verify none pool-max-conn 256
listen tcp
  mode tcp
  bind 127.0.0.1:{p + 3}
  server a 127.0.0.1:{BACKEND}
""")


def monopod_config(d):
    p = PORTS["monopod"]
    listeners = ""
    for name, offset, cluster in (("plain", 0, "plain"), ("tls", 1, "plain"), ("both", 2, "tls"), ("h2", 4, "plain"), ("grpc", 5, "h2"), ("mtls", 6, "mtls"), ("h2tls", 7, "plain"), ("websocket", 8, "echo")):
        ca = f", client_ca_file: {d}/cert.pem, require_client_certificate: true" if name == "mtls" else ""
        tls = f"\n  tls: {{certificates: [{{certificate_file: {d}/cert.pem, key_file: {d}/key.pem}}]{ca}}}" if name in ("tls", "both", "mtls", "h2tls") else ""
        listeners += f"""
- name: {name}
  address: 127.0.0.1:{p + offset}{tls}
  virtual_hosts: [{{routes: [{{prefix: /, cluster: {cluster}}}]}}]
  access_log: {{path: {d}/access.log}}"""
    return write(f"{d}/proxy.yaml", f"""
listeners:{listeners}
- {{name: tcp, address: "127.0.0.1:{p + 3}", protocol: tcp, cluster: plain}}
- {{name: joined, address: "127.0.0.1:{p + 9}", protocol: tcp, cluster: plain, sockmap: true}}
clusters:
- {{name: plain, endpoints: ["127.0.0.1:{BACKEND}"]}}
- {{name: h2, endpoints: ["127.0.0.1:{BACKEND_H2}"], http2: true}}
- {{name: echo, endpoints: ["127.0.0.1:{rows.ECHO}"]}}
- {{name: mtls, endpoints: ["127.0.0.1:{BACKEND_MTLS}"], tls: {{server_name: bench.test, ca_file: {d}/cert.pem, certificate_file: {d}/cert.pem, key_file: {d}/key.pem}}}}
- {{name: tls, endpoints: ["127.0.0.1:{BACKEND_TLS}"], tls: {{server_name: bench.test, ca_file: {d}/cert.pem}}}}
""")


def cpu_us(pid):
    """Time on a processor of a process and its children, all threads: as the scheduler counts it, since ticks miss what runs in short pieces."""
    total = 0
    todo = [pid]
    while todo:
        p = todo.pop()
        try:
            for task in os.listdir(f"/proc/{p}/task"):
                with open(f"/proc/{p}/task/{task}/schedstat") as f:
                    total += int(f.read().split()[0])
                with open(f"/proc/{p}/task/{task}/children") as f:
                    todo += [int(c) for c in f.read().split()]
        except OSError:
            pass
    return total / 1000


def wait_for(port):
    for _ in range(200):
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    sys.exit(f"nothing listens on {port}")


def load(url, connections, seconds, *more):
    out = subprocess.run(["taskset", "-c", "1", "wrk", *more, "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", url], capture_output=True, text=True, check=True).stdout
    requests = int(re.search(r"(\d+) requests in", out).group(1))
    rps = float(re.search(r"Requests/sec:\s+([\d.]+)", out).group(1))
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
    errors = re.search(r"Socket errors: (.*)", out)
    p99 = re.search(r"^ +99% +(\S+)$", out, re.MULTILINE)
    return requests, rps, int(bad.group(1)) if bad else 0, errors.group(1) if errors else "", p99.group(1) if p99 else "-"


def load_h2(d, url, connections, seconds, grpc):
    more = ["-d", f"{d}/www/message", "-H", "content-type: application/grpc", "-H", "te: trailers"] if grpc else []
    out = subprocess.run(["taskset", "-c", "1", "h2load", "-t1", f"-c{connections}", f"-m{STREAMS}", f"-D{seconds}", *more, url], capture_output=True, text=True, check=True).stdout
    requests, failed, errored = (int(re.search(rf"(\d+) {what}", out).group(1)) for what in ("succeeded", "failed", "errored"))
    rps = float(re.search(r"finished in [\d.]+\w+, ([\d.]+) req/s", out).group(1))
    slow = re.search(r"time for request: +\S+ +(\S+)", out)  # the slowest: it tells no percentiles
    return requests, rps, failed, f"{errored} errors" if errored else "", slow.group(1) if slow else "-"


def run_load(scenario, who, d, seconds):
    kind, path, connections, _, _ = SCENARIOS[scenario]
    if kind == "mtls":
        return load(f"http://127.0.0.1:{LOADER + ['direct', *PORTS].index(who)}{path}", connections, seconds)
    h2 = kind in NGHTTPX_KINDS
    port = (BACKEND_H2 if h2 else BACKEND) if who == "direct" else PORTS[who] + OFFSETS[kind]
    url = f"{'https' if kind in ('tls', 'both', 'h2tls') and who != 'direct' else 'http'}://127.0.0.1:{port}{path}"
    if h2:
        return load_h2(d, url, connections, seconds, kind == "grpc")
    return load(url, connections, seconds, *(["-H", "Connection: close"] if scenario == "handshake" else []))


def measure(scenario, d, processes, args):
    kind, _, _, must, against = SCENARIOS[scenario]
    results = {}
    present = [who for who in PORTS if who != "nghttpx" or kind in NGHTTPX_KINDS]
    for _ in range(args.rounds):
        order = ["direct", *present]
        random.shuffle(order)
        for who in order:
            process = processes.get(f"nghttpx-{kind}" if who == "nghttpx" else who)
            before = cpu_us(process.pid) if process else 0
            requests, rps, bad, errors, p99 = run_load(scenario, who, d, args.seconds)
            used = cpu_us(process.pid) - before if process else 0
            if bad or (errors and scenario != "handshake"):  # a closed connection is wrk's read error
                print(f"{scenario}: {who}: {bad} bad answers {errors}")
            results.setdefault(who, []).append((used / max(requests, 1), rps, p99))
    median = {who: statistics.median(r[0] for r in measured) for who, measured in results.items()}
    direct = statistics.median(r[1] for r in results["direct"])
    base = median[against] if against else min(median["nginx"], median["haproxy"])
    for who in ("direct", *present):
        measured = results[who]
        rps = statistics.median(r[1] for r in measured)
        note = f"{median[who] / base:.2f} <= {must:.2f} x {against or 'the better peer'}" if who == "monopod" else ""
        if who == "monopod" and "nghttpx" in median:
            note += f"; {median[who] / median['nghttpx']:.2f} x nghttpx"
        print(f"{scenario:<12} {who:<8} {median[who]:>10.1f} {min(r[0] for r in measured):>8.1f} {rps:>8.0f} {rps / direct:>10.2f} {measured[-1][2]:>9}  {note}", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--scenario", action="append")
    args = parser.parse_args()
    missing = [t for t in ("wrk", "h2load", "nginx", "haproxy", "openssl", "taskset", "nghttpx") if shutil.which(t) is None and not os.path.exists(f"/usr/sbin/{t}")]
    if missing:
        sys.exit(f"missing: {', '.join(missing)}; packaging/scripts/install-deps bench")
    d = tempfile.mkdtemp(prefix="proxy-bench-")
    os.chmod(d, 0o755)
    os.makedirs(f"{d}/www")
    for name, size in (("message", 100), ("1k", 1024), ("64k", 65536), ("1m", 1 << 20)):
        with open(f"{d}/www/{name}", "wb") as f:
            f.write(b"x" * size)
    make_certificates(d)
    pin = lambda core, *a: subprocess.Popen(["taskset", "-c", str(core), *a], stdout=subprocess.DEVNULL, stderr=open(f"{d}/stderr.log", "a"))
    processes = {}
    try:
        processes["backend"] = pin(1, "/usr/sbin/nginx", "-c", backend_config(d))
        wait_for(BACKEND)
        processes["monopod"] = pin(0, args.binary, "proxy", "--config", monopod_config(d))
        processes["nginx"] = pin(0, "/usr/sbin/nginx", "-c", nginx_config(d))
        processes["haproxy"] = pin(0, "/usr/sbin/haproxy", "-f", haproxy_config(d))
        for who in ("monopod", "nginx", "haproxy"):
            wait_for(PORTS[who])
        for kind in NGHTTPX_KINDS:
            processes[f"nghttpx-{kind}"] = pin(0, "nghttpx", f"--conf={nghttpx_config(d, kind)}")
            wait_for(PORTS["nghttpx"] + OFFSETS[kind])
        print(f"{'scenario':<12} {'proxy':<8} {'us/request':>10} {'(min)':>8} {'rps':>8} {'rps/direct':>10} {'p99':>9}  ratio, must")
        # memory comes first: what load leaves in pools would serve the connections that it counts.
        for name in args.scenario or ["memory", *SCENARIOS, *(row for row in rows.ROWS if row != "memory")]:
            if name in SCENARIOS:
                measure(name, d, processes, args)
            else:
                rows.ROWS[name](sys.modules[__name__], d, processes, args)
        with open("/proc/loadavg") as f:
            print(f"load average {f.read().split()[0]}")
    finally:
        for process in processes.values():
            process.send_signal(signal.SIGTERM)
        for process in processes.values():
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                process.kill()
        shutil.rmtree(d, ignore_errors=True)


if __name__ == "__main__":
    main()
