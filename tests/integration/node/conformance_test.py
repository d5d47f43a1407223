#!/usr/bin/env python3
"""What the public conformance specs ask of the API, against a whole node: every kind through the same life, then what single specs look at.

One row of KINDS is one kind: the objects of a spec, and what its status subresource is given. A third of them, spread over the groups, in `make test`;
all with MONOPOD_LONG=1. Source: test/conformance/testdata/conformance.yaml of kubernetes/kubernetes 1.35 (the specs' names and facts)."""
import http.client
import json
import os
import sys
import threading

from harness import Checks, Node, binary, kubectl, need_root, until

MERGE, STRATEGIC, JSON_PATCH = "application/merge-patch+json", "application/strategic-merge-patch+json", "application/json-patch+json"
NS = "conformance"
CONTAINERS = [{"name": "c", "image": "hello:1", "imagePullPolicy": "Never", "command": ["sleep", "1000"]}]
NOWHERE = {"containers": CONTAINERS, "terminationGracePeriodSeconds": 0, "nodeSelector": {"no": "where"}}
TEMPLATE = {"metadata": {"labels": {"a": "b"}}, "spec": NOWHERE}
SELECTOR = {"matchLabels": {"a": "b"}}
JOB = {"template": {"spec": dict(NOWHERE, restartPolicy="Never")}}
SAID = {"conditions": [{"type": "Said", "status": "True", "reason": "Test", "message": "m"}]}
WHEN = {"conditions": [{"type": "Said", "status": "True", "reason": "Test", "message": "m", "lastTransitionTime": "2024-01-01T00:00:00Z"}]}

# (group/version, plural, kind, namespaced, body, status or None)
KINDS = [
    ("v1", "configmaps", "ConfigMap", True, {"data": {"a": "b"}}, None),
    ("v1", "pods", "Pod", True, {"spec": NOWHERE}, {"conditions": [{"type": "Said", "status": "True"}]}),
    ("v1", "services", "Service", True, {"spec": {"ports": [{"port": 80}]}}, {"loadBalancer": {"ingress": [{"ip": "203.0.113.1"}]}}),
    ("v1", "secrets", "Secret", True, {"data": {"a": "YQ=="}}, None),
    ("v1", "endpoints", "Endpoints", True, {"subsets": [{"addresses": [{"ip": "10.0.0.24"}], "ports": [{"port": 80}]}]}, None),
    ("v1", "events", "Event", True, {"involvedObject": {"kind": "Pod", "name": "x", "namespace": NS}, "reason": "R", "message": "m", "type": "Normal"}, None),
    ("v1", "limitranges", "LimitRange", True, {"spec": {"limits": [{"type": "PersistentVolumeClaim", "min": {"storage": "1Mi"}}]}}, None),
    ("v1", "persistentvolumeclaims", "PersistentVolumeClaim", True, {"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "storageClassName": "none"}}, SAID),
    ("v1", "podtemplates", "PodTemplate", True, {"template": TEMPLATE}, None),
    ("v1", "replicationcontrollers", "ReplicationController", True, {"spec": {"replicas": 0, "selector": {"a": "b"}, "template": TEMPLATE}}, SAID),
    ("v1", "resourcequotas", "ResourceQuota", True, {"spec": {"hard": {"count/foo.bar": "5"}}}, {"hard": {"count/foo.bar": "7"}}),
    ("v1", "serviceaccounts", "ServiceAccount", True, {}, None),
    ("v1", "persistentvolumes", "PersistentVolume", False, {"spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/tmp/x"}}}, {"message": "m", "reason": "r"}),
    ("v1", "nodes", "Node", False, {}, SAID),
    ("apps/v1", "deployments", "Deployment", True, {"spec": {"replicas": 0, "selector": SELECTOR, "template": TEMPLATE}}, SAID),
    ("apps/v1", "replicasets", "ReplicaSet", True, {"spec": {"replicas": 0, "selector": SELECTOR, "template": TEMPLATE}}, SAID),
    ("apps/v1", "statefulsets", "StatefulSet", True, {"spec": {"replicas": 0, "serviceName": "x", "selector": SELECTOR, "template": TEMPLATE}}, dict(SAID, replicas=0)),
    ("apps/v1", "daemonsets", "DaemonSet", True, {"spec": {"selector": SELECTOR, "template": TEMPLATE}}, SAID),
    ("apps/v1", "controllerrevisions", "ControllerRevision", True, {"revision": 1, "data": {"x": 1}}, None),
    ("batch/v1", "jobs", "Job", True, {"spec": dict(JOB, suspend=True)}, {"startTime": "2024-01-01T00:00:00Z"}),
    ("batch/v1", "cronjobs", "CronJob", True, {"spec": {"schedule": "* */1 * * ?", "suspend": True, "jobTemplate": {"spec": JOB}}}, {"lastScheduleTime": "2024-01-01T00:00:00Z"}),
    ("autoscaling/v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler", True, {"spec": {"maxReplicas": 3, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "none"}}},
     {"currentReplicas": 1, "desiredReplicas": 1}),
    ("policy/v1", "poddisruptionbudgets", "PodDisruptionBudget", True, {"spec": {"minAvailable": 1, "selector": {"matchLabels": {"p": "d"}}}}, {"disruptedPods": {"x": "2024-01-01T00:00:00Z"}}),
    ("networking.k8s.io/v1", "ingresses", "Ingress", True, {"spec": {"defaultBackend": {"service": {"name": "d", "port": {"number": 80}}}}}, {"loadBalancer": {"ingress": [{"ip": "169.1.1.1"}]}}),
    ("networking.k8s.io/v1", "ingressclasses", "IngressClass", False, {"spec": {"controller": "example.com/c"}}, None),
    ("networking.k8s.io/v1", "networkpolicies", "NetworkPolicy", True, {"spec": {"podSelector": {}}}, None),
    ("networking.k8s.io/v1", "ipaddresses", "IPAddress", False, {"spec": {"parentRef": {"resource": "services", "name": "x", "namespace": "y"}}}, None),
    ("networking.k8s.io/v1", "servicecidrs", "ServiceCIDR", False, {"spec": {"cidrs": ["10.123.0.0/24"]}}, WHEN),
    ("discovery.k8s.io/v1", "endpointslices", "EndpointSlice", True, {"addressType": "IPv4", "endpoints": [], "ports": []}, None),
    ("events.k8s.io/v1", "events", "Event", True, {"regarding": {"kind": "Pod", "name": "x", "namespace": NS}, "reason": "R", "note": "m", "type": "Normal", "action": "Do", "reportingController": "c",
                                                   "reportingInstance": "i", "eventTime": "2024-01-01T00:00:00.123456Z"}, None),
    ("rbac.authorization.k8s.io/v1", "roles", "Role", True, {"rules": []}, None),
    ("rbac.authorization.k8s.io/v1", "clusterroles", "ClusterRole", False, {"rules": []}, None),
    ("coordination.k8s.io/v1", "leases", "Lease", True, {"spec": {"holderIdentity": "me", "leaseDurationSeconds": 30}}, None),
    ("node.k8s.io/v1", "runtimeclasses", "RuntimeClass", False, {"handler": "zz"}, None),
    ("scheduling.k8s.io/v1", "priorityclasses", "PriorityClass", False, {"value": 100}, None),
    ("storage.k8s.io/v1", "storageclasses", "StorageClass", False, {"provisioner": "example.com/x"}, None),
    ("storage.k8s.io/v1", "csidrivers", "CSIDriver", False, {"spec": {}}, None),
    ("storage.k8s.io/v1", "csinodes", "CSINode", False, {"spec": {"drivers": []}}, None),
    ("storage.k8s.io/v1", "volumeattachments", "VolumeAttachment", False, {"spec": {"attacher": "x", "nodeName": "n", "source": {"persistentVolumeName": "p"}}}, {"attached": True}),
    ("storage.k8s.io/v1", "csistoragecapacities", "CSIStorageCapacity", True, {"storageClassName": "x"}, None),
    ("storage.k8s.io/v1", "volumeattributesclasses", "VolumeAttributesClass", False, {"driverName": "x", "parameters": {"a": "b"}}, None),
    ("flowcontrol.apiserver.k8s.io/v1", "flowschemas", "FlowSchema", False, {"spec": {"matchingPrecedence": 9999, "priorityLevelConfiguration": {"name": "global-default"}}}, SAID),
    ("flowcontrol.apiserver.k8s.io/v1", "prioritylevelconfigurations", "PriorityLevelConfiguration", False,
     {"spec": {"type": "Limited", "limited": {"nominalConcurrencyShares": 2, "limitResponse": {"type": "Reject"}}}}, SAID),
    ("admissionregistration.k8s.io/v1", "validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding", False, {"spec": {"policyName": "x", "validationActions": ["Deny"]}}, None),
    ("admissionregistration.k8s.io/v1", "validatingwebhookconfigurations", "ValidatingWebhookConfiguration", False, {"webhooks": []}, None),
    ("apiregistration.k8s.io/v1", "apiservices", "APIService", False,
     {"spec": {"group": "zz.example.com", "version": "v1", "groupPriorityMinimum": 2000, "versionPriority": 200, "service": {"name": "x", "namespace": "default"}}}, SAID),
    ("resource.k8s.io/v1", "deviceclasses", "DeviceClass", False, {"spec": {}}, None),
]
NAMES = {"ipaddresses": "10.99.0.7", "apiservices": "v1.zz.example.com"}


class Api:
    """One connection for each thread; every answer is checked for its code."""

    def __init__(self, node):
        self.node, self.local = node, threading.local()

    def __call__(self, method, path, body=None, content_type="application/json", code=None):
        for last in (False, True):
            if getattr(self.local, "connection", None) is None:
                self.local.connection = self.node.connection(timeout=30)
            try:
                status, answer = self.node.request(method, path, body, self.local.connection, content_type)
                break
            except (OSError, http.client.HTTPException):
                self.local.connection = None
                if last or method != "GET":
                    raise
        wanted = (code,) if code else (200, 201, 202)
        assert status in wanted, (method, path, status, answer)
        return answer

    def watch(self, path):
        connection = self.node.connection(timeout=20)
        connection.request("GET", path + ("&" if "?" in path else "?") + "watch=true", headers={"accept": "application/json"})
        answer = connection.getresponse()
        assert answer.status == 200, (path, answer.status)
        return answer


def await_event(watch, wanted, condition=lambda o: True):
    while True:
        line = watch.readline()
        assert line, f"the watch ended before {wanted}"
        event = json.loads(line)
        if event["type"] == wanted and condition(event["object"]):
            return event["object"]


def annotation(key):
    return lambda o: key in o["metadata"].get("annotations", {})


def rewritten(api, path, change):
    """PUT of what was read, again where somebody wrote in between."""
    for _ in range(20):
        o = api("GET", path)
        change(o)
        status, answer = api.node.request("PUT", path, o, api.local.connection)
        if status != 409:
            assert status == 200, (path, status, answer)
            return answer
    raise AssertionError(f"{path}: 20 conflicts")


def life(api, number, row):
    """Discovery, create, get, list in all namespaces, watch, three ways to change, the status subresource, conflicts in upstream's words, deletecollection."""
    group_version, plural, kind, namespaced, body, status = row
    group = group_version.rpartition("/")[0]
    root = ("/apis/" if group else "/api/") + group_version
    base = root + (f"/namespaces/{NS}" if namespaced else "") + "/" + plural
    name, mine = NAMES.get(plural, f"life-{number}"), f"labelSelector=life%3D{number}"
    one, qualified = f"{base}/{name}", plural + ("." + group if group else "")
    served = {r["name"]: r["verbs"] for r in api("GET", root)["resources"]}
    assert set(served[plural]) >= {"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"}, served[plural]
    assert (plural + "/status" in served) >= (status is not None), served.keys()
    watch = api.watch(f"{base}?{mine}")
    sent = dict({"apiVersion": group_version, "kind": kind, "metadata": {"name": name, "labels": {"life": str(number)}}}, **body)
    uid = api("POST", base, sent, code=201)["metadata"]["uid"]
    twice = api("POST", base, sent, code=409)
    assert (twice["reason"], twice["message"]) == ("AlreadyExists", f'{qualified} "{name}" already exists'), twice
    assert await_event(watch, "ADDED")["metadata"]["uid"] == uid
    listed = api("GET", f"{root}/{plural}?{mine}")
    assert listed["kind"] == kind + "List" and [o["metadata"]["name"] for o in listed["items"]] == [name], listed
    for content_type, key in ((MERGE, "merged"), (STRATEGIC, "strategic")):
        api("PATCH", one, {"metadata": {"annotations": {key: "yes"}}}, content_type)
    await_event(watch, "MODIFIED", annotation("strategic"))
    rewritten(api, one, lambda o: o["metadata"]["annotations"].update(updated="yes"))
    await_event(watch, "MODIFIED", annotation("updated"))
    if status is not None:
        patched = api("PATCH", one + "/status", {"metadata": {"annotations": {"status": "patched"}}, "status": status}, MERGE)
        assert all(member in patched["status"] for member in status) and annotation("status")(patched), patched
        assert api("GET", one + "/status")["kind"] == kind

        def add(o):
            o["metadata"]["annotations"]["put"] = "yes"
            if "conditions" in status:
                o["status"].setdefault("conditions", []).append(dict(WHEN["conditions"][0], type="Added"))
        put = rewritten(api, one + "/status", add)
        assert "conditions" not in status or any(c["type"] == "Added" for c in put["status"]["conditions"]), put
        api("PATCH", one + "/status", [{"op": "add", "path": "/metadata/annotations/json", "value": "1"}], JSON_PATCH)
    stale = api("GET", one)
    stale["metadata"]["resourceVersion"] = "1"
    refused = api("PUT", one, stale, code=409)
    assert refused["message"] == f'Operation cannot be fulfilled on {qualified} "{name}": the object has been modified; please apply your changes to the latest version and try again', refused
    api("DELETE", one + "?dryRun=All")
    api("DELETE", one, {"preconditions": {"uid": "another"}}, code=409)
    api("DELETE", f"{base}?{mine}")
    await_event(watch, "DELETED")
    watch.close()
    missing = api("GET", one, code=404)
    assert (missing["reason"], missing["message"]) == ("NotFound", f'{qualified} "{name}" not found'), missing


def items_of(api, path):
    return api("GET", path)["items"]


def replication(api):
    """ReplicationController: pods that run, scale, adoption's opposite, background deletion."""
    base, pods = f"/api/v1/namespaces/{NS}/replicationcontrollers", f"/api/v1/namespaces/{NS}/pods?labelSelector=rc%3Dyes"
    template = {"metadata": {"labels": {"rc": "yes"}}, "spec": {"containers": CONTAINERS, "terminationGracePeriodSeconds": 0}}
    api("POST", base, {"metadata": {"name": "rc"}, "spec": {"replicas": 1, "template": template}})
    until("its pod runs", lambda: api("GET", base + "/rc")["status"].get("readyReplicas") == 1)
    scale = api("GET", base + "/rc/scale")
    scale["spec"]["replicas"] = 2
    api("PUT", base + "/rc/scale", scale)
    until("scaled", lambda: len(items_of(api, pods)) == 2)
    api("DELETE", base + "/rc", {"propagationPolicy": "Background"})
    until("collected", lambda: not items_of(api, pods))


def traffic(api):
    """EndpointSliceMirroring, and a service that becomes another type."""
    base, slices = f"/api/v1/namespaces/{NS}", f"/apis/discovery.k8s.io/v1/namespaces/{NS}/endpointslices?labelSelector=kubernetes.io/service-name%3Dmirror"
    api("POST", base + "/services", {"metadata": {"name": "mirror"}, "spec": {"ports": [{"port": 80, "targetPort": 3500}]}})
    api("POST", base + "/endpoints", {"metadata": {"name": "mirror"}, "subsets": [{"addresses": [{"ip": "10.1.2.3"}], "ports": [{"port": 80}]}]})
    until("mirrored", lambda: items_of(api, slices)[0]["endpoints"][0]["addresses"] == ["10.1.2.3"])
    api("DELETE", base + "/endpoints/mirror")
    until("no longer", lambda: not items_of(api, slices))
    for kind in ("NodePort", "ExternalName", "ClusterIP"):
        o = api("GET", base + "/services/mirror")
        o["spec"].update(type=kind, externalName="foo.example.com" if kind == "ExternalName" else "")
        spec = api("PUT", base + "/services/mirror", o)["spec"]
        assert (kind == "ExternalName") == ("clusterIP" not in spec) and (kind == "NodePort") == ("nodePort" in spec["ports"][0]), spec


def tokens(api):
    """ServiceAccounts: opting out of the token, and a secret that holds one."""
    base = f"/api/v1/namespaces/{NS}"
    for mounts in (True, False):
        api("POST", base + "/serviceaccounts", {"metadata": {"name": f"mount-{mounts}".lower()}, "automountServiceAccountToken": mounts})
        for wish in (None, True, False):
            spec = dict(NOWHERE, serviceAccountName=f"mount-{mounts}".lower(), **({} if wish is None else {"automountServiceAccountToken": wish}))
            pod = api("POST", base + "/pods", {"metadata": {"generateName": "token-"}, "spec": spec})
            paths = [m["mountPath"] for m in pod["spec"]["containers"][0].get("volumeMounts", [])]
            assert ("/var/run/secrets/kubernetes.io/serviceaccount" in paths) == (mounts if wish is None else wish), (mounts, wish, paths)
    api("POST", base + "/secrets", {"metadata": {"name": "token", "annotations": {"kubernetes.io/service-account.name": "default"}}, "type": "kubernetes.io/service-account-token"})
    until("the secret is filled", lambda: {"token", "ca.crt", "namespace"} <= set(api("GET", base + "/secrets/token").get("data", {})))


def ending(api):
    """Namespace: what holds up its deletion is said, and it goes once that is gone."""
    api("POST", "/api/v1/namespaces", {"metadata": {"name": "ending"}})
    api("POST", "/api/v1/namespaces/ending/configmaps", {"metadata": {"name": "held", "finalizers": ["example.com/hold"]}})
    assert api("DELETE", "/api/v1/namespaces/ending")["status"]["phase"] == "Terminating"
    late = api("POST", "/api/v1/namespaces/ending/configmaps", {"metadata": {"name": "late"}}, code=403)
    assert late["details"]["causes"][0]["reason"] == "NamespaceTerminating", late
    until("it says so", lambda: any(c["type"] == "NamespaceFinalizersRemaining" and c["status"] == "True" for c in api("GET", "/api/v1/namespaces/ending")["status"].get("conditions", [])))
    api("PATCH", "/api/v1/namespaces/ending/configmaps/held", {"metadata": {"finalizers": None}}, MERGE)
    until("gone", lambda: api.node.request("GET", "/api/v1/namespaces/ending", connection=api.local.connection)[0] == 404)


def main():
    need_root()
    node, checks = Node(binary(), kubectl()), Checks()
    try:
        node.start()
        node.wait_ready()
        node.load_busybox()
        api = Api(node)
        api("POST", "/api/v1/namespaces", {"metadata": {"name": NS}})
        until("its account", lambda: api("GET", f"/api/v1/namespaces/{NS}/serviceaccounts/default"))
        step = 1 if os.environ.get("MONOPOD_LONG") == "1" else 3
        for number, row in list(enumerate(KINDS))[::step]:
            checks.run(f"{row[0]} {row[1]}", lambda n=number, r=row: life(api, n, r))
        for spec in (replication, traffic, tokens, ending):
            checks.run(spec.__doc__.split(":")[0], lambda s=spec: s(api))
    finally:
        node.stop()
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
