#!/usr/bin/env python3
"""Sessions with real kubectl and helm against one real node, answer by answer. README.md describes the transcripts.
  ONLY=part of an id runs some; MONOPOD_LONG=1 runs all; without either, a third, chosen by the hash of the id."""
import concurrent.futures
import glob
import os
import shutil
import subprocess
import sys
import time
import zlib

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "node"))
from harness import Checks, Node, ROOT, binary, kubectl, need_root, skip, until  # noqa: E402
from transcript import mismatch, parse, split_command  # noqa: E402

SHARE = 3
COMMAND_SECONDS = 60
EVENTUALLY_SECONDS = 30
WORKERS = 3


def helm():
    path = os.environ.get("MONOPOD_HELM") or os.path.join(ROOT, "build", "tools", "helm")
    if not os.path.exists(path):
        skip("no helm: run packaging/scripts/get-kubectl build/tools")
    return path


class Session:
    """A namespace, a folder with the files and a kubeconfig of a scenario's own."""

    def __init__(self, node, tools, scenario):
        self.scenario, self.tools = scenario, tools
        self.ns = scenario.namespace
        self.dir = os.path.join(node.dir, "sessions", self.ns)
        shutil.copytree(os.path.join(HERE, "files"), self.dir)
        config = os.path.join(self.dir, ".kubeconfig")
        with open(node.kubeconfig, encoding="utf-8") as f, open(config, "w", encoding="utf-8") as out:
            out.write(f.read().replace("    user: admin\n", f"    user: admin\n    namespace: {self.ns}\n"))
        os.chmod(config, 0o600)
        home = self.dir if scenario.name.endswith("-cold") else os.path.join(node.dir, "home")
        self.env = {"PATH": os.path.dirname(tools["kubectl"]) + ":" + os.environ["PATH"], "KUBECONFIG": config, "HOME": home, "TZ": "UTC", "LC_ALL": "C"}
        status, body = node.request("POST", "/api/v1/namespaces", {"metadata": {"name": self.ns}})
        assert status == 201, body
        until("its service account", lambda: node.request("GET", f"/api/v1/namespaces/{self.ns}/serviceaccounts/default")[0] == 200)

    def run(self, command, stdin=None):
        environment, arguments = split_command(command.replace("<ns>", self.ns))
        arguments = [self.tools.get(a, a) if i in (0, 2) else a for i, a in enumerate(arguments)]  # 2: behind "timeout 3"
        return subprocess.run(arguments, env=self.env | environment, cwd=self.dir, capture_output=True, text=True, errors="replace", timeout=COMMAND_SECONDS,
                              **({"input": stdin} if stdin is not None else {"stdin": subprocess.DEVNULL}))

    def judge(self, step):
        """'' or what is wrong with the answer."""
        p = self.run(step.command, "\n".join(step.stdin) + "\n" if step.stdin else None)
        wrong = [] if p.returncode == step.exit else [f"exit {p.returncode}, expected {step.exit}"]
        for stream, expected, printed in (("stdout", step.out, p.stdout), ("stderr", step.err, p.stderr)):
            difference = mismatch([line.replace("<ns>", self.ns) for line in expected], printed)
            if difference:
                wrong.append(f"{stream}:\n{difference}")
        return "\n".join(wrong)

    def play(self):
        for command in self.scenario.given:
            p = self.run(command)
            assert p.returncode == 0, f"given: {command}: exit {p.returncode}\n{p.stdout}{p.stderr}"
        for step in self.scenario.steps:
            deadline = time.monotonic() + (EVENTUALLY_SECONDS if step.eventually else 0)
            while (wrong := self.judge(step)) and time.monotonic() < deadline:
                time.sleep(0.2)
            assert not wrong, f"{step.where}: {step.command}: {wrong}"


def chosen(scenarios):
    only = os.environ.get("ONLY")
    if only:
        return [s for s in scenarios if only in s.id]
    if os.environ.get("MONOPOD_LONG"):
        return scenarios
    return [s for s in scenarios if zlib.crc32(s.id.encode()) % SHARE == 0]


def remove_pods(node):
    """What the namespaces of other scenarios still hold while they are emptied."""
    def none():
        pods = node.request("GET", "/api/v1/pods")[1]["items"]
        for pod in pods:
            node.request("DELETE", f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}", {"gracePeriodSeconds": 0})
        return not pods
    until("the pods of other scenarios are gone", none, 60, 0.3)


def play_all(node, tools, scenarios, checks):
    def play(scenario):
        def whole():
            session = Session(node, tools, scenario)
            try:
                session.play()
            finally:
                node.request("DELETE", f"/api/v1/namespaces/{scenario.namespace}")
        checks.run(scenario.id, whole)

    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(play, [s for s in scenarios if not s.alone]))
    for scenario in scenarios:
        if scenario.alone:
            remove_pods(node)
            play(scenario)


def main():
    scenarios = [s for path in sorted(glob.glob(os.path.join(HERE, "transcripts", "*.txt"))) for s in parse(path)]
    names = [s.id for s in scenarios]
    assert len(set(names)) == len(names), "two scenarios of one name"
    need_root()
    tools = {"kubectl": kubectl(), "helm": helm()}
    node = Node(binary(), kubectl(), arguments=["--node-name", "node1"])
    checks, unexpected = Checks(), Checks()
    unsupported = [s for s in scenarios if s.unsupported]
    try:
        node.start()
        node.wait_ready()
        node.load_busybox()
        os.makedirs(os.path.join(node.dir, "home"))
        play_all(node, tools, [s for s in chosen(scenarios) if not s.unsupported], checks)
        if os.environ.get("MONOPOD_LONG") or os.environ.get("ONLY"):
            print("--- what is marked as unsupported: expected to fail")
            play_all(node, tools, [s for s in chosen(scenarios) if s.unsupported], unexpected)
    finally:
        if checks.failed:
            print("--- server log\n" + node.log()[-4000:])
        node.stop()
    for s in unsupported:
        print(f"UNSUPPORTED: {s.id}: {s.unsupported}")
    if unexpected.passed:
        print(f"{unexpected.passed} of them passed: take their mark away")
    print(f"{len(scenarios)} scenarios, {len(unsupported)} of them unsupported as listed")
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
