#!/usr/bin/env python3
"""npm's @kubernetes/client-node against a whole node: informer, watch, exec and port-forward, over the death of the node process."""
import os
import shutil
import signal
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "node"))
from harness import ROOT, Checks, Node, binary, kubectl, need_root, skip, until  # noqa: E402

need_root()
PACKAGES = os.environ.get("MONOPOD_CLIENT_NODE") or os.path.join(ROOT, "build", "tools", "client-node")
if not shutil.which("node"):
    skip("needs node (package nodejs)")
if not os.path.isdir(os.path.join(PACKAGES, "node_modules", "@kubernetes", "client-node")):
    skip("no npm client: run make test-deps")
SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "client_node", "session.mjs")
MANIFEST = """
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: hello:1
    imagePullPolicy: Never
    command: [sh, -c, "mkdir /www; echo a page > /www/index.html; exec httpd -f -p 8080 -h /www"]
"""
node = Node(binary(), kubectl())
checks = Checks()
k = node.kubectl


class Session:
    def __init__(self, *words):
        self.process = subprocess.Popen(["node", SCRIPT, PACKAGES, node.kubeconfig, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.lines, self.errors = [], []
        for stream, into in ((self.process.stdout, self.lines), (self.process.stderr, self.errors)):
            threading.Thread(target=lambda s=stream, i=into: [i.append(line.rstrip("\n")) for line in s], daemon=True).start()

    def sees(self, line):
        until(f"{line!r} of {self.lines} {self.errors[-3:]}", lambda: line in self.lines, 30)

    def end(self):
        self.process.wait(30)
        return self.lines

    def stop(self):
        self.process.kill()
        self.process.wait()


def restart_node_process():
    pid = node.node_pid()
    os.kill(pid, signal.SIGKILL)
    until("another node process", lambda: node.node_pid() not in (None, pid))
    until("the API answers", lambda: node.request("GET", "/api/v1/namespaces/default")[0] == 200)


def informer():
    session = Session("informer")
    try:
        session.sees("connect")
        k("create", "configmap", "first", "--from-literal=k=1")
        session.sees("add first 1")
        k("patch", "configmap", "first", "-p", '{"data":{"k":"2"}}')
        session.sees("update first 2")
        restart_node_process()
        k("create", "configmap", "second", "--from-literal=k=1")
        session.sees("add second 1")
        k("delete", "configmap", "first")
        session.sees("delete first 2")
        assert session.lines.count("add second 1") == 1, session.lines
    finally:
        session.stop()


def watch():
    lines = Session("watch").end()
    assert "ADDED second" in lines and lines[-1] == "ended", lines


def executes():
    for _ in range(2):
        lines = Session("exec", "web", "sh", "-c", "echo to out; echo to err >&2; exit 3").end()
        assert "out to out" in lines and "err to err" in lines and lines[-1] == "status Failure 3", lines
        lines = Session("exec", "web", "true").end()
        assert lines == ["status Success "], lines
        if _ == 0:
            restart_node_process()


def forwards():
    for _ in range(2):
        session = Session("forward", "web", "8080", "/")
        assert session.end() == ["page 200 a page"], (session.lines, session.errors)
        if _ == 0:
            restart_node_process()


try:
    node.start()
    node.wait_ready()
    node.load_busybox()
    k("apply", "-f", "-", stdin=MANIFEST)
    until("the pod is ready", lambda: "True" in k("get", "pod", "web", "-o", "jsonpath={.status.conditions[?(@.type=='Ready')].status}"), 60)
    checks.run("an informer goes on over the death of the node process, without gap or repeat", informer)
    checks.run("a watch ends in its time", watch)
    checks.run("exec, before and after the death of the node process", executes)
    checks.run("port-forward, before and after the death of the node process", forwards)
finally:
    if checks.failed or sys.exc_info()[0]:
        print("--- server log\n" + node.log()[-3000:])
    node.stop()
sys.exit(checks.finish())
