"""A registry of its own for each test, requests to it, and images to push."""
import hashlib
import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "support"))
import ports  # noqa: E402

BINARY = os.environ.get("MONOPOD_TEST_BINARY") or os.path.abspath(sys.argv.pop(1))
DEADLINE_S = 60
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # every push and load syncs the whole file system
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
EMPTY = "application/vnd.oci.empty.v1+json"


def need(*tools):
    for tool in tools:
        if shutil.which(tool) is None:
            print(f"SKIPPED: {os.path.basename(sys.argv[0])}: needs {tool}")
            sys.exit(77)


def digest(content, algorithm="sha256"):
    return algorithm + ":" + hashlib.new(algorithm, content).hexdigest()


class Answer:
    def __init__(self, response, body):
        self.status = response.status
        self.headers = response.headers
        self.body = body

    def json(self):
        return json.loads(self.body)

    def code(self):
        return self.json()["errors"][0]["code"]


class Registry:
    def __init__(self, folder, *options, tls=None):
        self.folder = folder
        self.port = ports.free_port()
        self.options = options
        self.tls = tls  # an ssl.SSLContext where it speaks https
        self.start()

    def start(self, env=None):
        with open(self.folder + "/registry.log", "ab") as log:
            self.process = subprocess.Popen([BINARY, "registry", "--listen", f"127.0.0.1:{self.port}", "--data-dir", self.folder + "/data", *self.options],
                                            stderr=log, env={**os.environ, **(env or {})})
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            try:
                self.request("GET", "/v2/")
                return
            except OSError:
                if self.process.poll() is not None:
                    with open(self.folder + "/registry.log") as log:
                        raise AssertionError(f"the registry ended: {log.read()}")
                time.sleep(0.01)
        raise AssertionError("the registry does not answer")

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(DEADLINE_S)
        return self.process.returncode

    def request(self, method, path, body=None, **headers):
        c = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=DEADLINE_S, context=self.tls) if self.tls else http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_S)
        try:
            c.request(method, path, body=body, headers={k.replace("_", "-"): v for k, v in headers.items()})
            response = c.getresponse()
            return Answer(response, response.read())
        finally:
            c.close()

    def name(self, repository):
        return f"127.0.0.1:{self.port}/{repository}"

    def blobs(self):
        return {"sha256:" + name for name in os.listdir(self.folder + "/data/registry/blobs/sha256")}

    def push_blob(self, repository, content):
        answer = self.request("POST", f"/v2/{repository}/blobs/uploads/?digest={digest(content)}", content, Content_Type="application/octet-stream")
        assert answer.status == 201, (answer.status, answer.body)
        return digest(content)

    def put(self, repository, reference, document, media_type=MANIFEST):
        text = json.dumps(document).encode()
        return digest(text), self.request("PUT", f"/v2/{repository}/manifests/{reference}", text, Content_Type=media_type)

    def push_image(self, repository, reference, layers=(b"layer",), **fields):
        """An image of config {} and these layers; more fields go into its manifest. Returns its digest."""
        document = image_of(b"{}", layers, **fields)
        for blob in (b"{}", *layers):
            self.push_blob(repository, blob)
        own, answer = self.put(repository, reference, document)
        assert answer.status == 201, (answer.status, answer.body)
        return own


def descriptor(content, media_type, algorithm="sha256"):
    return {"mediaType": media_type, "digest": digest(content, algorithm), "size": len(content)}


def image_of(config, layers, algorithm="sha256", **fields):
    return {"schemaVersion": 2, "mediaType": MANIFEST, "config": descriptor(config, "application/vnd.oci.image.config.v1+json", algorithm),
            "layers": [descriptor(layer, "application/vnd.oci.image.layer.v1.tar", algorithm) for layer in layers], **fields}


class RegistryTest(unittest.TestCase):
    options = ()

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="monopod-registry-", dir=MEMORY)
        self.addCleanup(shutil.rmtree, self.folder, True)
        self.registry = Registry(self.folder, *self.options)
        self.addCleanup(lambda: self.registry.stop())
