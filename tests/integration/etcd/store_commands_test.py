#!/usr/bin/env python3
"""`monopod store ...` against `monopod store serve`: every command does what it says, over TCP and over the local socket; backups come
back whole, damaged ones are refused, and a save that is killed leaves nothing that looks like a backup."""
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import unittest

BINARY = os.environ.get("MONOPOD_TEST_BINARY") or os.path.abspath(sys.argv.pop(1))
DEADLINE_S = 30


class Server:
    """One store in a directory of its own; TCP on a port that the kernel picks, and store.sock."""

    def __init__(self, directory, *arguments):
        self.directory = directory
        self.log_path = directory + ".log"
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen([BINARY, "store", "serve", "--data-dir", directory, "--listen", "127.0.0.1:0", "--store-sync", "os", *arguments],
                                            stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        self.port = self.wait_for_port()

    def log(self):
        with open(self.log_path, encoding="utf-8") as f:
            return f.read()

    def wait_for_port(self):
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            found = re.search(r"store serves url=\S*?:(\d+)\b", self.log())
            if found:
                return int(found.group(1))
            if self.process.poll() is not None:
                break
            time.sleep(0.01)
        raise AssertionError("the server did not start:\n" + self.log())

    def stop(self, number=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.process.wait(DEADLINE_S)


def run(*arguments, stdin="", environment=None, timeout=DEADLINE_S):
    return subprocess.run([BINARY, "store", *arguments], input=stdin, capture_output=True, text=True, timeout=timeout, env={**os.environ, **(environment or {})})


class StoreCommands(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="monopod-store-cli-")
        cls.server = Server(os.path.join(cls.folder.name, "data"))

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()
        cls.folder.cleanup()

    def setUp(self):
        self.ok("del", "--prefix", "")

    def file(self, name):
        return os.path.join(self.folder.name, name)

    def ok(self, *arguments, **options):
        done = run(*arguments, "--endpoints", f"127.0.0.1:{self.server.port}", **options)
        self.assertEqual((done.returncode, done.stderr), (0, ""), (arguments, done))
        return done.stdout

    def as_json(self, *arguments, **options):
        return json.loads(self.ok(*arguments, "-o", "json", **options))

    def fails(self, *arguments, **options):
        done = run(*arguments, **options)
        self.assertNotEqual(done.returncode, 0, (arguments, done))
        self.assertTrue(done.stderr.startswith("monopod: store "), done)
        self.assertLessEqual(len(done.stderr.strip().splitlines()), 2, done)
        return done.stderr

    # --- keys

    def test_put_get_del(self):
        self.assertEqual(self.ok("put", "a", "1"), "OK\n")
        self.assertEqual(self.ok("put", "a", "2", "--prev-kv"), "OK\na\n1\n")
        self.assertEqual(self.ok("put", "b", stdin="from standard input"), "OK\n")
        self.assertEqual(self.ok("get", "a"), "a\n2\n")
        self.assertEqual(self.ok("get", "--prefix", "", "--keys-only"), "a\nb\n")
        self.assertEqual(self.ok("get", "--prefix", "", "--print-value-only", "--order", "descend"), "from standard input\n2\n")
        self.assertEqual(self.ok("get", "--prefix", "", "--sort-by", "create", "--order", "descend", "--limit", "1", "--keys-only"), "b\n")
        self.assertEqual(self.ok("get", "a", "c", "--count-only"), "2\n")
        self.assertEqual(self.ok("get", "absent"), "")
        answer = self.as_json("get", "a")
        self.assertEqual((answer["kvs"][0]["value"], answer["kvs"][0]["version"], answer["count"], answer["more"]), ("2", 2, 1, False))
        self.assertEqual(self.ok("get", "a", "--rev", str(answer["kvs"][0]["create_revision"])), "a\n1\n")
        self.assertEqual(self.ok("del", "a", "--prev-kv"), "1\na\n2\n")
        self.assertEqual(self.as_json("del", "--from-key", "a")["deleted"], 1)

    def test_large_ranges_come_in_pages(self):
        for first in range(0, 1100, 110):
            self.ok("txn", stdin="\n" + "".join(f"put k{i:05} {i}\n" for i in range(first, first + 110)) + "\n\n")
        keys = self.ok("get", "--prefix", "k", "--keys-only").split()
        self.assertEqual(keys, [f"k{i:05}" for i in range(1100)])
        limited = self.as_json("get", "--prefix", "k", "--limit", "1050", "--keys-only")
        self.assertEqual((len(limited["kvs"]), limited["count"], limited["more"]), (1050, 1100, True))

    def test_bytes_that_are_no_text(self):
        path = self.file("binary")
        with open(path, "wb") as f:
            f.write(b"\xff\x00\xfe")
        with open(path, "rb") as f:
            subprocess.run([BINARY, "store", "put", "bin", "--endpoints", f"127.0.0.1:{self.server.port}"], stdin=f, check=True, capture_output=True)
        self.assertEqual(self.as_json("get", "bin")["kvs"][0]["value_base64"], "/wD+")

    def test_txn(self):
        self.ok("put", "a", "1")
        text = 'value("a") = "1"\nmod("a") > "0"\n\nput a "two words"\nget a\n\nget a\n'
        self.assertEqual(self.ok("txn", stdin=text), "SUCCESS\n\nOK\n\na\ntwo words\n")
        self.assertEqual(self.ok("txn", stdin=text), "FAILURE\n\na\ntwo words\n")
        self.assertFalse(self.as_json("txn", stdin=text)["succeeded"])
        self.assertIn('"siez" is none of', self.fails("txn", stdin='siez("a") = 1\n\n\n'))

    def test_watch_shows_the_past_and_the_present(self):
        self.ok("put", "w/1", "x")
        first = self.as_json("get", "w/1")["kvs"][0]["mod_revision"]
        self.ok("put", "w/1", "y")
        self.ok("del", "w/1")
        self.assertEqual(self.ok("watch", "--prefix", "w/", "--rev", str(first), "--count", "3", "--prev-kv"), "PUT\nw/1\nx\nPUT\nw/1\nx\nw/1\ny\nDELETE\nw/1\ny\nw/1\n\n")
        watcher = subprocess.Popen([BINARY, "store", "watch", "--prefix", "live/", "--count", "2", "-o", "json", "--endpoints", f"127.0.0.1:{self.server.port}"], stdout=subprocess.PIPE, text=True)
        deadline = time.monotonic() + DEADLINE_S
        while self.as_json("status")[0]["store"]["watchers"] == 0 and time.monotonic() < deadline:
            time.sleep(0.02)
        self.ok("put", "live/1", "a")
        self.ok("put", "other", "b")
        self.ok("del", "live/1")
        events = [json.loads(line) for line in watcher.communicate(timeout=DEADLINE_S)[0].splitlines()]
        self.assertEqual([(e["type"], e["kv"]["key"]) for e in events], [("put", "live/1"), ("delete", "live/1")])

    def test_leases(self):
        lease = re.match(r"lease ([0-9a-f]{16}) granted with TTL\(300s\)\n$", self.ok("lease", "grant", "5m")).group(1)
        self.ok("put", "leased", "x", "--lease", lease)
        self.assertRegex(self.ok("lease", "timetolive", lease, "--keys"), r"granted with TTL\(300s\), remaining\(\d+s\), attached keys\(\[leased\]\)")
        self.assertIn(f"lease {lease} keepalived with TTL(300)", self.ok("lease", "keep-alive", lease, "--once"))
        self.assertIn(lease, self.as_json("lease", "list")["leases"])
        self.assertEqual(self.ok("lease", "revoke", lease), f"lease {lease} revoked\n")
        self.assertEqual(self.ok("get", "leased"), "")
        self.assertEqual(self.ok("lease", "timetolive", lease), f"lease {lease} already expired\n")
        self.assertIn("requested lease not found", self.fails("lease", "revoke", lease, "--endpoints", f"127.0.0.1:{self.server.port}"))

    # --- care

    def test_compact_and_defrag(self):
        for i in range(5):
            self.ok("put", "c", str(i))
        revision = self.as_json("get", "c")["kvs"][0]["mod_revision"]
        self.assertEqual(self.ok("compact", str(revision)), f"compacted revision {revision}\n")
        self.assertIn("compacted", self.fails("get", "c", "--rev", str(revision - 1), "--endpoints", f"127.0.0.1:{self.server.port}"))
        self.assertIn("are compacted", self.fails("watch", "c", "--rev", "2", "--endpoints", f"127.0.0.1:{self.server.port}"))
        self.assertRegex(self.ok("defrag"), r"^defragmented 127.0.0.1:\d+: ")

    def test_history_goes_by_itself(self):
        server = Server(self.file("aged"), "--auto-compaction-mode", "periodic", "--auto-compaction-retention", "1s")
        try:
            here = ("--endpoints", f"127.0.0.1:{server.port}")
            for i in range(5):
                self.assertEqual(run("put", "h", str(i), *here).returncode, 0)
            deadline = time.monotonic() + DEADLINE_S
            while (old := run("get", "h", "--rev", "3", *here)).returncode == 0 and time.monotonic() < deadline:
                run("put", "other", "x", *here)
            self.assertIn("compacted", old.stderr)
            self.assertEqual(json.loads(run("get", "h", "-o", "json", *here).stdout)["kvs"][0]["value"], "4")
        finally:
            server.stop()
        for arguments in (("--auto-compaction-retention", "soon"), ("--auto-compaction-mode", "revision", "--auto-compaction-retention", "1h")):
            done = run("serve", "--data-dir", self.file("never"), "--listen", "127.0.0.1:0", *arguments)
            self.assertEqual((done.returncode, done.stderr.split(":")[:2]), (64, ["monopod", f" --auto-compaction-retention {arguments[-1]}"]))
        self.assertFalse(os.path.exists(self.file("never")))

    def test_status_over_tcp_and_over_the_socket(self):
        self.ok("put", "s", "x" * 10000)
        tcp = self.as_json("status")[0]
        self.assertGreater(tcp["store"]["payload_bytes"], 10000)
        self.assertGreater(tcp["store"]["wal_bytes_written"], 1000)
        local = run("status", "--data-dir", self.server.directory)
        self.assertEqual((local.returncode, local.stderr), (0, ""))
        for words in ("revision", "monopod", "in use", "% free", "alarms", "not scheduled"):
            self.assertIn(words, local.stdout)
        self.assertEqual(os.stat(os.path.join(self.server.directory, "store.sock")).st_mode & 0o777, 0o600)

    def test_check_perf_judges_and_cleans_up(self):
        done = run("check", "perf", "--duration", "1s", "-o", "json", "--endpoints", f"127.0.0.1:{self.server.port}")
        report = json.loads(done.stdout)
        self.assertEqual((report["writes"], report["errors"], report["wanted_per_s"]), (150, 0, 150))
        self.assertEqual(done.returncode == 0, report["pass"])  # how fast this machine is, is not what is tested
        self.assertEqual(self.ok("get", "--prefix", "/monopod-check-perf/", "--count-only"), "0\n")
        self.ok("put", "/mine/1", "x")
        self.assertIn("begin with /mine/ already", self.fails("check", "perf", "--prefix", "/mine/", "--endpoints", f"127.0.0.1:{self.server.port}"))

    def test_errors_name_the_server_and_what_to_do(self):
        text = self.fails("get", "a", "--endpoints", "127.0.0.1:1")
        self.assertIn("store get: connect 127.0.0.1:1: ", text)
        self.assertIn("--endpoints", text)
        self.assertIn("store.sock", self.fails("get", "a", "--data-dir", self.file("nowhere")))
        self.assertIn("--password-file", self.fails("get", "a", "--user", "root:secret"))
        self.assertIn("the key is empty", self.fails("get", "", "--endpoints", f"127.0.0.1:{self.server.port}"))

    # --- dump and backups

    def test_dump_from_server_and_file_are_equal(self):
        revision = self.as_json("del", "none")["revision"]
        self.ok("compact", str(revision))
        for key, value in (("d/1", "one"), ("d/2", "two"), ("d/1", "uno")):
            self.ok("put", key, value)
        self.ok("del", "d/2")
        online = {flags: self.ok("dump", "--prefix", "d/", *flags) for flags in ((), ("--history",), ("--rev", str(revision + 2)), ("--keys-only",))}
        self.assertEqual([json.loads(line)["value"] for line in online[()].splitlines()], ["uno"])
        self.assertEqual([json.loads(line)["type"] for line in online[("--history",)].splitlines()], ["put", "put", "put", "delete"])
        self.assertEqual([json.loads(line)["value"] for line in online[("--rev", str(revision + 2))].splitlines()], ["one", "two"])
        self.assertIn("in use", self.fails("dump", "--file", os.path.join(self.server.directory, "state.db")))
        backup, restored = self.file("dump.db.zst"), self.file("dump-restored")
        self.ok("snapshot", "save", backup)
        self.assertEqual(run("snapshot", "restore", backup, "--data-dir", restored).returncode, 0)
        for flags, text in online.items():
            offline = run("dump", "--file", os.path.join(restored, "state.db"), "--prefix", "d/", *flags)
            self.assertEqual((offline.returncode, offline.stdout), (0, text), (flags, offline.stderr))

    def test_backup_comes_back(self):
        self.ok("put", "kept", "yes")
        backup, data = self.file("b.db.zst"), self.file("restored")
        self.assertRegex(self.ok("snapshot", "save", backup), r"^saved \S+: revision \d+, ")
        self.assertEqual(os.stat(backup).st_mode & 0o777, 0o600)
        self.assertIn("there is such a file", self.fails("snapshot", "save", backup, "--data-dir", self.server.directory))
        status = json.loads(run("snapshot", "status", backup, "-o", "json").stdout)
        self.assertEqual(run("snapshot", "restore", backup, "--data-dir", data, "--bump-revision", "1000").returncode, 0)
        self.assertIn("not empty", self.fails("snapshot", "restore", backup, "--data-dir", data))
        self.assertIn(": sound, ", run("fsck", os.path.join(data, "state.db")).stdout)
        second = Server(data)
        try:
            done = run("get", "kept", "-o", "json", "--data-dir", data)
            answer = json.loads(done.stdout)
            self.assertEqual((answer["kvs"][0]["value"], answer["revision"]), ("yes", status["revision"] + 1000))
        finally:
            second.stop()

    def test_a_damaged_backup_is_refused(self):
        backup = self.file("damaged.db.zst")
        self.ok("snapshot", "save", backup)
        with open(backup, "r+b") as f:
            f.seek(os.path.getsize(backup) // 2)
            byte = f.read(1)
            f.seek(-1, 1)
            f.write(bytes([byte[0] ^ 1]))
        self.assertIn("damaged", self.fails("snapshot", "status", backup))
        self.assertIn("damaged", self.fails("snapshot", "restore", backup, "--data-dir", self.file("never")))
        self.assertFalse(os.path.exists(self.file("never")))

    def test_a_save_that_is_killed_leaves_no_backup(self):
        backup = self.file("killed.db.zst")
        process = subprocess.Popen([BINARY, "store", "snapshot", "save", backup, "--data-dir", self.server.directory], stdout=subprocess.DEVNULL,
                                   env={**os.environ, "MONOPOD_FAILPOINTS": "backup.before_rename=delay(60000)"})
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline and not (os.path.exists(backup + ".partial") and os.path.getsize(backup + ".partial") > 0):
            time.sleep(0.01)
        process.kill()
        process.wait(DEADLINE_S)
        self.assertFalse(os.path.exists(backup))
        self.assertTrue(os.path.exists(backup + ".partial"))
        self.ok("snapshot", "save", backup)
        self.assertEqual(run("snapshot", "status", backup).returncode, 0)
        self.assertFalse(os.path.exists(backup + ".partial"))

    def test_copies_left_by_a_killed_server_are_removed(self):
        data = self.file("killed-data")
        os.mkdir(data, 0o700)
        left = os.path.join(data, "backup-copy-0.db")
        with open(left, "wb") as f:
            f.write(b"half")
        server = Server(data, "--backup-dir", self.file("backups"), "--backup-every", "1h")
        try:
            self.assertFalse(os.path.exists(left))
            done = run("status", "--data-dir", data, "-o", "json")
            backup = json.loads(done.stdout)[0]["backup"]
            self.assertEqual((backup["every_s"], backup["keep"], backup["last_error"]), (3600, 8, ""))
        finally:
            server.stop()

    def test_fsck_shows_findings(self):
        backup, data = self.file("f.db.zst"), self.file("f")
        value = os.urandom(200)  # nothing to compress: it stands in the file as it is
        put = subprocess.run([BINARY, "store", "put", "f", "--endpoints", f"127.0.0.1:{self.server.port}"], input=value, capture_output=True, timeout=DEADLINE_S)
        self.assertEqual(put.returncode, 0, put)
        self.ok("snapshot", "save", backup)
        self.assertEqual(run("snapshot", "restore", backup, "--data-dir", data).returncode, 0)
        path = os.path.join(data, "state.db")
        with open(path, "r+b") as f:
            content = f.read()
            f.seek(content.index(value[:100]))
            f.write(bytes([value[0] ^ 1]))
        done = run("fsck", path, "-o", "json")
        report = json.loads(done.stdout)
        self.assertNotEqual(done.returncode, 0)
        self.assertEqual([f["problem"] for f in report["findings"]], ["checksum does not match"])
        self.assertIn("PLACE", run("fsck", path).stdout)


if __name__ == "__main__":
    unittest.main(verbosity=1)
