#!/usr/bin/env python3
"""Pods whose connections go through the node's proxy: asked for by annotation, label or namespace; before the first container, after every restart of the
node process, gone with the last. All by real pods; what went through stands in the proxy's access log."""
import base64
import json
import os
import re
import signal
import subprocess
import sys

from harness import Checks, Node, binary, kubectl, need_root, snapshot, until

need_root()
node = Node(binary(), kubectl())
checks = Checks(sys.argv[1] if len(sys.argv) > 1 else None)
k = node.kubectl
DATA = os.path.join(node.dir, "data")
INJECT = {"proxy.monopod.io/inject": "enabled"}
SERVE = "mkdir -p /tmp/www && echo hello from $HOSTNAME > /tmp/www/index.html && for p in 8080 8081 9090; do httpd -p $p -h /tmp/www; done; sleep 100000"


def pod(name, command, annotations=None, labels=None, ns="default", restart="Always", **spec):
    container = {"name": "c", "image": "hello:1", "imagePullPolicy": "Never", "command": ["sh", "-c", command], **spec.pop("container", {})}
    k("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": ns, "annotations": annotations or {}, "labels": labels or {}},
                                            "spec": {"terminationGracePeriodSeconds": 0, "restartPolicy": restart, "containers": [container], **spec}}))


def get(name, ns="default"):
    return json.loads(k("get", "pod", name, "-n", ns, "-o", "json"))


def ready(*names, ns="default", seconds=30):
    k("wait", "--for=condition=Ready", *(f"pod/{name}" for name in names), "-n", ns, f"--timeout={seconds}s")


def ip(name, ns="default"):
    return get(name, ns)["status"]["podIP"]


def fetch(client, url, ns="default"):
    p = k("exec", client, "-n", ns, "--", "wget", "-q", "-O", "-", url, check=False)
    return p.stdout.strip() if p.returncode == 0 else f"error: {p.stderr.strip()}"


def lines():
    try:
        with open(os.path.join(DATA, "proxy-access.log"), encoding="utf-8") as f:
            return [json.loads(line) for line in f]
    except FileNotFoundError:
        return []


class Logged:
    """What was logged since it was made."""

    def __init__(self):
        self.before = len(lines())

    def expect(self, **fields):
        try:
            return until(f"logged {fields}", lambda: [line for line in lines()[self.before:] if all(line[name] == value for name, value in fields.items())], 5, 0.05)
        except AssertionError as e:
            raise AssertionError(f"{e}; there were {lines()[self.before:]}") from e

    def listeners(self):
        return [line["listener"] for line in lines()[self.before:]]


def same(actual, expected):
    assert actual == expected, f"{actual!r} is not {expected!r}"


def both_ways():
    logged, client, server = Logged(), ip("client"), ip("server")
    same(fetch("client", f"http://{server}:8080/"), "hello from server")
    logged.expect(listener="outbound/default/client", to=f"{server}:8080", protocol="TCP")
    line = logged.expect(listener="inbound/default/server", to=f"{server}:8080")[0]
    same(line["from"].split(":")[0], client)  # the pod's own address, not the proxy's
    received = [int(line[way]) for way in ("received", "sent")]
    assert received[0] > 30 and received[1] > 100, line  # as counted, though the kernel carries them where it can


def through_a_service():
    k("expose", "pod", "server", "--port=80", "--target-port=8080", "--selector=app=server")
    address = json.loads(k("get", "service", "server", "-o", "json"))["spec"]["clusterIP"]
    logged = Logged()
    until("the service's name", lambda: fetch("client", "http://server/") == "hello from server", 10)
    logged.expect(listener="outbound/default/client", to=f"{address}:80")
    logged.expect(listener="inbound/default/server", to=f"{ip('server')}:8080")


def the_api_too():
    logged = Logged()
    k("exec", "client", "--", "sh", "-c", "nc -w 3 $KUBERNETES_SERVICE_HOST $KUBERNETES_SERVICE_PORT </dev/null >/dev/null")
    logged.expect(listener="outbound/default/client", to="10.43.0.1:443")


def plain_pods_are_left_alone():
    logged, server = Logged(), ip("plain")
    same(fetch("plain", f"http://{ip('client-out')}:8080/"), "hello from client-out")
    same(fetch("client", f"http://{server}:8080/"), "hello from plain")
    logged.expect(listener="outbound/default/client", to=f"{server}:8080")
    assert all(name in ("outbound/default/client", "inbound/default/client-out") for name in logged.listeners()), logged.listeners()


def exclusions():
    logged, server = Logged(), ip("server")
    same(fetch("client-out", f"http://{server}:8081/"), "hello from server")   # its port is excluded at the client (Istio's name), not at the server
    same(fetch("client-out", f"http://{server}:9090/"), "hello from server")   # excluded at the server
    same(fetch("client-out", f"http://{ip('plain')}:8080/"), "hello from plain")  # by prefix
    logged.expect(listener="inbound/default/server", to=f"{server}:8081")
    logged.expect(listener="outbound/default/client-out", to=f"{server}:9090")
    same(sorted(logged.listeners()), ["inbound/default/server", "outbound/default/client-out"])
    logged = Logged()
    same(fetch("by-user", f"http://{server}:9090/"), "hello from server")
    same(fetch("only-some", f"http://{server}:9090/"), "hello from server")
    same(fetch("only-some", f"http://{server}:8080/"), "hello from server")
    logged.expect(listener="outbound/default/only-some", to=f"{server}:8080")
    assert "outbound/default/by-user" not in logged.listeners() and logged.listeners().count("outbound/default/only-some") == 1, logged.listeners()


def requests_where_http_is_spoken():
    logged, server = Logged(), ip("http")
    same(fetch("http", f"http://{ip('server')}:8080/index.html"), "hello from server")
    same(fetch("client", f"http://{server}:8080/nothing").split(" ")[0], "error:")
    logged.expect(listener="outbound-http/default/http", method="GET", path="/index.html", status="200")
    logged.expect(listener="inbound-http/default/http", method="GET", path="/nothing", status="404")
    same(fetch("client", f"http://{server}:9090/"), "hello from http")
    logged.expect(listener="inbound/default/http", protocol="TCP")


def clients_addresses_are_kept():
    """By TPROXY: what serves in the pod sees who the client is, and not the proxy."""
    script = base64.b64encode(b"#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\nfrom %s\\n' \"$REMOTE_ADDR\"\n").decode()
    cgi = f"mkdir -p /tmp/www/cgi-bin && echo {script} | base64 -d > /tmp/www/cgi-bin/who && chmod +x /tmp/www/cgi-bin/who && "
    modes = {"kept": {"proxy.monopod.io/interception-mode": "TPROXY", "proxy.monopod.io/http-inbound-ports": "8081"}, "not-kept": {}}
    for name, annotations in modes.items():
        pod(name, cgi + SERVE, {**INJECT, **annotations})
    ready(*modes)
    for name in modes:
        logged, address = Logged(), ip(name)
        for port, listener in ((8080, "inbound"), (8081, "inbound-http" if name == "kept" else "inbound")):
            seen = until(f"{name} at {port} answers", lambda: (text := fetch("client", f"http://{address}:{port}/cgi-bin/who")).startswith("from ") and text, 10)
            assert (ip("client") in seen) == (name == "kept"), (name, port, seen)
            logged.expect(listener=f"{listener}/default/{name}", to=f"{address}:{port}")
    same(fetch("kept", f"http://{ip('server')}:8080/"), "hello from server")
    k("delete", "pod", *modes, "--wait=false")


def before_the_first_container():
    """No retry: the very first thing that a program does goes through. The pod ends by itself: nothing of the proxy keeps it."""
    logged = Logged()
    command = f"wget -q -O - http://{ip('server')}:8080/"
    pod("early", command, INJECT, restart="Never")
    until("early is over", lambda: get("early")["status"]["phase"] == "Succeeded", 20)
    same(k("logs", "early").strip(), "hello from server")
    logged.expect(listener="outbound/default/early")
    k("delete", "pod", "early")


def by_namespace():
    for name, label in (("meshed", "proxy.monopod.io/inject=enabled"), ("istio", "istio-injection=enabled")):
        k("create", "namespace", name)
        k("label", "namespace", name, label)
        pod("in", "sleep 100000", ns=name)
        pod("out", "sleep 100000", {"proxy.monopod.io/inject": "disabled"}, ns=name)
        pod("label", "sleep 100000", labels={"sidecar.istio.io/inject": "false"}, ns=name)
        ready("in", "out", "label", ns=name)
        logged = Logged()
        for client in ("in", "out", "label"):
            same(fetch(client, f"http://{ip('server')}:9090/", ns=name), "hello from server")
        logged.expect(listener=f"outbound/{name}/in")
        same(logged.listeners(), [f"outbound/{name}/in"])
        k("delete", "namespace", name, timeout=60)


def wrong_annotation():
    pod("wrong", "sleep 100000", {**INJECT, "proxy.monopod.io/exclude-outbound-ports": "80,http"})
    event = until("the event", lambda: k("get", "events", "--field-selector", "involvedObject.name=wrong,reason=FailedCreatePodSandBox", "-o", "jsonpath={.items[*].message}"), 20)
    assert 'annotation proxy.monopod.io/exclude-outbound-ports: "http": want ports from 1 to 65535' in event, event
    same(get("wrong")["status"]["phase"], "Pending")
    k("delete", "pod", "wrong")


def nothing_in_the_pod():
    spec = get("server")["spec"]
    same([c["name"] for c in spec["containers"]], ["c"])
    assert "initContainers" not in spec
    status = k("exec", "server", "--", "cat", "/proc/1/status")
    assert "00000000a80425fb" in re.search(r"CapEff:\s*(\w+)", status).group(1), status  # what any container has: no NET_ADMIN


def the_kernel_carries_it():
    """Between pods of this node bytes need no process, where the kernel is new enough; both hops."""
    if "connections are not joined in the kernel" in node.log():
        print("      SKIPPED: " + next(line for line in node.log().splitlines() if "not joined in the kernel" in line))
        return
    before = joined()
    same(fetch("client", f"http://{ip('server')}:8080/"), "hello from server")
    after = until("counted", lambda: {name: joined()[name] - before[name] for name in before if joined()[name] > before[name]}, 5)
    assert set(after) == {"outbound/default/client", "inbound/default/server"}, after


def joined():
    return {name: int(count) for name, count in re.findall(r'monopod_proxy_joined_total\{listener="([^"]*)"\} (\d+)', metrics())}


def admin_and_metrics():
    name = json.loads(k("get", "nodes", "-o", "json"))["items"][0]["metadata"]["name"]
    text = k("get", "--raw", f"/api/v1/nodes/{name}/proxy/metrics/proxy")
    assert re.search(r'monopod_proxy_connections_total\{listener="outbound/default/client"\} [1-9]', text), text[:2000]
    top = subprocess.run([node.binary, "proxy", "top", "--admin", os.path.join(DATA, "proxy.sock"), "--once", "--interval", "50ms"], capture_output=True, text=True, check=True).stdout
    assert "outbound/default/client" in top, top


def own_configuration():
    """A file of the operator's takes the place of the default; a broken one changes nothing, now and at the next start."""
    path = os.path.join(DATA, "proxy.yaml")
    log = f"access_log: {{path: {DATA}/proxy-access.log, rotate_mb: 10, json: {{listener: \"%LISTENER%\", to: \"%UPSTREAM_HOST%\", status: \"%RESPONSE_CODE%\", path: \"%PATH%\"}}}}"
    text = f"""
listeners:
- {{name: inbound, address: "[::]:15006", intercepts: true, protocol: tcp, cluster: pod, {log}}}
- {{name: outbound, address: "[::]:15001", intercepts: true, protocol: tcp, cluster: passthrough, {log}}}
- name: inbound-http
  address: "[::]:15007"
  intercepts: true
  virtual_hosts: [{{routes: [{{prefix: /secret, direct_response: {{status: 403, body: "no entry"}}}}, {{prefix: /, cluster: pod}}]}}]
  {log}
- {{name: outbound-http, address: "[::]:15008", intercepts: true, virtual_hosts: [{{routes: [{{prefix: /, cluster: passthrough}}]}}], {log}}}
clusters:
- {{name: pod, original_destination: true}}
- {{name: passthrough, original_destination: true}}
"""

    def write(what):
        with open(path + ".new", "w", encoding="utf-8") as f:
            f.write(what)
        os.rename(path + ".new", path)

    def is_forbidden():
        url = f"http://{ip('http')}:8080"
        return "403" in fetch("plain", url + "/secret") and fetch("plain", url + "/") == "hello from http"
    write(text)
    until("the file is in use", is_forbidden, 10)
    write("listeners: [{name: inbound}]")
    until("the broken one is refused", lambda: "the configuration of pods' proxy is refused" in node.log(), 10)
    assert is_forbidden()
    kill()
    until("the last good one is in use", is_forbidden, 10)
    assert "started with the last good one" in node.log()
    os.remove(path)
    os.remove(path + ".last-good")
    kill()
    until("the default is in use", lambda: "404" in fetch("plain", f"http://{ip('http')}:8080/secret"), 10)


def kill():
    before = until("a node process", node.node_pid, 20, 0.01)
    os.kill(before, signal.SIGKILL)
    until("another node process", lambda: (node.node_pid() or before) != before, 20, 0.01)
    until("serving again", lambda: node.request("GET", "/readyz", connection=node.connection(timeout=5))[0] == 200, 30, 0.02)
    until("the node's log", lambda: node.log().count("node is up") >= 1, 10)


def held():
    """Of the node process: descriptors, and network namespaces among them."""
    pid, names = node.node_pid(), []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            names.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
        except OSError:
            pass
    return len(names), len({name for name in names if name.startswith("net:[") or "/ns/net" in name}), sum(name.startswith("socket:") for name in names)


def rules_of(name):
    pid = json.loads(k("get", "pod", name, "-o", "json"))["metadata"]["uid"]
    path = subprocess.run(["nsenter", "-t", str(node.node_pid()), "-m", "-n", "sh", "-c", f"ls -d {node.dir}/run*/pods/{pid}/ns/net /run/monopod/pods/{pid}/ns/net 2>/dev/null | head -1"],
                          capture_output=True, text=True).stdout.strip()
    return subprocess.run(["nsenter", "-t", str(node.node_pid()), "-m", "nsenter", f"--net={path}", "nft", "list", "ruleset"], capture_output=True, text=True).stdout


def after_kills():
    containers = {name: get(name)["status"]["containerStatuses"][0]["containerID"] for name in ("client", "server", "http")}
    rules = rules_of("client")
    assert rules.count("table ip monopod-intercept") == 1, rules
    kill()
    until("through again", lambda: fetch("client", f"http://{ip('server')}:8080/") == "hello from server", 10)
    first = until("settled", lambda: held(), 10)
    for _ in range(5):
        kill()
    logged = Logged()
    until("through again", lambda: fetch("client", f"http://{ip('server')}:8080/") == "hello from server", 10)
    logged.expect(listener="outbound/default/client")
    logged.expect(listener="inbound/default/server")
    for name, before in containers.items():
        status = get(name)["status"]["containerStatuses"][0]
        same((status["containerID"], status["restartCount"]), (before, 0))
    same(rules_of("client"), rules)
    until(f"as many descriptors as {first}", lambda: abs(held()[0] - first[0]) <= 6 and held()[1] == first[1], 10)


def connections_wait_for_the_next_process():
    """What is under way ends with the process; whoever connects in between is served by the next one."""
    pod("looper", f"while :; do wget -q -O /dev/null http://{ip('server')}:8080/ && echo fine; sleep 0.02; done 2>&1", INJECT)
    ready("looper")
    for _ in range(4):
        kill()
        count = k("logs", "looper").count("fine")
        until("served again", lambda: k("logs", "looper").count("fine") > count + 5, 20)
    log = k("logs", "looper")
    assert "refused" not in log, log
    k("delete", "pod", "looper")


def gone_with_the_pod():
    """A connection that nobody ends does not hold the namespace of a pod that is gone."""
    before = held()
    pod("holder", f"(sleep 100000 | nc {ip('server')} 9090) & sleep 100000", INJECT)
    ready("holder")
    until("its connection", lambda: '"outbound/default/holder"} 1' in "\n".join(line for line in metrics().splitlines() if "connections_active" in line), 10)
    during = held()
    assert during[1] > before[1], f"{before} {during}"
    k("delete", "pod", "holder")
    until("everything of it is closed", lambda: held()[1] == before[1] and held()[2] <= before[2] + 3, 10)
    assert "holder" not in metrics()


def metrics():
    name = json.loads(k("get", "nodes", "-o", "json"))["items"][0]["metadata"]["name"]
    return k("get", "--raw", f"/api/v1/nodes/{name}/proxy/metrics/proxy")


def many():
    """What a pod with a proxy costs the node process, beyond one without."""
    def memory():
        with open(f"/proc/{node.node_pid()}/smaps_rollup", encoding="ascii") as f:
            return int(re.search(r"^Pss_Anon:\s+(\d+)", f.read(), re.M).group(1))

    def grown(name, annotations):
        before = memory()
        for i in range(20):
            pod(f"{name}{i}", "sleep 100000", annotations)
        ready(*(f"{name}{i}" for i in range(20)), seconds=100)
        after = memory()
        k("delete", "pod", *(f"{name}{i}" for i in range(20)))
        return after - before
    grown("warm", INJECT)
    rounds = [(grown("a", {}), grown("b", INJECT)) for _ in range(2)]  # the allocator's moods are in each: the better one counts
    each = min((with_proxy - without) / 20 for without, with_proxy in rounds)
    print(f"      20 pods, KB without and with a proxy: {rounds}: {each:.1f} KB a pod")
    assert each <= 64, rounds


try:
    node.start()
    node.wait_ready()
    node.load_busybox()
    start = held()
    pod("server", SERVE, {**INJECT, "proxy.monopod.io/exclude-inbound-ports": "9090"}, {"app": "server"})
    pod("plain", SERVE)
    pod("client", "sleep 100000", INJECT)
    ready("server", "plain", "client")
    pod("client-out", SERVE, {"sidecar.istio.io/inject": "true", "traffic.sidecar.istio.io/excludeOutboundPorts": "8081", "proxy.monopod.io/exclude-outbound-cidrs": ip("plain") + "/32"})
    pod("by-user", "sleep 100000", {**INJECT, "proxy.monopod.io/exclude-uids": "4321"}, container={"securityContext": {"runAsUser": 4321}})
    pod("only-some", "sleep 100000", {**INJECT, "proxy.monopod.io/include-outbound-ports": "8080", "traffic.sidecar.istio.io/includeInboundPorts": ""})
    pod("http", SERVE, {**INJECT, "proxy.monopod.io/http-inbound-ports": "8080", "proxy.monopod.io/http-outbound-ports": "8080"})
    ready("client-out", "by-user", "only-some", "http")
    checks.run("connections go through the proxy on both ends, the source is kept", both_ways)
    checks.run("a service's address is one like others", through_a_service)
    checks.run("the API is reached through it", the_api_too)
    checks.run("pods that did not ask are left alone", plain_pods_are_left_alone)
    checks.run("ports, prefixes and users are excluded, and only what is listed taken", exclusions)
    checks.run("where HTTP is spoken requests are seen", requests_where_http_is_spoken)
    checks.run("TPROXY keeps the client's address", clients_addresses_are_kept)
    checks.run("the first thing of the first container goes through", before_the_first_container)
    checks.run("a namespace asks for its pods, and a pod declines", by_namespace)
    checks.run("an annotation that cannot be read keeps the pod from starting, and is named", wrong_annotation)
    checks.run("the pod has no container and no privilege for it", nothing_in_the_pod)
    checks.run("between pods of this node the kernel carries the bytes", the_kernel_carries_it)
    checks.run("metrics and top", admin_and_metrics)
    checks.run("it goes with its pod", gone_with_the_pod)
    checks.run("after kills of the node process all is there again, once", after_kills)
    checks.run("connections that are made while the node process is away are served by the next one", connections_wait_for_the_next_process)
    checks.run("an operator's configuration", own_configuration)
    checks.run("memory of twenty", many)
    k("delete", "pod", "--all", timeout=60)
    checks.run("nothing is left of any", lambda: until("as at the start", lambda: snapshot(node)["links"] == 0 and held()[1] == start[1], 20))
finally:
    if checks.failed:
        print("--- server log\n" + node.log()[-6000:])
    node.stop()
sys.exit(checks.finish())
