"""CRI's URLs for streams under client-go, as critest and crictl use it: real kubectl, SPDY/3.1 and WebSocket. A small server in between answers what kubectl asks of an API
server, and hands the bytes of a stream through to the URL that CRI gives for it."""
import json
import os
import pty
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request

from support import ROOT, Checks, CriEngine, connect_inside, need_engine_host, skip, until

need_engine_host()
KUBECTL = os.environ.get("MONOPOD_KUBECTL") or os.path.join(ROOT, "build", "tools", "kubectl")
if not os.path.exists(KUBECTL):
    skip("no kubectl: run packaging/scripts/get-kubectl build/tools")
e = CriEngine()
checks = Checks(sys.argv[1] if len(sys.argv) > 1 else None)
PROTOCOLS = {"SPDY": {"KUBECTL_PORT_FORWARD_WEBSOCKETS": "false", "KUBECTL_REMOTE_COMMAND_WEBSOCKETS": "false"}, "WebSocket": {}}


def eq(have, want):
    if have != want:
        raise AssertionError(f"have {have!r}, want {want!r}")


class Between:
    """Of one sandbox and one container."""

    def __init__(self, sandbox, container, tty=False):
        self.sandbox, self.container, self.urls = sandbox, container, []
        self.pod = {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "p", "namespace": "default", "uid": "u"},
                    "spec": {"containers": [{"name": "c", "stdin": True, "tty": tty}]}, "status": {"phase": "Running", "containerStatuses": [{"name": "c", "state": {"running": {}}}]}}
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.config = os.path.join(e.dir, "kubeconfig")
        with open(self.config, "w", encoding="ascii") as f:
            json.dump({"apiVersion": "v1", "kind": "Config", "current-context": "x", "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}], "users": [{"name": "x", "user": {}}],
                       "clusters": [{"name": "x", "cluster": {"server": f"http://127.0.0.1:{self.listener.getsockname()[1]}"}}]}, f)
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                connection = self.listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self.handle, args=(connection,), daemon=True).start()

    def handle(self, connection):
        data = b""
        while b"\r\n\r\n" not in data:
            chunk = connection.recv(65536)
            if not chunk:
                return
            data += chunk
        line, rest = data.split(b"\r\n", 1)
        method, target, _ = line.decode().split()
        at = urllib.parse.urlsplit(target)
        stream = re.fullmatch(r"/api/v1/namespaces/default/pods/p/(exec|attach|portforward)", at.path)
        if stream:
            url = urllib.parse.urlsplit(self.url(stream.group(1), urllib.parse.parse_qs(at.query)))
            with connect_inside(e, url.port) as there:
                there.sendall(f"{method} {url.path}{'?' + url.query if url.query else ''} HTTP/1.1\r\n".encode() + rest)
                one = threading.Thread(target=self.copy, args=(connection, there), daemon=True)
                one.start()
                self.copy(there, connection)
                one.join(5)
        else:
            body = json.dumps(self.answer(at.path)).encode()
            connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
        connection.close()

    @staticmethod
    def copy(source, target):
        try:
            while chunk := source.recv(65536):
                target.sendall(chunk)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def url(self, kind, query):
        streams = {name: query.get(name) == ["true"] for name in ("stdin", "stdout", "stderr", "tty")}
        if kind == "exec":
            return e.cri.call("Exec", container_id=self.container, cmd=query["command"], **streams)["url"]
        if kind == "attach":
            return e.cri.call("Attach", container_id=self.container, **streams)["url"]
        return e.cri.call("PortForward", pod_sandbox_id=self.sandbox)["url"]

    def answer(self, path):
        if path == "/api":
            return {"kind": "APIVersions", "versions": ["v1"]}
        if path == "/apis":
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": []}
        if path == "/api/v1":
            return {"kind": "APIResourceList", "groupVersion": "v1", "resources": [{"name": "pods", "namespaced": True, "kind": "Pod", "verbs": ["get"]}]}
        return self.pod

    def kubectl(self, protocol, *words, stdin=subprocess.PIPE):
        return subprocess.Popen([KUBECTL, *words], env={**os.environ, "KUBECONFIG": self.config, "HOME": e.dir, **PROTOCOLS[protocol]}, stdin=stdin, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True)


def pod_of(command, **more):
    s = e.run_sandbox(**more.pop("sandbox", {}))
    return s, e.run(s, command, **more)


def executes():
    s, c = pod_of(["sleep", "1000"])
    between = Between(s[0], c)
    for protocol in PROTOCOLS:
        p = between.kubectl(protocol, "exec", "p", "--", "echo", "-n", "hello")
        eq((*p.communicate(timeout=30), p.returncode), ("hello", "", 0))
        p = between.kubectl(protocol, "exec", "-i", "p", "--", "sh", "-c", "cat; echo problem >&2; exit 3")
        out, err = p.communicate("there and back\n", timeout=30)
        eq((out, "problem\n" in err, p.returncode), ("there and back\n", True, 3))
        p = between.kubectl(protocol, "exec", "-i", "p", "--", "echo", "-n", "hello")  # its input stays open: it ends all the same
        eq((p.stdout.read(), p.wait(30)), ("hello", 0))
        p.stdin.close()
        terminal, end = pty.openpty()
        p = between.kubectl(protocol, "exec", "-it", "p", "--", "sh", "-c", "test -t 0 && echo -n hello", stdin=end)
        eq((p.communicate(timeout=30)[0], p.returncode), ("hello", 0))
        for fd in (terminal, end):
            os.close(fd)
    e.cri.call("RemovePodSandbox", pod_sandbox_id=s[0])


def attaches():
    for protocol in PROTOCOLS:
        s, c = pod_of(["/bin/sh"], stdin=True, stdin_once=True)
        p = Between(s[0], c).kubectl(protocol, "attach", "-i", "p", "-c", "c")
        time.sleep(0.5)  # what is attached to sees only what comes after
        p.stdin.write("echo -n hello\n")
        p.stdin.flush()
        eq(p.stdout.read(5), "hello")
        p.stdin.close()
        eq((p.wait(30), e.exited(c)["exit_code"]), (0, 0))
        e.cri.call("RemovePodSandbox", pod_sandbox_id=s[0])


def forwards():
    node = {"namespace_options": {"network": 2}}
    for where in ({}, {"sandbox": {"linux": {"security_context": node}}, "security": node}):
        s, c = pod_of(["sh", "-c", "mkdir /www; echo page > /www/index.html; exec httpd -f -p 12003 -h /www"], **where)
        until("it serves", lambda c=c: ":2EE3" in e.out(c, "cat", "/proc/net/tcp", "/proc/net/tcp6"))
        for protocol in PROTOCOLS:
            p = Between(s[0], c).kubectl(protocol, "port-forward", "--address=127.0.0.1", "pod/p", ":12003")
            try:
                port = re.search(r"127\.0\.0\.1:(\d+) ->", p.stdout.readline()).group(1)
                for _ in range(3):
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30) as answer:
                        eq((answer.status, answer.read()), (200, b"page\n"))
            finally:
                p.terminate()
                p.wait(10)
        e.cri.call("RemovePodSandbox", pod_sandbox_id=s[0])


def main():
    with e.serving(checks):
        for test in (executes, attaches, forwards):
            checks.run(test.__name__, test)
    return checks.finish()


sys.exit(main())
