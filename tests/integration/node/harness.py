"""What the tests of this folder share: a node with the example image, checks with a name, a closing line."""
import os
import subprocess
import sys
import threading
import time

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", ".."))
sys.path.insert(0, os.path.join(ROOT, "tests", "support"))
from node import Node, alive  # noqa: E402,F401

EXAMPLE = os.path.join(ROOT, "packaging", "examples", "hello")


def skip(reason):
    print(f"SKIPPED: {reason}")
    sys.exit(77)


def binary():
    path = os.environ.get("MONOPOD_TEST_BINARY") or os.environ.get("MONOPOD_BINARY")
    if not path or not os.path.exists(path):
        skip("MONOPOD_TEST_BINARY is not set")
    return path


def kubectl():
    path = os.environ.get("MONOPOD_KUBECTL") or os.path.join(ROOT, "build", "tools", "kubectl")
    if not os.path.exists(path):
        skip("no kubectl: run packaging/scripts/get-kubectl build/tools")
    return path


def need_root():
    if os.geteuid() != 0:
        skip("needs root: it makes network and mount namespaces")
    if subprocess.run(["unshare", "-m", "-n", "true"], capture_output=True).returncode != 0:
        skip("this host does not allow new namespaces")


def until(what, condition, seconds=30, every=0.1):
    deadline = time.monotonic() + seconds
    last = None
    while time.monotonic() < deadline:
        try:
            last = condition()
            if last:
                return last
        except (AssertionError, KeyError, IndexError, OSError, ValueError) as e:
            last = e
        time.sleep(every)
    raise AssertionError(f"{what}: not within {seconds} s (last: {last})")


def snapshot(node):
    """What a node may leak: namespaces' links, pinned mounts, pods' control groups. The groups are a set of paths: the host may hold those of other nodes, whose coming to an end is not ours to judge."""
    pid = node.supervisor_pid()
    links = subprocess.run(["nsenter", "-t", str(pid), "-n", "ip", "-o", "link"], capture_output=True, text=True).stdout
    with open(f"/proc/{pid}/mountinfo", encoding="utf-8") as f:
        mounts = [line for line in f if node.dir in line]
    groups = set()
    with open(f"/proc/{node.node_pid() or pid}/cgroup", encoding="utf-8") as f:
        for line in f:
            _, controllers, path = line.strip().split(":", 2)
            for base in (f"/sys/fs/cgroup/{controllers}", "/sys/fs/cgroup/unified" if not controllers else "", "/sys/fs/cgroup" if not controllers else ""):
                top = os.path.join(base, path.strip("/")) if base else ""
                pods = os.path.join(os.path.dirname(top) if top.endswith("/node") else top, "pods")
                if base and os.path.isdir(pods):
                    groups |= {d for d, _, _ in os.walk(pods) if "/pod" in d.rsplit("/pods", 1)[-1]}
    return {"links": sum("mp" in line.split(":")[1] for line in links.splitlines()), "mounts": len(mounts), "groups": groups}


class Checks:
    def __init__(self):
        self.passed, self.failed = 0, []
        self.lock = threading.Lock()

    def run(self, name, function):
        begin = time.monotonic()
        try:
            function()
            with self.lock:
                self.passed += 1
            print(f"ok   {name} ({time.monotonic() - begin:.2f} s)", flush=True)
        except Exception as e:  # noqa: BLE001 - every failure is reported by name
            self.failed.append(name)
            print(f"FAIL {name}: {type(e).__name__}: {e}", flush=True)

    def finish(self):
        print(f"{self.passed} passed, {len(self.failed)} failed" + (": " + ", ".join(self.failed) if self.failed else ""))
        return 1 if self.failed else 0
