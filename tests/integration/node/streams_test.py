#!/usr/bin/env python3
"""exec, attach, cp and port-forward with real kubectl, over WebSocket and over SPDY/3.1, against a whole node."""
import base64
import fcntl
import hashlib
import http.client
import json
import os
import pty
import re
import select
import signal
import socket
import ssl
import struct
import subprocess
import sys
import termios
import threading
import time

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
  terminationGracePeriodSeconds: 1
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
  terminationGracePeriodSeconds: 1
  hostNetwork: true
  containers: [{name: main, image: "hello:1", imagePullPolicy: Never, command: [sh, -c, "mkdir -p /www; echo of the node > /www/index.html; exec httpd -f -p 127.0.0.1:18080 -h /www"]}]
---
apiVersion: v1
kind: Pod
metadata: {name: reader}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: main, image: "hello:1", imagePullPolicy: Never, stdin: true, command: [sh, -c, "while read line; do echo got $line; echo err $line >&2; done"]}]
---
apiVersion: v1
kind: Pod
metadata: {name: terminal}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: main, image: "hello:1", imagePullPolicy: Never, stdin: true, tty: true, command: [sh, -c, "while read line; do stty size; done"]}]
"""

ONCE = """
apiVersion: v1
kind: Pod
metadata: {name: NAME}
spec:
  terminationGracePeriodSeconds: 1
  restartPolicy: Never
  containers: [{name: main, image: "hello:1", imagePullPolicy: Never, stdin: true, stdinOnce: true, command: [sh, -c, "cat; echo over"]}]
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
        until("its last word", lambda: "lost connection to pod" in "".join(f.errors))  # the process is gone before who reads it has read


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


def run(protocol, *arguments, **options):
    env = dict(os.environ, KUBECONFIG=node.kubeconfig, HOME=node.dir, **PROTOCOLS[protocol])
    return subprocess.run([node.kubectl_path, *arguments], env=env, capture_output=True, timeout=60, **options)


def executes(protocol):
    p = run(protocol, "exec", "-i", "web", "--", "sh", "-c", "cat; echo to stderr >&2; exit 7", input=b"through stdin")
    assert (p.returncode, p.stdout) == (7, b"through stdin") and b"to stderr" in p.stderr, p
    p = run(protocol, "exec", "web", "--", "absent")
    assert p.returncode not in (0, 7) and b"absent" in p.stderr, p
    data = os.urandom(BIG)
    p = run(protocol, "exec", "-i", "web", "--", "cat", input=data)
    assert p.returncode == 0 and p.stdout == data, (p.returncode, len(p.stdout), p.stderr)


def typed(protocol, size, lines, *arguments, again=False):
    """A person at a terminal of that size, who types lines, each when the one before has been answered; again: and types one again until it is."""
    pid, master = pty.fork()
    if pid == 0:
        os.environ.update(KUBECONFIG=node.kubeconfig, HOME=node.dir, TERM="dumb", **PROTOCOLS[protocol])
        signal.alarm(60)
        while os.get_terminal_size(0) != os.terminal_size((size[1], size[0])):
            time.sleep(0.01)
        os.execv(node.kubectl_path, [node.kubectl_path, *arguments])
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
    seen = b""
    try:
        for line, answer in lines:
            mark = len(seen)
            if line:
                os.write(master, line)
            deadline = time.monotonic() + 20
            while answer not in seen[mark:]:
                assert time.monotonic() < deadline, (answer, seen)
                if select.select([master], [], [], 0.5)[0]:
                    seen += os.read(master, 4096)
                elif line and again:
                    os.write(master, line)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.close(master)
        os.waitpid(pid, 0)


def terminals(protocol):
    typed(protocol, (33, 101), [(b"stty size\n", b"33 101"), (b"tty\n", b"/dev/pts/")], "exec", "-it", "web", "--", "sh", "-c", "busybox sh -c 'read l; sleep 0.3; $l; read l; busybox $l'")
    # A container's size comes from who looks at it. kubectl tells one that is too large first, for programs to draw anew.
    for size in ((33, 101), (20, 60)):
        typed(protocol, size, [(None, b"prompt"), (b"x\n", b"%d %d" % size)], "attach", "-it", "terminal", again=True)


def attaches(protocol):
    p = subprocess.Popen([node.kubectl_path, "--kubeconfig", node.kubeconfig, "attach", "-i", "reader"], env=dict(os.environ, HOME=node.dir, **PROTOCOLS[protocol]),
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0)
    try:
        for word in (b"one", b"two"):
            p.stdin.write(word + b"\n")
            assert p.stdout.readline() == b"got " + word + b"\n"
        until("what the container says on stderr", lambda: b"err one" in p.stderr.readline(), 10, 0)
    finally:
        p.kill()
        p.wait()
    p = run(protocol, "attach", "web", "-c", "absent")
    assert p.returncode != 0 and b"absent" in p.stderr, p


def input_once(protocol):
    name = "once-" + protocol.lower()
    k("apply", "-f", "-", stdin=ONCE.replace("NAME", name))
    k("wait", "--for=condition=Ready", "pod/" + name, "--timeout=30s")
    p = run(protocol, "attach", "-i", name, input=b"all of it\n")
    assert p.returncode == 0 and p.stdout == b"all of it\nover\n", p
    k("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/" + name, "--timeout=30s")
    p = run(protocol, "attach", name)
    assert p.returncode != 0 and b"completed pod" in p.stderr, p
    p = run(protocol, "run", name + "-run", "--image=hello:1", "--image-pull-policy=Never", "--rm", "-i", "--restart=Never", "--", "-c", "read x; sleep 1; echo got $x", input=b"a word\n")
    assert p.returncode == 0 and b"got a word" in p.stdout and b"deleted" in p.stdout, p
    assert k("get", "pod", name + "-run", check=False).returncode != 0


def nobody_attached_stays(protocol):
    before = descriptors()
    env = dict(os.environ, KUBECONFIG=node.kubeconfig, HOME=node.dir, **PROTOCOLS[protocol])
    commands = [["attach", "-i", "reader"], ["exec", "web", "--", "sleep", "1234"], ["exec", "-i", "web", "--", "sleep", "1234"], ["exec", "web", "--", "sh", "-c", "while true; do echo x; done"]]
    held = [subprocess.Popen([node.kubectl_path, *c], env=env, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for c in commands]
    try:
        until("all are there", lambda: descriptors() >= before + len(commands), 20)
        until("the programs run", lambda: k("exec", "web", "--", "ps").count("sleep 1234") == 2)
    finally:
        for p in held:
            p.kill()
            p.wait()
    until("the node's sockets are back", lambda: descriptors() <= before, 20)
    until("what writes for nobody has ended", lambda: "while true" not in k("exec", "web", "--", "ps"))
    k("exec", "web", "--", "sh", "-c", "for p in $(ps | grep 'sleep 123[4]' | busybox awk '{print $1}'); do kill $p; done")


def copies(protocol):
    here = os.path.join(node.dir, "copies-" + protocol)
    os.makedirs(os.path.join(here, "tree", "below"))
    data = os.urandom(5 << 20)
    for path in ("big", "tree/a", "tree/below/b"):
        with open(os.path.join(here, path), "wb") as f:
            f.write(data if path == "big" else path.encode())
    there = f"/tmp/{protocol}"
    k("exec", "web", "--", "mkdir", "-p", there)
    for what in ("big", "tree"):
        p = run(protocol, "cp", os.path.join(here, what), f"default/web:{there}/{what}")
        assert p.returncode == 0, p
    assert k("exec", "web", "--", "sha256sum", f"{there}/big").split()[0] == hashlib.sha256(data).hexdigest()
    assert k("exec", "web", "--", "cat", f"{there}/tree/below/b") == "tree/below/b"
    for what in ("big", "tree"):
        p = run(protocol, "cp", f"web:{there}/{what}", os.path.join(here, "back-" + what))
        assert p.returncode == 0, p
    with open(os.path.join(here, "back-big"), "rb") as f:
        assert f.read() == data
    with open(os.path.join(here, "back-tree", "below", "b"), "rb") as f:
        assert f.read() == b"tree/below/b"
    run(protocol, "cp", f"web:{there}/absent", os.path.join(here, "absent"))  # kubectl says so or not, as it comes
    assert not os.path.exists(os.path.join(here, "absent"))


def after_a_new_node():
    """Containers' input and output are the supervisor's: the next node process attaches to them as this one did."""
    pid = node.node_pid()
    os.kill(pid, 9)
    until("another node process", lambda: node.node_pid() not in (None, pid))
    node.wait_ready()
    for protocol in PROTOCOLS:
        until("the pod is found again", lambda: k("exec", "reader", "--", "true", check=False).returncode == 0)
        attaches(protocol)
        typed(protocol, (25, 77), [(None, b"prompt"), (b"x\n", b"25 77")], "attach", "-it", "terminal", again=True)
    with Forward("WebSocket", "pod/web", 8080) as f:
        assert get(f.ports[0]) == b"a page\n"


def a_pod_that_goes():
    """What was forwarded ends with it; the next connection is told, in words that make kubectl give up."""
    k("apply", "-f", "-", stdin=ONCE.replace("NAME", "brief").replace("cat; echo over", "nc -ll -p 7777 -e cat"))
    k("wait", "--for=condition=Ready", "pod/brief", "--timeout=30s")
    with Forward("WebSocket", "pod/brief", 7777) as f:
        s = socket.create_connection(("127.0.0.1", f.ports[0]), timeout=30)
        s.sendall(b"x")
        assert s.recv(1) == b"x"
        k("delete", "pod", "brief", "--grace-period=0", "--force")
        assert s.recv(1) == b""
        until("the sandbox is gone", lambda: k("get", "pod", "brief", check=False).returncode != 0)
        time.sleep(1)
        assert socket.create_connection(("127.0.0.1", f.ports[0]), timeout=30).recv(1) == b""
        until("kubectl gives up", lambda: f.process.poll() is not None)
        assert "failed to find sandbox" in "".join(f.errors), f.errors


def a_stop_waits_for_nobody():
    with Forward("WebSocket", "pod/web", 7777) as f, Forward("SPDY", "pod/web", 7777) as g:
        held = [socket.create_connection(("127.0.0.1", one.ports[0]), timeout=30) for one in (f, g)]
        for s in held:
            s.sendall(b"x")
            assert s.recv(1) == b"x"
        a = subprocess.Popen([node.kubectl_path, "--kubeconfig", node.kubeconfig, "attach", "-i", "reader"], env=dict(os.environ, HOME=node.dir), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        begin = time.monotonic()
        assert node.stop_server()
        assert time.monotonic() - begin < 15, "pods have a second to end"
        a.wait(20)


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


def base64_channels():
    s, file, status, headers = websocket(PATH + "?ports=8080", "v4.base64.channel.k8s.io")
    assert status == 101 and headers.get("sec-websocket-protocol") == "v4.base64.channel.k8s.io", (status, headers)
    assert sorted(receive(file) for _ in range(2)) == [(1, b"0" + base64.b64encode(b"\x90\x1f")), (1, b"1" + base64.b64encode(b"\x90\x1f"))]
    send(s, b"0" + base64.b64encode(b"GET / HTTP/1.0\r\n\r\n"), opcode=1)
    page = b""
    while (message := receive(file))[0] == 1:
        page += base64.b64decode(message[1][1:]) if message[1][:1] == b"0" else b""
    assert page.endswith(b"a page\n"), page
    s.close()


def older_exec():
    """What the conformance suite and older JavaScript and Python clients speak."""
    path = "/api/v1/namespaces/default/pods/web/exec?command=sh&command=-c&command=echo+remote%3B+exit+CODE&stdout=1&stderr=1"
    for protocol, code in [(p, c) for p in ("v4.channel.k8s.io", "channel.k8s.io", "base64.channel.k8s.io", "v4.base64.channel.k8s.io", None) for c in (0, 7)]:
        s, file, status, headers = websocket(path.replace("CODE", str(code)), protocol)
        assert status == 101 and headers.get("sec-websocket-protocol") == protocol, (protocol, status, headers)
        got, text = {}, protocol is not None and "base64" in protocol
        while (message := receive(file))[0] == (1 if text else 2):
            channel, data = (int(message[1][:1]), base64.b64decode(message[1][1:])) if text else (message[1][0], message[1][1:])
            got.setdefault(channel, []).append(data)
        assert got[1][0] == b"" and b"".join(got[1]) == b"remote\n", (protocol, got)
        said = b"".join(got.get(3, [])).decode()
        if protocol and protocol.startswith("v4"):
            assert json.loads(said)["status"] == ("Failure" if code else "Success"), said
        else:
            assert said == ("command terminated with non-zero exit code: exit status 7" if code else ""), said
        assert message == (8, struct.pack(">H", 1000)), message
        s.close()
    assert websocket(path, "v9.channel.k8s.io")[2] == 400


def logs_and_watches():
    k("run", "teller", "--image=hello:1", "--image-pull-policy=Never", "--restart=Never", "--command", "--", "sh", "-c", "echo container is alive; sleep 3600")
    until("the pod runs", lambda: k("logs", "teller") == "container is alive\n", 30)
    path = "/api/v1/namespaces/default/pods/teller/log"
    for protocol, opcode in (("binary.k8s.io", 2), (None, 2), ("base64.binary.k8s.io", 1)):
        s, file, status, headers = websocket(path, protocol)
        assert status == 101 and headers.get("sec-websocket-protocol") == protocol, (protocol, status, headers)
        opcode_is, data = receive(file)
        assert opcode_is == opcode and (base64.b64decode(data) if opcode == 1 else data) == b"container is alive\n", (opcode_is, data)
        assert receive(file) == (8, struct.pack(">H", 1000))
        s.close()
    s, file, status, _ = websocket(path + "?container=none", None)
    assert status == 400 and b"is not valid for pod" in file.read()
    s, file, status, _ = websocket("/api/v1/namespaces/default/configmaps?watch=1&fieldSelector=metadata.name%3Dseen", None)
    assert status == 101
    k("create", "configmap", "seen")
    k("label", "configmap", "seen", "a=b")
    for wanted in ("ADDED", "MODIFIED"):
        opcode, data = receive(file)
        assert opcode == 1 and json.loads(data)["type"] == wanted, data
    send(s, struct.pack(">H", 1000), opcode=8)
    assert receive(file)[0] == 8, "our close is answered"
    s.close()
    k("delete", "pod", "teller", "--now")


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
        for title, check in [("exec", executes), ("terminals", terminals), ("attach", attaches), ("stdinOnce, and kubectl run --rm", input_once),
                             ("clients that go", nobody_attached_stays), ("cp", copies)]:
            checks.run(f"{title} over {one}", lambda check=check, one=one: check(one))
    checks.run("exec: a program that does not read", deaf_program)
    checks.run("port-forward over channels", channels)
    checks.run("port-forward over base64 channels", base64_channels)
    checks.run("exec over the subprotocols before v5", older_exec)
    checks.run("logs and watches as messages", logs_and_watches)
    checks.run("port-forward: refused upgrades", refusals)
    checks.run("port-forward: permissions", permissions)
    assert "the node process ended" not in node.log()
    checks.run("attach, after the node process was killed", after_a_new_node)
    checks.run("port-forward to a pod that goes", a_pod_that_goes)
    checks.run("a stop waits for nobody", a_stop_waits_for_nobody)
finally:
    if checks.failed or sys.exc_info()[0]:
        print("--- server log\n" + node.log()[-6000:])
    node.stop()
sys.exit(checks.finish())
