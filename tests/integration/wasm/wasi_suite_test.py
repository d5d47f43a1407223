#!/usr/bin/env python3
"""wasi_suite_test.py BINARY: what the public WASI preview 1 suites check, as cases of programs/wasi_calls.c, on both engines. COVERS names, for each case, the tests
whose behaviour it holds: of WebAssembly/wasi-testsuite (tests/rust, tests/c, tests/assemblyscript), which wasmtime's preview 1 tests share most of; "wasmtime:" and
"node:" where only those have it. Where two suites want different errors the first wins; KNOWN says which."""
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

BINARY = os.path.abspath(sys.argv[1])
HERE = os.path.dirname(os.path.abspath(__file__))
CLANG = shutil.which("clang-19")
HAVE_LIBC = os.path.exists("/usr/include/wasm32-wasi/stdio.h")

COVERS = {
    "removed_things_may_be_made_again": "dangling_fd",
    "grants_may_be_closed_and_replaced": "close_preopen overwrite_preopen",
    "descriptors_are_renumbered": "renumber",
    "standard_streams_may_be_moved": "stdio",
    "standard_streams_tell_nothing_of_the_host": "fd_filestat_get wasmtime:stdio_not_isatty",
    "terminals_are_terminals": "wasmtime:stdio_isatty",
    "directories_are_no_files": "dir_fd_op_failures directory_seek",
    "a_file_is_no_directory": "path_open_dirfd_not_dir isatty sock_shutdown-invalid_fd sock_shutdown-not_sock node:notdir",
    "rights_can_be_given_up_and_not_taken_back": "fd_fdstat_set_rights",
    "the_grant_has_the_rights_that_libraries_expect": "path_open_preopen path_open_nonblock",
    "truncation_needs_its_right": "truncation_rights",
    "files_are_opened_for_what_was_asked": "path_open_read_write path_open_missing path_open_create_existing fopen-with-access fopen-with-no-access wasmtime:path_open_lots",
    "positions_move_as_posix_has_it": "file_seek_tell lseek",
    "reading_and_writing_at_an_offset_leaves_the_position": "file_pread_pwrite pread-with-access pwrite-with-access",
    "what_one_descriptor_writes_another_reads": "file_unbuffered_write wasmtime:file_write wasmtime:file_read_write",
    "appending_is_a_flag_that_can_be_changed": "fd_flags_set pwrite-with-append",
    "sizes_and_times_are_set": "fd_filestat_set fd_advise file_allocate file_truncation fstflags_validate path_filestat node:ftruncate",
    "directories_are_listed_in_pieces": "fd_readdir fdopendir-with-access stat-dev-ino node:readdir",
    "directories_are_removed_when_empty": "remove_directory_trailing_slashes remove_nonempty_directory unlink_file_trailing_slashes",
    "renaming_follows_posix": "path_rename path_rename_dir_trailing_slashes",
    "paths_are_interesting": "interesting_paths",
    "symlinks_are_followed_where_that_is_asked": "dangling_symlink nofollow_errors symlink_create symlink_loop path_exists node:symlink_escape node:follow_symlink",
    "symlinks_have_times_and_targets_of_their_own": "symlink_filestat readlink",
    "names_with_slashes_are_directories": "path_symlink_trailing_slashes",
    "hard_links_are_the_same_file": "path_link node:link",
    "clocks_run_and_randomness_is_random": "clock_time_get clock_getres-monotonic clock_getres-realtime clock_gettime-monotonic clock_gettime-realtime big_random_buf random_get-zero-length "
                                           "random_get-non-zero-length sched_yield node:getrusage node:getentropy",
    "waits_end_for_time_and_files": "poll_oneoff_stdio wasmtime:poll_oneoff_files",
}
WITHOUT_TERMINAL = [case for case in COVERS if case != "terminals_are_terminals"]
# Of wasm_test.py: arguments, environment, exit codes, standard output (args_*, environ_*, fd_write-*, proc_exit-*, node:main_args, node:exitcode, node:stdin).
KNOWN = {
    "node:cant_dotdot": "wants ENOTCAPABLE where wasmtime wants EPERM for a path with too many \"..\"",
    "node:sock": "wants ENOTSUP of accept on a file, where wasi-testsuite wants ENOTSOCK of shutdown",
}


@unittest.skipUnless(CLANG and HAVE_LIBC, "needs clang-19, wasi-libc and libclang-rt-19-dev-wasm32")
class WasiSuite(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="wasi-suite-")
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.program = os.path.join(cls.folder, "calls.wasm")
        subprocess.run([CLANG, "--target=wasm32-wasi", "-O1", "-Wall", "-Wextra", "-Werror", "-mbulk-memory", "-o", cls.program, os.path.join(HERE, "programs", "wasi_calls.c")], check=True)

    def run_case(self, *arguments, engine="auto", sandbox=False):
        scratch = tempfile.mkdtemp(dir=self.folder)
        options = ["--sandbox"] if sandbox else []
        return subprocess.run([BINARY, "wasm", "run", "--engine", engine, "--timeout", "60s", *options, "--dir", scratch + ":/", self.program, *arguments],
                              capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120)

    def test_the_table_names_every_case(self):
        self.assertEqual(sorted(self.run_case().stdout.split()), sorted(COVERS))
        named = [test for tests in COVERS.values() for test in tests.split()]
        self.assertEqual(len(named), len(set(named)))
        self.assertFalse(set(named) & set(KNOWN))

    def test_calls_do_what_the_public_suites_want(self):
        for engine in ("interpreter", "jit"):
            for case in WITHOUT_TERMINAL:
                with self.subTest(case=case, engine=engine):
                    done = self.run_case(case, engine=engine)
                    self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_a_terminal_is_told_from_what_looks_like_one(self):
        ours, theirs = os.openpty()
        self.addCleanup(os.close, ours)
        argv = [BINARY, "wasm", "run", self.program, "terminals_are_terminals"]
        self.assertEqual(subprocess.run(argv, stdin=theirs, stdout=theirs, stderr=theirs, timeout=60).returncode, 0)
        self.assertEqual(subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, timeout=60).returncode, 1)  # /dev/null is a device, too
        os.close(theirs)

    def test_calls_do_the_same_in_a_sandbox(self):
        for case in WITHOUT_TERMINAL:
            with self.subTest(case=case):
                done = self.run_case(case, sandbox=True)
                if "gives no user namespace" in done.stderr:
                    self.skipTest(done.stderr)
                self.assertEqual((done.returncode, done.stderr), (0, ""))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=1)
