#!/usr/bin/env python3
"""The datastore beside Debian's etcd: the same client, the same disk, in turn, in one run. One line each: name, ours, etcd's, ratio, what is asked.

MONOPOD_LONG=1 takes five rounds instead of three. Needs /usr/bin/etcd (package etcd-server)."""
import argparse
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "support"))

from ports import free_port  # noqa: E402

ETCD = "/usr/bin/etcd"


class Server:
    """One server over a data directory of its own."""

    def __init__(self, name, binary, parent):
        self.name, self.binary = name, binary
        self.dir = tempfile.mkdtemp(prefix=name + "-", dir=parent)
        self.process = None

    def start(self):
        self.port = free_port()
        url = f"http://127.0.0.1:{self.port}"
        if self.name == "etcd":
            peer = f"http://127.0.0.1:{free_port()}"
            command = [self.binary, "--data-dir", self.dir, "--listen-client-urls", url, "--advertise-client-urls", url, "--listen-peer-urls", peer,
                       "--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}", "--log-level", "error",
                       "--quota-backend-bytes", str(6 << 30)]
        else:
            command = [self.binary, "store", "serve", "--data-dir", self.dir, "--listen", f"127.0.0.1:{self.port}"]
        begin = time.monotonic()
        with open(os.path.join(self.dir, "..", self.name + ".log"), "ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        self.wait_serving()
        return time.monotonic() - begin

    def wait_serving(self):
        """Until it says it is healthy: etcd then has a leader, ours its file open."""
        deadline = time.monotonic() + 120
        while True:
            if self.healthy():
                return
            if self.process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"{self.name} did not start: see its log in {self.dir}/..")
            time.sleep(0.002)

    def healthy(self):
        with socket.socket() as s:
            s.settimeout(1)
            try:
                s.connect(("127.0.0.1", self.port))
                s.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                return b'"true"' in s.recv(4096)
            except OSError:
                return False

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait(60)
            self.process = None

    def measure(self, *args):
        done = subprocess.run([BENCH, str(self.port), *map(str, args)], capture_output=True, text=True, timeout=600)
        if done.returncode != 0:
            sys.exit(f"{self.name}: {' '.join(map(str, args))}: {done.stderr}")
        return [float(x) for x in done.stdout.split()]

    def written(self):
        with open(f"/proc/{self.process.pid}/io", encoding="ascii") as f:
            return next(int(line.split()[1]) for line in f if line.startswith("write_bytes:"))

    def resident_mb(self):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as f:
            return next(int(line.split()[1]) / 1024 for line in f if line.startswith("VmRSS:"))


def fdatasync_p50_us(directory):
    path = os.path.join(directory, "calibration")
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    times = []
    for _ in range(300):
        os.write(fd, b"x" * 4120)
        start = time.perf_counter()
        os.fdatasync(fd)
        times.append(time.perf_counter() - start)
    os.close(fd)
    os.unlink(path)
    return statistics.median(times) * 1e6


def say(name, unit, ours, theirs, must, better="lower"):
    a, b = statistics.median(ours), statistics.median(theirs)
    ratio = a / b if b else float("inf")
    print(f"{name:<44} {a:>12.1f} {b:>12.1f} {unit:<6} ratio {ratio:>6.2f}  {better} is better, must {must}", flush=True)


def rounds(servers, count, measure):
    """Values of both, taken in turn."""
    values = {s.name: [] for s in servers}
    for i in range(count):
        for s in servers if i % 2 == 0 else reversed(servers):
            values[s.name].append(measure(s))
    return values["monopod"], values["etcd"]


def written_per_put(server, clients, count, kind="objects"):
    before = server.written()
    server.measure("put", clients, count, 1024, kind)
    time.sleep(0.3)
    return (server.written() - before) / count


def main():
    global BENCH
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    parser.add_argument("--bench", required=True)
    parser.add_argument("--dir", default=None, help="on the disk to measure")
    parser.add_argument("--scale", type=float, default=1.0, help="0.1 for a quick look")
    options = parser.parse_args()
    BENCH = options.bench
    if not os.access(ETCD, os.X_OK):
        sys.exit("needs /usr/bin/etcd (package etcd-server)")
    n = lambda count: max(64, int(count * options.scale))  # noqa: E731
    count = 5 if os.environ.get("MONOPOD_LONG") else 3
    parent = tempfile.mkdtemp(prefix="store-compare-", dir=options.dir)
    print(f"{'':<44} {'monopod':>12} {'etcd':>12}        ({subprocess.run([ETCD, '--version'], capture_output=True, text=True).stdout.splitlines()[0]})")
    servers = [Server("monopod", options.binary, parent), Server("etcd", ETCD, parent)]
    try:
        print(f"{'calibration.fdatasync_p50':<44} {fdatasync_p50_us(parent):>12.1f}              us")
        for s in servers:
            s.start()
        time.sleep(2)
        say("store.memory_empty", "MB", *rounds(servers, 1, lambda s: s.resident_mb()), "12 MB, stretch 8")
        # Files that still grow make each sync dearer: our log of 8 MB is reused after that, etcd's is laid out beforehand.
        ours, theirs = rounds(servers, 1, lambda s: s.measure("put", 1, n(1500), 256))
        say("store.put_256B_1_client_p50_in_a_new_file", "us", [x[0] for x in ours], [x[0] for x in theirs], "-")
        ours, theirs = rounds(servers, count, lambda s: s.measure("put", 64, n(20000), 256))
        say("store.put_256B_64_clients", "/s", [x[2] for x in ours], [x[2] for x in theirs], "2, stretch 5", "higher")
        ours, theirs = rounds(servers, count, lambda s: s.measure("put", 1, n(1500), 256))
        say("store.put_256B_1_client_p50", "us", [x[0] for x in ours], [x[0] for x in theirs], "0.9, stretch 0.6")
        say("store.put_256B_1_client_p99", "us", [x[1] for x in ours], [x[1] for x in theirs], "0.9, stretch 0.6")
        ours, theirs = rounds(servers, count, lambda s: s.measure("get", 64, n(40000)))
        say("store.get_64_clients", "/s", [x[2] for x in ours], [x[2] for x in theirs], "2, stretch 4", "higher")
        ours, theirs = rounds(servers, count, lambda s: s.measure("watch", 1000, 10))
        say("store.put_to_1000_watchers_last_delivery", "us", [x[0] for x in ours], [x[0] for x in theirs], "0.5, stretch 0.25")
        say("store.written_per_1KB_put_1_client", "B", *rounds(servers, count, lambda s: written_per_put(s, 1, n(1500))), "1.0")
        say("store.written_per_1KB_put_64_clients", "B", *rounds(servers, count, lambda s: written_per_put(s, 64, n(20000))), "0.5")
        say("store.written_per_1KB_noise_put_1_client", "B", *rounds(servers, count, lambda s: written_per_put(s, 1, n(1500), "noise")), "- (nothing to compress)")
        say("store.written_per_1KB_noise_put_64_clients", "B", *rounds(servers, count, lambda s: written_per_put(s, 64, n(20000), "noise")), "- (nothing to compress)")
        for s in servers:
            s.stop()
        servers = [Server("monopod", options.binary, parent), Server("etcd", ETCD, parent)]
        for s in servers:
            s.start()
            s.measure("fill", n(100_000), 1024)
        time.sleep(3)
        say(f"store.memory_{n(100_000)}_keys_of_1KB", "MB", *rounds(servers, 1, lambda s: s.resident_mb()), "60 MB, stretch 30")
        for s in servers:
            s.stop()
            s.start()
        ours, theirs = rounds(servers, 1, lambda s: s.measure("range", n(10_000), 1))
        say(f"store.first_range_of_{n(10_000)}_keys_after_start", "us", [x[0] for x in ours], [x[0] for x in theirs], "-")
        ours, theirs = rounds(servers, count, lambda s: s.measure("range", n(10_000), 5))
        say(f"store.range_of_{n(10_000)}_keys_of_1KB", "us", [x[0] for x in ours], [x[0] for x in theirs], "0.5, stretch 0.25")
        for s in servers:
            s.stop()
        servers = [Server("monopod", options.binary, parent), Server("etcd", ETCD, parent)]
        for s in servers:
            s.start()
            s.measure("fill", n(1_000_000), 256)

        def restart(s):
            s.stop()
            return s.start() * 1000

        say(f"store.start_with_{n(1_000_000)}_keys", "ms", *rounds(servers, count, restart), "2000 ms, stretch 700")
        say(f"store.memory_{n(1_000_000)}_keys_of_256B", "MB", *rounds(servers, 1, lambda s: s.resident_mb()), "-")
    finally:
        for s in servers:
            s.stop()
        shutil.rmtree(parent, ignore_errors=True)


if __name__ == "__main__":
    main()
