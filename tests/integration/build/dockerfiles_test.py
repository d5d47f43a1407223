"""Dockerfiles as people write them, from dockerfiles/: what they make is looked at, and where Debian's buildah understands them is the same. Bases and tools are stand-ins (standin)."""
import io
import os
import shutil
import subprocess
import sys
import tarfile
import unittest

import build_test
from build_test import BINARY, BUSYBOX, DEADLINE_S, Image, skip

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "dockerfiles")
BASES = ("golang:1.23-alpine3.20", "node:20-alpine", "python:3.12", "python:3.12-slim", "nginx:1.27-alpine", "eclipse-temurin:21-jdk", "debian:12-slim", "rust:1.82", "alpine:3.20")
TOOLS = "addgroup adduser bash go npm python pip apt-get apk cargo mvn jlink hugo envsubst".split()
CONTEXT = {"go.mod": "module x", "go.sum": "", "main.go": "package main", "package.json": "{}", "package-lock.json": "{}", "tsconfig.json": "{}", "src/a.js": "A", "src/b.js": "B", "src/App.java": "class App",
           "src/main.rs": "fn main", "Cargo.toml": "[package]", "pom.xml": "<p/>", "requirements.txt": "flask==3\n", "app/app.py": "app", "nginx.conf.template": "listen $NGINX_PORT; name $NGINX_HOST;\n",
           "docker entrypoint.sh": "#!/bin/sh\n", "entrypoint.sh": "#!/bin/sh\n", "html/index.html": "<h1>", "config.ini": "[a]", "content/posts/one.md": "one", "content/posts/two.md": "two",
           "content/start.md": "start", "content/no.draft.md": "draft", "content/private/p.md": "p", "docs/a/index.md": "a", "docs/b/index.md": "b", "docs/b/other.md": "o", ".dockerignore": "*.Dockerfile\n", "app-binary": "APP"}


class Dockerfiles(build_test.Builds):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        applets = [name for name in subprocess.run([BUSYBOX, "--list"], capture_output=True, text=True, check=True).stdout.split() if name not in TOOLS + ["busybox"]]
        links = [word for name in applets for word in ("--link", f"/bin/{name}=busybox")] + [word for name in TOOLS for word in ("--link", f"/{'' if name == 'bash' else 'usr/'}bin/{name}=/bin/standin")]
        with open(cls.shared + "/group", "w") as f:
            f.write("root:x:0:\n")
        subprocess.run([BINARY, "image", "pack", "--reference", "base:1", "--copy", f"{BUSYBOX}:/bin/busybox", "--copy", cls.shared + "/passwd:/etc/passwd", "--copy", cls.shared + "/group:/etc/group",
                        "--copy", HERE + "/standin:/bin/standin", *links, "--env", "PATH=/usr/local/bin:/usr/bin:/bin", cls.shared + "/base.tar"], check=True, stdout=subprocess.DEVNULL)

    def setUp(self):
        super().setUp()
        for name in BASES:
            self.image("tag", "base:1", name)
        for name, text in CONTEXT.items():
            path = os.path.join(self.context, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w") as f:
                f.write(text)
        shutil.move(self.context + "/app-binary", self.folder + "/app-binary")
        self.storage = None

    def dockerfile(self, name):
        with open(f"{HERE}/{name}.Dockerfile") as f:
            return f.read()

    def check(self, name, *options, files, config, buildah=False, gone=()):
        """files: path -> content, or (mode, uid, gid, content); config: of the image's, as far as given."""
        out = self.build(self.dockerfile(name), *options)
        for path, want in files.items():
            self.assertIn(path, out.files)
            got = (out.files[path][1] & 0o7777, *out.files[path][2:4], out.text(path)) if isinstance(want, tuple) else out.text(path)
            self.assertEqual(got, want, path)
        for path in gone:
            self.assertNotIn(path, out.files)
        for key, want in config.items():
            self.assertEqual(out.config["config"].get(key), want, key)
        self.assertEqual(self.leftovers(), [])
        again = self.build(self.dockerfile(name), *options)
        self.assertEqual(again.id, out.id)
        self.assertNotIn(" done in ", "\n".join(line for line in again.log.splitlines() if any(f"] {word} " in line for word in ("RUN", "COPY", "ADD"))))
        if buildah:
            self.compare(name, out, options)
        return out

    def compare(self, name, ours, options):
        """The same Dockerfile under buildah: configuration and files."""
        if shutil.which("buildah") is None:
            return
        buildah = ["buildah", "--root", self.folder + "/storage", "--runroot", self.folder + "/run", "--storage-driver", "vfs"]

        def run(*words):
            done = subprocess.run([*buildah, *words], capture_output=True, text=True, timeout=DEADLINE_S)
            self.assertEqual(done.returncode, 0, done.stderr)
            return done.stdout.strip()
        base = run("pull", "-q", "oci-archive:" + self.shared + "/base.tar")
        run("tag", base, *(f"docker.io/library/{reference}" for reference in BASES))
        with open(self.folder + "/Dockerfile", "w") as f:
            f.write(self.dockerfile(name))
        run("bud", "-q", "--isolation", "chroot", "--format", "docker", "--pull-never", *options, "-t", "theirs", "-f", self.folder + "/Dockerfile", self.context)
        run("push", "-q", "theirs", f"oci-archive:{self.folder}/theirs.tar")
        theirs = Image(self.folder + "/theirs.tar")

        def settings(image):
            own = dict(image.config["config"])
            own["Labels"] = {k: v for k, v in (own.get("Labels") or {}).items() if not k.startswith("io.buildah")} or None
            own.pop("ArgsEscaped", None)
            own["Env"] = sorted(own["Env"])  # buildah moves what is set again to the end
            return {k: v for k, v in own.items() if v and k not in ("Healthcheck", "Shell")}  # which OCI's form has no room for
        self.assertEqual(settings(ours), settings(theirs))
        runtime = {"dev", "proc", "sys", "run", "tmp", "etc", "etc/hosts", "etc/resolv.conf", "etc/hostname", "run/.containerenv", "root", ""}

        def shown(image):
            return {path: (kind, mode & 0o7777 if kind != tarfile.SYMTYPE else 0, uid, gid, content[:100]) for path, (kind, mode, uid, gid, content) in image.files.items() if path not in runtime}
        self.assertEqual(shown(ours), shown(theirs))

    def test_go_with_cache_mounts(self):
        out = self.check("go", "--build-arg", "VERSION=2.0", files={"server": (0o755, 65532, 65532, f"go 0 linux/{self.own()} package main\n")}, gone=("src", "go", "bin/busybox"),
                         config={"User": "65532:65532", "Entrypoint": ["/server"], "Cmd": ["--listen", ":8080"], "ExposedPorts": {"8080/tcp": {}, "9090/tcp": {}}, "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "PORT=8080"],
                                 "Labels": {"org.opencontainers.image.version": "2.0", "org.opencontainers.image.title": "server"}})
        self.assertEqual(sorted(out.files), ["etc", "etc/passwd", "server"])

    def test_node_with_npm_ci(self):
        out = self.check("node", files={"app/dist/bundle.js": "AB", "app/node_modules/of-production": "{}"}, gone=("app/src", "app/package.json", "app/node_modules/of-none"),
                         config={"User": "app", "WorkingDir": "/app", "Cmd": ["node", "dist/bundle.js"],
                                 "Healthcheck": {"Test": ["CMD-SHELL", "wget -qO- http://localhost:3000/health || exit 1"], "Interval": 30 * 10**9, "Timeout": 3 * 10**9, "StartPeriod": 10 * 10**9, "Retries": 3},
                                 "Env": ["PATH=/app/node_modules/.bin:/usr/local/bin:/usr/bin:/bin", "NEXT_TELEMETRY_DISABLED=1", "NODE_ENV=production"]}, buildah=True)
        self.assertEqual(out.files["app/dist"][2:4], out.files["app/node_modules"][2:4])
        self.assertNotEqual(out.files["app/dist"][2], 0)

    def test_python_with_a_virtual_environment(self):
        self.check("python", files={"opt/venv/installed": "flask==3\n", "code/app/app.py": (0o644, 10001, 10001, "app")}, gone=("tmp/requirements.txt",),
                   config={"User": "10001", "Volumes": {"/data": {}, "/var/10001": {}}, "StopSignal": "SIGINT", "Entrypoint": ["gunicorn"], "Cmd": ["--bind=0.0.0.0:8000", "app:app"],
                           "Env": ["PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin", "PYTHONUNBUFFERED=1"], "Labels": {"maintainer": "Jane Doe <jane@example.org>"}})

    def test_nginx_with_a_template(self):
        self.check("nginx", "--build-arg", "SERVER_NAME=example.org", files={"etc/nginx/default.conf": "listen 8080; name example.org;\n", "docker-entrypoint.d/40 app.sh": (0o755, 0, 0, "#!/bin/sh\n"), "usr/share/nginx/html/index.html": "<h1>"},
                   config={"ExposedPorts": {"8080/tcp": {}}, "StopSignal": "SIGQUIT", "Cmd": ["/bin/sh", "-c", "nginx -g 'daemon off;'"]}, buildah=True)

    def test_java_with_jlink(self):
        self.check("java", files={"opt/java/bin/java": "modules java.base,java.logging\n", "app/app.jar": "class App"}, gone=("jre", "build"),
                   config={"WorkingDir": "/app", "Entrypoint": ["/bin/sh", "-c", "exec java $JAVA_OPTS -jar app.jar"],
                           "Env": ["PATH=/opt/java/bin:/usr/local/bin:/usr/bin:/bin", "JAVA_HOME=/opt/java", "JAVA_OPTS=-XX:MaxRAMPercentage=75.0 -Djava.security.egd=file:/dev/./urandom"]}, buildah=True)

    def test_rust_with_a_planner(self):
        dockerfile = self.dockerfile("rust")
        self.check("rust", files={"usr/local/bin/app": (0o755, 0, 0, "fn main")}, gone=("app/target",), config={"Env": ["PATH=/usr/local/bin:/usr/bin:/bin", "RUST_LOG=info"]}, buildah=True)
        with open(self.context + "/src/main.rs", "w") as f:
            f.write("fn other")
        self.build(dockerfile)
        self.assertEqual([line.split("]")[-1] for line in self.steps if "builder 5/" in line], [" cached"], self.steps)  # the dependencies stay

    def test_debian_with_pipefail(self):
        self.check("debian", "--build-arg", "BUILD_DATE=today", files={"words": "3\n", "pipefail": "yes\n", "usr/local/bin/entrypoint.sh": (0o755, 0, 0, "#!/bin/sh\n"), "var/lib/packages/gnupg": ""}, gone=("var/lib/apt/lists/all",),
                   config={"WorkingDir": "/srv/data", "Shell": ["/bin/bash", "-o", "pipefail", "-c"], "Labels": {"build-date": "today", "with space": 'a "quoted" value', "multi": "one two"}, "Entrypoint": ["entrypoint.sh"]}, buildah=True)

    def test_alpine_with_triggers_and_substitutions(self):
        self.build(self.dockerfile("alpine-base"), "-t", "local/onbuild:1")
        values = {"FULL": "1.2.3-rc.4", "SERIES": "v1", "NO_RC": "v1.2.3", "LAST": "4", "STEM": "app-1.2.3", "UNDERSCORES": "v1_2_3-rc_4", "ONCE": "v1_2.3-rc.4", "UNSET": "fallback", "SET": "yes", "PLAIN": "${RELEASE}", "SINGLE": "${RELEASE}"}
        self.check("alpine", "--build-arg", "PACKAGES=tini curl", files={"srv/app/config.ini": "[a]", "var/lib/packages/curl": "", "srv/app/values": " ".join(list(values.values())[:9]) + "\n"},
                   config={"Env": ["PATH=/usr/local/bin:/usr/bin:/bin", "APP_HOME=/srv/app", "CONFIG=/srv/app/config.ini", *(f"{k}={v}" for k, v in values.items())], "OnBuild": None})

    def test_a_site_with_heredocs(self):
        html = "usr/share/nginx/html/"
        self.check("site", files={html + "index.html": "start", html + "where": (0o644, 0, 0, "built in /site\n"), "by": "by a program\n", "one": "first\n", "two": "second\n", html + "ROBOTS": "User-agent: $nobody\n", html + "SITEMAP": "<urlset/>\n",
                    "etc/nginx/conf.d/site.conf": "server {\n  server_name My Site;\n  location / { try_files $uri /index.html; }\n}\n",
                    "gathered/posts/one.md": "one", "gathered/posts/two.md": "two", "gathered/docs/a/index.md": "a", "gathered/docs/b/index.md": "b"}, config={}, gone=("gathered/docs/b/other.md", "gathered/content"))

    def test_distroless_from_scratch(self):
        with tarfile.open(self.context + "/files.tar.gz", "w:gz") as tar:
            member = tarfile.TarInfo("tool")
            member.size = 4
            tar.addfile(member, io.BytesIO(b"tool"))
        shutil.copy(self.folder + "/app-binary", self.context + "/program")
        shutil.rmtree(self.context + "/app")
        shutil.move(self.context + "/program", self.context + "/app")
        os.chmod(self.context + "/app", 0o664)
        out = self.check("distroless", files={"opt/tool": "tool", "usr/bin/app": (0o744, 0, 0, "APP")},
                         config={"User": "nonroot", "WorkingDir": "/home/nonroot", "Healthcheck": {"Test": ["NONE"]}, "StopSignal": "15", "Volumes": {"/var/lib/app": {}, "/cache": {}}, "Entrypoint": ["/usr/bin/app"],
                                 "ExposedPorts": {f"{port}": {} for port in ("53/udp", "7000/tcp", "7001/tcp", "7002/tcp")}, "Labels": {"com.example.vendor": "ACME Incorporated", "com.example.release-date": "2024-02-12"}})
        self.assertEqual(out.files["tmp"][1] & 0o7777, 0o1777)
        self.assertEqual(out.files["kept/files.tar.gz"][0], tarfile.REGTYPE)

    def own(self):
        return {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]

    def test_what_is_not_supported_is_refused_by_name(self):
        for name in ("a.tar.xz", "b.tbz2"):
            with open(f"{self.context}/{name}", "wb") as f:
                f.write({"a.tar.xz": b"\xfd7zXZ\0", "b.tbz2": b"BZh9"}[name] + bytes(600))
        for line, text in (("ADD a.tar.xz /", "archives in xz are not unpacked"), ("ADD b.tbz2 /", "archives in bzip2 are not unpacked"), ("ADD --keep-git-dir=true https://example.org/x.git /", "repositories of git are not supported"),
                           ("RUN --security=insecure true", "RUN --security=insecure is not supported"), ("RUN --device=vendor.com/gpu true", "unknown flag: --device"), ("COPY --chmod=u=rwz html /", "want octal digits, or clauses"),
                           ("RUN --network=elsewhere true", "want default, none or host"), ("COPY --link=maybe html /", "--link=maybe: want true or false"), ("COPY --unpack html /", "unknown flag: --unpack")):
            self.assertIn(text, self.build(f"FROM alpine:3.20\n{line}\n", ok=False), line)
        self.assertIn("Dockerfile:1:1: syntax=example.org/front-end is not supported", self.build("# syntax=example.org/front-end\nFROM alpine:3.20\n", ok=False))
        self.build("FROM alpine:3.20\nADD --unpack=false a.tar.xz /\nRUN --security=sandbox --network=none test \"$(hostname)\" = mine\n", "--build-arg", "BUILDKIT_SANDBOX_HOSTNAME=mine")


if __name__ == "__main__":
    if os.geteuid() != 0:
        skip("needs root")
    if not os.path.exists(BUSYBOX):
        skip("needs busybox-static")
    sys.exit(unittest.main(verbosity=1))
