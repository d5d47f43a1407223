"""`monopod engine` of an ordinary user: containers, networks with names, published ports, builds, a way out. In namespaces of the test's own, where the user has an account and ids."""
import os
import shutil
import subprocess
import sys

from harness import Checks, Engine, check, contains, need_engine_host, same, until

need_engine_host()
USER = 4711
engine = Engine()
home = os.path.join(engine.dir, "home")
socket_path = os.path.join(home, "run", "monopod-engine", "docker.sock")


def as_user(*command, check_code=True, stdin=b"", timeout=60, **env):
    words = [f"{k}={v}" for k, v in {"HOME": home, "XDG_RUNTIME_DIR": home + "/run", "DOCKER_HOST": "unix://" + socket_path, "DOCKER_BUILDKIT": "0", "DOCKER_CONFIG": home + "/config", **env}.items()]
    p = engine.inside("setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "env", *words, *command, check=False, timeout=timeout, stdin=stdin)
    if check_code and p.returncode != 0:
        raise AssertionError(f"{command}: exit {p.returncode}\n{p.stdout.decode()}{p.stderr.decode()}\n{log()}")
    return p.stdout.decode() if check_code else p


def docker(*words, **more):
    return as_user(os.path.join(home, "docker"), *words, **more)


def log():
    try:
        with open(os.path.join(home, "log"), encoding="utf-8") as f:
            return f.read()
    except FileNotFoundError:
        return ""


def make_account(sub_ids):
    """An account as useradd makes one, seen in the test's mount namespace alone."""
    for name, line in (("passwd", f"rootless:x:{USER}:{USER}::{home}:/bin/sh\n"), ("group", f"rootless:x:{USER}:\n"), ("subuid", "rootless:200000:65536\n" if sub_ids else ""), ("subgid", "rootless:200000:65536\n" if sub_ids else "")):
        path = os.path.join(engine.dir, name)
        with open(path, "w", encoding="ascii") as f:
            if os.path.exists("/etc/" + name):
                with open("/etc/" + name, encoding="utf-8") as old:
                    f.write(old.read())
            f.write(line)
        if not os.path.exists("/etc/" + name):
            raise AssertionError(f"this host has no /etc/{name}")
        engine.inside("mount", "--bind", path, "/etc/" + name)


def start(*options):
    with open(os.path.join(home, "log"), "ab") as f:
        engine.process = subprocess.Popen(["nsenter", "-t", str(engine.holder.pid), "-m", "-n", "setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "env", f"HOME={home}", f"XDG_RUNTIME_DIR={home}/run",
                                           os.path.join(home, "monopod"), "engine", "--cri-socket", "", *options], stdout=f, stderr=f, stdin=subprocess.DEVNULL)
    until("the engine answers", lambda: as_user("curl", "-s", "--unix-socket", socket_path, "http://d/_ping", check_code=False).stdout == b"OK")


def stop():
    same(engine.stop(), 0)
    same(subprocess.run(["pgrep", "-u", str(USER)], capture_output=True, text=True, check=False).stdout, "")


def runs():
    start()
    with open(engine.load_image(), "rb") as f:
        docker("load", stdin=f.read())
    same(docker("run", "--rm", "--network", "none", "hello:1", "id", "-u"), "0\n")
    same(docker("run", "--rm", "--user", "1000:1000", "hello:1", "sh", "-c", "id -u; id -g"), "1000\n1000\n")
    same(docker("run", "--rm", "hello:1", "sh", "-c", "rm -r /bin/../root 2> /dev/null; mkdir -p /a/b && echo x > /a/b/c && cat /a/b/c"), "x\n")
    same(docker("run", "--rm", "hello:1", "sh", "-c", "exit 5", check_code=False).returncode, 5)
    if "no control group may be made here" in log():
        contains(docker("create", "--name", "limited", "-m", "64m", "hello:1", "true", check_code=False).stderr.decode(), "Limitation discarded")
        docker("rm", "limited")


def ports_and_exec():
    docker("run", "-d", "--name", "web", "-p", "8090:80", "-v", "kept:/kept", "hello:1", "sh", "-c", "echo served > /index.html; echo started; exec httpd -f -p 80 -h /")
    same(until("the published port", lambda: engine.inside("curl", "-s", "http://127.0.0.1:8090/index.html")), "served\n")
    same(docker("exec", "web", "sh", "-c", "echo kept > /kept/file; cat /index.html"), "served\n")
    same(docker("run", "--rm", "-v", "kept:/kept", "hello:1", "cat", "/kept/file"), "kept\n")
    contains(docker("top", "web"), "httpd")
    contains(docker("logs", "web"), "started")
    p = docker("run", "--rm", "-p", "80:80", "hello:1", "true", check_code=False)
    check(p.returncode != 0 and b"ermission denied" in p.stderr, p.stderr)  # a port of root's
    docker("rm", "-f", "-v", "web")


def networks_and_builds():
    docker("network", "create", "back")
    docker("run", "-d", "--name", "db", "--network", "back", "--stop-timeout", "0", "hello:1", "httpd", "-f", "-p", "80")
    contains(docker("run", "--rm", "--network", "back", "hello:1", "nslookup", "db"), "Address")
    docker("rm", "-f", "db")
    docker("network", "rm", "back")
    docker("build", "-t", "built:1", "-", stdin=b"FROM hello:1\nRUN echo built > /x && chown 1000:1000 /x\nUSER 1000\n")
    same(docker("run", "--rm", "built:1", "sh", "-c", "cat /x; id -u; stat -c %u /x"), "built\n1000\n1000\n")


def restarts():
    """Another engine knows the first one's containers; nothing of the first is left."""
    docker("run", "-d", "--name", "later", "--restart", "always", "--stop-timeout", "0", "hello:1", "sleep", "1000")
    stop()
    start()
    same(until("the container runs again", lambda: docker("inspect", "-f", "{{.State.Running}}", "later") == "true\n"), True)
    docker("rm", "-f", "later")


def way_out():
    tun = as_user("sh", "-c", "exec 3<> /dev/net/tun", check_code=False)
    if not shutil.which("slirp4netns") or tun.returncode != 0:
        print(f"SKIPPED: the way out: no slirp4netns, or /dev/net/tun is not for users: {tun.stderr.decode().strip()}")
        return
    engine.inside("sh", "-c", "ip link add world type veth peer name other && ip addr add 192.0.2.1/24 dev world && ip link set world up && ip link set other up")
    server = subprocess.Popen(["nsenter", "-t", str(engine.holder.pid), "-n", sys.executable, "-c", "import http.server\nclass H(http.server.BaseHTTPRequestHandler):\n def do_GET(self):\n  self.send_response(200); self.end_headers(); self.wfile.write(b'the world')\nhttp.server.HTTPServer(('192.0.2.1', 8000), H).serve_forever()"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        same(until("an answer of the world", lambda: docker("run", "--rm", "hello:1", "wget", "-q", "-O", "-", "http://192.0.2.1:8000/")), "the world")
    finally:
        server.kill()
        server.wait()


def one_id():
    """A user without ids of its own: what needs one id alone works, and the log says what does not."""
    stop()
    for name in ("subuid", "subgid"):
        engine.inside("umount", "/etc/" + name)
        with open(os.path.join(engine.dir, name), "w", encoding="ascii"):
            pass
        engine.inside("mount", "--bind", os.path.join(engine.dir, name), "/etc/" + name)
    before = len(log())
    start("--data-dir", home + "/one")
    contains(log()[before:], "has one id alone")
    with open(engine.load_image(), "rb") as f:
        docker("load", stdin=f.read())
    same(docker("run", "--rm", "-t", "hello:1", "sh", "-c", "id -u; test -t 1 && echo terminal", check_code=False).stdout, b"0\r\nterminal\r\n")


def on_demand():
    stop()
    out = as_user(os.path.join(home, "monopod"), "container", "run", "--rm", "hello:1", "echo", "by itself", MONOPOD_ENGINE_LEAVE_AFTER="200ms", MONOPOD_ENGINE_DATA_DIR=home + "/one", XDG_RUNTIME_DIR="")
    same(out, "by itself\n")
    same(os.stat(home + "/.local/run/monopod-engine").st_mode & 0o777, 0o700)  # without a runtime directory: below the user's home
    until("the engine has left", lambda: subprocess.run(["pgrep", "-u", str(USER)], capture_output=True, check=False).stdout == b"")


checks = Checks(sys.argv[1] if len(sys.argv) > 1 else None)
try:
    os.chmod(engine.dir, 0o755)
    for directory in (home, home + "/run"):
        os.mkdir(directory)
        os.chown(directory, USER, USER)
    for program, name in ((engine.binary, "monopod"), (engine.client, "docker")):  # where the user may read them
        shutil.copy(program, os.path.join(home, name))
        os.chmod(os.path.join(home, name), 0o755)
    make_account(sub_ids=bool(shutil.which("newuidmap")))
    for test in (runs, ports_and_exec, networks_and_builds, restarts, way_out, one_id, on_demand):
        checks.run(test.__name__, test)
finally:
    engine.close()
sys.exit(checks.finish())
