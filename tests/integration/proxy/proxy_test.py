#!/usr/bin/env python3
"""proxy_test.py BINARY: `monopod proxy` as an operator meets it: checks, reloads by file and signal, the admin socket, logs that rotate, an orderly end."""
import http.client
import http.server
import os
import signal
import socket
import ssl
import stat
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "support"))
from ports import free_port  # noqa: E402

BINARY = os.path.abspath(sys.argv[1])
PATIENCE_S = 10


class Backend(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hold = threading.Event()

    def do_GET(self):
        if self.path == "/slow":
            Backend.hold.wait(PATIENCE_S)
        body = self.server.name.encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


def backend(name):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Backend)
    server.name = name
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def eventually(condition):
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        try:
            if condition():
                return True
        except OSError:
            pass
        time.sleep(0.01)
    return False


class Unix(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("proxy")
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)


class Proxy(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp()
        self.config = os.path.join(self.folder, "proxy.yaml")
        self.log = os.path.join(self.folder, "access.log")
        self.admin = os.path.join(self.folder, "admin.sock")
        self.port = free_port()
        self.a, self.b = backend("a"), backend("b")
        self.process = None

    def tearDown(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for server in (self.a, self.b):
            server.shutdown()
            server.server_close()

    def write(self, to, more=""):
        text = f"""
listeners:
- name: web
  address: 127.0.0.1:{self.port}
  virtual_hosts: [{{routes: [{{prefix: /, cluster: {to}}}]}}]
  access_log: {{path: {self.log}}}
clusters:
- {{name: a, endpoints: ["127.0.0.1:{self.a.server_port}"]}}
- {{name: b, endpoints: ["127.0.0.1:{self.b.server_port}"]}}
admin: {{socket: {self.admin}}}
{more}"""
        with open(self.config + ".new", "w", encoding="utf-8") as f:
            f.write(text)
        os.rename(self.config + ".new", self.config)

    def start(self):
        self.write("a")
        self.process = subprocess.Popen([BINARY, "proxy", "--config", self.config], stderr=subprocess.PIPE, text=True)
        self.assertTrue(eventually(lambda: self.get() == "a"))
        self.assertTrue(eventually(lambda: self.ask_admin("GET", "/ready")[0] == 200))

    def get(self, connection=None, path="/"):
        own = connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        own.request("GET", path)
        body = own.getresponse().read().decode()
        if connection is None:
            own.close()
        return body

    def ask_admin(self, method, path):
        connection = Unix(self.admin)
        connection.request(method, path)
        answer = connection.getresponse()
        body = answer.read().decode()
        connection.close()
        return answer.status, body

    def check(self):
        return subprocess.run([BINARY, "proxy", "--config", self.config, "--check"], capture_output=True, text=True)

    def test_check_says_what_is_wrong_and_where(self):
        self.write("a")
        good = self.check()
        self.assertEqual((good.returncode, good.stdout), (0, f"{self.config}: 1 listeners, 2 clusters\n"))
        self.write("nobody")
        bad = self.check()
        self.assertNotEqual(bad.returncode, 0)
        self.assertEqual(bad.stderr.splitlines()[0], f'monopod: {self.config}: line 5: listeners[0].virtual_hosts[0].routes[0].cluster: there is no cluster "nobody"')

    def test_a_start_with_a_broken_configuration_uses_the_last_good_one_and_says_so(self):
        self.start()
        kept = self.config + ".last-good"
        self.assertTrue(eventually(lambda: stat.S_IMODE(os.stat(kept).st_mode) == 0o600))
        self.process.terminate()
        self.process.wait(PATIENCE_S)
        self.process.stderr.close()
        self.write("nobody")
        self.process = subprocess.Popen([BINARY, "proxy", "--config", self.config], stderr=subprocess.PIPE, text=True)
        self.assertTrue(eventually(lambda: self.get() == "a"))
        self.assertTrue(eventually(lambda: "last good configuration" in self.ask_admin("GET", "/ready")[1]))
        self.assertIn("monopod_proxy_config_last_good 1\n", self.ask_admin("GET", "/metrics")[1])
        self.write("b")
        self.assertTrue(eventually(lambda: self.get() == "b"), "a configuration that is mended is taken")
        self.assertTrue(eventually(lambda: self.ask_admin("GET", "/ready")[1] == "ready\n"))
        self.process.terminate()
        self.assertIn("started with the last good one", self.process.communicate(timeout=PATIENCE_S)[1])
        self.write("nobody")
        refused = subprocess.run([BINARY, "proxy", "--config", self.config, "--no-last-good"], capture_output=True, text=True)
        self.assertNotEqual(refused.returncode, 0)

    def make_certificate(self, name):
        run = lambda *a: subprocess.run(["openssl", *a], check=True, capture_output=True, cwd=self.folder)
        run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "new.key", "-out", "new.pem", "-days", "30", "-subj", f"/CN={name}")
        os.rename(os.path.join(self.folder, "new.key"), os.path.join(self.folder, "tls.key"))
        os.rename(os.path.join(self.folder, "new.pem"), os.path.join(self.folder, "tls.pem"))

    def shown_certificate(self, connection):
        return subprocess.run(["openssl", "x509", "-inform", "der", "-noout", "-subject"], input=connection.getpeercert(True), check=True, capture_output=True).stdout.decode().strip()

    def connect_tls(self):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context.wrap_socket(socket.create_connection(("127.0.0.1", self.tls_port), timeout=PATIENCE_S))

    def test_a_certificate_that_is_replaced_shows_at_the_next_handshake_and_cuts_nobody(self):
        self.make_certificate("first")
        self.write_tls()
        self.process = subprocess.Popen([BINARY, "proxy", "--config", self.config], stderr=subprocess.DEVNULL, text=True)
        self.assertTrue(eventually(lambda: self.connect_tls().close() is None))
        before = self.connect_tls()
        self.assertTrue(self.shown_certificate(before).endswith("first"))
        self.make_certificate("second")
        self.assertTrue(eventually(lambda: self.shown_certificate(self.connect_tls()).endswith("second")))
        before.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        answer = b""
        while chunk := before.recv(4096):
            answer += chunk
        self.assertTrue(answer.endswith(b"\r\n\r\na"), answer)

    def make_authority(self, aia):
        """An authority, a certificate with the address of its responder, and an index for `openssl ocsp`."""
        run = lambda *a: subprocess.run(["openssl", *a], check=True, capture_output=True, cwd=self.folder)
        key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
        run("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "30", "-subj", "/CN=authority")
        with open(os.path.join(self.folder, "extensions"), "w", encoding="utf-8") as f:
            f.write(f"authorityInfoAccess = OCSP;URI:{aia}\nsubjectAltName = DNS:a.test\n")
        run("req", *key, "-keyout", "tls.key", "-out", "tls.csr", "-subj", "/CN=a.test")
        run("x509", "-req", "-in", "tls.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-set_serial", "0x1234", "-days", "30", "-extfile", "extensions", "-out", "leaf.pem")
        with open(os.path.join(self.folder, "tls.pem"), "w", encoding="utf-8") as out:
            for name in ("leaf.pem", "ca.pem"):
                with open(os.path.join(self.folder, name), encoding="utf-8") as f:
                    out.write(f.read())
        self.index("V")

    def index(self, status):
        revoked = "260101000000Z" if status == "R" else ""
        with open(os.path.join(self.folder, "index.txt"), "w", encoding="utf-8") as f:
            f.write(f"{status}\t391231235959Z\t{revoked}\t1234\tunknown\t/CN=a.test\n")

    def respond(self, port, signer="ca", **more):
        command = ["openssl", "ocsp", "-port", str(port), "-index", "index.txt", "-CA", "ca.pem", "-rsigner", f"{signer}.pem", "-rkey", f"{signer}.key"]
        for name, value in {"nmin": 5, **more}.items():
            command += [f"-{name}", str(value)]
        responder = subprocess.Popen(command, cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(lambda: (responder.kill(), responder.wait()))
        return responder

    def stapled(self):
        """What `openssl s_client` says of the answer that it was shown."""
        text = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{self.tls_port}", "-status", "-CAfile", "ca.pem"], cwd=self.folder, input="", capture_output=True, text=True, timeout=PATIENCE_S).stdout
        return next((line.split(":")[1].strip() for line in text.splitlines() if "Cert Status:" in line), "none" if "no response sent" in text else "")

    def write_tls(self, certificate=""):
        self.tls_port = free_port()
        self.write("a")
        with open(self.config, encoding="utf-8") as f:
            text = f.read()
        with open(self.config, "w", encoding="utf-8") as f:
            f.write(text.replace("clusters:", f"""- name: tls
  address: 127.0.0.1:{self.tls_port}
  tls: {{certificates: [{{certificate_file: tls.pem, key_file: tls.key{', ' if certificate else ''}{certificate}}}]}}
  virtual_hosts: [{{routes: [{{prefix: /, cluster: a}}]}}]
clusters:"""))

    def start_tls(self, certificate):
        self.write_tls(certificate)
        self.process = subprocess.Popen([BINARY, "proxy", "--config", self.config], stderr=subprocess.DEVNULL, text=True)
        self.assertTrue(eventually(lambda: self.connect_tls().close() is None))

    def test_an_ocsp_answer_is_fetched_where_the_certificate_says_and_again(self):
        port = free_port()
        self.make_authority(f"http://127.0.0.1:{port}/ocsp")
        responder = self.respond(port)
        self.start_tls("ocsp_fetch: true, ocsp_refresh: 1s")
        self.assertTrue(eventually(lambda: self.stapled() == "good"), self.stapled())
        self.index("R")  # `openssl ocsp` reads it when it starts
        responder.kill()
        responder.wait()
        self.assertEqual(self.stapled(), "good")  # in its time, though the responder is gone
        self.respond(port)
        self.assertTrue(eventually(lambda: self.stapled() == "revoked"), self.stapled())

    def test_an_ocsp_answer_that_is_wrong_is_not_stapled(self):
        port = free_port()
        self.make_authority("http://127.0.0.1:1/")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "other.key", "-out", "other.pem", "-days", "30", "-subj", "/CN=other"], check=True, capture_output=True, cwd=self.folder)
        wrong = self.respond(port, "other")
        self.start_tls(f'ocsp_fetch: true, ocsp_refresh: 1s, ocsp_url: "http://127.0.0.1:{port}"')
        time.sleep(1)
        self.assertEqual(self.stapled(), "none")
        wrong.kill()
        wrong.wait()
        self.respond(port)
        self.assertTrue(eventually(lambda: self.stapled() == "good"), self.stapled())  # behind the pause of a failure

    def test_ocsp_wants_an_issuer_and_an_address(self):
        self.make_certificate("alone")
        self.write_tls("ocsp_fetch: true")
        checked = subprocess.run([BINARY, "proxy", "--config", self.config, "--check"], capture_output=True, text=True)
        self.assertIn("tls: certificates[0]: ocsp_fetch: the issuer does not stand behind the certificate in certificate_file", checked.stderr)

    def test_top_and_explain_ask_over_the_admin_socket(self):
        self.start()
        status, text = self.ask_admin("GET", "/explain?request=GET+http://any.test/x")
        self.assertEqual(status, 200)
        self.assertIn("  route     */0 (prefix /)\n  cluster   a: 127.0.0.1:", text)
        self.assertIn("healthy", text)
        self.assertEqual(self.ask_admin("GET", "/explain?request=")[0], 400)
        top = subprocess.run([BINARY, "proxy", "top", "--admin", self.admin, "--once", "--interval", "50ms"], capture_output=True, text=True)
        self.assertEqual(top.returncode, 0, top.stderr)
        self.assertTrue(top.stdout.startswith("LISTENER"), top.stdout)
        self.assertIn("\nweb ", top.stdout)
        self.assertIn("\nCLUSTER", top.stdout)
        lost = subprocess.run([BINARY, "proxy", "top", "--admin", self.admin + "x", "--once"], capture_output=True, text=True)
        self.assertIn("talk to the proxy", lost.stderr)

    def test_a_changed_file_is_taken_over_and_a_bad_one_is_not(self):
        self.start()
        kept = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        self.assertEqual(self.get(kept), "a")
        first = kept.sock
        self.write("b")
        self.assertTrue(eventually(lambda: self.get() == "b"))
        self.assertEqual(self.get(kept), "b")
        self.assertIs(kept.sock, first, "the connection lives on")
        self.write("a", "nonsense: 1")
        self.assertTrue(eventually(lambda: "monopod_proxy_config_rejected_total 1" in self.ask_admin("GET", "/metrics")[1]))
        self.assertEqual(self.get(kept), "b")
        status, why = self.ask_admin("POST", "/reload")
        self.assertEqual(status, 400)
        self.assertIn("nonsense: unknown field", why)

    def test_signals_reload_and_reopen_the_log(self):
        self.start()
        self.assertTrue(eventually(lambda: os.path.getsize(self.log) > 0))
        os.rename(self.log, self.log + ".1")
        self.process.send_signal(signal.SIGUSR1)
        self.assertTrue(eventually(lambda: os.path.exists(self.log)))
        self.get(path="/after")
        self.assertTrue(eventually(lambda: "/after" in open(self.log, encoding="utf-8").read()))
        before = self.ask_admin("GET", "/metrics")[1]
        self.process.send_signal(signal.SIGHUP)
        self.assertIn("monopod_proxy_config_version 1\n", before)
        self.assertTrue(eventually(lambda: "monopod_proxy_config_version 2\n" in self.ask_admin("GET", "/metrics")[1]))

    def test_the_admin_socket_is_its_owners_alone(self):
        self.start()
        self.assertEqual(stat.S_IMODE(os.stat(self.admin).st_mode), 0o600)
        self.assertIn(f"127.0.0.1:{self.a.server_port}  weight 1", self.ask_admin("GET", "/clusters")[1])
        self.assertIn('monopod_proxy_requests_total{listener="web",code="2xx"}', self.ask_admin("GET", "/metrics")[1])
        self.assertEqual(self.ask_admin("GET", "/other")[0], 404)

    def test_what_is_under_way_ends_before_the_process(self):
        self.start()
        Backend.hold.clear()
        slow = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        slow.request("GET", "/slow")
        self.assertTrue(eventually(lambda: 'monopod_proxy_upstream_requests_active{cluster="a"} 1' in self.ask_admin("GET", "/metrics")[1]))
        self.process.send_signal(signal.SIGTERM)

        def refused():
            with socket.socket() as s:
                return s.connect_ex(("127.0.0.1", self.port)) != 0
        self.assertTrue(eventually(refused), "nothing new is accepted")
        Backend.hold.set()
        self.assertEqual(slow.getresponse().read(), b"a")
        self.assertEqual(self.process.wait(PATIENCE_S), 0)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
