"""What happens to a pod's containers over time: order, probes, hooks, restarts, ends, logs, events."""
import json
import os
import re
import subprocess
import time

from harness import until
from pods_support import PODS, case, condition_of, container, expect, pod

SHARED = [{"name": "s", "emptyDir": {}}]
MOUNT = [{"name": "s", "mountPath": "/s"}]


@case("init, sidecar and main containers in order", pod("order", container("main", script="echo main >> /s/order; cat /s/order; cat /s/order > /dev/termination-log", volumeMounts=MOUNT), volumes=SHARED, terminationGracePeriodSeconds=5, initContainers=[
    container("first", script="sleep 0.2; echo first >> /s/order", volumeMounts=MOUNT),
    container("side", script="trap 'echo side ends; exit 0' TERM; sleep 0.2; echo side >> /s/order; touch /s/up; while true; do sleep 0.1; done", volumeMounts=MOUNT, restartPolicy="Always",
              startupProbe={"exec": {"command": ["cat", "/s/up"]}, "periodSeconds": 1}),
    container("last", script="echo last >> /s/order", volumeMounts=MOUNT)]))
def order(c):
    p = c.phase("order", "Succeeded")
    assert c.logs("order", "main").split() == ["first", "side", "last", "main"], (c.logs("order", "main"), p["status"], c.events("order"))
    expect(c.logs("order", "side"), "side ends")
    side = next(s for s in p["status"]["initContainerStatuses"] if s["name"] == "side")
    assert side["state"]["terminated"]["exitCode"] == 0, side


@case("a failed init container", pod("init-fails", initContainers=[container("i", script="echo broken; exit 4")]), pod("init-retries", initContainers=[container("i", script="exit 4")], restartPolicy="Always"))
def failed_init(c):
    p = c.phase("init-fails", "Failed")
    assert p["status"]["initContainerStatuses"][0]["state"]["terminated"]["exitCode"] == 4
    waiting = p["status"]["containerStatuses"][0]["state"]["waiting"]
    assert waiting["reason"] == "PodInitializing" and condition_of(p, "Initialized") == "False", p["status"]
    expect(c.node.kubectl("get", "pod", "init-fails"), "Init:Error")
    c.wait("init-retries", "back-off", lambda p: p["status"]["initContainerStatuses"][0]["state"].get("waiting", {}).get("reason") == "CrashLoopBackOff")
    expect(c.node.kubectl("get", "pod", "init-retries"), "Init:CrashLoopBackOff")
    c.delete("init-retries")


HTTPD = "mkdir /www; exec httpd -f -p 8080 -h /www"


@case("HTTP readiness comes and goes", pod("http-ready", container(script=HTTPD, readinessProbe={"httpGet": {"path": "/ok", "port": "web", "httpHeaders": [{"name": "X-A", "value": "b"}]}, "periodSeconds": 1, "failureThreshold": 1},
                                                                   ports=[{"name": "web", "containerPort": 8080}])))
def http_readiness(c):
    c.wait_event("http-ready", "Unhealthy: Readiness probe failed: HTTP probe failed with statuscode: 404")
    assert condition_of(c.pod("http-ready"), "Ready") == "False"
    c.exec("http-ready", "touch", "/www/ok")
    c.ready("http-ready", 10)
    c.exec("http-ready", "busybox", "rm", "/www/ok")
    p = c.wait("http-ready", "not Ready again", lambda p: condition_of(p, "Ready") == "False", 10)
    assert p["status"]["containerStatuses"][0]["restartCount"] == 0
    c.delete("http-ready")


@case("TCP liveness restarts", pod("tcp-live", container(script="exec sleep 1000", livenessProbe={"tcpSocket": {"port": 9}, "periodSeconds": 1, "failureThreshold": 2}), restartPolicy="Always"))
def tcp_liveness(c):
    c.wait("tcp-live", "a restart", lambda p: p["status"]["containerStatuses"][0]["restartCount"] >= 1)
    c.wait_event("tcp-live", "Container c failed liveness probe, will be restarted")  # told a moment after it happened
    events = "\n".join(c.events("tcp-live"))
    expect(events, "Liveness probe failed: dial tcp ", ":9: connect: connection refused")
    last = c.status("tcp-live", "c")["lastState"]["terminated"]
    assert last["exitCode"] == 137 and last["reason"] == "Error", last
    c.delete("tcp-live")


@case("exec liveness: output and timeout", pod("exec-live", container(script="exec sleep 1000", livenessProbe={"exec": {"command": ["sh", "-c", "echo not well; exit 1"]}, "periodSeconds": 1, "failureThreshold": 100})),
      pod("exec-slow", container(script="exec sleep 1000", readinessProbe={"exec": {"command": ["sleep", "30"]}, "timeoutSeconds": 1, "periodSeconds": 1})))
def exec_liveness(c):
    c.wait_event("exec-live", "Unhealthy: Liveness probe failed: not well")
    c.wait_event("exec-slow", "Readiness probe failed: command timed out: \"sleep 30\" timed out after 1s")
    c.delete("exec-live")
    c.delete("exec-slow")


@case("startup probe fails", pod("startup", container(script="exec sleep 1000", startupProbe={"exec": {"command": ["false"]}, "periodSeconds": 1, "failureThreshold": 2}, livenessProbe={"exec": {"command": ["false"]}, "periodSeconds": 1}), restartPolicy="Always"))
def startup(c):
    c.wait_event("startup", "Container c failed startup probe, will be restarted")
    c.wait("startup", "a restart", lambda p: p["status"]["containerStatuses"][0]["restartCount"] >= 1)
    assert not any("Liveness" in e for e in c.events("startup")), "no liveness before the container has started"
    assert c.status("startup", "c")["started"] is False
    c.delete("startup")


@case("gRPC probes", pod("grpc", container("up", ["/bin/grpc-health", "50051"], readinessProbe={"grpc": {"port": 50051}, "periodSeconds": 1}),
                         container("service", ["/bin/grpc-health", "50052"], readinessProbe={"grpc": {"port": 50052, "service": "sick"}, "periodSeconds": 1}),
                         container("down", readinessProbe={"grpc": {"port": 50053}, "periodSeconds": 1})))
def grpc(c):
    c.wait("grpc", "up ready", lambda _: c.status("grpc", "up")["ready"])
    c.wait_event("grpc", 'service unhealthy (responded with "NOT_SERVING")')
    c.wait_event("grpc", 'failed to connect service')
    assert not c.status("grpc", "service")["ready"] and not c.status("grpc", "down")["ready"]
    c.delete("grpc")


HOOKS = pod("hooks", container(script="trap 'echo got TERM >> /h/log; sleep 0.2; exit 5' TERM; while true; do sleep 0.05; done", volumeMounts=[{"name": "h", "mountPath": "/h"}], lifecycle={
    "postStart": {"exec": {"command": ["sh", "-c", "echo started >> /h/log"]}}, "preStop": {"exec": {"command": ["sh", "-c", "echo stopping >> /h/log; sleep 0.5; echo stopped >> /h/log"]}}}),
    terminationGracePeriodSeconds=10)


@case("hooks and graceful end", pod("hook-fails", container(script="exec sleep 1000", lifecycle={"postStart": {"exec": {"command": ["false"]}}}), restartPolicy="Always"))
def hooks(c):
    HOOKS["spec"]["volumes"] = [{"name": "h", "hostPath": {"path": os.path.join(c.node.dir, "hooks"), "type": "DirectoryOrCreate"}}]
    c.create(HOOKS)
    c.ready("hooks")
    c.delete("hooks")
    p = c.pod("hooks")
    assert p["metadata"]["deletionGracePeriodSeconds"] == 10
    c.gone("hooks", 10)
    with open(os.path.join(c.node.dir, "hooks", "log"), encoding="ascii") as f:
        lines = f.read().split("\n")
    assert lines == ["started", "stopping", "stopped", "got TERM", ""], lines
    c.wait_event("hook-fails", "FailedPostStartHook")
    c.wait("hook-fails", "restarted", lambda p: p["status"]["containerStatuses"][0]["restartCount"] >= 1)
    c.delete("hook-fails")


@case("SIGKILL after the grace period", pod("deaf", container(script="trap '' TERM; while true; do sleep 0.05; done"), terminationGracePeriodSeconds=2), pod("forced", container(script="trap '' TERM; while true; do sleep 0.05; done"), terminationGracePeriodSeconds=60))
def killed(c):
    c.ready("deaf")
    c.ready("forced")
    begin = time.monotonic()
    c.delete("deaf")
    c.gone("deaf", 20)
    took = time.monotonic() - begin
    assert 1.8 < took < 8, took
    c.delete("forced", grace=0)
    c.gone("forced", 10)


@case("termination messages", pod("message", container("path", script="echo -n custom > /tmp/m; exit 1", terminationMessagePath="/tmp/m"), container("logs", script="echo last words; exit 2", terminationMessagePolicy="FallbackToLogsOnError"),
                                  container("good", script="echo nothing; exit 0", terminationMessagePolicy="FallbackToLogsOnError"), container("long", script="yes x | head -c 9000 > /dev/termination-log")))
def messages(c):
    got = {name: c.ended("message", name) for name in ("path", "logs", "good", "long")}
    assert got["path"]["message"] == "custom" and got["path"]["exitCode"] == 1, got["path"]
    assert got["logs"]["message"] == "last words\n" and got["logs"]["reason"] == "Error", got["logs"]
    assert "message" not in got["good"] and got["good"]["reason"] == "Completed", got["good"]
    assert len(got["long"]["message"]) == 4096
    c.phase("message", "Failed")


@case("signals and exit codes", pod("signals", container("segv", script="kill -SEGV $$$$"), container("code", script="exit 42"), container("noexec", ["/bin/config-only"]), container("dir", ["/bin"]), shareProcessNamespace=True))
def signals(c):
    segv = c.ended("signals", "segv")
    assert segv["exitCode"] == 139, segv
    assert c.ended("signals", "code")["exitCode"] == 42
    for name, text in [("noexec", "no such file or directory"), ("dir", "is a directory")]:
        end = c.ended("signals", name)
        assert end["reason"] == "StartError" and end["exitCode"] == 128 and text in end["message"], end


@case("back-off after crashes", pod("crash", container(script="echo try; sleep 0.1; exit 3"), restartPolicy="Always"), pod("until-good", container(script="test -e /s/2 && exit 0; test -e /s/1 && touch /s/2; touch /s/1; exit 1", volumeMounts=MOUNT), volumes=SHARED, restartPolicy="OnFailure"))
def crash(c):
    p = c.wait("crash", "CrashLoopBackOff", lambda p: p["status"]["containerStatuses"][0]["state"].get("waiting", {}).get("reason") == "CrashLoopBackOff")
    message = p["status"]["containerStatuses"][0]["state"]["waiting"]["message"]
    assert message == f"back-off 10s restarting failed container=c pod=crash_default({p['metadata']['uid']})", message
    c.wait_event("crash", "BackOff: Back-off restarting failed container c in pod crash_default(")
    assert p["status"]["phase"] == "Running" and p["status"]["containerStatuses"][0]["restartCount"] >= 1
    expect(c.logs("crash", previous="true"), "try")
    expect(c.node.kubectl("get", "pod", "crash"), "CrashLoopBackOff", "0/1")
    c.delete("crash")
    c.phase("until-good", "Succeeded", 40)
    assert c.status("until-good", "c")["restartCount"] == 2


@case("out of memory", pod("oom", container(script="dd if=/dev/zero of=/dev/null bs=200M count=1", resources={"limits": {"memory": "20Mi"}})))
def oom(c):
    end = c.ended("oom")
    assert end["reason"] == "OOMKilled" and end["exitCode"] == 137, end


@case("deadline of a pod", pod("deadline", container(script="exec sleep 1000"), activeDeadlineSeconds=2))
def deadline(c):
    p = c.phase("deadline", "Failed", 20)
    assert p["status"]["reason"] == "DeadlineExceeded", p["status"]
    c.wait_event("deadline", "Pod was active on the node longer than the specified deadline")


@case("images that cannot be had", pod("never", container(image="nowhere/nothing:1")), pod("pull", container(image="127.0.0.1:1/nothing:1", imagePullPolicy="IfNotPresent")), pod("bad-name", container(image="UPPER//x", imagePullPolicy="IfNotPresent")))
def images(c):
    c.wait("never", "ErrImageNeverPull", lambda p: p["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == "ErrImageNeverPull")
    c.wait_event("never", 'Container image "nowhere/nothing:1" is not present with pull policy of Never')
    p = c.wait("pull", "ImagePullBackOff", lambda p: p["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == "ImagePullBackOff")
    expect(p["status"]["containerStatuses"][0]["state"]["waiting"]["message"], 'Back-off pulling image "127.0.0.1:1/nothing:1"', "onnection refused")
    for text in ("Error: ErrImagePull", "Error: ImagePullBackOff", 'Pulling image "127.0.0.1:1/nothing:1"', 'Failed to pull image "127.0.0.1:1/nothing:1"'):
        c.wait_event("pull", text)
    c.wait("bad-name", "InvalidImageName", lambda p: p["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == "InvalidImageName")
    text = c.logs("never", expect=400)
    expect(text, 'container "c" in pod "never" is waiting to start: ErrImageNeverPull')
    for name in ("never", "pull", "bad-name"):
        c.delete(name)


@case("logs and their options", pod("talk", container(script="echo one; echo two >&2; sleep 1.2; echo three; printf unfinished; exec sleep 1000")))
def logs(c):
    c.ready("talk")
    until("all lines", lambda: "three" in c.logs("talk"), 10)
    assert c.logs("talk").startswith("one\ntwo\nthree\n"), c.logs("talk")
    assert c.logs("talk", tailLines=1) == "three\n", c.logs("talk", tailLines=1)
    assert c.logs("talk", limitBytes=5) == "one\nt"
    stamped = c.logs("talk", timestamps="true").split("\n")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{1,9}Z one", stamped[0]), stamped
    third = stamped[2].split(" ")[0]
    assert c.logs("talk", sinceTime=third[:19] + "Z").split("\n")[-2] == "three" and "one" not in c.logs("talk", sinceTime=third[:19] + "Z")
    assert c.logs("talk", sinceSeconds=3600).startswith("one")
    expect(c.node.kubectl("logs", "talk", "--since=1h", "--tail=2", "--timestamps"), " three")
    p = c.node.kubectl("logs", "talk", "--previous", check=False)
    expect(p.stderr, 'previous terminated container "c" in pod "talk" not found')
    log = os.path.join(c.node.dir, "data", "logs")
    folder = next(d for d in os.listdir(log) if d.startswith("default_talk_"))
    with open(os.path.join(log, folder, "c", "0.log"), encoding="ascii") as f:
        lines = f.read().split("\n")
    assert re.fullmatch(r"\S+Z stdout F one", lines[0]) and re.fullmatch(r"\S+Z stderr F two", lines[1]), lines
    c.delete("talk")


@case("log rotation", pod("chatty", container(script="yes 0123456789012345678901234567890123456789012345678901234567890123456789 | head -n 150000; echo the end; exec sleep 1000")))
def rotation(c):
    until("the last line", lambda: "the end" in c.logs("chatty", tailLines=1), 40, 0.3)
    log = os.path.join(c.node.dir, "data", "logs")
    folder = next(d for d in os.listdir(log) if d.startswith("default_chatty_"))
    files = sorted(os.listdir(os.path.join(log, folder, "c")))
    assert "0.log" in files and "0.log.1" in files, files
    assert all(os.path.getsize(os.path.join(log, folder, "c", f)) <= 10 << 20 for f in files)
    c.delete("chatty")


@case("exec into what does not run", pod("stopped", container("done", script="true"), container("on", script="exec sleep 1000")), pod("completed", container(script="true")))
def exec_stopped(c):
    c.ended("stopped", "done")
    p = c.exec("stopped", "true", container_name="done", check=False)
    assert p.returncode != 0, p
    expect(p.stderr, 'container not found ("done")')
    p = c.exec("stopped", "true", container_name="absent", check=False)
    expect(p.stderr, "container absent is not valid for pod stopped" if "not valid" in p.stderr else "container not found (\"absent\")")
    p = c.exec("stopped", "/no/such", container_name="on", check=False)
    assert p.returncode in (126, 127, 1) and "no such file" in p.stderr, p
    c.phase("completed", "Succeeded")
    expect(c.exec("completed", "true", check=False).stderr, "cannot exec into a container in a completed pod; current phase is Succeeded")
    c.delete("stopped")


@case("run, attach: standard input")
def run_attach(c):
    p = c.node.kubectl("run", "typed", "--rm", "-i", "--restart=Never", "--image=hello:1", "--image-pull-policy=Never", "--command", "--", "sh", "-c", "read line; echo got $line", stdin="some words\n", check=False, timeout=60)
    expect(p.stdout, "got some words")
    c.gone("typed", 20)


@case("eviction", pod("evicted", container(script="exec sleep 1000")))
def eviction(c):
    c.ready("evicted")
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "evicted", "namespace": "default"}}
    status, answer = c.request("POST", f"{PODS}/evicted/eviction", body)
    assert status == 201 and answer["status"] == "Success", (status, answer)
    c.gone("evicted", 20)
    assert c.request("POST", f"{PODS}/evicted/eviction", body)[0] == 404


@case("emptyDir over its limit", pod("hoarder", container(script="dd if=/dev/zero of=/s/big bs=1M count=8; exec sleep 1000", volumeMounts=MOUNT), volumes=[{"name": "s", "emptyDir": {"sizeLimit": "2Mi"}}]))
def hoarder(c):
    p = c.phase("hoarder", "Failed", 60)
    assert p["status"]["reason"] == "Evicted", p["status"]
    expect(p["status"]["message"], 'Usage of EmptyDir volume "s" exceeds the limit "2Mi"')


@case("get -w, describe, events", pod("watched", container(script="sleep 1; exit 0", resources={"limits": {"memory": "16Mi"}}, env=[{"name": "K", "value": "v"}], volumeMounts=MOUNT), volumes=SHARED, labels={"app": "watched"}))
def told(c):
    kubectl = [c.node.kubectl_path, "--kubeconfig", c.node.kubeconfig]
    p = subprocess.Popen([*kubectl, "get", "pods", "-w", "--field-selector=metadata.name=seen"], stdout=subprocess.PIPE, text=True, env=dict(os.environ, HOME=c.node.dir))
    try:
        time.sleep(1)
        c.create(pod("seen", container(script="sleep 0.5")))
        c.phase("seen", "Succeeded")
        c.delete("seen")
        c.gone("seen")
        time.sleep(0.5)
    finally:
        p.terminate()
    lines = p.stdout.read()
    expect(lines, "NAME", "Pending", "ContainerCreating", "Running", "Completed")
    c.phase("watched", "Succeeded")
    text = c.node.kubectl("describe", "pod", "watched")
    expect(text, "Name:", "Labels:           app=watched", "Status:           Succeeded", "IP:", "Image:", "hello:1", "Image ID:", "Reason:       Completed", "Exit Code:    0", "memory:  16Mi", "K:  v",
           "/s from s (rw)", "Mounts:", "PodScheduled", "EmptyDir", "QoS Class:                   Burstable", "Successfully assigned default/watched to", "Container image \"hello:1\" already present", "Container created", "Container started")
    assert "<none>" not in next(line for line in text.split("\n") if line.startswith("IP:")), text
    expect(c.node.kubectl("events", "--for", "pod/watched"), "LAST SEEN", "Scheduled", "Started", "Pod/watched")


def manifest_path(c, name):
    return os.path.join(c.node.dir, "manifests", name)


def write(path, text):
    with open(path + ".tmp", "w", encoding="utf-8") as f:
        f.write(text)
    os.rename(path + ".tmp", path)


@case("static pods and their mirrors")
def static_pods(c):
    name = "static-" + c.request("GET", "/api/v1/nodes")[1]["items"][0]["metadata"]["name"]
    manifest = pod("static", container(script="echo version one; trap 'sleep 0.5; exit 0' TERM; while true; do sleep 0.05; done", ports=[{"containerPort": 80, "hostPort": 18092}]),
                   restartPolicy="Always", terminationGracePeriodSeconds=5)
    os.makedirs(os.path.dirname(manifest_path(c, "x")), exist_ok=True)
    write(manifest_path(c, "broken.yaml"), "kind: Pod\n  metadata: [")
    write(manifest_path(c, "static.yaml"), json.dumps(manifest))
    until("the mirror", lambda: c.request("GET", f"{PODS}/{name}")[0] == 200, 20)
    p = c.ready(name)
    assert p["metadata"]["annotations"]["kubernetes.io/config.source"] == "file" and p["metadata"]["ownerReferences"][0]["kind"] == "Node", p["metadata"]
    assert p["metadata"]["annotations"]["kubernetes.io/config.mirror"] == p["metadata"]["annotations"]["kubernetes.io/config.hash"]
    expect(c.logs(name), "version one")
    expect(c.exec(name, "echo", "inside"), "inside")
    container_id = p["status"]["containerStatuses"][0]["containerID"]
    c.delete(name)  # only the mirror: it comes back, the containers run on
    until("a new mirror", lambda: c.pod(name)["metadata"]["uid"] != p["metadata"]["uid"], 20)
    again = c.ready(name)
    assert again["status"]["containerStatuses"][0]["containerID"] == container_id, "deleting a mirror must not touch the pod"
    write(manifest_path(c, "static.yaml"), json.dumps(manifest).replace("version one", "version two"))
    until("the changed pod", lambda: "version two" in c.logs(name), 30)
    # Away and back at once: the same pod again, once its first life is over.
    container_id = c.ready(name)["status"]["containerStatuses"][0]["containerID"]
    os.rename(manifest_path(c, "static.yaml"), manifest_path(c, "static.away"))
    time.sleep(0.3)
    os.rename(manifest_path(c, "static.away"), manifest_path(c, "static.yaml"))
    until("its second life", lambda: c.status(name, "c")["containerID"] != container_id and c.status(name, "c")["ready"], 30)
    os.unlink(manifest_path(c, "static.yaml"))
    os.unlink(manifest_path(c, "broken.yaml"))
    c.gone(name, 30)
    until("the log says what was wrong with the other file", lambda: "broken.yaml" in c.node.log(), 5)
