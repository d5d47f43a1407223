#!/usr/bin/env python3
"""systemd's control group driver (--systemd-cgroup), with a systemd of the test's own as process 1 of a process namespace, over control groups v2 below a group
of the test's own. It can do nothing to the machine: its root is read-only but for the test's folder, none of the machine's units and generators is there, and it
starts a target that wants nothing."""
import shutil

from support import *

SYSTEMD = "/lib/systemd/systemd"
BOOT = """
set -e
mount --make-rprivate /
mount -t proc proc /proc
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system
for i in /usr/lib/systemd/system /usr/lib/systemd/system-generators /usr/lib/systemd/user /usr/lib/systemd/user-generators /etc/systemd /usr/lib/tmpfiles.d /usr/lib/sysctl.d /var; do mount -t tmpfs -o size=64k tmpfs $i; done
mount --bind "$1" "$1"
mount -o remount,bind,ro /
printf '[Unit]\\nDefaultDependencies=no\\n' > /run/systemd/system/nothing.target
umount -R -l /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
export container=test
exec %s --system --unit=nothing.target --show-status=no --log-level=err
""" % SYSTEMD
SLICE = "monopod-test.slice"


def v2_tree():
    return CGROUPS if os.path.exists(f"{CGROUPS}/cgroup.controllers") else f"{CGROUPS}/unified"


class SystemdTest(RuntimeTest):
    @classmethod
    def setUpClass(cls):
        tempfile.tempdir = cls.folder = tempfile.mkdtemp(prefix="monopod-systemd-")
        os.chmod(cls.folder, 0o755)
        cls.groups = [f"{tree}/{GROUP}" for tree in {v2_tree(), f"{CGROUPS}/systemd"} if os.path.isdir(tree)]
        for path in cls.groups:
            os.makedirs(path, exist_ok=True)

        def enter():
            for path in cls.groups:
                with open(f"{path}/cgroup.procs", "w") as f:
                    f.write("0")

        cls.outside = subprocess.Popen(["unshare", "--mount", "--pid", "--cgroup", "--fork", "--propagation", "private", "sh", "-c", BOOT, "sh", cls.folder], stdin=subprocess.DEVNULL,
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=enter)
        children = f"/proc/{cls.outside.pid}/task/{cls.outside.pid}/children"
        cls.pid = wait_for(lambda: read_file(children).split(), "a process 1")[0]
        cls.enter = ["nsenter", "-t", cls.pid, "--mount", "--pid", "--cgroup"]
        wait_for(lambda: subprocess.run([*cls.enter, "test", "-S", "/run/systemd/private"]).returncode == 0, "systemd listens")

    @classmethod
    def tearDownClass(cls):
        os.kill(int(cls.pid), signal.SIGKILL)
        cls.outside.wait(DEADLINE_S)
        for path in cls.groups:
            wait_for(lambda: "populated 0" in read_file(f"{path}/cgroup.events") if os.path.exists(f"{path}/cgroup.events") else True, "the group is empty")
        shutil.rmtree(cls.folder)

    def call(self, *words, **more):
        if words[0] != "spec":
            words = ("--systemd-cgroup", *words)
        return super().call(*words, before=self.enter, **more)

    def config(self, *args, name="c1", **members):
        config = super().config(*args, name=name, **members)
        config["linux"]["cgroupsPath"] = f"{SLICE}:test:{name}"
        return config

    def show(self, name, *properties):
        out = subprocess.run([*self.enter, "systemctl", "show", f"test-{name}.scope", *(f"-p{p}" for p in properties)], capture_output=True, text=True, check=True).stdout
        return dict(line.split("=", 1) for line in out.splitlines())

    def group_exists(self, name):
        return subprocess.run([*self.enter, "test", "-d", f"/sys/fs/cgroup/monopod.slice/{SLICE}/test-{name}.scope"]).returncode == 0

    def test_a_container_is_a_scope_for_as_long_as_it_lives(self):
        self.assertEqual(self.create(self.config("sleep", "1000")).code, 0)
        self.assertEqual(self.show("c1", "ActiveState", "Slice", "Delegate", "Description"),
                         {"ActiveState": "active", "Slice": SLICE, "Delegate": "yes", "Description": "container c1"})
        self.assertTrue(self.group_exists("c1"))
        self.ok("start", "c1")
        self.assertEqual(self.ok("exec", "c1", "grep", "0::", "/proc/self/cgroup"), "0::/\n")
        self.ok("kill", "c1", "KILL")
        self.wait_status("stopped")
        self.ok("delete", "c1")
        self.assertFalse(self.group_exists("c1"))
        self.assertEqual(self.show("c1", "LoadState"), {"LoadState": "not-found"})

    def test_an_update_is_systemds_too(self):
        self.start_sleeping()
        # This tree may have no controller: what systemd was told stands either way.
        self.call("update", "--pids-limit", "33", "c1")
        self.assertEqual(self.show("c1", "TasksMax"), {"TasksMax": "33"})

    def test_in_a_user_namespace(self):
        config = self.config("cat", "/proc/self/uid_map")
        config["linux"]["namespaces"].append({"type": "user"})
        config["linux"]["uidMappings"] = config["linux"]["gidMappings"] = [{"containerID": 0, "hostID": 100000, "size": 1000}]
        self.assertEqual(self.output(config).split(), ["0", "100000", "1000"])
        self.assertEqual(self.show("c1", "LoadState"), {"LoadState": "not-found"})

    def test_a_create_that_fails_leaves_no_scope(self):
        self.assertNotEqual(self.create(self.config("/absent")).code, 0)
        self.assertFalse(self.group_exists("c1"))
        self.assertEqual(self.show("c1", "LoadState"), {"LoadState": "not-found"})

    def test_paths_of_another_shape_are_refused(self):
        for path, text in (("/a/b", "slice:prefix:name"), ("a:b:c", "is no slice"), ("a--b.slice:b:c", "is no slice"), ("a.slice:b:c/d", "is no name of a scope")):
            config = self.config("true")
            config["linux"]["cgroupsPath"] = path
            done = self.create(config)
            self.assertNotEqual(done.code, 0, path)
            self.assertIn(text, done.err)

    def test_a_scope_of_that_name_is_taken_once(self):
        self.start_sleeping()
        config = self.config("true", name="c2")
        config["linux"]["cgroupsPath"] = f"{SLICE}:test:c1"
        done = self.create(config, "c2")
        self.assertNotEqual(done.code, 0)
        self.assertIn("container's cgroup is not empty: 1 process(es) found", done.err)
        self.assertEqual(self.status(), "running")

    def test_of_an_ordinary_user_by_the_users_manager(self):
        user, folder = "65534", "/run/user/65534"
        units = f"{folder}/systemd/user"
        as_user = [*self.enter, "setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "env", f"XDG_RUNTIME_DIR={folder}"]
        script = f"mkdir -p {units} && printf '[Unit]\\nDefaultDependencies=no\\n' > {units}/nothing.target && chown -R {user}:{user} {folder}"
        subprocess.run([*self.enter, "sh", "-c", script], check=True)
        # A service that needs no other unit, with a group that is the user's.
        subprocess.run([*self.enter, "systemd-run", "--quiet", "--unit=users-manager", f"--uid={user}", f"--gid={user}", "-pDefaultDependencies=no", "-pDelegate=yes",
                        f"--setenv=XDG_RUNTIME_DIR={folder}", SYSTEMD, "--user", "--unit=nothing.target"], check=True)
        wait_for(lambda: subprocess.run([*self.enter, "test", "-S", f"{folder}/systemd/private"]).returncode == 0, "the user's manager listens")
        RuntimeTest.call(self, "spec", "--rootless", "--bundle", self.dir)
        with open(f"{self.dir}/config.json") as f:
            config = json.load(f)
        config["process"].update({"terminal": False, "args": ["sleep", "1000"]})
        config["linux"].update({"uidMappings": [{"containerID": 0, "hostID": int(user), "size": 1}], "gidMappings": [{"containerID": 0, "hostID": int(user), "size": 1}],
                                "cgroupsPath": "user.slice:test:rootless"})
        self.write(config)
        subprocess.run(["chown", "-R", f"{user}:{user}", self.bundle], check=True)

        def call(*words):
            # From inside of what is the user's, as from a session: processes of elsewhere could only be moved in with the help of a system bus.
            command = " ".join((BINARY, "runtime", "--systemd-cgroup", "--root", f"{self.bundle}/state", *words))
            unit = f"[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\nExecStart={command}\nStandardError=append:{self.bundle}/error\n"
            write = ["sh", "-c", f"cat > {units}/{words[0]}.service"]
            subprocess.run([*as_user, *write], input=unit, text=True, check=True)
            done = subprocess.run([*as_user, "systemctl", "--user", "start", f"{words[0]}.service"], capture_output=True, text=True, timeout=DEADLINE_S)
            self.assertEqual(done.returncode, 0, f"{words}: {done.stderr} {read_file(f'{self.bundle}/error')}")

        def state():
            return subprocess.run([*as_user, "systemctl", "--user", "show", "test-rootless.scope", "-pActiveState", "--value"], capture_output=True, text=True).stdout.strip()

        call("create", "--bundle", self.bundle, "c1")
        self.assertEqual(state(), "active")
        call("start", "c1")
        call("delete", "--force", "c1")
        self.assertEqual(state(), "inactive")

    def test_podman_with_its_own_choice_of_driver(self):
        if shutil.which("podman") is None or shutil.which("conmon") is None:
            self.skipTest("needs podman and conmon")
        runtime, tar = f"{self.dir}/monopod-runtime", f"{self.dir}/rootfs.tar"
        os.symlink(BINARY, runtime)
        subprocess.run(["tar", "-C", self.rootfs, "-cf", tar, "."], check=True)
        with open(f"{self.dir}/containers.conf", "w") as f:
            f.write('[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]\npids_limit = 0\n[engine]\nevents_logger = "file"\n')
        names = {"HOME": self.dir, "XDG_RUNTIME_DIR": f"{self.dir}/run", "TMPDIR": self.dir, "CONTAINERS_CONF": f"{self.dir}/containers.conf"}

        def podman(*words):
            done = subprocess.run([*self.enter, "env", *(f"{k}={v}" for k, v in names.items()), "podman", "--runtime", runtime, "--cgroup-manager", "systemd", "--root", f"{self.dir}/root",
                                   "--runroot", "/run/podman", "--tmpdir", "/run/podman-tmp", "--storage-driver", "vfs", *words], capture_output=True, text=True,
                                  stdin=subprocess.DEVNULL, timeout=120)
            self.assertEqual(done.returncode, 0, f"podman {words}: {done.stdout}{done.stderr}")
            return done.stdout.strip()

        podman("import", tar, "busybox:test")
        name = podman("run", "--network", "none", "--detach", "busybox:test", "sleep", "1000")
        try:
            self.assertEqual(podman("exec", name, "cat", "/proc/self/cgroup").splitlines()[-1], "0::/")
            found = subprocess.run([*self.enter, "systemctl", "show", f"libpod-{name}.scope", "-pActiveState", "-pSlice"], capture_output=True, text=True).stdout
            self.assertEqual(set(found.split()), {"ActiveState=active", "Slice=machine.slice"})
        finally:
            podman("rm", "--all", "--force", "--time", "0")

    def test_without_systemd_it_says_so(self):
        self.write(self.config("true"))
        done = RuntimeTest.call(self, "--systemd-cgroup", "create", "--bundle", self.bundle, "c1")
        if os.path.exists("/run/systemd/private"):
            self.skipTest("systemd runs on this machine")
        self.assertIn("systemd does not run here", done.err)


if not os.path.exists(SYSTEMD):
    skip("needs systemd")
if __name__ == "__main__":
    main()
