"""The docker client's commands against `monopod engine`, errors over plain HTTP, and what is left behind."""
import gzip
import io
import json
import os
import socket
import subprocess
import sys
import tarfile
import threading
import time
import urllib.parse

from harness import Checks, Engine, check, contains, need_engine_host, running, same, until

need_engine_host()
engine = Engine()
docker = engine.docker


def inspect(name, what="container"):
    return json.loads(docker(what, "inspect", name))[0]


# --- system and images

def versions():
    contains(docker("version"), "API version:      1.50 (minimum version 1.41)")
    info = json.loads(docker("info", "--format", "{{json .}}"))
    same(info["OSType"], "linux")
    same(engine.request("GET", "/v1.40/containers/json")[0], 400)
    status, body = engine.request("GET", "/v1.99/containers/json")
    same((status, body["message"]), (400, "client version 1.99 is too new. Maximum supported API version is 1.50"))
    for prefix in ("", "/v1.41", "/v1.50"):
        same(engine.request("GET", prefix + "/containers/json")[0], 200)
    same(engine.request("GET", "/nothing")[0], 404)
    c = engine.raw(b"HEAD /_ping HTTP/1.1\r\nHost: docker\r\n\r\n")
    head = c.recv(4096).decode()
    contains(head, "Api-Version: 1.50")
    contains(head, "Ostype: linux")


def load_and_name():
    with open(engine.load_image(), "rb") as f:
        contains(docker("load", stdin=f.read()), "Loaded image: hello:1")
    contains(docker("images"), "hello")
    docker("tag", "hello:1", "other/name:2")
    ids = {line.split()[0] for line in docker("images", "--no-trunc", "--format", "{{.ID}} {{.Repository}}:{{.Tag}}").splitlines()}
    same(len(ids), 1)
    contains(docker("history", "hello:1"), "IMAGE")
    same(inspect("hello:1", "image")["RepoTags"], ["hello:1", "other/name:2"])
    contains(docker("rmi", "other/name:2"), "Untagged: other/name:2")
    p = docker("rmi", "no/such", check=False)
    contains(p.stderr, "No such image: no/such")
    saved = docker("save", "hello:1", text=False)
    with tarfile.open(fileobj=io.BytesIO(saved)) as tar:
        check("manifest.json" in tar.getnames(), tar.getnames())
    contains(docker("load", stdin=saved), "Loaded image: hello:1")


# --- running

def run_rm():
    same(docker("run", "--rm", "hello:1", "echo", "hi"), "hi\n")
    p = docker("run", "--rm", "--network", "none", "hello:1", "sh", "-c", "echo out; echo err >&2; exit 7", check=False)
    same((p.returncode, p.stdout, p.stderr), (7, "out\n", "err\n"))
    same(docker("ps", "-aq"), "")
    same(docker("run", "--rm", "-i", "hello:1", "cat", stdin=b"from stdin\n"), "from stdin\n")


def many_at_once():
    """What a program writes before anybody had time to listen is there all the same."""
    runs = [subprocess.Popen([engine.client, "run", "--rm", "--network", "none", "hello:1", "echo", str(i)], env=engine.env(), stdout=subprocess.PIPE) for i in range(20)]
    for i, p in enumerate(runs):
        same((p.communicate(timeout=60)[0].decode(), p.returncode), (f"{i}\n", 0))


def start_errors():
    p = docker("run", "--rm", "hello:1", "/no/such", check=False)
    same(p.returncode, 127)
    p = docker("run", "--rm", "hello:1", "/etc/passwd", check=False)
    same(p.returncode, 126)
    p = docker("run", "--rm", "--gpus", "all", "hello:1", "true", check=False)
    contains(p.stderr, "could not select device driver")
    p = docker("run", "--rm", "--user", "nobody-here", "hello:1", "true", check=False)
    contains(p.stderr, "unable to find user nobody-here")
    same(docker("ps", "-aq"), "")


def settings():
    out = docker("run", "--rm", "-e", "A=b", "-w", "/tmp2", "--hostname", "box", "--user", "web", "--entrypoint", "/bin/sh", "--label", "x=y", "hello:1", "-c", "echo $A $(pwd) $(hostname) $(id -u):$(id -g) $HOME")
    same(out, "b /tmp2 box 1000:1000 /home/web\n")
    p = docker("run", "--rm", "--read-only", "--tmpfs", "/scratch:size=1m", "hello:1", "sh", "-c", "touch /scratch/a && touch /b", check=False)
    check(p.returncode != 0 and "Read-only file system" in p.stderr, p.stderr)
    caps = docker("run", "--rm", "--cap-drop", "ALL", "--cap-add", "CHOWN", "hello:1", "grep", "CapBnd", "/proc/self/status").split()[1]
    same(int(caps, 16), 1)
    p = docker("run", "--rm", "--cap-add", "NOPE", "hello:1", "true", check=False)
    check(p.returncode != 0, "an unknown capability is taken")
    same(docker("run", "--rm", "--init", "hello:1", "sh", "-c", "cat /proc/1/comm >/dev/null; echo $$").strip() != "1", True)
    docker("run", "-d", "--name", "limited", "--memory", "32m", "--cpus", "0.5", "--pids-limit", "50", "hello:1", "sleep", "100")
    host = inspect("limited")["HostConfig"]
    same((host["Memory"], host["NanoCpus"], host["PidsLimit"]), (32 << 20, 500000000, 50))
    docker("update", "--memory", "64m", "--memory-swap", "128m", "limited")
    same(inspect("limited")["HostConfig"]["Memory"], 64 << 20)
    docker("rm", "-f", "limited")
    p = docker("run", "--rm", "--memory", "1m", "hello:1", "true", check=False)
    contains(p.stderr, "Minimum memory limit allowed is 6MB")


def terminal():
    out = docker("run", "--rm", "-t", "hello:1", "sh", "-c", "test -t 1 && echo terminal")
    same(out, "terminal\r\n")
    cid = docker("run", "-dit", "--name", "tty", "hello:1", "sh").strip()
    same(engine.request("POST", f"/containers/{cid}/resize?h=40&w=132")[0], 200)
    same(docker("exec", "-t", "tty", "sh", "-c", "stty -F /proc/1/fd/0 size || stty size -F /dev/pts/0").split()[:2], ["40", "132"])
    docker("rm", "-f", "tty")


def detached():
    cid = docker("run", "-d", "--name", "web", "--label", "role=web", "hello:1", "sh", "-c", "for i in $(seq 5); do echo line $i; done; echo oops >&2; sleep 100").strip()
    until("its log", lambda: "oops" in docker("logs", "web") + docker("logs", "web", check=False).stderr)
    contains(docker("ps"), "web")
    same(docker("ps", "-q", "--no-trunc", "--filter", "label=role=web").strip(), cid)
    same(docker("ps", "-q", "--filter", "label=role=db"), "")
    same(docker("logs", "--tail", "2", "web", check=False).stdout + docker("logs", "--tail", "2", "web", check=False).stderr, "line 5\noops\n")
    contains(docker("logs", "-t", "--tail", "1", "web", check=False).stderr, "T")
    state = inspect("web")["State"]
    same((state["Status"], state["Running"], state["ExitCode"]), ("running", True, 0))
    contains(docker("top", "web"), "sleep 100")
    same(engine.request("POST", f"/containers/{cid}/start")[0], 304)
    docker("rename", "web", "renamed")
    docker("stop", "-t", "1", "renamed")
    same(engine.request("POST", f"/containers/{cid}/stop")[0], 304)
    same(inspect("renamed")["State"]["Status"], "exited")
    docker("start", "renamed")
    docker("restart", "-t", "0", "renamed")
    docker("kill", "renamed")
    same(inspect("renamed")["State"]["ExitCode"], 137)
    docker("rm", "renamed")
    contains(docker("inspect", "renamed", check=False).stderr, "No such object: renamed")


def follow():
    docker("run", "-d", "--name", "short", "hello:1", "sh", "-c", "echo said; sleep 0.3")
    began = time.monotonic()
    same(docker("logs", "-f", "short"), "said\n")
    check(time.monotonic() - began < 2, "the log goes on long after the container")
    docker("rm", "short")
    p = subprocess.Popen([engine.client, "run", "--rm", "--name", "follow", "hello:1", "sh", "-c", "sleep 0.2; echo a; sleep 0.2; echo b"], env=engine.env(), stdout=subprocess.PIPE)
    until("it runs", lambda: docker("ps", "-q"))
    logs = docker("logs", "-f", "follow")
    p.wait(timeout=30)
    same((logs, p.stdout.read().decode()), ("a\nb\n", "a\nb\n"))
    docker("run", "--name", "waited", "hello:1", "sh", "-c", "exit 3", check=False)
    same(docker("wait", "waited"), "3\n")
    same(docker("start", "-a", "waited", check=False).returncode, 3)
    docker("rm", "waited")


def attach():
    docker("run", "-di", "--name", "cat", "hello:1", "cat")
    p = subprocess.Popen([engine.client, "attach", "--no-stdin", "cat"], env=engine.env(), stdout=subprocess.PIPE)
    for _ in range(50):
        q = subprocess.Popen([engine.client, "attach", "--detach-keys", "ctrl-x", "cat"], env=engine.env(), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        q.stdin.write(b"hello\n")
        q.stdin.flush()
        line = q.stdout.readline()
        same(line, b"hello\n")
        break
    docker("kill", "cat")
    p.wait(timeout=20)
    q.wait(timeout=20)
    docker("rm", "cat")


def hang_up():
    cid = docker("run", "-di", "--name", "deaf", "hello:1", "sh", "-c", "while true; do echo spam spam spam; sleep 0.01; done").strip()
    for _ in range(5):
        s = engine.raw(f"POST /containers/{cid}/attach?stream=1&stdout=1&stdin=1 HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n".encode())
        head = s.recv(64)
        contains(head.decode(errors="replace"), "101")
        s.close()
    same(inspect("deaf")["State"]["Running"], True)
    docker("rm", "-f", "deaf")
    # A process that says nothing does not keep the connections of clients that went away.
    docker("run", "-di", "--name", "silent", "hello:1", "cat")
    descriptors = f"/proc/{engine.child()}/fd"
    before = len(os.listdir(descriptors))
    for _ in range(20):
        s = engine.raw(b"POST /containers/silent/attach?stream=1&stdout=1&stdin=1 HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
        s.recv(64)
        s.close()
    until("their descriptors are closed", lambda: len(os.listdir(descriptors)) <= before + 5)
    docker("rm", "-f", "silent")


def execute():
    docker("run", "-d", "--name", "host", "-e", "FROM=container", "hello:1", "sleep", "100")
    same(docker("exec", "host", "sh", "-c", "echo $FROM $EXTRA"), "container\n")
    same(docker("exec", "-e", "EXTRA=1", "-u", "web", "-w", "/bin", "host", "sh", "-c", "echo $EXTRA $(id -u) $(pwd)"), "1 1000 /bin\n")
    same(docker("exec", "-i", "host", "cat", stdin=b"in"), "in")
    same(docker("exec", "host", "sh", "-c", "exit 5", check=False).returncode, 5)
    same(docker("exec", "host", "/no/such", check=False).returncode, 127)
    docker("exec", "-d", "host", "sh", "-c", "echo there > /made")
    until("the detached exec's file", lambda: docker("exec", "host", "cat", "/made", check=False).stdout == "there\n")
    status, body = engine.request("POST", "/containers/host/exec", {"Cmd": []})
    same((status, body["message"]), (400, "No exec command specified"))
    same(engine.request("POST", "/exec/abc/start", {})[1]["message"], "No such exec instance: abc")
    docker("pause", "host")
    same(inspect("host")["State"]["Status"], "paused")
    contains(docker("exec", "host", "true", check=False).stderr, "is paused, unpause the container before exec")
    docker("unpause", "host")
    stats = json.loads(docker("stats", "--no-stream", "--format", "{{json .}}", "host"))
    check(stats["MemUsage"].startswith(("0B", "1", "2", "3", "4", "5", "6", "7", "8", "9")) and stats["Name"] == "host", stats)
    docker("rm", "-f", "host")


# --- files

def copy():
    docker("run", "-d", "--name", "files", "-v", "kept:/kept", "hello:1", "sleep", "100")
    source = os.path.join(engine.dir, "source")
    os.makedirs(source + "/below")
    with open(source + "/below/file", "w", encoding="ascii") as f:
        f.write("content")
    docker("cp", source, "files:/copied")
    same(docker("exec", "files", "cat", "/copied/below/file"), "content")
    docker("cp", source + "/below/file", "files:/kept/in-volume")
    docker("exec", "files", "ln", "-s", "/../../../../etc/passwd", "/link")
    docker("cp", "files:/copied/below/file", engine.dir + "/back")
    with open(engine.dir + "/back", encoding="ascii") as f:
        same(f.read(), "content")
    docker("cp", "files:/kept/in-volume", engine.dir + "/back2")
    check(docker("cp", "files:/nothing", engine.dir + "/back3", check=False).returncode != 0, "copied what is not there")
    same(engine.request("GET", "/containers/files/archive?path=/nothing")[1]["message"], "Could not find the file /nothing in container files")
    evil = io.BytesIO()
    with tarfile.open(fileobj=evil, mode="w") as tar:
        info = tarfile.TarInfo("../../escaped")
        info.size = 1
        tar.addfile(info, io.BytesIO(b"x"))
    same(engine.request("PUT", "/containers/files/archive?path=/", evil.getvalue(), {"Content-Type": "application/x-tar"})[0], 400)
    changes = docker("diff", "files")
    contains(changes, "A /copied\n")
    contains(changes, "A /copied/below/file\n")
    check("/etc/hosts" not in changes and "/kept" not in changes, changes)
    docker("stop", "-t", "0", "files")
    docker("cp", source + "/below/file", "files:/while-stopped")
    exported = docker("export", "files", text=False)
    with tarfile.open(fileobj=io.BytesIO(exported)) as tar:
        check(any(n.lstrip("./") == "while-stopped" for n in tar.getnames()), "the export lacks a file")
    docker("commit", "-m", "made", "-a", "me", "files", "committed:1")
    same(docker("run", "--rm", "committed:1", "cat", "/while-stopped"), "content")
    contains(docker("history", "committed:1"), "made")
    contains(docker("rmi", "committed:1"), "Deleted: sha256:")
    docker("rm", "files")
    docker("volume", "rm", "kept")


def imported():
    """A tar of files becomes an image, whatever compressed it."""
    docker("run", "--name", "source", "hello:1", "sh", "-c", "echo kept > /marker")
    for compress in (lambda b: b, gzip.compress):
        exported = docker("export", "source", text=False)
        out = docker("import", "-m", "by hand", "-", "imported:1", stdin=compress(exported))
        check(out.startswith("sha256:"), out)
        same(docker("run", "--rm", "imported:1", "/bin/cat", "/marker"), "kept\n")
        contains(docker("history", "imported:1"), "by hand")
    p = docker("import", "http://127.0.0.1/x.tar", check=False)
    contains(p.stderr, "import of an address is not supported")
    check(docker("import", "-", "broken:1", stdin=b"no tar at all" * 100, check=False).returncode != 0, "imported nonsense")
    contains(docker("search", "x", check=False).stderr, "searching a registry is not supported")
    docker("rm", "source")
    docker("rmi", "imported:1")


def volumes():
    docker("volume", "create", "--label", "a=b", "data")
    contains(docker("volume", "ls"), "data")
    docker("run", "--rm", "-v", "data:/data", "hello:1", "sh", "-c", "echo kept > /data/file")
    same(docker("run", "--rm", "-v", "data:/data:ro", "hello:1", "cat", "/data/file"), "kept\n")
    bind = os.path.join(engine.dir, "bind")
    docker("run", "--rm", "-v", bind + ":/b", "hello:1", "sh", "-c", "echo x > /b/y")
    check(os.path.exists(bind + "/y"), "the bind mount's file")
    docker("run", "-d", "--name", "user", "-v", "data:/data", "-v", "/anonymous", "hello:1", "sleep", "100")
    contains(docker("volume", "rm", "data", check=False).stderr, "volume is in use")
    same(len(docker("volume", "ls", "-q").split()), 2)
    docker("rm", "-fv", "user")
    same(docker("volume", "ls", "-q"), "data\n")
    # What the image has there comes with a new volume.
    docker("run", "--rm", "-v", "up:/etc", "hello:1", "true")
    same(docker("run", "--rm", "-v", "up:/x", "hello:1", "head", "-1", "/x/passwd").split(":")[0], "root")
    docker("volume", "rm", "data", "up")
    contains(docker("volume", "inspect", "data", check=False).stderr, "No such volume: data")


# --- networks

def fetch(where, seconds=20):
    return until(f"an answer of {where}", lambda: engine.inside("python3", "-c", f"import urllib.request; print(urllib.request.urlopen({where!r}, timeout=2).read().decode(), end='')", timeout=10), seconds)


def published():
    docker("run", "-d", "--name", "served", "-p", "8080:80", "-p", "81", "hello:1", "sh", "-c", "echo served > /index.html; httpd -f -p 80 -h /")
    same(fetch("http://127.0.0.1:8080/index.html"), "served\n")
    gateway = inspect("served")["NetworkSettings"]["Gateway"]
    same(fetch(f"http://{gateway}:8080/index.html"), "served\n")
    contains(docker("port", "served"), "80/tcp -> 0.0.0.0:8080")
    contains(docker("ps"), "0.0.0.0:8080->80/tcp")
    p = docker("run", "-d", "--name", "second", "-p", "8080:80", "hello:1", "sleep", "1", check=False)
    check(p.returncode == 125 and "port is already allocated" in p.stderr, p.stderr)
    docker("rm", "-f", "served", "second")
    docker("run", "--rm", "-p", "8080:80", "hello:1", "true")


def published_datagrams():
    """On loopback, too; each sender gets what was meant for it."""
    docker("run", "-d", "--name", "dgram", "-p", "5353:53/udp", "hello:1", "sleep", "100")
    pid = inspect("dgram")["State"]["Pid"]
    echo = ("import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('', 53)); print('up', flush=True)\n"
            "while True:\n data, peer = s.recvfrom(65536)\n s.sendto(b'heard ' + data, peer)")
    server = subprocess.Popen(["nsenter", f"--net=/proc/{pid}/ns/net", "python3", "-c", echo], stdout=subprocess.PIPE)
    try:
        server.stdout.readline()
        ask = ("import socket, sys; all = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(20)]\n"
               "for i, s in enumerate(all): s.settimeout(10); s.connect((sys.argv[1], 5353)); s.send(b'%d' % i)\n"
               "print(*[s.recv(100).decode() for s in all])\n"
               "all[0].send(b'x' * 60000); print(len(all[0].recv(65536)))")
        for address in ("127.0.0.1", inspect("dgram")["NetworkSettings"]["Gateway"]):
            same(engine.inside("python3", "-c", ask, address), " ".join(f"heard {i}" for i in range(20)) + "\n60006\n")
    finally:
        server.kill()
        server.wait()
    docker("rm", "-f", "dgram")
    docker("run", "--rm", "-p", "5353:53/udp", "hello:1", "true")


def network_modes():
    contains(docker("run", "--rm", "--network", "none", "hello:1", "ip", "-o", "link"), "lo")
    same(docker("run", "--rm", "--network", "none", "hello:1", "ip", "-o", "link").count("eth0"), 0)
    contains(docker("run", "--rm", "--network", "host", "hello:1", "ip", "-o", "addr"), "mpdocker0")
    docker("run", "-d", "--name", "peer", "hello:1", "sleep", "100")
    ip = inspect("peer")["NetworkSettings"]["IPAddress"]
    contains(docker("run", "--rm", "--network", "container:peer", "hello:1", "ip", "-o", "addr"), ip)
    docker("rm", "-f", "peer")
    contains(docker("run", "--rm", "--add-host", "there:10.0.0.9", "--dns", "10.9.9.9", "hello:1", "cat", "/etc/hosts", "/etc/resolv.conf"), "10.0.0.9\tthere")


def user_networks():
    docker("network", "create", "--subnet", "10.77.0.0/24", "front")
    docker("network", "create", "back")
    docker("run", "-d", "--name", "web", "--network", "front", "--network-alias", "www", "--ip", "10.77.0.50", "hello:1", "sh", "-c", "echo named > /index.html; httpd -f -p 80 -h /")
    for name in ("web", "www", "10.77.0.50"):
        same(until(f"an answer of {name}", lambda n=name: docker("run", "--rm", "--network", "front", "hello:1", "sh", "-c", f"timeout 3 wget -q -O - http://{n}/index.html; true", check=False).stdout), "named\n")
    # Networks do not see one another until a container is in both.
    p = docker("run", "--rm", "--network", "back", "hello:1", "sh", "-c", "timeout 1 wget -q -O - http://10.77.0.50/index.html; true", check=False)
    same(p.stdout, "")
    docker("network", "connect", "back", "web")
    same(until("the name in the second network", lambda: docker("run", "--rm", "--network", "back", "hello:1", "sh", "-c", "timeout 3 wget -q -O - http://web/index.html; true", check=False).stdout), "named\n")
    # One who is in both finds names of both, whichever of the two servers it asks.
    for first in ("front", "back"):
        docker("network", "create", "third")
        docker("run", "-d", "--name", "deep", "--network", "third", "hello:1", "sleep", "100")
        docker("create", "--name", "asks", "--network", "third", "hello:1", "sh", "-c", "timeout 3 nslookup deep | grep -c Name; timeout 3 nslookup web | grep -c Name")
        docker("network", "connect", first, "asks")
        same(docker("start", "-a", "asks"), "1\n1\n")
        docker("rm", "-f", "asks", "deep")
        docker("network", "rm", "third")
    contains(docker("network", "inspect", "front"), "10.77.0.50/24")
    contains(docker("network", "rm", "front", check=False).stderr, "has active endpoints")
    docker("network", "disconnect", "back", "web")
    docker("rm", "-f", "web")
    docker("network", "rm", "front", "back")
    contains(docker("network", "rm", "bridge", check=False).stderr, "is a pre-defined network and cannot be removed")
    contains(docker("run", "--rm", "--network", "nowhere", "hello:1", "true", check=False).stderr, "network nowhere not found")


# --- the rest

def build():
    context = os.path.join(engine.dir, "context")
    os.makedirs(context)
    with open(context + "/Dockerfile", "w", encoding="ascii") as f:
        f.write("FROM hello:1\nARG WHO=nobody\nCOPY file /file\nRUN echo built for $WHO > /who && echo to the log\nCMD [\"cat\", \"/who\"]\n")
    with open(context + "/file", "w", encoding="ascii") as f:
        f.write("x")
    out = docker("build", "-t", "built:1", "--build-arg", "WHO=me", context)
    for part in ("Step 1/", "to the log", "Successfully built", "Successfully tagged built:1"):
        contains(out, part)
    same(docker("run", "--rm", "built:1"), "built for me\n")
    contains(docker("build", "-t", "built:1", "--build-arg", "WHO=me", context), "Using cache")
    check(docker("build", "-q", "--build-arg", "WHO=me", context).startswith("sha256:"), "a quiet build says more than the id")
    # The client adds a Dockerfile from elsewhere to the context's tar, and ends that without padding.
    with open(engine.dir + "/elsewhere", "w", encoding="ascii") as f:
        f.write("FROM hello:1\nCOPY file /other\n")
    contains(docker("build", "-t", "built:2", "-f", engine.dir + "/elsewhere", context), "Successfully tagged built:2")
    docker("rmi", "built:2")
    # The cache is images without a name: pruned, steps are done anew.
    with open(context + "/step", "w", encoding="ascii") as f:
        f.write("FROM hello:1\nRUN echo only > /here\nENV A=1\n")
    docker("build", "-t", "built:3", "-f", context + "/step", context)
    docker("rmi", "built:3")
    status, answer = engine.request("POST", "/build/prune?keep-storage=0")
    check(status == 200 and answer["CachesDeleted"] and answer["SpaceReclaimed"] > 0, answer)
    check("Using cache" not in docker("build", "-t", "built:3", "-f", context + "/step", context), "the cache outlives a prune")
    docker("rmi", "built:3")
    # Steps of an image that was built elsewhere, where it says them.
    step = ["-f", context + "/step", context]
    docker("build", "-t", "cached:1", "--build-arg", "BUILDKIT_INLINE_CACHE=1", *step)
    docker("save", "-o", engine.dir + "/cached.tar", "cached:1")
    docker("rmi", "cached:1")
    engine.request("POST", "/build/prune?keep-storage=0")
    docker("load", "-i", engine.dir + "/cached.tar")
    out = docker("build", "--cache-from", "absent:1", "--cache-from", "cached:1", "-t", "built:3", *step)
    contains(out, "Cache from absent:1: no such image here")
    contains(out, "Using cache")
    docker("rmi", "built:3", "cached:1")
    status, answer = engine.request("POST", "/build?cachefrom=%7B%7D", b"")
    check(status == 400 and "cachefrom: want a JSON list" in answer["message"], (status, answer))
    contains(docker("run", "--rm", "built:1", "cat", "/who"), "built for me")
    with open(context + "/Dockerfile", "a", encoding="ascii") as f:
        f.write("RUN exit 9\n")
    p = docker("build", context, check=False)
    check(p.returncode != 0 and "9" in p.stderr, p.stderr)
    docker("rmi", "built:1")


def builds_side_by_side():
    two = """FROM hello:1 AS left
RUN echo left-begins; sleep %s; echo left-ends > /l
FROM hello:1 AS right
RUN echo right-begins; sleep %s; echo right-ends > /r
FROM hello:1
COPY --from=left /l /
COPY --from=right /r /
"""
    out = docker("build", "-t", "beside:1", "-", stdin=(two % (1, 1)).encode())
    for line in ("Step 1/4 : RUN echo left", "[left 1/4] left-begins\n", "[right 2/4] right-begins\n", "Step 4/4 : COPY --from=right", "Successfully tagged beside:1"):
        contains(out, line)
    same(docker("run", "--rm", "beside:1", "cat", "/l", "/r"), "left-ends\nright-ends\n")
    contains(docker("build", "-t", "beside:1", "-", stdin=(two % (1, 1)).encode()), " ---> Using cache (step 1/4)")
    docker("rmi", "beside:1")
    # A client that goes away while both run takes them with it.
    p = subprocess.Popen([engine.client, "build", "-"], env=engine.env(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    p.stdin.write((two % (100555, 100555)).encode())
    p.stdin.close()
    left = {b"[left 1/4] left-begins", b"[right 2/4] right-begins"}
    while left:
        line = p.stdout.readline()
        check(line, "the build ended")
        left.discard(line.strip())
    p.kill()
    p.wait()
    p.stdout.close()
    until("its steps are gone", lambda: not running("100555"))
    until("its files are gone", lambda: set(os.listdir(engine.dir + "/data/build")) <= {"run", "cache"} and not os.listdir(engine.dir + "/data/docker/contexts"))
    same([name for name in os.listdir(engine.dir + "/data/content/snapshots") if name.startswith("build-")], [])


def several_platforms():
    own = engine.request("GET", "/version")[1]["Arch"]
    def listed():
        return {i["Id"] for i in engine.request("GET", "/images/json")[1]}
    docker("image", "prune", "-f")
    before = listed()
    context = os.path.join(engine.dir, "several")
    os.makedirs(context)
    with open(context + "/Dockerfile", "w", encoding="ascii") as f:
        f.write("FROM scratch\nARG TARGETARCH\nENV ARCH=$TARGETARCH\nCOPY Dockerfile /\n")
    contains(docker("build", "--platform", f"linux/s390x,linux/{own}", "-t", "several:1", context), "Successfully tagged several:1")
    # Docker's clients see one image, of this machine; the other comes and goes with its name.
    same(docker("image", "inspect", "--format", "{{.Architecture}} {{.Config.Env}}", "several:1").split()[0], own)
    same(len(listed() - before), 1)
    docker("image", "prune", "-f")
    # A container is of this machine's, or of the one that it asks for.
    images = {}
    for platform in ("", f"linux/{own}", "linux/s390x"):
        status, made = engine.request("POST", f"/containers/create?platform={platform}", {"Image": "several:1", "Cmd": ["x"]})
        same(status, 201)
        images[platform] = inspect(made["Id"])["Image"]
        docker("rm", made["Id"])
    check(images[""] == images[f"linux/{own}"] != images["linux/s390x"], images)
    status, answer = engine.request("POST", "/containers/create?platform=linux/riscv64", {"Image": "several:1"})
    check(status == 404 and "does not match the specified platform (linux/riscv64)" in answer["message"], answer)
    docker("save", "-o", engine.dir + "/several.tar", "several:1")
    with tarfile.open(engine.dir + "/several.tar") as tar:
        entries = json.load(tar.extractfile("index.json"))["manifests"]
        inner = json.load(tar.extractfile("blobs/sha256/" + entries[0]["digest"][7:]))
    same([m["platform"]["architecture"] for m in inner["manifests"]], ["s390x", own])
    docker("rmi", "several:1")
    docker("load", "-i", engine.dir + "/several.tar")
    same(docker("image", "inspect", "--format", "{{.Architecture}}", "several:1").strip(), own)
    docker("rmi", "several:1")
    same(listed(), before)


def errors():
    for method, path, body, status, text in (
            ("GET", "/containers/none/json", None, 404, "No such container: none"),
            ("POST", "/containers/none/start", None, 404, "No such container: none"),
            ("POST", "/containers/create", {"Image": "no:such"}, 404, "No such image: no:such"),
            ("POST", "/containers/create", b"{", 400, "invalid JSON"),
            ("POST", "/containers/create?name=b%20d", {"Image": "hello:1"}, 400, "Invalid container name (b d), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"),
            ("POST", "/containers/create", {"Image": "hello:1", "HostConfig": {"RestartPolicy": {"Name": "sometimes"}}}, 400, "invalid restart policy 'sometimes'"),
            ("POST", "/containers/create", {"Image": "hello:1", "HostConfig": {"StorageOpt": {"size": "1G"}}}, 501, "HostConfig.StorageOpt is not supported"),
            ("GET", "/containers/json?filters=%7B%22nonsense%22%3A%5B%22a%22%5D%7D", None, 400, "invalid filter 'nonsense'"),
            ("GET", "/containers/json?limit=x", None, 400, "invalid value for limit"),
            ("GET", "/images/none/json", None, 404, "No such image: none:latest"),
            ("POST", "/images/create?fromImage=UPPER", None, 400, "invalid reference format"),
            ("GET", "/networks/nowhere", None, 404, "network nowhere not found"),
            ("GET", "/volumes/none", None, 404, "no such volume"),
            ("POST", "/build?version=2", b"", 501, "DOCKER_BUILDKIT=0")):
        got, answer = engine.request(method, path, body)
        check(got == status and text in answer.get("message", ""), f"{method} {path}: {got} {answer}")
    big = engine.raw(b"POST /containers/create HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\nContent-Length: 600000000\r\n\r\n{")
    contains(big.recv(4096).decode(), "413 ")
    docker("create", "--name", "once", "hello:1")
    status, body = engine.request("POST", "/containers/create?name=once", {"Image": "hello:1"})
    check(status == 409 and body["message"].startswith('Conflict. The container name "/once" is already in use by container "'), body)
    status, body = engine.request("POST", "/containers/once/kill")
    check(status == 409 and "is not running" in body["message"], body)
    contains(docker("rmi", "hello:1", check=False).stderr, "is using its referenced image")
    docker("rm", "once")


def documented_answers():
    """Status codes and required members as the Engine API's own description (swagger.yaml) has them."""
    ask = lambda method, path, body=None: engine.request(method, "/v1.50" + path, body)  # noqa: E731
    docker("run", "-d", "--name", "doc", "hello:1", "sleep", "1000")
    docker("create", "--name", "fixed", "--read-only", "hello:1", "true")
    exec_of = lambda words: ask("POST", "/containers/doc/exec", {"Cmd": words})  # noqa: E731
    table = [
        ("POST", "/containers/create?name=other&platform=linux/s390x", {"Image": "hello:1"}, 404, "does not match the specified platform"),
        ("POST", "/containers/create?name=doc", {"Image": "hello:1"}, 409, "already in use"), ("POST", "/containers/create?name=x/y", {"Image": "hello:1"}, 400, "Invalid container name"),
        ("POST", "/containers/doc/start", None, 304, ""), ("POST", "/containers/none/start", None, 404, "No such container"), ("POST", "/containers/doc/kill?signal=FOO", None, 400, "Invalid signal"),
        ("POST", "/containers/doc/rename", None, 400, "names may be empty"), ("POST", "/containers/doc/rename?name=fixed", None, 409, "already in use"), ("DELETE", "/containers/doc", None, 409, "running"),
        ("POST", "/containers/doc/unpause", None, 409, "not paused"), ("POST", "/containers/doc/wait?condition=x", None, 400, "invalid condition"), ("POST", "/containers/doc/stop?t=x", None, 400, "invalid value"),
        ("GET", "/containers/doc/logs", None, 400, "at least one stream"), ("GET", "/containers/doc/archive?path=/none", None, 404, "Could not find"), ("GET", "/containers/doc/archive", None, 400, "path"),
        ("PUT", "/containers/fixed/archive?path=/", b"x", 403, "read-only"), ("GET", "/containers/fixed/top", None, 409, "not running"), ("POST", "/containers/fixed/kill", None, 409, "not running"),
        ("POST", "/containers/fixed/exec", {"Cmd": ["true"]}, 409, "not running"), ("GET", "/exec/none/json", None, 404, "No such exec"), ("GET", "/containers/doc/attach/ws", None, 501, "WebSocket"),
        ("GET", "/images/none/json", None, 404, "No such image"), ("POST", "/images/hello:1/tag?repo=UPPER", None, 400, "invalid reference"), ("DELETE", "/images/hello:1", None, 409, "conflict"),
        ("POST", "/networks/create", {"Name": "bridge"}, 409, "already exists"), ("POST", "/networks/create", {"Name": "nn", "Driver": "none-such"}, 404, "not found"), ("DELETE", "/networks/host", None, 403, "pre-defined"),
        ("POST", "/networks/host/connect", {"Container": "doc"}, 400, "host network"), ("POST", "/networks/none/connect", {"Container": "doc"}, 400, "(none) mode"),
        ("POST", "/volumes/create", {"Name": "../x"}, 400, "invalid characters"), ("GET", "/volumes/none", None, 404, "no such volume"),
        ("GET", "/system/df?type=moon", None, 400, "unknown object type"), ("GET", "/nodes", None, 503, "not a swarm manager"), ("GET", "/swarm", None, 503, "not a swarm manager"),
        ("POST", "/swarm/init", {}, 501, "swarm mode is not supported"), ("POST", "/plugins/pull?remote=x", None, 501, "plugins"), ("GET", "/nowhere", None, 404, "page not found"),
        ("DELETE", "/info", None, 404, "page not found"), ("POST", "/containers/json", None, 404, "page not found"),
    ]
    for method, path, body, want, text in table:
        status, answer = ask(method, path, body)
        check(status == want and text in (answer["message"] if isinstance(answer, dict) else answer), (method, path, status, answer))
    same(ask("GET", "/plugins"), (200, []))
    same(sorted(ask("GET", "/system/df?type=volume")[1]), ["Volumes"])
    status, listed = ask("GET", "/containers/json?size=1")
    check(listed[0]["SizeRootFs"] > listed[0]["SizeRw"] >= 0, listed)
    made = exec_of(["sleep", "1000"])[1]["Id"]
    same(ask("POST", f"/exec/{made}/start", {"Detach": True})[0], 200)
    pid = ask("GET", f"/exec/{made}/json")[1]["Pid"]
    check(pid not in (0, inspect("doc")["State"]["Pid"]), pid)
    with open(f"/proc/{pid}/cmdline", encoding="ascii") as f:
        same(f.read(), "sleep\x001000\x00")
    docker("rm", "-f", "doc", "fixed")
    docker("run", "--rm", "-v", "sized:/data", "hello:1", "dd", "if=/dev/zero", "of=/data/x", "bs=1024", "count=300")
    check(ask("GET", "/system/df?type=volume")[1]["Volumes"][0]["UsageData"]["Size"] >= 300 << 10, "size")
    check(ask("POST", "/volumes/prune?filters=" + urllib.parse.quote('{"all":["true"]}'))[1]["SpaceReclaimed"] >= 300 << 10, "freed")
    head = engine.raw(b"GET /v1.50/networks HTTP/1.1\r\nHost: docker\r\n\r\n").recv(4096).decode()
    contains(head, "Api-Version: 1.50")


def events():
    since = str(int(time.time()))
    docker("run", "--rm", "--name", "told", "hello:1", "true")
    out = docker("events", "--since", since, "--until", str(int(time.time()) + 1), "--filter", "container=told", "--format", "{{.Action}}")
    same([a for a in out.split() if a in ("create", "start", "die", "destroy")], ["create", "start", "die", "destroy"])


def policies():
    docker("run", "-d", "--name", "flaky", "--restart", "on-failure:2", "hello:1", "false")
    until("two restarts", lambda: inspect("flaky")["RestartCount"] == 2 and inspect("flaky")["State"]["Status"] == "exited")
    docker("run", "-d", "--name", "steady", "--restart", "always", "--stop-timeout", "1", "hello:1", "sleep", "1000")
    docker("run", "-d", "--name", "halted", "--restart", "unless-stopped", "hello:1", "sleep", "1000")
    docker("stop", "-t", "0", "halted")
    pid = inspect("steady")["State"]["Pid"]
    os.kill(pid, 9)
    until("started again", lambda: inspect("steady")["State"]["Running"] and inspect("steady")["State"]["Pid"] not in (0, pid))
    same(engine.stop(), 0)
    engine.start()
    until("started at boot", lambda: inspect("steady")["State"]["Running"])
    same(inspect("halted")["State"]["Running"], False)
    docker("rm", "-f", "flaky", "steady", "halted")


def health():
    docker("run", "-d", "--name", "checked", "--health-cmd", "test ! -e /sick", "--health-interval", "100ms", "--health-retries", "2", "hello:1", "sleep", "1000")
    until("healthy", lambda: inspect("checked")["State"]["Health"]["Status"] == "healthy")
    contains(docker("ps"), "(healthy)")
    docker("exec", "checked", "touch", "/sick")
    until("unhealthy", lambda: inspect("checked")["State"]["Health"]["Status"] == "unhealthy")
    docker("rm", "-f", "checked")


def survives_kill():
    docker("run", "-d", "--name", "lasting", "-p", "8090:80", "hello:1", "sh", "-c", "echo lasting > /index.html; httpd -f -p 80 -h /")
    before = inspect("lasting")["State"]
    until("it serves", lambda: fetch("http://127.0.0.1:8090/index.html"))
    for replaced in (engine.kill_child, engine.reload):
        replaced()
        after = inspect("lasting")["State"]
        same((after["Pid"], after["Running"], after["StartedAt"]), (before["Pid"], True, before["StartedAt"]))
    same(fetch("http://127.0.0.1:8090/index.html"), "lasting\n")
    same(docker("exec", "lasting", "echo", "still"), "still\n")
    docker("rm", "-f", "lasting")


def second_engine():
    """Turned away by data dir and by socket; the first one does not notice."""
    for words, text in ((("--data-dir", engine.dir + "/data"), "data dir in use"), (("--data-dir", engine.dir + "/other"), "another process serves there")):
        p = engine.inside(engine.binary, "engine", *words, "--run-dir", engine.dir + "/run2", "--docker-socket", engine.socket, check=False)
        check(p.returncode != 0 and text in p.stderr.decode(), p)
        same(engine.request("GET", "/_ping")[1], "OK")


def killed_anywhere():
    """The engine's process dies at some moment between create and rm; the next one knows, or has swept."""
    for delay in (0.0, 0.01, 0.02, 0.04, 0.06, 0.09, 0.13, 0.2):
        p = subprocess.Popen([engine.client, "run", "--rm", "-v", "/anonymous", "hello:1", "sleep", "0.05"], env=engine.env(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(delay)
        engine.kill_child()
        p.wait(timeout=60)
        for cid in docker("ps", "-aq").split():
            docker("rm", "-fv", cid, check=False)
    until("nothing is left", lambda: nothing_left())
    same(docker("volume", "ls", "-q"), "")


def no_volume_without_its_container():
    """What a create made before it failed goes with it."""
    p = docker("create", "-v", "/anonymous", "--mount", "type=bind,source=/no/such,target=/x", "hello:1", check=False)
    contains(p.stderr, "bind source path does not exist")
    p = docker("run", "--rm", "-v", "/anonymous", "hello:1", "/no/such", check=False)
    same(p.returncode, 127)
    until("no volume is left", lambda: docker("volume", "ls", "-q") == "")


def nothing_left():
    left = engine.leftovers()
    if any(left.values()):
        raise AssertionError(left)
    return True


def prune_and_leaks():
    docker("create", "--name", "dead", "hello:1")
    contains(docker("container", "prune", "-f"), "Deleted Containers")
    docker("network", "prune", "-f")
    docker("volume", "prune", "-f")
    docker("image", "prune", "-f")
    contains(docker("system", "df"), "Images")
    same(docker("ps", "-aq"), "")
    until("nothing is left", nothing_left)


def registry():
    from_here = os.path.join(engine.dir, "registry")
    p = subprocess.Popen(["nsenter", "-t", str(engine.holder.pid), "-m", "-n", engine.binary, "registry", "--listen", "127.0.0.1:5000", "--data-dir", from_here], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until("the registry", lambda: engine.inside("busybox", "wget", "-q", "-O", "-", "http://127.0.0.1:5000/v2/") is not None)
        docker("tag", "hello:1", "127.0.0.1:5000/hello:1")
        contains(docker("push", "127.0.0.1:5000/hello:1"), "digest: sha256:")
        docker("rmi", "127.0.0.1:5000/hello:1")
        contains(docker("pull", "127.0.0.1:5000/hello:1"), "Status: Downloaded newer image for 127.0.0.1:5000/hello:1")
        same(docker("run", "--rm", "127.0.0.1:5000/hello:1", "echo", "pulled"), "pulled\n")
        check(docker("pull", "127.0.0.1:5000/none:1", check=False).returncode != 0, "pulled what is not there")
        docker("rmi", "127.0.0.1:5000/hello:1")
    finally:
        p.terminate()
        p.wait(timeout=20)


def main():
    checks = Checks(sys.argv[1] if len(sys.argv) > 1 else None)
    try:
        engine.start()
        if checks.only and "load" not in checks.only:
            with open(engine.load_image(), "rb") as f:
                docker("load", stdin=f.read())
        for test in (versions, load_and_name, run_rm, many_at_once, start_errors, settings, terminal, detached, follow, attach, hang_up, execute, copy, imported, volumes, published, published_datagrams, network_modes, user_networks, build, builds_side_by_side, several_platforms, registry,
                     errors, documented_answers, events, policies, health, survives_kill, second_engine, killed_anywhere, no_volume_without_its_container, prune_and_leaks):
            checks.run(test.__name__, test)
    finally:
        if checks.failed:
            print("--- engine log\n" + engine.log()[-6000:])
        engine.close()
    return checks.finish()


sys.exit(main())
