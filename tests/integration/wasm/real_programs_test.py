#!/usr/bin/env python3
"""real_programs_test.py BINARY: programs that others have built for WASI, as npm packages ship them: CPython, PHP, Ruby, SQLite, clang with its linker. Versions and
contents are pinned in real_programs/; `make test-long` fetches them (120 MB)."""
import os
import shutil
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
import unittest

BINARY = os.path.abspath(sys.argv[1])
HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.abspath(os.path.join(HERE, "..", "..", ".."))
MODULES = os.path.join(os.environ.get("MONOPOD_WASM_PROGRAMS") or os.path.join(ROOT, "build", "tools", "wasm-programs"), "node_modules")
PYTHON = os.path.join(MODULES, "@antonz", "python-wasi", "dist", "python.wasm")
LANGS = os.path.join(MODULES, "@runno", "sandbox", "dist", "langs")


@unittest.skipUnless(os.path.exists(PYTHON) and os.path.exists(LANGS), "needs packaging/scripts/get-npm tests/integration/wasm/real_programs build/tools/wasm-programs (make test-long)")
class RealPrograms(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="wasm-real-")
        self.addCleanup(shutil.rmtree, self.folder)

    def run_program(self, program, *arguments, stdin="", code=0):
        done = subprocess.run([BINARY, "wasm", "run", "--cache-dir", os.path.join(self.folder, "cache"), "--dir", self.folder + ":/", program, *arguments],
                              capture_output=True, text=True, input=stdin, timeout=280)
        self.assertEqual(done.returncode, code, done.stderr[-2000:])
        return done.stdout

    def write(self, name, text):
        with open(os.path.join(self.folder, name), "w", encoding="utf-8") as f:
            f.write(text)

    def test_cpython(self):
        code = ("import sys, json, hashlib, zlib, os\nwith open('/out', 'w') as f: f.write('x' * 100000)\n"
                "print(sys.version_info[:2], json.dumps({'a': [1, 2.5, None]}), hashlib.sha256(b'x').hexdigest()[:8], os.stat('/out').st_size, sum(i * i for i in range(100000)))")
        first = self.run_program(PYTHON, "-c", code)
        self.assertEqual(first, '(3, 12) {"a": [1, 2.5, null]} 2d711642 100000 333328333350000\n')
        self.assertEqual(self.run_program(PYTHON, "-c", code), first)  # from the cache
        self.assertEqual(self.run_program(PYTHON, "-c", "raise SystemExit(7)", code=7), "")

    def test_sqlite_on_a_file_in_the_first_snapshot_of_wasi(self):
        program = os.path.join(LANGS, "sqlite.wasm")
        self.run_program(program, "/x.db", "create table t(a, b); insert into t values (1, 'one'), (2, 'two'), (3, null); create index i on t(b);")
        self.assertEqual(self.run_program(program, "/x.db", "select sum(a), group_concat(b), (select count(*) from t where b is null) from t;"), "6|one,two|1\n")
        self.assertEqual(self.run_program(program, "/x.db", "with recursive c(x) as (select 1 union all select x + 1 from c where x < 100000) select sum(x) from c;"), "5000050000\n")
        with sqlite3.connect(os.path.join(self.folder, "x.db")) as db:  # the host's own agrees
            self.assertEqual(db.execute("pragma integrity_check").fetchall(), [("ok",)])
            self.assertEqual(db.execute("select b from t where a = 2").fetchall(), [("two",)])

    def test_php_and_ruby(self):
        self.write("a.php", '<?php echo PHP_MAJOR_VERSION, " ", array_sum(range(1, 1000)), " ", strrev("abc"), " ", preg_replace("/b+/", "-", "abbbc"), "\\n";')
        self.assertTrue(self.run_program(os.path.join(LANGS, "php-cgi-8.2.0.wasm"), "/a.php").endswith("8 500500 cba a-c\n"))
        self.assertEqual(self.run_program(os.path.join(LANGS, "ruby-3.2.0.wasm"), "-e", 'puts RUBY_VERSION, (1..1000).sum, [3, 1, 2].sort.inspect; begin; raise "x"; rescue => e; puts e.message; end'),
                         "3.2.0\n500500\n[1, 2, 3]\nx\n")

    def test_a_compiler_and_a_linker_make_a_program_that_runs(self):
        with tarfile.open(os.path.join(LANGS, "clang-fs.tar.gz")) as files:
            files.extractall(self.folder)
        self.write("h.c", '#include <stdio.h>\nint main(int argc, char **argv) { printf("%s %d\\n", argv[1], 6 * 7); return argc; }\n')
        self.run_program(os.path.join(LANGS, "clang.wasm"), "-cc1", "-triple", "wasm32-unknown-wasi", "-isysroot", "/sys", "-internal-isystem", "/sys/lib/clang/8.0.1/include",
                         "-internal-isystem", "/sys/include", "-emit-obj", "-O2", "-o", "/h.o", "-x", "c", "/h.c")
        self.run_program(os.path.join(LANGS, "wasm-ld.wasm"), "--no-threads", "-L/sys/lib/wasm32-wasi", "/sys/lib/wasm32-wasi/crt1.o", "/h.o", "-lc", "-o", "/h.wasm")
        self.assertEqual(self.run_program(os.path.join(self.folder, "h.wasm"), "made", code=2), "made 42\n")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=1)
