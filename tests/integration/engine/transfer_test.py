#!/usr/bin/env python3
"""Images on their way between this engine and others' programs: skopeo, buildah and podman over the engine's socket (docker-daemon:), archives and OCI layouts both ways, and Debian's
docker-registry as the peer that is pushed to and pulled from."""
import hashlib
import json
import os
import shutil
import subprocess
import sys

from harness import Checks, Engine, check, contains, need_engine_host, same, until

need_engine_host()
engine = Engine()
ours = engine.dir + "/monopod-data"


def with_socket(*command):
    """Where the program looks for it: there is no option for another place."""
    return run("unshare", "-m", "--propagation", "private", "sh", "-c", 'mount -t tmpfs none /run && ln -s "$0" /run/docker.sock && exec "$@"', engine.socket, *command)


def run(*command):
    env = engine.env()
    del env["DOCKER_CONFIG"]  # there is none, which buildah and podman take amiss
    p = subprocess.run(command, capture_output=True, text=True, timeout=100, env=env)
    if p.returncode != 0:
        raise AssertionError(f"{' '.join(command)}: exit {p.returncode}\n{p.stdout}{p.stderr}\n--- engine log\n{engine.log()[-2000:]}")
    return p.stdout


def copy(source, target, *options):
    for side, place in (("src", source), ("dest", target)):
        if place.startswith("docker-daemon:"):
            options += (f"--{side}-daemon-host", "unix://" + engine.socket)
    return run("skopeo", "copy", "--insecure-policy", *options, source, target)


def says_hello(name):
    same(engine.docker("run", "--rm", name, "echo", "hello"), "hello\n")


def config_of(place, *options):
    return json.loads(run("skopeo", "inspect", "--config", *options, place))


def image(*words):
    return run(engine.binary, "image", *words, "--data-dir", ours)


def skopeo_with_the_engine():
    """Out of the engine into every form, and back from each of them: always the same layers."""
    daemon = ["--daemon-host", "unix://" + engine.socket]
    want = config_of("docker-daemon:hello:1", *daemon)["rootfs"]
    forms = {"oci": f"oci:{engine.dir}/layout:1", "oci-archive": f"oci-archive:{engine.dir}/o.tar:1", "docker-archive": f"docker-archive:{engine.dir}/d.tar:docker.io/library/kept:1", "dir": f"dir:{engine.dir}/plain"}
    for name, place in forms.items():
        copy("docker-daemon:hello:1", place)
        same(config_of(place.removesuffix(":docker.io/library/kept:1"))["rootfs"], want)
        copy(place, f"docker-daemon:back-{name}:1")
        same(config_of(f"docker-daemon:back-{name}:1", *daemon)["rootfs"], want)
        says_hello(f"back-{name}:1")
        engine.docker("rmi", f"back-{name}:1")


def archives_of_the_client():
    """docker save is read by skopeo, and skopeo's archive by docker load."""
    with open(engine.dir + "/saved.tar", "wb") as f:
        f.write(engine.docker("save", "hello:1", text=False))
    copy(f"docker-archive:{engine.dir}/saved.tar", f"docker-archive:{engine.dir}/again.tar:docker.io/library/again:1")
    with open(engine.dir + "/again.tar", "rb") as f:
        contains(engine.docker("load", stdin=f.read()), "Loaded image: again:1")
    says_hello("again:1")
    engine.docker("rmi", "again:1")


def stores_without_an_engine():
    """What skopeo writes `monopod image` loads; what that saves skopeo reads and the engine takes."""
    for name, place in (("oci", "oci-archive:{}:kept:1"), ("docker", "docker-archive:{}:docker.io/library/kept:1")):
        archive = f"{engine.dir}/{name}-store.tar"
        copy("docker-daemon:hello:1", place.format(archive))
        contains(image("load", archive), "kept:1")
        image("save", f"{engine.dir}/{name}-out.tar", "kept:1")
        for form in ("oci-archive", "docker-archive"):
            copy(f"{form}:{engine.dir}/{name}-out.tar", f"docker-daemon:{name}-{form}:1")
            says_hello(f"{name}-{form}:1")
            engine.docker("rmi", f"{name}-{form}:1")
        image("rm", "kept:1")


def buildah_pushes_to_the_engine():
    storage = ["--root", engine.dir + "/storage", "--runroot", engine.dir + "/storage-run", "--storage-driver", "vfs"]
    copy("docker-daemon:hello:1", f"oci-archive:{engine.dir}/base.tar")
    run("buildah", *storage, "pull", "-q", f"oci-archive:{engine.dir}/base.tar")
    name = run("buildah", *storage, "images", "-q").split()[0]
    container = run("buildah", *storage, "from", "--pull-never", name).strip()
    run("buildah", *storage, "config", "--label", "by=buildah", container)
    run("buildah", *storage, "commit", "-q", container, "built")
    with_socket("buildah", *storage, "push", "-q", "built", "docker-daemon:built:1")
    same(engine.docker("inspect", "--format", "{{.Config.Labels.by}}", "built:1"), "buildah\n")
    says_hello("built:1")
    engine.docker("rmi", "built:1")


def podman_with_the_engine():
    storage = ["--root", engine.dir + "/podman", "--runroot", engine.dir + "/podman-run", "--tmpdir", engine.dir + "/podman-tmp", "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs"]
    policy = engine.dir + "/policy.json"
    with open(policy, "w", encoding="ascii") as f:
        f.write('{"default":[{"type":"insecureAcceptAnything"}]}')
    pulled = with_socket("podman", *storage, "pull", "-q", "--signature-policy", policy, "docker-daemon:hello:1").strip()
    with_socket("podman", *storage, "push", "-q", "--signature-policy", policy, pulled, "docker-daemon:from-podman:1")
    says_hello("from-podman:1")
    engine.docker("rmi", "from-podman:1")
    shutil.rmtree(engine.dir + "/podman")


def docker_registry_is_a_peer():
    """The engine pushes to it and pulls back from it; what another client put there it pulls too. The digest stays."""
    with open(engine.dir + "/registry.yml", "w", encoding="ascii") as f:
        f.write(f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {engine.dir}/peer}}, delete: {{enabled: true}}}}\nhttp: {{addr: '127.0.0.1:5000'}}\n")
    with open(engine.dir + "/registry.log", "wb") as log:
        peer = subprocess.Popen(["nsenter", "-t", str(engine.holder.pid), "-n", "docker-registry", "serve", engine.dir + "/registry.yml"], stdout=log, stderr=log)
    try:
        until("the registry answers", lambda: "{}" in engine.inside("busybox", "wget", "-qO-", "http://127.0.0.1:5000/v2/", check=False).stdout.decode())
        engine.docker("tag", "hello:1", "127.0.0.1:5000/team/hello:1")
        pushed = engine.docker("push", "127.0.0.1:5000/team/hello:1")
        raw = engine.inside("skopeo", "inspect", "--raw", "--tls-verify=false", "docker://127.0.0.1:5000/team/hello:1")
        contains(pushed, f"1: digest: sha256:{hashlib.sha256(raw.encode()).hexdigest()} size: {len(raw)}")
        engine.docker("rmi", "127.0.0.1:5000/team/hello:1")
        pulled = engine.docker("pull", "127.0.0.1:5000/team/hello:1")
        digest = pulled.split("Digest: ")[1].split()[0]
        says_hello("127.0.0.1:5000/team/hello:1")
        same(engine.inside("skopeo", "inspect", "--tls-verify=false", "--format", "{{.Digest}}", "docker://127.0.0.1:5000/team/hello:1").strip(), digest)
        engine.inside("skopeo", "copy", "--insecure-policy", "--src-tls-verify=false", "--dest-tls-verify=false", "--format", "v2s2", "docker://127.0.0.1:5000/team/hello:1", "docker://127.0.0.1:5000/other/hello:2")
        contains(engine.docker("pull", "127.0.0.1:5000/other/hello:2"), "Status: Downloaded newer image")
        says_hello("127.0.0.1:5000/other/hello:2")
        check(engine.docker("pull", "127.0.0.1:5000/none:1", check=False).returncode != 0, "pulled what is not there")
        engine.docker("rmi", "127.0.0.1:5000/team/hello:1", "127.0.0.1:5000/other/hello:2")
    finally:
        peer.kill()
        peer.wait()


def main():
    checks = Checks(sys.argv[1] if len(sys.argv) > 1 else None)
    tests = {skopeo_with_the_engine: ("skopeo",), archives_of_the_client: ("skopeo",), stores_without_an_engine: ("skopeo",), buildah_pushes_to_the_engine: ("skopeo", "buildah"), podman_with_the_engine: ("podman",),
             docker_registry_is_a_peer: ("docker-registry", "skopeo")}
    try:
        engine.start()
        with open(engine.load_image(), "rb") as f:
            engine.docker("load", stdin=f.read())
        for test, programs in tests.items():
            missing = [p for p in programs if shutil.which(p) is None]
            if missing:
                print(f"SKIPPED: {test.__name__}: needs {' '.join(missing)}: run make test-deps")
            else:
                checks.run(test.__name__, test)
    finally:
        engine.close()
    return checks.finish()


sys.exit(main())
