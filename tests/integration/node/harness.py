"""What the tests of this folder share: a node with the example image, checks with a name, a closing line."""
import os
import subprocess
import sys

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", ".."))
sys.path.insert(0, os.path.join(ROOT, "tests", "support"))
from checks import Checks, binary, need_root, skip, until  # noqa: E402,F401
from node import Node, alive  # noqa: E402,F401

EXAMPLE = os.path.join(ROOT, "packaging", "examples", "hello")


def kubectl():
    path = os.environ.get("MONOPOD_KUBECTL") or os.path.join(ROOT, "build", "tools", "kubectl")
    if not os.path.exists(path):
        skip("no kubectl: run packaging/scripts/get-kubectl build/tools")
    return path


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
