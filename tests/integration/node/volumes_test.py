#!/usr/bin/env python3
"""PersistentVolumes as kubectl 1.35 uses them, against a whole node: volumes that are made on demand, by hand, and those that nobody makes."""
import concurrent.futures
import json
import os
import sys

from harness import Checks, Node, binary, kubectl, need_root, until

need_root()
node = Node(binary(), kubectl())
checks = Checks(sys.argv[1] if len(sys.argv) > 1 else None)
k = node.kubectl
volumes = os.path.join(node.dir, "data", "volumes")


def get(what, *arguments):
    return json.loads(k("get", what, "-o", "json", *arguments))


def expect(text, *parts):
    for part in parts:
        assert part in text, f"{part!r} not in {text!r}"


def apply(kind, name, spec, version="v1", **members):
    return k("apply", "-f", "-", stdin=json.dumps({"apiVersion": version, "kind": kind, "metadata": {"name": name}, **({"spec": spec} if spec else {}), **members}))


def claim_spec(size="1Gi", **spec):
    return {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}, **spec}


def pod_spec(command, **volumes_by_name):
    return {"terminationGracePeriodSeconds": 0, "volumes": [{"name": name, **source} for name, source in volumes_by_name.items()],
            "containers": [{"name": "c", "image": "hello:1", "imagePullPolicy": "Never", "command": ["sh", "-c", command + "; sleep 1000"],
                            "volumeMounts": [{"name": name, "mountPath": "/" + name} for name in volumes_by_name]}]}


def of_claim(name, **more):
    return {"persistentVolumeClaim": {"claimName": name, **more}}


def running(pod):
    k("wait", "--for=condition=Ready", "pod/" + pod, "--timeout=30s")


def phase(what, name):
    return get(what, name)["status"]["phase"]


def directories():
    return sorted(d for d in os.listdir(volumes) if d != ".removed") if os.path.isdir(volumes) else []


def default_class():
    expect(k("get", "storageclass"), "local-path (default)", "monopod.io/local-path", "Delete", "WaitForFirstConsumer", "true")


def set_spec(name):
    mounts = [{"name": "data", "mountPath": "/data"}]
    return {"serviceName": name, "replicas": 1, "selector": {"matchLabels": {"app": name}}, "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": claim_spec("64Mi")}],
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"terminationGracePeriodSeconds": 0, "containers": [
                {"name": "c", "image": "hello:1", "imagePullPolicy": "Never", "command": ["sh", "-c", "echo life >> /data/lives; sleep 1000"], "volumeMounts": mounts}]}}}


def lives(name):
    return len(k("exec", name + "-0", "--", "cat", "/data/lives").splitlines())


def stateful_set():
    """Data outlives the pod; the restart of the node is looked at afterwards."""
    apply("StatefulSet", "db", set_spec("db"), "apps/v1")
    k("rollout", "status", "statefulset/db", "--timeout=30s")
    claim = get("pvc", "data-db-0")
    volume = get("pv", claim["spec"]["volumeName"])
    assert claim["status"] == {"phase": "Bound", "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "64Mi"}}, claim["status"]
    notes = claim["metadata"]["annotations"]
    assert notes["pv.kubernetes.io/bind-completed"] == notes["pv.kubernetes.io/bound-by-controller"] == "yes", notes
    assert notes["volume.kubernetes.io/storage-provisioner"] == "monopod.io/local-path" and notes["volume.kubernetes.io/selected-node"] == get("nodes")["items"][0]["metadata"]["name"], notes
    assert volume["metadata"]["name"] == "pvc-" + claim["metadata"]["uid"] and volume["status"]["phase"] == "Bound", volume
    assert volume["metadata"]["annotations"]["pv.kubernetes.io/provisioned-by"] == "monopod.io/local-path"
    expect(k("get", "pv", volume["metadata"]["name"]), "64Mi", "RWO", "Delete", "Bound", "default/data-db-0", "local-path")
    expect(k("get", "pvc", "data-db-0"), "Bound", volume["metadata"]["name"], "64Mi", "RWO", "local-path")
    expect(k("describe", "pvc", "data-db-0"), "ProvisioningSucceeded", "Successfully provisioned volume", "Used By:       db-0")
    k("delete", "pod", "db-0", "--timeout=30s")
    k("rollout", "status", "statefulset/db", "--timeout=30s")
    until("a second life", lambda: lives("db") == 2)


def after_restart():
    until("a third life", lambda: lives("db") == 3)
    name = get("pvc", "data-db-0")["spec"]["volumeName"]
    k("delete", "statefulset", "db", "--timeout=30s")
    assert phase("pvc", "data-db-0") == "Bound" and os.path.exists(os.path.join(volumes, name, "lives"))
    k("delete", "pvc", "data-db-0", "--timeout=30s")
    until("the volume to go", lambda: k("get", "pv", name, check=False).returncode != 0)
    assert name not in directories()
    assert k("get", "storageclass", "local-path", check=False).returncode != 0, "what a user deleted stays deleted"


def on_demand():
    """One claim in the life of its volume: waiting, bound to where its pod runs, larger, kept while used, gone."""
    apply("PersistentVolumeClaim", "mine", claim_spec("10Mi"))
    until("it waits", lambda: "waiting for first consumer to be created before binding" in k("describe", "pvc", "mine"))
    assert phase("pvc", "mine") == "Pending"
    spec = pod_spec("id -G; echo one > /v/sub/file", v=of_claim("mine"))
    spec["securityContext"] = {"fsGroup": 1234, "runAsUser": 1000}
    spec["containers"][0]["volumeMounts"] = [{"name": "v", "mountPath": "/v"}, {"name": "v", "mountPath": "/v/sub", "subPath": "a/b"}]
    apply("Pod", "user", spec)
    running("user")
    name = get("pvc", "mine")["spec"]["volumeName"]
    top = os.path.join(volumes, name)
    until("the file", lambda: open(os.path.join(top, "a", "b", "file"), encoding="ascii").read() == "one\n")
    assert os.stat(top).st_gid == 1234 and os.stat(top).st_mode & 0o2777 == 0o2777, oct(os.stat(top).st_mode)
    k("patch", "pvc", "mine", "-p", '{"spec":{"resources":{"requests":{"storage":"20Mi"}}}}')
    until("it grows", lambda: get("pvc", "mine")["status"]["capacity"]["storage"] == "20Mi")
    assert get("pv", name)["spec"]["capacity"]["storage"] == "20Mi"
    expect(k("describe", "pvc", "mine"), "VolumeResizeSuccessful")
    p = k("patch", "pvc", "mine", "-p", '{"spec":{"resources":{"requests":{"storage":"5Mi"}}}}', check=False)
    expect(p.stderr, "field can not be less than status.capacity")
    k("delete", "pvc", "mine", "--wait=false")
    k("delete", "pv", name, "--wait=false")  # in either order
    expect(k("get", "pvc", "mine"), "Terminating")
    assert os.path.isdir(top)
    k("delete", "pod", "user", "--timeout=30s")
    until("both to go", lambda: k("get", "pvc", "mine", check=False).returncode != 0 and k("get", "pv", name, check=False).returncode != 0)
    until("the directory too", lambda: name not in directories())


def retain():
    """A class that keeps: the volume stays Released with its data, until somebody takes its claim away."""
    apply("StorageClass", "kept", None, "storage.k8s.io/v1", provisioner="monopod.io/local-path", reclaimPolicy="Retain", volumeBindingMode="Immediate")
    apply("PersistentVolumeClaim", "keep", claim_spec("1Mi", storageClassName="kept"))
    until("it is bound at once", lambda: phase("pvc", "keep") == "Bound")
    name = get("pvc", "keep")["spec"]["volumeName"]
    with open(os.path.join(volumes, name, "file"), "w", encoding="ascii") as f:
        f.write("kept\n")
    k("delete", "pvc", "keep", "--timeout=30s")
    until("it is released", lambda: phase("pv", name) == "Released")
    assert os.path.exists(os.path.join(volumes, name, "file"))
    k("patch", "pv", name, "--type=json", "-p", '[{"op":"remove","path":"/spec/claimRef"}]')
    until("it is free", lambda: phase("pv", name) == "Available")
    apply("PersistentVolumeClaim", "again", claim_spec("1Mi", storageClassName="kept"))
    until("it is taken again", lambda: get("pvc", "again")["spec"].get("volumeName") == name and phase("pvc", "again") == "Bound")
    apply("Pod", "reader", pod_spec("cat /v/file; touch /v/x || echo read-only", v=of_claim("again", readOnly=True)))
    running("reader")
    until("what it says", lambda: k("logs", "reader").startswith("kept\n") and "read-only" in k("logs", "reader"))
    k("delete", "pod/reader", "pvc/again", "--timeout=30s")
    k("delete", "pv", name, "--timeout=30s")
    assert name in directories(), "what is kept is kept also without its object"


def by_hand():
    """A local volume of this node, bound when its pod is placed; a second one is elsewhere."""
    where = os.path.join(node.dir, "disk")
    os.makedirs(where)
    apply("StorageClass", "hand", None, "storage.k8s.io/v1", provisioner="kubernetes.io/no-provisioner", volumeBindingMode="WaitForFirstConsumer")

    def volume(name, host, path):
        terms = [{"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [host]}]}]
        apply("PersistentVolume", name, {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "hand", "local": {"path": path}, "nodeAffinity": {"required": {"nodeSelectorTerms": terms}}})
    volume("elsewhere", "other", where)
    until("it is free", lambda: phase("pv", "elsewhere") == "Available")
    apply("PersistentVolumeClaim", "hand", claim_spec("1Gi", storageClassName="hand"))
    apply("Pod", "worker", pod_spec("echo here > /v/file", v=of_claim("hand")))
    until("nothing fits", lambda: "node(s) didn't find available persistent volumes to bind" in k("describe", "pod", "worker"))
    until("the claim says so", lambda: "waiting for pod worker to be scheduled" in k("describe", "pvc", "hand"))
    volume("here", get("nodes")["items"][0]["metadata"]["labels"]["kubernetes.io/hostname"], where)
    running("worker")
    assert get("pvc", "hand")["spec"]["volumeName"] == "here"
    until("the file", lambda: os.path.exists(os.path.join(where, "file")))
    k("delete", "pod/worker", "pvc/hand", "--timeout=30s")
    until("released", lambda: phase("pv", "here") == "Released")
    assert os.path.exists(os.path.join(where, "file"))
    k("delete", "pv", "here", "elsewhere", "--timeout=30s")


def host_path():
    """Volumes and claims that name each other, and what this node cannot mount."""
    where = os.path.join(node.dir, "shared")
    apply("PersistentVolume", "shared", {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteMany"], "claimRef": {"namespace": "default", "name": "shared"}, "hostPath": {"path": where, "type": "DirectoryOrCreate"}})
    apply("PersistentVolumeClaim", "shared", claim_spec("1Gi", storageClassName="", accessModes=["ReadWriteMany"]))
    apply("Pod", "sharer", pod_spec("echo one > /v/file", v=of_claim("shared")))
    running("sharer")
    until("the file", lambda: os.path.exists(os.path.join(where, "file")))
    apply("PersistentVolume", "net", {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteMany"], "nfs": {"server": "192.0.2.1", "path": "/"}})
    apply("PersistentVolumeClaim", "net", claim_spec("1Gi", storageClassName="", volumeName="net", accessModes=["ReadWriteMany"]))
    apply("Pod", "netter", pod_spec("true", v=of_claim("net")))
    until("it is refused", lambda: "nfs volumes are not supported by this node" in k("describe", "pod", "netter"))
    k("delete", "pod/sharer", "pod/netter", "pvc/shared", "pvc/net", "pv/shared", "pv/net", "--timeout=30s")


def ephemeral():
    spec = pod_spec("echo one > /v/file", v={"ephemeral": {"volumeClaimTemplate": {"metadata": {"labels": {"a": "b"}}, "spec": claim_spec("1Mi")}}})
    apply("Pod", "brief", spec)
    running("brief")
    claim = get("pvc", "brief-v")
    owner = claim["metadata"]["ownerReferences"][0]
    assert claim["metadata"]["labels"] == {"a": "b"} and owner["kind"] == "Pod" and owner["name"] == "brief", claim["metadata"]
    k("delete", "pod", "brief", "--timeout=30s")
    until("its claim to go", lambda: k("get", "pvc", "brief-v", check=False).returncode != 0)
    until("its volume to go", lambda: claim["spec"]["volumeName"] not in directories())


def pending():
    """What claims that get nothing say."""
    apply("PersistentVolumeClaim", "none", claim_spec(storageClassName=""))
    apply("PersistentVolumeClaim", "unknown", claim_spec(storageClassName="unknown"))
    apply("StorageClass", "others", None, "storage.k8s.io/v1", provisioner="example.com/disks")
    apply("PersistentVolumeClaim", "others", claim_spec(storageClassName="others"))
    apply("Pod", "waits", pod_spec("true", v=of_claim("none")))
    apply("Pod", "asks", pod_spec("true", v=of_claim("absent")))
    until("1", lambda: "no persistent volumes available for this claim and no storage class is set" in k("describe", "pvc", "none"))
    until("2", lambda: 'storageclass.storage.k8s.io "unknown" not found' in k("describe", "pvc", "unknown"))
    until("3", lambda: "Waiting for a volume to be created either by the external provisioner 'example.com/disks'" in k("describe", "pvc", "others"))
    until("4", lambda: "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims." in k("describe", "pod", "waits"))
    until("5", lambda: '0/1 nodes are available: persistentvolumeclaim "absent" not found.' in k("describe", "pod", "asks"))
    apply("PersistentVolumeClaim", "absent", claim_spec())
    running("asks")
    k("delete", "pod/waits", "pod/asks", "pvc/none", "pvc/unknown", "pvc/others", "pvc/absent", "--timeout=30s")


try:
    node.start()
    node.wait_ready()
    node.load_busybox()
    checks.run("default class", default_class)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        list(pool.map(lambda pair: checks.run(*pair), [("StatefulSet", stateful_set), ("on demand", on_demand), ("Retain", retain), ("by hand", by_hand), ("host path", host_path), ("ephemeral", ephemeral), ("pending", pending)]))
    k("delete", "storageclass", "local-path")
    node.stop_server()
    node.start()
    node.wait_ready()
    checks.run("after a restart", after_restart)
finally:
    if checks.failed:
        print("--- server log\n" + node.log()[-4000:])
    node.stop()
sys.exit(checks.finish())
