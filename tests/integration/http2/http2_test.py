#!/usr/bin/env python3
"""HTTP/2 conformance of the two servers, the proxy's and that of everything else (here the registry), frame by frame: http2_test.py BINARY; or of any server: http2_test.py --connect HOST:PORT [--tls] [--only TEXT]."""
import argparse
import os
import socket
import ssl
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import cases  # noqa: E402
import client_cases  # noqa: E402
import wire  # noqa: E402


def serve_http1(listening):
    """An endpoint: answers each request of HTTP/1.1 with ten bytes."""
    def serve(connection):
        stream = connection.makefile("rb")
        while line := stream.readline():
            length = chunked = 0
            while (field := stream.readline()) not in (b"\r\n", b""):
                name, _, value = field.decode().lower().partition(":")
                length = int(value) if name == "content-length" else length
                chunked = chunked or name == "transfer-encoding"
            if chunked:
                while size := int(stream.readline(), 16):
                    stream.read(size + 2)
                while stream.readline() not in (b"\r\n", b""):
                    pass
            stream.read(length)
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n" + (b"" if line.startswith(b"HEAD") else b"0123456789"))
        connection.close()

    def quietly(connection):
        try:
            serve(connection)
        except (OSError, ValueError):
            connection.close()

    def accept():
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=quietly, args=(connection,), daemon=True).start()
    threading.Thread(target=accept, daemon=True).start()


PACE_S = 0.01  # between frames, so that a server has answered one before it sees the next


def run_cases(address, tls, only, what, lenient=(), pace=0):
    passed, failed = 0, []
    for section, fact, function in cases.CASES:
        if only not in f"{section} {fact}" or fact in lenient:
            continue
        connection = wire.Connection(address, tls, pace=0 if "more streams" in fact else pace)
        try:
            if function not in cases.RAW:
                connection.handshake()
            function(connection)
            passed += 1
        except (AssertionError, OSError) as e:
            failed.append(f"{what}: {section}: {fact}: {e}")
        finally:
            connection.close()
    return passed, failed


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def run_proxy(binary, only):
    endpoint = socket.create_server(("127.0.0.1", 0), backlog=128)
    serve_http1(endpoint)
    upstream = socket.create_server(("127.0.0.1", 0), backlog=128)
    own, forwarded, secure, asking = (free_port() for _ in range(4))
    with tempfile.TemporaryDirectory() as d:
        path = os.path.join(d, "proxy.yaml")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=conformance.test", "-keyout", f"{d}/k.pem", "-out", f"{d}/c.pem"], check=True, capture_output=True)
        with open(path, "w", encoding="utf-8") as f:
            f.write(f"""
listeners:
- {{name: own, address: "127.0.0.1:{own}", virtual_hosts: [{{routes: [{{prefix: /, direct_response: {{status: 200, body: "0123456789"}}}}]}}]}}
- {{name: forwarded, address: "127.0.0.1:{forwarded}", virtual_hosts: [{{routes: [{{prefix: /, cluster: endpoint}}]}}]}}
- {{name: secure, address: "127.0.0.1:{secure}", tls: {{certificates: [{{certificate_file: {d}/c.pem, key_file: {d}/k.pem}}]}}, virtual_hosts: [{{routes: [{{prefix: /, direct_response: {{status: 200, body: "0123456789"}}}}]}}]}}
- {{name: asking, address: "127.0.0.1:{asking}", virtual_hosts: [{{routes: [{{prefix: /, cluster: upstream}}]}}]}}
clusters:
- {{name: endpoint, endpoints: ["127.0.0.1:{endpoint.getsockname()[1]}"]}}
- {{name: upstream, http2: true, endpoints: ["127.0.0.1:{upstream.getsockname()[1]}"]}}
""")
        proxy = subprocess.Popen([binary, "proxy", "--config", path], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            for line in proxy.stderr:
                if "proxy is up" in line:
                    break
            drain = threading.Thread(target=proxy.stderr.read, daemon=True)
            drain.start()
            listeners = ((own, None, "own answer"), (forwarded, None, "forwarded"), (secure, trusting(), "over TLS"))
            results = [run_cases(("127.0.0.1", port), tls, only, f"{what}, paced" if pace else what, pace=pace) for port, tls, what in listeners for pace in (0, PACE_S)]
            results.append(run_client_cases(asking, upstream, only))
        finally:
            proxy.terminate()
            proxy.wait(timeout=20)
    endpoint.close()
    upstream.close()
    return results


def trusting():
    context = ssl._create_unverified_context()
    context.set_alpn_protocols(["h2"])
    return context


def run_client_cases(asking, upstream, only):
    """The proxy as a client: what it asks of an endpoint of HTTP/2 is answered by each case, on a connection of its own."""
    passed, failed = 0, []
    upstream.settimeout(5)
    for section, fact, function in client_cases.CASES:
        if only not in f"{section} {fact}":
            continue
        with socket.create_connection(("127.0.0.1", asking)) as client:
            client.sendall(b"GET / HTTP/1.1\r\nhost: conformance.test\r\n\r\n")
            connection = None
            try:
                connection = wire.Connection(accepted=upstream.accept()[0], pace=PACE_S)
                function(connection, connection.accept_handshake())
                passed += 1
            except (AssertionError, OSError) as e:
                failed.append(f"as a client: {section}: {fact}: {e}")
            finally:
                if connection:
                    connection.close()
    return passed, failed


def run_registry(binary, only):
    port = free_port()
    with tempfile.TemporaryDirectory() as d:
        registry = subprocess.Popen([binary, "registry", "--listen", f"127.0.0.1:{port}", "--data-dir", d], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            for _ in range(200):
                with socket.socket() as s:
                    if s.connect_ex(("127.0.0.1", port)) == 0:
                        break
                threading.Event().wait(0.05)
            # Which of two names counts is for routing to care about (RFC 9113 section 8.3.1: SHOULD).
            lenient = {"a host beside another :authority"}
            return [run_cases(("127.0.0.1", port), None, only, "registry, paced" if pace else "registry", lenient, pace) for pace in (0, PACE_S)]
        finally:
            registry.terminate()
            registry.wait(timeout=20)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary", nargs="?")
    parser.add_argument("--connect")
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--only", default="")
    parser.add_argument("--pace", type=float, default=0, help="seconds between frames, with --connect")
    args = parser.parse_args()
    if args.connect:
        host, port = args.connect.rsplit(":", 1)
        results = [run_cases((host, int(port)), trusting() if args.tls else None, args.only, args.connect, pace=args.pace)]
    else:
        results = run_proxy(args.binary, args.only) + run_registry(args.binary, args.only)
    failed = [line for _, lines in results for line in lines]
    for line in failed:
        print(line)
    print(f"{sum(n for n, _ in results)} passed, {len(failed)} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
