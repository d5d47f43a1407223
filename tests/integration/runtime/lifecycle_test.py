#!/usr/bin/env python3
"""create, start, state, kill, delete, run, list: what each does in each status, and what it refuses."""
import fcntl
import socket

from support import *


class Lifecycle(RuntimeTest):
    def test_a_container_goes_through_its_statuses(self):
        pid_file = f"{self.dir}/pid"
        done = self.create(self.config("echo up; exec sleep 1000"), "c1", "--pid-file", pid_file)
        self.assertEqual(done.code, 0, done)
        self.assertEqual(done.out, "", "the program does not run before start")
        state = self.state()
        with open(pid_file) as f:
            self.assertEqual(int(f.read()), state["pid"])
        self.assertEqual((state["status"], state["bundle"], state["id"], state["ociVersion"]), ("created", self.bundle, "c1", "1.3.0"))
        self.ok("start", "c1")
        self.assertEqual(self.status(), "running")
        self.fails("already running", "start", "c1")
        self.fails("not stopped: running", "delete", "c1")
        self.ok("kill", "c1", "KILL")
        self.wait_status("stopped")
        self.assertEqual(self.state()["pid"], 0)
        self.fails("container not running", "kill", "c1", "KILL")
        self.fails("has stopped", "start", "c1")
        self.ok("delete", "c1")
        self.fails("container does not exist", "state", "c1")
        self.fails("container does not exist", "delete", "c1")
        self.ok("delete", "--force", "c1")

    def test_run_returns_the_exit_code_and_leaves_nothing(self):
        done = self.run_container(self.config("echo out; echo err >&2; exit 7"))
        self.assertEqual((done.code, done.out, done.err), (7, "out\n", "err\n"))
        self.fails("container does not exist", "state", "c1")
        self.assertEqual(self.run_container(self.config("kill -9 $$; sleep 100 & kill -TERM 0; exit 9")).code, 9)
        self.assertEqual(self.run_container(self.config("cat", "/proc/1/comm"), "c1", "--keep").out, "cat\n")
        self.assertEqual(self.status(), "stopped")

    def test_an_id_is_taken_once_and_has_a_shape(self):
        self.start_sleeping()
        self.fails("container with id exists: c1", "create", "--bundle", self.bundle, "c1")
        self.assertEqual(self.status(), "running")
        for name in ("", "a/b", "..", ".", "a b", "x" * 256):
            self.fails("container id", "create", "--bundle", self.bundle, name)

    def test_what_cannot_be_executed_is_an_error_of_create_or_start(self):
        done = self.create(self.config("nonexistent"))
        self.assertIn("executable file not found in $PATH", done.err)
        self.fails("container does not exist", "state", "c1")
        done = self.create(self.config("/bin/nonexistent"))
        self.assertIn("no such file or directory", done.err)
        self.assertEqual(self.create(self.config("/etc/passwd")).code, 0)
        self.fails("permission denied", "start", "c1")
        self.wait_status("stopped")

    def test_a_created_container_is_deleted_by_force_only(self):
        self.assertEqual(self.create(self.config("true")).code, 0)
        self.fails("not stopped: created", "delete", "c1")
        self.ok("delete", "--force", "c1")
        self.assertEqual(self.create(self.config("true")).code, 0)
        self.ok("kill", "c1", "9")
        self.wait_status("stopped")
        self.ok("delete", "c1")

    def test_list_shows_all(self):
        self.start_sleeping(name="c1")
        self.assertEqual(self.create(self.config("true", name="c2"), "c2").code, 0)
        self.assertEqual(self.ok("list", "-q").split(), ["c1", "c2"])
        listed = json.loads(self.ok("list", "--format", "json"))
        self.assertEqual([(c["id"], c["status"]) for c in listed], [("c1", "running"), ("c2", "created")])
        self.assertRegex(self.ok("list"), r"c1 +\d+ +running")

    def test_a_container_without_a_process_cannot_be_started(self):
        config = self.config("true")
        del config["process"]
        self.assertEqual(self.create(config).code, 0)
        self.assertEqual(self.status(), "created")
        self.fails("process is not set", "start", "c1")
        self.wait_status("stopped")
        self.ok("delete", "c1")

    def test_signals_have_names_and_numbers(self):
        script = "trap 'exit 11' TERM; trap 'exit 12' USR1; trap 'exit 13' HUP; echo ready; while :; do usleep 10000; done"
        for word, code in (("TERM", 11), ("SIGUSR1", 12), ("1", 13)):
            self.write(self.config(script))
            with open(f"{self.dir}/log", "w+") as log:
                process = subprocess.Popen([BINARY, "runtime", "--root", self.root, "run", "--bundle", self.bundle, "c1"], stdout=log)
            self.wait_log("ready")
            self.ok("kill", "c1", word)
            self.assertEqual(process.wait(60), code)
        self.start_sleeping()
        self.ok("kill", "c1", "0")  # only asks
        for word in ("NONE", "65", "-1", "SIG", "RTMIN+99"):
            self.fails("unknown signal", "kill", "c1", word)

    def wait_log(self, text):
        def there():
            with open(f"{self.dir}/log") as f:
                return text in f.read()
        wait_for(there, f"{text} in the log")

    def test_run_forwards_signals_to_the_program(self):
        self.write(self.config("trap 'exit 11' TERM; echo ready; while :; do usleep 10000; done"))
        with open(f"{self.dir}/log", "w+") as log:
            process = subprocess.Popen([BINARY, "runtime", "--root", self.root, "run", "--bundle", self.bundle, "c1"], stdout=log)
            self.wait_log("ready")
            process.send_signal(signal.SIGTERM)
            self.assertEqual(process.wait(60), 11)

    def test_kill_all_reaches_every_process_of_a_shared_process_namespace(self):
        config = self.config("sleep 1000 & sleep 1001 & exec sleep 1002")
        config["linux"]["namespaces"] = [n for n in config["linux"]["namespaces"] if n["type"] != "pid"]
        config["mounts"] = [m for m in config["mounts"] if m["type"] != "proc"]
        config["linux"]["maskedPaths"] = config["linux"]["readonlyPaths"] = []
        self.start_sleeping(config)
        wait_for(lambda: len(json.loads(self.ok("ps", "--format", "json", "c1"))) == 3, "three processes")
        pids = json.loads(self.ok("ps", "--format", "json", "c1"))
        self.ok("kill", "--all", "c1", "KILL")
        wait_for(lambda: all(self.gone(pid) for pid in pids), "all are gone")
        self.ok("delete", "c1")

    def test_kill_reaches_processes_that_outlive_the_first(self):
        """runc's kill.bats and delete.bats, [host pidns + init gone]"""
        for word in ("kill", "delete"):
            config = self.config("sleep 1000 & sleep 1001 & exec sleep 1002")
            config["linux"]["namespaces"] = [n for n in config["linux"]["namespaces"] if n["type"] != "pid"]
            config["mounts"] = [m for m in config["mounts"] if m["type"] != "proc"]
            config["linux"]["maskedPaths"] = config["linux"]["readonlyPaths"] = []
            first = self.start_sleeping(config)
            wait_for(lambda: len(json.loads(self.ok("ps", "--format", "json", "c1"))) == 3, "three processes")
            pids = json.loads(self.ok("ps", "--format", "json", "c1"))
            os.kill(first, signal.SIGKILL)
            self.wait_status("stopped")
            self.fails("container not running", "kill", "c1", "TERM")
            if word == "kill":
                self.ok("kill", "c1", "KILL")
                wait_for(lambda: all(self.gone(pid) for pid in pids), "all are gone")
                self.fails("container not running", "kill", "c1", "KILL")
            self.ok("delete", "c1")
            wait_for(lambda: all(self.gone(pid) for pid in pids), "all are gone")

    def test_kill_all_of_a_stopped_container_is_no_error(self):
        self.assertEqual(self.run_container(self.config("true"), "c1", "--keep").code, 0)
        self.fails("container not running", "kill", "c1", "0")
        self.ok("kill", "--all", "c1", "0")

    @staticmethod
    def gone(pid):
        try:
            with open(f"/proc/{pid}/stat") as f:
                return f.read().rsplit(")", 1)[1].split()[0] in "ZX"
        except FileNotFoundError:
            return True

    def test_a_later_change_of_the_bundle_has_no_effect(self):
        self.assertEqual(self.create(self.config("sleep", "1000")).code, 0)
        config = self.config("false")
        config["annotations"] = {"a": "b"}
        self.write(config)
        self.ok("start", "c1")
        self.assertEqual(self.state()["annotations"], {})
        self.assertEqual(self.status(), "running")

    def test_the_terminal_goes_to_the_console_socket(self):
        config = self.config("tty; stty size; exec sleep 1000")
        config["process"]["terminal"] = True
        config["process"]["consoleSize"] = {"height": 33, "width": 101}
        self.assertIn("console socket", self.create(config).err)
        path = f"{self.dir}/console.sock"
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(path)
            listener.listen(1)
            done = self.create(config, "c1", "--console-socket", path)
            self.assertEqual(done.code, 0, done)
            connection, _ = listener.accept()
            data, fds, _, _ = socket.recv_fds(connection, 4096, 1)
            self.assertTrue(data)
            self.ok("start", "c1")
            text = b""
            while text.count(b"\n") < 2:
                text += os.read(fds[0], 4096)
            self.assertEqual(text.split(), [b"/dev/pts/0", b"33", b"101"])
            os.close(fds[0])
            connection.close()
        config["process"]["terminal"] = False
        del config["process"]["consoleSize"]
        self.assertIn("cannot use console socket", self.create(config, "c2", "--console-socket", path).err)

    def test_a_descriptor_of_the_process_goes_to_the_pidfd_socket(self):
        """runc's pidfd-socket.bats"""
        path = f"{self.dir}/pidfd.sock"
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(path)
            listener.listen(1)

            def received():
                connection, _ = listener.accept()
                _, fds, _, _ = socket.recv_fds(connection, 4096, 1)
                connection.close()
                return fds[0]
            self.assertEqual(self.create(self.config("sleep", "1000"), "c1", "--pidfd-socket", path).code, 0)
            first = received()
            self.ok("start", "c1")
            pid_file = f"{self.dir}/pid"
            self.ok("exec", "--detach", "--pid-file", pid_file, "--pidfd-socket", path, "c1", "sleep", "1000")
            second = received()
            signal.pidfd_send_signal(second, signal.SIGKILL)
            wait_for(lambda: self.gone(int(read_file(pid_file))), "exec's process is gone")
            self.assertEqual(self.status(), "running")
            signal.pidfd_send_signal(first, signal.SIGKILL)
            self.wait_status("stopped")
            for fd in (first, second):
                os.close(fd)

    def test_checkpoints_are_refused_by_name(self):
        for word in ("checkpoint", "restore"):
            self.fails(f"{word}: checkpoints are not supported", word, "c1")

    def test_errors_go_to_the_log_that_clients_read(self):
        log = f"{self.dir}/log.json"
        self.fails("does not exist", "--log", log, "--log-format", "json", "state", "none")
        with open(log) as f:
            line = json.loads(f.read())
        self.assertEqual((line["level"], line["msg"]), ("error", "container does not exist: none"))
        self.assertRegex(line["time"], r"^20\d\d-")

    def test_wrong_command_lines_are_refused(self):
        for words, text in ((["nothing"], "unknown command"), (["state"], "want: monopod runtime state"), (["state", "a", "b"], "want:"),
                            (["delete", "--forced", "a"], "unknown option --forced"), (["create", "--bundle"], "needs a value"),
                            (["create", "--preserve-fds", "x", "a"], "not a number"),
                            (["delete", "--force=maybe", "a"], "not true or false")):
            self.fails(text, *words)

    def test_preserved_descriptors_reach_the_program(self):
        read, write = (fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 20) for fd in os.pipe())
        config = self.config("echo hello >&3; ls /proc/self/fd; echo $LISTEN_FDS")
        os.dup2(write, 3, inheritable=True)
        done = self.run_container(config, "c1", "--preserve-fds", "1", pass_fds=(3,))
        os.close(3)
        os.close(write)
        self.assertEqual(os.read(read, 100), b"hello\n", done)
        os.close(read)
        self.assertEqual(done.out.split()[:4] + done.out.split()[-1:], ["0", "1", "2", "3", "1"])
        self.assertIn("preserved-fd 0 (descriptor 3)", self.run_container(config, "c1", "--preserve-fds", "1").err)

    def test_features_and_version_say_what_there_is(self):
        features = json.loads(self.ok("features"))
        self.assertEqual(features["ociVersionMax"], "1.3.0")
        self.assertIn("ridmap", features["mountOptions"])
        self.assertIn("SCMP_ACT_NOTIFY", features["linux"]["seccomp"]["actions"])
        self.assertIn("spec: 1.3.0", self.ok("--version"))

    def test_it_answers_to_the_names_of_runtimes(self):
        for name in ("runc", "crun", "monopod-runtime"):
            link = f"{self.dir}/{name}"
            os.symlink(BINARY, link)
            out = subprocess.run([link, "--root", self.root, "list", "-q"], capture_output=True, text=True, timeout=60)
            self.assertEqual((out.returncode, out.stdout, out.stderr), (0, "", ""))


if __name__ == "__main__":
    main()
