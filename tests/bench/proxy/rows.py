"""What wrk and h2load do not measure: echoes through a WebSocket, added latency at a rate, memory, and how soon a changed route is seen."""
import os
import random
import select
import socket
import ssl
import statistics
import subprocess
import threading
import time

ECHO = 18110
LATENCY_ROUNDS = 40
FRAME = b"\x82\xc0\x00\x00\x00\x00" + b"x" * 64  # a masked binary message of 64 bytes; the mask is zero


def memory_kb(pid, what="Pss_Anon"):
    """Its own, with its children's: without what is mapped from files. What they share counts once."""
    total = 0
    todo = [pid]
    while todo:
        p = todo.pop()
        with open(f"/proc/{p}/smaps_rollup") as f:
            total += next(int(line.split()[1]) for line in f if line.startswith(f"{what}:"))
        for task in os.listdir(f"/proc/{p}/task"):
            with open(f"/proc/{p}/task/{task}/children") as f:
                todo += [int(c) for c in f.read().split()]
    return total


def serve_echo(listening):
    """Takes upgrades, and sends back what comes: for its speed by epoll, on a thread of its own."""
    poller = select.epoll()
    poller.register(listening, select.EPOLLIN)
    open_sockets, upgraded = {}, set()
    while True:
        for fd, _ in poller.poll():
            if fd == listening.fileno():
                try:
                    s, _ = listening.accept()
                except OSError:
                    return
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                open_sockets[s.fileno()] = s
                poller.register(s, select.EPOLLIN)
                continue
            s = open_sockets[fd]
            try:
                data = s.recv(65536)
                if data:
                    s.sendall(data if fd in upgraded else b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
                    upgraded.add(fd)
                    continue
            except OSError:
                pass
            upgraded.discard(fd)
            poller.unregister(fd)
            open_sockets.pop(fd).close()


def echo_for(port, connections, seconds):
    """Echoes through so many WebSockets, one message under way on each."""
    sockets = {}
    poller = select.epoll()
    for _ in range(connections):
        s = socket.create_connection(("127.0.0.1", port))
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        s.sendall(b"GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")
        head = b""
        while b"\r\n\r\n" not in head:
            head += s.recv(4096)
        assert b" 101 " in head, head
        sockets[s.fileno()] = s
        poller.register(s, select.EPOLLIN)
    count, end = 0, time.monotonic() + seconds
    for s in sockets.values():
        s.send(FRAME)
    while time.monotonic() < end:
        for fd, _ in poller.poll(1):
            sockets[fd].recv(4096)
            sockets[fd].send(FRAME)
            count += 1
    for s in sockets.values():
        s.close()
    return count


def websocket(bench, d, processes, args):
    listening = socket.create_server(("127.0.0.1", ECHO), backlog=256)
    os.sched_setaffinity(0, {1})
    threading.Thread(target=serve_echo, args=(listening,), daemon=True).start()
    found = {}
    for _ in range(args.rounds):
        for who in ("monopod", "nginx", "haproxy"):
            before = bench.cpu_us(processes[who].pid)
            count = echo_for(bench.PORTS[who] + 8, 32, args.seconds)
            found.setdefault(who, []).append((bench.cpu_us(processes[who].pid) - before) / max(count, 1))
    os.sched_setaffinity(0, {0, 1})
    listening.close()
    median = {who: statistics.median(times) for who, times in found.items()}
    for who, us in median.items():
        print(f"{'websocket':<12} {who:<8} {us:>10.1f} us an echo of 64 bytes" + (f"  {us / median['nginx']:.2f} <= 1.00 x nginx" if who == "monopod" else ""), flush=True)


LATENCY_S = 0.5  # of a round: short ones, so that some are calm
LATENCY_WARM_UP_S = 0.3  # connections are made and shake hands, which is a row of its own


def latencies_us(d, port, tls, seconds):
    log = f"{d}/latency.log"
    if os.path.exists(log):
        os.unlink(log)
    subprocess.run(["taskset", "-c", "1", "h2load", "--h1", "-t1", "-c10", "--rps=100", f"-D{int(1000 * (seconds + LATENCY_WARM_UP_S))}ms", f"--log-file={log}", f"{'https' if tls else 'http'}://127.0.0.1:{port}/1k"],
                   capture_output=True, check=True)
    with open(log) as f:
        rows = [line.split() for line in f]
    since = min(int(row[0]) for row in rows) + LATENCY_WARM_UP_S * 1e6
    return sorted(int(row[2]) for row in rows if int(row[0]) >= since)


def latency(bench, d, processes, args):
    """Beyond that of the direct way, at 1,000 requests a second, in rounds that take turns; of each the quarter of its rounds with the least p99, all their requests together: a machine that
    stands still for ten milliseconds is the slowest hundredth of a round, and nobody's fault. All rounds stand beside it. The quartiles of the ratio are those of rounds drawn again. mtls: to an
    endpoint; a client certificate weighs in the handshake alone."""
    def at(values, part):
        return values[min(len(values) - 1, int(len(values) * part))]

    def over(rounds, who, part, share=0.25):
        calm = sorted((r[who] for r in rounds), key=lambda values: at(values, 0.99))[:max(1, int(len(rounds) * share))]
        return at(sorted(value for values in calm for value in values), part)

    def added(rounds, who, part):
        return max(over(rounds, who, part) - over(rounds, "direct", part), 1)

    rounds = max(args.rounds, LATENCY_ROUNDS)
    for name, kind in (("latency_h1", "plain"), ("latency_tls", "both")):
        found = []
        for _ in range(rounds):
            found.append({})
            for who in random.sample(["direct", "monopod", "nginx"], 3):
                port = bench.BACKEND if who == "direct" else bench.PORTS[who] + bench.OFFSETS[kind]
                found[-1][who] = latencies_us(d, port, kind == "both" and who != "direct", LATENCY_S)
        for who in ("direct", "monopod", "nginx"):
            more = f", added {added(found, who, 0.5):.0f} and {added(found, who, 0.99):.0f}" if who != "direct" else ""
            print(f"{name:<12} {who:<8} p50 {over(found, who, 0.5):.0f} us, p99 {over(found, who, 0.99):.0f}{more}; of all rounds {over(found, who, 0.5, 1):.0f} and {over(found, who, 0.99, 1):.0f}", flush=True)
        for what, part in (("p50", 0.5), ("p99", 0.99)):
            ratio = lambda some, part=part: added(some, "monopod", part) / added(some, "nginx", part)
            low, _, high = statistics.quantiles([ratio(random.choices(found, k=rounds)) for _ in range(50)], n=4)
            print(f"{name:<12} {what} {ratio(found):.2f} (quartiles {low:.2f}, {high:.2f}) <= 1.00 x nginx, {rounds} rounds", flush=True)


def hold(port, count, tls):
    context = ssl._create_unverified_context() if tls else None
    held = []
    for _ in range(count):
        s = socket.create_connection(("127.0.0.1", port))
        held.append(context.wrap_socket(s) if tls else s)
    time.sleep(0.3)
    return held


def start_alone(bench, binary, d, config):
    path = bench.write(f"{d}/alone.yaml", config)
    process = subprocess.Popen([binary, "proxy", "--config", path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return process


def memory(bench, d, processes, args):
    route = "virtual_hosts: [{routes: [{prefix: /, direct_response: {status: 200}}]}]"
    lone = f"listeners: [{{name: a, address: \"127.0.0.1:18700\", {route}}}]\n"
    process = start_alone(bench, args.binary, d, lone)
    bench.wait_for(18700)
    time.sleep(0.3)
    print(f"{'memory':<12} monopod  empty {memory_kb(process.pid, 'Rss') / 1024:.1f} MB <= 10", flush=True)
    process.terminate()
    process.wait()
    for who in ("monopod", "nginx", "haproxy"):
        for kind, most in (("plain", 1.0), ("tls", 20)):
            before = memory_kb(processes[who].pid)
            held = hold(bench.PORTS[who] + bench.OFFSETS[kind], 1000, kind == "tls")
            each = (memory_kb(processes[who].pid) - before) / len(held)
            print(f"{'memory':<12} {who:<8} idle {kind} connection {each:.2f} KB" + (f" <= {most}" if who == "monopod" else ""), flush=True)
            for s in held:
                s.close()
    sizes = []
    for pods in (1, 101):
        sets = "".join(f"- {{name: in{i}, address: \"127.0.{i}.1:18701\", {route}}}\n- {{name: out{i}, address: \"127.0.{i}.1:18702\", {route}}}\n" for i in range(pods))
        process = start_alone(bench, args.binary, d, f"listeners:\n{sets}")
        bench.wait_for(18701)
        time.sleep(0.3)
        sizes.append(memory_kb(process.pid))
        process.terminate()
        process.wait()
    print(f"{'memory':<12} monopod  listener set of a pod {(sizes[1] - sizes[0]) / 100:.1f} KB <= 64", flush=True)


def reload(bench, d, processes, args):
    """1 of 1,000 routes changes under 300 requests a second from 48 connections."""
    def text(value):
        routes = "\n".join(f"    - {{path: /r{i}, direct_response: {{status: 200, body: \"{value if i == 500 else i}\"}}}}" for i in range(1000))
        return f"listeners:\n- name: web\n  address: 127.0.0.1:18710\n  virtual_hosts:\n  - domains: [\"*\"]\n    routes:\n{routes}\n"
    process = start_alone(bench, args.binary, d, text("v0"))
    bench.wait_for(18710)
    stop, closed, failed = threading.Event(), [], []

    def ask():
        s = socket.create_connection(("127.0.0.1", 18710))
        while not stop.wait(48 / 300):
            try:
                s.sendall(b"GET /r7 HTTP/1.1\r\nHost: a\r\n\r\n")
                answer = s.recv(4096)
            except OSError:
                answer = b""
            if not answer:
                closed.append(1)
                s = socket.create_connection(("127.0.0.1", 18710))
            elif b" 200 " not in answer:
                failed.append(answer)
    threads = [threading.Thread(target=ask) for _ in range(48)]
    for thread in threads:
        thread.start()
    s = socket.create_connection(("127.0.0.1", 18710))
    seen = []
    time.sleep(0.5)
    before = memory_kb(process.pid)
    for i in range(1, 21):
        new = text(f"v{i}")
        bench.write(f"{d}/alone.tmp", new)
        os.rename(f"{d}/alone.tmp", f"{d}/alone.yaml")
        begun = time.perf_counter()
        while True:
            s.sendall(b"GET /r500 HTTP/1.1\r\nHost: a\r\n\r\n")
            if s.recv(4096).endswith(f"v{i}".encode()):
                break
            time.sleep(0.0005)
        seen.append((time.perf_counter() - begun) * 1000)
        time.sleep(0.1)
    after = memory_kb(process.pid)
    stop.set()
    for thread in threads:
        thread.join()
    process.terminate()
    process.wait()
    print(f"{'reload':<12} monopod  seen after {statistics.median(seen):.1f} ms (from {min(seen):.1f} to {max(seen):.1f}) <= 20; {len(closed)} closed, {len(failed)} failed; memory {100 * (after - before) / before:+.0f} % <= 10",
          flush=True)


def machine_ticks():
    """What all processors did but wait, the kernel's own threads and interrupts included."""
    with open("/proc/stat") as f:
        fields = [int(field) for field in f.readline().split()[1:]]
    return sum(fields) - fields[3] - fields[4]


def sockmap(bench, d, processes, args):
    """TCP spliced, and joined in the kernel: the proxy's own time, and with it that of the whole machine, client and endpoint too (a quiet machine, or it says little)."""
    tick_s = 1 / os.sysconf("SC_CLK_TCK")
    for name, path, connections, size in (("tcp_1m", "/1m", 16, 1 << 20), ("tcp_1k", "/1k", 1, 1024), ("tcp_1k", "/1k", 64, 1024)):
        found = {}
        for _ in range(args.rounds):
            for who, port in (("direct", bench.BACKEND), ("splice", bench.PORTS["monopod"] + 3), ("sockmap", bench.PORTS["monopod"] + 9)):
                before = bench.cpu_us(processes["monopod"].pid), machine_ticks()
                requests, rps, bad, errors, _ = bench.load(f"http://127.0.0.1:{port}{path}", connections, args.seconds)
                assert not bad and not errors, (who, bad, errors)
                proxy, machine = (bench.cpu_us(processes["monopod"].pid) - before[0]) / 1e6, (machine_ticks() - before[1]) * tick_s
                gigabytes = max(requests, 1) * size / 1e9
                found.setdefault(who, []).append((proxy / gigabytes, machine / gigabytes, rps, 1e6 * proxy / max(requests, 1)))
        for who, measured in found.items():
            proxy, machine, rps, each = (statistics.median(m[i] for m in measured) for i in range(4))
            print(f"{'sockmap':<12} {who:<8} {name} x{connections:<3} proxy {proxy:.3f} s/GB ({each:.1f} us/request), machine {machine:.3f} s/GB, {rps:.0f} rps, {1e6 * connections / rps:.0f} us each", flush=True)


ROWS = {"websocket": websocket, "latency": latency, "memory": memory, "reload": reload, "sockmap": sockmap}
