#!/usr/bin/env python3
"""Rows of the threat model (hardening of container starts) as far as bundles reach them; those of the node's containers are in tests/security."""
import hashlib

from support import *


def digest(path):
    with open(path, "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()


class Security(RuntimeTest):
    def test_c01_the_executable_cannot_be_written_from_inside(self):
        before = digest(BINARY)
        # The entry point names the first stage's own executable; the mount that it ran from is read-only and gone.
        with open(f"{self.rootfs}/bin/evil", "w") as f:
            f.write("#!/proc/self/exe\n")
        os.chmod(f"{self.rootfs}/bin/evil", 0o755)
        config = self.config("/bin/evil")
        for name in ("bounding", "effective", "permitted"):
            config["process"]["capabilities"][name] = ["CAP_DAC_OVERRIDE", "CAP_SYS_PTRACE", "CAP_SYS_ADMIN", "CAP_FOWNER"]
        self.run_container(config)
        self.assertEqual(digest(BINARY), before)
        # A container that watches for an exec to join and opens its executable for writing, as fast as it can.
        config["process"]["args"] = ["sh", "-c", "while :; do for p in /proc/[0-9]*; do [ $p = /proc/1 ] || (echo bad >> $p/exe) 2>/dev/null && echo $p >> /won; done; done"]
        self.start_sleeping(config)
        for _ in range(200 if os.environ.get("MONOPOD_LONG") else 6):
            self.ok("exec", "c1", "true")
        self.assertEqual(digest(BINARY), before)

    def test_c02_no_directory_of_the_host_is_a_working_directory(self):
        self.start_sleeping()
        for fd in range(0, 24, 1 if os.environ.get("MONOPOD_LONG") else 4):
            for tail in ("", "/../.."):
                cwd = f"/proc/self/fd/{fd}{tail}"
                self.assertNotEqual(self.call("exec", "--cwd", cwd, "c1", "pwd").code, 0, cwd)
            config = self.config("pwd", name="c2")
            config["process"]["cwd"] = f"/proc/self/fd/{fd}"
            self.assertNotEqual(self.run_container(config, "c2").code, 0, fd)
        self.assertEqual(self.ok("exec", "c1", "ls", "/proc/self/fd").split(), ["0", "1", "2", "3"])

    def test_c04_planted_system_paths_lead_nowhere(self):
        os.rmdir(f"{self.rootfs}/proc")
        os.symlink("/tmp", f"{self.rootfs}/proc")
        self.assertIn("symbolic link", self.run_container(self.config("true")).err)
        os.remove(f"{self.rootfs}/proc")
        os.makedirs(f"{self.rootfs}/proc")
        config = self.config("true")
        config["mounts"] = [m for m in config["mounts"] if not m["destination"].startswith("/dev")]
        with open(f"{self.rootfs}/dev/null", "w") as f:
            f.write("planted")
        self.assertIn("is not the device that it should be", self.run_container(config).err)

    def test_c05_settings_are_written_to_the_kernel_and_nowhere_else(self):
        # What lies over /proc/sys may be a volume that somebody else fills: a file there takes no word meant for the kernel.
        volume = f"{self.dir}/volume"
        os.makedirs(f"{volume}/net/ipv4")
        with open(f"{volume}/net/ipv4/ip_forward", "w") as f:
            f.write("of the volume")
        config = self.config("cat", "/proc/sys/net/ipv4/ip_forward", "/second/sys/net/ipv4/ip_forward")
        config["linux"]["sysctl"] = {"net.ipv4.ip_forward": "1"}
        config["linux"]["readonlyPaths"] = []
        config["mounts"] += [{"destination": "/proc/sys", "type": "bind", "source": volume, "options": ["rbind"]}, {"destination": "/second", "type": "proc", "source": "proc"}]
        self.assertEqual(self.output(config), "of the volume1\n")
        # All of /proc covered by a directory of files: refused, or what it says of the kernel is not believed.
        config["mounts"] = [m for m in config["mounts"] if not m["destination"].startswith("/proc")] + [{"destination": "/proc", "type": "bind", "source": volume, "options": ["rbind"]}]
        done = self.run_container(config)
        self.assertTrue(done.code != 0 or done.out.endswith("1\n"), done)
        self.assertEqual(read_file(f"{volume}/net/ipv4/ip_forward"), "of the volume")

    def test_c06_nothing_is_made_outside_of_the_root(self):
        outside = f"{self.dir}/outside"
        os.makedirs(outside)
        os.symlink(outside, f"{self.rootfs}/escape")
        os.symlink("../../../../../../.." + outside, f"{self.rootfs}/climb")
        for name in ("escape", "climb"):
            config = self.config("true")
            config["mounts"].append({"destination": f"/{name}/new/dir", "type": "tmpfs", "source": "x"})
            config["linux"]["devices"] = [{"path": f"/{name}/device", "type": "c", "major": 1, "minor": 3}]
            self.run_container(config)
            self.assertEqual(os.listdir(outside), [])

    def test_c07_maps_of_any_length_are_checked(self):
        config = self.config("true")
        config["linux"]["namespaces"].append({"type": "user"})
        config["linux"]["uidMappings"] = [{"containerID": i, "hostID": 100000 + i, "size": 1} for i in range(341)]
        config["linux"]["gidMappings"] = config["linux"]["uidMappings"]
        self.assertIn("more than 340 lines", self.run_container(config).err)
        config["linux"]["uidMappings"] = config["linux"]["gidMappings"] = config["linux"]["uidMappings"][:340]
        done = self.run_container(config)
        self.assertNotIn("uidMappings", done.err)
        config["linux"]["uidMappings"] = [{"containerID": 0, "hostID": 0, "size": 4294967296}]
        self.assertIn("size is not a number in range", self.run_container(config).err)

    def test_c08_exec_gives_no_inheritable_capabilities(self):
        self.start_sleeping()
        for options in ((), ("--cap", "CAP_NET_ADMIN"), ("--cap", "CAP_NET_ADMIN", "--user", "1000")):
            self.assertEqual(self.ok("exec", *options, "c1", "grep", "CapInh", "/proc/self/status"), "CapInh:\t0000000000000000\n")
        config = self.config("grep", "Cap", "/proc/self/status", name="c2")
        del config["process"]["capabilities"]
        done = self.run_container(config, "c2")
        self.assertEqual(set(line.split()[1] for line in done.out.splitlines()), {"0000000000000000"}, done)

    def test_c09_control_groups_are_read_only_and_ones_own(self):
        config = self.config("for f in /sys/fs/cgroup/*/cgroup.procs /sys/fs/cgroup/*/release_agent /sys/fs/cgroup/cgroup.procs; do echo 1 2>/dev/null > $f && echo $f; done; true")
        for name in ("bounding", "effective", "permitted"):
            config["process"]["capabilities"][name] = ["CAP_DAC_OVERRIDE"]
        self.assertEqual(self.output(config), "")

    def test_c11_ids_never_wrap(self):
        for uid in (-1, 4294967296, 2147483648, "0", 0.5):
            config = self.config("id")
            config["process"]["user"]["uid"] = uid
            self.assertNotEqual(self.run_container(config).code, 0, uid)
        for gids in ([-1], [4294967296], [2147483648]):
            config = self.config("id")
            config["process"]["user"]["additionalGids"] = gids
            self.assertNotEqual(self.run_container(config).code, 0, gids)

    def test_c12_filters_fail_closed(self):
        for seccomp in ({}, {"defaultAction": "SCMP_ACT_MAYBE"}, {"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_MOON"]},
                        {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["moonwalk"], "action": "SCMP_ACT_ERRNO"}]},
                        {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["kill"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}]}]},
                        {"defaultAction": "SCMP_ACT_NOTIFY"}):
            config = self.config("true")
            config["linux"]["seccomp"] = seccomp
            done = self.run_container(config)
            self.assertNotEqual(done.code, 0, seccomp)

    def test_c13_a_console_socket_whose_peer_closes(self):
        import socket
        path = f"{self.dir}/console.sock"
        config = self.config("true")
        config["process"]["terminal"] = True
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(path)
            self.assertIn("connect to", self.create(config, "c1", "--console-socket", path).err)
            self.fails("does not exist", "state", "c1")
            listener.listen(1)
            self.create(config, "c1", "--console-socket", path)
            listener.accept()[0].close()
            self.ok("delete", "--force", "c1")

    def test_c14_nothing_is_made_of_a_checkpoint(self):
        self.start_sleeping()
        for words in (("checkpoint", "--image-path", f"{self.dir}/image", "c1"), ("restore", "--image-path", f"{self.dir}/image", "--bundle", self.bundle, "c2")):
            done = self.call(*words)
            self.assertNotEqual(done.code, 0)
            self.assertIn("checkpoint" if words[0] == "checkpoint" else "restore", done.err)
        self.assertFalse(os.path.exists(f"{self.dir}/image"))
        self.fails("does not exist", "state", "c2")

    def test_c15_an_exec_whose_caller_is_gone_leaves_nothing(self):
        self.start_sleeping()
        for _ in range(5):
            process = subprocess.Popen([BINARY, "runtime", "--root", self.root, "exec", "c1", "yes"], stdout=subprocess.PIPE)
            process.stdout.read(1000)
            process.kill()
            process.wait()
            process.stdout.close()
        wait_for(lambda: len(json.loads(self.ok("ps", "-f", "json", "c1"))) == 1, "the pipe's end ends them")

    def test_c17_no_socket_is_abstract(self):
        self.assertEqual(self.create(self.config("sleep", "1000")).code, 0)
        pid = self.state()["pid"]
        with open(f"/proc/{pid}/net/unix") as f:
            self.assertNotIn("@", f.read())
        self.assertEqual(os.lstat(f"{self.root}/c1/start.sock").st_mode & 0o777, 0o600)


if __name__ == "__main__":
    main()
