"""`monopod container`, `network` and `volume` against an engine: each command, beside docker's client where what it says is certain."""
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import tarfile
import termios
import threading
import time
import fcntl

from harness import Engine, check, contains, need_engine_host, run_checks, same, until

need_engine_host()
engine = Engine()
docker = engine.docker


def container(*arguments, **more):
    return engine.monopod("container", *arguments, **more)


def both(*arguments, stdin=b""):
    """What our command and docker's client do with the same words: exit code, output, and the two errors."""
    ours = container(*arguments, check=False, stdin=stdin)
    theirs = docker("container", *arguments, check=False, stdin=stdin)
    same((ours.returncode, ours.stdout), (theirs.returncode, theirs.stdout))
    return ours


def inspect(name):
    return json.loads(container("inspect", name))[0]


class Terminal:
    """A command of ours with a terminal of 30 rows and 100 columns."""

    def __init__(self, *arguments):
        self.master, slave = pty.openpty()
        self.size(30, 100)
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        self.process = subprocess.Popen([engine.binary, *arguments], stdin=slave, stdout=slave, stderr=slave, env=engine.env(MONOPOD_ENGINE_DOCKER_SOCKET=engine.socket), start_new_session=True,
                                        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        self.seen = ""

    def size(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text):
        os.write(self.master, text.encode())

    def wait_for(self, part, seconds=20):
        deadline = time.monotonic() + seconds
        while part not in self.seen:
            if time.monotonic() > deadline:
                raise AssertionError(f"{part!r} is not in {self.seen!r}")
            if select.select([self.master], [], [], 0.2)[0]:
                self.seen += os.read(self.master, 4096).decode(errors="replace")

    def end(self):
        code = self.process.wait(timeout=30)
        same(termios.tcgetattr(self.slave), self.before)  # the terminal is as it was
        os.close(self.master)
        os.close(self.slave)
        return code


# --- without an engine

def no_engine():
    p = subprocess.run([engine.binary, "container", "--docker-socket", engine.dir + "/none.sock", "ps"], capture_output=True, text=True, env={**os.environ, "MONOPOD_ENGINE_AUTOSTART": "0"})
    same(p.returncode, 1)
    same(len(p.stderr.strip().splitlines()), 1)
    contains(p.stderr, "sudo monopod engine")


def on_demand():
    """Without an engine a command starts one, which leaves when its last container has gone."""
    place = engine.dir + "/demand"
    env = engine.env(MONOPOD_ENGINE_DATA_DIR=place + "/data", MONOPOD_ENGINE_RUN_DIR=place + "/run", MONOPOD_ENGINE_DOCKER_SOCKET=place + "/docker.sock", MONOPOD_ENGINE_LEAVE_AFTER="2s")
    os.makedirs(place)

    def inside(*words, check=True):
        return subprocess.run(["nsenter", "-t", str(engine.holder.pid), "-m", "-n", "env", *[f"{k}={v}" for k, v in env.items() if k.startswith("MONOPOD")], *words], capture_output=True, text=True, timeout=90, check=check)
    with subprocess.Popen(["nsenter", "-t", str(engine.holder.pid), "-m", "-n", engine.binary, "container", "ps"], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as first, \
         subprocess.Popen(["nsenter", "-t", str(engine.holder.pid), "-m", "-n", engine.binary, "volume", "ls"], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as second:
        out = [(*p.communicate(timeout=60), p.returncode) for p in (first, second)]
    check(out[0][0].startswith("CONTAINER ID") and out[1][0].startswith("DRIVER") and out[0][2] == out[1][2] == 0, out)
    with open(engine.load_image(), "rb") as f:
        subprocess.run([engine.client, "load"], env={**env, "DOCKER_HOST": f"unix://{place}/docker.sock"}, stdin=f, check=True, capture_output=True)
    inside(engine.binary, "container", "run", "-d", "--name", "lasting", "hello:1", "sleep", "6")
    time.sleep(4)
    contains(inside(engine.binary, "container", "ps", "-a").stdout, "Up ")  # it runs: the engine stays
    until("the engine has left", lambda: not os.path.exists(place + "/docker.sock"), 60)
    contains(inside(engine.binary, "container", "ps", "-a").stdout, "Exited (0)")  # another one knows what there was
    until("that has left, too", lambda: not os.path.exists(place + "/docker.sock"), 60)
    # Whoever comes just as it leaves is served all the same.
    env.update(MONOPOD_ENGINE_LEAVE_AFTER="300ms", MONOPOD_FAILPOINTS="engine.leaving=delay(400)")
    for i in range(16):
        inside(engine.binary, "container", "ps")
        time.sleep(0.3 + 0.08 * i)
    del env["MONOPOD_FAILPOINTS"]
    until("that has left again", lambda: not os.listdir(place) or not any("docker.sock" in name for name in os.listdir(place)), 60)
    env["MONOPOD_ENGINE_DATA_DIR"] = "/proc/none"
    p = inside(engine.binary, "container", "ps", check=False)
    check(p.returncode == 1 and "one that was started has ended" in p.stderr and len(p.stderr.strip().splitlines()) == 1, p)


def wrong_command_lines():
    for words, code, text in ((("run",), 125, "want IMAGE [COMMAND...]"), (("run", "--nonsense", "hello:1"), 125, "unknown option"), (("rename", "a"), 64, "want CONTAINER NAME"), (("ps", "extra"), 64, "no more words"),
                              (("run", "--gpus", "all", "hello:1"), 125, "GPUs are not supported"), (("run", "-m", "lots", "hello:1"), 125, "--memory: invalid size"), (("ps", "--filter", "x"), 1, "want NAME=value")):
        p = container(*words, check=False)
        check(p.returncode == code or code == 64 and p.returncode > 0, p)
        contains(p.stderr, text)


# --- running

def run():
    p = both("run", "--rm", "hello:1", "sh", "-c", "echo out; echo err >&2; exit 7")
    same((p.returncode, p.stdout, p.stderr), (7, "out\n", "err\n"))
    same(both("run", "--rm", "-i", "hello:1", "cat", stdin=b"from stdin\n").stdout, "from stdin\n")
    both("run", "--rm", "hello:1", "echo", "--", "-x", "--rm")
    both("run", "--rm", "-e", "A=b", "-e", "HOME", "-w", "/bin", "--hostname", "box", "-u", "web", "hello:1", "sh", "-c", "echo $A $(pwd) $(hostname) $(id -u):$(id -g)")
    both("run", "--rm", "--entrypoint", "/bin/echo", "hello:1", "as", "entrypoint")
    both("run", "--rm", "--read-only", "--tmpfs", "/t", "hello:1", "sh", "-c", "touch /t/a && echo written; touch /b 2>/dev/null || echo read-only")
    both("run", "--rm", "-v", "/anonymous", "--mount", "type=tmpfs,target=/m", "hello:1", "sh", "-c", "grep -c -e ' /anonymous ' -e ' /m ' /proc/self/mounts")
    both("run", "--rm", "--cap-drop", "ALL", "--cap-add", "CHOWN", "--ulimit", "nofile=100:200", "hello:1", "grep", "-e", "CapBnd", "/proc/self/status")
    with open(engine.dir + "/env", "w", encoding="ascii") as f:
        f.write("# comment\nFILE=1\nBOTH=file\n")
    both("run", "--rm", "--env-file", engine.dir + "/env", "-e", "BOTH=own", "hello:1", "sh", "-c", "echo $FILE $BOTH")
    same(docker("ps", "-aq"), "")


def exit_codes():
    for words in (("run", "--rm", "hello:1", "/no/such"), ("run", "--rm", "hello:1", "/etc/passwd"), ("run", "--rm", "hello:1", "none-such"), ("run", "--rm", "--network", "nowhere", "hello:1", "true"),
                  ("run", "--rm", "--user", "nobody-here", "hello:1", "true"), ("run", "--rm", "--pull", "never", "none:1"), ("run", "--rm", "--restart", "always", "hello:1", "true"), ("run", "--rm", "-m", "1m", "hello:1", "true")):
        check(both(*words).returncode in (125, 126, 127), words)
    same(docker("ps", "-aq"), "")


def big_output():
    p = container("run", "--rm", "--network", "none", "hello:1", "sh", "-c", "seq 200000; seq 100000 >&2")
    same(len(p.splitlines()), 200000)


def names_and_ids():
    id_file = engine.dir + "/cid"
    cid = container("create", "--name", "named", "--cidfile", id_file, "hello:1", "sh", "-c", "echo started; exit 4").strip()
    with open(id_file, encoding="ascii") as f:
        same(f.read(), cid)
    same(len(cid), 64)
    p = container("start", "-a", "named", check=False)
    same((p.returncode, p.stdout), (4, "started\n"))
    same(both("wait", "named").stdout, "4\n")
    same(container("start", "named"), "named\n")
    p = container("create", "--name", "named", "hello:1", check=False)
    contains(p.stderr, "is already in use by container")
    container("rename", "named", "renamed")
    same(container("rm", "renamed"), "renamed\n")
    p = container("rm", "renamed", check=False)
    same((p.returncode, p.stderr), (1, "monopod: No such container: renamed\n"))


def detached():
    cid = container("run", "-d", "--name", "web", "--label", "role=web", "-p", "8080:80", "-m", "64m", "--restart", "unless-stopped", "hello:1", "sh", "-c",
                    "for i in $(seq 5); do echo line $i; done; echo oops >&2; echo served > /index.html; httpd -f -p 80 -h /").strip()
    same(container("ps", "-q", "--no-trunc", "--filter", "label=role=web").strip(), cid)
    contains(container("ps"), "0.0.0.0:8080->80/tcp")
    both("ps", "--format", "{{.ID}} {{.Image}} {{.Names}} {{.State}} {{.Ports}}")
    both("ps", "-q", "--filter", "label=role=db")
    same(json.loads(container("ps", "-o", "json"))[0]["Id"], cid)
    until("its log", lambda: "oops" in container("logs", "web", check=False).stderr)
    for words in (("logs", "web"), ("logs", "--tail", "2", "web"), ("port", "web"), ("port", "web", "80"), ("port", "web", "81"), ("inspect", "-f", "{{.State.Status}} {{.HostConfig.Memory}} {{json .Config.Labels}}", "web"),
                  ("inspect", "-f", "{{index .Config.Labels \"role\"}}", "web"), ("diff", "web")):
        both(*words)
    same(container("inspect", "no-such", check=False).returncode, docker("inspect", "no-such", check=False).returncode)
    check("T" in container("logs", "-t", "--tail", "1", "web", check=False).stderr)
    contains(container("top", "web"), "httpd -f -p 80")
    stats = container("stats", "--no-stream", "web")
    contains(stats, "/ 64MiB")
    same(json.loads(container("stats", "--no-stream", "--format", "{{json .}}", "web"))["Name"], "web")
    same(container("pause", "web"), "web\n")
    same(inspect("web")["State"]["Status"], "paused")
    container("unpause", "web")
    container("update", "-m", "128m", "--memory-swap", "256m", "web")
    same(inspect("web")["HostConfig"]["Memory"], 128 << 20)
    same(container("restart", "-t", "0", "web"), "web\n")
    same(container("kill", "-s", "KILL", "web"), "web\n")
    same(container("stop", "-t", "0", "web"), "web\n")
    same(container("rm", "-f", "web"), "web\n")


def signals():
    """A signal to our command is the container's."""
    p = subprocess.Popen([engine.binary, "container", "run", "--rm", "--name", "trap", "hello:1", "sh", "-c", "trap 'echo got it; exit 9' TERM; echo ready; while true; do sleep 0.1; done"], stdout=subprocess.PIPE,
                         env=engine.env(MONOPOD_ENGINE_DOCKER_SOCKET=engine.socket))
    same(p.stdout.readline(), b"ready\n")
    p.send_signal(signal.SIGTERM)
    same((p.communicate(timeout=30)[0], p.returncode), (b"got it\n", 9))
    until("it is gone", lambda: docker("ps", "-aq") == "")


def terminal():
    t = Terminal("container", "run", "--rm", "-it", "hello:1", "sh")
    t.wait_for("# ")
    t.type("stty size; echo $((40 + 2))th\n")
    t.wait_for("42th")
    contains(t.seen, "30 100")
    t.size(40, 132)
    os.kill(t.process.pid, signal.SIGWINCH)
    t.type("sleep 0.5; stty size; echo again$((1 + 1))\n")
    t.wait_for("again2")
    contains(t.seen, "40 132")
    t.type("exit 5\n")
    same(t.end(), 5)
    p = container("run", "--rm", "-it", "hello:1", "true", check=False)
    same(p.returncode, docker("run", "--rm", "-it", "hello:1", "true", check=False, stdin=b"").returncode)
    contains(p.stderr, "the input device is not a TTY")
    same(both("run", "--rm", "-t", "hello:1", "sh", "-c", "test -t 1 && echo terminal").stdout, "terminal\r\n")


def detach_and_attach():
    t = Terminal("container", "run", "-it", "--name", "left", "hello:1", "sh")
    t.wait_for("# ")
    t.type("\x10\x11")
    same(t.end(), 0)
    same(inspect("left")["State"]["Status"], "running")
    t = Terminal("container", "attach", "--detach-keys", "ctrl-x", "left")
    t.type("echo back$((1 + 1))\n")
    t.wait_for("back2")
    t.type("\x18")
    same(t.end(), 0)
    t = Terminal("container", "attach", "left")
    t.type("exit 3\n")
    same(t.end(), 3)
    container("rm", "left")
    p = container("attach", "left", check=False)
    same(p.returncode, 1)


def execute():
    container("run", "-d", "--name", "host", "-e", "FROM=container", "hello:1", "sleep", "100")
    for words in (("exec", "host", "sh", "-c", "echo $FROM; exit 5"), ("exec", "-e", "X=1", "-u", "web", "-w", "/bin", "host", "sh", "-c", "echo $X $(id -u) $(pwd)"), ("exec", "host", "/no/such"), ("exec", "none", "true")):
        both(*words)
    same(both("exec", "-i", "host", "cat", stdin=b"in").stdout, "in")
    container("exec", "-d", "host", "sh", "-c", "echo there > /made")
    until("the detached exec's file", lambda: container("exec", "host", "cat", "/made", check=False).stdout == "there\n")
    t = Terminal("container", "exec", "-it", "host", "sh")
    t.wait_for("# ")
    t.type("tty; stty size; exit 6\n")
    same(t.end(), 6)
    container("rm", "-f", "host")


# --- files

def copy():
    container("run", "-d", "--name", "files", "hello:1", "sleep", "100")
    source = engine.dir + "/tree"
    os.makedirs(source + "/below")
    with open(source + "/below/file", "w", encoding="ascii") as f:
        f.write("content")
    os.symlink("file", source + "/below/link")
    container("cp", source, "files:/copied")           # a new name
    same(docker("exec", "files", "cat", "/copied/below/link"), "content")
    container("cp", source, "files:/copied")           # into a directory
    same(docker("exec", "files", "cat", "/copied/tree/below/file"), "content")
    container("cp", source + "/.", "files:/bin")       # its content
    same(docker("exec", "files", "cat", "/bin/below/file"), "content")
    container("cp", source + "/below/file", "files:/other")
    same(docker("exec", "files", "cat", "/other"), "content")
    back = engine.dir + "/copy-back"
    container("cp", "files:/copied/below", back)
    same(sorted(os.listdir(back)), ["file", "link"])
    container("cp", "files:/copied/below", back)
    same(sorted(os.listdir(back)), ["below", "file", "link"])
    container("cp", "files:/other", back + "/named")
    with open(back + "/named", encoding="ascii") as f:
        same(f.read(), "content")
    tar = container("cp", "files:/copied/below/file", "-")
    contains(tar, "ustar")
    raw = subprocess.run([engine.binary, "container", "cp", "files:/copied/below", "-"], env=engine.env(MONOPOD_ENGINE_DOCKER_SOCKET=engine.socket), capture_output=True).stdout
    container("cp", "-", "files:/etc", stdin=raw)
    same(docker("exec", "files", "cat", "/etc/below/file"), "content")
    # A link of the container's leads nowhere outside of the destination.
    docker("exec", "files", "sh", "-c", "mkdir /evil && ln -s /tmp /evil/out && ln -s ../../../../escape /evil/up")
    container("cp", "files:/evil", engine.dir + "/evil")
    same(os.readlink(engine.dir + "/evil/out"), "/tmp")
    for words, text in ((("files:/nothing", back), "Could not find the file /nothing in container files"), (("none:/x", back), "No such container: none"), ((back + "/none", "files:/x"), "No such file or directory"),
                        ((source, "files:/other"), "cannot copy a directory"), (("a:/b", "c:/d"), "between containers"), (("/a", "/b"), "neither is in a container"), ((source + "/below/file", "files:/no/dir/"), "no such directory")):
        p = container("cp", *words, check=False)
        check(p.returncode == 1 and text in p.stderr, (words, p.stderr))
    changes = container("diff", "files")
    contains(changes, "A /copied\n")
    same(changes, docker("diff", "files"))
    exported = engine.dir + "/export.tar"
    container("export", "-o", exported, "files")
    contains(subprocess.run(["tar", "tf", exported], capture_output=True, text=True).stdout, "copied/below/file")
    contains(container("commit", "-m", "made", "files", "committed:1"), "sha256:")
    same(container("run", "--rm", "committed:1", "cat", "/other"), "content")
    docker("rmi", "committed:1")
    container("rm", "-f", "files")


# --- networks, volumes, the rest

def networks():
    same(len(engine.monopod("network", "create", "--subnet", "10.78.0.0/24", "--label", "a=b", "back").strip()), 64)
    same(engine.monopod("network", "ls", "--format", "{{.Name}} {{.Driver}}", "--filter", "label=a=b"), "back bridge\n")
    same(engine.monopod("network", "ls", "-q"), docker("network", "ls", "-q"))
    container("run", "-d", "--name", "named", "--network", "back", "--network-alias", "alias", "--ip", "10.78.0.9", "hello:1", "sh", "-c", "echo named > /index.html; httpd -f -p 80 -h /")
    until("an answer", lambda: container("run", "--rm", "--network", "back", "hello:1", "sh", "-c", "timeout 3 wget -q -O - http://alias/index.html", check=False).stdout == "named\n")
    container("run", "-d", "--name", "late", "hello:1", "sleep", "100")
    engine.monopod("network", "connect", "--alias", "other", "back", "late")
    check("back" in inspect("late")["NetworkSettings"]["Networks"])
    same(engine.monopod("network", "inspect", "-f", "{{.Name}}", "back"), "back\n")
    contains(engine.monopod("network", "rm", "back", check=False).stderr, "has active endpoints")
    engine.monopod("network", "disconnect", "back", "late")
    container("rm", "-f", "named", "late")
    same(engine.monopod("network", "rm", "back"), "back\n")
    engine.monopod("network", "create", "unused")
    contains(engine.monopod("network", "prune", "-f"), "unused")


def volumes():
    same(engine.monopod("volume", "create", "--label", "a=b", "data"), "data\n")
    container("run", "--rm", "-v", "data:/data", "hello:1", "sh", "-c", "echo kept > /data/file")
    same(container("run", "--rm", "-v", "data:/data:ro", "hello:1", "cat", "/data/file"), "kept\n")
    same(container("run", "--rm", "-v", "./relative:/r", "hello:1", "sh", "-c", "echo x > /r/y && echo done"), "done\n")
    check(os.path.exists(engine.dir + "/relative/y"), "the file of a relative bind")
    same(engine.monopod("volume", "ls", "-q"), docker("volume", "ls", "-q"))
    same(engine.monopod("volume", "inspect", "-f", "{{.Name}}", "data"), "data\n")
    container("create", "--name", "user", "-v", "data:/data", "-v", "/anonymous", "hello:1")
    contains(engine.monopod("volume", "rm", "data", check=False).stderr, "volume is in use")
    container("rm", "-v", "user")
    same(engine.monopod("volume", "ls", "-q"), "data\n")  # the one without a name went with it
    container("run", "--rm", "-v", "/anonymous", "hello:1", "true")
    same(engine.monopod("volume", "ls", "-q"), "data\n")
    same(engine.monopod("volume", "rm", "data"), "data\n")
    same(engine.monopod("volume", "rm", "data", check=False).returncode, 1)
    same(engine.monopod("volume", "rm", "-f", "data"), "data\n")
    engine.monopod("volume", "create")
    contains(engine.monopod("volume", "prune", "-f"), "Deleted Volumes")


def events():
    since = str(int(time.time()))
    container("run", "--rm", "--name", "told", "hello:1", "true")
    out = container("events", "--since", since, "--until", str(int(time.time()) + 1), "--filter", "container=told", "--format", "{{.Action}}")
    same([a for a in out.split() if a in ("create", "start", "die", "destroy")], ["create", "start", "die", "destroy"])
    contains(container("events", "--since", since, "--until", str(int(time.time())), "--filter", "container=told"), "container create")


def follow():
    runs = threading.Thread(target=lambda: container("run", "--rm", "--name", "follow", "hello:1", "sh", "-c", "sleep 0.5; echo a; sleep 0.2; echo b"))
    runs.start()
    until("it runs", lambda: docker("ps", "-q"))
    same(container("logs", "-f", "follow"), "a\nb\n")
    runs.join()


def pulls():
    place = engine.dir + "/registry"
    p = subprocess.Popen(["nsenter", "-t", str(engine.holder.pid), "-m", "-n", engine.binary, "registry", "--listen", "127.0.0.1:5000", "--data-dir", place], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until("the registry", lambda: engine.inside("busybox", "wget", "-q", "-O", "-", "http://127.0.0.1:5000/v2/") is not None)
        docker("tag", "hello:1", "127.0.0.1:5000/hello:1")
        docker("push", "127.0.0.1:5000/hello:1")
        docker("rmi", "127.0.0.1:5000/hello:1")
        done = container("run", "--rm", "127.0.0.1:5000/hello:1", "echo", "pulled", check=False)
        same((done.returncode, done.stdout), (0, "pulled\n"))
        contains(done.stderr, "Unable to find image '127.0.0.1:5000/hello:1' locally")
        contains(done.stderr, "Status: Downloaded newer image for 127.0.0.1:5000/hello:1")
        done = container("run", "--rm", "--pull", "always", "-q", "127.0.0.1:5000/hello:1", "echo", "again", check=False)
        same((done.stdout, done.stderr), ("again\n", ""))
        same(container("run", "--rm", "127.0.0.1:5000/none:1", check=False).returncode, 125)
        docker("rmi", "127.0.0.1:5000/hello:1")
    finally:
        p.terminate()
        p.wait(timeout=20)


def images():
    """`monopod image` sees what the engine that runs has: no second store beside it."""
    def image(*words, **more):
        return engine.monopod("image", *words, MONOPOD_DATA_DIR=engine.dir + "/data", MONOPOD_ENGINE_DATA_DIR=engine.dir + "/data", **more)
    contains(image("ls"), "hello:1")
    described = json.loads(image("inspect", "hello:1"))
    check(described["id"].startswith("sha256:") and described["references"] == ["hello:1"] and len(described["layers"]) == 1, described)
    image("tag", "hello:1", "other:2")
    same(image("rm", "other:2"), "untagged other:2\n")
    same(image("rm", "other:2", check=False).returncode > 0, True)
    archive = engine.dir + "/saved.tar"
    image("export", archive, "hello:1")
    with tarfile.open(archive) as tar:
        check("bin/busybox" in {name.removeprefix("./") for name in tar.getnames()}, tar.getnames())
    image("save", archive, "hello:1")
    same(image("load", archive), "loaded hello:1\n")
    contains(docker("load", "-i", archive), "Loaded image: hello:1")
    contains(image("history", "hello:1"), "CREATED BY")
    container("run", "--name", "made", "hello:1", "sh", "-c", "echo kept > /marker")
    container("export", "-o", engine.dir + "/made.tar", "made")
    same(image("import", engine.dir + "/made.tar", "made:1"), "imported made:1\n")
    same(container("run", "--rm", "made:1", "/bin/cat", "/marker"), "kept\n")
    container("rm", "made")
    same(image("rm", "made:1"), "removed made:1\n")
    contains(image("prune"), "freed ")
    contains(image("bundle", engine.dir + "/b.zst", "hello:1", check=False).stderr, "the engine that runs here does not do this")
    # A directory of one's own, without an engine.
    own = engine.dir + "/own"
    same(engine.monopod("image", "import", "--data-dir", own, engine.dir + "/made.tar", "made:1"), "imported made:1\n")
    contains(engine.monopod("image", "ls", "--data-dir", own), "made:1")


def compared():
    """`monopod image diff` of what an engine has: over its socket, and the same as of a directory."""
    def diff(*words, **more):
        p = engine.monopod("image", "diff", *words, check=False, MONOPOD_DATA_DIR=engine.dir + "/data", MONOPOD_ENGINE_DATA_DIR=engine.dir + "/data", **more)
        return p.returncode, p.stdout, p.stderr
    docker("build", "-t", "before:1", "-", stdin=b"FROM hello:1\nRUN echo one > /a; echo b > /b\nRUN rm /b; mkdir /d\n")
    docker("build", "-t", "after:1", "-", stdin=b"FROM hello:1\nRUN echo other > /a; echo c > /c; chmod 600 /c\n")
    code, out, _ = diff("-o", "json", "before:1", "after:1")
    same(code, 1)
    found = json.loads(out)
    same([(c["kind"], c["path"]) for c in found["changes"]], [("changed", "/a"), ("added", "/c"), ("removed", "/d")])
    same((found["before"], found["after"]), tuple(docker("image", "inspect", "--format", "{{.Id}}", name).strip() for name in ("before:1", "after:1")))
    same(found["bytes"], len("other") - len("one") + len("c\n"))
    code, out, _ = diff("before:1", "after:1")
    check(code == 1 and "1 added, 1 changed, 1 removed" in out, (code, out))
    # By ids, and of images with several names.
    docker("tag", "before:1", "before:2")
    same(json.loads(diff("-o", "json", found["before"], found["after"])[1]), found)
    same(diff("before:2", found["before"]), (0, "", ""))
    code, out, _ = diff("-o", "json", "before:1")
    same((code, [[(c["kind"], c["path"]) for c in layer["changes"]] for layer in json.loads(out)["layers"]][1:]), (0, [[("added", "/a"), ("added", "/b")], [("removed", "/b"), ("added", "/d")]]))
    # The same of an archive in a directory of one's own.
    docker("save", "-o", engine.dir + "/two.tar", "before:1", "after:1")
    engine.monopod("image", "load", "--data-dir", engine.dir + "/apart", engine.dir + "/two.tar")
    p = engine.monopod("image", "diff", "-o", "json", "--data-dir", engine.dir + "/apart", "before:1", "after:1", check=False)
    same((p.returncode, json.loads(p.stdout)), (1, found))
    # Trouble is neither equal nor different.
    code, out, said = diff("before:1", "none:1")
    check(code > 1 and not out and "none:1" in said, (code, out, said))
    code, out, said = diff("none:1")
    check(code > 1 and not out and "none:1" in said, (code, out, said))
    # Many megabytes go through, and nothing is left of it.
    docker("build", "-t", "big:1", "-", stdin=b"FROM hello:1\nRUN head -c 30000000 /dev/urandom > /big\n")
    code, out, _ = diff("-o", "json", "hello:1", "big:1")
    same((code, json.loads(out)["bytes"]), (1, 30000000))
    docker("rmi", "before:1", "before:2", "after:1", "big:1")


def prune():
    container("create", "--name", "dead", "hello:1")
    contains(container("prune", "-f"), "Deleted Containers:")
    same(container("ps", "-aq"), "")

    def nothing_left():
        left = engine.leftovers()
        check(not any(left.values()), left)
        return True
    until("nothing is left", nothing_left)


sys.exit(run_checks(engine, (no_engine, on_demand, wrong_command_lines, run, exit_codes, big_output, names_and_ids, detached, signals, terminal, detach_and_attach, execute, copy, networks, volumes, events, follow, pulls, images, compared, prune)))
