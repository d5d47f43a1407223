#!/usr/bin/env python3
"""Bad input and hosts that are not as they should be: a clear one-line error each, nothing lost."""
import base64
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import time

from harness import Checks, Node, ROOT, binary, kubectl, need_root, until
import images

need_root()
checks = Checks()
BINARY = binary()


def server(*arguments, directory, run_dir=None, before="true", wrapper=(), seconds=20):
    """The server in namespaces of its own, expected to refuse: its exit code and what it said. before: shell, run inside first."""
    listen = [] if "--listen" in arguments else ["--listen", "127.0.0.1:16990"]
    p = subprocess.run(["unshare", "-m", "-n", "sh", "-ec", before + '; exec "$@"', "sh", *wrapper, BINARY, "server", "--data-dir", directory, "--run-dir", run_dir or directory + "-run", *listen, *arguments],
                       capture_output=True, text=True, timeout=seconds)
    return p.returncode, p.stdout + p.stderr


def one_line(output):
    """The error as told, less warnings and log lines: one, and at most one line of advice."""
    lines = [line for line in output.splitlines() if line.startswith("monopod: ")]
    assert len(lines) == 1, output
    return lines[0]


def port_taken_by_another():
    with tempfile.TemporaryDirectory() as d:
        code, output = server(directory=d + "/data", before="ip link set lo up; busybox nc -l -p 16990 > /dev/null 2>&1 & until grep -q :425E /proc/net/tcp*; do sleep 0.02; done")
    assert code != 0 and "127.0.0.1 port 16990" in one_line(output) and "Address already in use" in output, (code, output)


def read_only_data_dir():
    with tempfile.TemporaryDirectory() as d:
        for prepare in ("", f"mkdir -m 700 {d}/disk/data"):
            before = f"mkdir -p {d}/disk; mount -t tmpfs tmpfs {d}/disk; {prepare or 'true'}; mount -o remount,ro {d}/disk"
            code, output = server(directory=d + "/disk/data", run_dir=d + "/run", before=before)
            assert code == 78 and "read-only file system" in one_line(output) and "--data-dir" in output, (code, output)


def lacking_kernel():
    with tempfile.TemporaryDirectory() as d:
        with open("/proc/filesystems", encoding="ascii") as f:
            others = [line for line in f if "overlay" not in line]
        with open(d + "/filesystems", "w", encoding="ascii") as f:
            f.writelines(others)
        deny = ["python3", os.path.join(ROOT, "tests", "support", "without_nftables.py")]
        for text, before, wrapper in [("no overlayfs", f"mount --bind {d}/filesystems /proc/filesystems", ()), ("no control groups", "umount -R /sys/fs/cgroup", ()), ("no nf_tables", "true", deny),
                                      ("no CAP_NET_ADMIN", "true", ["setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin"])]:
            code, output = server(directory=d + "/data", before=before, wrapper=wrapper)
            assert code == 78 and text in one_line(output), (text, code, output)
            # Without pods it needs none of them.
            code, output = server("--check", "--disable-agent", directory=d + "/data", before=before, wrapper=wrapper)
            assert code == 0, (text, code, output)
        if os.path.isdir("/sys/fs/cgroup/memory"):
            code, output = server("--check", directory=d + "/data", before="umount -l /sys/fs/cgroup/memory")
            assert code == 0 and "memory limits are not enforced" in output and "cgroup_enable=memory" in output, (code, output)


def not_root():
    p = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", BINARY, "server"], capture_output=True, text=True, timeout=10)
    if "must run as root" not in p.stderr:
        # the test's folder may not be readable to others: copy the binary where it is
        path = shutil.copy(BINARY, "/tmp/monopod-not-root")
        os.chmod(path, 0o755)
        p = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", path, "server"], capture_output=True, text=True, timeout=10)
        os.unlink(path)
    assert p.returncode != 0 and "must run as root" in p.stderr, p


def port_taken():
    node = Node(BINARY, kubectl())
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        s.bind(("127.0.0.1", node.port))
        s.listen()
        p = subprocess.run([BINARY, "trial", "start", "--dir", node.dir, "--port", str(node.port)], capture_output=True, text=True, timeout=10)
    shutil.rmtree(node.dir, ignore_errors=True)
    assert p.returncode != 0 and "Address already in use" in p.stderr, p


def bad_options():
    for arguments, text in [(["--listen", "nowhere"], "listen address"), (["--pod-cidr", "10.0.0.0/99"], "10.0.0.0/99"), (["--store-sync", "maybe"], "store-sync"), (["--node-name", "Bad_Name"], "node name")]:
        with tempfile.TemporaryDirectory() as d:
            code, output = server(*arguments, directory=d + "/data")
            assert code != 0 and text in output, (arguments, code, output)


def config_file():
    with tempfile.TemporaryDirectory() as d:
        for content, text in [("pod-cidr: [1, 2", "yaml"), ("no-such-option: 1\n", "no-such-option"), ("a: 1\na: 2\n", "already set")]:
            path = d + "/config.yaml"
            with open(path, "w", encoding="utf-8") as f:
                f.write(content)
            code, output = server("--config", path, directory=d + "/data")
            assert code != 0 and text.lower() in output.lower(), (content, code, output)


def damaged_database():
    node = Node(BINARY, kubectl())
    node.start()
    node.wait_ready()
    node.stop_server()
    path = os.path.join(node.dir, "data", "state.db")
    with open(path, "rb") as f:
        good = f.read()
    for damage in (good[:1000], good[:len(good) // 2], b"\0" * 4096 + good[4096:], good[:4096] + os.urandom(len(good) - 4096), b"not a database at all" * 100):
        with open(path, "wb") as f:
            f.write(damage)
        for extra in ("-wal", "-shm"):
            if os.path.exists(path + extra):
                os.unlink(path + extra)
        code, output = server(directory=os.path.join(node.dir, "data"))
        assert code == 65 or code == 78, (code, output)
        assert "state.db" in output, output
        with open(path, "rb") as f:
            assert f.read() == damage, "the damaged file was changed"
    with open(path, "wb") as f:
        f.write(good)
    node.start()
    node.wait_ready()
    node.stop()


def data_dir_in_use():
    node = Node(BINARY, kubectl())
    node.start()
    node.wait_ready()
    code, output = server(directory=os.path.join(node.dir, "data"))
    node.stop()
    assert code != 0 and "data dir in use" in output, (code, output)


def disk_full():
    """Writes are refused while the disk is full, reads go on, writes come back with the space."""
    node = Node(BINARY, kubectl())
    os.makedirs(node.dir + "/data")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m,mode=0700", "tmpfs", node.dir + "/data"], check=True)
    try:
        node.start()
        node.wait_ready()
        filler = node.dir + "/data/filler"
        with open(filler, "wb") as f:
            try:
                while True:
                    f.write(b"x" * 65536)
                    f.flush()
            except OSError:
                pass
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "big"}, "data": {"x": os.urandom(100_000).hex()}}  # more than the log has been made longer beforehand

        def refused():
            for i in range(60):
                body["metadata"]["name"] = f"big-{i}"
                status, answer = node.request("POST", "/api/v1/namespaces/default/configmaps", body)
                if status >= 400:
                    return answer
            return None
        answer = refused()
        assert answer, "no write was refused on a full disk"
        assert node.request("GET", "/api/v1/namespaces/default")[0] == 200
        os.unlink(filler)
        body["metadata"]["name"] = "after"
        until("writes come back", lambda: node.request("POST", "/api/v1/namespaces/default/configmaps", body)[0] in (201, 409), 20)
    finally:
        node.stop_server()
        subprocess.run(["umount", "-l", node.dir + "/data"], check=False)
        node.stop()


def bodies(node):
    path = "/api/v1/namespaces/default/configmaps"
    huge = b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"h"},"data":{"x":"' + b"y" * (4 << 20) + b'"}}'
    try:
        assert node.request("POST", path, huge)[0] == 413
    except OSError:
        pass  # the server answered and closed while the body was still being sent
    assert node.request("GET", path + "/h")[0] == 404
    for body, kind, codes in [(b"{", "application/json", (400,)), (b"a: &a [*a, *a]\n", "application/yaml", (400, 422)),
                              (b"a: 1\na: 2\n", "application/yaml", (422,)), (b"[" * 100_000, "application/json", (400,)),
                              (b"k8s\0garbage", "application/vnd.kubernetes.protobuf", (400,)), (b"x", "text/plain", (415,))]:
        status, answer = node.request("POST", path, body, content_type=kind)
        assert status in codes, (kind, body[:30], status, str(answer)[:200])
    status, _ = node.request("POST", path, bomb().encode(), content_type="application/yaml")
    assert status == 400, status
    for name in ("../x", "a/b", "%2e%2e", "UPPER", "x" * 300):
        status, _ = node.request("POST", path, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}})
        assert status == 422, (name, status)
    assert node.request("GET", "/readyz")[0] == 200


def bomb():
    return "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(f"{chr(98 + i)}: &{chr(98 + i)} [" + ",".join(["*" + chr(97 + i)] * 9) + "]\n" for i in range(8))


def yaml_by_kubectl(node):
    head = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: yaml}\n"
    for text, told in [("kind: [\n", "error"), (head + "dada: {a: b}\n", 'unknown field "dada"'), (head + bomb(), "error"),
                       (head.replace("{name: yaml}", "{name: ../y}"), "may not contain '/'"), (head + "data: {a: 1}\n", "cannot unmarshal number")]:
        p = node.kubectl("apply", "-f", "-", check=False, stdin=text)
        assert p.returncode != 0 and told in p.stderr and len(p.stderr) < 2000, (text[:60], p)
    assert node.request("GET", "/api/v1/namespaces/default/configmaps/yaml")[0] == 404


def resident_kb(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))


def clients_that_stop_reading(node):
    """Watchers and log followers that never read: the node neither waits for them nor keeps what they do not take."""
    node.kubectl("apply", "-f", "-", stdin='{"apiVersion":"v1","kind":"Pod","metadata":{"name":"loud"},"spec":{"terminationGracePeriodSeconds":0,"containers":[{"name":"c","image":"hello:1",'
                 '"imagePullPolicy":"Never","command":["sh","-c","i=0; while true; do i=$((i+1)); echo $i 0123456789012345678901234567890123456789012345678901234567890123456789; done"]}]}}')
    node.kubectl("wait", "--for=condition=Ready", "pod/loud", "--timeout=30s")
    path = "/api/v1/namespaces/default/configmaps"
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "wide"}, "data": {"x": "y" * 200_000}}
    assert node.request("POST", path, body)[0] == 201
    writer = node.connection()

    def write(rounds):
        slowest = 0
        for i in range(rounds):
            body["data"]["n"] = str(i)
            begin = time.monotonic()
            assert node.request("PUT", path + "/wide", body, writer)[0] == 200
            slowest = max(slowest, time.monotonic() - begin)
        return slowest
    write(15)  # so that what the node remembers for itself is there already
    before = resident_kb(node.node_pid())
    deaf = []
    for target in [path + "?watch=1"] * 8 + ["/api/v1/namespaces/default/pods/loud/log?follow=true"] * 4:
        c = node.connection()
        c.request("GET", target)
        deaf.append(c)
    slowest = write(25)
    grown = resident_kb(node.node_pid()) - before
    first = int(node.kubectl("logs", "loud", "--tail=1").split()[0])
    until("the container is not held back", lambda: int(node.kubectl("logs", "loud", "--tail=1").split()[0]) > first, 10)
    print(f"      slowest write {slowest * 1000:.0f} ms, grown by {grown} KiB")
    assert slowest < 5, slowest
    assert grown < 30_000, f"{grown} KiB kept for clients that do not read"
    for c in deaf:
        c.close()
    node.kubectl("delete", "pod", "loud", "--now")


def failed_store():
    """After an I/O error nobody knows what is on the disk: the node process ends, and the next one reads what the file holds."""
    node = Node(BINARY, kubectl())
    os.environ["MONOPOD_FAILPOINTS"] = "store.before_checkpoint=1*error"
    acknowledged = []
    try:
        node.start()
        node.wait_ready()
        first = node.node_pid()
        for i in range(40):  # until the write-ahead log is due to be moved into the file
            body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"m{i}"}, "binaryData": {"noise": base64.b64encode(os.urandom(500_000)).decode()}}
            try:
                if node.request("POST", "/api/v1/namespaces/default/configmaps", body)[0] == 201:
                    acknowledged.append(f"m{i}")
            except OSError:
                pass
            if "takes no more writes" in node.log():
                break
        until("another node process", lambda: node.node_pid() not in (None, first), 20)
        node.wait_ready()
        assert "takes no more writes until it is opened again" in node.log() and len(acknowledged) > 5, acknowledged
        for name in acknowledged:
            assert node.request("GET", f"/api/v1/namespaces/default/configmaps/{name}")[0] == 200, name
    finally:
        del os.environ["MONOPOD_FAILPOINTS"]
        node.stop()


def hostile_images(node):
    regular, symlink, hardlink = tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE
    mark = "/tmp/monopod-test-escaped"
    path = os.path.join(node.dir, "hostile.tar")

    def load():
        return subprocess.run([BINARY, "image", "load", "--data-dir", os.path.join(node.dir, "data"), path], capture_output=True, text=True, timeout=30)
    for entries in ([("../../../../../.." + mark, regular, "x")], [("a/../../b", regular, "x")], [("hard", hardlink, "../../../../etc/passwd")], [("hard", hardlink, "/etc/absent")],
                    [("link", symlink, "/tmp"), ("link/monopod-test-escaped", hardlink, "etc/passwd")]):
        images.archive(path, images.layer(entries))
        p = load()
        assert p.returncode != 0 and one_line(p.stderr) and not os.path.lexists(mark), (entries, p)
    # A link that points outside is a name like any other: what goes through it stays inside.
    images.archive(path, images.layer([("link", symlink, "/tmp"), ("link/monopod-test-escaped", regular, "x")]), reference="inside:1")
    load()
    assert not os.path.lexists(mark)

    def flip(blobs, digest):
        blobs[digest] = blobs[digest][:600] + b"!" + blobs[digest][601:]
    images.archive(path, images.layer([("f", regular, "content" * 100)]), damage=flip)
    p = load()
    assert p.returncode != 0 and "digest" in one_line(p.stderr), p
    images.archive(path, images.layer([("f", regular, "content" * 1000)]))
    os.truncate(path, os.path.getsize(path) // 2)
    p = load()
    assert p.returncode != 0 and one_line(p.stderr), p
    listed = subprocess.run([BINARY, "image", "ls", "--data-dir", os.path.join(node.dir, "data")], capture_output=True, text=True, check=True, timeout=30).stdout
    assert "hostile" not in listed and "hello" in listed, listed
    assert node.request("GET", "/readyz")[0] == 200


def on_one_node(cases):
    node = Node(BINARY, kubectl())
    try:
        node.start()
        node.wait_ready()
        node.load_busybox()
        for name, check in cases:
            checks.run(name, lambda: check(node))  # noqa: B023
        checks.run("the node process never died", lambda: None if "the node process ended" not in node.log() else 1 / 0)
    finally:
        node.stop()


for name, check in [("not root", not_root), ("port taken", port_taken), ("port taken by another server", port_taken_by_another), ("bad options", bad_options), ("config file", config_file),
                    ("read-only data dir", read_only_data_dir), ("kernel that lacks something", lacking_kernel), ("damaged database", damaged_database), ("data dir in use", data_dir_in_use),
                    ("disk full", disk_full), ("failed store", failed_store)]:
    checks.run(name, check)
on_one_node([("bad bodies and names", bodies), ("bad YAML by kubectl", yaml_by_kubectl), ("clients that stop reading", clients_that_stop_reading), ("hostile and damaged images", hostile_images)])
sys.exit(checks.finish())
