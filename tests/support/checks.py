"""What integration tests share: what they need, waiting for things, checks with a name and a closing line."""
import os
import subprocess
import sys
import threading
import time
import traceback


def skip(reason):
    print(f"SKIPPED: {os.path.basename(sys.argv[0])}: {reason}")
    sys.exit(77)


def binary():
    path = os.environ.get("MONOPOD_TEST_BINARY") or os.environ.get("MONOPOD_BINARY")
    if not path or not os.path.exists(path):
        skip("MONOPOD_TEST_BINARY is not set")
    return path


def need_root():
    if os.geteuid() != 0:
        skip("needs root: it makes network and mount namespaces")
    if subprocess.run(["unshare", "-m", "-n", "true"], capture_output=True).returncode != 0:
        skip("this host does not allow new namespaces")


def running(words):
    """The processes, as texts of their numbers, of whose command line this is a part."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as f:
                if words in f.read():
                    found.append(pid)
        except (FileNotFoundError, ProcessLookupError):
            pass
    return found


def until(what, condition, seconds=30, every=0.1):
    deadline = time.monotonic() + seconds
    last = None
    while time.monotonic() < deadline:
        try:
            last = condition()
            if last:
                return last
        except (AssertionError, KeyError, IndexError, OSError, ValueError) as e:
            last = e
        time.sleep(every)
    raise AssertionError(f"{what}: not within {seconds} s (last: {last})")


def check(condition, what=""):
    if not condition:
        raise AssertionError(what or "not so")


def same(actual, expected):
    if actual != expected:
        raise AssertionError(f"{actual!r} is not {expected!r}")


def contains(text, part):
    if part not in text:
        raise AssertionError(f"{part!r} is not in {text!r}")


class Checks:
    """only: a part of the name of those to run; all otherwise."""

    def __init__(self, only=None):
        self.passed, self.failed, self.only = 0, [], only
        self.lock = threading.Lock()

    def run(self, name, function):
        if self.only and self.only not in name:
            return
        begin = time.monotonic()
        try:
            function()
            with self.lock:
                self.passed += 1
            print(f"ok   {name} ({time.monotonic() - begin:.2f} s)", flush=True)
        except Exception as e:  # noqa: BLE001 - every failure is reported by name
            self.failed.append(name)
            where = [frame for frame in traceback.extract_tb(e.__traceback__) if frame.filename != __file__ or frame.name == "run"][-1]
            print(f"FAIL {name}: {type(e).__name__}: {str(e) or where.line} ({os.path.basename(where.filename)}:{where.lineno})", flush=True)

    def finish(self):
        print(f"{self.passed} passed, {len(self.failed)} failed" + (": " + ", ".join(self.failed) if self.failed else ""))
        return 1 if self.failed else 0
