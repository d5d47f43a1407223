#!/usr/bin/env python3
"""What pods are promised, on one real node: every case's pods are created at once, then the cases look side by side.
ONLY=part of a name runs some of them."""
import os
import sys

from harness import Checks, Node, binary, kubectl, need_root, snapshot, until
import pods_life  # noqa: F401 - declares its cases
import pods_spec  # noqa: F401
import pods_support

need_root()
node = Node(binary(), kubectl())
checks = Checks()
if os.environ.get("ONLY"):
    pods_support.CASES[:] = [c for c in pods_support.CASES if os.environ["ONLY"] in c[0]]


def nothing_is_left():
    status, _ = pods_support.Cluster(node).request("DELETE", pods_support.PODS)
    assert status == 200, status
    until("no pods", lambda: not pods_support.Cluster(node).request("GET", pods_support.PODS)[1]["items"], 60, 0.3)
    until("nothing left", lambda: not pods_support.left_behind(node, before), 20, 0.5)


def never_died():
    assert "the node process ended" not in node.log()


try:
    node.start()
    node.wait_ready()
    health = os.environ.get("MONOPOD_GRPC_HEALTH")
    node.load_busybox(extra=[f"{health}:/bin/grpc-health"] if health else [])
    before = snapshot(node)
    pods_support.run_cases(node, checks)
    checks.run("deletion leaves nothing", nothing_is_left)
    checks.run("the node process never died", never_died)
finally:
    if checks.failed or sys.exc_info()[0]:
        print("--- server log\n" + node.log()[-6000:])
    node.stop()
sys.exit(checks.finish())
