"""`monopod image build` over Debian's busybox."""
import hashlib
import http.server
import io
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "support"))
from checks import running, skip  # noqa: E402

BINARY = os.environ.get("MONOPOD_TEST_BINARY") or os.path.abspath(sys.argv.pop(1))
BUSYBOX = "/bin/busybox"
DEADLINE_S = 90
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # a build syncs the whole file system at every step
APPLETS = "sh cat echo ls rm mkdir touch id wc stat test sleep env ln chmod pwd readlink".split()


def aarch64_program():
    """Writes what uname(2) says of the machine into /made."""
    def movz(register, value):
        return 0xD2800000 | value << 5 | register
    svc = 0xD4000001
    code = [0xD10803FF, 0x910003E0, movz(8, 160), svc,                                    # uname(sp -= 512)
            0x92800000 | 99 << 5, None, movz(2, 0x41), movz(3, 0o644), movz(8, 56), svc,  # openat(AT_FDCWD, "/made", O_WRONLY | O_CREAT, 0644)
            0x91000000 | 260 << 10 | 31 << 5 | 1, movz(2, 7), movz(8, 64), svc,           # write(it, machine, 7)
            movz(0, 0), movz(8, 93), svc]                                                 # exit(0)
    code[5] = 0x10000000 | (len(code) - 5) << 5 | 1                                       # adr x1, path
    body = b"".join(struct.pack("<I", word) for word in code) + b"/made\0"
    base, head = 0x400000, 64 + 56
    size = head + len(body)
    return (b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHIQQQIHHHHHH", 2, 183, 1, base + head, 64, 0, 0, 64, 56, 1, 0, 0, 0) +
            struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, size, size, 0x1000) + body)


QEMU = "/usr/bin/qemu-aarch64-static"
MAGIC = r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00:\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"
MISC = "/proc/sys/fs/binfmt_misc"


class Image:
    """Of a saved archive: its configuration, and the files that its layers make together."""

    def __init__(self, path):
        blobs = {}
        with tarfile.open(path) as tar:
            for member in tar:
                if member.isfile():
                    blobs[member.name] = tar.extractfile(member).read()
        index = json.loads(blobs["index.json"])
        self.manifest = json.loads(blobs["blobs/sha256/" + index["manifests"][0]["digest"][7:]])
        if "manifests" in self.manifest:  # of several platforms: the last
            self.manifest = json.loads(blobs["blobs/sha256/" + self.manifest["manifests"][-1]["digest"][7:]])
        self.config = json.loads(blobs["blobs/sha256/" + self.manifest["config"]["digest"][7:]])
        self.layers = []
        self.files = {}  # path -> (type, mode, uid, gid, content or target)
        for layer in self.manifest["layers"]:
            names = []
            with tarfile.open(fileobj=io.BytesIO(blobs["blobs/sha256/" + layer["digest"][7:]])) as tar:
                for member in tar:
                    name = member.name.strip("/").removeprefix("./")
                    names.append(name)
                    folder, leaf = os.path.split(name)
                    if leaf == ".wh..wh..opq":
                        self.files = {k: v for k, v in self.files.items() if not k.startswith(folder + "/")}
                    elif leaf.startswith(".wh."):
                        gone = os.path.join(folder, leaf[4:])
                        self.files = {k: v for k, v in self.files.items() if k != gone and not k.startswith(gone + "/")}
                    else:
                        content = tar.extractfile(member).read() if member.isfile() else member.linkname
                        self.files[name] = (member.type, member.mode, member.uid, member.gid, content)
            self.layers.append(names)

    def text(self, path):
        return self.files[path][4].decode()


class Builds(unittest.TestCase):
    """What tests of builds stand on: a base image, a context, and a data directory of one's own."""

    @classmethod
    def setUpClass(cls):
        cls.shared = tempfile.mkdtemp(prefix="monopod-build-", dir=MEMORY)
        cls.addClassCleanup(shutil.rmtree, cls.shared, True)
        links = [word for name in APPLETS for word in ("--link", f"/bin/{name}=busybox")]
        with open(cls.shared + "/passwd", "w") as f:
            f.write("root:x:0:0::/root:/bin/sh\nann:x:7:8::/home/ann:/bin/sh\n")
        subprocess.run([BINARY, "image", "pack", "--reference", "base:1", "--copy", f"{BUSYBOX}:/bin/busybox", "--copy", cls.shared + "/passwd:/etc/passwd", *links, "--env", "PATH=/bin", cls.shared + "/base.tar"],
                       check=True, stdout=subprocess.DEVNULL)

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="monopod-build-", dir=MEMORY)
        self.addCleanup(shutil.rmtree, self.folder, True)
        self.context = self.folder + "/context"
        os.mkdir(self.context)
        self.image("load", self.shared + "/base.tar")

    def image(self, command, *arguments):
        return self.image_of("data", command, *arguments)

    def image_of(self, data, command, *arguments):
        done = subprocess.run([BINARY, "image", command, "--data-dir", f"{self.folder}/{data}", *arguments], capture_output=True, text=True, timeout=DEADLINE_S)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def write(self, **files):
        for name, text in files.items():
            path = os.path.join(self.context, name.replace("__", "/"))
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w") as f:
                f.write(text)

    def build(self, dockerfile, *options, ok=True, env=None):
        done = subprocess.run([BINARY, "image", "build", "--data-dir", self.folder + "/data", "-t", "out:1", "-f", "-", *options, self.context], input=dockerfile, capture_output=True, text=True,
                              timeout=DEADLINE_S, env={**os.environ, **(env or {})})
        self.steps = [line for line in done.stderr.splitlines() if line.endswith(" cached") or " done in " in line]
        if not ok:
            self.assertNotEqual(done.returncode, 0, done.stderr)
            return done.stderr
        self.assertEqual(done.returncode, 0, done.stderr)
        self.image("save", self.folder + "/out.tar", "out:1")
        out = Image(self.folder + "/out.tar")
        out.id, out.log, out.stdout = done.stdout.strip(), done.stderr, done.stdout
        return out

    def build_plain(self, dockerfile, *options):
        """Without a name: what it says."""
        return subprocess.run([BINARY, "image", "build", "--data-dir", self.folder + "/data", "-f", "-", *options, self.context], input=dockerfile, capture_output=True, text=True, timeout=DEADLINE_S).stderr

    def leftovers(self):
        return [name for name in os.listdir(self.folder + "/data/build") if name not in ("cache", "run")] + os.listdir(self.folder + "/data/content/snapshots")


class Build(Builds):
    def test_instructions_end_up_in_the_image(self):
        self.write(a="A", sub__x="X", sub__y__log="no", **{".dockerignore": "sub/y\n"})
        os.symlink("x", self.context + "/sub/link")
        out = self.build("""ARG TAG=1
FROM base:$TAG AS one
ARG WHO
ARG MORE=${WHO:-nobody}
ENV GREETING="hello $WHO" EMPTY= 
LABEL a.b="c d"
WORKDIR /app
WORKDIR sub
RUN echo "$GREETING $MORE" > out && pwd >> out && id -u >> out
COPY --chown=ann:9 --chmod=640 a sub/ there/
RUN ["/bin/sh", "-c", "cat there/x > copied"]
USER ann
RUN id > /tmp/id
SHELL ["/bin/sh", "-e", "-c"]
EXPOSE 80 81-82/udp
VOLUME /data
STOPSIGNAL SIGINT
HEALTHCHECK --interval=5s --retries=2 CMD true
ONBUILD RUN true
ENTRYPOINT ["/bin/sh", "-c"]
CMD cat out
""", "--build-arg", "WHO=world", "--label", "built=yes")
        config = out.config["config"]
        self.assertEqual(config["Env"], ["PATH=/bin", "GREETING=hello world", "EMPTY="])
        self.assertEqual((config["WorkingDir"], config["User"], config["StopSignal"]), ("/app/sub", "ann", "SIGINT"))
        self.assertEqual((config["Labels"], config["Volumes"]), ({"a.b": "c d", "built": "yes"}, {"/data": {}}))
        self.assertEqual(sorted(config["ExposedPorts"]), ["80/tcp", "81/udp", "82/udp"])
        self.assertEqual((config["Entrypoint"], config["Cmd"], config["Shell"]), (["/bin/sh", "-c"], ["/bin/sh", "-e", "-c", "cat out"], ["/bin/sh", "-e", "-c"]))
        self.assertEqual(config["Healthcheck"], {"Test": ["CMD-SHELL", "true"], "Interval": 5000000000, "Retries": 2})
        self.assertEqual(config["OnBuild"], ["RUN true"])
        self.assertEqual(out.text("app/sub/out"), "hello world world\n/app/sub\n0\n")
        self.assertEqual(out.files["app/sub/there/a"][1:4], (0o640, 7, 9))
        self.assertEqual(out.files["app/sub/there/link"][4], "x")
        self.assertNotIn("app/sub/there/y", out.files)
        self.assertEqual(out.text("app/sub/copied"), "X")
        self.assertIn("uid=7(ann) gid=8", out.text("tmp/id"))
        self.assertNotIn("etc/resolv.conf", out.files)
        self.assertEqual(len([h for h in out.config["history"] if not h.get("empty_layer")]), len(out.layers))  # the base says nothing of its own
        self.assertEqual(self.leftovers(), [])
        # ONBUILD of the base runs first.
        again = self.build("FROM out:1\nRUN touch /tmp/later\n")
        self.assertIn("RUN true", again.log)
        self.assertNotIn("OnBuild", again.config["config"])

    def test_a_packed_image_has_a_history(self):
        self.image("save", self.folder + "/base.tar", "base:1")
        base = Image(self.folder + "/base.tar")
        self.assertEqual([step["created_by"] for step in base.config["history"]], ["monopod image pack"])
        self.assertEqual(len(base.layers), 1)

    def test_stages_are_built_where_they_are_needed(self):
        self.write(f="1")
        dockerfile = """FROM base:1 AS unused
RUN false
FROM base:1 AS made
RUN mkdir -p /d/e && echo made > /d/e/f && ln -s /d/e/f /link && chmod 600 /d/e/f
FROM made AS more
RUN echo more > /more
FROM scratch AS last
COPY --from=made /d /link /got/
COPY --from=1 /d/e/f /single
COPY --from=more /more /
COPY --from=base:1 /etc/passwd /users
"""
        out = self.build(dockerfile)
        self.assertEqual(sorted(out.files), ["got", "got/e", "got/e/f", "got/link", "more", "single", "users"])
        self.assertEqual(out.text("got/link"), "made\n")  # a named link is followed
        self.assertEqual(out.files["single"][1], 0o600)
        self.assertEqual(len(self.build(dockerfile, "--target", "made").layers), 2)
        self.assertIn("could not be found", self.build(dockerfile, "--target", "none", ok=False))

    def test_a_trigger_may_copy_from_a_stage_of_who_stands_on_it(self):
        self.build("FROM base:1 AS builder\nRUN echo mine > /made\nFROM base:1\nONBUILD COPY --from=builder /made /got\n", "-t", "trigger:1")
        for name, more in (("one", "--jobs=1"), ("two", "--jobs=2"), ("three", "--no-cache")):
            out = self.build(f"FROM base:1 AS below\nRUN echo {name} > /made\nFROM below AS builder\nRUN echo more >> /made\nFROM base:1 AS other\nRUN touch /o\nFROM trigger:1\nCOPY --from=other /o /\nRUN cat /got\n", more)
            self.assertEqual(out.text("got"), f"{name}\nmore\n")
        self.assertIn("docker.io/library/builder:latest", self.build("FROM trigger:1\nRUN true\n", ok=False))  # no stage, so an image

    def test_a_stage_of_this_platform_builds_for_another(self):
        other = "s390x"
        dockerfile = f"""FROM --platform=$BUILDPLATFORM base:1 AS made
ARG TARGETARCH
RUN echo for $TARGETARCH > /made
FROM scratch
COPY --from=made /made /made
LABEL a=b
"""
        out = self.build(dockerfile, "--platform", f"linux/{other}")
        self.assertEqual((out.config["architecture"], out.text("made")), (other, f"for {other}\n"))
        self.assertNotEqual(self.build(dockerfile).config["architecture"], other)
        # An image made so is a base for the same platform, and for no other; its programs do not run without an interpreter.
        self.write(a="A")
        self.build("FROM scratch\nCOPY a /a\n", "-t", "127.0.0.1:1/far:1", "--platform", f"linux/{other}")
        self.assertEqual(self.build(f"FROM --platform=linux/{other} 127.0.0.1:1/far:1\nLABEL x=y\n").config["architecture"], other)
        self.assertIn("127.0.0.1:1/far:1 is here for linux/s390x, not for linux/", self.build("FROM 127.0.0.1:1/far:1\n", ok=False))
        self.assertIn("register qemu-s390x-static", self.build(f"FROM --platform=linux/{other} 127.0.0.1:1/far:1\nCOPY --from=base:1 /bin /bin\nRUN [\"/a\"]\n", ok=False))
        self.assertIn("invalid platform", self.build("FROM --platform=nonsense base:1\n", ok=False))

    def in_namespaces(self, script):
        """As root of a user namespace of its own, which since Linux 6.7 has interpreters of its own (binfmt_misc)."""
        child = subprocess.Popen(["unshare", "-U", "-m", "-n", "sh", "-c", 'echo; read x; exec setpriv --reuid 0 --regid 0 --clear-groups sh -ec "$1"', "sh", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT, text=True)
        if child.stdout.readline() != "\n":
            self.skipTest("SKIPPED: needs user namespaces")
        for name in ("uid_map", "gid_map"):
            with open(f"/proc/{child.pid}/{name}", "w") as f:
                f.write("0 0 4294967295")
        out = child.communicate("\n", timeout=DEADLINE_S)[0]
        return child.returncode, out

    FAR = """FROM --platform=$BUILDPLATFORM base:1 AS here
ARG TARGETPLATFORM TARGETOS TARGETARCH TARGETVARIANT BUILDPLATFORM BUILDOS BUILDARCH
RUN echo "$TARGETPLATFORM $TARGETOS $TARGETARCH '$TARGETVARIANT' $BUILDPLATFORM $BUILDOS $BUILDARCH" > /args
FROM scratch
COPY --from=here /args /args
COPY program /program
RUN ["/program"]
"""

    def test_programs_of_another_platform_run_by_an_interpreter(self):
        self.write(Dockerfile=self.FAR)
        with open(self.context + "/program", "wb") as f:
            f.write(aarch64_program())
        os.chmod(self.context + "/program", 0o755)
        here = os.uname().machine
        if here == "aarch64" or os.path.exists(MISC + "/qemu-aarch64"):
            self.skipTest("SKIPPED: needs a machine that does not run arm64 by itself")
        # Who lacks one is told before the step runs.
        said = self.build(self.FAR, "--platform", "linux/arm64", ok=False)
        self.assertIn("Dockerfile:7:1: programs for linux/arm64 do not run here: binfmt_misc has no interpreter for them; install qemu-user-static (Debian), or register qemu-aarch64-static with flag F", said)
        if not os.path.exists(QEMU):
            self.skipTest("SKIPPED: needs qemu-user-static")
        build = f"{BINARY} image build --data-dir {self.folder}/far -t near:1 --platform linux/arm64 {self.context}"
        start = f"mount -t binfmt_misc none {MISC}; {BINARY} image load --data-dir {self.folder}/far {self.shared}/base.tar; "
        code, out = self.in_namespaces(f"mount -t binfmt_misc none {MISC}")
        if code != 0:
            self.skipTest(f"SKIPPED: needs binfmt_misc in user namespaces (Linux 6.7): {out}")
        code, out = self.in_namespaces(start + f"printf '%s' ':arm64:M::{MAGIC}:{QEMU}:F' > {MISC}/register; {build}; {BINARY} image save --data-dir {self.folder}/far {self.folder}/far.tar near:1")
        self.assertEqual(code, 0, out)
        far = Image(self.folder + "/far.tar")
        own = {"x86_64": "amd64"}.get(here, here)
        self.assertEqual((far.config["architecture"], far.text("made"), far.text("args")), ("arm64", "aarch64", f"linux/arm64 linux arm64 '' linux/{own} linux {own}\n"))
        # One that is looked for in the container, where it is not.
        shutil.rmtree(self.folder + "/far")
        code, out = self.in_namespaces(start + f"printf '%s' ':arm64:M::{MAGIC}:{QEMU}:' > {MISC}/register; {build}")
        self.assertNotEqual(code, 0, out)
        self.assertIn("their interpreter must be registered in binfmt_misc with flag F", out)
        self.assertFalse(os.path.exists(MISC + "/arm64"))

    def test_what_changed_is_built_anew_and_nothing_else(self):
        self.write(a="1", b="2")
        dockerfile = "FROM base:1\nARG V=1\nCOPY a /\nRUN echo $V > /v\nCOPY b /\n"
        first = self.build(dockerfile)
        again = self.build(dockerfile)
        self.assertEqual(first.id, again.id)
        self.assertEqual([s.endswith(" cached") for s in self.steps], [False, True, True, True])
        os.utime(self.context + "/a", (1, 1))  # times do not count
        self.assertEqual(self.build(dockerfile).id, first.id)
        self.write(b="3")
        self.build(dockerfile)
        self.assertEqual([s.endswith(" cached") for s in self.steps], [False, True, True, False])
        os.chmod(self.context + "/a", 0o755)
        self.build(dockerfile)
        self.assertEqual([s.endswith(" cached") for s in self.steps], [False, False, False, False])
        self.assertEqual(self.build(dockerfile, "--build-arg", "V=2").text("v"), "2\n")
        self.assertEqual([s.endswith(" cached") for s in self.steps], [False, True, False, False])
        self.build(dockerfile, "--no-cache")
        self.assertNotIn(True, [s.endswith(" cached") for s in self.steps])
        self.image("prune")
        self.build(dockerfile, "--build-arg", "V=3")

    def test_the_result_is_json_on_request(self):
        out = json.loads(self.build("FROM base:1 AS one\nRUN echo to the log\nENV A=1\n", "-o", "json", "-q").stdout)
        self.assertEqual((out["references"], [(s["stage"], s["number"], s["text"], s["cached"]) for s in out["steps"]]),
                         (["docker.io/library/out:1"], [("one", 1, "RUN echo to the log", False), ("one", 2, "ENV A=1", False)]))
        self.assertEqual(out["images"][0]["id"], out["id"])
        self.assertRegex(out["images"][0]["manifestDigest"], "sha256:[0-9a-f]{64}")
        # Quiet: of a step that fails what it wrote.
        self.assertIn("why it fails\n", self.build("FROM base:1\nRUN echo why it fails; exit 1\n", "-q", ok=False))

    def test_same_input_gives_the_same_image(self):
        self.write(a="1")
        dockerfile = "FROM base:1\nCOPY a /dir/\nRUN echo x > /x && mkdir /y && ln -s x /z\n"
        ids = set()
        for stamp in (5, 500):
            os.utime(self.context + "/a", (10**9 + stamp, 10**9 + stamp))
            ids.add(self.build(dockerfile, "--no-cache", env={"SOURCE_DATE_EPOCH": "1000000"}).id)
        self.assertEqual(len(ids), 1)

    def test_mounts_of_run(self):
        self.write(bound__f="bound", **{"secret.txt": "s3cret"})
        dockerfile = """FROM base:1 AS other
RUN echo theirs > /t
FROM base:1
RUN --mount=type=cache,target=/cache,mode=0700 echo x >> /cache/n && wc -l < /cache/n > /n
RUN --mount=target=/b,source=bound --mount=type=bind,from=other,source=/t,target=/theirs cat /b/f /theirs > /both; if touch /b/new; then false; fi
RUN --mount=type=secret,id=key,target=/run/key --mount=type=secret,id=key,env=KEY test "$(cat /run/key)" = s3cret && test "$KEY" = s3cret && stat -c %a /run/key > /mode
RUN --mount=type=secret,id=absent test ! -e /run/secrets/absent
RUN --mount=type=tmpfs,target=/tmp/big,size=1m echo x > /tmp/big/x && mkdir /tmp/kept
RUN --network=none ls /sys/class/net > /nets
"""
        out = self.build(dockerfile, "--secret", f"id=key,src={self.context}/secret.txt")
        self.assertEqual((out.text("n"), out.text("both"), out.text("mode"), out.text("nets")), ("1\n", "boundtheirs\n", "400\n", "lo\n"))
        self.assertIn("tmp/kept", out.files)
        for name in ("cache", "b", "theirs", "run", "tmp/big", "tmp/big/x"):
            self.assertNotIn(name, out.files)
        self.assertNotIn(b"s3cret", b"".join(str(f).encode() for f in out.files.values()))
        self.assertEqual(self.build(dockerfile, "--no-cache", "--secret", f"id=key,src={self.context}/secret.txt").text("n"), "2\n")
        self.assertIn("secret absent: not found", self.build("FROM base:1\nRUN --mount=type=secret,id=absent,required true\n", ok=False))

    def test_what_is_written_into_a_bind_is_thrown_away(self):
        self.write(d__f="mine", g="also")
        os.chmod(self.context + "/d", 0o750)
        out = self.build("""FROM base:1 AS other
RUN mkdir /o && echo theirs > /o/f
FROM base:1
RUN --mount=target=/d,source=d,rw --mount=type=bind,source=g,target=/g,rw --mount=from=other,source=/o,target=/o,readwrite echo new > /d/f && echo x > /d/x && echo new > /g && rm /o/f && echo x > /o/x && stat -c %a /d > /mode
RUN --mount=target=/d,source=d --mount=type=bind,source=g,target=/g --mount=from=other,source=/o,target=/o cat /d/f /g /o/f > /all; ls /d /o > /names
""")
        self.assertEqual((out.text("all"), out.text("names"), out.text("mode")), ("minealsotheirs\n", "/d:\nf\n\n/o:\nf\n", "750\n"))
        self.assertEqual(sorted(os.listdir(self.context + "/d")), ["f"])
        with open(self.context + "/d/f") as f, open(self.context + "/g") as g:
            self.assertEqual((f.read(), g.read()), ("mine", "also"))
        self.assertEqual(self.leftovers(), [])

    def test_an_agent_of_ssh_is_there_for_its_step(self):
        agent = socket.socket(socket.AF_UNIX)
        self.addCleanup(agent.close)
        agent.bind(self.folder + "/agent")
        agent.listen()
        dockerfile = "FROM base:1\nRUN --mount=type=ssh,required test -S $SSH_AUTH_SOCK && echo $SSH_AUTH_SOCK > /was\nRUN --mount=type=ssh,id=other test -z \"$SSH_AUTH_SOCK\"\n"
        out = self.build(dockerfile, "--ssh", f"default={self.folder}/agent")
        self.assertEqual(out.text("was"), "/run/buildkit/ssh_agent.default\n")
        self.assertNotIn("run", out.files)
        self.assertIn("ssh agent default: not found", self.build(dockerfile + "RUN --mount=type=ssh,required true\n", "--no-cache", ok=False))
        self.assertIn("is not a socket", self.build(dockerfile, "--ssh", f"default={BUSYBOX}", ok=False))

    def test_an_image_is_exported_as_the_files_it_shows(self):
        self.write(a="x")
        self.build("FROM base:1\nCOPY a /in/a\nRUN rm /etc/passwd && touch /in/b\n")
        self.image("export", self.folder + "/files.tar", "out:1")
        with tarfile.open(self.folder + "/files.tar") as tar:
            names = {name.removeprefix("./") for name in tar.getnames()}
        self.assertLessEqual({"in/a", "in/b", "bin/busybox"}, names)
        self.assertNotIn("etc/passwd", names)
        self.image("import", self.folder + "/files.tar", "again:1")
        self.image("save", self.folder + "/again.tar", "again:1")
        self.assertEqual(Image(self.folder + "/again.tar").text("in/a"), "x")
        self.assertEqual(self.leftovers(), [])

    STAGES = """FROM base:1 AS made
COPY a /src/
RUN cat /src/a > /made && echo more >> /made
FROM base:1
WORKDIR /app
COPY --from=made /made .
RUN wc -l < made > lines
ENV DONE=1
"""

    def forget(self):
        """A data directory of its own, as another machine has it."""
        shutil.rmtree(self.folder + "/data")
        self.image("load", self.shared + "/base.tar")

    def build_from_cache(self, first, *options, cached=5):
        self.forget()
        again = self.build(self.STAGES, *options)
        self.assertEqual(len([step for step in self.steps if step.endswith(" cached")]), cached, again.log)
        if first is not None:
            self.assertEqual((again.id, again.manifest), (first.id, first.manifest))
        listed = json.loads(self.image("ls", "-o", "json"))["images"]
        self.assertEqual(sorted(name for image in listed for name in image["references"]), ["docker.io/library/base:1", "docker.io/library/out:1"])
        self.assertEqual(self.leftovers(), [])
        return again

    def test_a_cache_in_a_directory_makes_the_same_image(self):
        self.write(a="A\n")
        place = self.folder + "/cache"
        first = self.build(self.STAGES, "--cache-to", f"type=local,dest={place},mode=max")
        self.assertTrue(os.path.exists(place + "/oci-layout"))
        again = self.build_from_cache(first, "--cache-from", f"type=local,src={place}", "--cache-to", f"type=local,dest={place},mode=max")
        self.assertEqual(again.text("app/lines"), "2\n")
        self.build_from_cache(first, "--cache-from", f"type=local,src={place}")  # what was written over it says the same
        # What changed is built anew, and all that stands on it.
        self.write(a="B\n")
        self.build_from_cache(None, "--cache-from", f"type=local,src={place}", cached=1)
        # A cache counts for the build that names it.
        self.write(a="A\n")
        self.build(self.STAGES)
        self.build(self.STAGES, "--no-cache", "--cache-from", f"type=local,src={place}")
        self.assertFalse([step for step in self.steps if step.endswith(" cached")])
        # Of the target's stage alone: the other is built, and gives the same.
        small = self.folder + "/small"
        self.forget()
        first = self.build(self.STAGES, "--source-date-epoch", "1700000000", "--cache-to", f"type=local,dest={small}")
        self.build_from_cache(first, "--source-date-epoch", "1700000000", "--cache-from", f"type=local,src={small}", cached=3)

    def registry(self):
        import ports
        port = ports.free_port()
        with open(self.folder + "/registry.log", "w") as log:
            registry = subprocess.Popen([BINARY, "registry", "--listen", f"127.0.0.1:{port}", "--data-dir", self.folder + "/registry"], stderr=log)
        self.addCleanup(registry.wait)
        self.addCleanup(registry.terminate)
        deadline = time.monotonic() + DEADLINE_S
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.02)
        return port

    def test_one_name_for_the_images_of_several_platforms(self):
        self.write(a="A")
        own = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
        dockerfile = """FROM --platform=$BUILDPLATFORM base:1 AS here
ARG TARGETARCH
RUN echo for $TARGETARCH > /made
FROM scratch
COPY --from=here /made /
COPY a /
ENV ARCH=$TARGETARCH
"""
        both = ["--platform", f"linux/s390x,linux/{own}"]
        out = self.build(dockerfile, *both)
        self.assertIn("[linux/s390x here 1/5] ARG", out.log)

        def archive(path):
            with tarfile.open(path) as tar:
                blobs = {member.name: tar.extractfile(member).read() for member in tar if member.isfile() and member.size < 1 << 16}
            listed = json.loads(blobs["index.json"])["manifests"]
            inner = json.loads(blobs["blobs/sha256/" + listed[0]["digest"][7:]])
            return listed, inner, json.loads(blobs["manifest.json"])

        def check(data, reference):
            self.image_of(data, "save", self.folder + "/index.tar", reference)
            listed, inner, docker = archive(self.folder + "/index.tar")
            self.assertEqual((len(listed), listed[0]["mediaType"], listed[0]["annotations"]["io.containerd.image.name"]), (1, "application/vnd.oci.image.index.v1+json", reference))
            self.assertEqual([m["platform"]["architecture"] for m in inner["manifests"]], ["s390x", own])
            self.assertEqual([image["RepoTags"] for image in docker], [[reference]])  # docker's old form: this machine's
            return listed[0]["digest"]
        digest = check("data", "docker.io/library/out:1")
        self.assertEqual(digest, out.id)
        # A name shows this machine's image; the list shows both; an index is inspected by its digest too.
        shown = json.loads(self.image("inspect", "out:1"))
        self.assertEqual((shown["platform"], shown["indexes"][0]["digest"]), (f"linux/{own}", digest))
        self.assertEqual([one["platform"] for one in shown["indexes"][0]["images"]], ["linux/s390x", f"linux/{own}"])
        self.assertEqual(json.loads(self.image("inspect", digest))["id"], shown["id"])
        rows = [line.split() for line in self.image("ls").splitlines() if "out:1" in line]
        self.assertEqual([row[-1] for row in rows], ["linux/s390x", f"linux/{own}"])
        self.assertEqual(len(json.loads(self.image("ls", "-o", "json"))["images"]), 2)
        self.assertEqual(self.build(dockerfile, *both).id, digest)
        # Another name of the same, and what is removed with the last.
        self.image("tag", "out:1", "two:1")
        self.assertEqual(check("data", "docker.io/library/two:1"), digest)
        self.image("prune")  # what has a name stays, whole
        self.image("rm", "out:1")
        check("data", "docker.io/library/two:1")
        # A stage stands on the one of its platform.
        far = self.build("FROM two:1\nLABEL a=b\n", "--platform", "linux/s390x")
        self.assertEqual((far.text("made"), far.config["config"]["Env"][-1]), ("for s390x\n", "ARCH="))
        # To a registry, whence each takes its own; and as a file.
        name = f"127.0.0.1:{self.registry()}/several:1"
        self.image("push", "two:1", name)
        for architecture in ("s390x", own):
            self.image_of("other", "pull", "--platform", f"linux/{architecture}", name)
            self.assertEqual(json.loads(self.image_of("other", "inspect", name))["platform"], f"linux/{architecture}")
            self.assertEqual(json.loads(self.image_of("other", "inspect", digest))["platform"], f"linux/{architecture}")
        self.image("save", self.folder + "/several.tar", "two:1")
        self.image_of("third", "load", self.folder + "/several.tar")
        self.assertEqual(len(json.loads(self.image_of("third", "ls", "-o", "json"))["images"]), 1)
        self.assertNotIn("indexes", json.loads(self.image_of("third", "inspect", "two:1")))
        self.image_of("fourth", "load", "--all-platforms", self.folder + "/several.tar")
        self.assertEqual(check("fourth", "docker.io/library/two:1"), digest)
        self.image("bundle", self.folder + "/several.bundle", "two:1")
        self.image_of("fifth", "load", "--all-platforms", self.folder + "/several.bundle")
        check("fifth", "docker.io/library/two:1")
        # The files are this machine's.
        self.image("export", self.folder + "/files.tar", "two:1")
        with tarfile.open(self.folder + "/files.tar") as tar:
            self.assertEqual([tar.extractfile(member).read().decode() for member in tar if member.name.endswith("made")], [f"for {own}\n"])
        self.image("rm", "two:1", "out:1")
        self.assertEqual([image["references"] for image in json.loads(self.image("ls", "-o", "json"))["images"]], [["docker.io/library/base:1"]])
        self.assertIn("want a tag", self.build_plain(dockerfile, *both))

    def test_a_cache_in_a_registry_makes_the_same_image(self):
        port = self.registry()
        name = f"127.0.0.1:{port}/cache:1"
        self.write(a="A\n")
        first = self.build(self.STAGES, "--cache-to", f"type=registry,ref={name},mode=max")
        self.build_from_cache(first, "--cache-from", f"type=registry,ref={name}")
        self.build_from_cache(first, "--cache-from", name)
        # In the image itself, which others pull anyway; the other stage is not in it.
        self.forget()
        first = self.build(self.STAGES, "--source-date-epoch", "1700000000", "--cache-to", "type=inline")
        self.assertIn("monopod.cache.v1", first.config)
        self.image("push", "out:1", name)
        self.build_from_cache(first, "--source-date-epoch", "1700000000", "--cache-to", "type=inline", "--cache-from", name, cached=3)
        child = self.build("FROM out:1\nENV X=1\n")
        self.assertNotIn("monopod.cache.v1", child.config)
        # What is not there is passed over.
        self.forget()
        out = self.build(self.STAGES, "--cache-from", f"127.0.0.1:{port}/none:1")
        self.assertIn("goes on without a cache", out.log)

    def test_a_cache_can_not_say_more_than_a_layer_at_its_step(self):
        self.write(a="A\n")
        place = self.folder + "/cache"
        self.build(self.STAGES, "--cache-to", f"type=local,dest={place},mode=max")
        with open(place + "/index.json") as f:
            manifest = json.load(f)["manifests"][0]["digest"][7:]
        blobs = place + "/blobs/sha256/"
        with open(blobs + manifest) as f:
            document = json.load(f)

        def rewrite(change):
            """The cache with another configuration, rightly named."""
            with open(blobs + document["config"]["digest"][7:]) as f:
                config = json.load(f)
            change(config["monopod.cache.v1"])
            text = json.dumps(config).encode()
            bad = self.folder + "/bad"
            shutil.rmtree(bad, True)
            shutil.copytree(place, bad)
            new = json.loads(json.dumps(document))
            new["config"]["digest"], new["config"]["size"] = "sha256:" + hashlib.sha256(text).hexdigest(), len(text)
            for content in (text, json.dumps(new).encode()):
                with open(bad + "/blobs/sha256/" + hashlib.sha256(content).hexdigest(), "wb") as f:
                    f.write(content)
            named = json.dumps(new).encode()
            with open(bad + "/index.json", "w") as f:
                json.dump({"schemaVersion": 2, "manifests": [{"mediaType": new["mediaType"], "digest": "sha256:" + hashlib.sha256(named).hexdigest(), "size": len(named)}]}, f)
            os.remove(bad + "/manifest.json")
            return bad

        def point_elsewhere(cache):
            for key in cache["steps"]:
                cache["steps"][key] = "sha256:" + "1" * 64
        for change, says in ((point_elsewhere, "cannot be used"), (lambda cache: cache.update(steps={"x": "y"}), "cannot be read"), (lambda cache: cache.update(images={"sha256:" + "2" * 64: "soon"}), "cannot be read")):
            self.forget()
            out = self.build(self.STAGES, "--cache-from", f"type=local,src={rewrite(change)}")
            self.assertIn(says, out.log)
            self.assertEqual(out.text("app/lines"), "2\n")
        # A layer that is not what its name says takes the whole cache with it.
        layer = document["layers"][-1]["digest"][7:]
        with open(blobs + layer, "r+b") as f:
            f.seek(20)
            f.write(b"XX")
        self.forget()
        self.assertIn("goes on without a cache", self.build(self.STAGES, "--cache-from", f"type=local,src={place}").log)

    def test_caches_of_other_kinds_are_refused_by_name(self):
        for option, value, says in (("--cache-to", "type=gha", 'cache type "gha" is not supported: want registry, local or inline'), ("--cache-from", "type=inline", 'cache type "inline" is not supported'),
                                    ("--cache-to", "type=local", "dest is missing"), ("--cache-from", "type=local,dest=/x", "dest is not supported"), ("--cache-to", "type=registry,ref=a b", "a b"),
                                    ("--cache-to", "type=registry,ref=a,compression=zstd", "compression is not supported"), ("--cache-to", "type=local,dest=/x,mode=most", "want min or max")):
            self.assertIn(says, self.build("FROM base:1\n", option, value, ok=False))
        os.mkdir(self.folder + "/own")
        with open(self.folder + "/own/file", "w"):
            pass
        self.assertIn("holds something else", self.build("FROM base:1\nWORKDIR /x\n", "--cache-to", f"type=local,dest={self.folder}/own", ok=False))
        self.assertEqual(os.listdir(self.folder + "/own"), ["file"])

    def test_a_linked_copy_is_a_layer_of_its_own(self):
        self.write(a="A", sub__b="B")
        steps = "COPY --link a /tmp/\nCOPY --link --chown=ann sub /srv/app\nCOPY --link --chown=5:6 --chmod=600 a /deep/er/file\nRUN ls -ld /tmp > /seen\n"
        first = self.build("FROM base:1\n" + steps)
        self.assertEqual(first.layers[1:4], [["tmp/a"], ["srv/app", "srv/app/b"], ["deep/er/file"]])
        self.assertEqual((first.files["tmp/a"][1:4], first.files["srv/app/b"][1:4], first.files["deep/er/file"][1:4]), ((0o644, 0, 0), (0o644, 7, 7), (0o600, 5, 6)))
        self.assertTrue(first.text("seen").startswith("drwxrwxrwt"), first.text("seen"))  # the base's, though the layer passes through it
        self.build("FROM base:1\n" + steps)
        self.assertEqual(len([step for step in self.steps if step.endswith(" cached")]), 4)
        # Another base: the layers stay, and nothing is copied.
        second = self.build("FROM base:1\nRUN touch /other\n" + steps)
        self.assertEqual([step.endswith(" cached") for step in self.steps], [False, True, True, True, False])
        self.assertEqual([layer["digest"] for layer in second.manifest["layers"][2:5]], [layer["digest"] for layer in first.manifest["layers"][1:4]])
        self.assertTrue(second.text("seen").startswith("drwxrwxrwt"), second.text("seen"))
        # What is copied counts.
        self.write(a="AA")
        third = self.build("FROM base:1\n" + steps)
        self.assertEqual(third.text("tmp/a"), "AA")
        self.assertEqual(third.manifest["layers"][2]["digest"], first.manifest["layers"][2]["digest"])
        # A link of the base at the destination is replaced, not followed.
        out = self.build("FROM base:1\nRUN mkdir /real && ln -s /real /link\nCOPY --link a /link/\nRUN ls /real > /seen; cat /link/a >> /seen\n")
        self.assertEqual(out.text("seen"), "AA")
        self.assertIn("want true or false", self.build("FROM base:1\nCOPY --link=maybe a /x\n", ok=False))
        out = self.build("FROM scratch\nCOPY --link --chown=1:2 a /x/\nCOPY --link=false a /y\n")
        self.assertEqual((out.files["x/a"][2:4], out.text("y")), ((1, 2), "AA"))

    def test_copied_files_keep_their_parents(self):
        self.write(sub__x__one="1", sub__y__two="2", sub__y__other="3", top="4")
        dockerfile = "FROM base:1\nWORKDIR /src\nCOPY --parents sub/*/*o* top ./\nCOPY --parents --chown=5 ./sub/./y /dst/\nCOPY --parents sub/x/one sub/./y/two <<DOC /more/\nd\nDOC\n"
        out = self.build(dockerfile)
        self.assertEqual(sorted(k for k, v in out.files.items() if v[0] == tarfile.REGTYPE and not k.startswith(("bin/", "etc/"))),
                         ["dst/y/other", "dst/y/two", "more/DOC", "more/sub/x/one", "more/y/two", "src/sub/x/one", "src/sub/y/other", "src/sub/y/two", "src/top"])
        self.assertEqual(out.files["dst/y/two"][2:4], (5, 5))
        self.build(dockerfile)
        self.assertNotIn(False, [step.endswith(" cached") for step in self.steps])
        os.rename(self.context + "/sub/x", self.context + "/sub/z")  # the same content under another path
        out = self.build("FROM base:1\nWORKDIR /src\nCOPY --parents sub/*/*o* top ./\n")
        self.assertIn("src/sub/z/one", out.files)

    def test_a_dockerfile_may_have_its_own_list_of_what_is_ignored(self):
        self.write(a="1", b="2", **{".dockerignore": "a\n", "own": "FROM scratch\nCOPY . /\n", "own.dockerignore": "b\nown*\n.dockerignore\n"})
        self.assertEqual(sorted(self.build("FROM scratch\nCOPY . /\n").files), [".dockerignore", "b", "own", "own.dockerignore"])
        self.image("build", "-t", "own:1", "-f", self.context + "/own", self.context)
        self.image("save", self.folder + "/own.tar", "own:1")
        self.assertEqual(sorted(Image(self.folder + "/own.tar").files), ["a"])

    def diff(self, *names):
        done = subprocess.run([BINARY, "image", "diff", "--data-dir", self.folder + "/data", "-o", "json", *names], capture_output=True, text=True, timeout=DEADLINE_S)
        return done.returncode, json.loads(done.stdout) if done.stdout else done.stderr

    def test_images_and_layers_are_compared(self):
        self.write(a="A", b="B")
        self.build("FROM base:1\nCOPY a b /d/\nRUN rm /etc/passwd\n", "-t", "old:1")
        self.write(b="CC", c="new")
        self.build("FROM base:1\nCOPY . /d/\nRUN chmod 600 /d/a\nENV MORE=1\n", "-t", "new:1")
        code, out = self.diff("old:1", "new:1")
        self.assertEqual(code, 1, out)
        self.assertEqual([(c["kind"], c["path"], c.get("what")) for c in out["changes"]],
                         [("changed", "/d/a", ["mode"]), ("changed", "/d/b", ["content"]), ("added", "/d/c", None), ("added", "/etc/passwd", None)])
        self.assertEqual(out["bytes"], 1 + 3 + len("root:x:0:0::/root:/bin/sh\nann:x:7:8::/home/ann:/bin/sh\n"))
        code, out = self.diff("old:1")
        self.assertEqual((code, len(out["layers"])), (0, 3), out)
        self.assertEqual([(c["kind"], c["path"]) for c in out["layers"][2]["changes"]], [("removed", "/etc/passwd")])
        self.assertEqual(out["layers"][2]["createdBy"], "RUN /bin/sh -c rm /etc/passwd")
        self.build("FROM new:1\nENV ONE_MORE=2\n", "-t", "same:1")
        self.assertEqual(self.diff("new:1", "same:1")[0], 0)
        self.assertEqual(self.diff("new:1", "new:1")[0], 0)
        code, out = self.diff("new:1", "none:1")
        self.assertGreater(code, 1)
        self.assertIn("none:1: not found", out)

    def test_a_load_syncs_four_times_at_most(self):
        if not shutil.which("strace"):
            self.skipTest("counting needs strace")
        layer = self.folder + "/one"
        with open(layer, "w") as f:
            f.write("1")
        subprocess.run([BINARY, "image", "pack", "--reference", "one:1", "--copy", layer + ":/one", self.folder + "/one.tar"], check=True, stdout=subprocess.DEVNULL)
        trace = self.folder + "/trace"
        done = subprocess.run(["strace", "-f", "-e", "trace=fsync,fdatasync,syncfs,sync,msync,sync_file_range", "-o", trace, BINARY, "image", "load", "--data-dir", self.folder + "/data", self.folder + "/one.tar"],
                              capture_output=True, text=True, timeout=DEADLINE_S)
        self.assertEqual(done.returncode, 0, done.stderr)
        with open(trace) as f:
            calls = [line for line in f if "sync" in line and "resumed" not in line]
        self.assertLessEqual(len(calls), 4, calls)

    def test_excluded_files_are_not_copied(self):
        self.write(**{"d__a.txt": "a", "d__b.md": "b", "d__deep__c.txt": "c", "one.txt": "1", "one.md": "2"})
        out = self.build("FROM base:1 AS made\nCOPY d /d\nFROM base:1\nCOPY --exclude=*.txt d /x/\nCOPY --exclude=**/*.txt --exclude=!a.txt d /y/\nCOPY --exclude=*.md one.* /z/\n"
                         "COPY --from=made --exclude=deep --link /d /w/\n")
        under = {at: sorted(name[2:] for name, what in out.files.items() if name.startswith(at + "/") and what[0] != tarfile.DIRTYPE) for at in "xyzw"}
        self.assertEqual(under, {"x": ["b.md", "deep/c.txt"], "y": ["a.txt", "b.md"], "z": ["one.txt"], "w": ["a.txt", "b.md"]})
        self.build("FROM base:1 AS made\nCOPY d /d\nFROM base:1\nCOPY --from=made --exclude=*.md /d /w/\n")
        self.assertEqual([step.endswith(" cached") for step in self.steps], [True, False])

    def test_heredocs_and_archives(self):
        with tarfile.open(self.context + "/a.tar.gz", "w:gz") as tar:
            info = tarfile.TarInfo("in/side")
            info.size, info.uid = 1, 5
            tar.addfile(info, io.BytesIO(b"y"))
        out = self.build("""FROM base:1
ENV X=val
RUN <<EOF
echo "one $X" > /one
cat > /two <<END
inner
END
EOF
RUN cat <<EOF > /three
$X \\$X
EOF
COPY <<a.txt <<"b.txt" /docs/
$X
a.txt
$X
b.txt
ADD a.tar.gz /unpacked/
COPY a.tar.gz /packed/
""")
        program = "FROM base:1\nUSER ann\nRUN <<EOF\n#!/bin/cat\nkept\nEOF\nRUN <<EOF\n#!/bin/sh -e\necho by $0 as $(id -u) > /out/by\nEOF\n"
        made = self.build("FROM base:1\nRUN mkdir -m 1777 /out\n" + program.split("\n", 1)[1])
        self.assertIn("kept\n", made.log)
        self.assertEqual(made.text("out/by"), "by /dev/pipes/EOF as 7\n")
        self.assertEqual((out.text("one"), out.text("two"), out.text("three")), ("one val\n", "inner\n", "val $X\n"))
        self.assertEqual((out.text("docs/a.txt"), out.text("docs/b.txt")), ("val\n", "$X\n"))
        self.assertEqual(out.files["unpacked/in/side"][2:], (5, 0, b"y"))
        self.assertIn("packed/a.tar.gz", out.files)

    def test_files_from_addresses(self):
        asked = []

        class Files(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_GET(self):
                asked.append(self.path)
                found = {"/a/file.bin?v=1": b"content", "/archive.tar": archive.getvalue()}.get(self.path)
                self.send_response(200 if found else 302 if self.path == "/moved" else 404)
                self.send_header("Content-Length", str(len(found or b"")))
                if self.path == "/moved":
                    self.send_header("Location", "/a/file.bin?v=1")
                self.end_headers()
                self.wfile.write(found or b"")

        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            tar.addfile(tarfile.TarInfo("inside"))
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Files)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        at = f"http://127.0.0.1:{server.server_port}"
        out = self.build(f"FROM base:1\nADD {at}/a/file.bin?v=1 {at}/archive.tar /in/\nADD --chmod=644 --chown=7 {at}/moved /moved\n")
        self.assertEqual(out.files["in/file.bin"][1:], (0o600, 0, 0, b"content"))
        self.assertEqual(out.files["in/archive.tar"][4], archive.getvalue())  # as it is
        self.assertEqual(out.files["moved"][1:], (0o644, 7, 7, b"content"))
        checked = f"FROM base:1\nADD --checksum=sha256:{hashlib.sha256(b'content').hexdigest()} {at}/a/file.bin?v=1 /x\n"
        self.assertEqual(self.build(checked).text("x"), "content")
        del asked[:]
        self.assertEqual(self.build(checked).text("x"), "content")
        self.assertEqual(asked, [])  # it says itself what it is
        self.assertIn("its content is sha256:", self.build(checked.replace("=sha256:" + checked.split("sha256:")[1][:64], "=sha256:" + 64 * "0"), ok=False))
        self.assertIn(f"Dockerfile:2:1: {at}/none: status 404", self.build(f"FROM base:1\nADD {at}/none /x\n", ok=False))
        self.assertIn("cannot determine a file name", self.build(f"FROM base:1\nADD {at}/a/ /x\n", ok=False))
        self.assertEqual(self.leftovers(), [])

    def test_errors_say_where(self):
        self.write(a="1", hidden="h", **{".dockerignore": "hidden"})
        os.symlink("/etc/shadow", self.context + "/out")
        for dockerfile, text in (
                ("FROM base:1\n\nRNU x\n", "Dockerfile:3:1: unknown instruction: RNU"),
                ("FROM base:1\nCOPY a b nothere /x/\n", "Dockerfile:2:1: \"/b\": not found"),
                ("FROM base:1\nCOPY hidden /\n", "Dockerfile:2:1: \"/hidden\": not found (excluded by .dockerignore)"),
                ("FROM base:1\nCOPY out /\n", "Dockerfile:2:1: \"/out\": not found"),  # it leads into the context, where there is none
                ("FROM base:1\nCOPY ../../etc/passwd /\n", "Dockerfile:2:1: \"/etc/passwd\": not found"),
                ("FROM base:1\nCOPY a\n", "Dockerfile:2:1: COPY requires at least two arguments"),
                ("FROM base:1\n  RUN exit 3\n", "Dockerfile:2:3: process \"/bin/sh -c exit 3\" did not complete successfully: exit code: 3"),
                ("FROM base:1\nRUN [\"/none\"]\n", "did not complete successfully"),
                ("FROM base:1 AS a\nCOPY --from=a x y\n", "Dockerfile:2:1: stage a refers to itself"),
                ("FROM base:1 AS a\nCOPY --from=b x y\nFROM base:1 AS b\n", "Dockerfile:2:1: stage \"b\" is defined later"),
                ("FROM base:1\nENV A=\"${B:?must be set}\"\n", "Dockerfile:2:1: B: must be set"),
                ("FROM base:1\nUSER nobody\nRUN true\n", "unable to find user nobody"),
                ("FROM base:1\nADD https://example.org/x.git#main /x\n", "Dockerfile:2:1: ADD https://example.org/x.git#main: repositories of git are not supported"),
                ("FROM base:1\nADD git@example.org:x /x\n", "Dockerfile:2:1: ADD git@example.org:x: repositories of git are not supported"),
                ("FROM base:1\nADD http://127.0.0.1:1/x /x\n", "Dockerfile:2:1: http://127.0.0.1:1/x: "),
                ("FROM base:1\nADD --checksum=sha256:1 http://127.0.0.1:1/x /x\n", "Dockerfile:2:1: --checksum=sha256:1: want sha256: and 64 hex digits"),
                ("FROM base:1\nADD --checksum=sha256:" + 64 * "0" + " a /x\n", "Dockerfile:2:1: --checksum is for one address"),
                ("FROM 127.0.0.1:1/none:1\n", "Dockerfile:1:1: pull 127.0.0.1:1/none:1")):
            self.assertIn(text, self.build(dockerfile, ok=False), dockerfile)
        self.assertEqual(self.leftovers(), [])

    def test_links_of_an_image_do_not_lead_outside(self):
        self.write(a="1")
        mark = tempfile.mkdtemp(prefix="monopod-build-")  # not below /dev, which is another inside
        self.addCleanup(shutil.rmtree, mark, True)
        out = self.build(f"FROM base:1\nRUN mkdir -p {mark} && ln -s {mark} /d && ln -s {mark}/f /l\nCOPY a /d/\nCOPY a /l\n")
        self.assertEqual(os.listdir(mark), [])
        self.assertEqual((out.text("l"), out.text(mark[1:] + "/a")), ("1", "1"))

    BESIDE = """FROM base:1 AS left
RUN echo left-begins; sleep %s; echo left-ends; echo l > /l
FROM base:1 AS right
RUN echo right-begins; sleep %s; echo right-ends; echo r > /r
FROM base:1 AS unused
RUN exit 1
FROM base:1
COPY --from=left /l /
COPY --from=right /r /
"""

    def test_independent_stages_are_built_side_by_side(self):
        took = {}
        for jobs in ("1", "2"):
            begun = time.monotonic()
            out = self.build(self.BESIDE % (2, 2), "--no-cache", "--jobs", jobs)
            took[jobs] = time.monotonic() - begun
            self.assertEqual((out.text("l"), out.text("r")), ("l\n", "r\n"))
            self.assertEqual(out.stdout, out.id + "\n")
        print(f"two stages of 2 s: {took['1']:.1f} s after one another, {took['2']:.1f} s side by side")
        self.assertGreater(took["1"], 4)
        self.assertLess(took["2"], took["1"] - 1)
        # Whole lines, each with its step; both begin before one ends.
        said = out.log.splitlines()
        places = [said.index(line) for line in ("[left 1/4] left-begins", "[right 2/4] right-begins", "[left 1/4] left-ends", "[right 2/4] right-ends")]
        self.assertLess(max(places[:2]), min(places[2:]))
        # Alone a step's output stands as it is.
        self.assertIn("\nleft-begins\n", self.build(self.BESIDE % (0, 0), "--no-cache", "--jobs", "1").log)
        self.assertEqual(self.leftovers(), [])

    def test_the_order_of_stages_does_not_show(self):
        """Which stage is faster changes neither image nor cache."""
        found = set()
        for left, right in ((0, 0.4), (0.4, 0)):
            self.forget()
            place = self.folder + f"/cache-{left}"
            arguments = ["--build-arg", f"LEFT={left}", "--build-arg", f"RIGHT={right}"]  # seen by the steps alone
            dockerfile = (self.BESIDE % ("$(cat /wait/l)", "$(cat /wait/r)")).replace("RUN echo", "RUN --mount=type=secret,id=l,target=/wait/l --mount=type=secret,id=r,target=/wait/r echo")
            for name, seconds in (("l", left), ("r", right)):
                with open(self.folder + "/" + name, "w") as f:
                    f.write(str(seconds))
            out = self.build(dockerfile, *arguments, "--secret", f"id=l,src={self.folder}/l", "--secret", f"id=r,src={self.folder}/r", "--source-date-epoch", "1700000000", "--jobs", "2",
                             "--cache-to", f"type=local,dest={place},mode=max")
            with open(place + "/index.json") as f:
                found.add((out.id, json.dumps(out.manifest), f.read()))
        self.assertEqual(len(found), 1)

    def test_the_first_stage_that_fails_ends_the_others(self):
        begun = time.monotonic()
        said = self.build("""FROM base:1 AS slow
RUN sleep 1000.25
FROM base:1 AS bad
RUN sleep 0.5; exit 7
FROM scratch
COPY --from=slow / /a/
COPY --from=bad / /b/
""", "--jobs", "2", ok=False)
        self.assertLess(time.monotonic() - begun, 60)
        self.assertIn('Dockerfile:4:1: process "/bin/sh -c sleep 0.5; exit 7" did not complete successfully: exit code: 7', said)
        self.assertEqual((self.leftovers(), running("1000.25")), ([], []))

    def test_equal_steps_of_two_stages_are_done_once(self):
        same = "RUN --mount=type=cache,target=/c echo x >> /c/n; sleep 0.3; wc -l < /c/n > /n\n"
        out = self.build(f"FROM base:1 AS a\n{same}FROM base:1 AS b\n{same}FROM scratch\nCOPY --from=a /n /a\nCOPY --from=b /n /b\n", "--jobs", "2")
        self.assertEqual((out.text("a"), out.text("b")), ("1\n", "1\n"))

    def test_caches_are_shared_as_they_say(self):
        # Whoever finds the other inside says so.
        def step(sharing, name, tries):
            return f"""FROM base:1 AS {name}
RUN --mount=type=cache,id={sharing},target=/c,sharing={sharing} <<END
touch /c/in-{name}
for i in {tries * 'x '}; do test "$(echo /c/*)" = "/c/in-a /c/in-b" || sleep 0.1; done
ls /c > /seen
test {sharing} = shared || rm /c/in-{name}
END
"""
        for sharing, alone in (("shared", False), ("locked", True), ("private", True)):
            tries = 10 if alone else 300
            out = self.build(step(sharing, "a", tries) + step(sharing, "b", tries) + "FROM scratch\nCOPY --from=a /seen /a\nCOPY --from=b /seen /b\n", "--jobs", "2")
            self.assertEqual((out.text("a"), out.text("b")), ("in-a\n", "in-b\n") if alone else ("in-a\nin-b\n",) * 2, sharing)
        # Locks of two caches, taken in either order.
        both = "RUN --mount=type=cache,target=/{0},sharing=locked --mount=type=cache,target=/{1},sharing=locked sleep 0.2; touch /{2}\n"
        out = self.build("FROM base:1 AS a\n" + both.format("x", "y", "p") + "FROM base:1 AS b\n" + both.format("y", "x", "q") + "FROM scratch\nCOPY --from=a /p /\nCOPY --from=b /q /\n", "--jobs", "2")
        self.assertEqual(sorted(out.files), ["p", "q"])
        # One that begins with what a stage made.
        out = self.build("FROM base:1 AS a\nRUN mkdir /d && echo first > /d/f\nFROM base:1\nRUN --mount=type=cache,from=a,source=/d,target=/c cat /c/f > /f; echo second > /c/f\n"
                         "RUN --mount=type=cache,from=a,source=/d,target=/c cat /c/f >> /f\n")
        self.assertEqual(out.text("f"), "first\nsecond\n")

    def test_killed_while_two_stages_run_it_leaves_nothing(self):
        self.kill_in_a_step(self.BESIDE % ("100321", "100321"), os.kill, "4] left-begins", "4] right-begins")
        self.build("FROM base:1\nRUN touch /other\n")
        self.assertEqual((self.leftovers(), running("100321")), ([], []))
        # Asked to end it takes all with it, wherever it is.
        for said, number in ((("4] left-begins", "4] right-begins"), signal.SIGINT), (("RUN",), signal.SIGTERM)):
            self.assertNotEqual(self.kill_in_a_step(self.BESIDE % ("100322", "100322"), os.kill, *said, number=number), 0)
            self.assertEqual((self.leftovers(), running("100322")), ([], []))

    def test_killed_in_a_step_it_leaves_nothing(self):
        dockerfile = "FROM base:1\nRUN touch /made\nRUN sleep 1000\n"
        self.kill_in_a_step(dockerfile, os.killpg)
        self.build(dockerfile.replace("1000", "0"))
        self.assertEqual([s.endswith(" cached") for s in self.steps], [True, False])
        self.assertEqual(self.leftovers(), [])
        # The command alone: the step goes on until the next build.
        self.kill_in_a_step(dockerfile.replace("1000", "100123"), os.kill)
        self.build("FROM base:1\nRUN touch /other\n")
        self.assertEqual((self.leftovers(), running("100123")), ([], []))

    def kill_in_a_step(self, dockerfile, kill, *said, number=signal.SIGKILL):
        build = subprocess.Popen([BINARY, "image", "build", "--data-dir", self.folder + "/data", "-f", "-", self.context], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
        build.stdin.write(dockerfile)
        build.stdin.close()
        left = list(said or ["2/2"])
        for line in build.stderr:
            left = [text for text in left if text not in line]
            if not left:
                break
        deadline = time.monotonic() + DEADLINE_S
        while number == signal.SIGKILL and not os.listdir(self.folder + "/data/content/snapshots") and time.monotonic() < deadline:
            pass
        kill(build.pid, number)
        build.stderr.read()
        build.stderr.close()
        return build.wait(DEADLINE_S)

    def test_buildah_makes_the_same_of_it(self):
        if shutil.which("buildah") is None:
            self.skipTest("SKIPPED: needs buildah")
        self.write(a="A", dir__x="X")
        dockerfile = """FROM base:1 AS one
ARG V=5
ENV E=$V
WORKDIR /w
RUN echo $E > out; rm /etc/passwd
COPY a dir /w/
COPY --chmod=600 a /deep/er/b
FROM base:1
COPY --from=one /w /w
COPY dir/* /stars/
ENV A=1 B="3 c"
LABEL l=1
USER 5:6
CMD ["x"]
"""
        ours = self.build(dockerfile)
        with open(self.folder + "/Dockerfile", "w") as f:
            f.write(dockerfile.replace("base:1", "localhost/base:1"))
        buildah = ["buildah", "--root", self.folder + "/storage", "--runroot", self.folder + "/run", "--storage-driver", "vfs"]
        commands = (buildah + ["pull", "-q", "oci-archive:" + self.shared + "/base.tar"],
                    buildah + ["bud", "-q", "--isolation", "chroot", "--format", "oci", "--pull-never", "-t", "theirs", "-f", self.folder + "/Dockerfile", self.context],
                    buildah + ["push", "-q", "theirs", f"oci-archive:{self.folder}/theirs.tar"],
                    buildah + ["pull", "-q", f"oci-archive:{self.folder}/out.tar"])  # and takes ours, history and all
        for i, command in enumerate(commands):
            done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S)
            self.assertEqual(done.returncode, 0, done.stderr)
            if i == 0:
                subprocess.run(buildah + ["tag", done.stdout.strip(), "localhost/base:1"], check=True, timeout=DEADLINE_S)
        theirs = Image(self.folder + "/theirs.tar")
        for member in ("Env", "Cmd", "User"):
            self.assertEqual(ours.config["config"].get(member), theirs.config["config"].get(member), member)
        self.assertEqual(ours.config["config"]["Labels"]["l"], theirs.config["config"]["Labels"]["l"])
        runtime = {"dev", "proc", "sys", "run", "tmp", "etc", "etc/hosts", "etc/resolv.conf", "etc/hostname", "run/.containerenv"}

        def shown(image):
            return {path: (kind, mode & 0o7777 if kind != tarfile.SYMTYPE else 0, uid, gid, content[:100]) for path, (kind, mode, uid, gid, content) in image.files.items() if path not in runtime and path != ""}
        self.assertEqual(shown(ours), shown(theirs))


if __name__ == "__main__":
    if os.geteuid() != 0:
        skip("needs root")
    if not os.path.exists(BUSYBOX):
        skip("needs busybox-static")
    unittest.main(verbosity=1)
