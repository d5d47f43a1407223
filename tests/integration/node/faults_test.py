#!/usr/bin/env python3
"""Bad input and hosts that are not as they should be: a clear one-line error each, nothing lost."""
import os
import shutil
import socket
import subprocess
import sys
import tempfile

from harness import Checks, Node, binary, kubectl, need_root, until

need_root()
checks = Checks()
BINARY = binary()


def server(*arguments, directory, seconds=20):
    """The server in namespaces of its own, expected to refuse: its exit code and what it said."""
    listen = [] if "--listen" in arguments else ["--listen", "127.0.0.1:16990"]
    p = subprocess.run(["unshare", "-m", "-n", BINARY, "server", "--data-dir", directory, "--run-dir", directory + "-run", *listen, *arguments],
                       capture_output=True, text=True, timeout=seconds)
    return p.returncode, p.stdout + p.stderr


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
    for damage in (good[:1000], b"\0" * 4096 + good[4096:], b"not a database at all" * 100):
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
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "big"}, "data": {"x": "y" * 200_000}}

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


def bodies():
    node = Node(BINARY, kubectl())
    node.start()
    node.wait_ready()
    try:
        path = "/api/v1/namespaces/default/configmaps"
        huge = b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"h"},"data":{"x":"' + b"y" * (4 << 20) + b'"}}'
        try:
            assert node.request("POST", path, huge)[0] == 413
        except OSError:
            pass  # the server answered and closed while the body was still being sent
        assert node.request("GET", path + "/h")[0] == 404
        for body, kind, codes in [(b"{", "application/json", (400,)), (b"a: &a [*a, *a]\n", "application/yaml", (400, 422)),
                                  (b"a: 1\na: 2\n", "application/yaml", (400,)), (b"[" * 100_000, "application/json", (400,)),
                                  (b"k8s\0garbage", "application/vnd.kubernetes.protobuf", (400,)), (b"x", "text/plain", (415,))]:
            status, answer = node.request("POST", path, body, content_type=kind)
            assert status in codes, (kind, body[:30], status, str(answer)[:200])
        lol = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(f"{chr(98 + i)}: &{chr(98 + i)} [" + ",".join(["*" + chr(97 + i)] * 9) + "]\n" for i in range(8))
        status, _ = node.request("POST", path, lol.encode(), content_type="application/yaml")
        assert status == 400, status
        for name in ("../x", "a/b", "%2e%2e", "UPPER", "x" * 300):
            status, _ = node.request("POST", path, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}})
            assert status == 422, (name, status)
        assert node.request("GET", "/readyz")[0] == 200
    finally:
        node.stop()


for name, check in [("not root", not_root), ("port taken", port_taken), ("bad options", bad_options), ("config file", config_file), ("damaged database", damaged_database),
                    ("data dir in use", data_dir_in_use), ("disk full", disk_full), ("bad bodies and names", bodies)]:
    checks.run(name, check)
sys.exit(checks.finish())
