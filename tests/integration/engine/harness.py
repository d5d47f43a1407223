"""An engine in mount and network namespaces of its own, driven by the docker client and by plain HTTP over its socket."""
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", ".."))
sys.path.insert(0, os.path.join(ROOT, "tests", "support"))
from checks import Checks, binary, check, contains, need_root, running, same, skip, until  # noqa: E402,F401

APPLETS = "sh httpd wget nslookup sleep cat ls ps id env echo true false nc mount dd touch kill test hostname grep head stat chown mkdir ln ip seq tar stty rm pwd printf timeout".split()


def docker_client():
    path = os.environ.get("MONOPOD_DOCKER") or os.path.join(ROOT, "build", "tools", "docker")
    if not os.path.exists(path):
        skip("no docker client: run packaging/scripts/get-docker build/tools")
    return path


def need_engine_host():
    need_root()
    if not shutil.which("busybox"):
        skip("no busybox for the image of the tests")


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout=60):
        super().__init__("docker", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Engine:
    def __init__(self):
        self.binary = os.path.abspath(binary())
        self.client = docker_client()
        self.dir = tempfile.mkdtemp(prefix="monopod-engine-")
        self.socket = os.path.join(self.dir, "docker.sock")
        self.process = None
        self.groups = empty_groups()
        self.log_path = os.path.join(self.dir, "engine.log")
        self.holder = subprocess.Popen(["unshare", "-m", "-n", "--propagation", "private", "sh", "-c", "ip link set lo up && echo ready && exec sleep infinity"], stdout=subprocess.PIPE)
        assert self.holder.stdout.readline() == b"ready\n"

    def inside(self, *command, check=True, timeout=60, stdin=None):
        p = subprocess.run(["nsenter", "-t", str(self.holder.pid), "-m", "-n", *command], capture_output=True, timeout=timeout, input=stdin)
        if check and p.returncode != 0:
            raise AssertionError(f"{command}: exit {p.returncode}\n{p.stdout}{p.stderr}")
        return p.stdout.decode(errors="replace") if check else p

    def start(self, env=None, more=("--cri-socket", "")):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(["nsenter", "-t", str(self.holder.pid), "-m", "-n", self.binary, "engine", "--data-dir", self.dir + "/data", "--run-dir", self.dir + "/run",
                                             "--docker-socket", self.socket, *more], stdout=log, stderr=log, stdin=subprocess.DEVNULL, env={**os.environ, **(env or {})})
        until("engine answers", self.answers)

    def answers(self):
        if self.process.poll() is not None:
            raise SystemExit(f"the engine ended with {self.process.returncode}\n{self.log()[-4000:]}")
        try:
            return self.request("GET", "/_ping")[0] == 200
        except OSError:
            return False

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=90)
        self.process = None
        return code

    def close(self):
        if self.process and self.process.poll() is None:
            try:
                self.stop()
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.holder.kill()
        self.holder.wait()
        shutil.rmtree(self.dir, ignore_errors=True)

    def child(self):
        """The process that serves the API."""
        for pid in os.listdir("/proc"):
            if not pid.isdigit():
                continue
            try:
                with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as f:
                    if f.read().rsplit(")", 1)[1].split()[1] != str(self.process.pid):
                        continue
                with open(f"/proc/{pid}/cmdline", "rb") as f:
                    if b"engine-process" in f.read():
                        return int(pid)
            except (FileNotFoundError, ProcessLookupError):
                continue
        return None

    def kill_child(self):
        pid = self.child()
        os.kill(pid, signal.SIGKILL)
        until("another process serves", lambda: self.child() not in (None, pid) and self.answers())

    def reload(self):
        """As a package manager has it done: the supervisor executes its program anew, the engine's process after it."""
        pid, passed = self.child(), len(self.log())
        self.process.send_signal(signal.SIGHUP)
        until("the reloaded engine serves", lambda: "the new program takes over" in self.log()[passed:] and self.child() not in (None, pid) and self.answers())

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def env(self, **more):
        return {**os.environ, "DOCKER_HOST": "unix://" + self.socket, "HOME": self.dir, "DOCKER_CONFIG": self.dir + "/config", "DOCKER_BUILDKIT": "0", **more}

    def docker(self, *arguments, check=True, timeout=60, stdin=None, text=True):
        p = subprocess.run([self.client, *arguments], env=self.env(), capture_output=True, timeout=timeout, input=stdin)
        if check and p.returncode != 0:
            raise AssertionError(f"docker {' '.join(arguments)}: exit {p.returncode}\n{p.stdout.decode(errors='replace')}{p.stderr.decode(errors='replace')}\n--- engine log\n{self.log()[-2000:]}")
        if not check:
            p.stdout, p.stderr = p.stdout.decode(errors="replace"), p.stderr.decode(errors="replace")
            return p
        return p.stdout.decode(errors="replace") if text else p.stdout

    def monopod(self, *arguments, check=True, timeout=60, stdin=b"", cwd=None, **more):
        """Our own commands for people, against this engine."""
        p = subprocess.run([self.binary, *arguments], env=self.env(MONOPOD_ENGINE_DOCKER_SOCKET=self.socket, **more), capture_output=True, timeout=timeout, input=stdin, cwd=cwd or self.dir)
        p.stdout, p.stderr = p.stdout.decode(errors="replace"), p.stderr.decode(errors="replace")
        if check and p.returncode != 0:
            raise AssertionError(f"monopod {' '.join(arguments)}: exit {p.returncode}\n{p.stdout}{p.stderr}\n--- engine log\n{self.log()[-2000:]}")
        return p if not check else p.stdout

    def request(self, method, path, body=None, headers=None, timeout=60):
        c = UnixConnection(self.socket, timeout)
        try:
            data = json.dumps(body).encode() if body is not None and not isinstance(body, bytes) else body
            head = {"Content-Type": "application/json"} if data is not None else {}
            c.request(method, path, body=data, headers={**head, **(headers or {})})
            r = c.getresponse()
            text = r.read()
            try:
                return r.status, json.loads(text)
            except ValueError:
                return r.status, text.decode(errors="replace")
        finally:
            c.close()

    def raw(self, head, timeout=30):
        s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        s.settimeout(timeout)
        s.connect(self.socket)
        s.sendall(head)
        return s

    def load_image(self, reference="hello:1", command=("--entrypoint", "")):
        archive = os.path.join(self.dir, "image.tar")
        words = [self.binary, "image", "pack", "--reference", reference, "--copy", shutil.which("busybox") + ":/bin/busybox"]
        for applet in APPLETS:
            words += ["--link", f"/bin/{applet}=busybox"]
        etc = os.path.join(self.dir, "etc")
        os.makedirs(etc, exist_ok=True)
        with open(etc + "/passwd", "w", encoding="ascii") as f:
            f.write("root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1000::/home/web:/bin/sh\n")
        with open(etc + "/group", "w", encoding="ascii") as f:
            f.write("root:x:0:\nweb:x:1000:\n")
        words += ["--copy", etc + "/passwd:/etc/passwd", "--copy", etc + "/group:/etc/group", "--cmd", "/bin/sh", "--env", "PATH=/bin", archive]
        p = subprocess.run(words, capture_output=True, text=True)
        if p.returncode != 0:
            raise AssertionError(p.stdout + p.stderr)
        return archive

    def leftovers(self):
        """What containers may leave: links, mounts, control groups, directories."""
        links = [line.split(":")[1].strip() for line in self.inside("ip", "-o", "link").splitlines()]
        with open(f"/proc/{self.holder.pid}/mountinfo", encoding="utf-8") as f:
            mounts = [line.split()[4] for line in f if self.dir in line]
        return {"links": [x for x in links if x.startswith("mp") and not x.startswith("mpdocker")], "mounts": mounts, "run": os.listdir(self.dir + "/run/docker"),
                "snapshots": os.listdir(self.dir + "/data/content/snapshots"), "containers": os.listdir(self.dir + "/data/docker/containers"), "groups": sorted(empty_groups() - self.groups)}


def empty_groups():
    """Of containers, without a process. Those of other engines come and go: what is asked for until it holds does not mind."""
    out = set()
    for base, dirs, _ in os.walk("/sys/fs/cgroup"):
        if os.path.basename(base) != "docker":
            continue
        for name in dirs:
            try:
                with open(os.path.join(base, name, "cgroup.procs"), encoding="ascii") as f:
                    if len(name) == 64 and not f.read():
                        out.add(os.path.join(base, name))
            except OSError:
                continue
    return out


def run_checks(engine, tests, before=lambda: None):
    """Starts the engine with the image of the tests in it, runs each, and says what the log had where one failed. The exit code."""
    checks = Checks(sys.argv[1] if len(sys.argv) > 1 else None)
    try:
        engine.start()
        with open(engine.load_image(), "rb") as f:
            engine.docker("load", stdin=f.read())
        before()
        for test in tests:
            checks.run(test.__name__, test)
    finally:
        if checks.failed:
            print("--- engine log\n" + engine.log()[-4000:])
        engine.close()
    return checks.finish()
