"""An engine with a CRI socket, in namespaces of its own, and a client of it: npm's grpc-js over the definitions of vendor-protos."""
import contextlib
import ctypes
import json
import os
import shutil
import socket
import subprocess
import sys
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "engine"))
import harness as engine_harness  # noqa: E402
from harness import ROOT, Checks, need_engine_host, skip, until  # noqa: E402,F401


class Refused(Exception):
    def __init__(self, code, message):
        super().__init__(f"code {code}: {message}")
        self.code, self.message = code, message


NOT_FOUND, INVALID, EXISTS, PRECONDITION, UNIMPLEMENTED, DEADLINE = 5, 3, 6, 9, 12, 4


class Client:
    def __init__(self, path):
        modules = os.environ.get("MONOPOD_ETCD3") or os.path.join(ROOT, "build", "tools", "etcd3")
        if not shutil.which("node") or not os.path.isdir(os.path.join(modules, "node_modules", "@grpc", "grpc-js")):
            skip("no grpc-js for node: run make test-deps")
        self.process = subprocess.Popen(["node", os.path.join(HERE, "client.js"), path, os.path.join(ROOT, "vendor-protos", "cri", "api.proto")], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True, env={**os.environ, "NODE_PATH": os.path.join(modules, "node_modules")})
        self.answers, self.next, self.changed = {}, 0, threading.Condition()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            answer = json.loads(line)
            with self.changed:
                self.answers.setdefault(answer.pop("id"), []).append(answer)
                self.changed.notify_all()

    def begin(self, method, request, **more):
        self.next += 1
        self.process.stdin.write(json.dumps({"id": self.next, "method": method, "request": request, **more}) + "\n")
        self.process.stdin.flush()
        return self.next

    def wait(self, number, seconds=65):
        with self.changed:
            if not self.changed.wait_for(lambda: self.answers.get(number), seconds):
                raise AssertionError("no answer")
            answer = self.answers[number].pop(0)
        if "code" in answer:
            raise Refused(answer["code"], answer["message"])
        return answer

    def call(self, method, _seconds=60, **request):
        return self.wait(self.begin(method, request, seconds=_seconds))["answer"]

    def stream(self, method, **request):
        """All parts of a stream that ends."""
        number, out = self.begin(method, request, stream=True), []
        while True:
            answer = self.wait(number)
            if "answer" in answer:
                out.append(answer["answer"])
            if "end" in answer:
                return out

    def refused(self, method, **request):
        try:
            answer = self.call(method, **request)
        except Refused as refused:
            return refused
        raise AssertionError(f"{method} {request} is answered {answer}")

    def close(self):
        self.process.kill()
        self.process.wait()


CLONE_NEWNET = 0x40000000


def connect_inside(e, port):
    """A connection in the engine's network namespace: a socket belongs to that of the thread that makes it."""
    made = []

    def run():
        with open(f"/proc/{e.holder.pid}/ns/net", "rb") as f:
            if ctypes.CDLL(None, use_errno=True).setns(f.fileno(), CLONE_NEWNET) != 0:
                made.append(OSError(ctypes.get_errno(), "setns"))
                return
        try:
            made.append(socket.create_connection(("127.0.0.1", port), 20))
        except OSError as error:
            made.append(error)
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if isinstance(made[0], OSError):
        raise made[0]
    return made[0]


class CriEngine(engine_harness.Engine):
    def __init__(self):
        super().__init__()
        self.cri_socket = os.path.join(self.dir, "cri.sock")
        self.cri = None
        self.names, self.groups_before = 0, cri_groups()

    def start(self, env=None, more=()):
        super().start(env, ["--cri-socket", "unix://" + self.cri_socket, *more])
        if self.cri:
            self.cri.close()
        self.cri = Client(self.cri_socket)
        until("CRI answers", self.cri_answers)

    def cri_answers(self):
        try:
            return self.cri.call("Version")["runtime_name"] == "monopod"
        except Refused:
            return False

    def kill_child(self):
        super().kill_child()
        until("CRI answers again", self.cri_answers)

    def close(self):
        if self.cri:
            self.cri.close()
        super().close()

    def sandbox_config(self, name="", linux=None, **more):
        self.names += 1
        name = name or f"pod{self.names}"
        return {"metadata": {"name": name, "uid": f"uid-{name}-{self.names}", "namespace": "default", "attempt": 0}, "hostname": name, "log_directory": f"{self.dir}/logs/{name}",
                "labels": {"pod": name}, "annotations": {"note": "kept as it is"}, "linux": linux or {}, **more}

    def run_sandbox(self, **more):
        config = self.sandbox_config(**more)
        return self.cri.call("RunPodSandbox", config=config)["pod_sandbox_id"], config

    def create(self, sandbox, command=("sleep", "1000"), security=None, resources=None, **more):
        self.names += 1
        name = more.pop("name", f"c{self.names}")
        config = {"metadata": {"name": name, "attempt": 0}, "image": {"image": "hello:1"}, "command": list(command), "log_path": f"{name}/0.log", "labels": {"app": name},
                  "linux": {"security_context": security or {}, "resources": resources or {}}, **more}
        return self.cri.call("CreateContainer", pod_sandbox_id=sandbox[0], config=config, sandbox_config=sandbox[1])["container_id"]

    def run(self, sandbox, command=("sleep", "1000"), **more):
        cid = self.create(sandbox, command, **more)
        self.cri.call("StartContainer", container_id=cid)
        return cid

    def status(self, cid):
        return self.cri.call("ContainerStatus", container_id=cid)["status"]

    def exited(self, cid):
        until("the container ends", lambda: self.status(cid)["state"] == 2)
        return self.status(cid)

    def exec(self, cid, *command, timeout=20):
        """(exit code, output, errors)"""
        import base64
        answer = self.cri.call("ExecSync", container_id=cid, cmd=list(command), timeout=timeout)
        return answer["exit_code"], base64.b64decode(answer["stdout"]).decode(), base64.b64decode(answer["stderr"]).decode()

    def out(self, cid, *command):
        code, out, err = self.exec(cid, *command)
        if code != 0:
            raise AssertionError(f"{command}: exit {code}: {out}{err}")
        return out

    def output_of(self, sandbox, command, **more):
        """What a container that runs to its end says."""
        cid = self.run(sandbox, command, **more)
        status = self.exited(cid)
        with open(status["log_path"], encoding="utf-8") as f:
            lines = [line.rstrip("\n").split(" ", 3) for line in f]
        self.cri.call("RemoveContainer", container_id=cid)
        return "".join(line[3] + ("\n" if line[2] == "F" else "") for line in lines)

    def at_once(self, count, one):
        """Calls one on threads of their own; what they ask of the client begins one after the other."""
        errors, lock, begin = [], threading.Lock(), self.cri.begin

        def alone(*arguments, **more):
            with lock:
                return begin(*arguments, **more)

        def noting():
            try:
                one()
            except (AssertionError, Refused) as error:
                errors.append(error)
        threads = [threading.Thread(target=noting) for _ in range(count)]
        self.cri.begin = alone
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.cri.begin = begin
        if errors:
            raise AssertionError(errors)

    @contextlib.contextmanager
    def serving(self, checks):
        """Started, with the tests' image; its log is shown where a check failed."""
        try:
            self.start()
            with open(self.load_image(), "rb") as f:
                self.docker("load", stdin=f.read())
            yield
        finally:
            if checks.failed:
                print("--- engine log\n" + self.log()[-6000:])
            self.close()

    def cri_leftovers(self):
        links = [line.split(":")[1].strip() for line in self.inside("ip", "-o", "link").splitlines()]
        with open(f"/proc/{self.holder.pid}/mountinfo", encoding="utf-8") as f:
            mounts = [line.split()[4] for line in f if self.dir in line]
        groups = cri_groups() - self.groups_before
        return {"links": [x for x in links if x.startswith("mp") and not x.startswith(("mpdocker", "mpcri"))], "mounts": mounts, "run": os.listdir(self.dir + "/run/cri"),
                "data": os.listdir(self.dir + "/data/cri"), "snapshots": os.listdir(self.dir + "/data/content/snapshots"), "groups": sorted(groups)}

    def nothing_left(self):
        def gone():
            left = self.cri_leftovers()
            if any(left.values()):
                raise AssertionError(left)
            return True
        until("nothing is left", gone)


def cri_groups():
    """Of sandboxes, without a process. Those of other engines come and go: what is asked for until it holds does not mind."""
    out = set()
    for base, dirs, _ in os.walk("/sys/fs/cgroup"):
        if os.path.basename(base).startswith("cri-"):
            out.update(os.path.join(base, d) for d in dirs if len(d) == 64 and not busy(os.path.join(base, d)))
    return out


def busy(group):
    for base, _, files in os.walk(group):
        if "cgroup.procs" in files:
            try:
                with open(os.path.join(base, "cgroup.procs"), encoding="ascii") as f:
                    if f.read():
                        return True
            except OSError:
                continue
    return False
