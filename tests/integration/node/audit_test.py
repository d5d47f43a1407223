#!/usr/bin/env python3
"""A node that audits: its file, what stands in it, rotation, restarts; and policies that are wrong."""
import glob
import json
import os
import shutil
import subprocess
import sys
import tempfile

from harness import Checks, Node, binary, kubectl, need_root, until

need_root()
DIR = tempfile.mkdtemp(prefix="monopod-audit-")
LOG = os.path.join(DIR, "audit.log")
POLICY = os.path.join(DIR, "policy.yaml")
with open(POLICY, "w", encoding="utf-8") as f:
    f.write("apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules:\n"
            "- {level: Metadata, resources: [{group: '', resources: [secrets]}]}\n"
            "- {level: RequestResponse, verbs: [create], resources: [{group: '', resources: [configmaps]}]}\n"
            "- {level: None}\n")
node = Node(binary(), kubectl(), arguments=["--audit-policy-file", POLICY, "--audit-log-path", LOG, "--audit-log-maxsize", "1", "--audit-log-maxbackup", "2", "--disable-agent"])
checks = Checks()


def check_only(*arguments):
    return subprocess.run([node.binary, "server", "--check", "--disable-agent", "--data-dir", f"{DIR}/d", "--run-dir", f"{DIR}/r", *arguments], capture_output=True, text=True, timeout=30)


def serving():
    until("the API answers", lambda: node.request("GET", "/api/v1/namespaces/default")[0] == 200)


def events():
    with open(LOG, encoding="utf-8") as log:
        return [json.loads(line) for line in log]


def wrong_options_end_the_start_with_one_line():
    bad = os.path.join(DIR, "bad.yaml")
    with open(bad, "w", encoding="utf-8") as out:
        out.write("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- {level: Everything}\n")
    done = check_only("--audit-policy-file", bad, "--audit-log-path", LOG)
    assert done.returncode != 0, done
    assert done.stderr == f'monopod: audit policy {bad}: rules[0].level: unsupported value "Everything": supported values: None, Metadata, Request, RequestResponse\n', done.stderr
    for alone in (("--audit-policy-file", POLICY), ("--audit-log-path", LOG)):
        done = check_only(*alone)
        assert done.returncode != 0 and done.stderr.count("\n") == 1 and "too" in done.stderr, done
    assert check_only("--audit-policy-file", os.path.join(DIR, "none"), "--audit-log-path", LOG).returncode != 0
    assert check_only("--audit-policy-file", POLICY, "--audit-log-path", LOG).returncode == 0


def what_the_policy_asks_is_in_the_file():
    node.kubectl("create", "secret", "generic", "s", "--from-literal", "k=very-hidden")
    node.kubectl("create", "configmap", "c", "--from-literal", "k=shown")
    until("events in the file", lambda: {"s", "c"} <= {e["objectRef"].get("name") for e in events()})
    found = {(e["objectRef"]["resource"], e["verb"]): e for e in events()}
    secret, config = found["secrets", "create"], found["configmaps", "create"]
    assert secret["level"] == "Metadata" and "requestObject" not in secret and secret["responseStatus"]["code"] == 201
    assert config["requestObject"]["data"] == {"k": "shown"} and config["responseObject"]["metadata"]["uid"]
    assert config["user"]["username"] and config["sourceIPs"] == ["127.0.0.1"] and config["userAgent"].startswith("kubectl")
    with open(LOG, encoding="utf-8") as log:
        assert "very-hidden" not in log.read()
    assert os.stat(LOG).st_mode & 0o777 == 0o600


def the_file_is_bounded():
    for i in range(6):  # 600 KB of events each
        status, body = node.request("POST", "/api/v1/namespaces/default/configmaps", {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"big{i}"}, "data": {"k": "x" * 300_000}})
        assert status == 201, body
    old = os.path.join(DIR, "audit-*.log")
    until("the last of them", lambda: any(e["objectRef"].get("name") == "big5" for e in events()))
    assert len(glob.glob(old)) == 2, glob.glob(old)
    for file in glob.glob(old):
        assert os.path.getsize(file) <= 1 << 20 and os.stat(file).st_mode & 0o777 == 0o600
        with open(file, encoding="utf-8") as log:
            assert all(json.loads(line)["kind"] == "Event" for line in log)


def a_restart_goes_on_with_it():
    before = len(events())
    assert node.stop_server()
    node.start()
    serving()
    node.kubectl("create", "configmap", "after")
    until("one more", lambda: len(events()) > before and events()[-1]["objectRef"]["name"] == "after")


try:
    checks.run("wrong options end the start with one line", wrong_options_end_the_start_with_one_line)
    node.start()
    serving()
    checks.run("what the policy asks is in the file, and no more", what_the_policy_asks_is_in_the_file)
    checks.run("files are put aside and go", the_file_is_bounded)
    checks.run("a restart goes on with the file", a_restart_goes_on_with_it)
finally:
    if checks.failed:
        print("--- server log\n" + node.log()[-4000:])
    node.stop()
    shutil.rmtree(DIR, ignore_errors=True)
sys.exit(checks.finish())
