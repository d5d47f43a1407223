#!/usr/bin/env python3
"""static_test.py BINARY MACHINE NM OBJECT...: the executable is static in form and in fact.

  form   ELF headers (elf.py); the checker itself must notice a dynamic executable
  reach  no object of ours refers to what glibc can only do by loading shared libraries at run time (NSS, iconv, dlopen, locales),
         and what Asio has of it is not linked in
  fact   it runs in a directory that holds nothing but itself"""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import elf

BINARY, MACHINE, NM, OBJECTS = sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:]
RUNNABLE = MACHINE == os.uname().machine

# Undefined symbols of our objects that would drag the host in.
BANNED = re.compile(
    r"^(getaddrinfo|getnameinfo|gethostby\w+|getservby\w+|getprotoby\w+|getnetby\w+|res_\w+"
    r"|getpw(nam|uid|ent)\w*|getgr(nam|gid|ent)\w*|getspnam\w*|initgroups|getlogin\w*|wordexp"
    r"|dlopen|dlmopen|dlsym|dlvsym|iconv\w*|newlocale|_ZNSt6localeC[12]EPKc)$")
# Definitions that must not survive the linker's collection of sections: Asio's resolver.
COLLECTED = re.compile(r"boost::asio::detail::socket_ops::(getaddrinfo|getnameinfo|background_getaddrinfo)\b")


# What the OCI runtime and the first stage of containers are made of: they run before OpenSSL's and SQLite's tables are relocated (cmake/start.h).
EARLY = re.compile(r"libpkg_(base|async|codec|sys|supervisor|container)\.a$")
LATE_LIBRARIES = re.compile(r"^(SSL|TLS|EVP|OPENSSL|CRYPTO|BIO|BN|X509\w*|RAND|SHA\d*|HMAC|PEM|ERR|RSA|EC|ASN1|PKCS\w*|CMS|OSSL|sqlite3)_\w+$")


def nm(*arguments):
    done = subprocess.run([NM, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


class Form(unittest.TestCase):
    def test_binary_is_static_pie_without_interpreter_or_needed_libraries(self):
        machine, wrong = elf.inspect(BINARY)
        self.assertEqual(wrong, [])
        self.assertEqual(machine, elf.MACHINES[MACHINE])

    def test_checker_notices_a_dynamic_executable(self):
        _, wrong = elf.inspect(os.path.realpath(sys.executable))
        self.assertIn("asks for a program interpreter", wrong)
        self.assertTrue(any("shared libraries" in w for w in wrong), wrong)


class Reach(unittest.TestCase):
    def test_our_objects_do_not_call_what_loads_shared_libraries(self):
        self.assertGreater(len(OBJECTS), 10)
        found, where = [], ""
        for line in nm("--undefined-only", "--no-demangle", *OBJECTS):
            if line.endswith(":"):
                where = line[:-1]
            elif line.strip() and BANNED.match(line.split()[-1]):
                found.append(f"{where}: {line.split()[-1]}")
        self.assertEqual(found, [])

    def test_what_runs_before_the_libraries_are_relocated_calls_neither(self):
        early = [path for path in OBJECTS if EARLY.search(path)]
        self.assertEqual(len(early), 6, early)
        self.assertEqual([line.split()[-1] for line in nm("--undefined-only", "--no-demangle", *early) if line.strip() and LATE_LIBRARIES.match(line.split()[-1])], [])
        self.assertTrue(any(LATE_LIBRARIES.match(line.split()[-1]) for line in nm("--undefined-only", "--no-demangle", *OBJECTS) if line.strip()))

    def test_asios_resolver_is_not_linked_in(self):
        symbols = nm("--defined-only", "--demangle", BINARY)
        if not symbols:
            self.skipTest("the binary is stripped")
        self.assertTrue(any("monopod::" in s for s in symbols))
        self.assertEqual([s for s in symbols if COLLECTED.search(s)], [])


@unittest.skipUnless(RUNNABLE, "built for another machine")
@unittest.skipUnless(os.geteuid() == 0, "needs root: chroot")
class Fact(unittest.TestCase):
    def setUp(self):
        self.root = tempfile.mkdtemp(prefix="monopod-static-")
        self.addCleanup(shutil.rmtree, self.root)
        shutil.copy(BINARY, os.path.join(self.root, "monopod"))

    def run_in_chroot(self, *arguments):
        def enter():
            os.chroot(self.root)
            os.chdir("/")
        return subprocess.run(["/monopod", *arguments], preexec_fn=enter, env={"LANG": "de_DE.UTF-8", "LC_ALL": "de_DE.UTF-8"},
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)

    def test_version_and_every_help_in_an_empty_chroot(self):
        for arguments in (["version"], ["version", "-o", "json"], ["--help"], ["--help-all"], ["server", "--help"], ["completion", "bash"]):
            done = self.run_in_chroot(*arguments)
            self.assertEqual((done.returncode, done.stderr), (0, ""), arguments)
            self.assertIn("monopod" if arguments != ["version", "-o", "json"] else "version", done.stdout, arguments)

    def test_commands_that_do_work_run_in_an_empty_chroot(self):
        done = self.run_in_chroot("image", "pack", "--reference", "self:1", "--copy", "/monopod:/bin/monopod", "--entrypoint", "/bin/monopod", "/self.tar")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertGreater(os.path.getsize(os.path.join(self.root, "self.tar")), 1000)

    def test_a_node_that_is_not_there_is_a_plain_error(self):
        done = self.run_in_chroot("image", "ls")
        self.assertGreater(done.returncode, 0, done)  # below zero: died of a signal
        self.assertEqual(len(done.stderr.strip().splitlines()), 1, done.stderr)


if __name__ == "__main__":
    result = unittest.main(argv=sys.argv[:1], exit=False, verbosity=2).result
    sys.exit(0 if result.wasSuccessful() else 1)
