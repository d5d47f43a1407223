"""Exec, Attach and PortForward through the URLs that CRI gives, over WebSocket; and CRI's engine killed at every step: pods go on, nothing is left."""
import base64
import json
import os
import random
import re
import struct
import sys
import urllib.parse

from support import DEADLINE, INVALID, NOT_FOUND, PRECONDITION, ROOT, Checks, CriEngine, Refused, connect_inside, need_engine_host, until

need_engine_host()
e = CriEngine()
checks = Checks(sys.argv[1] if len(sys.argv) > 1 else None)


def eq(have, want):
    if have != want:
        raise AssertionError(f"have {have!r}, want {want!r}")


class WebSocket:
    """As much of RFC 6455 as the streams need. status: 101, or what the server answered instead."""

    def __init__(self, url, protocol):
        at = urllib.parse.urlsplit(url)
        self.socket = connect_inside(e, at.port)
        target = at.path + ("?" + at.query if at.query else "")
        self.socket.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}\r\n"
                            f"Sec-WebSocket-Protocol: {protocol}\r\n\r\n".encode())
        self.rest = b""
        while b"\r\n\r\n" not in self.rest:
            self.rest += self.more()
        head, self.rest = self.rest.split(b"\r\n\r\n", 1)
        self.status = int(head.split()[1])

    def more(self):
        chunk = self.socket.recv(65536)
        if not chunk:
            raise EOFError
        return chunk

    def take(self, count):
        while len(self.rest) < count:
            self.rest += self.more()
        out, self.rest = self.rest[:count], self.rest[count:]
        return out

    def send(self, channel, data):
        payload, mask = bytes([channel]) + data, os.urandom(4)
        size = struct.pack("!B", 0x80 | len(payload)) if len(payload) < 126 else struct.pack("!BH", 0x80 | 126, len(payload))
        self.socket.sendall(b"\x82" + size + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(payload)))

    def receive(self):
        """(channel, bytes), or None at the end."""
        while True:
            try:
                first, size = self.take(2)
                if size == 126:
                    size = struct.unpack("!H", self.take(2))[0]
                elif size == 127:
                    size = struct.unpack("!Q", self.take(8))[0]
                payload = self.take(size)
            except EOFError:
                return None
            if first & 15 == 8:
                return None
            if first & 15 in (1, 2):
                return payload[0], payload[1:]

    def all(self):
        """What each channel said, to the end."""
        out = {}
        while (message := self.receive()) is not None:
            out[message[0]] = out.get(message[0], b"") + message[1]
        return out

    def until_says(self, channel, text):
        have = b""
        while text not in have:
            message = self.receive()
            if message is None:
                raise AssertionError(f"ended after {have}")
            if message[0] == channel:
                have += message[1]
        return have


def exec_url(c, *cmd, **more):
    return e.cri.call("Exec", container_id=c, cmd=list(cmd), **{"stdout": True, **more})["url"]


def exec_streams():
    s = e.run_sandbox()
    c = e.run(s)
    url = exec_url(c, "sh", "-c", "cat; echo err >&2; exit 4", stdin=True, stderr=True)
    eq((url.startswith("http://127.0.0.1:"), len(url.rsplit("/", 1)[1])), (True, 64))
    w = WebSocket(url, "v5.channel.k8s.io")
    w.send(0, b"hello\n")
    w.until_says(1, b"hello\n")
    w.send(255, b"\x00")  # the end of stdin
    said = w.all()
    eq((said[2], json.loads(said[3])["details"]["causes"][0]["message"]), (b"err\n", "4"))
    eq(WebSocket(url, "v5.channel.k8s.io").status, 404)  # good once
    eq(WebSocket(url.rsplit("/", 1)[0] + "/" + "0" * 64, "v5.channel.k8s.io").status, 404)
    eq(WebSocket(exec_url(c, "true").replace("/exec/", "/attach/"), "v5.channel.k8s.io").status, 404)
    terminal = WebSocket(exec_url(c, "sh", "-c", "read x; stty size", tty=True, stdin=True), "v5.channel.k8s.io")
    terminal.send(4, b'{"Width":91,"Height":33}')
    terminal.send(0, b"\n")
    terminal.until_says(1, b"33 91")
    eq(json.loads(WebSocket(exec_url(c, "true"), "v4.channel.k8s.io").all()[3])["status"], "Success")
    eq("no such" in json.loads(WebSocket(exec_url(c, "/no/such"), "v5.channel.k8s.io").all()[3])["message"], True)
    eq(e.cri.refused("Exec", container_id=c, cmd=["true"]).code, INVALID)
    eq(e.cri.refused("Exec", container_id=c, cmd=["true"], stdout=True, stderr=True, tty=True).code, INVALID)
    eq(e.cri.refused("Exec", container_id=c, cmd=[], stdout=True).code, INVALID)
    eq(e.cri.refused("Exec", container_id="none", cmd=["true"], stdout=True).code, NOT_FOUND)
    for _ in range(1001 if "MONOPOD_LONG" in os.environ else 0):  # asked for and not used
        try:
            exec_url(c, "true")
        except Refused as refused:
            eq((refused.code, "1000" in refused.message), (8, True))
            break
    else:
        eq("MONOPOD_LONG" in os.environ, False)
    e.kill_child()
    eq(WebSocket(exec_url(c, "echo", "x"), "v5.channel.k8s.io").all()[1], b"x\n")
    e.cri.call("RemovePodSandbox", pod_sandbox_id=s[0])


def spdy():
    """Its door, as crictl and critest knock; what is behind it pkg/http's own tests ask, and kubectl those of the node."""
    s = e.run_sandbox()
    c = e.run(s)
    for url, protocols in ((exec_url(c, "true"), "v5.channel.k8s.io\r\nX-Stream-Protocol-Version: v4.channel.k8s.io"), (e.cri.call("PortForward", pod_sandbox_id=s[0])["url"], "portforward.k8s.io")):
        at = urllib.parse.urlsplit(url)
        connection = connect_inside(e, at.port)
        connection.sendall(f"POST {at.path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: {protocols}\r\n\r\n".encode())
        head = connection.recv(4096).split(b"\r\n\r\n")[0].lower()
        eq((head.split()[1], b"upgrade: spdy/3.1" in head, b"x-stream-protocol-version: " in head), (b"101", True, True))
        connection.close()
    e.cri.call("RemovePodSandbox", pod_sandbox_id=s[0])


def attach():
    s = e.run_sandbox()
    c = e.run(s, ["sh", "-c", "while read line; do echo got $line; done; echo over"], stdin=True, stdin_once=True)
    w = WebSocket(e.cri.call("Attach", container_id=c, stdin=True, stdout=True, stderr=True)["url"], "v5.channel.k8s.io")
    w.send(0, b"one\n")
    w.until_says(1, b"got one\n")
    w.send(255, b"\x00")
    eq(w.all()[1], b"over\n")
    eq(e.exited(c)["exit_code"], 0)
    eq(e.cri.refused("Attach", container_id=c, stdout=True).code, PRECONDITION)
    live = e.run(s)
    eq(e.cri.refused("Attach", container_id=live, stdout=True, tty=True).code, INVALID)
    eq(e.cri.refused("Attach", container_id=live).code, INVALID)
    e.cri.call("RemovePodSandbox", pod_sandbox_id=s[0])


def port_forward():
    s = e.run_sandbox()
    e.run(s, ["nc", "-ll", "-p", "7777", "-e", "cat"])
    c = e.run(s)
    until("the server listens", lambda: ":1E61" in e.out(c, "cat", "/proc/net/tcp", "/proc/net/tcp6"))
    w = WebSocket(e.cri.call("PortForward", pod_sandbox_id=s[0], port=[7777])["url"], "v4.channel.k8s.io")
    for channel in (0, 1):
        eq(w.receive(), (channel, struct.pack("<H", 7777)))
    w.send(0, b"there and back")
    w.until_says(0, b"there and back")
    eq(e.cri.refused("PortForward", pod_sandbox_id=s[0], port=[0]).code, INVALID)
    node = e.run_sandbox(linux={"security_context": {"namespace_options": {"network": 2}}})
    e.run(node, ["nc", "-ll", "-p", "7778", "-e", "cat"], security={"namespace_options": {"network": 2}})
    until("the server listens", lambda: ":1E62" in e.inside("cat", "/proc/net/tcp", "/proc/net/tcp6"))
    w = WebSocket(e.cri.call("PortForward", pod_sandbox_id=node[0], port=[7778])["url"], "v4.channel.k8s.io")
    w.send(0, b"on the node")
    w.until_says(0, b"on the node")
    e.cri.call("RemovePodSandbox", pod_sandbox_id=node[0])
    e.cri.call("StopPodSandbox", pod_sandbox_id=s[0])
    eq(e.cri.refused("PortForward", pod_sandbox_id=s[0], port=[7777]).code, PRECONDITION)
    e.cri.call("RemovePodSandbox", pod_sandbox_id=s[0])


def outlives():
    """The engine's process is killed, then its supervisor reloads: pods go on, and exits that nobody saw are known."""
    s = e.run_sandbox()
    c = e.run(s, ["sh", "-c", "while true; do echo tick; sleep 0.05; done"])
    created = e.create(s)
    gone = e.run(s, ["sh", "-c", "read x < /go; exit 6"], mounts=[{"container_path": "/go", "host_path": fifo()}])
    before = (e.status(c)["started_at"], e.cri.call("PodSandboxStatus", pod_sandbox_id=s[0])["status"])
    e.kill_child()
    eq((e.status(c)["started_at"], e.cri.call("PodSandboxStatus", pod_sandbox_id=s[0])["status"]), before)
    eq((e.status(c)["state"], e.status(created)["state"]), (1, 0))
    e.cri.call("StartContainer", container_id=created)
    with open(e.dir + "/go", "w", encoding="ascii") as f:
        f.write("x\n")
    eq(e.exited(gone)["exit_code"], 6)
    e.reload()
    until("CRI answers", e.cri_answers)
    eq(e.out(c, "echo", "still"), "still\n")
    size = os.path.getsize(e.status(c)["log_path"])
    until("its log goes on", lambda: os.path.getsize(e.status(c)["log_path"]) > size)
    other = e.run_sandbox()
    eq(len({e.cri.call("PodSandboxStatus", pod_sandbox_id=x[0])["status"]["network"]["ip"] for x in (s, other)}), 2)
    eq(e.stop(), 0)  # for good: what ran is ended
    e.start()
    eq((e.status(c)["state"], e.status(created)["state"], e.status(gone)["exit_code"]), (2, 2, 6))
    eq({x["state"] for x in e.cri.call("ListPodSandbox")["items"]}, {1})
    for one in (s, other):
        e.cri.call("RemovePodSandbox", pod_sandbox_id=one[0])
    e.nothing_left()


def fifo():
    path = e.dir + "/go"
    if not os.path.exists(path):
        os.mkfifo(path)
    return path


def points():
    with open(os.path.join(ROOT, "pkg", "base", "failpoint.cc"), encoding="utf-8") as f:
        return re.findall(r'"(cri\.[a-z_]+)"', f.read())


def users_of_its_own():
    """A security context with a user namespace; none where there may be none."""
    if not e.cri.call("Status")["runtime_handlers"][0]["features"]["user_namespaces"]:
        return {}
    line = [{"host_id": 1 << 20, "container_id": 0, "length": 65536}]
    return {"namespace_options": {"userns_options": {"mode": 0, "uids": line, "gids": line}}}


def dies_at(point, mapped=False):
    passed = len(e.log())
    e.start({"MONOPOD_FAILPOINTS": f"{point}=crash"})
    try:
        users = users_of_its_own() if mapped else {}
        s = e.run_sandbox(linux={"security_context": users})
        e.exited(e.run(s, ["true"], security=users, mounts=[{"container_path": "/image", "readonly": True, "image": {"image": "hello:1"}}]))
        e.cri.call("RemovePodSandbox", pod_sandbox_id=s[0])
    except Refused as refused:
        eq(refused.code in (14, DEADLINE), True)  # the connection broke, or nobody is there to answer the next one
    until(f"death at {point}", lambda: "exit_code=98" in e.log()[passed:])
    e.process.kill()
    e.process.wait()
    e.start()
    for c in e.cri.call("ListContainers")["containers"]:
        e.cri.call("ContainerStatus", container_id=c["id"])
    for s in e.cri.call("ListPodSandbox")["items"]:
        e.cri.call("StopPodSandbox", pod_sandbox_id=s["id"])
        e.cri.call("RemovePodSandbox", pod_sandbox_id=s["id"])
    e.nothing_left()
    s = e.run_sandbox()
    eq(e.exited(e.run(s, ["true"]))["exit_code"], 0)
    e.cri.call("RemovePodSandbox", pod_sandbox_id=s[0])
    e.process.kill()
    e.process.wait()
    e.process = None


def main():
    names = points()
    if len(names) < 12:
        raise SystemExit(f"failpoints are missing: {names}")
    with e.serving(checks):
        for name, function in (("exec", exec_streams), ("SPDY", spdy), ("attach", attach), ("port-forward", port_forward), ("pods outlive the engine's process", outlives)):
            checks.run(name, function)
        e.stop()
        deaths = [(point, mapped) for point in names for mapped in (False, True)]
        if not checks.only and "MONOPOD_LONG" not in os.environ:
            deaths = random.sample(deaths, 1)
        for point, mapped in deaths:
            checks.run(f"{point}{', with a user namespace' if mapped else ''}", lambda p=point, m=mapped: dies_at(p, m))
            if e.process:
                e.process.kill()
                e.process.wait()
                e.process = None
    return checks.finish()


sys.exit(main())
