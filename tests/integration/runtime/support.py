"""Bundles in temporary folders, containers in control groups of the test's own, in a mount namespace of the test's own."""
import atexit
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

BINARY = os.environ.get("MONOPOD_TEST_BINARY") or os.path.abspath(sys.argv.pop(1))
BUSYBOX = "/bin/busybox"
DEADLINE_S = 60
APPLETS = ("sh true false cat echo ls sleep id mount umount env pwd hostname readlink test touch mkdir rm kill grep stat dd seq tty stty head wc ps mknod "
           "unshare date nproc awk uname ip trap usleep chown rmdir yes cut tr").split()
GROUP = f"monopod-test-{os.getpid()}"
CGROUPS = "/sys/fs/cgroup"


def skip(reason):
    print(f"SKIPPED: {os.path.basename(sys.argv[0])}: {reason}")
    sys.exit(77)


def own_mounts():
    """Runs this program again in a mount namespace of its own."""
    if os.geteuid() != 0:
        skip("needs root")
    if not os.path.exists(BUSYBOX):
        skip("needs busybox-static")
    if os.environ.get("MONOPOD_OWN_MOUNTS") != str(os.getppid()):
        os.environ["MONOPOD_OWN_MOUNTS"] = str(os.getpid())
        code = subprocess.run(["unshare", "--mount", "--propagation", "private", sys.executable, *sys.argv]).returncode
        sys.exit(code)


def main():
    own_mounts()
    unittest.main(verbosity=1)


def hierarchies():
    """Directories of control group trees: one for v2, several for v1 and hybrid."""
    if os.path.exists(f"{CGROUPS}/cgroup.controllers"):
        return [CGROUPS]
    return [f"{CGROUPS}/{name}" for name in os.listdir(CGROUPS) if os.path.isdir(f"{CGROUPS}/{name}")]


def groups_named(name):
    return [path for tree in hierarchies() for path in [f"{tree}/{name}"] if os.path.isdir(path)]


def remove_groups():
    for tree in hierarchies():
        for path, _, _ in os.walk(f"{tree}/{GROUP}", topdown=False):
            try:
                os.rmdir(path)
            except OSError:
                pass


atexit.register(remove_groups)


def read_file(path):
    with open(path) as f:
        return f.read()


def wait_for(condition, what):
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError(f"never: {what}")


def make_rootfs(path):
    for name in ("bin", "etc", "tmp", "proc", "sys", "dev", "root", "mnt"):
        os.makedirs(f"{path}/{name}", exist_ok=True)
    shutil.copy(BUSYBOX, f"{path}/bin/busybox")
    for name in APPLETS:
        os.symlink("busybox", f"{path}/bin/{name}")
    with open(f"{path}/etc/passwd", "w") as f:
        f.write("root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n")


class Result:
    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    def __repr__(self):
        return f"exit {self.code}\nout: {self.out}\nerr: {self.err}"


class RuntimeTest(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="monopod-oci-")
        os.chmod(self.dir, 0o755)
        self.root = f"{self.dir}/state"
        self.bundle = f"{self.dir}/bundle"
        self.rootfs = f"{self.bundle}/rootfs"
        os.makedirs(self.rootfs)
        make_rootfs(self.rootfs)
        self.made = set()

    def tearDown(self):
        for name in self.made:
            self.call("delete", "--force", name)
        left = os.listdir(self.root) if os.path.isdir(self.root) else []
        self.assertEqual(left, [], "state is left")
        for name in self.made:
            self.assertEqual(groups_named(f"{GROUP}/{name}"), [], "control groups are left")
        with open("/proc/self/mountinfo") as f:
            self.assertEqual([line for line in f if self.dir in line], [], "mounts are left")
        shutil.rmtree(self.dir)

    def call(self, *words, env=None, stdin=subprocess.DEVNULL, cwd=None, pass_fds=(), before=()):
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            # To files: the container inherits them, and a pipe would be waited for until it ends.
            done = subprocess.run([*before, BINARY, "runtime", "--root", self.root, *words], stdin=stdin, stdout=out, stderr=err, timeout=DEADLINE_S, cwd=cwd,
                                  env={**os.environ, **(env or {})}, pass_fds=pass_fds)
            out.seek(0)
            err.seek(0)
            return Result(done.returncode, out.read(), err.read())

    def ok(self, *words, **more):
        done = self.call(*words, **more)
        self.assertEqual(done.code, 0, f"{words}: {done}")
        return done.out

    def fails(self, text, *words, **more):
        done = self.call(*words, **more)
        self.assertNotEqual(done.code, 0, f"{words}: {done}")
        self.assertIn(text, done.err)
        return done

    def config(self, *args, name="c1", **members):
        """The example config with these arguments; a script where it is one word with spaces."""
        example = f"{self.dir}/config.json"
        if not os.path.exists(example):
            self.ok("spec", "--bundle", self.dir)
        with open(example) as f:
            config = json.load(f)
        config["process"]["terminal"] = False
        config["process"]["args"] = ["sh", "-c", args[0]] if len(args) == 1 and " " in args[0] else list(args)
        config["linux"]["cgroupsPath"] = f"/{GROUP}/{name}"
        config["root"]["readonly"] = False
        self.made.add(name)
        return config

    def write(self, config):
        with open(f"{self.bundle}/config.json", "w") as f:
            json.dump(config, f)

    def create(self, config, name="c1", *options, **more):
        self.write(config)
        self.made.add(name)
        return self.call("create", "--bundle", self.bundle, *options, name, **more)

    def run_container(self, config, name="c1", *options, **more):
        self.write(config)
        self.made.add(name)
        return self.call("run", "--bundle", self.bundle, *options, name, **more)

    def output(self, config, **more):
        done = self.run_container(config, **more)
        self.assertEqual(done.code, 0, done)
        return done.out

    def start_sleeping(self, config=None, name="c1", *options):
        config = config or self.config("sleep", "1000", name=name)
        done = self.run_container(config, name, "--detach", *options)
        self.assertEqual(done.code, 0, done)
        return self.state(name)["pid"]

    def state(self, name="c1"):
        return json.loads(self.ok("state", name))

    def status(self, name="c1"):
        return self.state(name)["status"]

    def wait_status(self, status, name="c1"):
        wait_for(lambda: self.status(name) == status, f"{name} is {status}")


__all__ = ["BINARY", "CGROUPS", "DEADLINE_S", "GROUP", "RuntimeTest", "groups_named", "hierarchies", "json", "main", "os", "read_file", "signal", "skip", "subprocess", "sys", "tempfile",
           "time", "unittest", "wait_for"]
