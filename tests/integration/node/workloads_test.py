#!/usr/bin/env python3
"""StatefulSets, DaemonSets, Jobs, CronJobs and autoscalers as kubectl 1.35 drives them, against a whole node."""
import concurrent.futures
import json
import sys

from harness import Checks, Node, binary, kubectl, need_root, until

need_root()
node = Node(binary(), kubectl())
checks = Checks(sys.argv[1] if len(sys.argv) > 1 else None)
k = node.kubectl


def get(what, *arguments):
    return json.loads(k("get", what, "-o", "json", *arguments))


def names(what, selector):
    return sorted(item["metadata"]["name"] for item in get(what, "-l", selector)["items"])


def expect(text, *parts):
    for part in parts:
        assert part in text, f"{part!r} not in {text!r}"


def template(app, command="sleep 1000", policy="Always"):
    return {"metadata": {"labels": {"app": app}}, "spec": {"restartPolicy": policy, "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "c", "image": "hello:1", "imagePullPolicy": "Never", "command": ["sh", "-c", command]}]}}


def apply(kind, name, spec, group="apps/v1"):
    return k("apply", "-f", "-", stdin=json.dumps({"apiVersion": group, "kind": kind, "metadata": {"name": name}, "spec": spec}))


def stateful_set():
    k("create", "service", "clusterip", "web", "--clusterip=None", "--tcp=80")
    k("patch", "service", "web", "-p", '{"spec":{"selector":{"app":"web"}}}')
    apply("StatefulSet", "web", {"serviceName": "web", "replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": template("web")})
    expect(k("rollout", "status", "statefulset/web", "--timeout=30s"), "2 new pods have been updated")
    assert names("pods", "app=web") == ["web-0", "web-1"]
    expect(k("exec", "web-1", "--", "hostname"), "web-1")
    address = get("pod", "web-1")["status"]["podIP"]
    until("the pod's own name", lambda: address in k("exec", "web-0", "--", "nslookup", "web-1.web.default.svc.cluster.local"), 20)
    k("scale", "statefulset/web", "--replicas=1")
    until("the last one to go", lambda: names("pods", "app=web") == ["web-0"])
    k("rollout", "restart", "statefulset/web")
    k("rollout", "status", "statefulset/web", "--timeout=30s")
    expect(k("rollout", "history", "statefulset/web"), "REVISION", "1", "2")
    k("rollout", "undo", "statefulset/web")
    k("rollout", "status", "statefulset/web", "--timeout=30s")
    expect(k("rollout", "history", "statefulset/web"), "2", "3")
    assert "kubectl.kubernetes.io/restartedAt" not in json.dumps(get("pod", "web-0")["metadata"])
    expect(k("describe", "statefulset", "web"), "create Pod web-0 in StatefulSet web successful")
    k("delete", "statefulset", "web", "--timeout=30s")
    until("no pods", lambda: not names("pods", "app=web"))
    assert not names("controllerrevisions", "app=web")


def daemon_set():
    name = get("nodes")["items"][0]["metadata"]["name"]
    spec = {"selector": {"matchLabels": {"app": "d"}}, "template": template("d")}
    spec["template"]["spec"]["nodeSelector"] = {"colour": "blue"}
    apply("DaemonSet", "d", spec)
    until("no node wanted", lambda: get("ds", "d")["status"].get("observedGeneration") == 1 and get("ds", "d")["status"]["desiredNumberScheduled"] == 0)
    k("label", "node", name, "colour=blue")
    expect(k("rollout", "status", "ds/d", "--timeout=30s"), "successfully rolled out")
    first = names("pods", "app=d")
    assert len(first) == 1
    expect(k("get", "pods", "-l", "app=d", "-o", "wide"), name, "Running")
    k("patch", "ds", "d", "-p", '{"spec":{"template":{"metadata":{"annotations":{"a":"b"}}}}}')
    until("the update seen", lambda: get("ds", "d")["status"]["observedGeneration"] == 2)
    k("rollout", "status", "ds/d", "--timeout=30s")
    assert names("pods", "app=d") != first
    expect(k("rollout", "history", "ds/d"), "1", "2")
    expect(k("rollout", "undo", "ds/d"), "rolled back")
    k("rollout", "status", "ds/d", "--timeout=30s")
    k("cordon", name)  # which daemons do not mind
    k("delete", "pods", "-l", "app=d", "--timeout=30s")
    until("a new one", lambda: get("ds", "d")["status"]["numberReady"] == 1)
    k("uncordon", name)
    k("label", "node", name, "colour-")
    until("none", lambda: not names("pods", "app=d"))
    k("delete", "ds", "d", "--timeout=30s")


def job():
    apply("Job", "pi", {"completions": 3, "parallelism": 3, "completionMode": "Indexed", "template": template("pi", "echo index $JOB_COMPLETION_INDEX on $(hostname)", "Never")}, "batch/v1")
    k("wait", "--for=condition=Complete", "job/pi", "--timeout=30s")
    status = get("job", "pi")["status"]
    assert status["succeeded"] == 3 and status["completedIndexes"] == "0-2" and status["uncountedTerminatedPods"] == {}, status
    expect(k("logs", "-l", "batch.kubernetes.io/job-completion-index=2"), "index 2 on pi-2")
    expect(k("get", "job", "pi"), "Complete", "3/3")
    apply("Job", "bad", {"backoffLimit": 0, "template": template("bad", "exit 3", "Never")}, "batch/v1")
    k("wait", "--for=condition=Failed", "job/bad", "--timeout=30s")
    expect(k("describe", "job", "bad"), "BackoffLimitExceeded", "Job has reached the specified backoff limit")
    apply("Job", "codes", {"backoffLimit": 9, "podFailurePolicy": {"rules": [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}}]}, "template": template("codes", "exit 42", "Never")}, "batch/v1")
    k("wait", "--for=condition=Failed", "job/codes", "--timeout=30s")
    expect(k("get", "job", "codes", "-o", "jsonpath={.status.conditions[?(@.type=='Failed')].message}"), "failed with exit code 42 matching FailJob rule at index 0")
    apply("Job", "long", {"template": template("long", "sleep 1000", "Never")}, "batch/v1")
    until("it runs", lambda: get("job", "long")["status"].get("ready") == 1)
    k("patch", "job", "long", "-p", '{"spec":{"suspend":true}}')
    until("its pod to go", lambda: not names("pods", "app=long"))
    k("wait", "--for=condition=Suspended", "job/long", "--timeout=30s")
    k("delete", "job", "pi", "bad", "codes", "long", "--timeout=30s")
    until("no pods", lambda: not names("pods", "app in (pi,bad,codes,long)"))
    apply("Job", "brief", {"ttlSecondsAfterFinished": 0, "template": template("brief", "true", "Never")}, "batch/v1")
    until("it goes by itself", lambda: k("get", "job", "brief", check=False).returncode != 0)


def cron_job():
    apply("CronJob", "tick", {"schedule": "@every 1s", "timeZone": "Etc/UTC", "concurrencyPolicy": "Forbid", "successfulJobsHistoryLimit": 100, "jobTemplate": {"spec": {"template": template("tick", "true", "Never")}}}, "batch/v1")
    until("a success", lambda: get("cronjob", "tick")["status"].get("lastSuccessfulTime"), 60)
    k("patch", "cronjob", "tick", "-p", '{"spec":{"suspend":true}}')
    expect(k("get", "cronjob", "tick"), "@every 1s", "True")
    k("create", "job", "by-hand", "--from=cronjob/tick")
    k("wait", "--for=condition=Complete", "job/by-hand", "--timeout=30s")
    expect(k("describe", "cronjob", "tick"), "Created job tick-")
    k("delete", "cronjob", "tick", "--timeout=30s")
    until("its jobs to go", lambda: not [j for j in get("jobs")["items"] if j["metadata"]["name"].startswith(("tick", "by-hand"))])


def budget():
    """What a drain asks of pods that a StatefulSet owns."""
    apply("StatefulSet", "kept", {"serviceName": "kept", "replicas": 2, "podManagementPolicy": "Parallel", "selector": {"matchLabels": {"app": "kept"}}, "template": template("kept")})
    k("create", "pdb", "kept", "--selector=app=kept", "--max-unavailable=0")
    k("rollout", "status", "statefulset/kept", "--timeout=30s")
    until("it is counted", lambda: get("pdb", "kept")["status"]["currentHealthy"] == 2 and get("pdb", "kept")["status"]["expectedPods"] == 2)
    status, body = node.request("POST", "/api/v1/namespaces/default/pods/kept-0/eviction", {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "kept-0"}})
    assert status == 429, body
    k("delete", "pdb/kept", "statefulset/kept", "--timeout=30s")
    until("no pods", lambda: not names("pods", "app=kept"))


def autoscaler():
    """By memory, which needs no warm-up: every pod holds more than a kilobyte."""
    apply("Deployment", "grown", {"replicas": 1, "selector": {"matchLabels": {"app": "grown"}}, "template": template("grown")})
    k("rollout", "status", "deployment/grown", "--timeout=30s")
    metric = {"type": "Resource", "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Ki"}}}
    apply("HorizontalPodAutoscaler", "grown", {"minReplicas": 1, "maxReplicas": 2, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "grown"}, "metrics": [metric]}, "autoscaling/v2")
    until("it grows", lambda: get("deployment", "grown")["status"].get("readyReplicas") == 2, 60)
    expect(k("get", "hpa", "grown"), "Deployment/grown", "memory: ", "/1Ki")
    expect(k("describe", "hpa", "grown"), "ScalingActive", "ValidMetricFound", "New size: 2; reason: memory resource above target")
    k("autoscale", "deployment/grown", "--name=by-hand", "--min=1", "--max=3", "--cpu=50%")
    expect(k("get", "hpa", "by-hand"), "cpu: <unknown>/50%")
    k("delete", "hpa/grown", "hpa/by-hand", "deployment/grown", "--timeout=30s")


try:
    node.start()
    node.wait_ready()
    node.load_busybox()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        list(pool.map(lambda pair: checks.run(*pair), [("StatefulSet", stateful_set), ("Job", job), ("CronJob", cron_job), ("disruption budget", budget), ("HorizontalPodAutoscaler", autoscaler)]))
    checks.run("DaemonSet", daemon_set)  # cordons the node
finally:
    if checks.failed:
        print("--- server log\n" + node.log()[-4000:])
    node.stop()
sys.exit(checks.finish())
