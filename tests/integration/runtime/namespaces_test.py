#!/usr/bin/env python3
"""Namespaces new and by path, user namespaces and id maps, mounts and their options, devices, hidden paths, sysctls."""
from support import *

CLOCKS = "monotonic boottime".split()


def inside(pid, name):
    return os.readlink(f"/proc/{pid}/ns/{name}")


class Namespaces(RuntimeTest):
    def test_each_is_new_shared_or_joined(self):
        config = self.config("sleep", "1000")
        config["linux"]["namespaces"].append({"type": "time"})
        pid = self.start_sleeping(config)
        for name in "cgroup ipc mnt net pid uts time".split():
            self.assertNotEqual(inside(pid, name), os.readlink(f"/proc/self/ns/{name}"), name)
        self.assertEqual(inside(pid, "user"), os.readlink("/proc/self/ns/user"))
        joined = self.config("sleep", "1000", name="c2")
        joined["linux"]["namespaces"] = [{"type": t, "path": f"/proc/{pid}/ns/{n}"} for t, n in
                                         (("pid", "pid"), ("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("cgroup", "cgroup"), ("time", "time"))]
        joined["linux"]["namespaces"].append({"type": "mount"})
        del joined["hostname"]
        other = self.start_sleeping(joined, "c2")
        for name in "cgroup ipc net pid uts time".split():
            self.assertEqual(inside(other, name), inside(pid, name), name)
        shared = self.config("sleep", "1000", name="c3")
        shared["linux"]["namespaces"] = [{"type": "mount"}, {"type": "pid"}]
        del shared["hostname"]
        third = self.start_sleeping(shared, "c3")
        for name in "ipc net uts cgroup user time".split():
            self.assertEqual(inside(third, name), os.readlink(f"/proc/self/ns/{name}"), name)

    def test_wrong_paths_and_shapes_are_refused(self):
        for namespaces, text in (([{"type": "mount"}, {"type": "network", "path": "/proc/self/none"}], "no such file"),
                                 ([{"type": "mount"}, {"type": "network", "path": "/etc/passwd"}], "is not a namespace"),
                                 ([{"type": "mount"}, {"type": "network", "path": "/proc/self/ns/ipc"}], "join namespace"),
                                 ([{"type": "mount"}, {"type": "mount"}], "stands twice"), ([], "mount namespace")):
            config = self.config("true")
            del config["hostname"]
            config["linux"]["namespaces"] = namespaces
            self.assertIn(text, self.run_container(config).err)
        config = self.config("true")
        config["linux"]["namespaces"] = [{"type": "mount"}]
        self.assertIn("hostname needs a uts namespace", self.run_container(config).err)

    def test_clocks_are_shifted(self):
        config = self.config("cat", "/proc/uptime")
        config["linux"]["namespaces"].append({"type": "time"})
        config["linux"]["timeOffsets"] = {"monotonic": {"secs": 5}, "boottime": {"secs": 1_000_000}}
        self.assertGreater(float(self.output(config).split()[0]), 1_000_000)

    def test_names_of_host_and_domain(self):
        config = self.config("hostname; cat /proc/sys/kernel/domainname")
        config["hostname"], config["domainname"] = "box", "example.org"
        self.assertEqual(self.output(config), "box\nexample.org\n")

    def test_sysctls_of_own_namespaces(self):
        config = self.config("cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shmmni")
        config["linux"]["sysctl"] = {"net.ipv4.ip_forward": "1", "kernel.shmmni": "77"}
        self.assertEqual(self.output(config).split(), ["1", "77"])
        for name, value in (("kernel.core_pattern", "x"), ("vm.swappiness", "1"), ("net.ipv4.ip_forward", "1\n2"), ("net../../x", "1")):
            config["linux"]["sysctl"] = {name: value}
            self.assertIn("sysctl", self.run_container(config).err)

    def test_network_devices_move_in(self):
        if subprocess.run(["which", "ip"], capture_output=True).returncode != 0:
            self.skipTest("needs iproute2")
        config = self.config("ip -o link show net0; ip -o link show lo")
        config["linux"]["netDevices"] = {"mpdummy0": {"name": "net0"}}
        self.write(config)
        # In a network namespace of the test's own, where the device is made.
        script = f"ip link add mpdummy0 type veth peer name mpdummy1 && {BINARY} runtime --root {self.root} run --bundle {self.bundle} c1"
        done = subprocess.run(["unshare", "--net", "sh", "-c", script], capture_output=True, text=True, timeout=60)
        if "Operation not supported" in done.stderr or "Unknown device type" in done.stderr:
            self.skipTest("needs veth network devices")
        self.assertEqual(done.returncode, 0, done)
        self.assertIn("net0", done.stdout)
        self.assertIn("LOOPBACK,UP", done.stdout)


class UserNamespaces(RuntimeTest):
    MAPS = [{"containerID": 0, "hostID": 100000, "size": 65536}]

    def user_config(self, *args, **more):
        config = self.config(*args, **more)
        config["linux"]["namespaces"].append({"type": "user"})
        config["linux"]["uidMappings"] = config["linux"]["gidMappings"] = self.MAPS
        for path, dirs, files in os.walk(self.rootfs):
            for name in (path, *(f"{path}/{n}" for n in files)):
                os.lchown(name, 100000, 100000)
        return config

    def test_root_inside_is_nobody_outside(self):
        config = self.user_config("cat /proc/self/uid_map; id -u; touch /tmp/mine; ls -ln /dev/null /tmp/mine; exec sleep 1000")
        with open(f"{self.dir}/out", "w+") as out:
            self.write(config)
            done = subprocess.run([BINARY, "runtime", "--root", self.root, "run", "-d", "--bundle", self.bundle, "c1"], stdout=out, stderr=out, stdin=subprocess.DEVNULL)
        def said():
            with open(f"{self.dir}/out") as f:
                return f.read()
        self.assertEqual(done.returncode, 0, said())
        wait_for(lambda: "/tmp/mine" in said(), "the program ran")
        self.assertEqual(said().split()[:4], ["0", "100000", "65536", "0"])
        pid = self.state()["pid"]
        self.assertEqual(os.stat(f"/proc/{pid}").st_uid, 100000)
        self.assertEqual(os.stat(f"{self.rootfs}/tmp/mine").st_uid, 100000)
        out = self.ok("exec", "c1", "sh", "-c", "id -u; cat /proc/self/uid_map; readlink /proc/self/ns/user; echo x >/dev/null && grep CapEff /proc/self/status")
        self.assertEqual(out.split()[:5], ["0", "0", "100000", "65536", inside(pid, "user")])

    def test_the_bundles_folder_may_be_closed_to_the_mapped_root(self):
        os.chmod(self.dir, 0o700)
        source = f"{self.dir}/source"
        os.makedirs(f"{source}/sub")
        config = self.user_config("ls /data; id -u; touch /tmp/x && echo made")
        config["mounts"].append({"destination": "/data", "type": "bind", "source": source, "options": ["bind"]})
        self.assertEqual(self.output(config).split(), ["sub", "0", "made"])

    def test_maps_are_needed_and_checked(self):
        config = self.user_config("true")
        del config["linux"]["gidMappings"]
        self.assertIn("needs both", self.run_container(config).err)

    def test_another_containers_user_namespace_is_joined(self):
        pid = self.start_sleeping(self.user_config("sleep", "1000"))
        os.chmod(self.dir, 0o700)  # closed to who is root in there
        config = self.user_config("readlink /proc/self/ns/user; id -u; ls -d /data", name="c2")
        config["mounts"].append({"destination": "/data", "type": "bind", "source": self.dir, "options": ["bind"]})
        config["linux"]["namespaces"] = [n for n in config["linux"]["namespaces"] if n["type"] != "user"] + [{"type": "user", "path": f"/proc/{pid}/ns/user"}]
        done = self.run_container(config, "c2")
        self.assertEqual((done.code, done.out.split()), (0, [inside(pid, "user"), "0", "/data"]), done)

    def test_namespaces_of_others_are_joined(self):
        """runc's userns.bats: a network that does not belong to the user namespace, new or joined"""
        network = f"{self.dir}/net"
        open(network, "w").close()
        subprocess.run(["unshare", "-n", "mount", "--bind", "/proc/self/ns/net", network], check=True)
        wanted = f"net:[{os.stat(network).st_ino}]"
        def config_of(name, user):
            config = self.user_config("sleep", "1000", name=name)
            config["linux"]["namespaces"] = [n for n in config["linux"]["namespaces"] if n["type"] not in ("user", "network")] + [{"type": "network", "path": network}, user]
            config["mounts"] = [{"destination": "/sys", "type": "bind", "source": "/sys", "options": ["rbind"]} if m["type"] == "sysfs" else m for m in config["mounts"]]
            return config
        try:
            pid = self.start_sleeping(config_of("c1", {"type": "user"}))
            self.start_sleeping(config_of("c2", {"type": "user", "path": f"/proc/{pid}/ns/user"}), "c2")
        finally:
            subprocess.run(["umount", "-l", network], check=True)
        for name in ("c1", "c2"):
            out = self.ok("exec", name, "sh", "-c", "for i in self/ns/user self/ns/net 1/ns/net; do readlink /proc/$i; done")
            self.assertEqual(out.split(), [inside(pid, "user"), wanted, wanted])

    def test_mounts_are_mapped(self):
        source = f"{self.dir}/source"
        os.makedirs(f"{source}/sub")
        os.chown(f"{source}/sub", 5, 6)
        config = self.config("stat", "-c", "%u %g", "/data/sub")
        config["mounts"].append({"destination": "/data", "type": "bind", "source": source, "options": ["rbind", "idmap"],
                                 "uidMappings": [{"containerID": 5, "hostID": 4005, "size": 1}], "gidMappings": [{"containerID": 6, "hostID": 4006, "size": 1}]})
        done = self.run_container(config)
        if "nvalid argument" in done.err:
            self.skipTest("needs a file system with id-mapped mounts below the temporary folder")
        self.assertEqual(done.out, "4005 4006\n", done)
        # By the container's own maps: what belongs to 0 on disk belongs to 0 inside.
        config = self.user_config("stat", "-c", "%u %g", "/data")
        config["mounts"].append({"destination": "/data", "type": "bind", "source": source, "options": ["bind", "idmap"]})
        self.assertEqual(self.output(config), "0 0\n")

    def test_a_user_namespace_without_root(self):
        """runc's userns.bats: nobody in it is 0"""
        config = self.config("id -u; id -g; cat /proc/self/uid_map")
        config["linux"]["namespaces"].append({"type": "user"})
        for kind, number in (("uid", 100000), ("gid", 200000)):
            config["linux"][f"{kind}Mappings"] = [{"containerID": 1000, "hostID": number, "size": 1}]
        config["process"]["user"] = {"uid": 1000, "gid": 1000}
        for mount in config["mounts"]:
            mount["options"] = [o for o in mount.get("options", []) if o != "gid=5"]
        subprocess.run(["chown", "-R", "100000:200000", self.rootfs], check=True)
        self.assertEqual(self.output(config).split(), ["1000", "1000", "1000", "100000", "1"])
        config["process"]["args"] = ["sleep", "1000"]
        self.start_sleeping(config)
        self.assertEqual(self.ok("exec", "c1", "sh", "-c", "id -u; id -g; grep CapEff /proc/self/status").split(), ["1000", "1000", "CapEff:", "0" * 16])

    def test_rootless_as_an_ordinary_user(self):
        self.ok("spec", "--rootless", "--bundle", self.dir)
        with open(f"{self.dir}/config.json") as f:
            config = json.load(f)
        config["process"].update({"terminal": False, "args": ["sh", "-c", "id -u; cat /proc/self/uid_map; exit 4"]})
        config["linux"]["uidMappings"] = [{"containerID": 0, "hostID": 65534, "size": 1}]
        config["linux"]["gidMappings"] = [{"containerID": 0, "hostID": 65534, "size": 1}]
        self.write(config)
        subprocess.run(["chown", "-R", "65534:65534", self.bundle], check=True)
        root = f"{self.bundle}/state"
        done = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", BINARY, "runtime", "--root", root, "run", "--bundle", self.bundle, "c1"],
                              capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)
        if "ermission denied" in done.stderr and not os.access(BINARY, os.X_OK):
            self.skipTest("the binary's folder is closed to others")
        self.assertEqual((done.returncode, done.stdout.split()), (4, ["0", "0", "65534", "1"]), done.stderr)
        self.assertEqual(os.listdir(root), [])


class Mounts(RuntimeTest):
    def mountinfo(self, config, *points):
        config["process"]["args"] = ["cat", "/proc/self/mountinfo"]
        out = {}
        for line in self.output(config).splitlines():
            fields = line.split()
            dash = fields.index("-")
            if fields[4] in points:
                out[fields[4]] = (set(fields[5].split(",")), fields[6:dash], fields[dash + 1], set(fields[dash + 3].split(",")))
        return out

    def test_options_reach_the_kernel(self):
        source = f"{self.dir}/source"
        os.makedirs(source)
        config = self.config("x")
        config["mounts"] += [{"destination": "/a", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "nodev", "noexec", "ro", "noatime", "size=64k", "mode=700"]},
                             {"destination": "/b", "type": "bind", "source": source, "options": ["bind", "ro", "nosymfollow", "nodiratime"]},
                             {"destination": "/c", "type": "tmpfs", "source": "x", "options": ["strictatime", "sync", "rw", "nr_inodes=10"]},
                             {"destination": "/d", "type": "bind", "source": source, "options": ["rbind", "rslave"]},
                             {"destination": "/d", "type": "none", "options": ["remount", "noexec", "ro"]},
                             {"destination": "relative", "type": "tmpfs", "source": "x"},
                             {"destination": "/e", "type": "bind", "source": source, "options": ["rbind", "rro", "rnosuid"]}]
        found = self.mountinfo(config, "/a", "/b", "/c", "/d", "/relative", "/e")
        self.assertLessEqual({"nosuid", "nodev", "noexec", "ro", "noatime"}, found["/a"][0])
        self.assertLessEqual({"size=64k", "mode=700"}, found["/a"][3])
        self.assertLessEqual({"ro", "nosymfollow", "nodiratime"}, found["/b"][0])
        self.assertNotIn("relatime", found["/c"][0])
        self.assertIn("sync", found["/c"][3])
        self.assertLessEqual({"ro", "noexec"}, found["/d"][0])
        self.assertLessEqual({"ro", "nosuid"}, found["/e"][0])
        self.assertEqual(found["/relative"][2], "tmpfs")

    def test_propagation_of_root_and_mounts(self):
        shared = f"{self.dir}/shared"
        os.makedirs(shared)
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", shared], check=True)
        try:
            subprocess.run(["mount", "--make-shared", shared], check=True)
            config = self.config("x")
            for name, options in (("/s", ["bind", "shared"]), ("/v", ["bind", "slave"]), ("/p", ["bind"]), ("/u", ["bind", "unbindable"])):
                config["mounts"].append({"destination": name, "type": "bind", "source": shared, "options": options})
            found = self.mountinfo(config, "/s", "/v", "/p", "/u")
            self.assertTrue(found["/s"][1][0].startswith("shared:"), found)
            self.assertTrue(found["/v"][1][0].startswith("master:"), found)
            self.assertEqual((found["/p"][1], found["/u"][1]), ([], ["unbindable"]))
            for word, tag in (("shared", "shared:"), ("unbindable", "unbindable"), ("private", ""), ("slave", "")):
                config = self.config("x")
                config["linux"]["rootfsPropagation"] = word
                tags = self.mountinfo(config, "/")["/"][1]
                self.assertTrue(tags[0].startswith(tag) if tag else tags == [] or tags[0].startswith("master"), (word, tags))
        finally:
            subprocess.run(["umount", shared], check=True)

    def test_a_tmpfs_copies_up_what_it_covers(self):
        os.makedirs(f"{self.rootfs}/data/deep")
        with open(f"{self.rootfs}/data/deep/file", "w") as f:
            f.write("content")
        os.symlink("deep/file", f"{self.rootfs}/data/link")
        os.chmod(f"{self.rootfs}/data", 0o751)
        os.chown(f"{self.rootfs}/data/deep/file", 7, 8)
        config = self.config("cat /data/link; stat -c ' %a' /data; stat -c %u:%g /data/deep/file; rm /data/link; echo new > /data/new")
        config["mounts"].append({"destination": "/data", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup"]})
        self.assertEqual(self.output(config), "content 751\n7:8\n")
        with open(f"{self.rootfs}/data/deep/file") as f:
            self.assertEqual(f.read(), "content")
        self.assertEqual(sorted(os.listdir(f"{self.rootfs}/data")), ["deep", "link"])

    def test_read_only_root_and_hidden_paths(self):
        config = self.config("touch /tmp/x 2>&1; cat /proc/kcore | wc -c; ls /sys/firmware | wc -l; echo 1 2>/dev/null > /proc/sys/kernel/panic || echo denied")
        config["root"]["readonly"] = True
        out = self.output(config)
        self.assertIn("Read-only file system", out)
        self.assertEqual(out.splitlines()[1:], ["0", "0", "denied"])

    def test_devices_are_made_and_others_refused(self):
        config = self.config("stat -c '%n %t:%T %a %u %g' /dev/mine /dev/sub/b /other/fifo; echo x > /dev/null; cat /dev/mine | head -c 1 | wc -c; head -c1 /dev/zero | wc -c")
        config["linux"]["devices"] = [{"path": "/dev/mine", "type": "c", "major": 1, "minor": 5, "fileMode": 0o644, "uid": 3, "gid": 4},
                                      {"path": "/dev/sub/b", "type": "b", "major": 7, "minor": 99}, {"path": "/other/fifo", "type": "p"}]
        out = self.output(config).splitlines()
        self.assertEqual(out, ["/dev/mine 1:5 644 3 4", "/dev/sub/b 7:63 666 0 0", "/other/fifo 0:0 666 0 0", "1", "1"])

    def test_without_a_dev_mount_the_roots_own_is_filled(self):
        config = self.config("stat -c %t:%T /dev/null /dev/tty; readlink /dev/fd")
        config["mounts"] = [m for m in config["mounts"] if not m["destination"].startswith("/dev")]
        for _ in range(2):
            self.assertEqual(self.output(config).split(), ["1:3", "5:0", "/proc/self/fd"])

    def test_chroot_instead_of_pivot(self):
        config = self.config("ls / | head -3; cat /proc/1/comm")
        done = self.run_container(config, "c1", "--no-pivot")
        self.assertEqual((done.code, done.out.split()[0]), (0, "bin"), done)


if __name__ == "__main__":
    main()
