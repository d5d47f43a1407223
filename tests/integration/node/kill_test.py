#!/usr/bin/env python3
"""kill -9 of the node process at random moments under load. Every acknowledged write is there afterwards, revisions only grow,
the containers ran on with unbroken logs, and nothing leaked. 50 rounds; 500 with MONOPOD_LONG=1. SEED= replays the moments."""
import http.client
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time

from harness import Checks, Node, binary, kubectl, need_root, snapshot, until

need_root()
ROUNDS = int(os.environ.get("ROUNDS") or (500 if os.environ.get("MONOPOD_LONG") else 50))
SEED = int(os.environ.get("SEED") or random.SystemRandom().randrange(1 << 32))
print(f"rounds {ROUNDS} SEED={SEED}", flush=True)
moments = random.Random(SEED)
node = Node(binary(), kubectl())
checks = Checks()

acknowledged = {}  # name -> (value, highest revision acknowledged)
attempted = {}     # name -> values sent and not answered
lock = threading.Lock()
stop = threading.Event()
problems = []
ERRORS = (OSError, http.client.HTTPException, ValueError)


def writer(worker):
    value = 0
    connection = None
    path = "/api/v1/namespaces/default/configmaps"
    while not stop.is_set():
        value += 1
        name = f"w{worker}-{value % 20}"
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"v": str(value)}}
        with lock:
            attempted.setdefault(name, []).append(str(value))
        try:
            connection = connection or node.connection(timeout=5)
            status, answer = node.request("PUT", f"{path}/{name}", body, connection)
            if status == 404:
                status, answer = node.request("POST", path, body, connection)
            if status in (200, 201):
                with lock:
                    acknowledged[name] = (str(value), int(answer["metadata"]["resourceVersion"]))
                    attempted[name] = []
            time.sleep(0.002)
        except ERRORS:
            connection = None
            time.sleep(0.02)


def watcher():
    last = 0
    while not stop.is_set():
        try:
            c = node.connection(timeout=5)
            c.request("GET", "/api/v1/namespaces/default/configmaps?watch=1" + (f"&resourceVersion={last}" if last else ""))
            r = c.getresponse()
            first = last == 0
            while not stop.is_set():
                line = r.readline()
                if not line:
                    break
                event = json.loads(line)
                if event["type"] == "ERROR":
                    last = 0
                    break
                revision = int(event["object"]["metadata"]["resourceVersion"])
                if not first and revision <= last:
                    problems.append(f"watch went back from {last} to {revision}")
                if event["type"] != "ADDED":
                    first = False
                last = max(last, revision)
        except ERRORS:
            time.sleep(0.02)


def run_rounds():
    for number in range(ROUNDS):
        time.sleep(moments.uniform(0.02, 0.5))
        until("the node process", node.node_pid, 20, 0.01)
        os.kill(node.node_pid(), signal.SIGKILL)
        until(f"round {number}: serving again", lambda: node.request("GET", "/readyz", connection=node.connection(timeout=5))[0] == 200, 30, 0.02)


def writes_are_there():
    for name, (value, revision) in sorted(acknowledged.items()):
        status, answer = node.request("GET", f"/api/v1/namespaces/default/configmaps/{name}")
        assert status == 200, f"{name}: acknowledged at {revision}, now {status}"
        assert answer["data"]["v"] == value or answer["data"]["v"] in attempted.get(name, []), f"{name}: {answer['data']} is older than acknowledged {value}"
        assert int(answer["metadata"]["resourceVersion"]) >= revision
    assert len(acknowledged) >= 40, f"only {len(acknowledged)} keys were written"


def revisions_grow():
    assert not problems, problems[:5]


def container_ran_on():
    pod = json.loads(node.kubectl("get", "pod", "counter", "-o", "json"))
    status = pod["status"]["containerStatuses"][0]
    assert status["restartCount"] == 0 and status["containerID"] == container_id, status
    numbers = [int(line) for line in node.kubectl("logs", "counter").split()]
    # the oldest lines may have been rotated away; what is there has no hole
    assert numbers and all(b == a + 1 for a, b in zip(numbers, numbers[1:])), "a hole in the log"


def nothing_leaked():
    def as_before():
        after = snapshot(node)
        added = after["groups"] - before["groups"]
        assert not added and all(after[k] == before[k] for k in ("links", "mounts")), f"{before} became {after}, with {added} added"
        return after
    after = until("as before", as_before, 20)
    print(f"      {after['links']} links, {after['mounts']} mounts")


try:
    node.start()
    node.wait_ready()
    node.load_busybox()
    node.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "counter"}, "spec": {"terminationGracePeriodSeconds": 0, "containers": [
        {"name": "c", "image": "hello:1", "imagePullPolicy": "Never", "command": ["sh", "-c", "i=0; while true; do echo $i; i=$((i+1)); sleep 0.05; done"]}]}}))
    node.kubectl("wait", "--for=condition=Ready", "pod/counter", "--timeout=30s")
    container_id = json.loads(node.kubectl("get", "pod", "counter", "-o", "json"))["status"]["containerStatuses"][0]["containerID"]
    before = snapshot(node)
    threads = [threading.Thread(target=writer, args=(w,)) for w in range(3)] + [threading.Thread(target=watcher) for _ in range(2)]
    for t in threads:
        t.start()
    checks.run(f"{ROUNDS} rounds", run_rounds)
    stop.set()
    for t in threads:
        t.join(20)
    node.wait_ready()
    checks.run("every acknowledged write is there", writes_are_there)
    checks.run("watch revisions strictly increase", revisions_grow)
    checks.run("the container ran on, its log unbroken", container_ran_on)
    checks.run("nothing leaked", nothing_leaked)
    node.kubectl("delete", "pod", "counter")
    checks.run("the pod ends cleanly afterwards", lambda: until("gone", lambda: snapshot(node)["links"] == 0, 20))
finally:
    stop.set()
    if checks.failed:
        print("--- server log\n" + node.log()[-4000:])
    node.stop()
sys.exit(checks.finish())
