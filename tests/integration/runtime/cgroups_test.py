#!/usr/bin/env python3
"""Control groups: where a container is, what limits it has, update, pause and resume, events, device rules; on what this machine has."""
from support import *

V2 = os.path.exists(f"{CGROUPS}/cgroup.controllers")


def controller(name):
    if not V2:
        return os.path.isdir(f"{CGROUPS}/{name}")
    with open(f"{CGROUPS}/cgroup.controllers") as f:
        return name in f.read().split()


def read(tree, file, name="c1"):
    path = f"{CGROUPS}/{GROUP}/{name}/{file}" if V2 else f"{CGROUPS}/{tree}/{GROUP}/{name}/{file}"
    with open(path) as f:
        return f.read().strip()


class Cgroups(RuntimeTest):
    def limited(self, resources, *args, **more):
        config = self.config(*(args or ("sleep", "1000")), **more)
        config["linux"]["resources"].update(resources)
        return config

    def test_limits_are_in_force_before_the_program_runs(self):
        if not controller("memory") or not controller("pids"):
            self.skipTest("needs the memory and pids controllers")
        self.start_sleeping(self.limited({"memory": {"limit": 64 << 20, "reservation": 32 << 20}, "pids": {"limit": 33},
                                          "cpu": {"shares": 512, "quota": 20000, "period": 100000}}))
        if V2:
            self.assertEqual([read("", f) for f in ("memory.max", "memory.low", "pids.max", "cpu.max", "cpu.weight")],
                             [str(64 << 20), str(32 << 20), "33", "20000 100000", "59"])
        else:
            self.assertEqual([read("memory", "memory.limit_in_bytes"), read("memory", "memory.soft_limit_in_bytes"), read("pids", "pids.max"),
                              read("cpu", "cpu.shares"), read("cpu", "cpu.cfs_quota_us"), read("cpu", "cpu.cfs_period_us")],
                             [str(64 << 20), str(32 << 20), "33", "512", "20000", "100000"])

    def test_hierarchies_are_entered_where_a_limit_needs_them(self):
        if V2 or not controller("cpuset") or not controller("blkio"):
            self.skipTest("needs control groups v1 with cpuset and blkio")
        pid = self.start_sleeping()
        with open(f"/proc/{pid}/cgroup") as f:
            self.assertNotIn("cpuset:/" + GROUP, f.read())
        pid = self.start_sleeping(self.limited({"cpu": {"cpus": "0"}}, name="c2"), "c2")
        self.assertEqual(read("cpuset", "cpuset.cpus", "c2"), "0")
        with open(f"/proc/{pid}/cgroup") as f:
            self.assertIn(f"cpuset:/{GROUP}/c2", f.read())
        self.ok("update", "--cpuset-cpus", "0", "c1")
        self.assertEqual(read("cpuset", "cpuset.cpus"), "0")
        self.assertIn(str(self.state()["pid"]), read("cpuset", "cgroup.procs").split())

    def test_what_the_kernel_refuses_is_named_and_nothing_is_left(self):
        for resources, text in (({"cpu": {"quota": 1, "period": 1000}}, "linux.resources.cpu.quota"), ({"memory": {"limit": "x"}}, "memory.limit is not a number"),
                                ({"cpu": {"cpus": "99999"}}, "cpu.cpus")):
            done = self.run_container(self.limited(resources, "true"))
            self.assertIn(text, done.err)
            self.assertEqual(groups_named(f"{GROUP}/c1"), [])

    def test_update_changes_what_is_said_and_keeps_the_rest(self):
        if not controller("memory") or not controller("pids"):
            self.skipTest("needs the memory and pids controllers")
        self.start_sleeping(self.limited({"memory": {"limit": 64 << 20}, "pids": {"limit": 33}}))
        self.ok("update", "--pids-limit", "44", "c1")
        with tempfile.TemporaryFile("w+") as resources:
            resources.write(json.dumps({"memory": {"limit": 32 << 20}, "cpu": {"shares": 300}}))
            resources.seek(0)
            self.ok("update", "--resources", "-", "c1", stdin=resources)
        with tempfile.TemporaryFile("w+") as resources:
            resources.write(json.dumps({"Memory": {"Reservation": 16 << 20}}))  # runc's update.bats: as Go takes names
            resources.seek(0)
            self.ok("update", "-r", "-", "c1", stdin=resources)
        files = (("memory", "memory.max" if V2 else "memory.limit_in_bytes"), ("pids", "pids.max"), ("memory", "memory.low" if V2 else "memory.soft_limit_in_bytes"))
        self.assertEqual([read(*f) for f in files], [str(32 << 20), "44", str(16 << 20)])
        self.fails("intelRdt", "update", "--l3-cache-schema", "x", "c1")
        for text, bytes_ in (("50M", 50 << 20), ("1g", 1 << 30), ("65536k", 64 << 20)):  # as docker's and runc's clients write them
            self.ok("update", "c1", "--memory", text)
            self.assertEqual(read(*files[0]), str(bytes_), text)
        self.fails("invalid size", "update", "--memory", "1X", "c1")

    def test_exec_enters_a_group_below_the_containers(self):
        """runc's exec.bats, --cgroup"""
        self.start_sleeping()
        for word, text in (("..", "bad sub cgroup path"), ("a/../..", "bad sub cgroup path"), ("none", "adding pid of the new process")):
            self.fails(text, "exec", "--cgroup", word, "c1", "true")
        self.assertIn("no such file or directory", self.fails("adding pid", "exec", "--cgroup", "none", "c1", "true").err)
        self.ok("exec", "--cgroup", "/", "c1", "true")
        if V2:
            os.mkdir(f"{CGROUPS}/{GROUP}/c1/sub")
            self.assertIn("/sub\n", self.ok("exec", "--cgroup", "sub", "c1", "cat", "/proc/self/cgroup"))
            return
        self.fails("unknown controller what", "exec", "--cgroup", "what:/", "c1", "true")
        self.fails("each names its controllers", "exec", "--cgroup", "memory:a", "--cgroup", "b", "c1", "true")
        for name in ("memory/submem", "cpu/subcpu"):
            tree, below = name.split("/")
            os.mkdir(f"{CGROUPS}/{tree}/{GROUP}/c1/{below}")
        out = self.ok("exec", "--cgroup", "memory:submem", "--cgroup", "cpu:subcpu", "c1", "cat", "/proc/self/cgroup")
        self.assertIn(":memory:/submem\n", out)
        self.assertRegex(out, r":cpu[a-z,]*:/subcpu\n")

    def test_processors_are_those_of_the_group_not_of_the_caller(self):
        """runc's cpu_affinity.bats: whoever is bound to one processor does not bind the container to it"""
        mine = sorted(os.sched_getaffinity(0))
        if len(mine) < 2:
            self.skipTest("needs two processors")
        one = ["taskset", "-c", str(mine[0])]
        show = ["grep", "Cpus_allowed_list:", "/proc/self/status"]
        everything = self.run_container(self.config(*show)).out
        self.assertEqual(self.run_container(self.config(*show), before=one).out, everything)
        self.start_sleeping()
        self.assertEqual(self.call("exec", "c1", *show, before=one).out, everything)
        self.ok("delete", "--force", "c1")
        if controller("cpuset"):
            config = self.config(*show)
            config["linux"]["resources"]["cpu"] = {"cpus": str(mine[1]), "mems": "0"}
            self.assertEqual(self.run_container(config, before=one).out.split(), ["Cpus_allowed_list:", str(mine[1])])
            config = self.config("sleep", "1000")
            config["process"]["execCPUAffinity"] = {"initial": str(mine[0]), "final": str(mine[1])}
            self.start_sleeping(config)
            self.assertEqual(self.ok("exec", "c1", *show).split()[1], str(mine[1]))

    def test_pause_and_resume(self):
        self.start_sleeping(self.config("while :; do echo x >> /tmp/log; usleep 1000; done"))
        size = lambda: os.path.getsize(f"{self.rootfs}/tmp/log") if os.path.exists(f"{self.rootfs}/tmp/log") else 0
        wait_for(size, "it works")
        self.ok("pause", "c1")
        self.assertEqual(self.status(), "paused")
        before = size()
        time.sleep(0.1)  # a frozen loop writes nothing for as long as one likes to look
        self.assertEqual(size(), before)
        self.fails("container not running", "pause", "c1")
        self.ok("resume", "c1")
        wait_for(lambda: size() > before, "it goes on")
        self.fails("not paused", "resume", "c1")
        self.ok("pause", "c1")
        self.ok("kill", "c1", "KILL")
        self.wait_status("stopped")
        self.ok("delete", "c1")

    def test_ps_and_events(self):
        pid = self.start_sleeping(self.config("sleep 1001 & exec sleep 1000"))
        wait_for(lambda: len(json.loads(self.ok("ps", "--format", "json", "c1"))) == 2, "two processes")
        self.assertIn(pid, json.loads(self.ok("ps", "--format", "json", "c1")))
        if subprocess.run(["which", "ps"], capture_output=True).returncode == 0:
            table = self.ok("ps", "c1").splitlines()
            self.assertEqual(len(table), 3, table)
            self.assertIn("PID", table[0])
        stats = json.loads(self.ok("events", "--stats", "c1"))
        self.assertEqual((stats["type"], stats["id"]), ("stats", "c1"))
        cpu, memory = stats["data"]["cpu"], stats["data"]["memory"]
        self.assertGreater(cpu["usage"]["total"], 0)
        self.assertGreater(cpu["usage"]["kernel"] + cpu["usage"]["user"], 0)
        if controller("memory"):
            self.assertGreaterEqual(memory["usage"]["max"], memory["usage"]["usage"])
        if os.path.exists("/proc/pressure/cpu") and (V2 or os.path.exists(f"{CGROUPS}/unified/{GROUP}/c1/cpu.pressure")):
            self.assertEqual(sorted(cpu["psi"]["some"]), ["avg10", "avg300", "avg60", "total"])
        if controller("pids"):
            self.assertEqual(stats["data"]["pids"]["current"], 2)
        self.fails("is not 1ms", "events", "--interval", "0s", "c1")
        with tempfile.TemporaryFile("w+") as out:
            events = subprocess.Popen([BINARY, "runtime", "--root", self.root, "events", "--interval", "20ms", "c1"], stdout=out)
            wait_for(lambda: os.fstat(out.fileno()).st_size > 2000, "statistics")
            self.ok("kill", "c1", "KILL")
            self.assertEqual(events.wait(60), 0)
        self.wait_status("stopped")
        self.assertEqual(self.ok("ps", "--format", "json", "c1"), "[]\n")  # of one that has stopped: nobody

    def test_an_out_of_memory_kill_is_an_event(self):
        if not controller("memory"):
            self.skipTest("needs the memory controller")
        config = self.limited({"memory": {"limit": 20 << 20}}, "while [ ! -e /tmp/go ]; do usleep 10000; done; (dd if=/dev/zero of=/dev/null bs=64M count=1); sleep 1000")
        self.start_sleeping(config)
        with open(f"{self.dir}/events", "w+") as out:
            events = subprocess.Popen([BINARY, "runtime", "--root", self.root, "events", "--interval", "1s", "c1"], stdout=out)
            def lines():
                with open(f"{self.dir}/events") as f:
                    return [json.loads(line) for line in f if line.endswith("\n")]
            wait_for(lines, "the first statistics")
            open(f"{self.rootfs}/tmp/go", "w").close()
            wait_for(lambda: any(line["type"] == "oom" for line in lines()), "an event of the kill")
            self.ok("kill", "c1", "KILL")
            self.assertEqual(events.wait(60), 0)

    def test_device_rules_are_enforced(self):
        config = self.config("mknod /dev/loopX b 7 0 && head -c 1 /dev/loopX; mknod /dev/z c 1 5 && head -c 1 /dev/z | wc -c")
        for name in ("bounding", "effective", "permitted"):
            config["process"]["capabilities"][name] = ["CAP_MKNOD", "CAP_DAC_OVERRIDE"]
        done = self.run_container(config)
        self.assertIn("Operation not permitted", done.err)
        self.assertEqual(done.out, "1\n")

    def test_device_rules_are_where_v1_shows_them(self):
        if V2 or not controller("devices"):
            self.skipTest("needs the devices controller of v1")
        config = self.limited({"devices": [{"allow": False, "access": "rwm"}, {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rw"}]})
        self.start_sleeping(config)
        rules = read("devices", "devices.list").split("\n")
        self.assertIn("c 10:229 rw", rules)
        self.assertIn("c 1:3 rwm", rules)
        self.assertNotIn("a *:* rwm", rules)

    def test_a_group_that_is_in_use_is_refused_and_left_alone(self):
        self.start_sleeping()
        config = self.config("true", name="c2")
        config["linux"]["cgroupsPath"] = f"/{GROUP}/c1"
        self.assertIn("container's cgroup is not empty: 1 process(es) found", self.create(config, "c2").err)
        self.assertEqual(self.status(), "running")

    def test_a_shared_parent_group_is_left_to_its_owner(self):
        self.start_sleeping()
        self.start_sleeping(self.config("sleep", "1000", name="c2"), "c2")
        self.ok("delete", "--force", "c1")
        self.assertEqual(groups_named(f"{GROUP}/c1"), [])
        self.assertEqual(self.status("c2"), "running")


class PureV2(RuntimeTest):
    """The v2 tree alone, as a private mount namespace can show it: no controllers where they are on v1, but all else of v2."""

    def setUp(self):
        if not V2 and not os.path.exists(f"{CGROUPS}/unified/cgroup.procs"):
            self.skipTest("needs a cgroup2 tree")
        super().setUp()

    def call(self, *words, **more):
        if V2:
            return super().call(*words, **more)
        with tempfile.TemporaryFile("w+") as out:
            script = 'mount --bind /sys/fs/cgroup/unified /mnt && umount -l /sys/fs/cgroup && mount --move /mnt /sys/fs/cgroup && exec "$@"'
            done = subprocess.run(["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", BINARY, "runtime", "--root", self.root, *words],
                                  stdin=subprocess.DEVNULL, stdout=out, stderr=out, timeout=60)
            out.seek(0)
            text = out.read()
        from support import Result
        return Result(done.returncode, text, text)

    def test_the_life_of_a_container(self):
        pid = self.start_sleeping(self.config("echo; exec sleep 1000"))
        with open(f"/proc/{pid}/cgroup") as f:
            self.assertIn(f"0::/{GROUP}/c1\n", f.read())
        self.assertIn("uid=0", self.ok("exec", "c1", "id"))
        self.assertIn(str(pid), self.ok("ps", "-f", "json", "c1"))
        self.ok("pause", "c1")
        self.assertEqual(self.status(), "paused")
        self.ok("resume", "c1")
        self.assertGreater(json.loads(self.ok("events", "--stats", "c1"))["data"]["cpu"]["usage"]["total"], 0)
        self.ok("delete", "--force", "c1")

    def test_unified_files_and_what_v2_lacks(self):
        config = self.config("sleep", "1000")
        config["linux"]["resources"]["unified"] = {"cgroup.max.descendants": "7"}
        self.start_sleeping(config)
        tree = CGROUPS if V2 else f"{CGROUPS}/unified"
        with open(f"{tree}/{GROUP}/c1/cgroup.max.descendants") as f:
            self.assertEqual(f.read(), "7\n")
        config = self.config("true", name="c2")
        config["linux"]["resources"]["network"] = {"classID": 5}
        self.assertIn("network.classID is not in control groups v2", self.run_container(config, "c2").err)


if __name__ == "__main__":
    main()
