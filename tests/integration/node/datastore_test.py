#!/usr/bin/env python3
"""A node whose API objects are in an external etcd (Debian's etcd-server): create, get and watch with kubectl, over restarts of either."""
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time

from harness import Checks, Node, binary, kubectl, need_root, skip, until

need_root()
if not shutil.which("etcd") or not shutil.which("etcdctl"):
    skip("needs etcd and etcdctl (packages etcd-server, etcd-client)")
CONFIGMAPS = "/api/v1/namespaces/default/configmaps"


class Etcd:
    """One member on a unix socket, which the node's network namespace does not hide. etcd names it host:port, in its working directory."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="monopod-etcd-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
        self.endpoint = f"unix:{self.dir}/client:1"
        self.process = None

    def start(self):
        for name in ("client:1", "peer:1"):  # a killed one leaves them
            if os.path.exists(os.path.join(self.dir, name)):
                os.unlink(os.path.join(self.dir, name))
        with open(os.path.join(self.dir, "log"), "ab") as log:
            self.process = subprocess.Popen(
                ["etcd", "--data-dir", "data", "--listen-client-urls", "unix://client:1", "--advertise-client-urls", "unix://client:1", "--listen-peer-urls", "unix://peer:1",
                 "--initial-advertise-peer-urls", "http://127.0.0.1:1", "--initial-cluster", "default=http://127.0.0.1:1", "--heartbeat-interval", "20", "--election-timeout", "200",
                 "--log-level", "warn", "--logger", "zap"], cwd=self.dir, stdout=log, stderr=log)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def ctl(self, *arguments):
        env = dict(os.environ, ETCDCTL_API="3", ETCDCTL_ENDPOINTS="unix://client:1")
        return subprocess.run(["etcdctl", *arguments], cwd=self.dir, env=env, capture_output=True, text=True, timeout=20, check=True).stdout

    def remove(self):
        if self.process:
            self.kill()
        shutil.rmtree(self.dir, ignore_errors=True)


etcd = Etcd()
node = Node(binary(), kubectl(), arguments=["--datastore-endpoint", etcd.endpoint])
checks = Checks()


def create(name):
    status, body = node.request("POST", CONFIGMAPS, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}})
    assert status == 201, (status, body)


def readiness():
    c = node.connection()
    c.request("GET", "/readyz")
    return c.getresponse().status


def objects_are_in_etcd():
    node.kubectl("create", "configmap", "one", "--from-literal=a=b")
    assert "a: b" in node.kubectl("get", "configmap", "one", "-o", "yaml")
    keys = etcd.ctl("get", "--prefix", "/registry/", "--keys-only").split()
    assert "/registry/core/configmaps/default/one" in keys, keys
    assert any(k.startswith("/registry/core/nodes/") for k in keys), keys
    assert readiness() == 200


def watch_survives_etcd():
    env = dict(os.environ, KUBECONFIG=node.kubeconfig, HOME=node.dir)
    with subprocess.Popen([node.kubectl_path, "get", "configmaps", "--watch-only", "-o", "name"], env=env, stdout=subprocess.PIPE, text=True) as watch:
        try:
            time.sleep(1)
            for i in range(3):
                create(f"before-{i}")
            etcd.kill()
            time.sleep(0.3)
            etcd.start()
            for i in range(3):
                create(f"after-{i}")
            node.request("DELETE", f"{CONFIGMAPS}/after-2")
            create("last")
            lines = []
            for line in watch.stdout:
                lines.append(line.strip())
                if lines[-1] == "configmap/last":
                    break
            want = [f"configmap/before-{i}" for i in range(3)] + [f"configmap/after-{i}" for i in range(3)] + ["configmap/after-2", "configmap/last"]
            assert lines == want, lines
        finally:
            watch.kill()


def says_when_etcd_is_gone():
    etcd.kill()
    until("not ready", lambda: readiness() == 500, 15)
    etcd.start()
    until("ready again", lambda: readiness() == 200, 15)


def node_process_finds_them():
    pid = node.node_pid()
    os.kill(pid, signal.SIGKILL)
    until("another process", lambda: node.node_pid() not in (None, pid), 15)
    node.wait_ready()
    assert node.request("GET", f"{CONFIGMAPS}/one")[0] == 200


def service_finds_them():
    assert node.stop_server()
    db = sqlite3.connect(f"file:{node.dir}/data/state.db?mode=ro", uri=True)
    assert db.execute("select count(*) from log").fetchone()[0] == 0, "no API object is in the node's own file"
    assert db.execute("select count(*) from state").fetchone()[0] > 0
    db.close()
    node.start()
    node.wait_ready()
    assert "configmap/one" in node.kubectl("get", "configmaps", "-o", "name")
    create("two")


def objects_come_home():
    uid = node.kubectl("get", "configmap", "one", "-o", "jsonpath={.metadata.uid}")
    assert node.stop_server()
    target = f"sqlite:{node.dir}/data/state.db"
    done = subprocess.run([node.binary, "store", "migrate", "--from", f"etcd:{etcd.endpoint}", "--to", target], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "compared one by one" in done.stdout, done
    etcd.kill()
    node.arguments = []
    node.start()
    node.wait_ready()
    assert node.kubectl("get", "configmap", "one", "-o", "jsonpath={.metadata.uid}") == uid
    create("three")


try:
    etcd.start()
    node.start()
    node.wait_ready()
    checks.run("API objects are in etcd", objects_are_in_etcd)
    checks.run("a watch survives the death of etcd without gap or duplicate", watch_survives_etcd)
    checks.run("readyz says when etcd is gone", says_when_etcd_is_gone)
    checks.run("the node process finds its objects after kill -9", node_process_finds_them)
    checks.run("the service finds its objects after a restart", service_finds_them)
    checks.run("store migrate brings the objects into the node's own file", objects_come_home)
finally:
    if checks.failed:
        print("--- server log\n" + node.log()[-4000:])
    node.stop()
    etcd.remove()
sys.exit(checks.finish())
