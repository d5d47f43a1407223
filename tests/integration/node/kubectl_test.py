#!/usr/bin/env python3
"""What a person does with kubectl 1.35, against a whole node."""
import json
import subprocess
import sys

from harness import Checks, EXAMPLE, Node, binary, kubectl, need_root, snapshot, until

need_root()
node = Node(binary(), kubectl())
checks = Checks()
k = node.kubectl


def pods(selector):
    return json.loads(k("get", "pods", "-l", selector, "-o", "json"))["items"]


def manifest(text):
    return k("apply", "-f", "-", stdin=text)


def expect(text, *parts):
    for part in parts:
        assert part in text, f"{part!r} not in {text!r}"


def apply_hello():
    expect(k("apply", "-f", EXAMPLE), "deployment.apps/hello created", "service/hello created", "configmap/hello created")
    expect(k("rollout", "status", "deployment/hello", "--timeout=60s"), "successfully rolled out")
    expect(k("apply", "-f", EXAMPLE), "unchanged")


def outputs():
    expect(k("get", "pods"), "NAME", "READY", "1/1", "Running")
    expect(k("get", "pods", "-o", "wide"), "NODE", "10.42.0.")
    expect(k("get", "deploy,rs,svc", "-o", "name"), "deployment.apps/hello", "service/hello")
    expect(k("get", "pods", "-o", "jsonpath={.items[*].status.phase}"), "Running Running Running")
    expect(k("get", "deploy", "hello", "-o", "yaml"), "readyReplicas: 3")
    expect(k("get", "nodes", "-o", "wide"), "Ready", "v1.35")
    expect(k("api-resources"), "deployments", "endpointslices", "rolebindings")
    expect(k("describe", "pod", "-l", "app=hello"), "Scheduled", "Successfully assigned", "Started")
    expect(k("describe", "deployment", "hello"), "3 available", "ScalingReplicaSet")
    expect(k("describe", "node"), "Allocatable", "MemoryPressure")
    expect(k("events"), "SuccessfulCreate")


def service():
    ip = k("get", "svc", "hello", "-o", "jsonpath={.spec.clusterIP}")
    expect(node.inside("busybox", "wget", "-q", "-O", "-", f"http://{ip}/"), "hello from monopod")
    expect(k("exec", "deployment/hello", "--", "wget", "-q", "-O", "-", "http://hello.default.svc.cluster.local/"), "hello from monopod")
    expect(k("exec", "deployment/hello", "--", "nslookup", "hello.default.svc.cluster.local"), ip)
    expect(k("get", "endpointslices"), "hello-")


def logs_and_exec():
    expect(k("logs", "deployment/hello"), "serving on port 8080")
    expect(k("exec", "deployment/hello", "--", "cat", "/www/index.html"), "hello from monopod")
    expect(k("exec", "-i", "deployment/hello", "--", "cat", stdin="through stdin\n"), "through stdin")
    p = k("exec", "deployment/hello", "--", "sh", "-c", "exit 7", check=False)
    assert p.returncode == 7, p
    p = subprocess.run(["script", "-qec", f"{node.kubectl_path} --kubeconfig {node.kubeconfig} exec -it deployment/hello -- sh -c 'stty size; tty'", "/dev/null"],
                       capture_output=True, text=True, timeout=30)
    expect(p.stdout, "/dev/pts/")
    p = subprocess.Popen([node.kubectl_path, "--kubeconfig", node.kubeconfig, "logs", "-f", "deployment/hello"], stdout=subprocess.PIPE, text=True)
    try:
        expect(p.stdout.readline(), "serving on port 8080")
    finally:
        p.terminate()
        p.wait()


def rollout():
    k("scale", "deployment/hello", "--replicas=4")
    k("rollout", "status", "deployment/hello", "--timeout=60s")
    assert len(pods("app=hello")) >= 4
    k("scale", "deployment/hello", "--replicas=2")
    k("rollout", "restart", "deployment/hello")
    k("rollout", "status", "deployment/hello", "--timeout=60s")
    expect(k("rollout", "history", "deployment/hello"), "REVISION", "2")
    k("rollout", "undo", "deployment/hello")
    k("rollout", "status", "deployment/hello", "--timeout=60s")
    k("wait", "--for=condition=Available", "deployment/hello", "--timeout=30s")
    until("the replaced pods to go", lambda: len(pods("app=hello")) == 2)  # what follows names the pods it finds


def config_update_reaches_the_volume():
    text = k("get", "configmap", "hello", "-o", "json")
    k("replace", "-f", "-", stdin=text.replace("hello from monopod", "changed page"))
    until("the new page", lambda: "changed page" in k("exec", "deployment/hello", "--", "cat", "/www/index.html"), 90, 1)


def labels_and_taints():
    name = k("get", "nodes", "-o", "jsonpath={.items[0].metadata.name}")
    k("label", "pods", "-l", "app=hello", "colour=blue")
    assert len(pods("colour=blue")) >= 2
    k("annotate", "deployment", "hello", "note=x")
    k("cordon", name)
    manifest('{"apiVersion":"v1","kind":"Pod","metadata":{"name":"waits"},"spec":{"terminationGracePeriodSeconds":0,"containers":[{"name":"c","image":"hello:1","imagePullPolicy":"Never","command":["sleep","100"]}]}}')
    until("FailedScheduling", lambda: "node(s) were unschedulable" in k("describe", "pod", "waits"))
    k("uncordon", name)
    k("wait", "--for=condition=Ready", "pod/waits", "--timeout=30s")
    k("taint", "node", name, "a=b:NoSchedule")
    expect(k("describe", "node", name), "a=b:NoSchedule")
    k("taint", "node", name, "a-")
    k("delete", "pod", "waits")


PROBED = """
apiVersion: v1
kind: Pod
metadata: {name: probed}
spec:
  terminationGracePeriodSeconds: 0
  initContainers:
    - {name: first, image: "hello:1", imagePullPolicy: Never, command: [sh, -c, "echo made > /shared/file"], volumeMounts: [{name: shared, mountPath: /shared}]}
    - {name: side, image: "hello:1", imagePullPolicy: Never, restartPolicy: Always, command: [sleep, "1000"]}
  containers:
    - name: main
      image: "hello:1"
      imagePullPolicy: Never
      command: [sh, -c, "cat /shared/file; touch /tmp/ok; sleep 1000"]
      env:
        - {name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
        - {name: GREETING, value: "hi $(POD_NAME)"}
      startupProbe: {exec: {command: [cat, /tmp/ok]}, periodSeconds: 1}
      livenessProbe: {exec: {command: [cat, /tmp/ok]}, periodSeconds: 1, failureThreshold: 1}
      volumeMounts: [{name: shared, mountPath: /shared}, {name: mem, mountPath: /mem}, {name: about, mountPath: /about}]
  volumes:
    - {name: shared, emptyDir: {}}
    - {name: mem, emptyDir: {medium: Memory, sizeLimit: 8Mi}}
    - {name: about, downwardAPI: {items: [{path: name, fieldRef: {fieldPath: metadata.name}}]}}
"""


def pod_features():
    manifest(PROBED)
    k("wait", "--for=condition=Ready", "pod/probed", "--timeout=60s")
    expect(k("logs", "probed", "-c", "main"), "made")
    expect(k("exec", "probed", "-c", "main", "--", "sh", "-c", "echo $GREETING; cat /about/name; mount"), "hi probed", "/mem type tmpfs")
    expect(k("exec", "probed", "-c", "main", "--", "ls", "/var/run/secrets/kubernetes.io/serviceaccount"), "token", "ca.crt", "namespace")
    k("exec", "probed", "-c", "main", "--", "sh", "-c", "> /tmp/gone; kill -0 1; busybox rm /tmp/ok")
    until("a restart by the liveness probe", lambda: json.loads(k("get", "pod", "probed", "-o", "json"))["status"]["containerStatuses"][0]["restartCount"] >= 1, 60, 0.5)
    expect(k("describe", "pod", "probed"), "Unhealthy", "Killing")
    expect(k("logs", "probed", "-c", "main", "--previous"), "made")
    k("delete", "pod", "probed")


def exits_and_reasons():
    def run(name, command, extra=None, policy="Never"):
        container = {"name": "c", "image": "hello:1", "imagePullPolicy": "Never", "command": command}
        container.update(extra or {})
        manifest(json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"restartPolicy": policy, "terminationGracePeriodSeconds": 0, "containers": [container]}}))

    def state(name):
        return json.loads(k("get", "pod", name, "-o", "json"))["status"]

    run("good", ["true"])
    run("bad", ["sh", "-c", "echo why > /dev/termination-log; exit 3"])
    run("absent", ["/no/such/program"])
    run("noimage", ["true"], {"image": "nowhere/nothing:1"})
    run("oom", ["sh", "-c", "dd if=/dev/zero of=/dev/null bs=200M count=1"], {"resources": {"limits": {"memory": "20Mi"}}})
    run("crash", ["false"], policy="Always")
    until("Succeeded", lambda: state("good")["phase"] == "Succeeded")
    until("Failed 3", lambda: state("bad")["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 3)
    terminated = state("bad")["containerStatuses"][0]["state"]["terminated"]
    assert terminated["message"].strip() == "why" and terminated["reason"] == "Error", terminated
    until("StartError", lambda: state("absent")["containerStatuses"][0]["state"]["terminated"]["exitCode"] in (127, 128))
    until("ErrImageNeverPull", lambda: state("noimage")["containerStatuses"][0]["state"]["waiting"]["reason"] == "ErrImageNeverPull")
    until("OOMKilled", lambda: state("oom")["containerStatuses"][0]["state"]["terminated"]["reason"] == "OOMKilled")
    until("CrashLoopBackOff", lambda: state("crash")["containerStatuses"][0]["state"]["waiting"]["reason"] == "CrashLoopBackOff")
    expect(k("get", "pods"), "Completed", "OOMKilled", "CrashLoopBackOff", "ErrImageNeverPull")
    p = k("exec", "good", "--", "true", check=False)
    assert p.returncode != 0
    p = k("logs", "noimage", check=False)
    expect(p.stderr, "waiting to start")
    k("delete", "pod", "good", "bad", "absent", "noimage", "oom", "crash")


def security():
    manifest(json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "tight"}, "spec": {
        "terminationGracePeriodSeconds": 0, "securityContext": {"runAsUser": 1000, "runAsGroup": 2000, "fsGroup": 3000},
        "containers": [{"name": "c", "image": "hello:1", "imagePullPolicy": "Never", "command": ["sleep", "1000"],
                        "securityContext": {"readOnlyRootFilesystem": True, "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                        "volumeMounts": [{"name": "d", "mountPath": "/d"}]}], "volumes": [{"name": "d", "emptyDir": {}}]}}))
    k("wait", "--for=condition=Ready", "pod/tight", "--timeout=30s")
    expect(k("exec", "tight", "--", "id"), "uid=1000", "gid=2000", "3000")
    expect(k("exec", "tight", "--", "cat", "/proc/self/status"), "CapEff:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2")
    assert k("exec", "tight", "--", "touch", "/x", check=False).returncode != 0
    k("exec", "tight", "--", "touch", "/d/x")
    k("delete", "pod", "tight")


def validation_speaks_upstreams_words():
    p = k("apply", "-f", "-", stdin='{"apiVersion":"v1","kind":"Pod","metadata":{"name":"Bad_Name"},"spec":{"containers":[]}}', check=False)
    expect(p.stderr, "Invalid value", "spec.containers: Required value")
    p = k("apply", "-f", "-", stdin='{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x"},"dat":{}}', check=False)
    expect(p.stderr, 'unknown field "dat"')
    p = k("get", "pod", "nobody", check=False)
    expect(p.stderr, 'pods "nobody" not found')
    expect(k("auth", "can-i", "create", "pods"), "yes")
    expect(k("auth", "can-i", "create", "pods", "--as=system:serviceaccount:default:default", check=False).stdout, "no")


def quota():
    def used(name="q"):
        return json.loads(k("get", "quota", name, "-n", "small", "-o", "json")).get("status", {}).get("used")

    k("create", "namespace", "small")
    expect(k("create", "quota", "q", "--hard=pods=1,requests.cpu=500m,count/configmaps=5", "-n", "small"), "resourcequota/q created")
    until("counted", lambda: used() == {"count/configmaps": "1", "pods": "0", "requests.cpu": "0"}, 10)
    until("account", lambda: "default" in k("get", "serviceaccounts", "-n", "small", "-o", "name", check=False).stdout, 10)
    p = k("run", "unsaid", "--image=hello:1", "-n", "small", check=False)
    expect(p.stderr, 'pods "unsaid" is forbidden: failed quota: q: must specify requests.cpu for: unsaid')
    manifest("""
apiVersion: v1
kind: Pod
metadata: {name: one, namespace: small}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 0
  containers: [{name: c, image: "busybox:1", command: [sleep, "1000"], resources: {requests: {cpu: 100m}}}]
""")
    expect(" ".join(k("describe", "quota", "q", "-n", "small").split()), "count/configmaps 1 5", "pods 1 1", "requests.cpu 100m 500m")
    more = '{"spec":{"containers":[{"name":"more","image":"hello:1","resources":{"requests":{"cpu":"500m"}}}]}}'
    p = k("run", "more", "--image=hello:1", "-n", "small", "--overrides=" + more, check=False)
    expect(p.stderr, 'pods "more" is forbidden: exceeded quota: q, requested: pods=1,requests.cpu=500m, used: pods=1,requests.cpu=100m, limited: pods=1,requests.cpu=500m')
    # A workload says why it has no pods, and gets its pod once there is room.
    k("create", "deployment", "d", "--image=hello:1", "-n", "small")
    k("set", "resources", "deployment/d", "--requests=cpu=200m", "-n", "small")
    until("the refusal is told", lambda: "exceeded quota: q" in k("get", "events", "-n", "small"), 20)
    k("delete", "pod", "one", "-n", "small", "--timeout=30s")
    until("room for the next", lambda: used() == {"count/configmaps": "1", "pods": "1", "requests.cpu": "200m"}, 60)
    k("delete", "namespace", "small", "--timeout=60s")


def the_store_is_read_but_not_written():
    """Root on the host, over <data-dir>/store.sock."""
    def store(*arguments):
        return subprocess.run([node.binary, "store", *arguments, "--data-dir", node.dir + "/data"], capture_output=True, text=True, timeout=60)

    expect(store("get", "--prefix", "/registry/core/namespaces/", "--keys-only").stdout, "/registry/core/namespaces/kube-system\n")
    expect(store("status").stdout, "(monopod)", "bytes to disk for each acknowledged KiB")
    refused = store("put", "/registry/core/namespaces/x", "y")
    assert refused.returncode != 0
    expect(refused.stderr, "change objects with kubectl")
    backup = node.dir + "/backup.db.zst"
    expect(store("snapshot", "save", backup).stdout, "saved")
    assert subprocess.run([node.binary, "store", "snapshot", "status", backup], capture_output=True, timeout=60).returncode == 0


def deletion_leaves_nothing():
    k("create", "namespace", "gone")
    k("create", "deployment", "d", "--image=hello:1", "-n", "gone")
    k("delete", "namespace", "gone", "--timeout=60s")
    k("delete", "-f", EXAMPLE, "--timeout=60s")
    until("no pods", lambda: "No resources" in k("get", "pods", "-A", check=False).stderr, 60)
    until("nothing left", lambda: snapshot(node)["links"] == 0 and snapshot(node)["groups"] <= before["groups"], 20)


try:
    node.start()
    node.wait_ready()
    before = snapshot(node)  # groups that others left are not ours to judge
    node.load_busybox()
    for name, check in [("apply and rollout", apply_hello), ("outputs", outputs), ("service and DNS", service), ("logs and exec", logs_and_exec),
                        ("scale, restart, undo", rollout), ("ConfigMap update reaches the volume", config_update_reaches_the_volume), ("labels, cordon, taint", labels_and_taints),
                        ("init, sidecar, probes, volumes, env", pod_features), ("exit codes and reasons", exits_and_reasons), ("securityContext", security),
                        ("validation messages", validation_speaks_upstreams_words), ("resource quota", quota),
                        ("store.sock", the_store_is_read_but_not_written), ("deletion leaves nothing", deletion_leaves_nothing)]:
        checks.run(name, check)
finally:
    if checks.failed:
        print("--- server log\n" + node.log()[-4000:])
    node.stop()
sys.exit(checks.finish())
