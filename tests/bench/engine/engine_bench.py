#!/usr/bin/env python3
"""engine_bench.py BINARY [ROUNDS]: what the docker client and the API wait for, what an idle engine holds, and how often it syncs.

Medians of interleaved rounds over a trial engine with busybox; run it on a quiet machine. The client alone is shown as a floor. strace, where it is there, counts fsyncs."""
import json
import os
import shutil
import statistics
import subprocess
import sys
import time

os.environ["MONOPOD_TEST_BINARY"] = os.path.abspath(sys.argv[1])
ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else 15
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "integration", "engine"))
from harness import Engine, UnixConnection, need_engine_host  # noqa: E402

need_engine_host()
engine = Engine()


def timed(function):
    begin = time.monotonic()
    function()
    return (time.monotonic() - begin) * 1000


def call(connection, method, path, body=None):
    data = json.dumps(body).encode() if body is not None else None
    connection.request(method, path, body=data, headers={"Content-Type": "application/json"} if data else {})
    r = connection.getresponse()
    text = r.read()
    if r.status >= 400:
        raise AssertionError(f"{method} {path}: {r.status} {text}")
    return json.loads(text) if text[:1] in (b"{", b"[") else None


def api_round(c):
    cid = call(c, "POST", "/containers/create", {"Image": "hello:1", "Cmd": ["true"], "HostConfig": {"NetworkMode": "none"}})["Id"]
    call(c, "POST", f"/containers/{cid}/start")
    call(c, "POST", f"/containers/{cid}/wait")
    call(c, "DELETE", f"/containers/{cid}")


def api_exec(c):
    ident = call(c, "POST", "/containers/target/exec", {"Cmd": ["true"], "AttachStdout": True})["Id"]
    s = engine.raw(f"POST /exec/{ident}/start HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}".encode())
    while s.recv(4096):
        pass
    s.close()


def pss_kb(pid):
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
        return sum(int(line.split()[1]) for line in f if line.startswith("Pss:"))


def idle_pss():
    return pss_kb(engine.process.pid) + pss_kb(engine.child())


def syncs(what, function):
    if not shutil.which("strace"):
        return
    out = engine.dir + "/strace"
    p = subprocess.Popen(["strace", "-f", "-c", "-e", "trace=fsync,fdatasync,syncfs,sync,sync_file_range", "-o", out, "-p", str(engine.child())], stderr=subprocess.DEVNULL)
    time.sleep(0.5)
    n = 5
    for _ in range(n):
        function()
    time.sleep(0.3)
    p.send_signal(2)
    p.wait(timeout=20)
    with open(out, encoding="utf-8") as f:
        total = sum(int(line.split()[3]) for line in f if line.split()[-1:] and line.split()[-1] in ("fsync", "fdatasync", "syncfs", "sync"))
    print(f"fsyncs: {what:42} {total / n:8.1f}")


def main():
    engine.start()
    with open(engine.load_image(), "rb") as f:
        engine.docker("load", stdin=f.read())
    print(f"idle PSS, both processes                           {idle_pss() / 1024:8.1f} MB")
    engine.docker("run", "-d", "--name", "target", "hello:1", "sleep", "100000")
    connection = UnixConnection(engine.socket)
    rows = {
        "docker version (the client's own time)": lambda: engine.docker("version"),
        "docker run --rm --network none": lambda: engine.docker("run", "--rm", "--network", "none", "hello:1", "true"),
        "docker run --rm, bridge": lambda: engine.docker("run", "--rm", "hello:1", "true"),
        "docker exec": lambda: engine.docker("exec", "target", "true"),
        "API create+start+wait+delete": lambda: api_round(connection),
        "API exec": lambda: api_exec(connection),
    }
    times = {name: [] for name in rows}
    for _ in range(ROUNDS):
        for name, function in rows.items():
            times[name].append(timed(function))
    for name, list_ in times.items():
        list_.sort()
        print(f"{name:42} min {list_[0]:7.1f} median {statistics.median(list_):7.1f} p90 {list_[int(len(list_) * 0.9)]:7.1f} ms")

    def fifty():
        runs = [subprocess.Popen([engine.client, "run", "-d", "--network", "none", "hello:1", "sleep", "1000"], env=engine.env(), stdout=subprocess.DEVNULL) for _ in range(50)]
        for p in runs:
            p.wait()
    time.sleep(2.5)
    before = idle_pss()
    print(f"50 x docker run -d at once                         {timed(fifty):8.0f} ms")
    time.sleep(2.5)  # a second after the last request the engine gives back what the burst took
    print(f"added per running container, PSS                   {(idle_pss() - before) / 50:8.0f} kB")
    syncs("run --rm", lambda: engine.docker("run", "--rm", "--network", "none", "hello:1", "true"))
    syncs("run -d", lambda: engine.docker("run", "-d", "hello:1", "sleep", "1000"))
    with open(engine.load_image("other:1"), "rb") as f:
        data = f.read()
    syncs("image load (the same five times)", lambda: engine.docker("load", stdin=data))


try:
    main()
finally:
    engine.close()
