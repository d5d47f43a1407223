"""The registry under skopeo, umoci and buildah, beside Debian's docker-registry, with TLS and passwords."""
import json
import os
import shutil
import ssl
import subprocess
import time
import unittest
import urllib.request
import warnings

from support import BINARY, DEADLINE_S, Registry, RegistryTest, need, ports

need("skopeo", "docker-registry", "openssl")
with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import crypt


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, **options)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
    return done.stdout


def copy(source, target, *options):
    run("skopeo", "copy", "--insecure-policy", "--src-tls-verify=false", "--dest-tls-verify=false", *options, source, target)


def inspect(name, *options):
    return json.loads(run("skopeo", "inspect", "--tls-verify=false", *options, "docker://" + name))


class Peers(RegistryTest):
    def setUp(self):
        super().setUp()
        self.archive = self.folder + "/app.tar"
        with open(self.folder + "/file", "wb") as f:
            f.write(os.urandom(3 << 20))
        run(BINARY, "image", "pack", "--reference", "app:1", "--copy", self.folder + "/file:/file", "--cmd", "/file", self.archive)

    def test_skopeo_copies_in_and_out(self):
        for form in ("oci", "v2s2"):
            name = self.registry.name(f"{form}/app:1")
            copy("oci-archive:" + self.archive, "docker://" + name, "--format", form)
            copy("docker://" + name, f"dir:{self.folder}/{form}")
            with open(f"{self.folder}/{form}/manifest.json") as f:
                self.assertEqual(json.load(f)["mediaType"].startswith("application/vnd.docker"), form == "v2s2")
        copy("docker://" + self.registry.name("oci/app:1"), "docker://" + self.registry.name("other/app:2"))
        self.assertEqual(inspect(self.registry.name("other/app:2"))["RepoTags"], ["2"])
        run("skopeo", "delete", "--tls-verify=false", "docker://" + self.registry.name("oci/app:1"))
        self.assertEqual(self.registry.request("GET", "/v2/oci/app/manifests/1").status, 404)
        # Whole after a restart.
        self.registry.stop()
        self.registry.start()
        copy("docker://" + self.registry.name("other/app:2"), f"dir:{self.folder}/again")

    def test_docker_registry_is_a_peer_both_ways(self):
        port = ports.free_port()
        with open(self.folder + "/config.yml", "w") as f:
            f.write(f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {self.folder}/peer}}}}\nhttp: {{addr: '127.0.0.1:{port}'}}\n")
        with open(self.folder + "/peer.log", "wb") as log:
            peer = subprocess.Popen(["docker-registry", "serve", self.folder + "/config.yml"], stdout=log, stderr=log)
        self.addCleanup(peer.wait)
        self.addCleanup(peer.kill)
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/", timeout=DEADLINE_S).close()
                break
            except OSError:
                self.assertIsNone(peer.poll())
                time.sleep(0.02)
        theirs, ours = f"127.0.0.1:{port}/app:1", self.registry.name("app:1")
        copy("oci-archive:" + self.archive, "docker://" + ours)
        copy("docker://" + ours, "docker://" + theirs)
        back = self.registry.name("back/app:1")
        copy("docker://" + theirs, "docker://" + back)
        self.assertEqual({inspect(name)["Digest"] for name in (theirs, ours, back)}, {inspect(ours)["Digest"]})

    @unittest.skipUnless(shutil.which("umoci") and shutil.which("busybox") and os.geteuid() == 0, "needs umoci, busybox and root")
    def test_umoci_unpacks_for_our_runtime_and_repacks_for_our_store(self):
        archive, name, layout, bundle = self.folder + "/box.tar", self.registry.name("box:1"), self.folder + "/layout", self.folder + "/bundle"
        run(BINARY, "image", "pack", "--reference", "box:1", "--copy", shutil.which("busybox") + ":/bin/busybox", "--link", "/bin/sh=busybox", "--link", "/bin/echo=busybox", archive)
        copy("oci-archive:" + archive, "docker://" + name)
        copy("docker://" + name, f"oci:{layout}:box")
        run("umoci", "unpack", "--image", layout + ":box", bundle)
        with open(bundle + "/config.json") as f:
            config = json.load(f)
        config["process"].update(args=["/bin/sh", "-c", "echo from umoci; echo more >/more"], terminal=False, rlimits=[])
        config["root"]["readonly"] = False
        with open(bundle + "/config.json", "w") as f:
            json.dump(config, f)
        self.assertEqual(run(BINARY, "runtime", "--root", self.folder + "/state", "run", "--bundle", bundle, "box", stdin=subprocess.DEVNULL), "from umoci\n")
        run("umoci", "repack", "--image", layout + ":more", bundle)
        copy(f"oci:{layout}:more", f"oci-archive:{self.folder}/more.tar:more:1")
        data = ["--data-dir", self.folder + "/data"]
        run(BINARY, "image", "load", *data, self.folder + "/more.tar")
        self.assertEqual(len(json.loads(run(BINARY, "image", "inspect", *data, "more:1"))["layers"]), 2)

    def test_buildah_pushes(self):
        if shutil.which("buildah") is None:
            self.skipTest("needs buildah")
        storage = ["--root", self.folder + "/storage", "--runroot", self.folder + "/run", "--storage-driver", "vfs"]
        run("buildah", *storage, "pull", "--policy", "always", "oci-archive:" + self.archive)
        image = run("buildah", *storage, "images", "-q").split()[0]
        run("buildah", *storage, "push", "--tls-verify=false", image, "docker://" + self.registry.name("built:1"))
        self.assertEqual(inspect(self.registry.name("built:1"))["RepoTags"], ["1"])


class Guarded(unittest.TestCase):
    def test_tls_and_passwords(self):
        import tempfile
        folder = tempfile.mkdtemp(prefix="monopod-registry-")
        self.addCleanup(shutil.rmtree, folder, True)
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=registry", "-addext", "subjectAltName=IP:127.0.0.1",
            "-keyout", folder + "/ca.key", "-out", folder + "/ca.crt")
        with open(folder + "/users", "w") as f:
            for user, secret in (("ann", "wonder"), ("bob", "a" * 80)):
                f.write(f"{user}:{crypt.crypt(secret, crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=32))}\n")
        registry = Registry(folder, "--tls-cert-file", folder + "/ca.crt", "--tls-private-key-file", folder + "/ca.key", "--htpasswd-file", folder + "/users",
                            tls=ssl.create_default_context(cafile=folder + "/ca.crt"))
        self.addCleanup(registry.stop)
        refused = registry.request("GET", "/v2/")
        self.assertEqual((refused.status, refused.code()), (401, "UNAUTHORIZED"))
        self.assertTrue(refused.headers["WWW-Authenticate"].startswith("Basic realm="))
        os.mkdir(folder + "/certs")
        shutil.copy(folder + "/ca.crt", folder + "/certs")
        run(BINARY, "image", "pack", "--reference", "app:1", "--copy", folder + "/users:/file", folder + "/app.tar")
        target = "docker://" + registry.name("app:1")
        for user, secret in (("ann", "wrong"), ("eve", "wonder")):
            with self.assertRaisesRegex(AssertionError, "unauthorized|authentication required|invalid username"):
                run("skopeo", "copy", "--insecure-policy", "--dest-cert-dir", folder + "/certs", "--dest-creds", f"{user}:{secret}", f"oci-archive:{folder}/app.tar", target)
        for user, secret in (("ann", "wonder"), ("bob", "a" * 80)):
            run("skopeo", "copy", "--insecure-policy", "--dest-cert-dir", folder + "/certs", "--dest-creds", f"{user}:{secret}", f"oci-archive:{folder}/app.tar", target)


if __name__ == "__main__":
    unittest.main(verbosity=1)
