"""For tests that run many pods on one node: cases declare their pods, all are created at once, then every case looks at its own."""
import glob
import json
import os
import threading
import time
import urllib.parse

from harness import snapshot, until

IMAGE = "hello:1"
PODS = "/api/v1/namespaces/default/pods"
CASES = []  # (name, function, objects)
UIDS = set()  # of every pod that was made here


def container(name="c", command=None, script=None, **more):
    """One container of the test image; script is run by its shell."""
    out = {"name": name, "image": IMAGE, "imagePullPolicy": "Never", "command": command or ["sh", "-c", script or "sleep 1000"]}
    out.update(more)
    return out


def pod(name, *containers, labels=None, annotations=None, **spec):
    spec.setdefault("terminationGracePeriodSeconds", 0)
    spec.setdefault("restartPolicy", "Never")
    metadata = {"name": name, "namespace": "default"}
    if labels:
        metadata["labels"] = labels
    if annotations:
        metadata["annotations"] = annotations
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": list(containers) or [container()], **spec}}


def config_map(name, **data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}, "data": data}


def secret(name, **data):
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "default"}, "stringData": data}


def case(name, *objects):
    """Declares a case: objects are created before any case runs; the function gets the cluster."""
    def register(function):
        CASES.append((name, function, objects))
        return function
    return register


PLURALS = {"Pod": "pods", "ConfigMap": "configmaps", "Secret": "secrets", "Service": "services"}


class Cluster:
    """The API of a node, by one connection for each thread."""

    def __init__(self, node):
        self.node = node
        self.local = threading.local()

    def request(self, method, path, body=None, content_type="application/json"):
        for last in (False, True):
            if getattr(self.local, "connection", None) is None:
                self.local.connection = self.node.connection(timeout=30)
            try:
                return self.node.request(method, path, body, self.local.connection, content_type)
            except OSError:
                self.local.connection = None
                if last or method != "GET":
                    raise
        return None

    def create(self, object_, expect=(201,)):
        status, answer = self.request("POST", f"/api/v1/namespaces/default/{PLURALS[object_['kind']]}", object_)
        assert status in expect, (status, answer)
        if object_["kind"] == "Pod" and status == 201:
            UIDS.add(answer["metadata"]["uid"])
        return answer

    def pod(self, name):
        status, answer = self.request("GET", f"{PODS}/{name}")
        assert status == 200, (status, answer)
        return answer

    def status(self, name, container_name=None):
        """Status of the pod, or of one of its containers."""
        status = self.pod(name)["status"]
        if container_name is None:
            return status
        for group in ("initContainerStatuses", "containerStatuses"):
            for one in status.get(group, []):
                if one["name"] == container_name:
                    return one
        raise KeyError(container_name)

    def patch(self, name, body):
        status, answer = self.request("PATCH", f"{PODS}/{name}", body, "application/merge-patch+json")
        assert status == 200, (status, answer)

    def delete(self, name, grace=None):
        query = "" if grace is None else f"?gracePeriodSeconds={grace}"
        status, answer = self.request("DELETE", f"{PODS}/{name}{query}")
        assert status in (200, 202), (status, answer)

    def wait(self, name, what, condition, seconds=40):
        """Until condition(pod) holds; the pod as it then is."""
        seen = {}

        def look():
            seen["pod"] = self.pod(name)
            return condition(seen["pod"])
        try:
            until(f"{name}: {what}", look, seconds)
        except AssertionError as e:
            raise AssertionError(f"{e}\n{json.dumps(seen.get('pod', {}).get('status'), indent=1)}\n{self.events(name)}") from e
        return seen["pod"]

    def ready(self, name, seconds=40):
        return self.wait(name, "Ready", lambda p: condition_of(p, "Ready") == "True", seconds)

    def phase(self, name, phase, seconds=40):
        return self.wait(name, phase, lambda p: p["status"].get("phase") == phase, seconds)

    def ended(self, name, container_name="c", seconds=40):
        """The terminated state of the container's present or last attempt."""
        def look(_):
            state = self.status(name, container_name)
            return state["state"].get("terminated") or state["lastState"].get("terminated")
        self.wait(name, f"{container_name} ended", look, seconds)
        return look(None)

    def gone(self, name, seconds=40):
        until(f"{name} gone", lambda: self.request("GET", f"{PODS}/{name}")[0] == 404, seconds)

    def logs(self, name, container_name=None, expect=200, **query):
        if container_name:
            query["container"] = container_name
        status, text = self.request("GET", f"{PODS}/{name}/log?" + urllib.parse.urlencode(query))
        assert status == expect, (status, text)
        return text if isinstance(text, str) else text.get("message", "")

    def output(self, name, container_name=None, seconds=40):
        """The log of a pod that runs to its end."""
        pod_now = self.wait(name, "ended", lambda p: p["status"].get("phase") in ("Succeeded", "Failed"), seconds)
        text = self.logs(name, container_name)
        assert pod_now["status"]["phase"] == "Succeeded", (pod_now["status"], text)
        return text

    def events(self, name):
        _, answer = self.request("GET", "/api/v1/namespaces/default/events?" + urllib.parse.urlencode({"fieldSelector": f"involvedObject.name={name}"}))
        return [f"{e['type']} {e['reason']}: {e['message']}" for e in answer["items"]]

    def wait_event(self, name, text, seconds=40):
        try:
            until(f"event {text!r} of {name}", lambda: any(text in e for e in self.events(name)), seconds)
        except AssertionError as e:
            raise AssertionError(f"{e}; there are {self.events(name)}") from e

    def exec(self, name, *command, container_name=None, check=True, stdin=None):
        chosen = ["-c", container_name] if container_name else []
        return self.node.kubectl("exec", *(["-i"] if stdin is not None else []), name, *chosen, "--", *command, check=check, stdin=stdin)


def condition_of(pod_object, type_):
    for c in pod_object["status"].get("conditions", []):
        if c["type"] == type_:
            return c["status"]
    return None


def expect(text, *parts):
    for part in parts:
        assert part in text, f"{part!r} not in {text!r}"


def left_behind(node, before):
    """What our pods left: links, mounts and control groups. Other nodes of this machine share the control groups' root."""
    now = snapshot(node)
    groups = [d for top in glob.glob("/sys/fs/cgroup/**/pods", recursive=True) for d, _, _ in os.walk(top) if any(uid in d for uid in UIDS)]
    return {k: (before[k], now[k]) for k in ("links", "mounts") if now[k] != before[k]} | ({"groups": groups} if groups else {})


def run_cases(node, checks, workers=6):
    """Creates every object of every case, then runs the cases side by side."""
    cluster = Cluster(node)
    begin = time.monotonic()
    for _, _, objects in CASES:
        for object_ in sorted(objects, key=lambda o: o["kind"] == "Pod"):
            cluster.create(object_)
    print(f"     {sum(o['kind'] == 'Pod' for _, _, os in CASES for o in os)} pods created in {time.monotonic() - begin:.2f} s", flush=True)
    waiting = list(CASES)
    lock = threading.Lock()

    def work():
        while True:
            with lock:
                if not waiting:
                    return
                name, function, _ = waiting.pop(0)
            checks.run(name, lambda: function(Cluster(node)))
    threads = [threading.Thread(target=work) for _ in range(workers)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
