#!/usr/bin/env python3
"""What the program finds: its user, limits, capabilities, filter, directory; and exec, with the same."""
import socket
import struct

from support import *

NATIVE = {"x86_64": "SCMP_ARCH_X86_64", "aarch64": "SCMP_ARCH_AARCH64"}[os.uname().machine]


class Process(RuntimeTest):
    def status_lines(self, *keys):
        return self.config("grep", "-E", "^(" + "|".join(keys) + "):", "/proc/self/status")

    def test_user_groups_umask_and_directory(self):
        config = self.config("id -u; id -g; id -G; umask; pwd; echo $HOME")
        config["process"]["user"] = {"uid": 1000, "gid": 1001, "additionalGids": [7, 8], "umask": 0o27}
        config["process"]["cwd"] = "/app/dir"
        self.assertEqual(self.output(config).split("\n"), ["1000", "1001", "1001 7 8", "0027", "/app/dir", "/home/user", ""])

    def test_every_capability_set_is_as_asked(self):
        config = self.status_lines("Cap...")
        config["process"]["capabilities"] = {"bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW"], "permitted": ["CAP_CHOWN", "CAP_KILL"],
                                             "effective": ["CAP_CHOWN", "CAP_KILL"], "inheritable": ["CAP_KILL"], "ambient": ["CAP_KILL"]}
        config["process"]["user"] = {"uid": 1000, "gid": 1000}
        sets = dict(line.split(":\t") for line in self.output(config).splitlines())
        self.assertEqual({k: int(v, 16) for k, v in sets.items()},
                         {"CapInh": 1 << 5, "CapPrm": 1 << 5, "CapEff": 1 << 5, "CapBnd": 1 << 0 | 1 << 5 | 1 << 13, "CapAmb": 1 << 5})
        config["process"]["capabilities"] = {"bounding": ["CAP_FROM_THE_FUTURE", "CAP_CHOWN"]}
        self.assertIn("CapBnd:\t0000000000000001", self.output(config))
        config["process"]["capabilities"] = {"bounding": ["TEST_CAP"]}
        self.assertIn("TEST_CAP", self.run_container(config).err)

    def test_limits_and_no_new_privileges(self):
        config = self.config("ulimit -n; ulimit -Hn; grep NoNewPrivs /proc/self/status; cat /proc/self/oom_score_adj")
        config["process"]["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 77, "hard": 99}]
        config["process"]["oomScoreAdj"] = 321
        self.assertEqual(self.output(config).split(), ["77", "99", "NoNewPrivs:", "1", "321"])
        config["process"]["noNewPrivileges"] = False
        self.assertIn("NoNewPrivs:\t0", self.output(config))
        config["process"]["rlimits"] *= 2
        self.assertIn("RLIMIT_NOFILE stands twice", self.run_container(config).err)

    def test_personality_scheduler_and_io_priority(self):
        config = self.config("uname -m; cat /proc/self/personality; awk '{print $19, $41}' /proc/self/stat")
        config["linux"]["personality"] = {"domain": "LINUX32"}
        config["process"]["scheduler"] = {"policy": "SCHED_BATCH", "nice": 7}
        config["process"]["ioPriority"] = {"class": "IOPRIO_CLASS_IDLE", "priority": 0}
        config["linux"]["memoryPolicy"] = {"mode": "MPOL_BIND", "nodes": "0"}
        out = self.output(config).split()
        self.assertEqual(out[1:], ["00000008", "7", "3"])
        config["process"]["scheduler"] = {"policy": "SCHED_NEW"}
        self.assertIn("process.scheduler.policy", self.run_container(config).err)

    def test_exec_runs_as_the_configuration_says(self):
        """runc's scheduler.bats and ioprio.bats"""
        config = self.config("sleep", "1000")
        config["process"]["scheduler"] = {"policy": "SCHED_BATCH", "nice": 19}
        config["process"]["ioPriority"] = {"class": "IOPRIO_CLASS_BE", "priority": 4}
        self.start_sleeping(config)
        pid_file = f"{self.dir}/exec.pid"
        self.ok("exec", "--detach", "--pid-file", pid_file, "c1", "sleep", "1000")
        pid = read_file(pid_file)
        fields = read_file(f"/proc/{pid}/stat").rsplit(")", 1)[1].split()
        self.assertEqual((fields[16], fields[38]), ("19", "3"))
        self.assertIn("best-effort: prio 4", subprocess.run(["ionice", "-p", pid], capture_output=True, text=True).stdout)
        process = f"{self.dir}/process.json"
        with open(process, "w") as f:
            json.dump({"args": ["/bin/sleep", "1000"], "cwd": "/", "ioPriority": {"class": "IOPRIO_CLASS_IDLE"}}, f)
        self.ok("exec", "--detach", "--pid-file", pid_file, "--process", process, "c1")
        self.assertEqual(subprocess.run(["ionice", "-p", read_file(pid_file)], capture_output=True, text=True).stdout.strip(), "idle")

    def test_a_deadline_needs_all_processors(self):
        """runc's scheduler.bats, scheduler vs cpus"""
        if not os.path.isdir("/sys/fs/cgroup/cpuset") or (os.cpu_count() or 1) < 2:
            self.skipTest("needs control groups v1 with cpuset, and two processors")
        config = self.config("true")
        config["linux"]["resources"]["cpu"] = {"cpus": "0"}
        config["process"]["scheduler"] = {"policy": "SCHED_DEADLINE", "runtime": 42000, "deadline": 1000000, "period": 1000000}
        self.assertIn("process scheduler can't be used together with AllowedCPUs", self.run_container(config).err)

    def test_memory_policies(self):
        """runc's memorypolicy.bats"""
        script = "dd if=/proc/self/numa_maps bs=60 count=1 2>/dev/null"
        for policy, want in (({"mode": "MPOL_INTERLEAVE", "nodes": "0"}, "interleave:0"), ({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]}, "bind=static:0"),
                             ({}, "default"), ({"mode": "MPOL_DEFAULT"}, "default")):
            config = self.config(script)
            config["linux"]["memoryPolicy"] = policy
            done = self.run_container(config)
            if "set_mempolicy: function not implemented" in done.err:
                self.skipTest("needs a kernel with NUMA")
            self.assertEqual((done.code, done.out.split()[1:2]), (0, [want]), done)
        for policy, text in (({"mode": "INTERLEAVE", "nodes": "0"}, "invalid memory policy mode"), ({"nodes": "0-7"}, "invalid memory policy mode"),
                             ({"mode": "MPOL_PREFERRED", "nodes": "0", "flags": ["MPOL_F_RELATIVE_NODES", "bad"]}, "invalid memory policy flag"),
                             ({"mode": "MPOL_BIND", "nodes": "0-9876543210"}, "invalid memory policy node"),
                             ({"mode": "MPOL_DEFAULT", "nodes": "0-7", "flags": ["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"]}, "set_mempolicy: invalid argument")):
            config = self.config(script)
            config["linux"]["memoryPolicy"] = policy
            done = self.run_container(config)
            self.assertEqual(done.code, 1)
            self.assertIn(text, done.err)

    def seccomp(self, rules, default="SCMP_ACT_ALLOW", **more):
        return {"defaultAction": default, "architectures": [NATIVE], "syscalls": rules, **more}

    def test_a_filter_answers_as_its_rules_say(self):
        config = self.config("mkdir /tmp/a 2>&1; mkdir /tmp/b; echo $?; rmdir /tmp/b || echo no")
        config["linux"]["seccomp"] = self.seccomp([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}])
        out = self.output(config)
        self.assertIn("No space left on device", out)
        for action, code in (("SCMP_ACT_KILL_PROCESS", 128 + signal.SIGSYS), ("SCMP_ACT_TRAP", 128 + signal.SIGSYS), ("SCMP_ACT_LOG", 0), ("SCMP_ACT_ALLOW", 0)):
            config = self.config("mkdir", f"/tmp/{action}")
            config["linux"]["seccomp"] = self.seccomp([{"names": ["mkdir", "mkdirat"], "action": action}], flags=["SECCOMP_FILTER_FLAG_LOG"],
                                                      default="SCMP_ACT_ALLOW" if action != "SCMP_ACT_ALLOW" else "SCMP_ACT_LOG")
            self.assertEqual(self.run_container(config).code, code, action)
        config["linux"]["seccomp"] = self.seccomp([], flags=["SECCOMP_FILTER_FLAG_NEW"])
        self.assertIn("unknown flag", self.run_container(config).err)

    def test_arguments_of_system_calls_are_compared(self):
        config = self.config("kill -0 $$; echo $?; kill -WINCH $$ 2>/dev/null; echo $?")
        config["linux"]["seccomp"] = self.seccomp([{"names": ["kill"], "action": "SCMP_ACT_ERRNO",
                                                    "args": [{"index": 1, "value": int(signal.SIGWINCH), "op": "SCMP_CMP_EQ"}]}])
        self.assertEqual(self.output(config).split(), ["0", "1"])

    def test_a_notifying_filter_hands_its_listener_over(self):
        path = f"{self.dir}/agent.sock"
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(path)
            listener.listen(1)
            config = self.config("mkdir", "/tmp/watched")
            config["linux"]["seccomp"] = self.seccomp([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY"}], listenerPath=path, listenerMetadata="data")
            self.assertEqual(self.create(config).code, 0)
            self.ok("start", "c1")
            connection, _ = listener.accept()
            data, fds, _, _ = socket.recv_fds(connection, 65536, 1)
            connection.close()
            told = json.loads(data)
            self.assertEqual((told["fds"], told["metadata"], told["state"]["id"], told["pid"]), (["seccompFd"], "data", "c1", told["state"]["pid"]))
            # struct seccomp_notif is 80 bytes, its answer 24: id, val, error, flags; flag 1 lets the call go on.
            import fcntl
            notification = bytearray(80)
            fcntl.ioctl(fds[0], 0xC0502100, notification)
            fcntl.ioctl(fds[0], 0xC0182101, bytearray(notification[:8]) + struct.pack("<qiI", 0, 0, 1))
            self.wait_status("stopped")
            os.close(fds[0])
        self.assertTrue(os.path.isdir(f"{self.rootfs}/tmp/watched"))
        config["linux"]["seccomp"]["listenerPath"] = f"{self.dir}/none.sock"
        self.assertIn("listenerPath", self.run_container(config, "c2").err)

    def test_security_modules_that_the_host_lacks_are_refused(self):
        for member in ("apparmorProfile", "selinuxLabel"):
            if os.path.exists("/sys/fs/selinux/enforce" if member == "selinuxLabel" else "/sys/module/apparmor"):
                continue
            config = self.config("true")
            config["process"][member] = "something"
            self.assertIn(f"process.{member}", self.run_container(config).err)


class Exec(RuntimeTest):
    def test_it_joins_everything(self):
        pid = self.start_sleeping()
        script = "for n in cgroup ipc mnt net pid uts; do readlink /proc/self/ns/$n; done; hostname; id -u; cat /proc/self/cgroup"
        out = self.ok("exec", "c1", "sh", "-c", script).split()
        self.assertEqual(out[:6], [os.readlink(f"/proc/{pid}/ns/{n}") for n in "cgroup ipc mnt net pid uts".split()])
        self.assertEqual(out[6:8], ["monopod", "0"])
        self.assertTrue(all(line.endswith(":/") for line in out[8:]), out)

    def test_options_over_the_containers_own_process(self):
        self.start_sleeping()
        out = self.ok("exec", "--env", "A=1", "-e", "B=2", "--cwd", "/tmp", "--user", "1000:1001", "--additional-gids", "5", "c1", "sh", "-c", "id -u; id -G; pwd; echo $A$B")
        self.assertEqual(out.split("\n"), ["1000", "1001 5", "/tmp", "12", ""])
        out = dict(line.split(":\t") for line in self.ok("exec", "--cap", "CAP_SYS_TIME", "c1", "grep", "Cap", "/proc/self/status").splitlines())
        self.assertEqual([int(out[key], 16) >> 25 & 1 for key in ("CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb")], [1, 1, 1, 0, 0])
        self.fails("unknown capability", "exec", "--cap", "CAP_X", "c1", "true")
        self.fails("is not UID[:GID]", "exec", "--user", "root", "c1", "true")
        self.fails("cannot be empty", "exec", "c1")

    def test_exit_codes_and_errors(self):
        self.start_sleeping()
        self.assertEqual(self.call("exec", "c1", "sh", "-c", "exit 9").code, 9)
        self.assertEqual(self.call("exec", "c1", "sh", "-c", "kill -9 $$").code, 137)
        self.fails("executable file not found in $PATH", "exec", "c1", "nonexistent")
        self.fails("does not exist", "exec", "c9", "true")
        self.ok("pause", "c1")
        self.fails("paused container", "exec", "c1", "true")
        self.ok("resume", "c1")
        self.ok("kill", "c1", "KILL")
        self.wait_status("stopped")
        self.fails("stopped container", "exec", "c1", "true")

    def test_a_process_file_stands_for_itself(self):
        self.start_sleeping()
        process = self.config("x")["process"]
        process.update({"args": ["sh", "-c", "echo $X; id -u"], "env": ["X=y", "PATH=/bin"], "user": {"uid": 12, "gid": 13}})
        with open(f"{self.dir}/process.json", "w") as f:
            json.dump(process, f)
        self.assertEqual(self.ok("exec", "--process", f"{self.dir}/process.json", "c1").split(), ["y", "12"])
        process["user"]["uid"] = -1
        with open(f"{self.dir}/process.json", "w") as f:
            json.dump(process, f)
        self.fails("uid", "exec", "--process", f"{self.dir}/process.json", "c1")

    def test_a_detached_one_has_a_pid_file(self):
        self.start_sleeping()
        self.ok("exec", "--detach", "--pid-file", f"{self.dir}/pid", "c1", "sleep", "999")
        with open(f"{self.dir}/pid") as f:
            pid = int(f.read())
        with open(f"/proc/{pid}/cmdline") as f:
            self.assertEqual(f.read(), "sleep\0999\0")
        self.ok("delete", "--force", "c1")
        def gone():
            try:
                return " Z " in read_file(f"/proc/{pid}/stat")
            except FileNotFoundError:
                return True
        wait_for(gone, "it ends with the container")

    def test_a_terminal_of_its_own(self):
        self.start_sleeping()
        self.assertEqual(self.ok("exec", "--tty", "c1", "tty").strip(), "/dev/pts/0")
        self.fails("console socket", "exec", "--tty", "--detach", "c1", "tty")

    def test_cpu_affinity(self):
        self.start_sleeping()
        process = self.config("x")["process"]
        process.update({"args": ["grep", "Cpus_allowed_list", "/proc/self/status"], "execCPUAffinity": {"initial": "0", "final": "0"}})
        with open(f"{self.dir}/process.json", "w") as f:
            json.dump(process, f)
        self.assertEqual(self.ok("exec", "--process", f"{self.dir}/process.json", "c1"), "Cpus_allowed_list:\t0\n")


if __name__ == "__main__":
    main()
