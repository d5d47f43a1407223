#!/usr/bin/env python3
"""layers_bench.py BINARY [ROUNDS] [MEGABYTES]: what the forms of layers cost and gain (--layers directory, erofs, erofs-zstd), in turn.

The image is one layer of files of this host's /usr (165 MB by default), as a docker archive. Of each form, by `monopod image load`: seconds, bytes written (what the kernel
accounts to the process), fsyncs (by strace, where it is there), inodes and disk of the data directory; by an engine: the first container after the load, another one, and
how fast a container reads all files with nothing of them cached (the layer is made cold by POSIX_FADV_DONTNEED; the disk's own cache stays) and again."""
import hashlib
import io
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tarfile
import time

os.environ["MONOPOD_TEST_BINARY"] = os.path.abspath(sys.argv[1])
ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else 3
MEGABYTES = int(sys.argv[3]) if len(sys.argv) > 3 else 165
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "integration", "engine"))
from harness import Engine, need_engine_host  # noqa: E402

FORMS = ("directory", "erofs", "erofs-zstd")
SYNCS = ("fsync", "fdatasync", "syncfs", "sync", "msync")


def add(tar, name, data, kind=tarfile.REGTYPE, mode=0o755):
    info = tarfile.TarInfo(name)
    info.size, info.type, info.mode, info.mtime = len(data), kind, mode, 1_700_000_000
    tar.addfile(info, io.BytesIO(data))


def host_files(budget):
    """Every fourth file of /usr, largest excepted, until the budget is spent."""
    number = 0
    for directory, names, files in os.walk("/usr"):
        names.sort()
        for file in sorted(files):
            path = os.path.join(directory, file)
            number += 1
            if number % 4 or os.path.islink(path) or not os.path.isfile(path) or os.path.getsize(path) > 8_000_000:
                continue
            with open(path, "rb") as f:
                data = f.read()
            budget -= len(data)
            if budget < 0:
                return
            yield path[1:], data


def make_archive(path, seed, busybox):
    layer = io.BytesIO()
    seen, files = set(), 0
    with tarfile.open(fileobj=layer, mode="w") as tar:
        add(tar, "round", str(seed).encode())  # else the layer would be there already
        add(tar, "bin", b"", tarfile.DIRTYPE)
        with open(busybox, "rb") as f:
            add(tar, "bin/busybox", f.read())
        for name, data in host_files(MEGABYTES * 1_000_000):
            parts = name.split("/")[:-1]
            for i in range(len(parts)):
                directory = "/".join(parts[:i + 1])
                if directory not in seen:
                    seen.add(directory)
                    add(tar, directory, b"", tarfile.DIRTYPE)
            add(tar, name, data)
            files += 1
    layer = layer.getvalue()
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {"Entrypoint": ["/bin/busybox"]}, "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]}}).encode()
    with tarfile.open(path, "w") as tar:
        add(tar, "config.json", config)
        add(tar, "l/layer.tar", layer)
        add(tar, "manifest.json", json.dumps([{"Config": "config.json", "RepoTags": [f"files:{seed}"], "Layers": ["l/layer.tar"]}]).encode())
    return len(layer), files, len(seen)


def run(words, **more):
    """Seconds, bytes that it wrote, and what it said."""
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN).ru_oublock, time.monotonic()
    p = subprocess.run(words, capture_output=True, timeout=300, text=True, **more)
    if p.returncode != 0:
        raise SystemExit(f"{words}: {p.stdout}{p.stderr}")
    return time.monotonic() - begin, (resource.getrusage(resource.RUSAGE_CHILDREN).ru_oublock - before) * 512, p.stdout


def tree(directory):
    """Inodes and bytes on the disk of all below it."""
    seen, disk = set(), 0
    for at, names, files in os.walk(directory):
        for name in names + files:
            st = os.lstat(os.path.join(at, name))
            if st.st_ino not in seen:
                seen.add(st.st_ino)
                disk += st.st_blocks * 512
    return len(seen), disk


def forget(directory):
    """Nothing of these files stays in the page cache that is not in use."""
    for at, _, files in os.walk(directory):
        for name in files:
            path = os.path.join(at, name)
            if os.path.isfile(path) and not os.path.islink(path):
                fd = os.open(path, os.O_RDONLY)
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
                os.close(fd)


class Form:
    def __init__(self, name, engine):
        self.name, self.engine, self.values = name, engine, {}
        self.data = f"{engine.dir}/data-of-image-{name}"
        engine.start(more=("--cri-socket", "", "--layers", name))

    def note(self, key, value):
        self.values.setdefault(key, []).append(value)

    def load(self, archive):
        before = tree(self.data) if os.path.isdir(self.data) else (0, 0)
        seconds, written, _ = run([self.engine.binary, "image", "load", "--layers", self.name, "--data-dir", self.data, archive])
        after = tree(self.data)
        for key, value in (("load s", seconds), ("written MB", written / 1e6), ("inodes", after[0] - before[0]), ("disk MB", (after[1] - before[1]) / 1e6)):
            self.note(key, value)

    def run_containers(self, archive, seed, read_bytes):
        def container(*words):
            return run([self.engine.client, "run", "--rm", "--network", "none", f"files:{seed}", *words], env=self.engine.env())
        self.engine.docker("load", "-i", archive)
        self.note("first container s", container("true")[0])
        self.note("next container s", container("true")[0])
        floor = self.values["next container s"][-1]
        forget(self.engine.dir + "/data/content/layers")
        for key in ("cold read MB/s", "warm read MB/s"):
            # Both in a mount of its own: what the kernel cached of an image's files went with the last container.
            seconds, _, _ = container("sh", "-c", "/bin/busybox find /usr -type f -exec /bin/busybox cat {} + | /bin/busybox wc -c")
            self.note(key, read_bytes / 1e6 / max(seconds - floor, 0.001))

    def count_syncs(self, archive):
        if not shutil.which("strace"):
            return
        out = self.engine.dir + "/strace"
        run(["strace", "-f", "-c", "-e", "trace=" + ",".join(SYNCS), "-o", out, self.engine.binary, "image", "load", "--layers", self.name, "--data-dir", self.data, archive])
        with open(out, encoding="utf-8") as f:
            self.note("fsyncs", sum(int(line.split()[3]) for line in f if line.split()[-1:] and line.split()[-1] in SYNCS))

    def print(self):
        print(f"{self.name:11} " + ", ".join(f"{key} {statistics.median(values):.{0 if key in ('inodes', 'fsyncs') else 3 if 'container' in key else 2}f}" for key, values in self.values.items()), flush=True)


def main():
    engines = [Engine() for _ in FORMS]
    try:
        forms = [Form(name, engine) for name, engine in zip(FORMS, engines)]
        archive = engines[0].dir + "/files.tar"
        busybox = shutil.which("busybox")
        for seed in range(ROUNDS + 1):
            size, files, directories = make_archive(archive, seed, busybox)
            os.sync()  # else whoever comes first shares the disk with the archive
            if seed == ROUNDS:
                break
            print(f"round {seed}: a layer of {size / 1e6:.1f} MB, {files} files, {directories} directories", flush=True)
            turn = forms[seed % len(forms):] + forms[:seed % len(forms)]
            for form in turn:
                form.load(archive)
            for form in turn:
                form.run_containers(archive, seed, size)
        for form in forms:
            form.count_syncs(archive)
            form.print()
    finally:
        for engine in engines:
            engine.close()


need_engine_host()
main()
