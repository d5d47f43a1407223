#!/usr/bin/env python3
"""Real clients against `monopod store serve` on loopback: curl at the JSON gateway, etcdctl's recipes beside the gateway's, npm's etcd3.
Each is skipped with a message where it is not installed."""
import base64
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", ".."))
sys.path.insert(0, os.path.join(ROOT, "tests", "support"))

from ports import free_port  # noqa: E402

BINARY = os.environ.get("MONOPOD_TEST_BINARY") or os.environ.get("MONOPOD_BINARY") or ""
ETCD3 = os.environ.get("MONOPOD_ETCD3") or os.path.join(ROOT, "build", "tools", "etcd3")
LONG = bool(os.environ.get("MONOPOD_LONG"))


class Store:
    """A store of its own, on a port of its own."""

    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix="monopod-clients-")
        self.process = subprocess.Popen([BINARY, "store", "serve", "--data-dir", os.path.join(self.directory, "data"), "--listen", "127.0.0.1:0"],
                                        stderr=subprocess.PIPE, text=True)
        for line in self.process.stderr:
            found = re.search(r"url=http://(127\.0\.0\.1:(\d+))", line)
            if found:
                self.address, self.port = found.group(1), int(found.group(2))
                break
        else:
            raise RuntimeError("the store did not start")
        self.reader = threading.Thread(target=self.process.stderr.read, daemon=True)
        self.reader.start()

    def stop(self):
        self.process.terminate()
        self.process.wait(20)
        self.reader.join()
        self.process.stderr.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def etcdctl(self, *arguments, **options):
        return subprocess.run(self.command(*arguments), capture_output=True, text=True, timeout=20, **options)

    def command(self, *arguments):
        return ["etcdctl", "--endpoints", self.address, *arguments]

    def post(self, path, message, *options):
        """(status, body) of the gateway."""
        done = subprocess.run(["curl", "-s", "-m", "10", "-w", "\n%{http_code}", *options, f"http://{self.address}{path}", "-d", json.dumps(message)],
                              capture_output=True, text=True, timeout=20)
        body, _, status = done.stdout.rpartition("\n")
        return int(status), body

    def ask(self, path, message):
        status, body = self.post(path, message)
        assert status == 200, body
        return json.loads(body)

    def count(self, prefix):
        end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
        return int(self.ask("/v3/kv/range", {"key": b64(prefix), "range_end": b64(end), "count_only": True}).get("count", "0"))


def b64(text):
    return base64.b64encode(text.encode()).decode()


def until(what, condition, seconds=10):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError(f"timed out: {what}")


class Background:
    """A client that runs until the block ends. Its output is in lines()."""

    def __init__(self, command, **options):
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.PIPE, **options)
        self.output = b""
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        while chunk := os.read(self.process.stdout.fileno(), 65536):
            self.output += chunk

    def text(self):
        return self.output.decode()

    def send(self, line):
        self.process.stdin.write(line.encode())
        self.process.stdin.flush()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.reader.join()
        self.process.stdin.close()
        self.process.stdout.close()


class Relay:
    """Forwards connections to a port; cut() drops those there are."""

    def __init__(self, port):
        self.target, self.pairs = port, []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self.target))
            self.pairs.append((near, far))
            for a, b in ((near, far), (far, near)):
                threading.Thread(target=self.pump, args=(a, b), daemon=True).start()

    @staticmethod
    def pump(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass
        for one in (source, sink):
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def cut(self):
        for pair in self.pairs:
            for one in pair:
                try:
                    one.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
        self.pairs = []

    def close(self):
        self.listener.close()
        self.cut()


class Case(unittest.TestCase):
    needs = ()

    def setUp(self):
        for tool in self.needs:
            if not shutil.which(tool):
                print(f"SKIPPED: {self.id()}: no {tool}")
                self.skipTest(f"no {tool}")
        self.store = Store()
        self.addCleanup(self.store.stop)


class Gateway(Case):
    needs = ("curl",)

    def test_answers_over_both_http_versions(self):
        self.store.ask("/v3/kv/put", {"key": b64("foo"), "value": b64("bar")})
        for version in ("--http1.1", "--http2-prior-knowledge"):
            status, body = self.store.post("/v3/kv/range", {"key": b64("foo")}, version)
            self.assertEqual(status, 200, body)
            self.assertEqual(json.loads(body)["kvs"][0]["value"], b64("bar"))
            status, body = self.store.post("/v3/kv/range", {}, version)
            self.assertEqual((status, json.loads(body)),
                             (400, {"error": "etcdserver: key is not provided", "message": "etcdserver: key is not provided", "code": 3}))

    def test_watch_streams_lines_and_ends_with_its_client(self):
        with Background(["curl", "-s", "-N", f"http://{self.store.address}/v3/watch", "-d", json.dumps({"create_request": {"key": b64("w")}})]) as watch:
            until("the watch", lambda: '"created":true' in watch.text())
            self.store.ask("/v3/kv/put", {"key": b64("w"), "value": b64("1")})
            until("the event", lambda: '"events":[{"kv":{' in watch.text())
            self.assertEqual([list(json.loads(line)) for line in watch.text().splitlines()], [["result"], ["result"]])
            self.assertIn("etcd_debugging_mvcc_watcher_total 1\n", self.metrics())
        until("the end of the watch", lambda: "etcd_debugging_mvcc_watcher_total 0\n" in self.metrics())

    def metrics(self):
        return subprocess.run(["curl", "-s", f"http://{self.store.address}/metrics"], capture_output=True, text=True, timeout=10).stdout

    def test_a_client_that_hangs_up_leaves_the_lock_queue(self):
        for version in ("--http1.1", "--http2-prior-knowledge"):
            held = self.store.ask("/v3/lock/lock", {"name": b64("m")})["key"]
            with Background(["curl", "-s", version, f"http://{self.store.address}/v3/lock/lock", "-d", json.dumps({"name": b64("m")})]):
                until("two candidates", lambda: self.store.count("m/") == 2)
            until("one candidate", lambda: self.store.count("m/") == 1)
            self.store.ask("/v3/lock/unlock", {"key": held})
            self.assertEqual(self.store.count("m/"), 0)


class Etcdctl(Case):
    needs = ("etcdctl", "curl")

    def test_locks_are_shared_with_the_lock_service(self):
        held = self.store.ask("/v3/lock/lock", {"name": b64("job")})["key"]
        with Background(self.store.command("lock", "job")) as waiting:
            until("a second candidate", lambda: self.store.count("job/") == 2)
            time.sleep(0.2)
            self.assertEqual(waiting.text(), "")
            self.store.ask("/v3/lock/unlock", {"key": held})
            until("the lock", lambda: waiting.text().startswith("job/"))
            with Background(["curl", "-s", f"http://{self.store.address}/v3/lock/lock", "-d", json.dumps({"name": b64("job")})]) as next_one:
                until("a third candidate", lambda: self.store.count("job/") == 2)
                self.assertEqual(next_one.text(), "")
                waiting.process.terminate()  # etcdctl gives the lock back
                until("the lock passes on", lambda: '"key"' in next_one.text())

    def test_elections_are_shared_with_the_election_service(self):
        with Background(self.store.command("elect", "boss", "ctl")) as leader, Background(self.store.command("elect", "-l", "boss")) as listener:
            until("the leader", lambda: leader.text().endswith("ctl\n"))
            seen = self.store.ask("/v3/election/leader", {"name": b64("boss")})["kv"]
            self.assertEqual(seen["value"], b64("ctl"))
            lease = self.store.ask("/v3/lease/grant", {"TTL": 60})["ID"]
            campaign = ["curl", "-s", f"http://{self.store.address}/v3/election/campaign", "-d",
                        json.dumps({"name": b64("boss"), "lease": lease, "value": b64("gateway")})]
            with Background(campaign) as next_one:
                until("a second candidate", lambda: self.store.count("boss/") == 2)
                leader.process.terminate()
                until("the next leader", lambda: '"leader"' in next_one.text())
                mine = json.loads(next_one.text())["leader"]
            until("the listener", lambda: listener.text().endswith("gateway\n"))
            self.store.ask("/v3/election/proclaim", {"leader": mine, "value": b64("gateway2")})
            until("the proclamation", lambda: listener.text().endswith("gateway2\n"))
            self.store.ask("/v3/election/resign", {"leader": mine})
            status, body = self.store.post("/v3/election/proclaim", {"leader": mine})
            self.assertEqual((status, json.loads(body)["message"]), (500, "election: not leader"))

    def test_make_mirror_copies_to_another_store(self):
        other = Store()
        self.addCleanup(other.stop)
        self.store.etcdctl("put", "a/1", "one")
        with Background(self.store.command("make-mirror", "--prefix", "a/", "--dest-prefix", "b/", other.address)):
            until("what was there", lambda: other.etcdctl("get", "b/1").stdout == "b/1\none\n")
            self.store.etcdctl("put", "a/2", "two")
            self.store.etcdctl("del", "a/1")
            until("what came later", lambda: other.etcdctl("get", "", "--prefix").stdout == "b/2\ntwo\n")

    def test_endpoint_tells_health_status_and_hash(self):
        self.assertIn("is healthy", self.store.etcdctl("endpoint", "health").stderr + self.store.etcdctl("endpoint", "health").stdout)
        self.assertIn("3.5", self.store.etcdctl("endpoint", "status", "-w", "table").stdout)
        self.assertRegex(self.store.etcdctl("endpoint", "hashkv").stdout, rf"{self.store.address}, \d+")

    def test_interactive_watch_takes_more_than_one_range(self):
        with Background(self.store.command("watch", "-i")) as watch:
            watch.send("watch x\nwatch p --prefix\n")
            until("both watches", lambda: "etcd_debugging_mvcc_watcher_total 2\n" in Gateway.metrics(self))
            for key in ("x", "p1", "q"):
                self.store.etcdctl("put", key, "v")
            until("both events", lambda: watch.text() == "PUT\nx\nv\nPUT\np1\nv\n")

    def test_check_perf_passes(self):
        if not LONG:
            self.skipTest("takes a minute: MONOPOD_LONG=1")
        done = subprocess.run(self.store.command("check", "perf", "--load", "s"), capture_output=True, text=True, timeout=120)
        self.assertIn("PASS: Throughput", done.stdout, done.stdout)


class RealEtcd(Store):
    """etcd itself, where it is installed."""

    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix="monopod-clients-")
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        client, peer = f"http://{self.address}", f"http://127.0.0.1:{free_port()}"
        self.process = subprocess.Popen(["etcd", "--data-dir", os.path.join(self.directory, "data"), "--listen-client-urls", client, "--advertise-client-urls",
                                         client, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}"],
                                        stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        until("etcd to start", lambda: self.post("/v3/kv/range", {"key": "AA=="})[0] == 200)

    def stop(self):
        self.process.terminate()
        self.process.wait(20)
        shutil.rmtree(self.directory, ignore_errors=True)


class SameAnswers(Case):
    needs = ("curl", "etcd")

    # Each with what must be the same: all of the answer, or of an error its status and code.
    CALLS = [
        ("/v3/kv/put", {"key": b64("foo"), "value": b64("bar")}),
        ("/v3/kv/put", {"key": b64("foo"), "value": b64("baz"), "prevKv": True}),
        ("/v3/kv/put", {"key": b64("fop")}),
        ("/v3/kv/put", {"key": b64("lost"), "lease": 99}),
        ("/v3/kv/range", {"key": b64("foo")}),
        ("/v3/kv/range", {"key": b64("f"), "rangeEnd": b64("g"), "sortOrder": "DESCEND", "sort_target": 3, "limit": "1"}),
        ("/v3/kv/range", {"key": b64("f"), "range_end": b64("g"), "count_only": True}),
        ("/v3/kv/range", {"key": b64("f"), "range_end": b64("g"), "keys_only": True, "min_mod_revision": 4}),
        ("/v3/kv/range", {"key": b64("foo"), "revision": 2, "unknown": [1, {}]}),
        ("/v3/kv/range", {"key": b64("foo"), "revision": "99"}),
        ("/v3/kv/range", {}),
        ("/v3/kv/range", {"key": None}),
        ("/v3/kv/range", {"key": 7}),
        ("/v3/kv/range", {"key": "*"}),
        ("/v3/kv/range", {"key": b64("foo"), "sort_order": "UP"}),
        ("/v3/kv/range", {"key": b64("foo"), "limit": 1.5}),
        ("/v3/kv/range", {"key": b64("foo"), "limit": "1e1"}),
        ("/v3/kv/range", {"key": b64("foo"), "keys_only": "true"}),
        ("/v3beta/kv/range", {"key": b64("fop")}),
        ("/v3/kv/txn", {"compare": [{"key": b64("foo"), "target": "VALUE", "value": b64("baz")}, {"key": b64("no"), "target": 1, "createRevision": "0"}],
                        "success": [{"requestRange": {"key": b64("foo")}}, {"request_put": {"key": b64("a"), "value": b64("b")}}],
                        "failure": [{"request_delete_range": {"key": b64("foo")}}]}),
        ("/v3/kv/txn", {"compare": [{"key": b64("foo"), "result": "LESS", "target": "VERSION", "version": 1}],
                        "failure": [{"request_txn": {"success": [{"requestDeleteRange": {"key": b64("a"), "prev_kv": True}}]}}]}),
        ("/v3/kv/txn", {}),
        ("/v3/kv/txn", {"success": [{"request_put": {"key": b64("x")}}, {"request_put": {"key": b64("x")}}]}),
        ("/v3/kv/deleterange", {"key": b64("fop"), "prev_kv": True}),
        ("/v3/kv/compaction", {"revision": 3}),
        ("/v3/kv/compaction", {"revision": 2}),
        ("/v3/kv/range", {"key": b64("foo"), "revision": 2}),
        ("/v3/lease/grant", {"TTL": 100, "ID": 7}),
        ("/v3/lease/timetolive", {"ID": "8", "keys": True}),
        ("/v3/kv/lease/leases", {}),
        ("/v3/lease/keepalive", {"ID": 7}),
        ("/v3/lease/keepalive", {"ID": 77}),
        ("/v3/lease/revoke", {"ID": 99}),
        ("/v3/lock/lock", {"name": b64("m"), "lease": 7}),
        ("/v3/lock/lock", {"name": b64("m"), "lease": 7}),
        ("/v3/kv/range", {"key": b64("m/"), "range_end": b64("m0")}),
        ("/v3/lock/unlock", {"key": b64("m/7")}),
        ("/v3/lock/unlock", {"key": b64("m/7")}),
        ("/v3/lock/unlock", {}),
        ("/v3/lock/lock", {"name": b64("m"), "lease": 98}),
        ("/v3/election/leader", {"name": b64("e")}),
        ("/v3/election/campaign", {"name": b64("e"), "lease": 7, "value": b64("one")}),
        ("/v3/election/campaign", {"name": b64("e"), "lease": 98, "value": b64("one")}),
        ("/v3/election/leader", {"name": b64("e")}),
        ("/v3/election/proclaim", {"leader": {"name": b64("e"), "key": b64("e/7"), "rev": 1, "lease": 7}}),
        ("/v3/election/resign", {"leader": {"name": b64("e"), "key": b64("e/7"), "rev": 1, "lease": 7}}),
        ("/v3/election/proclaim", {}),
        ("/v3/election/resign", {}),
        ("/v3/nothing", {}),
    ]

    @staticmethod
    def facts(status, body):
        if status == 404 and not body.startswith("{"):
            return status, body.strip()
        told = json.loads(body)
        if "error" in told and "code" in told:  # texts of what JSON means are each server's own, those of etcd are not
            return status, told["code"], told["error"] if told["error"].startswith(("etcdserver", "election", '"leader"')) else ""

        def plain(value, depth=0):
            if isinstance(value, list):
                return [plain(one, depth + 1) for one in value]
            if not isinstance(value, dict):
                return value
            # Who answers differs, so does what the parts of a transaction say of it.
            kept = {k: plain(v, depth + 1) for k, v in value.items() if k not in ("cluster_id", "member_id", "raft_term")}
            if depth > 1:
                kept.pop("header", None)
            return kept

        return status, json.dumps(plain(told))  # the order of the fields too

    def test_gateway_answers_as_etcd_does(self):
        etcd = RealEtcd()
        self.addCleanup(etcd.stop)
        for path, message in self.CALLS:
            with self.subTest(path=path, message=message):
                self.assertEqual(self.facts(*self.store.post(path, message)), self.facts(*etcd.post(path, message)))


class Etcd3(Case):
    needs = ("node",)

    def test_npm_client_works(self):
        if not os.path.isdir(os.path.join(ETCD3, "node_modules", "etcd3")):
            print("SKIPPED: Etcd3: no npm client: run make test-deps")
            self.skipTest("no npm client")
        relay = Relay(self.store.port)
        self.addCleanup(relay.close)
        script = os.path.join(ROOT, "tests", "integration", "etcd", "etcd3", "client_test.js")
        environment = dict(os.environ, NODE_PATH=os.path.join(ETCD3, "node_modules"))
        with Background(["node", script, self.store.address, str(relay.port)], env=environment) as client:
            until("the cut", lambda: "CUT\n" in client.text() or client.process.poll() is not None, 30)
            relay.cut()
            until("the end", lambda: client.process.poll() is not None, 40)
            client.reader.join()
            self.assertEqual(client.process.returncode, 0, client.text())
            self.assertEqual(client.text().count("\nok ") + client.text().startswith("ok "), 7, client.text())


if __name__ == "__main__":
    if not os.path.exists(BINARY):
        print("SKIPPED: MONOPOD_TEST_BINARY is not set")
        sys.exit(77)
    unittest.main(verbosity=2, warnings="ignore")  # the sockets of a relay that was cut
