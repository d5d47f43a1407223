#!/usr/bin/env python3
"""wasm_test.py BINARY: C programs, compiled with Debian's clang and wasi-libc, under `monopod wasm`: what they see of the host is what was granted, limits
hold, traps are told with the functions' names."""
import os
import re
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "support"))
from ports import free_port  # noqa: E402

BINARY = os.path.abspath(sys.argv[1])
HERE = os.path.dirname(os.path.abspath(__file__))
CLANG = shutil.which("clang-19")
HAVE_LIBC = os.path.exists("/usr/include/wasm32-wasi/stdio.h")


def compile_all(folder):
    for source in sorted(os.listdir(os.path.join(HERE, "programs"))):
        flags = ["-O1", "-mbulk-memory", "-msign-ext", "-mnontrapping-fptoint"]
        subprocess.run([CLANG, "--target=wasm32-wasi", *flags, "-o", os.path.join(folder, source[:-2] + ".wasm"), os.path.join(HERE, "programs", source)],
                       check=True, capture_output=True, text=True)


class Programs:
    ENGINE = ""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="wasm-test-")
        compile_all(cls.folder)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)

    def run_program(self, name, *arguments, options=(), stdin="", timeout=60):
        return subprocess.run([BINARY, "wasm", "run", "--engine", self.ENGINE, *options, os.path.join(self.folder, name + ".wasm"), *arguments], capture_output=True, text=True, input=stdin, timeout=timeout)

    def test_arguments_environment_and_standard_streams(self):
        done = self.run_program("streams", "one", "--two", "-3", options=["--env", "GREETING=hello", "--env", "SECOND=2"], stdin="line\n")
        self.assertEqual((done.returncode, done.stdout, done.stderr), (7, "argc=4 one --two -3 GREETING=hello SECOND=2 read=line\n", "to stderr\n"))

    def test_files_below_a_granted_directory_and_nowhere_else(self):
        work = tempfile.mkdtemp(dir=self.folder)
        with open(os.path.join(self.folder, "secret"), "w", encoding="utf-8") as f:
            f.write("secret")
        os.symlink("../secret", os.path.join(work, "link"))
        done = self.run_program("files", "/work", options=["--dir", work + ":/work"])
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        self.assertEqual(done.stdout, "made dir/file\nread back 12 bytes\nlisted 3 entries\nrenamed\nlink refused\nparent refused\nabsolute refused\nremoved\n")
        self.assertEqual(sorted(os.listdir(work)), ["link"])
        again = self.run_program("files", "/work", options=["--dir", work + ":/work:ro"])
        self.assertEqual((again.returncode, again.stdout), (1, "mkdir: Read-only file system\n"))
        without = self.run_program("files", "/work")
        self.assertEqual(without.returncode, 1)
        self.assertEqual(os.listdir(work), ["link"])

    def test_a_server_on_a_granted_socket(self):
        port = free_port()
        server = subprocess.Popen([BINARY, "wasm", "run", "--engine", self.ENGINE, "--tcp-listen", f"127.0.0.1:{port}", "--timeout", "60s", os.path.join(self.folder, "echo.wasm")])
        try:
            for _ in range(600):
                try:
                    client = socket.create_connection(("127.0.0.1", port), timeout=30)
                    break
                except ConnectionRefusedError:
                    time.sleep(0.05)
            with client:
                client.sendall(b"hello through the guest")
                client.shutdown(socket.SHUT_WR)
                data = b""
                while chunk := client.recv(100):
                    data += chunk
            self.assertEqual(data, b"hello through the guest")
            self.assertEqual(server.wait(timeout=60), 0)
        finally:
            server.kill()
            server.wait()

    def test_limits_end_a_guest(self):
        for how, options, code, text in (
                ("spin", ["--timeout", "200ms"], 69, "the guest ran longer than 200ms"),
                ("sleep", ["--timeout", "200ms"], None, "the guest ran longer than 200ms"),
                ("spin", ["--fuel", "1000000"], 134, "wasm trap: all fuel consumed"),
                ("memory", ["--memory-max", "2Mi"], 3, "out of memory as it should be"),
                ("recurse", [], 134, "wasm trap: call stack exhausted")):
            with self.subTest(how=how, options=options):
                start = time.monotonic()
                done = self.run_program("limits", how, options=options)
                self.assertLess(time.monotonic() - start, 30)
                self.assertIn(text, done.stderr)
                self.assertNotEqual(done.returncode, 0)
                if code == 134 or code == 3:
                    self.assertEqual(done.returncode, code)

    def test_a_deterministic_guest_finds_the_same_world_at_every_run(self):
        for _ in range(2):
            start = time.monotonic()
            done = self.run_program("world", options=["--deterministic"])
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertEqual(done.stdout, "1577836800 slept 3600 random 09b449388e9a4e68 nan 7ff8000000000000\n")
            self.assertLess(time.monotonic() - start, 60)

    def test_where_memory_is_scarce_less_is_compiled_or_it_is_said(self):
        """Within every size of address space: the guest's answer, or what there was not the memory for; never an end by a signal."""
        def run(mebibytes, *command):
            limit = mebibytes << 20
            return subprocess.run([BINARY, *command], capture_output=True, text=True, timeout=60, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)))
        least = next(size for size in range(16, 1024, 8) if run(size, "version").returncode == 0)
        outcomes = []
        for size in range(least, least + 120, 6):
            done = run(size, "wasm", "run", "--engine", self.ENGINE, "--no-cache", os.path.join(self.folder, "hot.wasm"), "24")
            outcomes.append((done.returncode == 0, size, done))
            if done.returncode == 0:
                self.assertEqual((done.stdout, done.stderr), ("46368\n", ""), size)
            else:
                self.assertRegex(done.stderr, r"\Amonopod: .*(memory|unavailable)", (size, done))
                self.assertGreater(done.returncode, 0, (size, done))
        self.assertEqual({good for good, _, _ in outcomes}, {True, False}, outcomes)

    def test_a_trap_is_told_with_names(self):
        done = self.run_program("limits", "trap")
        self.assertEqual(done.returncode, 134)
        lines = done.stderr.splitlines()
        self.assertEqual(lines[0], "monopod: wasm trap: unreachable")
        recursion = self.run_program("limits", "recurse").stderr.splitlines()
        self.assertRegex("\n".join(recursion[:4]), r"exhausted\n  #0 \$recurse .*\n  #1 \$recurse .*\n  … [0-9]+ times more$")
        self.assertRegex(lines[1], r"^  #0 \$inner at 0x[0-9a-f]+$")
        self.assertRegex(lines[2], r"^  #1 \$outer at 0x[0-9a-f]+$")

    def test_a_trap_is_told_with_files_and_lines_where_the_module_has_them(self):
        path = os.path.join(self.folder, "limits-debug.wasm")
        source = os.path.join(HERE, "programs", "limits.c")
        subprocess.run([CLANG, "--target=wasm32-wasi", "-O1", "-g", "-mbulk-memory", "-o", path, source], check=True, capture_output=True)
        lines = self.run_program("limits-debug", "trap").stderr.splitlines()
        with open(source, encoding="utf-8") as f:
            text = f.read().splitlines()
        for line, function in ((lines[1], "inner"), (lines[2], "outer")):
            at = re.match(r"^  #[01] \$" + function + r" \([^ ]*programs/limits\.c:([0-9]+):[0-9]+\) at 0x[0-9a-f]+$", line)
            self.assertIsNotNone(at, line)
            self.assertIn("__builtin_trap" if function == "inner" else "inner(", text[int(at[1]) - 1])
        inspect = subprocess.run([BINARY, "wasm", "inspect", path], capture_output=True, text=True).stdout
        self.assertRegex(inspect, r'source     "[^ ]*programs/limits\.c" \(DWARF [45]\)')

    def test_tools(self):
        path = os.path.join(self.folder, "streams.wasm")
        self.assertEqual(subprocess.run([BINARY, "wasm", "validate", path], capture_output=True, text=True).returncode, 0)
        inspect = subprocess.run([BINARY, "wasm", "inspect", path], capture_output=True, text=True).stdout
        self.assertIn('import     "wasi_snapshot_preview1" "fd_write" (func (param i32)', inspect)
        self.assertIn('export     "_start" func', inspect)
        wat = subprocess.run([BINARY, "wasm", "wat", path], capture_output=True, text=True).stdout
        self.assertTrue(wat.startswith("(module\n"))
        self.assertIn("i32.load", wat)
        self.assertNotIn("?", wat.split('(data')[0])


    def test_a_sandbox_holds_what_was_granted_and_nothing_else(self):
        work = tempfile.mkdtemp(dir=self.folder)
        done = self.run_program("files", "/work", options=["--sandbox", "--dir", work + ":/work"])
        if "gives no user namespace" in done.stderr:
            self.skipTest(done.stderr)
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        self.assertIn("read back 12 bytes", done.stdout)
        self.assertEqual(self.run_program("streams", "x", options=["--sandbox"], stdin="line\n").returncode, 7)
        self.assertEqual(self.run_program("limits", "trap", options=["--sandbox"]).returncode, 134)
        path = os.path.join(self.folder, "limits.wasm")
        with subprocess.Popen([BINARY, "wasm", "run", "--sandbox", "--timeout", "20s", "--engine", self.ENGINE, path, "spin"]) as parent:
            try:
                child, status = "", {}
                deadline = time.monotonic() + 15
                while status.get("Seccomp") != "2" and time.monotonic() < deadline:
                    with open(f"/proc/{parent.pid}/task/{parent.pid}/children", encoding="ascii") as f:
                        child = f.read().strip()
                    if child:
                        with open(f"/proc/{child}/status", encoding="ascii") as f:
                            status = {line.split(":")[0]: line.split()[1] for line in f if len(line.split()) > 1}
                    time.sleep(0.01)
                self.assertEqual((status["NoNewPrivs"], status["CapEff"], status["CapBnd"], status["Seccomp"]), ("1", "0" * 16, "0" * 16, "2"))
                for name in ("net", "mnt", "pid", "user", "ipc", "uts"):
                    self.assertNotEqual(os.readlink(f"/proc/{child}/ns/{name}"), os.readlink(f"/proc/self/ns/{name}"), name)
                if os.geteuid() == 0:
                    self.assertEqual(os.listdir(f"/proc/{child}/root"), [])
            finally:
                parent.kill()  # and with it the child

    def test_a_trap_leaves_a_core_dump(self):
        core = os.path.join(self.folder, "core-" + self.ENGINE)
        self.assertEqual(self.run_program("limits", "trap", options=["--coredump", core]).returncode, 134)
        inspect = subprocess.run([BINARY, "wasm", "inspect", core], capture_output=True, text=True)
        self.assertEqual(inspect.returncode, 0, inspect.stderr)
        self.assertIn("memory     2 pages", inspect.stdout)
        with open(core, "rb") as f:
            content = f.read()
        at = content.index(b"\x09corestack\0\x04main") + 16
        self.assertGreaterEqual(content[at], 3)  # inner, outer, main, ...
        self.assertEqual(content[at + 1], 0)
        self.assertNotEqual(self.run_program("limits", "trap", options=["--coredump", core, "--sandbox"]).returncode, 134)

    def test_a_share_of_a_processor_is_kept_to(self):
        before = os.times()
        start = time.monotonic()
        self.assertNotEqual(self.run_program("limits", "spin", options=["--cpu-quota", "20%", "--timeout", "2s"]).returncode, 0)
        after = os.times()
        used = (after.children_user - before.children_user) / (time.monotonic() - start)
        self.assertLess(used, 0.35)
        self.assertIn("want 50% or 0.5", self.run_program("limits", "spin", options=["--cpu-quota", "lots"]).stderr)


NEEDS = "needs clang-19 and wasi-libc: apt install clang-19 wasi-libc libclang-rt-19-dev-wasm32"
HAVE_JIT = os.uname().machine in ("x86_64", "aarch64")


@unittest.skipUnless(CLANG and HAVE_LIBC, NEEDS)
class OnInterpreter(Programs, unittest.TestCase):
    ENGINE = "interpreter"


@unittest.skipUnless(CLANG and HAVE_LIBC, NEEDS)
class OnAuto(Programs, unittest.TestCase):
    ENGINE = "auto"


@unittest.skipUnless(CLANG and HAVE_LIBC and HAVE_JIT, NEEDS + ", and x86-64 or arm64")
class OnJit(Programs, unittest.TestCase):
    ENGINE = "jit"

    def test_a_guest_may_have_a_larger_stack_than_the_host_has(self):
        done = self.run_program("limits", "recurse", options=["--stack-kib", "65536"])
        self.assertEqual(done.returncode, 134)
        self.assertIn("call stack exhausted", done.stderr)
        small = self.run_program("limits", "recurse", options=["--stack-kib", "256"])
        depth = [int(re.search(r"… ([0-9]+) times more", text).group(1)) for text in (done.stderr, small.stderr)]
        self.assertGreater(depth[0], 100 * depth[1])


@unittest.skipUnless(CLANG and HAVE_LIBC and HAVE_JIT, NEEDS + ", and x86-64")
class Cache(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="wasm-cache-")
        self.addCleanup(shutil.rmtree, self.folder)
        compile_all(self.folder)
        self.cache = os.path.join(self.folder, "cache")

    def monopod(self, *arguments):
        return subprocess.run([BINARY, "wasm", *arguments], capture_output=True, text=True, timeout=60)

    def test_code_that_another_process_compiled_runs_and_what_was_changed_does_not(self):
        module = os.path.join(self.folder, "streams.wasm")
        plain = self.monopod("run", module, "a").stdout
        done = self.monopod("compile", "--cache-dir", self.cache, module)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("written to " + self.cache, done.stdout)
        self.assertIn("are in " + self.cache, self.monopod("compile", "--cache-dir", self.cache, module).stdout)
        self.assertEqual(self.monopod("run", "--cache-dir", self.cache, module, "a").stdout, plain)
        self.assertIn(" good", self.monopod("cache", "list", "--cache-dir", self.cache).stdout)
        name = next(n for n in os.listdir(self.cache) if n.endswith(".code"))
        with open(os.path.join(self.cache, name), "r+b") as f:
            f.seek(-1, os.SEEK_END)
            f.write(b"?")
        self.assertIn("was changed", self.monopod("cache", "list", "--cache-dir", self.cache).stdout)
        self.assertEqual(self.monopod("run", "--cache-dir", self.cache, module, "a").stdout, plain)
        self.assertEqual(self.monopod("cache", "clean", "--cache-dir", self.cache).stdout, "1 files removed\n")
        os.chmod(self.cache, 0o777)
        self.assertIn("others may write to it", self.monopod("run", "--cache-dir", self.cache, module).stderr)


class Profiles(unittest.TestCase):
    def setUp(self):
        for tool in ("perf",) if CLANG and HAVE_LIBC else ("clang-19 with wasi-libc",):
            if not shutil.which(tool):
                self.skipTest(f"needs {tool}")
        self.folder = tempfile.mkdtemp(prefix="wasm-perf-")
        self.addCleanup(shutil.rmtree, self.folder)
        compile_all(self.folder)
        allowed = self.perf("record", "-q", "-e", "cpu-clock", "-o", "try.data", "true")
        if allowed.returncode != 0:
            self.skipTest(f"perf may not record here: {allowed.stderr.strip()}")

    def perf(self, *arguments):
        return subprocess.run(["perf", *arguments], cwd=self.folder, capture_output=True, text=True, timeout=120)

    def record(self, *options):
        done = self.perf("record", "-q", "-k", "mono", "-e", "cpu-clock", "-o", "perf.data", BINARY, "wasm", "run", *options, "hot.wasm")
        self.assertEqual((done.returncode, done.stdout), (0, "102334155\n"), done.stderr)

    def hottest(self, data):
        report = self.perf("report", "-i", data, "--stdio", "--sort", "symbol").stdout
        line = next(line for line in report.splitlines() if "%" in line and not line.startswith("#"))
        return float(line.split("%")[0]), line

    def test_perf_names_compiled_functions_also_from_the_cache(self):
        cache = os.path.join(self.folder, "cache")
        for tier in ("jit", "cached"):
            self.record("--engine", "jit", "--profile=perfmap", "--cache-dir", cache)
            share, line = self.hottest("perf.data")
            self.assertIn(f"$fib [wasm {tier}]", line)
            self.assertGreater(share, 30)
            for name in (n for n in os.listdir("/tmp") if re.fullmatch(r"perf-[0-9]+\.map", n)):
                path = os.path.join("/tmp", name)
                with open(path, encoding="utf-8") as f:
                    if "$fib [wasm" in f.read():
                        os.unlink(path)

    def test_a_jitdump_gives_perf_names_and_code(self):
        self.record("--engine", "jit", "--profile=jitdump")
        injected = self.perf("inject", "--jit", "-i", "perf.data", "-o", "jit.data")
        self.assertEqual(injected.returncode, 0, injected.stderr)
        share, line = self.hottest("jit.data")
        self.assertIn("$fib [wasm jit]", line)
        self.assertGreater(share, 30)


@unittest.skipUnless(CLANG and HAVE_LIBC, "needs clang-19 with wasi-libc")
class GuestProfile(unittest.TestCase):
    def test_a_guests_own_stacks_are_written_for_flame_graphs(self):
        folder = tempfile.mkdtemp(prefix="wasm-guest-profile-")
        self.addCleanup(shutil.rmtree, folder)
        compile_all(folder)
        done = subprocess.run([BINARY, "wasm", "run", "--engine", "jit", "--profile=guest", "hot.wasm"], cwd=folder, capture_output=True, text=True, timeout=120)
        self.assertEqual((done.returncode, done.stdout), (0, "102334155\n"), done.stderr)
        name = re.fullmatch(r"monopod: profile in (wasm-[0-9]+\.folded)\n", done.stderr)[1]
        with open(os.path.join(folder, name), encoding="utf-8") as f:
            rows = [line.rsplit(" ", 1) for line in f.read().splitlines()]
        together = sum(int(count) for _, count in rows)
        recursive = sum(int(count) for stack, count in rows if stack.endswith(";$fib;$fib"))
        self.assertGreater(together, 10)
        self.assertGreater(recursive, together / 2)


class Modules(unittest.TestCase):
    def check(self, content, *arguments, code, text, command="run"):
        with tempfile.NamedTemporaryFile(suffix=".wasm") as f:
            f.write(content)
            f.flush()
            done = subprocess.run([BINARY, "wasm", command, f.name, *arguments], capture_output=True, text=True)
        self.assertIn(text, done.stdout + done.stderr)
        self.assertEqual(done.returncode == 0, code == 0, done.stderr)

    def test_what_is_no_program_is_refused_with_a_reason(self):
        self.check(b"#!/bin/sh\n", code=1, text="not a WebAssembly binary")
        self.check(b"\0asm\x0d\0\1\0", code=1, text="component (WASI preview 2) is not supported")
        self.check(b"\0asm\1\0\0\0", code=1, text="exports no function _start")
        self.check(b"\0asm\1\0\0\0\1\x04\1\x60\0\0\2\x09\1\1a\3foo\0\0", code=1, text='import "a" "foo": unknown import')

    def test_exports_are_called_with_numbers(self):
        add = b"\0asm\1\0\0\0\1\7\1\x60\2\x7f\x7f\1\x7f\3\2\1\0\7\7\1\3add\0\0\x0a\x09\1\7\0\x20\0\x20\1\x6a\x0b"
        with tempfile.NamedTemporaryFile(suffix=".wasm") as f:
            f.write(add)
            f.flush()
            done = subprocess.run([BINARY, "wasm", "run", "--invoke", "add", f.name, "40", "2"], capture_output=True, text=True)
            self.assertEqual((done.returncode, done.stdout), (0, "42\n"))
            done = subprocess.run([BINARY, "wasm", "run", "--invoke", "add", f.name, "40", "x"], capture_output=True, text=True)
            self.assertIn('"x" is no i32', done.stderr)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=1)
