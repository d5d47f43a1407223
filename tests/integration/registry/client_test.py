"""`monopod image` without a node: against our registry and docker-registry, and against one that misbehaves."""
import gzip
import http.server
import io
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
import threading
import unittest

from support import BINARY, DEADLINE_S, MANIFEST, MEMORY, Registry, digest
from answering import Answering  # its folder is known from support on


def tar_of(**files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def holds_lock(pid):
    """Whether the process has the content's lock open; its other descriptors come and go meanwhile."""
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            if os.readlink(f"/proc/{pid}/fd/{fd}").endswith("content/lock"):
                return True
        except FileNotFoundError:
            pass
    return False


class Hostile(http.server.ThreadingHTTPServer):
    """Serves one image as app:1, in the way that mode says."""
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        layer = tar_of(big=os.urandom(1 << 20), small=b"x")
        self.layer = gzip.compress(layer, mtime=0)
        self.config = json.dumps({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": [digest(layer)]}}).encode()
        self.size = len(self.layer)
        self.mode = ""
        self.log = []
        self.busy = 0
        self.release = threading.Event()

    def manifest(self):
        return json.dumps({"schemaVersion": 2, "mediaType": MANIFEST,
                           "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest(self.config), "size": len(self.config)},
                           "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": digest(self.layer), "size": self.size}]}).encode()


class Handler(Answering):
    def do_GET(self):
        s = self.server
        s.log.append((self.path, self.headers.get("Range"), self.headers.get("Authorization")))
        if s.mode == "busy" and s.busy < 2:
            s.busy += 1
            return self.answer(429, Retry_After="0")
        if s.mode == "broken":
            return self.answer(500, b'{"errors":[{"code":"UNKNOWN","message":"out of order"}]}')
        if s.mode == "basic" and not self.headers.get("Authorization") and "/elsewhere/" not in self.path:
            return self.answer(401, WWW_Authenticate='Basic realm="x"')
        if "/manifests/" in self.path:
            return self.answer(200, s.manifest(), Content_Type=MANIFEST)
        if self.path.endswith(digest(s.config)):
            return self.answer(200, s.config)
        if s.mode == "basic" and "/elsewhere/" not in self.path:
            return self.answer(307, Location=f"http://127.0.0.1:{s.other.server_port}/elsewhere/{digest(s.layer)}")
        if s.mode == "wrong digest":
            return self.answer(200, gzip.compress(tar_of(evil=b"x"), mtime=0).ljust(len(s.layer), b"\0"))
        start = 0
        if self.headers.get("Range") and s.mode in ("cut", "stuck"):
            start = int(self.headers["Range"][6:-1])
        body = s.layer[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if s.mode in ("cut", "cut whole"):  # each answer brings a third more
            body = body[:len(s.layer) // 3 + 1 if s.mode == "cut" else len(s.layer) * min(len(s.log), 5) // 5]
            self.close_connection = True
        if s.mode == "stuck":
            body = body[:1000] if start == 0 else b""
            self.close_connection = True
        if s.mode == "stall":
            self.wfile.write(body[:1000])
            self.wfile.flush()
            return s.release.wait(DEADLINE_S)
        self.wfile.write(body)


class Client(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="monopod-image-", dir=MEMORY)
        self.addCleanup(shutil.rmtree, self.folder, True)

    def run_image(self, *arguments, ok=True, data="data", **env):
        done = subprocess.run([BINARY, "image", arguments[0], "--data-dir", f"{self.folder}/{data}", *arguments[1:]], capture_output=True, text=True, timeout=DEADLINE_S,
                              env={**os.environ, "HOME": self.folder, **env})
        if ok:
            self.assertEqual(done.returncode, 0, done.stderr)
            return done.stdout
        self.assertNotEqual(done.returncode, 0, done.stdout)
        return done.stderr

    def listed(self, data="data"):
        return {r for image in json.loads(self.run_image("ls", "-o", "json", data=data))["images"] for r in image["references"]}

    def left_over(self, data="data"):
        return [os.path.join(at, f) for at, _, files in os.walk(f"{self.folder}/{data}/content") for f in files if f != "lock"]


class AgainstRegistries(Client):
    def setUp(self):
        super().setUp()
        with open(self.folder + "/file", "wb") as f:
            f.write(os.urandom(1 << 20))
        subprocess.run([BINARY, "image", "pack", "--reference", "app:1", "--copy", self.folder + "/file:/file", "--cmd", "/file", self.folder + "/app.tar"], check=True, stdout=subprocess.DEVNULL)
        os.mkdir(self.folder + "/r")
        self.registry = Registry(self.folder + "/r")
        self.addCleanup(lambda: self.registry.stop())

    def test_load_tag_push_pull_save_remove(self):
        name = self.registry.name("team/app:1")
        self.assertIn("loaded docker.io/library/app:1", self.run_image("load", self.folder + "/app.tar"))
        self.run_image("tag", "app:1", name)
        self.assertEqual(self.listed(), {"docker.io/library/app:1", name})
        self.run_image("push", name)
        self.run_image("push", "app:1", self.registry.name("other/app:2"))  # mounted: nothing is sent
        with open(self.folder + "/r/registry.log") as f:
            self.assertNotIn("error", f.read())
        self.assertEqual(self.run_image("pull", name, data="second"), f"pulled {name}\n")
        self.assertEqual(self.listed("second"), {name})
        by_digest = name.rsplit(":", 1)[0] + "@" + self.registry.request("GET", "/v2/team/app/manifests/1").headers["Docker-Content-Digest"]
        self.run_image("pull", by_digest, data="third")
        # What was pulled is saved and pushed as it came: same digests everywhere.
        self.run_image("save", self.folder + "/saved.tar", name, data="second")
        self.run_image("load", self.folder + "/saved.tar", data="fourth")
        ids = {json.loads(self.run_image("inspect", *what, data=data))["manifest_digest"] for data, what in (("data", ("app:1",)), ("second", (name,)), ("third", (by_digest,)), ("fourth", (name,)))}
        self.assertEqual(len(ids), 1)
        self.assertEqual(self.run_image("rm", name), f"untagged {name}\n")
        self.assertEqual(self.run_image("rm", "app:1"), "removed app:1\n")
        self.assertEqual(self.left_over(), [])
        self.assertIn("not found", self.run_image("rm", "app:1", ok=False))
        # By digest it came without a name: prune takes it.
        self.assertIn("removed sha256:", self.run_image("prune", data="third"))
        self.assertIn("freed", self.run_image("prune", data="second"))
        self.assertEqual(self.listed("second"), {name})
        self.run_image("prune", "--all", data="second")
        self.assertEqual(self.left_over("second"), [])

    def test_a_plain_layer_is_kept_once_and_given_out_as_it_came(self):
        layer = tar_of(big=os.urandom(3 << 20), small=b"x")
        config = json.dumps({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": [digest(layer)]}}).encode()
        with open(self.folder + "/plain.tar", "wb") as f:
            f.write(tar_of(**{"c.json": config, "l/layer.tar": layer, "manifest.json": json.dumps([{"Config": "c.json", "RepoTags": ["plain:1"], "Layers": ["l/layer.tar"]}]).encode()}))
        self.run_image("load", self.folder + "/plain.tar")
        self.assertLess(sum(map(os.path.getsize, self.left_over())), 1.05 * len(layer))
        self.run_image("save", self.folder + "/saved.tar", "plain:1")
        with tarfile.open(self.folder + "/saved.tar") as tar:
            self.assertEqual(tar.extractfile("blobs/" + digest(layer).replace(":", "/")).read(), layer)
        self.run_image("push", "plain:1", self.registry.name("plain:1"))
        self.run_image("pull", self.registry.name("plain:1"), data="second")
        big = next(path for path in self.left_over() if path.endswith("/fs/big"))
        with open(big, "r+b") as f:
            f.write(b"changed")
        for words in (("save", self.folder + "/changed.tar", "plain:1"), ("push", "plain:1", self.registry.name("changed:1"))):
            self.assertIn("a file of its directory was changed", self.run_image(*words, ok=False))
        self.assertNotIn("changed", self.registry.request("GET", "/v2/_catalog").body.decode())
        self.run_image("rm", "plain:1")
        self.assertEqual(self.left_over(), [])

    def test_saved_archives_are_read_by_others(self):
        if shutil.which("skopeo") is None:
            self.skipTest("needs skopeo")
        self.run_image("load", self.folder + "/app.tar")
        self.run_image("tag", "app:1", "other:2")
        self.run_image("save", self.folder + "/saved.tar", "app:1", "other:2")
        for source in (f"oci-archive:{self.folder}/saved.tar:1", f"docker-archive:{self.folder}/saved.tar:docker.io/library/other:2"):
            subprocess.run(["skopeo", "copy", "--insecure-policy", source, f"dir:{self.folder}/dir"], check=True, stdout=subprocess.DEVNULL, timeout=DEADLINE_S)

    def test_a_bundle_holds_what_images_share_once(self):
        with open(self.folder + "/more", "wb") as f:
            f.write(b"more")
        subprocess.run([BINARY, "image", "pack", "--reference", "app:2", "--copy", self.folder + "/file:/file", "--copy", self.folder + "/more:/more", self.folder + "/app2.tar"], check=True, stdout=subprocess.DEVNULL)
        self.run_image("load", self.folder + "/app.tar", self.folder + "/app2.tar")
        self.run_image("bundle", self.folder + "/apps.tar.zst", "app:1", "app:2")
        self.assertLess(os.path.getsize(self.folder + "/apps.tar.zst"), (1 << 20) * 1.2)  # each has a layer with the same megabyte of noise
        self.run_image("load", self.folder + "/apps.tar.zst", data="second")
        names = {"docker.io/library/app:1", "docker.io/library/app:2"}
        self.assertEqual(self.listed("second"), names)
        for name in names:
            self.assertEqual(*(json.loads(self.run_image("inspect", name, data=data))["id"] for data in ("data", "second")))

    def test_hosts_file_leads_to_a_mirror(self):
        self.run_image("load", self.folder + "/app.tar")
        self.run_image("push", "app:1", self.registry.name("library/app:1"))
        os.makedirs(self.folder + "/hosts/docker.io")
        with open(self.folder + "/hosts/docker.io/hosts.toml", "w") as f:
            f.write(f'server = "http://127.0.0.1:1"\n[host."http://127.0.0.1:1"]\n[host."http://127.0.0.1:{self.registry.port}"]\n  capabilities = ["pull", "resolve"]\n')
        self.run_image("pull", "--hosts-dir", self.folder + "/hosts", "app:1", data="second")
        self.assertEqual(self.listed("second"), {"docker.io/library/app:1"})
        self.assertIn("Connection refused", self.run_image("push", "--hosts-dir", self.folder + "/hosts", "app:1", ok=False))  # a mirror is not pushed to

    def test_credentials_come_from_docker_s_file(self):
        import warnings
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            import crypt
        os.mkdir(self.folder + "/guarded")
        with open(self.folder + "/users", "w") as f:
            f.write("ann:" + crypt.crypt("s:cret", crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=16)) + "\n")
        guarded = Registry(self.folder + "/guarded", "--htpasswd-file", self.folder + "/users")
        self.addCleanup(guarded.stop)
        name = guarded.name("app:1")
        self.run_image("load", self.folder + "/app.tar")
        self.assertIn("unauthorized", self.run_image("push", "app:1", name, ok=False))
        self.assertIn("unauthorized", self.run_image("push", "--creds", "ann:wrong", "app:1", name, ok=False))
        os.mkdir(self.folder + "/.docker")
        with open(self.folder + "/.docker/config.json", "w") as f:
            json.dump({"auths": {f"127.0.0.1:{guarded.port}": {"username": "ann", "password": "s:cret"}}}, f)
        self.run_image("push", "app:1", name)
        self.run_image("pull", name, data="second")
        self.run_image("pull", "--creds", "ann:s:cret", name, data="third", DOCKER_CONFIG="/nonexistent")

    def test_two_processes_do_not_share_a_directory(self):
        self.run_image("ls")
        other = subprocess.Popen([BINARY, "image", "load", "--data-dir", self.folder + "/data", "/dev/stdin"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            while not holds_lock(other.pid):
                self.assertIsNone(other.poll())
            self.assertIn("in use", self.run_image("ls", ok=False))
        finally:
            other.stdin.close()
            other.wait()


class AgainstOneThatMisbehaves(Client):
    def setUp(self):
        super().setUp()
        self.server = Hostile()
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)
        self.addCleanup(self.server.release.set)
        self.name = f"127.0.0.1:{self.server.server_port}/app:1"

    def refuses(self, mode, text, *options):
        self.server.mode = mode
        self.server.log.clear()
        self.assertRegex(self.run_image("pull", *options, self.name, ok=False), text)
        self.assertEqual(self.listed(), set())
        self.assertEqual(self.left_over(), [])

    def test_wrong_content_and_sizes(self):
        self.refuses("wrong digest", "does not match the digest|unexpected data|not gzip|gzip")
        self.server.size -= 1
        self.refuses("", "more than the .* bytes of the manifest")
        self.server.size += 2
        self.refuses("", "the manifest says")
        self.server.size -= 1
        self.server.mode = ""
        self.run_image("pull", self.name)

    def test_a_cut_download_goes_on(self):
        for mode in ("cut", "cut whole"):
            self.server.mode = mode
            self.server.log.clear()
            self.run_image("pull", self.name, data=mode)
            ranges = [r for path, r, _ in self.server.log if path.endswith(digest(self.server.layer))]
            self.assertIsNone(ranges[0])
            self.assertGreater(len(ranges), 1)
            self.assertTrue(all(r.startswith("bytes=") for r in ranges[1:]), ranges)
        self.refuses("stuck", "download")
        self.assertEqual(len([1 for path, _, _ in self.server.log if path.endswith(digest(self.server.layer))]), 2)  # the second brought nothing

    def test_a_busy_registry_is_asked_again_a_broken_one_is_not(self):
        self.refuses("broken", "status 500: out of order")
        self.assertEqual(len(self.server.log), 1)
        self.server.mode = "busy"
        self.run_image("pull", self.name)

    def test_a_stalled_registry_is_given_up(self):
        self.refuses("stall", "stalls: timed out", "--stall-timeout", "1s")

    def test_credentials_do_not_follow_redirects(self):
        other = Hostile()
        other.layer, other.config, other.size = self.server.layer, self.server.config, self.server.size
        threading.Thread(target=other.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        self.addCleanup(other.server_close)
        self.addCleanup(other.shutdown)
        self.server.other = other
        self.server.mode = "basic"
        self.run_image("pull", "--creds", "ann:secret", self.name)
        self.assertEqual([(path.split("/")[1], auth) for path, _, auth in other.log], [("elsewhere", None)])


if __name__ == "__main__":
    unittest.main(verbosity=1)
