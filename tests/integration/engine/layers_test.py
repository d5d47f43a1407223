#!/usr/bin/env python3
"""An engine that keeps layers as EROFS images (--layers erofs-zstd): what docker's client does with images and containers does not show it, and nothing of it is in sight or stays."""
import hashlib
import io
import os
import subprocess
import sys
import tarfile

from harness import Engine, check, contains, need_engine_host, run_checks, same, skip, until

need_engine_host()
engine = Engine()
FORM = ("--cri-socket", "", "--layers", "erofs-zstd")
ours = engine.dir + "/monopod-data"


def start(more=FORM):
    type(engine).start(engine, more=more)


def layer_forms():
    layers = engine.dir + "/data/content/layers"
    return {tuple(sorted(set(os.listdir(f"{layers}/{name}")) & {"fs", "erofs"})) for name in os.listdir(layers)}


def images_mounted():
    """Of all EROFS file systems that the kernel has, in sight or not."""
    return len([name for name in os.listdir("/sys/fs/erofs") if name != "features"])


def mounts_in_sight():
    with open(f"/proc/{engine.holder.pid}/mountinfo", encoding="utf-8") as f:
        return [line for line in f if " - erofs " in line]


def build(name, dockerfile, **files):
    context = f"{engine.dir}/context-{name}"
    os.makedirs(context, exist_ok=True)
    for file, text in {"Dockerfile": dockerfile, **files}.items():
        with open(f"{context}/{file}", "w", encoding="ascii") as f:
            f.write(text)
    engine.docker("build", "-q", "-t", name, context)


def layers_are_files():
    same(layer_forms(), {("erofs",)})
    same(engine.docker("run", "--rm", "hello:1", "echo", "hello"), "hello\n")


def nothing_is_in_sight_and_nothing_stays():
    before = images_mounted()
    for name in ("one", "two"):
        engine.docker("run", "-d", "--name", name, "hello:1", "sleep", "1000")
    same(images_mounted(), before + 1)  # what both stand on, once
    same(mounts_in_sight(), [])
    contains(engine.docker("exec", "two", "cat", "/etc/passwd"), "root")
    engine.docker("rm", "-f", "one", "two")
    until("the images are unmounted", lambda: images_mounted() == before)


def changes_are_seen_copied_exported_and_committed():
    engine.docker("run", "--name", "changed", "hello:1", "sh", "-c", "rm /etc/group && echo new > /etc/passwd && mkdir /made && echo x > /made/x")
    same(sorted(engine.docker("diff", "changed").split("\n")), sorted(["C /etc", "C /etc/passwd", "D /etc/group", "A /made", "A /made/x", ""]))
    copied = engine.docker("cp", "changed:/bin/busybox", "-", text=False)
    with tarfile.open(fileobj=io.BytesIO(copied)) as tar, open(engine.inside("sh", "-c", "command -v busybox").strip(), "rb") as f:
        same(hashlib.sha256(tar.extractfile("busybox").read()).hexdigest(), hashlib.sha256(f.read()).hexdigest())
    with tarfile.open(fileobj=io.BytesIO(engine.docker("export", "changed", text=False))) as tar:
        names = tar.getnames()
        check("./bin/busybox" in names and "./made/x" in names and "./etc/group" not in names, names)
    engine.docker("commit", "changed", "committed:1")
    same(engine.docker("run", "--rm", "committed:1", "sh", "-c", "cat /etc/passwd /made/x; test -e /etc/group || echo gone"), "new\nx\ngone\n")
    same(layer_forms(), {("erofs",)})
    engine.docker("rm", "changed")
    engine.docker("rmi", "committed:1")


def images_are_built_over_them():
    build("built:1", "FROM hello:1 AS made\nRUN mkdir -p /out/d && echo made > /out/d/f && ln -s f /out/d/l && rm /etc/group\nFROM hello:1\nCOPY --from=made /out /out\nCOPY --chown=1000:1000 a /out/d/a\nRUN rm /out/d/f && mkdir /out/e\n", a="a")
    same(engine.docker("run", "--rm", "built:1", "sh", "-c", "ls /out/d; stat -c %u /out/d/a; cat /etc/group | head -n 1; readlink /out/d/l"), "a\nl\n1000\nroot:x:0:\nf\n")
    same(layer_forms(), {("erofs",)})


def what_is_saved_is_what_came():
    """Bit for bit: a store of directories takes it, and says the same of it."""
    saved = engine.dir + "/saved.tar"
    with open(saved, "wb") as f:
        f.write(engine.docker("save", "hello:1", text=False))
    with tarfile.open(saved) as tar:
        blobs = {m.name.split("/")[-1]: hashlib.sha256(tar.extractfile(m).read()).hexdigest() for m in tar if m.name.startswith("blobs/sha256/") and m.isfile()}
    check(len(blobs) >= 3, blobs)
    same(list(blobs), list(blobs.values()))
    p = subprocess.run([engine.binary, "image", "load", "--data-dir", ours, saved], capture_output=True, text=True)
    same((p.returncode, p.stderr), (0, ""))
    inspected = subprocess.run([engine.binary, "image", "inspect", "--data-dir", ours, "hello:1"], capture_output=True, text=True).stdout
    contains(inspected, engine.docker("inspect", "--format", "{{.Id}}", "hello:1").strip())
    check(not any(os.path.exists(f"{ours}/content/layers/{name}/erofs") for name in os.listdir(ours + "/content/layers")), "directory is the default")


def pushed_and_pulled_by_our_registry():
    with open(engine.dir + "/registry.log", "wb") as log:
        peer = subprocess.Popen(["nsenter", "-t", str(engine.holder.pid), "-n", engine.binary, "registry", "--data-dir", engine.dir + "/registry", "--listen", "127.0.0.1:5000"], stdout=log, stderr=log)
    try:
        until("the registry answers", lambda: b"{}" in engine.inside("busybox", "wget", "-qO-", "http://127.0.0.1:5000/v2/", check=False).stdout)
        name = "127.0.0.1:5000/team/built:1"
        engine.docker("tag", "built:1", name)
        engine.docker("push", name)
        before = engine.docker("inspect", "--format", "{{.Id}}", "built:1")
        engine.docker("rmi", name, "built:1")
        engine.docker("pull", name)
        same(engine.docker("inspect", "--format", "{{.Id}}", name), before)
        same(engine.docker("run", "--rm", name, "ls", "/out/d"), "a\nl\n")
        engine.docker("rmi", name)
    finally:
        peer.kill()
        peer.wait()


def containers_outlive_the_process_that_mounted_them():
    engine.docker("run", "-d", "--name", "stays", "hello:1", "sleep", "1000")
    engine.kill_child()
    same(engine.docker("exec", "stays", "cat", "/bin/busybox", text=False)[:4], b"\x7fELF")
    engine.reload()
    same(engine.docker("exec", "stays", "echo", "again"), "again\n")
    same(engine.docker("run", "--rm", "hello:1", "echo", "beside"), "beside\n")
    engine.docker("restart", "-t", "0", "stays")
    same(engine.docker("exec", "stays", "echo", "started"), "started\n")
    engine.docker("rm", "-f", "stays")


def another_form_from_now_on():
    """What is there stays and serves; what comes is a directory."""
    engine.stop()
    start(("--cri-socket", ""))
    same(engine.docker("run", "--rm", "hello:1", "echo", "as a file"), "as a file\n")
    build("mixed:1", "FROM hello:1\nRUN echo x > /etc/x && rm /etc/group\n")
    same(layer_forms(), {("erofs",), ("fs",)})
    same(engine.docker("run", "--rm", "mixed:1", "sh", "-c", "cat /etc/x; test -e /etc/group || echo gone; head -n 1 /etc/passwd"), "x\ngone\nroot:x:0:0:root:/root:/bin/sh\n")
    engine.stop()
    start()
    same(engine.docker("run", "--rm", "mixed:1", "cat", "/etc/x"), "x\n")
    engine.docker("image", "prune", "-af")
    until("all layers are gone", lambda: layer_forms() == set())


def no_leaks():
    until("nothing is left", lambda: engine.leftovers()["mounts"] == [] and engine.leftovers()["snapshots"] == [])
    same(os.listdir(engine.dir + "/data/content/staging"), [])


def need_images():
    p = subprocess.run([engine.binary, "image", "load", "--layers", "erofs-zstd", "--data-dir", engine.dir + "/probe", engine.load_image()], capture_output=True, text=True)
    if p.returncode != 0:
        engine.close()
        skip(p.stderr.strip())


need_images()
engine.start = start
sys.exit(run_checks(engine, [layers_are_files, nothing_is_in_sight_and_nothing_stays, changes_are_seen_copied_exported_and_committed, images_are_built_over_them, what_is_saved_is_what_came,
                             pushed_and_pulled_by_our_registry, containers_outlive_the_process_that_mounted_them, another_form_from_now_on, no_leaks]))
