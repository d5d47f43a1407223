"""A trial node for tests and benches: own namespaces, own directory, a free loopback port; and a small HTTPS client for its API."""
import base64
import contextlib
import http.client
import json
import os
import re
import shutil
import ssl
import subprocess
import tempfile
import time

from ports import free_port


class Node:
    def __init__(self, binary, kubectl, directory=None, arguments=()):
        self.binary = os.path.abspath(binary)
        self.kubectl_path = kubectl
        self.dir = directory or tempfile.mkdtemp(prefix="monopod-test-")
        self.port = free_port()
        self.arguments = list(arguments)
        self.kubeconfig = os.path.join(self.dir, "data", "admin.kubeconfig")

    # --- life

    def start(self):
        run([self.binary, "trial", "start", "--dir", self.dir, "--port", str(self.port), "--", *self.arguments], preexec_fn=self.join_groups)

    def stop(self):
        run([self.binary, "trial", "stop", "--dir", self.dir], timeout=120)
        for group in self.groups():
            for directory, _, _ in os.walk(group, topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(directory)

    def groups(self):
        """Control groups of this node alone, so that no other node's pods are below them. Where v2 alone is mounted there are none: its groups cannot
        hand controllers on while they hold processes."""
        for line in read("/proc/self/cgroup", b"rb").decode().splitlines():
            _, controllers, path = line.split(":", 2)
            top = f"/sys/fs/cgroup/{controllers or 'unified'}"
            if os.path.isdir(top) and not controllers.startswith(("name=", "cpuset")):
                yield os.path.join(top, path.strip("/"), os.path.basename(self.dir))

    def join_groups(self):
        for group in self.groups():
            with contextlib.suppress(OSError):
                os.makedirs(group, exist_ok=True)
                with open(os.path.join(group, "cgroup.procs"), "w", encoding="ascii") as f:
                    f.write("0")

    def stop_server(self):
        """Ends the server but keeps its data: SIGTERM to the supervisor, waits."""
        pid = self.supervisor_pid()
        os.kill(pid, 15)
        deadline = time.monotonic() + 90
        while alive(pid) and time.monotonic() < deadline:
            time.sleep(0.01)
        return not alive(pid)

    def supervisor_pid(self):
        with open(os.path.join(self.dir, "server.pid"), encoding="ascii") as f:
            return int(f.read().split()[0])

    def node_pid(self):
        supervisor = self.supervisor_pid()
        for pid in children(supervisor):
            if b"\0node\0" in read(f"/proc/{pid}/cmdline", b"rb"):
                return pid
        return None

    def log(self):
        return read(os.path.join(self.dir, "server.log"), b"rb").decode(errors="replace")

    # --- talking to it

    def kubectl(self, *arguments, check=True, timeout=120, stdin=None):
        env = dict(os.environ, KUBECONFIG=self.kubeconfig, HOME=self.dir)
        p = subprocess.run([self.kubectl_path, *arguments], env=env, capture_output=True, text=True, timeout=timeout, input=stdin)
        if check and p.returncode != 0:
            raise AssertionError(f"kubectl {' '.join(arguments)}: exit {p.returncode}\n{p.stdout}{p.stderr}\n--- server log\n{self.log()[-3000:]}")
        return p.stdout if check else p

    def inside(self, *command, check=True, timeout=60):
        p = subprocess.run([self.binary, "trial", "exec", "--dir", self.dir, "--", *command], capture_output=True, text=True, timeout=timeout)
        if check and p.returncode != 0:
            raise AssertionError(f"{command}: exit {p.returncode}\n{p.stdout}{p.stderr}")
        return p.stdout if check else p

    def connection(self, timeout=60):
        config = parse_kubeconfig(self.kubeconfig)
        context = ssl.create_default_context(cadata=config["certificate-authority-data"])
        with tempfile.NamedTemporaryFile("w", suffix=".pem") as f:
            f.write(config["client-certificate-data"] + config["client-key-data"])
            f.flush()
            context.load_cert_chain(f.name)
        return http.client.HTTPSConnection("127.0.0.1", self.port, context=context, timeout=timeout)

    def request(self, method, path, body=None, connection=None, content_type="application/json"):
        c = connection or self.connection()
        data = json.dumps(body).encode() if body is not None and not isinstance(body, bytes) else body
        c.request(method, path, body=data, headers={"content-type": content_type, "accept": "application/json"})
        r = c.getresponse()
        text = r.read()
        return r.status, (json.loads(text) if text[:1] in (b"{", b"[") else text.decode(errors="replace"))

    def wait_ready(self, seconds=30):
        """Until the Node object is Ready. Returns the seconds it took from now."""
        start = time.monotonic()
        while time.monotonic() - start < seconds:
            try:
                status, body = self.request("GET", "/api/v1/nodes")
                if status == 200 and any(c["type"] == "Ready" and c["status"] == "True" for n in body["items"] for c in n.get("status", {}).get("conditions", [])):
                    return time.monotonic() - start
            except (OSError, FileNotFoundError, KeyError, http.client.HTTPException, ValueError):
                pass
            time.sleep(0.005)
        raise AssertionError(f"node not Ready in {seconds} s\n{self.log()[-3000:]}")

    def load_busybox(self, reference="hello:1", extra=()):
        """Loads the image of the tests: busybox with links, and further files given as source:destination."""
        archive = os.path.join(self.dir, "image.tar")
        links = []
        for applet in "sh httpd wget nslookup sleep cat ls ps id env echo true false nc mount dd touch kill test hostname grep head tr stat chown mkdir ln ip yes seq tar sha256sum stty".split():
            links += ["--link", f"/bin/{applet}=busybox"]
        for pair in extra:
            links += ["--copy", pair]
        run([self.binary, "image", "pack", "--reference", reference, "--copy", shutil.which("busybox") + ":/bin/busybox", *links,
             "--entrypoint", "/bin/sh", "--env", "PATH=/bin", archive])
        run([self.binary, "image", "load", "--data-dir", os.path.join(self.dir, "data"), archive])

    # --- measuring it

    def pss_kb(self):
        total = 0
        for pid in (self.supervisor_pid(), self.node_pid()):
            for line in read(f"/proc/{pid}/smaps_rollup", b"rb").decode().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
        return total

    def cpu_nanoseconds(self):
        total = 0
        for pid in (self.supervisor_pid(), self.node_pid()):
            for task in os.listdir(f"/proc/{pid}/task"):
                total += int(read(f"/proc/{pid}/task/{task}/schedstat", b"rb").split()[0])
        return total

    def written_bytes(self):
        total = 0
        for pid in (self.supervisor_pid(), self.node_pid()):
            m = re.search(rb"^write_bytes: (\d+)", read(f"/proc/{pid}/io", b"rb"), re.M)
            total += int(m.group(1)) if m else 0
        return total


def parse_kubeconfig(path):
    out = {}
    with open(path, encoding="utf-8") as f:
        for line in f:
            key, _, value = line.strip().lstrip("- ").partition(": ")
            if key.endswith("-data"):
                out[key] = base64.b64decode(value.strip().strip('"')).decode()
    return out


def read(path, mode=b"rb"):
    try:
        with open(path, mode.decode()) as f:
            return f.read()
    except OSError:
        return b""


def children(pid):
    return [int(p) for p in read(f"/proc/{pid}/task/{pid}/children").split()]


def alive(pid):
    stat = read(f"/proc/{pid}/stat").decode(errors="replace")
    return bool(stat) and stat.rsplit(")", 1)[1].split()[0] != "Z"


def run(command, timeout=60, preexec_fn=None):
    p = subprocess.run(command, capture_output=True, text=True, timeout=timeout, preexec_fn=preexec_fn)
    if p.returncode != 0:
        raise AssertionError(f"{' '.join(command)}: exit {p.returncode}\n{p.stdout}{p.stderr}")
    return p.stdout
