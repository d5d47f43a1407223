"""`monopod compose` against an engine: a file comes up, is looked at, changes, and goes without a trace."""
import json
import os
import signal
import subprocess
import sys

from harness import Engine, check, contains, need_engine_host, run_checks, same, until

need_engine_host()
engine = Engine()
docker = engine.docker
project = os.path.join(engine.dir, "shop")

FILE = """
services:
  db:
    image: hello:1
    command: sh -c "echo db is ready; touch /ok; exec sleep 1000"
    healthcheck: {test: "test -e /ok", interval: 100ms, retries: 20}
    volumes: [data:/data, ./conf:/conf:ro]
    environment: {LEVEL: "${LEVEL:-low}", FROM: yes}
    env_file: db.env
    networks: {back: {aliases: [store]}}
    stop_grace_period: 0s
    secrets: [key]
  init:
    image: hello:1
    command: ["sh", "-c", "echo init has run"]
    networks: [back]
  web:
    build: {context: ./web, args: {WHO: compose}}
    ports: ["8085:80"]
    networks: [back, default]
    depends_on:
      db: {condition: service_healthy}
      init: {condition: service_completed_successfully}
    restart: unless-stopped
    stop_grace_period: 0s
    labels: {role: front}
    deploy: {resources: {limits: {cpus: "0.5", memory: 64M}}}
  debug: {image: "hello:1", command: sleep 100, profiles: [debug], stop_grace_period: 0s}
networks: {back: {}}
volumes: {data: }
secrets: {key: {file: ./key.txt}}
"""


def compose(*arguments, **more):
    return engine.monopod("compose", *arguments, cwd=project, timeout=120, **more)


def write(path, text):
    path = os.path.join(project, path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)


def inspect(name):
    return json.loads(docker("container", "inspect", name))[0]


def config():
    contains(compose("config"), "LEVEL: high")  # of .env
    contains(compose("config", LEVEL="own"), "LEVEL: own")
    same(compose("config", "--services").split(), ["db", "init", "web"])
    same(compose("--profile", "debug", "config", "--services").split(), ["db", "debug", "init", "web"])
    same(compose("config", "--images").split(), ["hello:1", "hello:1", "shop-web"])


def refusals():
    for text, want in (("services: {a: {image: i, gpus: all}}", 'services.a: key "gpus" is not supported'), ("services: {a: {image: i}\n", "yaml: line"), ("services: {a: {image: '${X:?say X}'}}", "required variable X is missing a value: say X"),
                       ("services: {a: {image: i, depends_on: [a]}}", "in a circle: a")):
        p = compose("-f", "-", "up", "-d", stdin=text.encode(), check=False)
        check(p.returncode == 1 and want in p.stderr and len(p.stderr.strip().splitlines()) == 1, p)
    p = engine.monopod("compose", "ps", cwd="/", check=False)
    contains(p.stderr, "no compose.yaml here or above")


def up():
    p = compose("up", "-d", check=False)
    check(p.returncode == 0, p.stderr)
    for part in ("Network shop_back  Created", "Network shop_default  Created", "Volume shop_data  Created", "Container shop-db-1  Healthy", "Container shop-init-1  Exited", "built for compose", "Container shop-web-1  Started"):
        contains(p.stderr, part)
    same(docker("exec", "shop-db-1", "sh", "-c", "echo $LEVEL $FROM $EXTRA $(cat /conf/file) $(cat /run/secrets/key)"), "high yes 1 configured secret\n")
    same(docker("exec", "shop-web-1", "wget", "-q", "-O", "-", "http://web/index.html"), "built for compose\n")
    contains(docker("exec", "shop-web-1", "nslookup", "store"), "Address")
    same(until("the published port", lambda: engine.inside("busybox", "wget", "-q", "-O", "-", "http://127.0.0.1:8085/index.html")), "built for compose\n")
    web = inspect("shop-web-1")
    labels = web["Config"]["Labels"]
    same((labels["com.docker.compose.project"], labels["com.docker.compose.service"], labels["com.docker.compose.container-number"], labels["com.docker.compose.oneoff"], labels["role"]), ("shop", "web", "1", "False", "front"))
    same(labels["com.docker.compose.project.config_files"], project + "/compose.yaml")
    same((web["HostConfig"]["Memory"], web["HostConfig"]["NanoCpus"], web["HostConfig"]["RestartPolicy"]["Name"]), (64 << 20, 500000000, "unless-stopped"))
    same(docker("ps", "-q", "--filter", "label=com.docker.compose.project=shop").count("\n"), 2)


def shown():
    contains(compose("ps"), "shop-web-1")
    check("shop-init-1" not in compose("ps") and "shop-init-1" in compose("ps", "-a"))
    same(compose("ps", "--services").split(), ["db", "web"])
    same(compose("ps", "--format", "{{.Name}} {{.State}}", "web"), "shop-web-1 running\n")
    same(len(json.loads(compose("ps", "-o", "json"))), 2)
    out = compose("logs")
    contains(out, "db-1   | db is ready\n")
    contains(out, "init-1 | init has run\n")
    same(compose("logs", "--no-log-prefix", "--tail", "1", "init"), "init has run\n")


def again():
    """What has not changed stays; what has is made anew."""
    before = inspect("shop-db-1")["Id"], inspect("shop-web-1")["Id"]
    contains(compose("up", "-d", check=False).stderr, "Container shop-web-1  Running")
    same((inspect("shop-db-1")["Id"], inspect("shop-web-1")["Id"]), before)
    p = compose("up", "-d", LEVEL="other", check=False)
    contains(p.stderr, "Container shop-db-1  Recreated")
    check(inspect("shop-db-1")["Id"] != before[0])
    same(inspect("shop-web-1")["Id"], before[1])
    compose("up", "-d", "--scale", "web=0", LEVEL="other")
    same(compose("ps", "-a", "-q", "web", check=False).returncode, 1)
    compose("stop")
    same(compose("ps", "-q"), "")
    compose("start")
    until("init has run again, db goes on", lambda: compose("ps", "--services").split() == ["db"])


def unhealthy():
    write("sick.yaml", "services:\n  a: {image: 'hello:1', command: sleep 100, stop_grace_period: 0s, healthcheck: {test: 'false', interval: 50ms, retries: 1}}\n  b: {image: 'hello:1', depends_on: {a: {condition: service_healthy}}}\n")
    p = compose("-p", "sick", "-f", "sick.yaml", "up", "-d", check=False)
    same(p.returncode, 1)
    contains(p.stderr, "dependency failed to start: container sick-a-1 is unhealthy")
    compose("-p", "sick", "-f", "sick.yaml", "down")


def foreground():
    write("talk.yaml", "services:\n  a: {image: 'hello:1', command: [sh, -c, 'echo from a; sleep 100'], stop_grace_period: 0s}\n  b: {image: 'hello:1', command: echo from b}\n")
    p = subprocess.Popen([engine.binary, "compose", "-p", "talk", "-f", project + "/talk.yaml", "up"], env=engine.env(MONOPOD_ENGINE_DOCKER_SOCKET=engine.socket), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    lines = {p.stdout.readline(), p.stdout.readline()}
    same(lines, {b"a-1 | from a\n", b"b-1 | from b\n"})
    p.send_signal(signal.SIGINT)
    _, err = p.communicate(timeout=60)
    same(p.returncode, 130)
    contains(err.decode(), "Gracefully stopping")
    same(inspect("talk-a-1")["State"]["Running"], False)
    engine.monopod("compose", "-p", "talk", "down", cwd="/")  # by its name alone
    same(docker("ps", "-aq", "--filter", "label=com.docker.compose.project=talk"), "")


def ends():
    """One container's end is that of all; the exit code is its own, or that of the service that was asked for."""
    write("ends/compose.yaml", """
services:
  first: {image: 'hello:1', command: 'true'}
  server: {image: 'hello:1', command: [sh, -c, 'trap "exit 4" TERM; while :; do sleep 0.1; done'], depends_on: {first: {condition: service_completed_successfully}}}
  test: {build: {context: ., dockerfile_inline: "FROM hello:1\\n"}, command: [sh, -c, 'sleep 0.5; exit 3'], depends_on: [server]}
""")
    directory = os.path.join(project, "ends")
    for words, code in ((["--abort-on-container-exit"], 3), (["--exit-code-from", "test"], 3), (["--exit-code-from", "server"], 4)):
        p = engine.monopod("compose", "up", *words, cwd=directory, timeout=60, check=False)
        check(p.returncode == code and "Aborting on container exit" in p.stderr, f"{words}: {p.returncode} {p.stderr}")
        same(inspect("ends-server-1")["State"]["Running"], False)
    for words, why in ((["--exit-code-from", "none"], "no such service: none"), (["-d", "--abort-on-container-exit"], "not for the background")):
        contains(engine.monopod("compose", "up", *words, cwd=directory, check=False).stderr, why)
    p = engine.monopod("compose", "up", "-d", "--no-deps", "server", cwd=directory, check=False)
    same((p.returncode, "ends-test" in p.stderr, "ends-first" in p.stderr), (0, False, False))
    check("ends-test" in docker("images"), "the image that was built is there")
    contains(engine.monopod("compose", "down", "--rmi", "some", cwd=directory, check=False).stderr, "want local or all")
    engine.monopod("compose", "down", "-t", "0", "--rmi", "local", cwd=directory)
    check("ends-test" not in docker("images") and "hello" in docker("images"), docker("images"))


TOOLS = """
include: [part/compose.yaml]
services:
  tool:
    image: hello:1
    command: sh -c "cat /run/secrets/token; sleep 1000"
    secrets: [token]
    configs: [{source: settings, target: /etc/settings, mode: 0440, uid: "7"}]
    volumes: [shared:/shared]
    links: ["part:other"]
    ports: ["8086:80"]
    stop_grace_period: 0s
secrets: {token: {environment: TOKEN}}
configs: {settings: {content: "level=${LEVEL}\\n"}}
volumes: {shared: }
"""


def tools():
    """Several files, what they extend and include; commands on services."""
    write("tools/compose.yaml", TOOLS)
    write("tools/compose.override.yaml", "services:\n  tool: {environment: [A=over], ports: !override [\"8087:80\"]}\n  child: {extends: {file: part/base.yaml, service: base}, command: sleep 1000, scale: 2}\n")
    write("tools/part/compose.yaml", "services:\n  part: {image: 'hello:1', command: sleep 1000, stop_grace_period: 0s, volumes: [./here:/here:ro]}\n")
    write("tools/part/base.yaml", "services:\n  base: {image: 'hello:1', stop_grace_period: 0s, environment: {FROM: base}, volumes: [./here:/here:ro]}\n")
    write("tools/part/here/file", "of the part\n")

    def run(*arguments, **more):
        return engine.monopod("compose", *arguments, cwd=os.path.join(project, "tools"), timeout=120, TOKEN="hidden", LEVEL="9", **more)
    contains(run("config"), "published: 8087" if "published" in run("config") else "8087:80")
    run("create")
    same(run("ps", "-q"), "")
    p = run("up", "-d", check=False)
    check(p.returncode == 0, p.stderr)
    same(sorted(run("ps", "--services").split()), ["child", "part", "tool"])
    same(run("exec", "tool", "sh", "-c", "cat /run/secrets/token /etc/settings; stat -c %a:%u /etc/settings; echo $A"), "hiddenlevel=9\n440:7\nover\n")
    contains(run("exec", "-T", "tool", "cat", "/etc/hosts"), "other")
    same(run("exec", "--index", "2", "-e", "X=1", "-w", "/here", "child", "sh", "-c", "echo $FROM $X $(pwd); cat file"), "base 1 /here\nof the part\n")
    same(run("exec", "child", "sh", "-c", "exit 7", check=False).returncode, 7)
    contains(run("port", "tool", "80"), ":8087")
    contains(run("top", "part"), "sleep 1000")
    contains(run("images"), "tools-part-1")
    contains(run("stats", "--no-stream"), "tools-tool-1")
    # one-off containers
    same(run("run", "--rm", "-e", "Y=2", "tool", "sh", "-c", "echo $A $Y; echo later > /shared/file", stdin=b""), "over 2\n")
    same(run("run", "--rm", "-T", "--no-deps", "tool", "cat", stdin=b"typed"), "typed")
    same(run("run", "--rm", "tool", "sh", "-c", "exit 5", stdin=b"", check=False).returncode, 5)
    name = run("run", "-d", "--name", "once", "child", "sleep", "1000").strip()
    same(inspect("once")["Id"], name)
    same(len(run("ps", "-a", "-q", "child").split()), 2)
    # files
    run("cp", "tool:/shared/file", os.path.join(project, "copied"))
    with open(os.path.join(project, "copied"), encoding="ascii") as f:
        same(f.read(), "later\n")
    run("cp", os.path.join(project, "copied"), "part:/tmp/copied")
    same(run("exec", "part", "cat", "/tmp/copied"), "later\n")
    # life
    run("pause", "part")
    same(inspect("tools-part-1")["State"]["Paused"], True)
    run("unpause", "part")
    contains(run("ls"), "running(5)")
    run("kill", "-s", "SIGKILL", "child")
    same(until("the end of both", lambda: run("wait", "child")).split(), ["137", "137"])
    contains(run("rm", "-f", "child", check=False).stderr, "Container tools-child-2  Removed")
    same(run("exec", "child", "true", check=False).returncode, 1)
    p = run("down", "-v", check=False)
    check(p.returncode == 0 and "Container once  Removed" in p.stderr, p.stderr)
    same((docker("ps", "-aq", "--filter", "label=com.docker.compose.project=tools"), docker("volume", "ls", "-q", "--filter", "label=com.docker.compose.project=tools")), ("", ""))


def builds():
    write("made/compose.yaml", "services: {a: {build: {context: ., args: {WHO: file}}, image: 'made:1'}}\n")
    write("made/Dockerfile", "FROM hello:1\nARG WHO\nRUN echo $WHO > /who\n")
    directory = os.path.join(project, "made")
    p = engine.monopod("compose", "build", "--build-arg", "WHO=line", cwd=directory, timeout=120, check=False)
    check(p.returncode == 0 and "Image made:1  Built" in p.stderr, p.stderr)
    same(docker("run", "--rm", "made:1", "cat", "/who"), "line\n")
    p = engine.monopod("compose", "pull", cwd=directory, check=False)
    same(p.returncode, 0)  # what is built is not pulled


# name, the file, the service whose log is looked at, its log.
SMALL = (
    ("anchors and merge keys", "x-base: &base {image: 'hello:1', stop_grace_period: 0s, environment: &env {A: a, B: b}}\nservices:\n  one: {<<: *base, environment: {<<: *env, B: c}, command: [sh, -c, 'echo $$A$$B']}\n", "one", "ac"),
    ("variables in all forms", "services: {one: {image: 'hello:1', command: [echo, '${NONE:-d}', '${SET}', '${SET:+t}', '$$x', '${EMPTY-e}']}}\n", "one", "d set t $x"),
    ("two files", None, "one", "second"),
    ("a dockerfile of its own", "services: {one: {build: {context: ., dockerfile_inline: \"FROM hello:1\\nRUN echo inline > /f\\n\", tags: ['small:2']}, command: [cat, /f]}}\n", "one", "inline"),
    ("a process namespace of another", "services:\n  main: {image: 'hello:1', command: [sleep, '777'], stop_grace_period: 0s}\n  one: {image: 'hello:1', pid: 'service:main', command: [sh, -c, 'ps | grep -c [s]leep.777']}\n", "one", "1"),
    ("waiting for an end", "services:\n  first: {image: 'hello:1', command: [sh, -c, 'sleep 0.2; echo done > /v/f'], volumes: ['v:/v']}\n  one: {image: 'hello:1', command: [cat, /v/f], volumes: ['v:/v'], depends_on: {first: {condition: service_completed_successfully}}}\nvolumes: {v: {}}\n", "one", "done"),
    ("waiting for health", "services:\n  first: {image: 'hello:1', stop_grace_period: 0s, command: [sh, -c, 'sleep 0.3; echo up > /v/f; sleep 1000'], volumes: ['v:/v'], healthcheck: {test: [CMD, test, -f, /v/f], interval: 100ms, retries: 50}}\n  one: {image: 'hello:1', command: [cat, /v/f], volumes: ['v:/v'], depends_on: {first: {condition: service_healthy}}}\nvolumes: {v: {}}\n", "one", "up"),
    ("secrets, configs and env files", "services: {one: {image: 'hello:1', env_file: [{path: raw.env, format: raw}], secrets: [s], configs: [{source: c, target: /etc/c}], command: [sh, -c, 'echo $$RAW $$(cat /run/secrets/s) $$(cat /etc/c)']}}\nsecrets: {s: {file: ./s.txt}}\nconfigs: {c: {content: conf}}\n", "one", "'q' secret conf"),
    ("limits of the system", "services: {one: {image: 'hello:1', ulimits: {nofile: {soft: 100, hard: 200}}, sysctls: {net.ipv4.ip_forward: 1}, cap_drop: [ALL], tmpfs: ['/t:size=64k'], init: true, extra_hosts: ['peer:10.0.0.9'], deploy: {resources: {limits: {memory: 64m, pids: 20}}}, command: [sh, -c, 'ulimit -n; cat /proc/sys/net/ipv4/ip_forward; grep -c peer /etc/hosts; grep CapEff /proc/self/status | grep -c 0000000000000000']}}\n", "one", "100\n1\n1\n1"),
    ("profiles, extends and aliases", "services:\n  base: {image: 'hello:1', profiles: [never], environment: {E: extended}}\n  server: {image: 'hello:1', stop_grace_period: 0s, networks: {back: {aliases: [other]}}, command: [sh, -c, 'mkdir /w; echo page > /w/index.html; httpd -f -p 80 -h /w']}\n  one: {extends: {service: base}, profiles: !reset [], networks: [back], depends_on: [server], command: [sh, -c, 'for i in 1 2 3 4 5 6 7 8 9; do wget -q -O - http://other/ && break; sleep 0.1; done; echo $$E']}\nnetworks: {back: {ipam: {config: [{subnet: 10.99.7.0/24}]}}}\n", "one", "page\nextended"),
)


def small_files():
    """Each is a project of its own: up, the log of one service, down."""
    for number, (name, text, service, want) in enumerate(SMALL):
        directory = os.path.join(project, f"small{number}")
        write(f"small{number}/raw.env", "RAW='q'\n")
        write(f"small{number}/s.txt", "secret")
        words = []
        if text is None:
            write(f"small{number}/a.yaml", "services: {one: {image: 'hello:1', command: [echo, first], environment: {A: 1}}}\n")
            write(f"small{number}/b.yaml", "services: {one: {command: [sh, -c, 'echo second']}}\n")
            words = ["-f", "a.yaml", "-f", "b.yaml"]
        else:
            write(f"small{number}/compose.yaml", text)
        p = engine.monopod("compose", *words, "up", "-d", cwd=directory, timeout=120, check=False, SET="set", EMPTY="")
        check(p.returncode == 0, f"{name}: {p.stdout}{p.stderr}")
        until(f"{name}: {want!r}", lambda: engine.monopod("compose", *words, "logs", "--no-log-prefix", service, cwd=directory, SET="set", EMPTY="").strip() == want)
        engine.monopod("compose", *words, "down", "-v", cwd=directory, SET="set", EMPTY="")


def down():
    p = compose("down", check=False)
    check(p.returncode == 0, p.stderr)
    same(docker("volume", "ls", "-q"), "shop_data\n")
    compose("up", "-d", "db")
    p = compose("down", "-v", check=False)
    for part in ("Container shop-db-1  Removed", "Network shop_back  Removed", "Volume shop_data  Removed"):
        contains(p.stderr, part)
    same((docker("ps", "-aq"), docker("volume", "ls", "-q")), ("", ""))
    same(docker("network", "ls", "-q", "--filter", "type=custom"), "")


def make_project():
    write("compose.yaml", FILE)
    write(".env", "LEVEL=high\n")
    write("db.env", "EXTRA=1\n")
    write("key.txt", "secret")
    write("conf/file", "configured")
    write("web/Dockerfile", "FROM hello:1\nARG WHO\nRUN echo built for $WHO | tee /index.html\nCMD [\"httpd\", \"-f\", \"-p\", \"80\", \"-h\", \"/\"]\n")


sys.exit(run_checks(engine, (config, refusals, up, shown, again, unhealthy, foreground, ends, tools, builds, down, small_files), make_project))
