#!/usr/bin/env python3
"""Proxy CPU per request beside nginx and haproxy: one worker pinned to core 0, load and backend on core 1, rounds interleaved, medians.

  proxy_bench.py build/cmd/monopod [--rounds 5] [--seconds 2] [--scenario h1_1k]...

Peers write no access log and keep no metrics of routes; ours does both: the handicap is ours. `direct` is load straight to the backend in the same
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

BACKEND, BACKEND_TLS, BACKEND_H2 = 18100, 18101, 18102
# name: (path, connections, client side TLS, endpoint side TLS)
SCENARIOS = {
    "h1_1k": ("/1k", 64, False, False),
    "h1_64k": ("/64k", 32, False, False),
    "h1_1m": ("/1m", 16, False, False),
    "tls_1k": ("/1k", 64, True, False),
    "tls_both_1k": ("/1k", 64, True, True),
    "tcp_1m": ("/1m", 16, False, False),
    # HTTP/2 by prior knowledge, ten streams at a time on each connection: to HTTP/1.1; and, gRPC in shape (POST, answer with a trailer), to HTTP/2.
    "h2_1k": ("/1k", 8, False, False),
    "h2_64k": ("/64k", 4, False, False),
    "grpc": ("/grpc", 8, False, False),
}
PORTS = {"monopod": 18200, "nginx": 18300, "haproxy": 18400}
OFFSETS = {"plain": 0, "tls": 1, "both": 2, "tcp": 3, "h2": 4, "grpc": 5}
STREAMS = 10


def kind_of(scenario):
    if scenario.startswith(("h2", "grpc")):
        return scenario.split("_")[0]
    return "tcp" if scenario.startswith("tcp") else "both" if "both" in scenario else "tls" if scenario.startswith("tls") else "plain"


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
 server {{ listen 127.0.0.1:{BACKEND} backlog=1024; listen 127.0.0.1:{BACKEND_TLS} ssl backlog=1024; root {d}/www; }}
 server {{ listen 127.0.0.1:{BACKEND_H2} http2 backlog=1024; root {d}/www;
  location /grpc {{ default_type application/grpc; add_trailer grpc-status 0; return 200 "{'x' * 100}"; }} }} }}""")


def nginx_config(d):
    p = PORTS["nginx"]
    common = "proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_set_header X-Forwarded-For $remote_addr; proxy_buffering on;"
    return write(f"{d}/nginx.conf", f"""
daemon off; worker_processes 1; pid {d}/nginx.pid; error_log /dev/null; load_module modules/ngx_stream_module.so;
events {{ worker_connections 4096; }}
stream {{ server {{ listen 127.0.0.1:{p + 3}; proxy_pass 127.0.0.1:{BACKEND}; }} }}
http {{ access_log off; keepalive_requests 100000000; keepalive_timeout 600s; proxy_temp_path {d}/nginx_tmp;
 ssl_certificate {d}/cert.pem; ssl_certificate_key {d}/key.pem;
 upstream plain {{ server 127.0.0.1:{BACKEND}; keepalive 128; keepalive_requests 100000000; }}
 upstream h2 {{ server 127.0.0.1:{BACKEND_H2}; keepalive 128; keepalive_requests 100000000; }}
 server {{ listen 127.0.0.1:{p + 4} http2 backlog=1024; location / {{ proxy_pass http://plain; {common} }} }}
 server {{ listen 127.0.0.1:{p + 5} http2 backlog=1024; location / {{ grpc_pass grpc://h2; grpc_set_header X-Forwarded-For $remote_addr; }} }}
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
    for name, offset, cluster in (("plain", 0, "plain"), ("tls", 1, "plain"), ("both", 2, "tls"), ("h2", 4, "plain"), ("grpc", 5, "h2")):
        tls = f"\n  tls: {{certificates: [{{certificate_file: {d}/cert.pem, key_file: {d}/key.pem}}]}}" if offset in (1, 2) else ""
        listeners += f"""
- name: {name}
  address: 127.0.0.1:{p + offset}{tls}
  virtual_hosts: [{{routes: [{{prefix: /, cluster: {cluster}}}]}}]
  access_log: {{path: {d}/access.log}}"""
    return write(f"{d}/proxy.yaml", f"""
listeners:{listeners}
- {{name: tcp, address: "127.0.0.1:{p + 3}", protocol: tcp, cluster: plain}}
clusters:
- {{name: plain, endpoints: ["127.0.0.1:{BACKEND}"]}}
- {{name: h2, endpoints: ["127.0.0.1:{BACKEND_H2}"], http2: true}}
- {{name: tls, endpoints: ["127.0.0.1:{BACKEND_TLS}"], tls: {{server_name: bench.test, ca_file: {d}/cert.pem}}}}
""")


def cpu_ticks(pid):
    """User and system time of a process and its children."""
    total = 0
    todo = [pid]
    while todo:
        p = todo.pop()
        try:
            with open(f"/proc/{p}/stat") as f:
                fields = f.read().rsplit(")", 1)[1].split()
            total += int(fields[11]) + int(fields[12])
            for task in os.listdir(f"/proc/{p}/task"):
                with open(f"/proc/{p}/task/{task}/children") as f:
                    todo += [int(c) for c in f.read().split()]
        except OSError:
            pass
    return total


def wait_for(port):
    for _ in range(200):
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    sys.exit(f"nothing listens on {port}")


def load(url, connections, seconds):
    out = subprocess.run(["taskset", "-c", "1", "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", url], capture_output=True, text=True, check=True).stdout
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


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--scenario", action="append")
    args = parser.parse_args()
    missing = [t for t in ("wrk", "h2load", "nginx", "haproxy", "openssl", "taskset") if shutil.which(t) is None and not os.path.exists(f"/usr/sbin/{t}")]
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
        for port in PORTS.values():
            wait_for(port)
        tick_us = 1e6 / os.sysconf("SC_CLK_TCK")
        print(f"{'scenario':<12} {'proxy':<8} {'us/request':>10} {'(min)':>8} {'rps':>8} {'rps/direct':>10} {'p99':>9}  ratio to the better peer, must")
        for scenario in args.scenario or SCENARIOS:
            path, connections, client_tls, _ = SCENARIOS[scenario]
            results = {}
            for _ in range(args.rounds):
                order = ["direct", *PORTS]
                random.shuffle(order)
                for who in order:
                    kind = kind_of(scenario)
                    backend = BACKEND_H2 if kind in ("h2", "grpc") else BACKEND
                    port = backend if who == "direct" else PORTS[who] + OFFSETS[kind]
                    scheme = "https" if client_tls and who != "direct" else "http"
                    before = cpu_ticks(processes[who].pid) if who != "direct" else 0
                    requests, rps, bad, errors, p99 = load_h2(d, f"http://127.0.0.1:{port}{path}", connections, args.seconds, kind == "grpc") if kind in ("h2", "grpc") else load(
                        f"{scheme}://127.0.0.1:{port}{path}", connections, args.seconds)
                    used = cpu_ticks(processes[who].pid) - before if who != "direct" else 0
                    if bad or errors:
                        print(f"{scenario}: {who}: {bad} bad answers {errors}")
                    results.setdefault(who, []).append((used * tick_us / max(requests, 1), rps, p99))
            median = {who: statistics.median(r[0] for r in rows) for who, rows in results.items()}
            direct = statistics.median(r[1] for r in results["direct"])
            better = min(median["nginx"], median["haproxy"])
            for who in ("direct", *PORTS):
                rows = results[who]
                rps = statistics.median(r[1] for r in rows)
                note = f"{median[who] / better:.2f} <= 1.00" if who == "monopod" else ""
                print(f"{scenario:<12} {who:<8} {median[who]:>10.1f} {min(r[0] for r in rows):>8.1f} {rps:>8.0f} {rps / direct:>10.2f} {rows[-1][2]:>9}  {note}", flush=True)
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
