#!/usr/bin/env python3
"""image_bench.py BINARY [ROUNDS]: loading a docker archive of 165 MB (one layer, 8,100 files), and a build of two stages and six steps, cold and warm.

Through an engine (docker load, docker build), by `monopod image` on a directory of its own, and by podman where it is there, in turn. Bytes written are what the
kernel accounts to the process; strace, where it is there, counts fsyncs. The archives are made here, one for each round: nothing is removed in between, since ext4 looks
long for inodes after thousands were given back."""
import hashlib
import io
import json
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tarfile
import time

os.environ["MONOPOD_TEST_BINARY"] = os.path.abspath(sys.argv[1])
ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else 3
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "integration", "engine"))
from harness import Engine, need_engine_host  # noqa: E402

SMALL_FILES, SMALL_BYTES, LARGE_FILES, LARGE_BYTES = 8000, 8000, 100, 1_000_000
DOCKERFILE = """FROM hello:1 AS made
WORKDIR /src
COPY . .
RUN cat a.txt b.txt > all.txt
FROM hello:1
COPY --from=made /src/all.txt /all.txt
RUN test -s /all.txt
ENV DONE=1
"""
SYNCS = ("fsync", "fdatasync", "syncfs", "sync", "msync")


def add(tar, name, data, kind=tarfile.REGTYPE):
    info = tarfile.TarInfo(name)
    info.size, info.type, info.mode, info.mtime = len(data), kind, 0o755, 1_700_000_000
    tar.addfile(info, io.BytesIO(data))


def make_archive(path, seed):
    dice = random.Random(seed)
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        for i in range(SMALL_FILES):
            if i % 100 == 0:
                add(tar, f"d{i // 100}", b"", tarfile.DIRTYPE)
            add(tar, f"d{i // 100}/f{i}", dice.randbytes(SMALL_BYTES))
        add(tar, "large", b"", tarfile.DIRTYPE)
        for i in range(LARGE_FILES):
            add(tar, f"large/f{i}", dice.randbytes(LARGE_BYTES))
    layer = layer.getvalue()
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]}}).encode()
    with tarfile.open(path, "w") as tar:
        add(tar, "config.json", config)
        add(tar, "l/layer.tar", layer)
        add(tar, "manifest.json", json.dumps([{"Config": "config.json", "RepoTags": [f"large:{seed}"], "Layers": ["l/layer.tar"]}]).encode())
    return len(layer)


def written(pid):
    with open(f"/proc/{pid}/io", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("write_bytes"))


def run(words, **more):
    """Seconds, and bytes that it wrote."""
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN).ru_oublock, time.monotonic()
    p = subprocess.run(words, capture_output=True, timeout=300, **more)
    if p.returncode != 0:
        raise SystemExit(f"{words}: {p.stdout}{p.stderr}")
    return time.monotonic() - begin, (resource.getrusage(resource.RUSAGE_CHILDREN).ru_oublock - before) * 512


class Peer:
    def __init__(self, name):
        self.name, self.loads, self.bytes, self.cold, self.warm, self.floor = name, [], [], [], [], []

    def print(self):
        line = f"{self.name:16} load {statistics.median(self.loads):6.2f} s, {statistics.median(self.bytes) / 1e6:6.1f} MB written"
        if self.warm:
            line += f"; build cold {statistics.median(self.cold):6.3f} s, warm {statistics.median(self.warm):6.3f} s"
        if self.floor:
            line += f" (docker version: {statistics.median(self.floor):.3f} s)"
        print(line)


class ByEngine(Peer):
    def __init__(self, engine, hello):
        super().__init__("docker, engine")
        self.engine = engine
        engine.start()
        with open(hello, "rb") as f:
            engine.docker("load", stdin=f.read())

    def load(self, archive):
        before = written(self.engine.child())
        self.loads.append(run([self.engine.client, "load", "-i", archive], env=self.engine.env())[0])
        self.bytes.append(written(self.engine.child()) - before)

    def build(self, context):
        for kept, more in ((self.cold, ["--no-cache"]), (self.warm, [])):
            if more:
                self.engine.docker("build", "-q", "-t", "b:1", context)
            kept.append(run([self.engine.client, "build", *more, "-t", "b:1", context], env=self.engine.env())[0])
        self.floor.append(run([self.engine.client, "version"], env=self.engine.env())[0])  # the client's own start, and an answer


class ByCommand(Peer):
    """A program whose words are: program image load … / build …"""
    def __init__(self, name, load, build, hello):
        super().__init__(name)
        self.words_load, self.words_build = load, build
        run([*load, hello])

    def load(self, archive):
        seconds, written_bytes = run([*self.words_load, archive])
        self.loads.append(seconds)
        self.bytes.append(written_bytes)

    def build(self, context):
        self.cold.append(run([*self.words_build, "--no-cache", "-t", "b:1", context])[0])
        run([*self.words_build, "-t", "b:1", context])
        self.warm.append(run([*self.words_build, "-t", "b:1", context])[0])


def count_syncs(words, archive, directory):
    if not shutil.which("strace"):
        return
    out = directory + "/strace"
    run(["strace", "-f", "-c", "-e", "trace=" + ",".join(SYNCS), "-o", out, *words, archive])
    with open(out, encoding="utf-8") as f:
        total = sum(int(line.split()[3]) for line in f if line.split()[-1:] and line.split()[-1] in SYNCS)
    print(f"fsyncs of one load by {words[0].rsplit('/', 1)[-1]}: {total}")


def main(engine):
    directory = engine.dir
    hello, archive, context = engine.load_image(), directory + "/large.tar", directory + "/context"
    os.makedirs(context)
    for name, text in (("Dockerfile", DOCKERFILE), ("a.txt", "a\n" * 1000), ("b.txt", "b\n" * 1000)):
        with open(f"{context}/{name}", "w", encoding="ascii") as f:
            f.write(text)
    data = ["--data-dir", directory + "/own"]
    image = [engine.binary, "image"]
    peers = [ByEngine(engine, hello), ByCommand("monopod image", [*image, "load", *data], [*image, "build", *data], hello)]
    if shutil.which("podman"):
        podman = ["podman", "--root", directory + "/podman", "--runroot", directory + "/podman-run", "--cgroup-manager", "cgroupfs"]
        try:
            peers.append(ByCommand("podman", [*podman, "load", "-q", "-i"], [*podman, "build", "-q", "--isolation", "chroot"], hello))
        except SystemExit as e:
            print(f"SKIPPED: podman: {e}")
    for seed in range(ROUNDS):
        size = make_archive(archive, seed)
        os.sync()  # else whoever comes first shares the disk with the archive
        print(f"round {seed}: a layer of {size / 1e6:.1f} MB", flush=True)
        for peer in peers:
            peer.load(archive)
            try:
                peer.build(context)
            except SystemExit as e:
                print(f"SKIPPED: a build by {peer.name}: {e}")
    for peer in peers:
        peer.print()
    make_archive(archive, ROUNDS)
    count_syncs([*image, "load", *data], archive, directory)


need_engine_host()
bench_engine = Engine()
try:
    main(bench_engine)
finally:
    bench_engine.close()
