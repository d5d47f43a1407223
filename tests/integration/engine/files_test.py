#!/usr/bin/env python3
"""Rows F1 to F10 of the threat model, images and files, through the engine's socket: archives, registries, builds and volumes that mean harm. What each may not do is written beside the
engine's own directories and looked at before and after. The parsers' tables are in pkg/image, pkg/docker and pkg/build."""
import gzip
import hashlib
import http.client
import http.server
import io
import json
import os
import stat
import sys
import tarfile
import threading

from harness import ROOT, Engine, check, contains, need_engine_host, run_checks, same, until

sys.path.insert(0, os.path.join(ROOT, "tests", "support"))
import images  # noqa: E402
from answering import Answering  # noqa: E402

need_engine_host()
engine = Engine()
docker = engine.docker
outside = os.path.join(engine.dir, "outside")
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
FILE, DIRECTORY, LINK, HARD = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE


def tree(path):
    """What is there: names, kinds, modes, owners, times and contents."""
    out = {}
    for at, names, files in os.walk(path):
        for name in [".", *names, *files]:
            full = os.path.join(at, name)
            st = os.lstat(full)
            content = os.readlink(full) if stat.S_ISLNK(st.st_mode) else open(full, "rb").read() if stat.S_ISREG(st.st_mode) else b""
            out[full] = (st.st_mode, st.st_uid, st.st_gid, st.st_mtime_ns, content, sorted(os.listxattr(full, follow_symlinks=False)))
    return out


def load(layer, **more):
    """Exit code and words of docker load."""
    path = engine.dir + "/hostile.tar"
    images.archive(path, layer, **more)
    with open(path, "rb") as f:
        p = docker("load", stdin=f.read(), check=False)
    return p.returncode, p.stdout + p.stderr


def refused(layer, words, **more):
    code, said = load(layer, **more)
    check(code != 0, "taken: " + said)
    contains(said, words)
    check("hostile" not in docker("images"), "it has a name all the same")


def tar_of(*members):
    """members: (TarInfo, content)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def member(name, kind=FILE, size=0, **more):
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size
    for key, value in more.items():
        setattr(info, key, value)
    return info


def f01_names_of_entries():
    """CVE-2014-6407: whatever an archive names, nothing outside changes."""
    before = tree(outside)
    for entries in ([("../outside/new", FILE, "x")], [(outside + "/new", FILE, "x")], [("a/../../../outside/new", FILE, "x")], [("l", LINK, outside), ("l/new", FILE, "x")],
                    [("l", LINK, outside + "/secret"), ("l", FILE, "overwritten")], [("l", LINK, outside), ("l", DIRECTORY, "")], [("n" * 4000, FILE, "x")], [(".", FILE, "x")], [("f", FILE, "x"), ("f/x", FILE, "x")]):
        load(images.layer(entries))
        same(tree(outside), before)
        docker("rmi", "-f", "hostile:1", check=False)
    refused(images.layer([("a/../../b", FILE, "x")]), 'name contains ".."')


def f02_links():
    """CVE-2021-32760: attributes are not given to what a link leads to."""
    before = tree(outside)
    for entries in ([("h", HARD, outside + "/secret"), ("h", FILE, "x")], [("h", HARD, "../../../../../../outside/secret")], [("l", LINK, outside + "/secret"), ("h", HARD, "l"), ("h", FILE, "x")],
                    [("d", LINK, outside), ("h", HARD, "d/secret"), ("h", FILE, "x")], [("h", HARD, "h")]):
        load(images.layer(entries))
        same(tree(outside), before)
        docker("rmi", "-f", "hostile:1", check=False)


def f03_copies_while_the_container_swaps():
    """CVE-2018-15664: a container exchanges a directory and a link to the host's while its files are copied, both ways."""
    before = tree(outside)
    docker("run", "-d", "--name", "swapper", "hello:1", "sh", "-c",
           f"mkdir -p /real{outside} /s/a; mkdir -p {outside}; echo inside > {outside}/secret; echo inside > /s/a/secret; ln -s {outside} /s/l; cd /s; while :; do mv a b; mv l a; mv a l; mv b a; done")
    stream = tar_of((member("secret", size=5), b"evil\n"), (member("new", size=1), b"x"))
    for _ in range(60):
        status, _ = engine.request("PUT", "/containers/swapper/archive?path=/s/a", stream, {"Content-Type": "application/x-tar"})
        check(status in (200, 400, 404, 409, 500), status)
        try:
            engine.request("GET", "/containers/swapper/archive?path=/s/a/secret")
        except http.client.IncompleteRead:
            pass  # it went away while it was read
        same(tree(outside), before)
    # What a container's tar says is its own affair: the client gets names below the one it asked for.
    docker("exec", "swapper", "ln", "-s", "/etc/shadow", "/planted")
    p = engine.request("GET", "/containers/swapper/archive?path=/planted")[1]
    check("root:" not in str(p), "the host's file came out")
    docker("rm", "-f", "swapper")


def f04_volumes_of_an_image():
    """CVE-2022-23648: paths of VOLUME and the directories there do not lead out of the image."""
    before = tree(outside)
    layer = images.layer([("vol", LINK, outside), ("deep", LINK, "/../../../../.." + outside)])
    for path in ("/vol", "/deep", f"/../../../../..{outside}", "/vol/../../etc"):
        images.archive(engine.dir + "/v.tar", layer, reference="volumes:1", config={"Volumes": {path: {}}, "Cmd": ["/nothing"]})
        with open(engine.dir + "/v.tar", "rb") as f:
            loaded = docker("load", stdin=f.read(), check=False)
        if loaded.returncode == 0:
            p = docker("create", "--name", "v", "volumes:1", check=False)
            if p.returncode == 0:
                docker("start", "v", check=False)
                docker("cp", "v:" + path, engine.dir + "/copied", check=False)
                check(not os.path.exists(engine.dir + "/copied/secret"), f"{path}: the host's files are in the volume")
                docker("rm", "-fv", "v")
            docker("rmi", "-f", "volumes:1")
        same(tree(outside), before)


def f05_whiteouts_devices_and_sizes():
    """CVE-2023-25153: what asks for more than anybody needs is refused by its name; whiteouts hide what is below them and nothing else."""
    before = tree(outside)
    for entries in ([("dir/.wh...", FILE, "")], [(".wh..", FILE, "")], [("l", LINK, outside), ("l/.wh.secret", FILE, "")], [("l", LINK, outside), ("l/.wh..wh..opq", FILE, "")]):
        load(images.layer(entries))
        same(tree(outside), before)
        docker("rmi", "-f", "hostile:1", check=False)
    vast = member("vast", pax_headers={"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "vast", "GNU.sparse.realsize": str(2**63 - 1)}, size=512)
    refused(tar_of((vast, b"1\n0\n0\n".ljust(512, b"\0"))), "vast")
    header = tarfile.TarInfo("x").tobuf()
    long_pax = bytearray(header)
    long_pax[124:136] = b"10000000000\0"  # an extended header of 1 GiB
    long_pax[156:157] = b"x"
    long_pax[148:156] = b"        "
    long_pax[148:156] = b"%06o\0 " % sum(long_pax)
    refused(bytes(long_pax) + b"\0" * 10240, "header")
    # Device nodes stay nodes of an image; a container's rules keep it off them.
    disk = member("disk", tarfile.BLKTYPE, devmajor=8, devminor=0, mode=0o666)
    code, said = load(tar_of((disk, b"")))
    same(code, 0)
    docker("create", "--name", "disk", "hostile:1", "/x")
    docker("rm", "disk")
    docker("rmi", "hostile:1")


def f06_content_that_is_not_what_was_said():
    """Digests and sizes are those of the documents, before anything is used."""
    layer = images.layer([("file", FILE, "content")])

    def change(blobs, digest):
        blobs[digest] = blobs[digest].replace(b"content", b"CONTENT")

    def cut(blobs, digest):
        blobs[digest] = blobs[digest][:-600]

    def more(blobs, digest):
        blobs[digest] += b"trailing"
    for damage in (change, cut, more):
        refused(layer, "", damage=damage)
    bomb = gzip.compress(b"\0" * (260 << 20), 6)
    refused(bomb, "times the input")
    check(not os.listdir(engine.dir + "/data/content/staging"), "something is left")


class Hostile(http.server.ThreadingHTTPServer):
    daemon_threads = True
    mode = ""
    heard = []

    def documents(self):
        layer = images.layer([("file", FILE, "content")])
        config = json.dumps({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]}}).encode()
        return layer, config

    def manifest(self):
        layer, config = self.documents()
        descriptor = lambda data, kind: {"mediaType": kind, "digest": "sha256:" + hashlib.sha256(data).hexdigest(), "size": len(data)}  # noqa: E731
        out = {"schemaVersion": 2, "mediaType": MANIFEST, "config": descriptor(config, CONFIG), "layers": [descriptor(layer, LAYER)]}
        if self.mode == "both":
            out["manifests"] = [descriptor(b"{}", MANIFEST)]
            out["mediaType"] = "application/vnd.oci.image.index.v1+json"
        if self.mode == "unknown type":
            out["layers"][0]["mediaType"] = "text/plain"
        if self.mode == "elsewhere":
            out["layers"][0]["mediaType"] = "application/vnd.docker.image.rootfs.foreign.diff.tar"
            out["layers"][0]["urls"] = [f"http://127.0.0.1:{self.other.server_port}/elsewhere", "file:///etc/passwd"]
        if self.mode == "many":
            out["layers"] *= 20_000
        return json.dumps(out).encode()


class Handler(Answering):
    def do_GET(self):
        s = self.server
        s.heard.append((self.path, self.headers.get("Authorization")))
        layer, config = s.documents()
        if s.mode == "credentials" and self.path != "/elsewhere" and not self.headers.get("Authorization"):
            return self.answer(401, WWW_Authenticate='Basic realm="x"')
        if "/manifests/" in self.path:
            body = s.manifest()
            return self.answer(200, body, Content_Type=json.loads(body)["mediaType"])
        if self.path.endswith(hashlib.sha256(config).hexdigest()):
            return self.answer(200, config)
        if s.mode == "credentials" and self.path != "/elsewhere":
            return self.answer(307, Location=f"http://127.0.0.1:{s.other.server_port}/elsewhere")
        if s.mode == "to a file":
            return self.answer(307, Location="file:///etc/passwd")
        return self.answer(200, layer)

    do_HEAD = do_GET


def serve_inside():
    """The engine's network is its own: the listener is made there."""
    made = []

    def make():
        import ctypes
        libc = ctypes.CDLL(None, use_errno=True)
        with open(f"/proc/{engine.holder.pid}/ns/net", encoding="ascii") as f:
            if libc.setns(f.fileno(), 0x40000000) != 0:
                raise OSError(ctypes.get_errno(), "setns")
        made.append(Hostile(("127.0.0.1", 0), Handler))
    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    threading.Thread(target=made[0].serve_forever, daemon=True).start()
    return made[0]


def f07_registries():
    """CVE-2021-41190, CVE-2020-15157: the media type decides what a document is; credentials stay with their host; only http is followed."""
    registry, other = serve_inside(), serve_inside()
    registry.other, other.heard = other, []
    name = f"127.0.0.1:{registry.server_port}/app:1"
    for mode, words in (("both", ""), ("unknown type", "unknown media type"), ("elsewhere", ""), ("many", "layers"), ("to a file", "")):
        registry.mode = mode
        p = docker("pull", name, check=False)
        check(p.returncode != 0, f"{mode}: {p.stdout}")
        contains(p.stdout + p.stderr, words)
        same(other.heard, [])
    registry.mode = "credentials"
    os.makedirs(engine.dir + "/config", exist_ok=True)
    with open(engine.dir + "/config/config.json", "w", encoding="ascii") as f:
        json.dump({"auths": {name.split("/")[0]: {"auth": "YW5uOnNlY3JldA=="}}}, f)
    docker("pull", name)
    same({auth for _, auth in other.heard}, {None})
    check(any(auth for _, auth in registry.heard), "the registry was given none")
    docker("rmi", name)
    os.remove(engine.dir + "/config/config.json")
    registry.shutdown()
    other.shutdown()


def f08_builds():
    """CVE-2024-23653, CVE-2024-24557: a stage's links do not lead out of it, a context's neither, and a step's cache is that of its parent."""
    def build(dockerfile, *more, tag="b:1"):
        return engine.request("POST", f"/build?t={tag}", tar_of((member("Dockerfile", size=len(dockerfile)), dockerfile.encode()), *more), {"Content-Type": "application/x-tar"}, timeout=100)[1]
    before = tree(outside)
    said = build(f"FROM hello:1 AS a\nRUN ln -s {outside} /d && ln -s {outside}/secret /f\nFROM hello:1\nCOPY --from=a /f /got\n")
    check("Successfully built" not in str(said), said)
    said = build(f"FROM hello:1\nRUN mkdir -p /x {outside} && ln -s {outside} /x/d\nCOPY a /x/d/new\nRUN cat /x/d/new\n", (member("a", size=1), b"1"))
    contains(str(said), "Successfully built")
    said = build("FROM hello:1\nCOPY link /got\n", (member("link", LINK, linkname=outside + "/secret"), b""))
    check(docker("run", "--rm", "b:1", "cat", "/got", check=False).stdout != "secret", "the host's file is in the image")
    same(tree(outside), before)
    for base in ("one", "two"):
        contains(str(build(f"FROM hello:1\nRUN echo {base} > /base\n", tag=base)), "Successfully built")
        contains(str(build(f"FROM {base}\nRUN cp /base /copy\n", tag="on-" + base)), "Successfully built")
        same(docker("run", "--rm", "on-" + base, "cat", "/copy"), base + "\n")
    docker("rmi", "-f", "one", "two", "on-one", "on-two", "b:1", check=False)


def f09_killed_while_an_image_comes():
    """Whatever step a load is killed at, the image is not there or whole, and a second load makes it so."""
    layer = images.layer([(f"file{i}", FILE, "x" * 10_000) for i in range(200)])
    images.archive(engine.dir + "/big.tar", layer, reference="big:1")
    with open(engine.dir + "/big.tar", "rb") as f:
        text = f.read()
    for part in (1000, len(text) // 2, len(text) - 512, len(text)):
        s = engine.raw(b"POST /v1.41/images/load HTTP/1.1\r\nHost: d\r\nContent-Type: application/x-tar\r\nContent-Length: %d\r\n\r\n" % len(text))
        s.sendall(text[:part])
        engine.kill_child()
        s.close()
        found = "big" in docker("images")
        check(not found or part == len(text), "half of it has a name")
        until("nothing is left", lambda: not os.listdir(engine.dir + "/data/content/staging"))
    contains(docker("load", stdin=text), "big:1")
    docker("create", "--name", "big", "big:1", "/x")
    with tarfile.open(fileobj=io.BytesIO(docker("cp", "big:/file199", "-", text=False))) as tar:
        same(tar.extractfile("file199").read(), b"x" * 10_000)
    docker("rm", "big")
    docker("rmi", "big:1")


def f10_directories_are_closed():
    """CVE-2021-41091: whoever may not read an image's files in a container does not find them below the data directory; what was opened is closed again at the start."""
    closed = [engine.dir + name for name in ("/data", "/data/content", "/run")]
    for path in closed:
        same((path, os.stat(path).st_mode & 0o777), (path, 0o700))
        os.chmod(path, 0o755)
    engine.stop()
    engine.start()
    for path in closed:
        same((path, os.stat(path).st_mode & 0o777), (path, 0o700))
    same(stat.S_IMODE(os.stat(engine.socket).st_mode) & 0o007, 0)


def put_something_outside():
    os.makedirs(outside + "/dir")
    with open(outside + "/secret", "w", encoding="ascii") as f:
        f.write("secret")


TESTS = (f01_names_of_entries, f02_links, f03_copies_while_the_container_swaps, f04_volumes_of_an_image, f05_whiteouts_devices_and_sizes, f06_content_that_is_not_what_was_said, f07_registries, f08_builds,
         f09_killed_while_an_image_comes, f10_directories_are_closed)
sys.exit(run_checks(engine, TESTS, put_something_outside))
