"""A disk that is full in the middle of a push, a pull, a load and a build: each fails in one line, and leaves nothing. On a small tmpfs in a mount namespace of the test's own."""
import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

from support import BINARY, DEADLINE_S, MEMORY, Registry, digest

MIB = 1 << 20


class FullDisk(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="monopod-disk-", dir=MEMORY)
        self.addCleanup(shutil.rmtree, self.folder, True)
        self.big = os.urandom(3 * MIB)
        with open(self.folder + "/big", "wb") as f:
            f.write(self.big)
        subprocess.run([BINARY, "image", "pack", "--reference", "app:1", "--copy", self.folder + "/big:/big", self.folder + "/app.tar"], check=True, stdout=subprocess.DEVNULL)

    def small_disk(self, size):
        path = tempfile.mkdtemp(dir=self.folder)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", path], check=True)
        self.addCleanup(subprocess.run, ["umount", "-l", path], check=True)
        return path

    def image(self, command, *arguments, data):
        return subprocess.run([BINARY, "image", command, "--data-dir", data + "/data", *arguments], capture_output=True, text=True, timeout=DEADLINE_S)

    def left_over(self, path):
        return [os.path.join(at, f) for at, _, files in os.walk(path) for f in files if f != "lock"]

    def test_a_push_fails_and_can_go_on_once_there_is_room(self):
        disk = self.small_disk("2560k")
        registry = Registry(disk)
        self.addCleanup(registry.stop)
        where = registry.request("POST", "/v2/app/blobs/uploads/", b"").headers["Location"]
        self.assertEqual(registry.request("PATCH", where, self.big[:MIB]).status, 202)
        try:
            answer = registry.request("PATCH", where, self.big[MIB:])
            self.assertEqual((answer.status, answer.json()["errors"][0]["message"]), (507, "no space is left on the registry's disk"))
        except (http.client.HTTPException, OSError):
            pass  # answered while we were still sending
        at = int(registry.request("GET", where).headers["Range"].split("-")[1]) + 1
        self.assertGreaterEqual(at, MIB)
        subprocess.run(["mount", "-o", "remount,size=16m", disk], check=True)
        self.assertEqual(registry.request("PATCH", where, self.big[at:], Content_Range=f"{at}-{len(self.big) - 1}").status, 202)
        self.assertEqual(registry.request("PUT", where + "?digest=" + digest(self.big)).status, 201)
        self.assertEqual(registry.request("GET", f"/v2/app/blobs/{digest(self.big)}").body, self.big)

    def test_a_load_and_a_pull_leave_nothing(self):
        os.mkdir(self.folder + "/r")
        registry = Registry(self.folder + "/r")
        self.addCleanup(registry.stop)
        self.assertEqual(self.image("load", self.folder + "/app.tar", data=self.folder).returncode, 0)
        self.assertEqual(self.image("push", "app:1", registry.name("app:1"), data=self.folder).returncode, 0)
        disk = self.small_disk("4800k")  # room for the file or its blob, not for both
        for command in (("load", self.folder + "/app.tar"), ("pull", registry.name("app:1"))):
            done = self.image(*command, data=disk)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn("No space left on device", done.stderr)
            self.assertEqual(len(done.stderr.splitlines()), 1)
            self.assertEqual(self.left_over(disk + "/data/content"), [])
        subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
        self.assertEqual(self.image("pull", registry.name("app:1"), data=disk).returncode, 0)

    def test_a_build_leaves_its_base(self):
        disk = self.small_disk("4800k")
        os.mkdir(self.folder + "/context")
        shutil.copy(self.folder + "/big", self.folder + "/context/big")
        with open(self.folder + "/context/Dockerfile", "w") as f:
            f.write("FROM scratch\nCOPY big /\n")
        done = self.image("build", "-t", "out:1", self.folder + "/context", data=disk)
        self.assertIn("Dockerfile:2:1: ", done.stderr)
        self.assertIn("No space left on device", done.stderr)
        self.assertEqual(json.loads(self.image("ls", "-o", "json", data=disk).stdout)["images"], [])
        self.assertEqual(os.listdir(disk + "/data/content/snapshots") + os.listdir(disk + "/data/content/layers"), [])
        subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
        self.assertEqual(self.image("build", "-t", "out:1", self.folder + "/context", data=disk).returncode, 0)


if __name__ == "__main__":
    if os.geteuid() != 0:
        print("SKIPPED: disk_test.py: needs root")
        sys.exit(77)
    if os.environ.get("MONOPOD_OWN_MOUNTS") != str(os.getppid()):
        os.environ["MONOPOD_OWN_MOUNTS"] = str(os.getpid())
        sys.exit(subprocess.run(["unshare", "--mount", "--propagation", "private", sys.executable, *sys.argv]).returncode)
    unittest.main(verbosity=1)
