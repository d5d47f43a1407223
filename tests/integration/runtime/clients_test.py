#!/usr/bin/env python3
"""Real clients: podman with conmon, and containerd with its runc shim, drive this runtime in place of their own."""
import shutil

from support import *

RUNTIME_NAME = "monopod-runtime"


def have(*programs):
    return [p for p in programs if shutil.which(p, path=os.environ["PATH"] + ":/usr/sbin:/sbin") is None]


class Client(RuntimeTest):
    needs = ()

    def setUp(self):
        if missing := have(*self.needs):
            print(f"SKIPPED: {type(self).__name__}: needs {' '.join(missing)} (packaging/scripts/install-deps test)")
            self.skipTest("needs " + " ".join(missing))
        super().setUp()
        self.binary = f"{self.dir}/{RUNTIME_NAME}"
        os.symlink(BINARY, self.binary)
        self.made.clear()

    def make_image_tar(self):
        tar = f"{self.dir}/rootfs.tar"
        subprocess.run(["tar", "-C", self.rootfs, "-cf", tar, "."], check=True)
        return tar


class Podman(Client):
    needs = ("podman", "conmon")

    def setUp(self):
        super().setUp()
        self.store = f"{self.dir}/store"
        self.env = {**os.environ, "HOME": self.dir, "XDG_RUNTIME_DIR": f"{self.dir}/run", "TMPDIR": self.dir, "CONTAINERS_CONF": f"{self.dir}/containers.conf"}
        with open(f"{self.dir}/containers.conf", "w") as f:
            # Limits of the host that this test runs on, not podman's own (it asks for more than a host without CAP_SYS_RESOURCE has).
            f.write('[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]\n[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n')
        with open(f"{self.dir}/policy.json", "w") as f:
            f.write('{"default":[{"type":"insecureAcceptAnything"}]}')
        self.podman("import", self.make_image_tar(), "busybox:test")

    def tearDown(self):
        self.podman("rm", "--all", "--force", "--time", "0", check=False)
        subprocess.run(["umount", "-l", f"{self.store}/root/overlay"], capture_output=True)
        super().tearDown()

    def podman(self, *words, check=True, stdin=subprocess.DEVNULL):
        done = subprocess.run(["podman", "--runtime", self.binary, "--root", f"{self.store}/root", "--runroot", f"{self.store}/run", "--tmpdir", f"{self.store}/tmp",
                               "--storage-driver", "vfs", *words], capture_output=True, text=True, env=self.env, timeout=120, stdin=stdin)
        if check:
            self.assertEqual(done.returncode, 0, f"podman {words}: {done.stdout}{done.stderr}")
        return done

    def run_podman(self, *words, **more):
        return self.podman("run", "--network", "none", *words, **more)

    def test_run_exec_kill_and_remove(self):
        done = self.run_podman("--rm", "busybox:test", "sh", "-c", "echo out; echo err >&2; exit 7", check=False)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (7, "out\n", "err\n"))
        self.run_podman("-d", "--name", "c1", "--pids-limit", "50", "busybox:test", "sleep", "1000")
        self.assertEqual(self.podman("exec", "c1", "cat", "/proc/1/comm").stdout, "sleep\n")
        self.assertEqual(self.podman("exec", "-e", "A=b", "-w", "/tmp", "-u", "1000", "c1", "sh", "-c", "id -u; pwd; echo $A").stdout, "1000\n/tmp\nb\n")
        self.assertEqual(self.podman("exec", "c1", "sh", "-c", "exit 9", check=False).returncode, 9)
        self.assertEqual(self.podman("inspect", "--format", "{{.State.Status}} {{.OCIRuntime}}", "c1").stdout, f"running {self.binary}\n")
        self.podman("pause", "c1")
        self.assertEqual(self.podman("inspect", "--format", "{{.State.Status}}", "c1").stdout, "paused\n")
        self.podman("unpause", "c1")
        self.assertIn("sleep 1000", self.podman("top", "c1").stdout)
        self.podman("kill", "c1")
        self.assertEqual(self.podman("wait", "c1").stdout, "137\n")
        self.podman("start", "c1")
        self.podman("stop", "--time", "0", "c1")
        self.podman("rm", "c1")

    def test_terminals_and_standard_input(self):
        self.assertEqual(self.run_podman("--rm", "-t", "busybox:test", "tty").stdout.strip(), "/dev/pts/0")
        with tempfile.TemporaryFile() as words:
            words.write(b"hello\n")
            words.seek(0)
            self.assertEqual(self.run_podman("--rm", "-i", "busybox:test", "cat", stdin=words).stdout, "hello\n")

    def test_programs_that_are_not_there(self):
        self.assertEqual(self.run_podman("--rm", "busybox:test", "nonexistent", check=False).returncode, 127)
        self.assertEqual(self.run_podman("--rm", "busybox:test", "/etc/passwd", check=False).returncode, 126)

    def test_limits_volumes_and_namespaces(self):
        os.makedirs(f"{self.dir}/volume")
        with open(f"{self.dir}/volume/file", "w") as f:
            f.write("content\n")
        out = self.run_podman("--rm", "-v", f"{self.dir}/volume:/data:ro", "--tmpfs", "/scratch:size=1m", "--hostname", "box", "--cap-drop", "all", "--read-only",
                              "--security-opt", "no-new-privileges", "--sysctl", "net.ipv4.ip_forward=1", "busybox:test", "sh", "-c",
                              "cat /data/file; hostname; grep CapEff /proc/self/status; touch /x 2>&1; touch /data/x 2>&1; cat /proc/sys/net/ipv4/ip_forward").stdout
        self.assertEqual(out.split("\n")[:3], ["content", "box", "CapEff:\t0000000000000000"])
        self.assertEqual(out.count("Read-only file system"), 2)
        self.assertTrue(out.endswith("\n1\n"), out)


class Containerd(Client):
    needs = ("containerd", "ctr", "containerd-shim-runc-v2")

    def setUp(self):
        super().setUp()
        self.socket = f"{self.dir}/c.sock"
        with open(f"{self.dir}/config.toml", "w") as f:
            f.write(f'version = 2\nroot = "{self.dir}/root"\nstate = "{self.dir}/state-c"\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
                    f'[grpc]\n address = "{self.socket}"\n[ttrpc]\n address = "{self.socket}.ttrpc"\n')
        self.log = open(f"{self.dir}/containerd.log", "w")
        self.daemon = subprocess.Popen(["containerd", "--config", f"{self.dir}/config.toml"], stdout=self.log, stderr=self.log)
        wait_for(lambda: os.path.exists(self.socket) and self.ctr("version", check=False).returncode == 0, "containerd answers")

    def tearDown(self):
        for line in self.ctr("task", "ls", "-q", check=False).stdout.split():
            self.ctr("task", "rm", "-f", line, check=False)
        self.daemon.terminate()
        self.daemon.wait(60)
        self.log.close()
        if os.path.isdir(f"{self.root}/default"):
            os.rmdir(f"{self.root}/default")  # of containerd's namespace: empty, or this fails
        super().tearDown()

    def ctr(self, *words, check=True):
        done = subprocess.run(["ctr", "--address", self.socket, *words], capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)
        if check:
            log = read_file(f"{self.dir}/containerd.log")[-3000:]
            self.assertEqual(done.returncode, 0, f"ctr {words}: {done.stdout}{done.stderr}\n{log}")
        return done

    def run_ctr(self, *words, **more):
        return self.ctr("run", "--rootfs", "--runc-binary", self.binary, "--runc-root", self.root, "--cgroup", f"/{GROUP}/ctr", *words, **more)

    def test_run_exec_and_kill(self):
        done = self.run_ctr("--rm", self.rootfs, "c1", "/bin/sh", "-c", "echo out; exit 7", check=False)
        self.assertEqual((done.returncode, done.stdout), (7, "out\n"), done)
        self.run_ctr("--detach", self.rootfs, "c1", "/bin/sleep", "1000")
        state = json.loads(self.ok("--root", f"{self.root}/default", "state", "c1"))
        self.assertEqual(state["status"], "running")
        self.assertEqual(self.ctr("task", "exec", "--exec-id", "e1", "c1", "/bin/cat", "/proc/1/comm").stdout, "sleep\n")
        self.assertEqual(self.ctr("task", "exec", "--exec-id", "e2", "c1", "/bin/sh", "-c", "exit 9", check=False).returncode, 9)
        self.ctr("task", "pause", "c1")
        self.assertIn("PAUSED", self.ctr("task", "ls").stdout)
        self.ctr("task", "resume", "c1")
        self.assertIn(str(state["pid"]), self.ctr("task", "ps", "c1").stdout)
        self.assertIn("memory", self.ctr("task", "metrics", "c1").stdout)
        self.ctr("task", "kill", "--signal", "SIGKILL", "c1")
        wait_for(lambda: "STOPPED" in self.ctr("task", "ls").stdout, "it is stopped")
        self.ctr("task", "rm", "c1")
        self.ctr("container", "rm", "c1")

    def test_errors_come_through(self):
        done = self.run_ctr("--rm", self.rootfs, "c2", "nonexistent", check=False)
        self.assertIn("executable file not found in $PATH", done.stderr)


if __name__ == "__main__":
    main()
