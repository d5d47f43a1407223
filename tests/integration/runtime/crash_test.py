#!/usr/bin/env python3
"""`monopod runtime` killed at every step between create and delete: delete --force leaves nothing, and the container's own process never outlives
an owner that does not know of it. Row C16 of the threat model: operations that race."""
import threading

from support import *

CREATE = "after_directory after_record after_group after_spawn after_ready before_pid_file".split()
DELETE = "after_kill after_remove_group".split()
KILLED = 98  # what a failpoint's crash exits with


class Crash(RuntimeTest):
    def processes(self):
        """Pids whose root directory is this test's."""
        out = []
        for pid in os.listdir("/proc"):
            try:
                if pid.isdigit() and f"{GROUP}/c1" in read_file(f"/proc/{pid}/cgroup") and "Z" not in read_file(f"/proc/{pid}/stat").rsplit(")", 1)[1][:3]:
                    out.append(int(pid))
            except (FileNotFoundError, ProcessLookupError):
                pass
        return out

    def crash(self, point, *words):
        done = self.call(*words, env={"MONOPOD_FAILPOINTS": f"runtime.{point}=crash"})
        self.assertEqual(done.code, KILLED, f"{point}: {done}")

    def assert_nothing_left(self, point):
        self.ok("delete", "--force", "c1")
        self.assertEqual(self.ok("list", "-q"), "", point)
        self.assertEqual(os.listdir(self.root), [], point)
        self.assertEqual(groups_named(f"{GROUP}/c1"), [], point)
        self.assertEqual(self.processes(), [], point)

    def test_create_killed_at_each_step_leaks_nothing(self):
        self.write(self.config("sleep", "1000"))
        for point in CREATE:
            self.crash(point, "create", "--bundle", self.bundle, "c1")
            # The first stage goes with its parent, since nobody has been told of it.
            wait_for(lambda: not self.processes(), f"{point}: the first stage is gone")
            self.assertEqual(self.status(), "stopped", point)
            self.fails("has stopped", "start", "c1")
            self.fails("id exists", "create", "--bundle", self.bundle, "c1")
            self.assert_nothing_left(point)

    def test_create_that_fails_at_each_step_undoes_itself(self):
        self.write(self.config("sleep", "1000"))
        for point in CREATE:
            done = self.call("create", "--bundle", self.bundle, "c1", env={"MONOPOD_FAILPOINTS": f"runtime.{point}=error"})
            self.assertIn(f"failpoint runtime.{point}", done.err)
            self.assertEqual(os.listdir(self.root), [], point)
            self.assertEqual(groups_named(f"{GROUP}/c1"), [], point)
            self.assertEqual(self.processes(), [], point)

    def test_start_killed_before_and_after(self):
        self.write(self.config("sleep", "1000"))
        for point, status in (("before_start", "created"), ("after_start", "running")):
            self.ok("create", "--bundle", self.bundle, "c1")
            self.crash(point, "start", "c1")
            self.assertEqual(self.status(), status)
            if status == "created":
                self.ok("start", "c1")
                self.assertEqual(self.status(), "running")
            self.assert_nothing_left(point)

    def test_delete_killed_at_each_step_can_be_done_again(self):
        self.write(self.config("sleep", "1000"))
        for point in DELETE:
            for force in (True, False):
                self.ok("run", "--detach", "--bundle", self.bundle, "c1")
                self.crash(point, "delete", "--force", "c1")
                self.assertEqual(self.status(), "stopped")
                if not force:
                    self.ok("delete", "c1")
                self.assert_nothing_left(point)

    def test_a_look_at_a_created_container_does_not_start_it(self):
        self.write(self.config("sleep", "1000"))
        self.ok("create", "--bundle", self.bundle, "c1")
        for _ in range(20):
            self.assertEqual(self.status(), "created")
        self.ok("start", "c1")
        self.assertEqual(self.status(), "running")

    def test_c16_operations_that_race_leave_nothing(self):
        self.write(self.config("sleep", "1000"))
        for _ in range(5):
            codes = {}
            def go(name, *words):
                codes[name] = self.call(*words).code
            self.ok("create", "--bundle", self.bundle, "c1")
            threads = [threading.Thread(target=go, args=(n, *w)) for n, w in
                       (("start1", ("start", "c1")), ("start2", ("start", "c1")), ("delete1", ("delete", "--force", "c1")), ("delete2", ("delete", "--force", "c1")),
                        ("create", ("create", "--bundle", self.bundle, "c1")))]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.assertEqual((codes["delete1"], codes["delete2"]), (0, 0), codes)
            self.assert_nothing_left("race")

    def test_c16_a_reused_pid_is_not_signalled(self):
        self.start_sleeping()
        path = f"{self.root}/c1/record.json"
        with open(path) as f:
            record = json.load(f)

        def later():
            """A process of another clock tick: a number comes round again no sooner."""
            process = subprocess.Popen(["sleep", "1000"])
            with open(f"/proc/{process.pid}/stat") as f:
                if int(f.read().rsplit(")", 1)[1].split()[19]) != record["startTicks"]:
                    return process
            process.kill()
            process.wait()
            return None
        bystander = wait_for(later, "a process that started later")
        real = record["pid"]
        record["pid"] = bystander.pid
        with open(path, "w") as f:
            json.dump(record, f)
        self.fails("container not running", "kill", "c1", "KILL")
        self.assertEqual(self.status(), "stopped")
        self.ok("delete", "c1")
        self.assertIsNone(bystander.poll())
        bystander.kill()
        bystander.wait()
        wait_for(lambda: not self.processes(), f"{real} went with its control group")

    def test_a_damaged_record_is_said(self):
        self.start_sleeping()
        path = f"{self.root}/c1/record.json"
        good = read_file(path)
        with open(path, "w") as f:
            f.write(good[:40])
        self.fails("json", "state", "c1")
        self.fails("json", "delete", "c1")
        self.assert_nothing_left("a damaged record")

    def test_f10_state_is_closed_to_others(self):
        self.start_sleeping()
        self.assertEqual(os.stat(f"{self.root}/c1").st_mode & 0o777, 0o700)
        for name in os.listdir(f"{self.root}/c1"):
            self.assertEqual(os.lstat(f"{self.root}/c1/{name}").st_mode & 0o077, 0, name)


if __name__ == "__main__":
    main()
