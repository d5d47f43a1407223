#!/usr/bin/env python3
"""What opencontainers/runtime-tools asks of a runtime (its folder validation/), as far as the other tests here do not: the name of its case is in each docstring.
Where a later runtime-spec says otherwise than the case, the specification holds."""
from support import *

WRONG_TYPE = dict(cgroup="ipc", ipc="mnt", mount="net", network="pid", pid="user", user="uts", uts="cgroup")
NODES = dict(block=0o060666, char=0o020666, fifo=0o010666)


class ConfigTest(RuntimeTest):
    def test_what_is_unknown_is_no_error_and_what_is_wrong_is(self):
        """misc_props, process_rlimits_fail"""
        config = self.config("true")
        config["annotations"] = {"org.example.unknown": ""}
        config["unknown"] = "unknown"
        config["process"]["unknown"] = {"deep": 1}
        self.assertEqual(self.run_container(config).code, 0)
        for change in (lambda c: c.update(ociVersion="invalid"), lambda c: c.pop("ociVersion"),
                       lambda c: c["process"]["rlimits"].append({"type": "RLIMIT_TEST", "soft": 1024, "hard": 1024}),
                       lambda c: c["process"].update(rlimits=[{"type": "RLIMIT_CORE", "soft": 1, "hard": 1}] * 2)):
            config = self.config("true")
            change(config)
            self.assertNotEqual(self.create(config).code, 0, config)

    def test_an_unknown_capability_is_a_warning(self):
        """process_capabilities_fail; since runtime-spec 1.0.2 a warning"""
        config = self.config("grep CapBnd /proc/self/status")
        for name in ("bounding", "effective", "permitted"):
            config["process"]["capabilities"][name] = ["CAP_KILL", "CAP_TEST"]
        done = self.run_container(config)
        self.assertEqual((done.code, done.out.split()), (0, ["CapBnd:", "0000000000000020"]), done)

    def test_a_namespace_of_another_type_is_refused(self):
        """linux_ns_path_type"""
        for kind, wrong in WRONG_TYPE.items():
            config = self.config("true")
            config["linux"]["namespaces"] = [n for n in config["linux"]["namespaces"] if n["type"] != kind] + [{"type": kind, "path": f"/proc/self/ns/{wrong}"}]
            self.assertNotEqual(self.create(config).code, 0, kind)

    def test_the_programs_directory_and_environment(self):
        """process"""
        os.makedirs(f"{self.rootfs}/test", 0o700)
        config = self.config("pwd; echo $testa $testb")
        config["process"]["cwd"] = "/test"
        config["process"]["env"] += ["testa=valuea", "testb=123"]
        self.assertEqual(self.output(config), "/test\nvaluea 123\n")


class FileSystemTest(RuntimeTest):
    def deep_files(self, name):
        """Paths to list, of which some lie below others."""
        os.makedirs(f"{self.rootfs}/{name}-dir/sub")
        files = [f"/{name}-file", f"/{name}-dir/file", f"/{name}-dir/sub/file"]
        for path in files:
            with open(self.rootfs + path, "w") as f:
                f.write("secrets")
        return [f"/{name}-dir", f"/{name}-file", f"/{name}-dir/sub", f"/{name}-dir/file", f"/{name}-dir/sub/file"]

    def test_masked_paths_below_one_another(self):
        """linux_masked_paths"""
        config = self.config("ls -A /m-dir; cat /m-file")
        config["linux"]["maskedPaths"] += self.deep_files("m")
        self.assertEqual(self.output(config), "")

    def test_masked_directories_are_covered_by_one_file_system(self):
        """runc's mask.bats, [directories share tmpfs]"""
        for name in ("one", "two", "three"):
            os.makedirs(f"{self.rootfs}/{name}")
        for readonly in (False, True):
            config = self.config("stat -c %d /one /two /three; ls -A /one; touch /two/x || true")
            config["linux"]["maskedPaths"] += ["/one", "/two", "/three"]
            config["root"]["readonly"] = readonly
            done = self.run_container(config)
            self.assertEqual((len(done.out.split()), len(set(done.out.split())), "Read-only file system" in done.err), (3, 1, True), done)

    def test_system_directories_are_no_links(self):
        """runc's mask.bats, [prohibit symlink /proc]"""
        os.rmdir(f"{self.rootfs}/proc")
        os.symlink("/elsewhere", f"{self.rootfs}/proc")
        self.assertIn("must be mounted on ordinary directory", self.create(self.config("true")).err)

    def test_read_only_paths_below_one_another(self):
        """linux_readonly_paths"""
        paths = self.deep_files("r")
        config = self.config("".join(f"(echo x > {path}{'/new' if path.endswith(('dir', 'sub')) else ''}) 2>/dev/null && echo {path}; " for path in paths) + "cat /r-dir/sub/file")
        config["linux"]["readonlyPaths"] += paths
        self.assertEqual(self.output(config), "secrets")

    def test_hidden_paths_are_absolute_and_no_circles(self):
        """linux_masked_paths, linux_readonly_paths"""
        with open(f"{self.rootfs}/relative", "w"):
            pass
        os.symlink("../circle", f"{self.rootfs}/circle")
        for member in ("maskedPaths", "readonlyPaths"):
            for path in ("relative", "/circle"):
                config = self.config("true")
                config["linux"][member].append(path)
                self.assertNotEqual(self.create(config).code, 0, (member, path))

    def test_nodes_are_hidden_and_protected(self):
        """linux_masked_paths, linux_readonly_paths"""
        for name, mode in NODES.items():
            os.mknod(f"{self.rootfs}/{name}", mode, os.makedev(7, 200) if name != "fifo" else 0)
        config = self.config("for i in block char fifo; do cat /$i | wc -c; done")
        config["linux"]["maskedPaths"] += [f"/{name}" for name in NODES]
        self.assertEqual(self.output(config).split(), ["0"] * 3)
        config = self.config("for i in block char fifo; do touch /$i 2>/dev/null || echo denied; done")
        config["linux"]["readonlyPaths"] += [f"/{name}" for name in NODES]
        self.assertEqual(self.output(config).split(), ["denied"] * 3)

    def test_every_mount_is_seen_with_its_type_and_source(self):
        """mounts, and what runtimetest looks at in every case"""
        config = self.config("cat /proc/self/mountinfo; for i in null zero full random urandom tty ptmx; do test -c /dev/$i || echo no $i; done; "
                             "for i in fd stdin stdout stderr; do echo link $(readlink /dev/$i); done")
        config["mounts"].append({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755", "size=1k"]})
        config["mounts"] = [m for m in config["mounts"] if m["type"] != "cgroup"]
        lines = self.output(config).splitlines()
        mounted = {line.split()[4]: tuple(line.split(" - ")[1].split()[:2]) for line in lines if " - " in line}
        for mount in config["mounts"]:
            self.assertEqual(mounted.get(mount["destination"]), (mount["type"], mount["source"]), mount)
        self.assertEqual([line for line in lines if " - " not in line], [f"link /proc/self/fd{end}" for end in ("", "/0", "/1", "/2")])


class LifecycleTest(RuntimeTest):
    def test_operations_without_an_id_or_a_container(self):
        """create, start, state, kill, delete"""
        self.write(self.config("true"))
        for words in (("create", "--bundle", self.bundle), ("start",), ("state",), ("kill",), ("delete",), ("create", "--bundle", self.bundle, "")):
            self.assertNotEqual(self.call(*words).code, 0, words)
        for words in (("start", "none"), ("state", "none"), ("kill", "none", "KILL"), ("delete", "none")):
            self.fails("does not exist", *words)

    def test_a_program_runs_once_and_only_when_started(self):
        """start"""
        config = self.config("echo called >> /tmp/output")
        output = f"{self.rootfs}/tmp/output"
        self.assertEqual(self.create(config).code, 0)
        self.assertFalse(os.path.exists(output))
        self.ok("start", "c1")
        self.wait_status("stopped")
        self.fails("stopped", "start", "c1")
        self.assertEqual(read_file(output), "called\n")

    def test_a_signal_to_a_stopped_container_changes_nothing(self):
        """kill_no_effect"""
        self.assertEqual(self.run_container(self.config("true"), "c1", "--detach").code, 0)
        self.wait_status("stopped")
        before = self.state()
        self.fails("container not running", "kill", "c1", "KILL")
        self.assertEqual(self.state(), before)

    def test_signals_reach_the_program(self):
        """killsig"""
        for name in ("TERM", "USR1", "USR2"):
            config = self.config(f"trap 'echo {name} > /tmp/{name}; exit' {name}; echo > /tmp/ready; while true; do sleep 0.01; done", name=name)
            self.assertEqual(self.run_container(config, name, "--detach").code, 0)
            wait_for(lambda: os.path.exists(f"{self.rootfs}/tmp/ready"), "ready")
            os.unlink(f"{self.rootfs}/tmp/ready")
            self.ok("kill", name, name)
            self.wait_status("stopped", name)
            self.assertEqual(read_file(f"{self.rootfs}/tmp/{name}"), name + "\n")

    def test_a_pid_file_names_the_process(self):
        """pidfile"""
        path = f"{self.dir}/pid"
        self.assertEqual(self.create(self.config("true"), "c1", "--pid-file", path).code, 0)
        self.assertEqual(int(read_file(path)), self.state()["pid"])

    def test_poststop_hooks_that_fail_do_not_stop_the_others(self):
        """poststop_fail"""
        config = self.config("true")
        config["hooks"] = {"poststop": [{"path": "/bin/false"}, {"path": "/bin/sh", "args": ["sh", "-c", f"echo called > {self.dir}/output"]}]}
        self.assertEqual(self.create(config).code, 0)
        self.ok("delete", "--force", "c1")
        self.assertEqual(read_file(f"{self.dir}/output"), "called\n")


class GroupsTest(RuntimeTest):
    def test_delete_removes_what_was_made_and_nothing_else(self):
        """delete_resources, delete_only_create_resources"""
        tree = next(t for t in hierarchies() if os.path.exists(f"{t}/cgroup.procs") and not t.endswith("cpuset"))
        os.makedirs(f"{tree}/{GROUP}/others", exist_ok=True)
        self.assertEqual(self.create(self.config("true")).code, 0)
        with open(f"{tree}/{GROUP}/others/cgroup.procs", "w") as f:
            f.write(str(self.state()["pid"]))
        self.assertNotEqual(groups_named(f"{GROUP}/c1"), [])
        self.ok("start", "c1")
        self.wait_status("stopped")
        self.ok("delete", "c1")
        self.assertEqual(groups_named(f"{GROUP}/c1"), [])
        self.assertTrue(os.path.isdir(f"{tree}/{GROUP}/others"))

    def test_relative_paths_are_below_the_same_place_each_time(self):
        """linux_cgroups_relative_*"""
        for name in ("c1", "c2"):
            config = self.config("sleep", "1000", name=name)
            config["linux"]["cgroupsPath"] = f"{GROUP}/relative/{name}"
            config["linux"]["resources"]["pids"] = {"limit": 77}
            self.start_sleeping(config, name)
        for name in ("c1", "c2"):
            group = groups_named(f"{GROUP}/relative/{name}")
            self.assertIn("77\n", [read_file(f"{path}/pids.max") for path in group if os.path.exists(f"{path}/pids.max")], group)


if __name__ == "__main__":
    main()
