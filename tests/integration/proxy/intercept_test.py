#!/usr/bin/env python3
"""intercept_test.py BINARY: connections of a pod go through the proxy, both ways and in both families, and those that are excluded do not. Namespaces
and links are the test's own, within a network namespace of its own."""
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import unittest

BINARY = sys.argv.pop(1) if len(sys.argv) > 1 else None
POD, PEER = "pod", "peer"
OUTSIDE = f"""
ip link set lo up
mount -t tmpfs tmpfs /run/netns
ip netns add {POD}
ip netns add {PEER}
ip link add name bridge0 type bridge
ip link set bridge0 up
ip addr add 10.77.0.1/24 dev bridge0
ip -6 addr add fd77::1/64 dev bridge0 nodad
i=2
for ns in {POD} {PEER}; do
  ip link add name v$ns type veth peer name eth0 netns $ns
  ip link set v$ns master bridge0 up
  ip -n $ns link set lo up
  ip -n $ns addr add 10.77.0.$i/24 dev eth0
  ip -n $ns -6 addr add fd77::$i/64 dev eth0 nodad
  ip -n $ns link set eth0 up
  i=$((i+1))
done
"""
# Answers with who it is and whom it sees.
SERVER = """
import socket, sys, threading
def serve(port):
    s = socket.socket(socket.AF_INET6); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    s.bind(("::", port)); s.listen(64); print("up", flush=True)
    while True:
        c, peer = s.accept()
        c.recv(4096)
        body = f"{sys.argv[1]}:{port} sees {peer[0].removeprefix('::ffff:')}".encode()
        c.sendall(b"HTTP/1.1 200 OK\\r\\nconnection: close\\r\\ncontent-length: %d\\r\\n\\r\\n" % len(body) + body); c.close()
for port in sys.argv[2:]: threading.Thread(target=serve, args=(int(port),)).start()
"""

# A connection that is there, and asks once it is told to.
BEFORE = """
import socket, sys
s = socket.create_connection(("10.77.0.3", 9092), 5); print("connected", flush=True)
sys.stdin.readline(); s.sendall(b"GET / HTTP/1.1\\r\\n\\r\\n"); print(s.recv(4096).decode(), flush=True)
"""


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def inside(namespace, *command):
    return ["ip", "netns", "exec", namespace, *command]


class InterceptTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        run("sh", "-ec", OUTSIDE)
        cls.directory = tempfile.TemporaryDirectory()
        cls.config, cls.log = (os.path.join(cls.directory.name, name) for name in ("proxy.yaml", "access.log"))
        cls.addClassCleanup(cls.directory.cleanup)
        for namespace, ports in ((POD, ("8080", "8081")), (PEER, ("9090", "9091", "9092"))):
            server = subprocess.Popen(inside(namespace, sys.executable, "-c", SERVER, namespace, *ports), stdout=subprocess.PIPE, text=True)
            cls.addClassCleanup(cls.end, server, server.stdout)
            for _ in ports:
                server.stdout.readline()
        with open(cls.config, "w", encoding="utf-8") as f:
            f.write(cls.text())
        cls.proxy = subprocess.Popen([BINARY, "proxy", "--config", cls.config], stderr=subprocess.PIPE, text=True)
        cls.addClassCleanup(cls.end, cls.proxy, cls.proxy.stderr)
        lines = []
        for line in cls.proxy.stderr:
            lines.append(line)
            if "proxy is up" in line:
                break
        else:
            raise AssertionError("".join(lines))

    @classmethod
    def end(cls, process, pipe):
        process.kill()
        process.wait()
        pipe.close()

    @classmethod
    def text(cls, outside="", exclude="inbound_ports: [8081], outbound_ports: [9091], uids: [4321], cidrs: [10.99.0.0/16, \"fd99::/16\"]", mode="redirect", source="", outbound_mode="redirect"):
        log = f"access_log: {{path: {cls.log}, json: {{listener: LISTENER, to: \"%UPSTREAM_HOST%\", from: \"%DOWNSTREAM_REMOTE_ADDRESS%\"}}}}"
        return f"""
interceptions: [{{netns: /run/netns/{POD}, inbound_port: 15006, outbound_port: 15001, mode: {mode}, outbound_mode: {outbound_mode}, exclude: {{{exclude}}}}}]
listeners:
- {{name: in, address: "[::]:15006", netns: /run/netns/{POD}, intercepts: true, transparent: {"true" if mode == "tproxy" else "false"}, virtual_hosts: [{{routes: [{{prefix: /, cluster: app}}]}}], {log.replace("LISTENER", "in")}}}
- {{name: out, address: "[::]:15001", netns: /run/netns/{POD}, intercepts: true, transparent: {"true" if outbound_mode == "tproxy" else "false"}, protocol: tcp, cluster: outside, {log.replace("LISTENER", "out")}}}
clusters:
- {{name: app, original_destination: true, netns: /run/netns/{POD}{source}}}
- {{name: outside, original_destination: true{outside}}}
"""

    def get(self, namespace, url, *more):
        command = ["curl", "-sS", "-m", "5", *more, url]
        done = subprocess.run(inside(namespace, *command), capture_output=True, text=True)
        return done.stdout if done.returncode == 0 else f"error: {done.stderr.strip()}"

    def reload(self, text):
        with open(self.config + ".new", "w", encoding="utf-8") as f:
            f.write(text)
        os.rename(self.config + ".new", self.config)

    def logged(self, count):
        """The last lines of the log, once there are so many more than before."""
        for _ in range(100):
            with open(self.log, encoding="utf-8") as f:
                lines = f.readlines()
            if len(lines) >= self.before + count:
                return [json.loads(line) for line in lines[self.before:]]
            threading.Event().wait(0.05)
        return []

    def setUp(self):
        self.before = 0
        if os.path.exists(self.log):
            threading.Event().wait(0.4)  # lines of the test before
            with open(self.log, encoding="utf-8") as f:
                self.before = len(f.readlines())

    def test_inbound_goes_through_in_both_families(self):
        self.assertEqual(self.get(PEER, "http://10.77.0.2:8080/"), "pod:8080 sees 10.77.0.2")
        self.assertEqual(self.get(PEER, "http://[fd77::2]:8080/"), "pod:8080 sees fd77::2")
        self.assertEqual([line["to"] for line in self.logged(2)], ["10.77.0.2:8080", "[fd77::2]:8080"])

    def test_outbound_goes_through_in_both_families(self):
        self.assertEqual(self.get(POD, "http://10.77.0.3:9090/"), "peer:9090 sees 10.77.0.1")
        self.assertEqual(self.get(POD, "http://[fd77::3]:9090/"), "peer:9090 sees fd77::1")
        self.assertEqual([(line["listener"], line["to"]) for line in self.logged(2)], [("out", "10.77.0.3:9090"), ("out", "[fd77::3]:9090")])

    def test_what_is_excluded_is_left_alone(self):
        self.assertEqual(self.get(PEER, "http://10.77.0.2:8081/"), "pod:8081 sees 10.77.0.3")
        self.assertEqual(self.get(POD, "http://10.77.0.3:9091/"), "peer:9091 sees 10.77.0.2")
        self.assertEqual(self.get(POD, "http://[fd77::3]:9091/"), "peer:9091 sees fd77::2")
        done = subprocess.run(inside(POD, "setpriv", "--reuid=4321", "--clear-groups", "curl", "-sS", "-m", "5", "http://10.77.0.3:9090/"), capture_output=True, text=True)
        self.assertEqual(done.stdout, "peer:9090 sees 10.77.0.2", done.stderr)
        rules = run(*inside(POD, "nft", "list", "table", "ip", "monopod-intercept")) + run(*inside(POD, "nft", "list", "table", "ip6", "monopod-intercept"))
        for part in ("ip daddr 10.99.0.0/16 accept", "ip6 daddr fd99::/16 accept", "skuid 4321 accept", "tcp dport 8081 accept", "redirect to :15006"):
            self.assertIn(part, rules.replace("meta ", "").replace("meta l4proto 6 ", ""))

    def test_a_pod_reaches_itself_past_the_proxy(self):
        self.assertEqual(self.get(POD, "http://127.0.0.1:8080/"), "pod:8080 sees 127.0.0.1")
        self.assertEqual(self.get(POD, "http://10.77.0.2:8080/"), "pod:8080 sees 10.77.0.2")

    def test_who_connects_to_the_proxy_itself_is_closed(self):
        self.assertTrue(self.get(POD, "http://127.0.0.1:15001/").startswith("error: "))
        self.assertTrue(self.get(POD, "http://[::1]:15006/").startswith("error: "))

    def test_by_tproxy_both_addresses_stay(self):
        self.reload(self.text(mode="tproxy"))
        for _ in range(100):
            if "tproxy" in run(*inside(POD, "nft", "list", "ruleset")):
                break
            threading.Event().wait(0.05)
        self.assertEqual(self.get(PEER, "http://10.77.0.2:8080/"), "pod:8080 sees 10.77.0.2")
        self.setUp()
        self.reload(self.text(mode="tproxy", source=", original_source: true"))
        for _ in range(100):
            if self.get(PEER, "http://10.77.0.2:8080/") == "pod:8080 sees 10.77.0.3":
                break
            threading.Event().wait(0.05)
        threading.Event().wait(0.2)
        self.setUp()
        for _ in range(3):
            self.assertEqual(self.get(PEER, "http://10.77.0.2:8080/"), "pod:8080 sees 10.77.0.3")
            self.assertEqual(self.get(PEER, "http://[fd77::2]:8080/"), "pod:8080 sees fd77::3")
        lines = self.logged(6)
        self.assertEqual([line["to"] for line in lines[:2]], ["10.77.0.2:8080", "[fd77::2]:8080"])
        self.assertEqual(self.get(PEER, "http://10.77.0.2:8081/"), "pod:8081 sees 10.77.0.3")  # excluded
        self.assertEqual(self.get(POD, "http://10.77.0.3:9090/"), "peer:9090 sees 10.77.0.1")  # the other way is as it was
        self.assertEqual(self.get(POD, "http://10.77.0.2:8080/"), "pod:8080 sees 10.77.0.2")
        self.assertTrue(self.get(PEER, "http://10.77.0.2:15006/").startswith("error: "))
        for family in ("-4", "-6"):
            self.assertIn("fwmark 0x200000/0x200000", run("ip", family, "-n", POD, "rule"))
        self.reload(self.text())
        for _ in range(100):
            if self.get(PEER, "http://10.77.0.2:8080/") == "pod:8080 sees 10.77.0.2":
                break
            threading.Event().wait(0.05)
        self.assertEqual(self.get(PEER, "http://[fd77::2]:8080/"), "pod:8080 sees fd77::2")
        self.assertNotIn("fwmark", run("ip", "-n", POD, "rule") + run("ip", "-6", "-n", POD, "rule"))

    def wait_rules(self, there, text="outbound-loop"):
        for _ in range(100):
            if (text in run(*inside(POD, "nft", "list", "ruleset"))) == there:
                return
            threading.Event().wait(0.05)
        raise AssertionError(run(*inside(POD, "nft", "list", "ruleset")))

    def by_user(self, uid, url):
        return subprocess.run(inside(POD, "setpriv", f"--reuid={uid}", "--clear-groups", "curl", "-sS", "-m", "5", url), capture_output=True, text=True).stdout

    def test_by_tproxy_what_goes_out_is_taken_and_what_is_excluded_is_not(self):
        exclude = "inbound_ports: [8081], outbound_ports: [9091], uids: [4321], cidrs: [10.77.0.4/32, \"fd77::4/128\"], mark: 16"
        self.reload(self.text(exclude=exclude.replace("[9091]", "[9091, 9092]")))
        self.wait_rules(True, "dport 9092")
        before = subprocess.Popen(inside(POD, sys.executable, "-c", BEFORE), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.addCleanup(before.kill)
        self.assertEqual(before.stdout.readline(), "connected\n")  # past the proxy, by the rules of then
        self.reload(self.text(exclude=exclude, outbound_mode="tproxy"))
        self.wait_rules(True)
        self.setUp()
        for _ in range(3):
            self.assertEqual(self.get(POD, "http://10.77.0.3:9090/"), "peer:9090 sees 10.77.0.1")
            self.assertEqual(self.get(POD, "http://[fd77::3]:9090/"), "peer:9090 sees fd77::1")
        self.assertEqual([(line["listener"], line["to"]) for line in self.logged(6)], [("out", "10.77.0.3:9090"), ("out", "[fd77::3]:9090")] * 3)
        self.assertIn("peer:9092 sees 10.77.0.2", before.communicate("go\n", timeout=10)[0])  # what was there before the rules stays
        rows = {"a port": lambda: [self.get(POD, f"http://{host}:9091/") for host in ("10.77.0.3", "[fd77::3]")],
                "a prefix": lambda: [self.get(POD, f"http://{host}:9090/") for host in ("10.77.0.4", "[fd77::4]")],
                "a user": lambda: [self.by_user(4321, f"http://{host}:9090/") for host in ("10.77.0.3", "[fd77::3]")]}
        run("ip", "-n", PEER, "addr", "add", "10.77.0.4/24", "dev", "eth0")
        run("ip", "-n", PEER, "-6", "addr", "add", "fd77::4/64", "dev", "eth0", "nodad")
        for what, answers in rows.items():
            self.assertEqual([answer.split(" ")[-1] for answer in answers()], ["10.77.0.2", "fd77::2"], what)
        self.assertEqual(self.by_user(4322, "http://10.77.0.3:9090/"), "peer:9090 sees 10.77.0.1")
        self.assertEqual(self.get(POD, "http://127.0.0.1:8080/"), "pod:8080 sees 127.0.0.1")
        self.assertEqual(self.get(POD, "http://10.77.0.2:8080/"), "pod:8080 sees 10.77.0.2")
        self.assertEqual(self.get(PEER, "http://10.77.0.2:8080/"), "pod:8080 sees 10.77.0.2")  # the other way is redirected
        self.assertTrue(self.get(POD, "http://127.0.0.1:15001/").startswith("error: "))
        # A body of some size, and the proxy's own connections from the pod's namespace: by their mark they do not come round again.
        self.reload(self.text(f", netns: /run/netns/{POD}, mark: 16", exclude, mode="tproxy", outbound_mode="tproxy"))
        self.wait_rules(True, "tproxy to :15006")
        for _ in range(100):
            if self.get(POD, "http://10.77.0.3:9090/") == "peer:9090 sees 10.77.0.2":
                break
            threading.Event().wait(0.05)
        self.setUp()
        self.assertEqual(self.get(POD, "http://10.77.0.3:9090/", "-d", "x" * 3000), "peer:9090 sees 10.77.0.2")
        self.assertEqual(self.get(POD, "http://[fd77::3]:9090/"), "peer:9090 sees fd77::2")
        self.assertEqual([line["listener"] for line in self.logged(2)], ["out", "out"])
        self.assertEqual(self.get(PEER, "http://10.77.0.2:8080/"), "pod:8080 sees 10.77.0.2")  # both ways by TPROXY
        for family in ("-4", "-6"):
            self.assertIn("fwmark 0x400000/0x400000", run("ip", family, "-n", POD, "rule"))
        self.reload(self.text())
        self.wait_rules(False)
        for family in ("-4", "-6"):
            self.assertNotIn("fwmark", run("ip", family, "-n", POD, "rule"))
            self.assertEqual(run("ip", family, "-n", POD, "route", "show", "table", "22").strip() if family == "-4" else "", "")
        self.assertEqual(self.get(POD, "http://10.77.0.3:9090/"), "peer:9090 sees 10.77.0.1")

    def test_when_the_configuration_changes_or_the_proxy_ends_rules_follow(self):
        self.reload(self.text(exclude="inbound_ports: [8080]"))
        for _ in range(100):
            if "10.77.0.3" in self.get(PEER, "http://10.77.0.2:8080/"):
                break
            threading.Event().wait(0.05)
        self.assertEqual(self.get(PEER, "http://10.77.0.2:8080/"), "pod:8080 sees 10.77.0.3")
        self.assertEqual(self.get(POD, "http://10.77.0.3:9091/"), "peer:9091 sees 10.77.0.1")
        # From the pod's own namespace and address, past the rules by a mark.
        self.reload(self.text(f", netns: /run/netns/{POD}, mark: 16", "mark: 16"))
        for _ in range(100):
            if self.get(POD, "http://10.77.0.3:9090/") == "peer:9090 sees 10.77.0.2":
                break
            threading.Event().wait(0.05)
        self.setUp()
        self.assertEqual(self.get(POD, "http://10.77.0.3:9090/"), "peer:9090 sees 10.77.0.2")
        self.assertEqual(self.get(POD, "http://[fd77::3]:9090/"), "peer:9090 sees fd77::2")
        self.assertEqual([(line["listener"], line["to"]) for line in self.logged(2)], [("out", "10.77.0.3:9090"), ("out", "[fd77::3]:9090")])
        self.proxy.terminate()
        self.assertEqual(self.proxy.wait(20), 0)
        self.assertEqual(self.get(POD, "http://10.77.0.3:9090/"), "peer:9090 sees 10.77.0.2")
        self.assertNotIn("monopod-intercept", run(*inside(POD, "nft", "list", "ruleset")))


if __name__ == "__main__":
    if os.environ.get("INTERCEPT_TEST_INSIDE") != "1":
        os.makedirs("/run/netns", exist_ok=True)
        command = ["unshare", "--net", "--mount", "--propagation", "private", sys.executable, os.path.abspath(__file__), BINARY, *sys.argv[1:]]
        if os.geteuid() != 0 or subprocess.run(["unshare", "--net", "--mount", "true"], capture_output=True).returncode != 0:
            print("skipped: needs root and namespaces")
            sys.exit(0)
        sys.exit(subprocess.run(command, env={**os.environ, "INTERCEPT_TEST_INSIDE": "1"}).returncode)
    unittest.main()
