#!/usr/bin/env python3
"""SIGHUP replaces the supervisor by the program that now has its name, in place, and the node process after it: containers, their
logs and their exit statuses notice nothing. A program that refuses changes nothing. SIGTERM ends the pods and leaves no trace."""
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

from harness import Checks, Node, alive, binary, kubectl, need_root, snapshot, until
from pods_support import PODS, Cluster, container, expect, left_behind, pod

need_root()
checks = Checks()
work = tempfile.mkdtemp(prefix="monopod-upgrade-")
program = os.path.join(work, "monopod")
shutil.copy(binary(), program)
notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
notify.bind(os.path.join(work, "notify"))
notify.setblocking(False)
os.environ["NOTIFY_SOCKET"] = os.path.join(work, "notify")
os.environ["WATCHDOG_USEC"] = "900000"
node = Node(program, kubectl())
cluster = Cluster(node)
heard = []  # what the service manager was told


def hear():
    try:
        while True:
            heard.append(notify.recv(4096).decode())
    except BlockingIOError:
        return heard


def install(content):
    """Puts another file in place of the program, as a package manager does."""
    path = program + ".new"
    with open(path, "wb") as f:
        f.write(content)
    os.chmod(path, 0o755)
    os.rename(path, program)


def reload_and_wait():
    """SIGHUP, until the new program runs both processes and serves."""
    supervisor, old = node.supervisor_pid(), node.node_pid()
    os.kill(supervisor, signal.SIGHUP)
    inode = os.stat(program).st_ino

    def both():
        now = node.node_pid()
        return now and now != old and os.stat(f"/proc/{supervisor}/exe").st_ino == inode == os.stat(f"/proc/{now}/exe").st_ino
    until("the new program", both, 20)
    until("serving", lambda: node.request("GET", "/readyz")[0] == 200, 20)
    assert node.supervisor_pid() == supervisor and alive(supervisor)


NAMES = ("counter", "ender", "halves", "typed", "terminal", "shared", "static-" + socket.gethostname().lower())
SHARED = pod("shared", container(script="exec sleep 1000", livenessProbe={"exec": {"command": ["test", "-d", "/proc/1"]}, "periodSeconds": 1, "failureThreshold": 1}), container("d", script="exec sleep 1000"),
             shareProcessNamespace=True, restartPolicy="Always")
STATIC = pod("static", container(script="exec sleep 1000"), restartPolicy="Always")


def identities():
    out = {}
    for name in NAMES:
        status = cluster.status(name, "c")
        out[name] = (cluster.pod(name)["metadata"]["uid"], status["containerID"], status["restartCount"], status["state"].get("running", {}).get("startedAt"))
    return out


def start_pods():
    os.makedirs(os.path.join(node.dir, "manifests"), exist_ok=True)
    with open(os.path.join(node.dir, "manifests", "static.yaml"), "w", encoding="ascii") as f:
        json.dump(STATIC, f)
    until("the mirror", lambda: cluster.request("GET", f"{PODS}/{NAMES[-1]}")[0] == 200, 20)
    for one in [SHARED, pod("counter", container(script="i=0; while true; do echo $i; i=$((i+1)); sleep 0.02; done")),
                pod("ender", container(script="while ! test -e /tmp/go; do sleep 0.05; done; echo bye; exit 7")),
                pod("halves", container(script="printf one; while ! test -e /tmp/go; do sleep 0.05; done; echo two; exec sleep 1000")),
                pod("typed", container(script="read line; echo got $line; exec sleep 1000", stdin=True)),
                pod("terminal", container(script="tty; while ! test -e /tmp/go; do sleep 0.05; done; echo still here; exec sleep 1000", tty=True))]:
        cluster.create(one)
    for name in NAMES:
        cluster.ready(name)


def upgrade():
    with open(program, "rb") as f:
        good = f.read()
    before = identities()
    hear()
    install(good + b"newer")
    reload_and_wait()
    assert identities() == before, (before, identities())
    until("the service manager hears of it", lambda: sum(h.startswith("READY=1") for h in hear()) == 2)
    told = [h.split("\n")[0] for h in heard if not h.startswith("WATCHDOG")]
    assert told == ["READY=1", "RELOADING=1", "READY=1"], heard


def logs_are_unbroken():
    time.sleep(0.3)
    numbers = [int(line) for line in cluster.logs("counter").split()]
    assert numbers == list(range(len(numbers))) and len(numbers) > 20, numbers[:50]
    for name in ("halves", "terminal"):
        cluster.exec(name, "touch", "/tmp/go")
    cluster.exec("ender", "touch", "/tmp/go", check=False)  # ends the container, which may kill touch before it has ended itself
    until("the line that began before", lambda: cluster.logs("halves") == "onetwo\n", 10)
    until("the terminal's output", lambda: "still here" in cluster.logs("terminal"), 10)
    p = subprocess.Popen([node.kubectl_path, "--kubeconfig", node.kubeconfig, "attach", "-i", "typed"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    p.stdin.write(b"words\n")
    p.stdin.flush()
    try:
        until("standard input still reaches it", lambda: "got words" in cluster.logs("typed"), 15)
    finally:
        p.kill()
        p.wait()


def exit_status_is_known():
    end = cluster.ended("ender")
    assert end["exitCode"] == 7 and end["reason"] == "Error", end
    expect(cluster.logs("ender"), "bye")


def refused():
    with open(program, "rb") as f:
        good = f.read()
    supervisor, process = node.supervisor_pid(), node.node_pid()
    with open(shutil.which("busybox"), "rb") as f:
        another = f.read()
    for content, count in [(another, 1), (b"not a program", 2)]:
        install(content)
        os.kill(supervisor, signal.SIGHUP)
        until("the refusal in the log", lambda: node.log().count("reload refused") == count, 15)  # noqa: B023
    assert node.node_pid() == process and node.request("GET", "/readyz")[0] == 200
    expect(node.log(), "applet not found")
    install(good)


def many():
    """Reloads while the node process is being killed, one after the other and several at once."""
    before = cluster.status("counter", "c")
    for kills in (0, 1, 1):
        if kills:
            os.kill(node.node_pid(), signal.SIGKILL)
        os.kill(node.supervisor_pid(), signal.SIGHUP)
        os.kill(node.supervisor_pid(), signal.SIGHUP)
        time.sleep(0.2)
        until("serving", lambda: node.request("GET", "/readyz")[0] == 200, 30)
    time.sleep(0.5)
    until("serving", lambda: node.request("GET", "/readyz")[0] == 200, 30)
    now = cluster.status("counter", "c")
    assert now["containerID"] == before["containerID"] and now["restartCount"] == 0, now
    numbers = [int(line) for line in cluster.logs("counter").split()]
    assert numbers == list(range(len(numbers))), "a hole in the log"


def watchdog_is_fed():
    hear()
    heard.clear()
    until("two signs of life", lambda: hear().count("WATCHDOG=1") >= 2, 10)


def stop_leaves_nothing():
    """As systemctl stop: pods get their SIGTERM and time, then everything of them is gone; they start again with the next start."""
    cluster.create(pod("graceful", container(script="trap 'sleep 0.3; echo ended well > /h/end; exit 0' TERM; while true; do sleep 0.05; done", volumeMounts=[{"name": "h", "mountPath": "/h"}]),
                       restartPolicy="Always", terminationGracePeriodSeconds=20, volumes=[{"name": "h", "hostPath": {"path": work}}]))
    cluster.create(pod("deaf", container(script="trap '' TERM; while true; do sleep 0.05; done"), terminationGracePeriodSeconds=1, shareProcessNamespace=True))
    cluster.ready("graceful")
    cluster.ready("deaf")
    hear()
    heard.clear()
    supervisor = node.supervisor_pid()
    namespaces = {kind: os.open(f"/proc/{supervisor}/ns/{kind}", os.O_RDONLY) for kind in ("net", "mnt")}  # they outlive the server for us
    groups = group_folders()
    assert groups, "no control groups of pods were found"
    own = {one["metadata"]["uid"] for one in cluster.request("GET", "/api/v1/pods")[1]["items"]}  # others may have left theirs
    assert node.stop_server(), "the server did not stop"
    with open(os.path.join(work, "end"), encoding="ascii") as f:
        assert f.read() == "ended well\n"
    assert any(h.startswith("STOPPING=1") for h in hear()), heard

    def look(*command):
        enter = ["nsenter", f"--net=/proc/self/fd/{namespaces['net']}", f"--mount=/proc/self/fd/{namespaces['mnt']}"]
        return subprocess.run([*enter, *command], pass_fds=list(namespaces.values()), capture_output=True, text=True, check=True).stdout
    links = [line for line in look("ip", "-o", "link").splitlines() if "mp" in line.split(":")[1]]
    mounts = [line for line in look("cat", "/proc/self/mountinfo").splitlines() if node.dir in line and f" {node.dir}/run " not in line]
    assert not links and not mounts, (links, mounts)
    left = [d for g in groups for d, _, _ in os.walk(g) if any(uid in d for uid in own)]
    assert not left, left
    pods = os.path.join(node.dir, "run", "pods")
    assert not look("sh", "-c", f"ls {pods} 2> /dev/null || true").strip(), "namespaces or roots are left"
    for fd in namespaces.values():
        os.close(fd)


def group_folders():
    out = []
    with open(f"/proc/{node.node_pid()}/cgroup", encoding="ascii") as f:
        for line in f:
            _, controllers, path = line.strip().split(":", 2)
            path = path[:-5] if path.endswith("/node") else path.rstrip("/")
            for base in [f"/sys/fs/cgroup/{controllers}"] if controllers else ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"]:
                if os.path.isdir(base + path + "/pods"):
                    out.append(base + path + "/pods")
    return out


def pods_come_back():
    node.start()
    node.wait_ready()
    for name in ("graceful", *NAMES[-2:]):
        p = cluster.wait(name, "started again", lambda p: all(c["restartCount"] == 1 and c["ready"] for c in p["status"]["containerStatuses"]))
        assert p["status"]["phase"] == "Running", p["status"]
    os.unlink(os.path.join(node.dir, "manifests", "static.yaml"))
    for one in (*NAMES[:-1], "graceful", "deaf"):
        cluster.delete(one, grace=0)
    until("nothing left", lambda: not left_behind(node, before), 20, 0.5)


try:
    node.start()
    node.wait_ready()
    node.load_busybox()
    before = snapshot(node)
    for name, check in [("pods start", start_pods), ("a newer program takes over", upgrade), ("logs and input are unbroken", logs_are_unbroken), ("exit status is known", exit_status_is_known),
                        ("a bad program is refused", refused), ("reloads and kills", many), ("the watchdog is fed", watchdog_is_fed), ("stop ends the pods and leaves nothing", stop_leaves_nothing), ("pods come back", pods_come_back)]:
        checks.run(name, check)
finally:
    if checks.failed or sys.exc_info()[0]:
        print("--- server log\n" + node.log()[-6000:])
    node.stop()
    shutil.rmtree(work, ignore_errors=True)
sys.exit(checks.finish())
