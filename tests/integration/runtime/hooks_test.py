#!/usr/bin/env python3
"""Hooks: when each runs, where, with what; and those that fail, hang or talk too much (row C13 of the threat model)."""
from support import *

ORDER = "prestart createRuntime createContainer startContainer poststart poststop".split()


class HooksTest(RuntimeTest):
    def hook(self, script, **more):
        path = f"{self.dir}/hook-{len(os.listdir(self.dir))}"
        with open(path, "w") as f:
            f.write(f"#!/bin/sh\n{script}\n")
        os.chmod(path, 0o755)
        return {"path": path, **more}

    def test_all_run_in_order_with_the_state(self):
        log = f"{self.dir}/order"
        shared = f"{self.dir}/shared"
        os.makedirs(shared)
        config = self.config("echo program >> /shared/order; exec sleep 1000")
        config["mounts"].append({"destination": "/shared", "type": "bind", "source": shared, "options": ["bind"]})
        config["annotations"] = {"key": "value"}
        config["hooks"] = {}
        for name in ORDER:
            where = "/shared" if name == "startContainer" else shared
            if name == "startContainer":
                with open(f"{self.rootfs}/hook", "w") as f:
                    f.write(f"#!/bin/sh\n/bin/cat > {where}/{name}.json; echo {name} $1 $X >> {where}/order; /bin/readlink /proc/self/ns/mnt > {where}/{name}.ns\n")
                os.chmod(f"{self.rootfs}/hook", 0o755)
                entry = {"path": "/hook"}
            else:
                entry = self.hook(f"cat > {where}/{name}.json; echo {name} $1 $X >> {where}/order; readlink /proc/self/ns/mnt > {where}/{name}.ns")
            config["hooks"][name] = [{**entry, "args": ["hook", "arg"], "env": ["X=y", "PATH=/usr/bin:/bin"], "timeout": 30}]
        self.assertEqual(self.create(config).code, 0)
        pid = self.state()["pid"]
        mount_namespace = os.readlink(f"/proc/{pid}/ns/mnt")
        self.ok("start", "c1")
        self.ok("kill", "c1", "KILL")
        self.wait_status("stopped")
        self.ok("delete", "c1")
        with open(f"{shared}/order") as f:
            words = [line.split()[0] for line in f]
        self.assertEqual([w for w in words if w != "program"], ORDER)
        self.assertLess(words.index("startContainer"), words.index("program"))
        statuses = dict(prestart="creating", createRuntime="creating", createContainer="creating", startContainer="created", poststart="running", poststop="stopped")
        for name in ORDER:
            with open(f"{shared}/{name}.json") as f:
                state = json.load(f)
            self.assertEqual((state["id"], state["status"], state["bundle"], state["annotations"]), ("c1", statuses[name], self.bundle, {"key": "value"}), name)
            if name in ("prestart", "createRuntime", "poststart"):
                self.assertEqual(state["pid"], pid, name)
            with open(f"{shared}/{name}.ns") as f:
                self.assertEqual(f.read().strip() == mount_namespace, name in ("createContainer", "startContainer"), name)

    def test_hooks_inside_may_no_more_than_the_program(self):
        """runc's seccomp.bats, (startContainer hook): its user, capabilities and filter"""
        config = self.config("true")
        config["process"]["user"] = {"uid": 1000, "gid": 1000}
        config["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_KILL"}]}
        script = "id -u >&2; grep -E 'CapEff|Seccomp:|NoNewPrivs' /proc/self/status >&2; exec mkdir /tmp/x"
        config["hooks"] = {"startContainer": [{"path": "/bin/true"}, {"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin"]}]}
        done = self.run_container(config)
        self.assertNotEqual(done.code, 0)
        for text in ("error running startContainer hook #1: /bin/sh: signal: bad system call", "1000\n", "CapEff:\t0000000000000000", "Seccomp:\t2", "NoNewPrivs:\t1"):
            self.assertIn(text, done.err)

    def failing(self, name, script, **more):
        config = self.config("sleep", "1000")
        entry = self.hook(script, **more)
        if name == "startContainer":
            os.rename(entry["path"], f"{self.rootfs}/hook")
            entry["path"] = "/hook"
        config["hooks"] = {name: [entry]}
        return config

    def test_c13_a_failing_hook_fails_the_operation_and_leaves_nothing(self):
        for name in ("prestart", "createRuntime", "createContainer"):
            done = self.create(self.failing(name, "echo because >&2; exit 3"))
            self.assertIn(f"{name} hook", done.err)
            self.assertIn("exit status 3: because", done.err)
            self.fails("does not exist", "state", "c1")
        for name in ("startContainer", "poststart"):
            self.assertEqual(self.create(self.failing(name, "exit 4")).code, 0)
            self.fails(f"{name} hook", "start", "c1")
            self.wait_status("stopped")
            self.ok("delete", "c1")
        self.start_sleeping(self.failing("poststop", "exit 5"))
        self.ok("delete", "--force", "c1")

    def test_c13_a_hanging_hook_is_killed_at_its_timeout(self):
        for name in ("createRuntime", "createContainer"):
            started = time.monotonic()
            done = self.create(self.failing(name, "sleep 1000", timeout=1))
            self.assertIn("takes longer than its timeout", done.err)
            self.assertLess(time.monotonic() - started, 30)

    def test_c13_a_talkative_hook_is_cut_short_and_a_deaf_one_does_not_block(self):
        config = self.failing("createRuntime", "yes because >&2 & sleep 0.2; kill $!; exit 3")
        done = self.create(config)
        self.assertIn("exit status 3", done.err)
        self.assertLess(len(done.err), 100_000)
        config = self.failing("createRuntime", "exec true")
        config["annotations"] = {"big": "x" * 300_000}
        self.assertEqual(self.run_container({**config, "process": {**config["process"], "args": ["true"]}}).code, 0)

    def test_hooks_that_cannot_run_say_why(self):
        config = self.config("true")
        config["hooks"] = {"prestart": [{"path": f"{self.dir}/none"}]}
        self.assertIn("no such file or directory", self.create(config).err)
        config["hooks"] = {"prestart": [{"path": "relative"}]}
        self.assertIn("is not absolute", self.create(config).err)
        config["hooks"] = {"prestart": [{"path": "/x", "timeout": 0}]}
        self.assertIn("timeout", self.create(config).err)

    def test_poststop_follows_a_create_that_failed_in_its_hooks(self):
        config = self.failing("createRuntime", "exit 3")
        config["hooks"]["poststop"] = [self.hook(f"echo done > {self.dir}/poststop")]
        self.assertNotEqual(self.create(config).code, 0)
        self.assertTrue(os.path.exists(f"{self.dir}/poststop"))


if __name__ == "__main__":
    main()
