#!/usr/bin/env python3
"""The node's numbers: start, memory, idle cost, pod latency, size. One line each: name value unit.

The machine is calibrated in the same run (fdatasync, fork+exec), since machines differ and drift.
MONOPOD_LONG=1 measures idle cost over five minutes instead of one."""
import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "support"))
from node import Node  # noqa: E402


def say(name, value, unit, must=""):
    print(f"{name:<46} {value:>12} {unit:<8} {must}", flush=True)


def calibrate(directory):
    path = os.path.join(directory, "calibration")
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    times = []
    for _ in range(200):
        os.pwrite(fd, b"x" * 4096, 0)
        start = time.perf_counter()
        os.fdatasync(fd)
        times.append(time.perf_counter() - start)
    os.close(fd)
    os.unlink(path)
    say("calibration.fdatasync_p50", f"{statistics.median(times) * 1e3:.2f}", "ms")
    times = []
    for _ in range(50):
        start = time.perf_counter()
        subprocess.run(["/bin/true"], check=True)
        times.append(time.perf_counter() - start)
    say("calibration.fork_exec_true_p50", f"{statistics.median(times) * 1e3:.2f}", "ms")


def bench_binary(binary):
    with tempfile.NamedTemporaryFile() as f:
        strip = shutil.which("llvm-strip-19") or "strip"
        subprocess.run([strip, "-o", f.name, binary], check=True)
        say("binary.stripped", f"{os.path.getsize(f.name) / 1e6:.2f}", "MB", "all capabilities; of the node alone see size.py: must 18, stretch 14")


def bench_start(node):
    begin = time.monotonic()
    node.start()
    node.wait_ready()
    say("start.first_to_ready", f"{(time.monotonic() - begin) * 1e3:.0f}", "ms", "must 1000, stretch 300")
    samples = []
    for _ in range(5):
        assert node.stop_server(), "server did not stop"
        begin = time.monotonic()
        node.start()
        node.wait_ready()
        samples.append(time.monotonic() - begin)
    say("start.second_to_ready_p50", f"{statistics.median(samples) * 1e3:.0f}", "ms", "must 300, stretch 100")


def bench_idle(node, example):
    node.load_busybox()
    node.kubectl("apply", "-f", example)
    node.kubectl("rollout", "status", "deployment/hello", "--timeout=60s")
    time.sleep(15)
    say("idle.memory_pss", f"{node.pss_kb() / 1024:.1f}", "MB", "must 40, stretch 22")
    seconds = 300 if os.environ.get("MONOPOD_LONG") else 60
    cpu, written = node.cpu_nanoseconds(), node.written_bytes()
    time.sleep(seconds)
    say("idle.cpu", f"{(node.cpu_nanoseconds() - cpu) / 1e9 / seconds * 100:.3f}", "% core", "must 0.3, stretch 0.1")
    say("idle.disk_writes", f"{(node.written_bytes() - written) / seconds:.0f}", "B/s", "must 500, stretch 50")


POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
       "spec": {"terminationGracePeriodSeconds": 0, "containers": [{"name": "c", "image": "hello:1", "imagePullPolicy": "Never", "command": ["sleep", "1000"]}]}}


def watch_pod(node, name, until, found, opened):
    c = node.connection()
    c.request("GET", f"/api/v1/namespaces/default/pods?watch=1&fieldSelector=metadata.name={name}")
    r = c.getresponse()
    opened.set()
    while True:
        line = r.readline()
        if not line:
            return
        if until(json.loads(line)["object"]):
            found.append(time.perf_counter())
            c.close()
            return


def measure_until(node, name, until):
    """Seconds from the acknowledged create to the first watch event that satisfies until."""
    found, opened = [], threading.Event()
    t = threading.Thread(target=watch_pod, args=(node, name, until, found, opened))
    t.start()
    opened.wait()
    pod = json.loads(json.dumps(POD))
    pod["metadata"]["name"] = name
    status, body = node.request("POST", "/api/v1/namespaces/default/pods", pod)
    acknowledged = time.perf_counter()
    assert status == 201, body
    t.join(30)
    node.request("DELETE", f"/api/v1/namespaces/default/pods/{name}?gracePeriodSeconds=0")
    return found[0] - acknowledged


def ready(pod):
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod.get("status", {}).get("conditions", []))


def bench_pods(node):
    bound = [measure_until(node, f"bind-{i}", lambda p: bool(p["spec"].get("nodeName"))) for i in range(15)]
    say("pod.create_to_bound_p50", f"{max(0, statistics.median(bound)) * 1e3:.2f}", "ms", "must 3, stretch 1")
    run = [measure_until(node, f"run-{i}", ready) for i in range(15)]
    say("pod.create_to_ready_p50", f"{statistics.median(run) * 1e3:.0f}", "ms")
    applied = []
    for i in range(7):
        pod = json.loads(json.dumps(POD))
        pod["metadata"]["name"] = f"apply-{i}"
        path = os.path.join(node.dir, "pod.json")
        with open(path, "w", encoding="utf-8") as f:
            json.dump(pod, f)
        found, opened = [], threading.Event()
        watcher = threading.Thread(target=watch_pod, args=(node, f"apply-{i}", ready, found, opened))
        watcher.start()
        opened.wait()
        begin = time.perf_counter()
        node.kubectl("apply", "-f", path)
        watcher.join(30)
        applied.append(found[0] - begin)
        node.kubectl("delete", "pod", f"apply-{i}", "--wait=false", "--grace-period=0", "--force")
    say("pod.kubectl_apply_to_ready_p50", f"{statistics.median(applied) * 1e3:.0f}", "ms", "must 200, stretch 80 (from the start of kubectl to Ready on a watch)")


def bench_objects(binary, kubectl):
    """Memory of objects that never run: pods that no scheduler takes."""
    node = Node(binary, kubectl)
    try:
        node.start()
        node.wait_ready()
        before = node.pss_kb()
        count = 10_000
        pod = json.loads(json.dumps(POD))
        pod["spec"]["schedulerName"] = "nobody"
        pod["metadata"]["annotations"] = {"filler": "x" * 900}
        connections = [node.connection() for _ in range(8)]
        size = []

        def create(worker):
            for i in range(worker, count, len(connections)):
                body = dict(pod, metadata=dict(pod["metadata"], name=f"mem-{i:05d}"))
                status, answer = node.request("POST", "/api/v1/namespaces/default/pods", body, connections[worker])
                assert status == 201, answer
                if not size:
                    size.append(len(json.dumps(answer, separators=(",", ":"))))

        begin = time.monotonic()
        threads = [threading.Thread(target=create, args=(w,)) for w in range(len(connections))]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        say("objects.create_pods_8_clients", f"{count / (time.monotonic() - begin):.0f}", "/s")
        time.sleep(10)
        after = node.pss_kb()
        say("objects.pod_json_size", size[0], "B")
        say("objects.memory_per_pod", f"{(after - before) / count:.2f}", "KB", "must 5, stretch 3.5")
        say("objects.memory_10000_pods_total", f"{after / 1024:.1f}", "MB", "must 100")
    finally:
        node.stop()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    parser.add_argument("--kubectl", required=True)
    options = parser.parse_args()
    example = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..", "packaging", "examples", "hello")
    node = Node(options.binary, options.kubectl)
    try:
        calibrate(node.dir)
        bench_binary(options.binary)
        bench_start(node)
        bench_idle(node, example)
        bench_pods(node)
    finally:
        node.stop()
    bench_objects(options.binary, options.kubectl)


if __name__ == "__main__":
    main()
