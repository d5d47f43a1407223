#!/usr/bin/env python3
"""soak_test.py BINARY: a minute (30 with MONOPOD_LONG) of mixed load on `monopod proxy` while its routes and its certificate change every second: no failed
request, no connection closed by it, no growth. Load is bounded and on loopback."""
import itertools
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "http2"))
import http2_test  # noqa: E402
import wire  # noqa: E402

SECONDS = 1800 if os.environ.get("MONOPOD_LONG") else 60
PAUSE_S = 0.002  # between a client's requests


class Soak:
    def __init__(self, binary, directory):
        self.directory = directory
        self.stop, self.failures, self.counts = threading.Event(), [], {}
        self.plain, self.tls, self.tcp = (http2_test.free_port() for _ in range(3))
        self.endpoint = socket.create_server(("127.0.0.1", 0), backlog=128)
        http2_test.serve_http1(self.endpoint)
        for i in range(3):
            subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{directory}/{i}.key", "-out", f"{directory}/{i}.pem",
                            "-days", "2", "-subj", f"/CN=soak{i}"], check=True, capture_output=True)
        self.configure(0)
        self.proxy = subprocess.Popen([binary, "proxy", "--config", f"{directory}/proxy.yaml"], stdout=subprocess.DEVNULL, stderr=open(f"{directory}/log", "w", encoding="utf-8"))
        for port in (self.plain, self.tls, self.tcp):
            for _ in range(400):
                with socket.socket() as s:
                    if s.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.02)

    def configure(self, generation):
        d, endpoint = self.directory, self.endpoint.getsockname()[1]
        for name in ("key", "pem"):
            shutil.copy(f"{d}/{generation % 3}.{name}", f"{d}/new")
            os.rename(f"{d}/new", f"{d}/now.{name}")
        hosts = f"""[{{routes: [{{path: /generation, direct_response: {{status: 200, body: "generation {generation}"}}}}, {{prefix: /, cluster: endpoint, retry: {{attempts: 1}}}}]}}]"""
        with open(f"{d}/new", "w", encoding="utf-8") as f:
            f.write(f"""
listeners:
- {{name: plain, address: "127.0.0.1:{self.plain}", virtual_hosts: {hosts}, access_log: {{path: {d}/access.log}}}}
- {{name: tls, address: "127.0.0.1:{self.tls}", virtual_hosts: {hosts}, tls: {{certificates: [{{certificate_file: now.pem, key_file: now.key}}]}}}}
- {{name: tcp, address: "127.0.0.1:{self.tcp}", protocol: tcp, cluster: endpoint}}
clusters:
- {{name: endpoint, endpoints: ["127.0.0.1:{endpoint}"]}}
""")
        os.rename(f"{d}/new", f"{d}/proxy.yaml")

    def client(self, what, work):
        """work(connection number) makes one connection's requests, and yields after each."""
        try:
            for number in itertools.count():
                for _ in work(number):
                    self.counts[what] = self.counts.get(what, 0) + 1
                    if self.stop.wait(PAUSE_S):
                        return
        except (AssertionError, OSError, ValueError) as e:
            self.failures.append(f"{what}: {type(e).__name__}: {e}")

    def http1(self, port, tls, requests):
        context = ssl._create_unverified_context()

        def work(number):
            s = socket.create_connection(("127.0.0.1", port), timeout=20)
            s = context.wrap_socket(s) if tls else s
            stream = s.makefile("rb")
            for i in range(requests):
                body = b"x" * (i * 997 % 40000)
                path = ("/generation", "/get", "/post")[i % 3]
                if path == "/post" and i % 2:
                    s.sendall(b"POST /post HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + b"0\r\n\r\n")
                elif path == "/post":
                    s.sendall(b"POST /post HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
                else:
                    s.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
                status = stream.readline()
                assert b" 200 " in status, status
                length = 0
                while (line := stream.readline()) not in (b"\r\n", b""):
                    length = int(line.split(b":")[1]) if line.lower().startswith(b"content-length") else length
                answer = stream.read(length)
                assert answer.startswith(b"generation " if path == "/generation" else b"0123456789"), answer
                yield
            stream.close()
            s.close()
        return work

    def http2(self, port, tls, requests):
        context = None
        if tls:
            context = ssl._create_unverified_context()
            context.set_alpn_protocols(["h2"])

        def work(number):
            c = wire.Connection(("127.0.0.1", port), context, path="/get", patience=20)
            c.handshake()
            for i in range(requests):
                streams = [1 + 2 * (3 * i + k) for k in range(3)]  # three at a time
                for k, stream in enumerate(streams):
                    body = b"x" * (i * 991 % 16000)
                    if k == 0:
                        c.send(c.headers(stream))
                    else:
                        c.send(c.headers(stream, wire.END_HEADERS, c.fields("POST")), wire.frame(wire.DATA, wire.END_STREAM, stream, body))
                ended, came = set(), 0
                while len(ended) < 3:
                    event = c.event()
                    assert event.kind not in (wire.CLOSED, wire.TIMEOUT, wire.RST_STREAM, wire.GOAWAY), event
                    if event.kind in (wire.HEADERS, wire.DATA) and event.flags & wire.END_STREAM:
                        ended.add(event.stream)
                    if event.kind == wire.DATA:
                        came += len(event.payload)
                        c.send(wire.frame(wire.WINDOW_UPDATE, 0, 0, len(event.payload).to_bytes(4, "big")) if event.payload else b"")
                assert came == 30, came
                yield
            c.close()
        return work

    def state(self):
        with open(f"/proc/{self.proxy.pid}/smaps_rollup", encoding="ascii") as f:
            memory = next(int(line.split()[1]) for line in f if line.startswith("Pss_Anon"))
        return memory, len(os.listdir(f"/proc/{self.proxy.pid}/fd"))

    def run(self):
        jobs = [("http/1.1", self.http1(self.plain, False, 300)), ("http/1.1 short", self.http1(self.plain, False, 2)), ("tls", self.http1(self.tls, True, 25)), ("tcp", self.tunnel),
                ("http/2", self.http2(self.plain, False, 100)), ("http/2 tls", self.http2(self.tls, True, 30))]
        threads = [threading.Thread(target=self.client, args=job) for job in jobs]
        for thread in threads:
            thread.start()
        begun, generation, early = time.monotonic(), 0, None
        while (passed := time.monotonic() - begun) < SECONDS and not self.failures and self.proxy.poll() is None:
            time.sleep(1)
            generation += 1
            self.configure(generation)
            if early is None and passed > min(20, SECONDS / 3):
                early = self.state()
        self.stop.set()
        for thread in threads:
            thread.join()
        time.sleep(1)
        late = self.state() if self.proxy.poll() is None else (0, 0)
        with open(f"{self.directory}/log", encoding="utf-8") as f:
            reloads = f.read().count("configuration reloaded")
        print(f"{self.counts}; {reloads} reloads; KB and descriptors after a while {early}, at the end {late}")
        self.check(early, late, reloads, generation)

    def tunnel(self, number):
        s = socket.create_connection(("127.0.0.1", self.tcp), timeout=20)
        for _ in range(20):
            s.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            answer = b""
            while not answer.endswith(b"0123456789"):
                more = s.recv(4096)
                assert more, "the tunnel ended"
                answer += more
            yield
        s.close()

    def check(self, early, late, reloads, generation):
        assert not self.failures, self.failures
        assert self.proxy.poll() is None, "the proxy ended"
        assert reloads >= generation * 0.9, f"{reloads} of {generation} changes were taken"
        assert late[0] <= early[0] * 1.25 + 1024, f"memory grew from {early[0]} to {late[0]} KB"
        assert late[1] <= early[1], f"descriptors grew from {early[1]} to {late[1]}"

    def end(self):
        self.endpoint.close()
        self.proxy.terminate()
        assert self.proxy.wait(timeout=20) == 0, "the proxy ends in order"


def main():
    with tempfile.TemporaryDirectory() as directory:
        soak = Soak(sys.argv[1], directory)
        try:
            soak.run()
        finally:
            soak.stop.set()
            soak.end()


if __name__ == "__main__":
    main()
