#!/usr/bin/env python3
"""help_test.py BINARY: the --help of every subcommand is the golden text, and wrong command lines end with a clear
message and a code that is not 0. UPDATE_GOLDEN=1 rewrites the golden files."""
import difflib
import os
import re
import subprocess
import sys
import unittest

BINARY = os.path.abspath(sys.argv[1])
GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden")
UPDATE = os.environ.get("UPDATE_GOLDEN") == "1"


def run(*arguments):
    return subprocess.run([BINARY, *arguments], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL,
                          env={"PATH": os.environ["PATH"]})


def subcommands(text):
    """Names below the heading Subcommands: of a help text."""
    section = re.search(r"^Subcommands:\n((?:  .*\n?)+)", text, re.MULTILINE)
    return re.findall(r"^  ([^\s,]+)", section.group(1), re.MULTILINE) if section else []


def walk(path=()):
    """Every command line with its help text, from the root down."""
    done = run(*path, "--help")
    yield path, done
    for name in subcommands(done.stdout):
        yield from walk((*path, name))


class Help(unittest.TestCase):
    maxDiff = None

    def test_every_help_is_the_golden_text(self):
        os.makedirs(GOLDEN, exist_ok=True)
        seen = set()
        for path, done in walk():
            with self.subTest(command=" ".join(("monopod", *path))):
                self.assertEqual((done.returncode, done.stderr), (0, ""))
                name = "-".join(("monopod", *path)) + ".txt"
                seen.add(name)
                file = os.path.join(GOLDEN, name)
                if UPDATE:
                    with open(file, "w", encoding="utf-8") as out:
                        out.write(done.stdout)
                self.assertTrue(os.path.exists(file), f"no golden file {name}: run with UPDATE_GOLDEN=1 and read what it wrote")
                with open(file, encoding="utf-8") as f:
                    expected = f.read()
                if done.stdout != expected:
                    self.fail("\n".join(difflib.unified_diff(expected.splitlines(), done.stdout.splitlines(), name, "now", lineterm="")))
        self.assertGreater(len(seen), 4)
        stale = set(os.listdir(GOLDEN)) - seen
        if UPDATE:
            for name in stale:
                os.remove(os.path.join(GOLDEN, name))
            stale = set()
        self.assertEqual(stale, set(), "golden files of commands that are gone")

    def test_help_lines_fit_a_terminal(self):
        for path, done in walk():
            for line in done.stdout.splitlines():
                self.assertLessEqual(len(line), 160, (path, line))


class WrongCommandLines(unittest.TestCase):
    def test_each_is_refused_with_one_message(self):
        table = [
            ("nothing", []),
            ("unknown command", ["fly"]),
            ("unknown option", ["version", "--colour"]),
            ("value not of the list", ["version", "-o", "xml"]),
            ("number out of range", ["server", "--pods-max", "0"]),
            ("number that is none", ["server", "--stop-timeout", "soon"]),
            ("argument missing", ["image", "load"]),
        ]
        for name, arguments in table:
            with self.subTest(name):
                done = run(*arguments)
                self.assertGreater(done.returncode, 0, done)
                self.assertTrue(done.stderr.strip(), done)
                self.assertLessEqual(len(done.stderr.strip().splitlines()), 3, done.stderr)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
