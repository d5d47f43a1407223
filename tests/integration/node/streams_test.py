#!/usr/bin/env python3
"""port-forward with real kubectl, over WebSocket and over SPDY/3.1, against a whole node."""
import base64
import hashlib
import http.client
import json
import os
import re
import socket
import ssl
import struct
import subprocess
import sys
import threading

from harness import Checks, Node, binary, kubectl, need_root, until
from node import parse_kubeconfig

need_root()
node = Node(binary(), kubectl())
checks = Checks()
k = node.kubectl

PROTOCOLS = {"WebSocket": {}, "SPDY": {"KUBECTL_PORT_FORWARD_WEBSOCKETS": "false", "KUBECTL_REMOTE_COMMAND_WEBSOCKETS": "false"}}
BIG = 20 << 20

MANIFEST = """
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  containers:
  - name: main
    image: hello:1
    imagePullPolicy: Never
    command: [sh, -c, "mkdir /www; echo a page > /www/index.html; dd if=/dev/urandom of=/www/big bs=1M count=20 2>/dev/null; nc -ll -p 7777 -e cat & exec httpd -f -p 8080 -h /www"]
    readinessProbe: {httpGet: {path: /big, port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Pod
metadata: {name: pinned}
spec:
  hostNetwork: true
  containers: [{name: main, image: "hello:1", imagePullPolicy: Never, command: [sh, -c, "mkdir /www; echo of the node > /www/index.html; exec httpd -f -p 127.0.0.1:18080 -h /www"]}]
"""


class Forward:
    """kubectl port-forward as a process; .ports are the local ones in the order asked for."""

    def __init__(self, protocol, target, *ports):
        env = dict(os.environ, KUBECONFIG=node.kubeconfig, HOME=node.dir, **PROTOCOLS[protocol])
        self.process = subprocess.Popen([node.kubectl_path, "port-forward", "--address=127.0.0.1", target, *[f":{p}" for p in ports]], env=env,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.lines, self.errors, self.ports = [], [], []
        threading.Thread(target=self.read, args=(self.process.stdout, self.lines), daemon=True).start()
        threading.Thread(target=self.read, args=(self.process.stderr, self.errors), daemon=True).start()
        until("kubectl listens", lambda: sum("Forwarding from 127.0.0.1" in line for line in self.lines) == len(ports) or self.process.poll() is not None)
        for line in list(self.lines):
            m = re.match(r"Forwarding from 127\.0\.0\.1:(\d+) -> (\d+)", line)
            if m:
                self.ports.append(int(m.group(1)))
        assert len(self.ports) == len(ports), (self.lines, self.errors)

    @staticmethod
    def read(stream, into):
        for line in stream:
            into.append(line)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(10)


def get(port, path="/"):
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    c.request("GET", path)
    return c.getresponse().read()


def descriptors():
    return sum(os.readlink(f"/proc/{node.node_pid()}/fd/{fd}").startswith("socket:") for fd in os.listdir(f"/proc/{node.node_pid()}/fd") if os.path.lexists(f"/proc/{node.node_pid()}/fd/{fd}"))


def pages(protocol):
    with Forward(protocol, "pod/web", 8080) as f:
        for _ in range(5):
            assert get(f.ports[0]) == b"a page\n"
    with Forward(protocol, "service/web", 80) as f:
        assert get(f.ports[0]) == b"a page\n"
    with Forward(protocol, "pod/pinned", 18080) as f:
        assert get(f.ports[0]) == b"of the node\n"


def side_by_side(protocol):
    with Forward(protocol, "pod/web", 8080, 7777) as f:
        talk = socket.create_connection(("127.0.0.1", f.ports[1]), timeout=20)
        talk.sendall(b"first ")
        assert talk.recv(100) == b"first "
        results = []
        threads = [threading.Thread(target=lambda: results.append(hashlib.sha256(get(f.ports[0], "/big")).hexdigest())) for _ in range(2)]
        for t in threads:
            t.start()
        talk.sendall(b"second")
        assert talk.recv(100) == b"second", "not behind the large ones"
        for t in threads:
            t.join()
        expected = k("exec", "web", "--", "sha256sum", "/www/big").split()[0]
        assert results == [expected, expected], (results, expected)
        talk.close()


def both_ways(protocol):
    """20 MB up and down one connection; the client's end of file reaches the pod, and what the pod says after it the client."""
    data = os.urandom(BIG)
    with Forward(protocol, "pod/web", 7777) as f:
        s = socket.create_connection(("127.0.0.1", f.ports[0]), timeout=60)
        sender = threading.Thread(target=lambda: (s.sendall(data), s.shutdown(socket.SHUT_WR)))
        sender.start()
        digest, n = hashlib.sha256(), 0
        while chunk := s.recv(1 << 16):
            digest.update(chunk)
            n += len(chunk)
        sender.join()
        assert n == BIG and digest.digest() == hashlib.sha256(data).digest(), n


def closed_port(protocol):
    uid = k("get", "pod", "web", "-o", "jsonpath={.metadata.uid}")
    with Forward(protocol, "pod/web", 81) as f:
        s = socket.create_connection(("127.0.0.1", f.ports[0]), timeout=20)
        assert s.recv(10) == b""
        until("the reason", lambda: any("forwarding" in e for e in f.errors))
        text = "".join(f.errors)
        assert f"error forwarding port 81 to pod web, uid {uid}: failed to connect to localhost:81 inside namespace" in text, text
        assert "dial tcp4 127.0.0.1:81: connect: connection refused" in text, text
        f.process.wait(20)  # kubectl itself gives up after any error; the server would not
        assert "lost connection to pod" in "".join(f.errors), f.errors


def nothing_stays(protocol):
    before = descriptors()
    f = Forward(protocol, "pod/web", 8080, 7777)
    held = [socket.create_connection(("127.0.0.1", f.ports[1]), timeout=20) for _ in range(10)]
    for s in held:
        s.sendall(b"x")
        assert s.recv(1) == b"x"
    assert descriptors() > before + 9
    f.process.kill()
    f.process.wait()
    until("the node's sockets are back", lambda: descriptors() <= before, 20)
    for s in held:
        s.close()


def deaf_program():
    """Input that nobody reads any more ends nothing but itself."""
    pid = node.node_pid()
    p = subprocess.run([node.kubectl_path, "--kubeconfig", node.kubeconfig, "exec", "-i", "web", "--", "sh", "-c", "exec 0<&-; sleep 1; exit 3"], input=b"x" * 3_000_000, capture_output=True, timeout=30)
    assert p.returncode == 3, p
    assert node.node_pid() == pid


# --- as JavaScript clients do it

def websocket(path, subprotocol):
    config = parse_kubeconfig(node.kubeconfig)
    context = ssl.create_default_context(cadata=config["certificate-authority-data"])
    pem = os.path.join(node.dir, "client.pem")
    with open(pem, "w", encoding="ascii", opener=lambda p, flags: os.open(p, flags, 0o600)) as file:
        file.write(config["client-certificate-data"] + config["client-key-data"])
    context.load_cert_chain(pem)
    s = context.wrap_socket(socket.create_connection(("127.0.0.1", node.port), timeout=20), server_hostname="127.0.0.1")
    head = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}\r\n"
    if subprotocol:
        head += f"Sec-WebSocket-Protocol: {subprotocol}\r\n"
    s.sendall((head + "\r\n").encode())
    file = s.makefile("rb")
    status = int(file.readline().split()[1])
    headers = {}
    while (line := file.readline().strip()):
        name, _, value = line.decode().partition(": ")
        headers[name.lower()] = value
    return s, file, status, headers


def send(s, data, opcode=2):
    mask = os.urandom(4)
    s.sendall(bytes([0x80 | opcode, 0x80 | len(data)]) + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(data)))


def receive(file):
    opcode, n = file.read(2)
    if n == 126:
        n, = struct.unpack(">H", file.read(2))
    return opcode & 15, file.read(n)


PATH = "/api/v1/namespaces/default/pods/web/portforward"


def channels():
    for subprotocol in ("v4.channel.k8s.io", "portforward.k8s.io", None):
        s, file, status, headers = websocket(PATH + "?ports=8080&ports=81", subprotocol)
        assert status == 101 and headers.get("sec-websocket-protocol") == subprotocol, (status, headers)
        assert sorted(receive(file)[1] for _ in range(4)) == [b"\0\x90\x1f", b"\1\x90\x1f", b"\2\x51\0", b"\3\x51\0"]
        send(s, b"\0GET / HTTP/1.0\r\n\r\n")
        got = {0: b"", 3: b""}
        while (message := receive(file))[0] == 2:
            got[message[1][0]] += message[1][1:]
        assert got[0].endswith(b"a page\n") and b"connection refused" in got[3], got
        assert message == (8, struct.pack(">H", 1000)), message
        s.close()


def refusals():
    for path, subprotocol, code, text in [(PATH, "v4.channel.k8s.io", 400, "query parameter"), (PATH + "?ports=0", "v4.channel.k8s.io", 400, "must be > 0"),
                                          (PATH + "?ports=http", None, 400, "unable to parse"), (PATH + "?ports=80", "v9", 400, "server accepts"),
                                          (PATH.replace("web", "absent"), "SPDY/3.1+portforward.k8s.io", 404, "not found")]:
        s, file, status, headers = websocket(path, subprotocol)
        assert status == code, (path, status)
        assert headers["connection"] == "close", "a refused upgrade is the last request of its connection"
        body = file.read()
        assert text in body.decode(), body
        s.close()
    assert node.request("GET", PATH)[0] == 400, "no upgrade at all"


def permissions():
    """get lets a WebSocket through the door; create is what counts (1.35)."""
    for verb, allowed in (("get", False), ("get,create", True)):
        name = "f-" + verb.replace(",", "-")
        k("create", "serviceaccount", name)
        k("create", "role", name, f"--verb={verb}", "--resource=pods/portforward")
        k("create", "role", name + "-pods", "--verb=get", "--resource=pods")
        for role in (name, name + "-pods"):
            k("create", "rolebinding", role, f"--role={role}", f"--serviceaccount=default:{name}")
        p = subprocess.run([node.kubectl_path, "port-forward", f"--as=system:serviceaccount:default:{name}", "pod/web", ":8080"],
                           env=dict(os.environ, KUBECONFIG=node.kubeconfig, HOME=node.dir), capture_output=True, text=True, timeout=5) if not allowed else None
        if p:
            assert p.returncode != 0 and "forbidden" in p.stderr.lower(), p
        else:
            f = subprocess.Popen([node.kubectl_path, "port-forward", f"--as=system:serviceaccount:default:{name}", "pod/web", ":8080"],
                                 env=dict(os.environ, KUBECONFIG=node.kubeconfig, HOME=node.dir), stdout=subprocess.PIPE, text=True)
            assert "Forwarding from" in f.stdout.readline()
            f.terminate()
            f.wait(10)


def ready():
    return all(any(c["type"] == "Ready" and c["status"] == "True" for c in p["status"].get("conditions", [])) for p in json.loads(k("get", "pods", "-o", "json"))["items"])


try:
    node.start()
    node.wait_ready()
    node.load_busybox()
    k("apply", "-f", "-", stdin=MANIFEST)
    until("pods are ready", ready, 60, 0.5)
    for one in PROTOCOLS:
        for title, check in [("pages of a pod, a service and a pod of the host's network", pages), ("connections side by side", side_by_side),
                             ("20 MB both ways and half-close", both_ways), ("a closed port", closed_port), ("a killed client leaves nothing", nothing_stays)]:
            checks.run(f"port-forward over {one}: {title}", lambda check=check, one=one: check(one))
    checks.run("exec: a program that does not read", deaf_program)
    checks.run("port-forward over channels", channels)
    checks.run("port-forward: refused upgrades", refusals)
    checks.run("port-forward: permissions", permissions)
    assert "the node process ended" not in node.log()
finally:
    if checks.failed or sys.exc_info()[0]:
        print("--- server log\n" + node.log()[-6000:])
    node.stop()
sys.exit(checks.finish())
