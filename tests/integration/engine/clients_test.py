#!/usr/bin/env python3
"""Clients other than docker's own, as Debian and npm have them: docker-compose 1.29 and the SDK under it (python3-docker), dockerode and testcontainers."""
import json
import os
import shutil
import subprocess
import sys

from harness import ROOT, Checks, Engine, need_engine_host, same, until

need_engine_host()
TOOLS = os.path.join(ROOT, "build", "tools")
engine = Engine()
project = os.path.join(engine.dir, "shop")

COMPOSE = """
version: "3.8"
services:
  web:
    image: hello:1
    command: ["sh", "-c", "echo $$GREETING > /data/index.html; echo serving; exec httpd -f -p 8080 -h /data"]
    environment: {GREETING: "${GREETING:-hello}"}
    volumes: ["content:/data"]
    networks: [front]
    restart: unless-stopped
    stop_grace_period: 0s
    labels: {tier: web}
    ports: ["8080"]
    healthcheck: {test: ["CMD", "test", "-f", "/data/index.html"], interval: 1s, retries: 10}
  asker:
    build: ./asker
    depends_on: [web]
    networks: [front]
    stop_grace_period: 0s
    env_file: asker.env
volumes: {content: {}}
networks: {front: {}}
"""


def compose(*words, check=True, **env):
    p = subprocess.run(["docker-compose", "-p", "shop", "--project-directory", project, "-f", project + "/docker-compose.yml", *words], env=engine.env(COMPOSE_PARALLEL_LIMIT="4", **env),
                       capture_output=True, text=True, timeout=120)
    if check and p.returncode != 0:
        raise AssertionError(f"docker-compose {' '.join(words)}: exit {p.returncode}\n{p.stdout}{p.stderr}\n--- engine log\n{engine.log()[-3000:]}")
    return p.stdout + p.stderr


def container_of(service):
    return json.loads(engine.docker("inspect", f"shop_{service}_1"))[0]


def write(name, text):
    path = os.path.join(project, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="ascii") as f:
        f.write(text)


def docker_compose():
    write("docker-compose.yml", COMPOSE)
    write("asker.env", "WHERE=http://web:8080\n")
    write("asker/Dockerfile", 'FROM hello:1\nCMD ["sh", "-c", "while ! wget -q -O - $WHERE; do sleep 0.1; done; exec sleep 1000"]\n')
    compose("up", "-d")
    until("the answer of the other service", lambda: "hello" in compose("logs", "asker"))
    assert "shop_web_1" in compose("ps") and "Up" in compose("ps", "web"), compose("ps")
    assert "serving" in compose("logs", "--no-color", "web")
    assert compose("exec", "-T", "web", "cat", "/data/index.html") == "hello\n"
    assert ":8080" not in compose("port", "web", "8080"), "a port of the host's own choice"
    web = container_of("web")
    assert web["Config"]["Labels"]["com.docker.compose.service"] == "web" and "shop_front" in web["NetworkSettings"]["Networks"], web
    until("it is healthy", lambda: container_of("web")["State"]["Health"]["Status"] == "healthy")
    said = compose("up", "-d", "web")
    assert "is up-to-date" in said, said
    assert "Recreating" in compose("up", "-d", "web", GREETING="welcome")
    assert container_of("web")["Id"] != web["Id"]
    until("what it says now", lambda: compose("exec", "-T", "web", "cat", "/data/index.html") == "welcome\n")
    assert "welcome\n" in compose("run", "--rm", "--no-deps", "-T", "asker", "sh", "-c", "wget -q -O - $WHERE")
    compose("up", "-d", "--scale", "asker=3")
    assert len([line for line in compose("ps", "-q", "asker").split() if line]) == 3
    assert compose("top", "web").count("httpd") >= 1
    compose("pause", "web")
    assert "Paused" in compose("ps", "web")
    compose("unpause", "web")
    compose("restart", "-t", "0", "web")
    compose("stop", "-t", "0")
    assert "Exit" in compose("ps")
    compose("start")
    assert "asker" in compose("images")
    events = compose("config", "--services").split()
    assert sorted(events) == ["asker", "web"]
    compose("down", "-v", "-t", "0", "--rmi", "local")
    assert not engine.docker("ps", "-aq").split() and "shop" not in engine.docker("volume", "ls") and "shop" not in engine.docker("network", "ls") and "shop" not in engine.docker("images")


def links():
    """docker's --link, as people still have it on the default network."""
    engine.docker("run", "-d", "--name", "server", "--stop-timeout", "0", "hello:1", "sh", "-c", "echo linked > /index.html; httpd -f -p 80 -h /")
    ask = "for i in 1 2 3 4 5; do wget -q -O - http://db/ && exit 0; sleep 0.2; done; exit 1"
    assert engine.docker("run", "--rm", "--link", "server:db", "hello:1", "sh", "-c", ask) == "linked\n"
    engine.docker("rm", "-f", "server")


def compose_says_why_not():
    write("docker-compose.yml", 'version: "3.8"\nservices: {lost: {image: "127.0.0.1:1/none:1"}}\n')
    said = compose("up", "-d", check=False)
    assert "127.0.0.1:1" in said and "refused" in said, said
    compose("down")


def python_sdk():
    """The calls that testcontainers make through python3-docker: an image, a container with a port nobody chose, its log, its end."""
    script = """
import docker, io
client = docker.from_env()
assert client.ping() and client.version()["ApiVersion"] == "1.50"
assert client.containers.run("hello:1", ["sh", "-c", "echo out; echo err >&2"], stdout=True, stderr=True, remove=True) == b"out\\nerr\\n"
try:
    client.containers.run("hello:1", ["sh", "-c", "exit 5"], remove=True)
    assert False
except docker.errors.ContainerError as e:
    assert e.exit_status == 5
c = client.containers.run("hello:1", ["httpd", "-f", "-p", "80"], detach=True, ports={"80/tcp": None}, labels={"org.testcontainers": "true"}, publish_all_ports=True)
c.reload()
assert int(c.ports["80/tcp"][0]["HostPort"]) > 0, c.ports
code, output = c.exec_run(["sh", "-c", "echo $X; exit 2"], environment={"X": "y"})
assert (code, output) == (2, b"y\\n"), (code, output)
code, (out, err) = c.exec_run(["sh", "-c", "echo o; echo e >&2"], demux=True)
assert (out, err) == (b"o\\n", b"e\\n")
assert c.stats(stream=False)["pids_stats"]["current"] >= 1
assert [x.id for x in client.containers.list(filters={"label": "org.testcontainers=true"})] == [c.id]
assert "httpd" in str(c.top())
c.stop(timeout=0)
assert c.wait()["StatusCode"] in (137, 143), c.wait()
c.remove(v=True)
image, log = client.images.build(fileobj=io.BytesIO(b"FROM hello:1\\nRUN echo x > /x\\n"), tag="sdk:1", rm=True)
assert client.containers.run("sdk:1", ["cat", "/x"], remove=True) == b"x\\n"
assert image.history() and "sdk:1" in image.tags
saved = b"".join(image.save(named=True))
client.images.remove("sdk:1")
assert client.images.load(saved)[0].tags == ["sdk:1"]
client.images.remove("sdk:1")
network = client.networks.create("sdk", driver="bridge")
volume = client.volumes.create("sdk")
network.remove(); volume.remove(force=True)
"""
    p = subprocess.run([sys.executable, "-c", script], env=engine.env(), capture_output=True, text=True, timeout=120)
    if p.returncode != 0:
        raise AssertionError(p.stdout + p.stderr + engine.log()[-2000:])


def node_session(name, last, *arguments, **env):
    """One of npm's clients, in the engine's network: its published ports are there."""
    here = os.path.dirname(os.path.abspath(__file__))
    p = engine.inside("env", f"NODE_PATH={os.path.join(TOOLS, name, 'node_modules')}", *(f"{k}={v}" for k, v in env.items()), "node", os.path.join(here, name, "session.js"), *arguments, check=False, timeout=200)
    if p.returncode != 0 or p.stdout.decode().split("\n")[-2:-1] != ["ok " + last]:
        raise AssertionError(p.stdout.decode() + p.stderr.decode() + engine.log()[-2000:])


def dockerode():
    node_session("dockerode", "networks", engine.socket)


def testcontainers():
    node_session("testcontainers", "builds", engine.dir, DOCKER_HOST="unix://" + engine.socket, TESTCONTAINERS_RYUK_DISABLED="true")
    same(engine.docker("ps", "-aq", "--filter", "label=org.testcontainers=true"), "")


checks = Checks(sys.argv[1] if len(sys.argv) > 1 else None)
try:
    engine.start()
    with open(engine.load_image(), "rb") as f:
        engine.docker("load", stdin=f.read())
    checks.run("docker run --link", links)
    if shutil.which("docker-compose"):
        checks.run("docker-compose", docker_compose)
        checks.run("docker-compose on an image that is nowhere", compose_says_why_not)
        checks.run("python3-docker", python_sdk)
    else:
        print("SKIPPED: docker-compose and python3-docker: not installed: run make test-deps")
    for client in (dockerode, testcontainers):
        if os.path.isdir(os.path.join(TOOLS, client.__name__)) and shutil.which("node"):
            checks.run(client.__name__, client)
        else:
            print(f"SKIPPED: {client.__name__}: no npm client: run make test-deps")
finally:
    engine.close()
sys.exit(checks.finish())
