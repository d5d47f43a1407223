"""Sandboxes, containers and images through CRI, as kubelet and crictl ask for them."""
import json
import os
import socket
import subprocess
import sys
import tempfile
import time

from support import DEADLINE, EXISTS, INVALID, NOT_FOUND, PRECONDITION, UNIMPLEMENTED, Checks, CriEngine, Refused, need_engine_host, until

need_engine_host()
e = CriEngine()
checks = Checks(sys.argv[1] if len(sys.argv) > 1 else None)
POD, CONTAINER, NODE, TARGET = range(4)
PID_OWN = {"namespace_options": {"pid": CONTAINER}}


def eq(have, want):
    if have != want:
        raise AssertionError(f"have {have!r}, want {want!r}")




def cgroup_file(cid, controller, name):
    """Of a container; "" where the hierarchy has no such file."""
    info = json.loads(e.cri.call("ContainerStatus", container_id=cid, verbose=True)["info"]["info"])
    with open(f"/proc/{info['pid']}/cgroup", encoding="ascii") as f:
        groups = dict(line.strip().split(":", 2)[1:] for line in f)
    for key, group in groups.items():
        path = f"/sys/fs/cgroup/{controller if controller in key.split(',') else ''}{group}/{name}"
        if (controller in key.split(",") or key == "") and os.path.exists(path):
            with open(path, encoding="ascii") as f:
                return f.read().strip()
    return ""


def tell_runtime():
    eq(e.cri.call("RuntimeConfig")["linux"]["cgroup_driver"], 1)
    status = e.cri.call("Status", verbose=True)
    eq([(c["type"], c["status"]) for c in status["status"]["conditions"]], [("RuntimeReady", True), ("NetworkReady", True)])
    eq(json.loads(status["info"]["config"])["podCIDR"], "10.85.0.0/16")
    eq(e.cri.refused("CheckpointContainer", container_id="x").code, UNIMPLEMENTED)
    eq(e.cri.refused("UpdateRuntimeConfig", runtime_config={"network_config": {"pod_cidr": "nonsense"}}).code, INVALID)
    e.cri.call("UpdateRuntimeConfig", runtime_config={"network_config": {"pod_cidr": "10.86.0.0/24"}})
    s = e.run_sandbox()
    eq(e.cri.call("PodSandboxStatus", pod_sandbox_id=s[0])["status"]["network"]["ip"], "10.86.0.2")
    eq(e.cri.refused("UpdateRuntimeConfig", runtime_config={"network_config": {"pod_cidr": "10.85.0.0/16"}}).code, PRECONDITION)
    e.cri.call("RemovePodSandbox", pod_sandbox_id=s[0])
    e.cri.call("UpdateRuntimeConfig", runtime_config={"network_config": {"pod_cidr": "10.85.0.0/16"}})


def sandboxes():
    s = e.run_sandbox(port_mappings=[])
    status = e.cri.call("PodSandboxStatus", pod_sandbox_id=s[0])["status"]
    eq((status["state"], status["metadata"], status["labels"], status["annotations"]), (0, s[1]["metadata"], s[1]["labels"], s[1]["annotations"]))
    eq(e.cri.refused("RunPodSandbox", config=s[1]).code, EXISTS)
    eq(e.cri.refused("RunPodSandbox", config=e.sandbox_config(), runtime_handler="other").code, INVALID)
    eq(e.cri.refused("RunPodSandbox", config={}).code, INVALID)
    users = {"security_context": {"namespace_options": {"userns_options": {"mode": POD, "uids": [{"host_id": 65536, "container_id": 0, "length": 65536}]}}}}
    refused = e.cri.refused("RunPodSandbox", config=e.sandbox_config(linux=users))
    eq((refused.code, "userns_options" in refused.message), (INVALID, True))
    other = e.run_sandbox()
    ids = lambda **f: {x["id"] for x in e.cri.call("ListPodSandbox", filter=f)["items"]}  # noqa: E731
    eq(ids() >= {s[0], other[0]}, True)
    eq(ids(id=s[0][:13]), {s[0]})
    eq(ids(label_selector=s[1]["labels"]), {s[0]})
    eq(ids(label_selector={"pod": "none"}), set())
    c = e.run(s)
    created = e.create(s)
    e.cri.call("StopPodSandbox", pod_sandbox_id=s[0])
    e.cri.call("StopPodSandbox", pod_sandbox_id=s[0])
    eq(ids(state={"state": 0}) & {s[0], other[0]}, {other[0]})
    eq(ids(state={"state": 1}), {s[0]})
    eq((e.status(c)["state"], e.status(c)["exit_code"], e.status(created)["state"]), (2, 137, 2))
    eq(e.cri.refused("CreateContainer", pod_sandbox_id=s[0], config={"metadata": {"name": "x"}, "image": {"image": "hello:1"}}).code, PRECONDITION)
    e.cri.call("RemovePodSandbox", pod_sandbox_id=s[0])
    e.cri.call("RemovePodSandbox", pod_sandbox_id=s[0])
    e.cri.call("StopPodSandbox", pod_sandbox_id=s[0])
    eq(e.cri.refused("PodSandboxStatus", pod_sandbox_id=s[0]).code, NOT_FOUND)
    eq(e.cri.refused("ContainerStatus", container_id=c).code, NOT_FOUND)
    e.cri.call("RemovePodSandbox", pod_sandbox_id=other[0])


def containers():
    s = e.run_sandbox()
    c = e.create(s, ["sh", "-c", "trap 'echo term; exit 3' TERM; echo begun; while true; do sleep 0.05; done"], name="main", annotations={"a": "b"}, envs=[{"key": "A", "value": "1"}])
    eq((e.status(c)["state"], e.status(c)["started_at"], e.status(c)["created_at"] > 0), (0, 0, True))
    config = {"metadata": {"name": "main", "attempt": 0}, "image": {"image": "hello:1"}}
    eq(e.cri.refused("CreateContainer", pod_sandbox_id=s[0], config=config).code, EXISTS)
    eq(e.cri.refused("CreateContainer", pod_sandbox_id=s[0], config={**config, "metadata": {"name": "y"}, "image": {"image": "none:1"}}).code, NOT_FOUND)
    eq(e.cri.refused("CreateContainer", pod_sandbox_id="0123", config=config).code, NOT_FOUND)
    eq(e.cri.refused("ExecSync", container_id=c, cmd=["true"]).code, PRECONDITION)
    e.cri.call("StopContainer", container_id=c)  # has not begun
    e.cri.call("StartContainer", container_id=c)
    eq(e.cri.refused("StartContainer", container_id=c).code, PRECONDITION)
    until("it says something", lambda: "begun" in open(e.status(c)["log_path"], encoding="utf-8").read())
    e.cri.call("StopContainer", container_id=c, timeout=20)
    st = e.status(c)
    eq((st["state"], st["exit_code"], st["reason"], st["finished_at"] >= st["started_at"] > 0, st["annotations"]), (2, 3, "Error", True, {"a": "b"}))
    e.cri.call("StopContainer", container_id=c)
    stubborn = e.run(s, ["sh", "-c", "trap '' TERM; echo ready; sleep 1000"])
    until("it is deaf", lambda: "ready" in open(e.status(stubborn)["log_path"], encoding="utf-8").read())
    begin = time.monotonic()
    e.cri.call("StopContainer", container_id=stubborn, timeout=1)
    eq((time.monotonic() - begin >= 1, e.status(stubborn)["exit_code"]), (True, 137))
    eq(e.exited(e.run(s, ["true"]))["reason"], "Completed")
    eq(e.exited(e.run(s, ["sh", "-c", "exit 7"]))["exit_code"], 7)
    usr1 = e.run(s, ["sh", "-c", "trap 'exit 9' USR1; echo ready; while true; do sleep 0.05; done"], stop_signal=29)
    until("the trap is set", lambda: "ready" in open(e.status(usr1)["log_path"], encoding="utf-8").read())
    eq(e.status(usr1)["stop_signal"], 29)
    e.cri.call("StopContainer", container_id=usr1, timeout=20)
    eq(e.status(usr1)["exit_code"], 9)
    bad = e.create(s, ["/no/such/program"])
    eq(e.cri.refused("StartContainer", container_id=bad).code, NOT_FOUND)
    eq((e.status(bad)["state"], e.status(bad)["exit_code"], e.status(bad)["reason"]), (2, 128, "StartError"))
    ids = lambda **f: {x["id"] for x in e.cri.call("ListContainers", filter=f)["containers"]}  # noqa: E731
    eq(ids(pod_sandbox_id=s[0], state={"state": 2}) >= {c, stubborn}, True)
    eq(ids(id=c[:10]), {c})
    eq(ids(label_selector={"app": "main"}), {c})
    live = e.run(s)
    e.cri.call("RemoveContainer", container_id=live)
    e.cri.call("RemoveContainer", container_id=live)
    e.cri.call("StopContainer", container_id=live)
    for method in ("ContainerStatus", "StartContainer", "ContainerStats", "ReopenContainerLog", "UpdateContainerResources"):
        eq(e.cri.refused(method, container_id=live).code, NOT_FOUND)
    e.cri.call("RemovePodSandbox", pod_sandbox_id=s[0])


def exec_sync():
    s = e.run_sandbox()
    c = e.run(s, envs=[{"key": "A", "value": "1"}])
    eq(e.exec(c, "sh", "-c", "echo out $A; echo err >&2; exit 5"), (5, "out 1\n", "err\n"))
    eq(e.cri.refused("ExecSync", container_id=c, cmd=["sleep", "4321"], timeout=1).code, DEADLINE)
    until("what took too long is gone", lambda: "4321" not in e.out(c, "ps"))
    if "MONOPOD_LONG" in os.environ:
        eq(len(e.out(c, "sh", "-c", "head -c 17000000 /dev/zero")), 16 << 20)
    eq(e.cri.refused("ExecSync", container_id=c, cmd=["/no/such"]).code, NOT_FOUND)
    eq(e.cri.refused("ExecSync", container_id=c, cmd=[]).code, INVALID)
    e.cri.call("RemovePodSandbox", pod_sandbox_id=s[0])


def namespaces():
    s = e.run_sandbox(name="shared", linux={"sysctls": {"net.ipv4.ip_unprivileged_port_start": "7"}})
    a, b = e.run(s), e.run(s, ["sleep", "2222"])
    ps = e.out(a, "ps")
    eq(("monopod init" in ps, "sleep 2222" in ps), (True, True))
    eq(e.out(a, "cat", "/proc/sys/net/ipv4/ip_unprivileged_port_start").strip(), "7")
    eq(e.out(a, "hostname").strip(), "shared")
    e.out(a, "touch", "/dev/shm/mine")
    eq(e.out(b, "ls", "/dev/shm").strip(), "mine")
    own = e.run(s, ["sleep", "3333"], security=PID_OWN)
    eq(len(e.out(own, "ps").splitlines()), 3)
    target = e.run(s, ["sleep", "5555"], security={"namespace_options": {"pid": TARGET, "target_id": own}})
    eq("sleep 3333" in e.out(target, "ps"), True)
    for link in ("net", "ipc", "uts"):
        eq(len({e.out(x, "ls", "-l", f"/proc/self/ns/{link}").split()[-1] for x in (a, b, own)}), 1)
    apart = e.run(s, security={"namespace_options": {"ipc": CONTAINER}})
    eq(e.out(apart, "ls", "/dev/shm"), "")
    node = e.run_sandbox(name="host", linux={"security_context": {"namespace_options": {"network": NODE, "pid": NODE, "ipc": NODE}}})
    on_node = e.run(node, security={"namespace_options": {"network": NODE, "pid": NODE, "ipc": NODE}})
    eq("mpcri0" in e.out(on_node, "ip", "addr"), True)
    eq("engine-process" in e.out(on_node, "ps"), True)
    eq(e.out(on_node, "hostname").strip(), socket.gethostname())
    eq(e.cri.call("PodSandboxStatus", pod_sandbox_id=node[0])["status"]["network"]["ip"], "")
    eq(e.cri.refused("RunPodSandbox", config=e.sandbox_config(linux={"sysctls": {"kernel.panic": "1"}})).code, INVALID)
    for one in (s, node):
        e.cri.call("RemovePodSandbox", pod_sandbox_id=one[0])


def security():
    s = e.run_sandbox(linux={"security_context": {"privileged": True}})
    groups = lambda **security: e.output_of(s, ["id"], security=security).strip()  # noqa: E731
    eq(groups(run_as_user={"value": 1000}), "uid=1000(web) gid=1000(web) groups=1000(web)")
    eq(groups(run_as_user={"value": 4242}), "uid=4242 gid=0(root) groups=0(root)")
    eq(groups(run_as_username="web", supplemental_groups=[77]), "uid=1000(web) gid=1000(web) groups=77,1000(web)")
    eq(groups(run_as_user={"value": 1000}, run_as_group={"value": 55}, supplemental_groups=[77], supplemental_groups_policy=1), "uid=1000(web) gid=55 groups=55,77")
    user = e.status(e.create(s, security={"run_as_username": "web", "supplemental_groups": [77]}))["user"]["linux"]
    eq(user, {"uid": 1000, "gid": 1000, "supplemental_groups": [1000, 77]})
    for wrong in ({"run_as_group": {"value": 1}}, {"run_as_username": "nobody-here"}, {"run_as_user": {"value": 1}, "run_as_username": "web"}, {"run_as_user": {"value": 1 << 31}},
                  {"capabilities": {"add_capabilities": ["NONSENSE"]}}):
        config = {"metadata": {"name": "wrong"}, "image": {"image": "hello:1"}, "linux": {"security_context": wrong}}
        eq(e.cri.refused("CreateContainer", pod_sandbox_id=s[0], config=config).code, INVALID)
    caps = lambda **security: int(e.output_of(s, ["sh", "-c", "grep CapEff /proc/self/status"], security=security).split()[1], 16)  # noqa: E731
    plain = caps()
    eq(caps(capabilities={"drop_capabilities": ["ALL"]}), 0)
    eq(caps(capabilities={"add_capabilities": ["NET_ADMIN"]}), plain | 1 << 12)
    eq(caps(capabilities={"drop_capabilities": ["ALL"], "add_capabilities": ["CAP_CHOWN"]}), 1)
    eq(caps(capabilities={"add_capabilities": ["ALL"]}) > plain, True)
    eq(caps(privileged=True) > plain, True)
    eq(caps(run_as_user={"value": 1000}, capabilities={"add_ambient_capabilities": ["NET_BIND_SERVICE"]}), 1 << 10)
    status = e.output_of(s, ["sh", "-c", "grep -e NoNewPrivs -e Seccomp: /proc/self/status; touch /file || echo read-only"],
                         security={"no_new_privs": True, "seccomp": {"profile_type": 0}, "readonly_rootfs": True})
    eq([line.split()[-1] for line in status.splitlines() if ":" in line and "touch" not in line] + ["read-only" in status], ["1", "2", True])
    eq(e.output_of(s, ["grep", "Seccomp:", "/proc/self/status"]).split(), ["Seccomp:", "0"])
    profile = os.path.join(e.dir, "profile.json")
    with open(profile, "w", encoding="ascii") as f:
        json.dump({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]}, f)
    eq("not permitted" in e.output_of(s, ["sh", "-c", "mkdir /x 2>&1"], security={"seccomp": {"profile_type": 2, "localhost_ref": profile}}), True)
    config = {"metadata": {"name": "w"}, "image": {"image": "hello:1"}, "linux": {"security_context": {"seccomp": {"profile_type": 2, "localhost_ref": "/no/profile"}}}}
    eq(e.cri.refused("CreateContainer", pod_sandbox_id=s[0], config=config).code, PRECONDITION)
    masked = e.output_of(s, ["sh", "-c", "cat /etc/passwd; echo x > /proc/sys/kernel/shm_rmid_forced || echo kept"], security={"masked_paths": ["/etc/passwd"], "readonly_paths": ["/proc/sys"]})
    eq(("root" in masked, "kept" in masked), (False, True))
    eq(e.output_of(s, ["sh", "-c", "test -w /sys && ls /dev/loop-control /dev/kmsg 2>/dev/null; grep -c . /proc/self/status >/dev/null && echo all"], security={"privileged": True}).splitlines()[-1], "all")
    strict = e.run_sandbox()
    config["linux"] = {"security_context": {"privileged": True}}
    eq(e.cri.refused("CreateContainer", pod_sandbox_id=strict[0], config=config).code, INVALID)
    for one in (s, strict):
        e.cri.call("RemovePodSandbox", pod_sandbox_id=one[0])


def mounts():
    s = e.run_sandbox(dns_config={"servers": ["10.10.10.10"], "searches": ["example.org"], "options": ["ndots:8"]})
    host = tempfile.mkdtemp(dir=e.dir)
    with open(host + "/file", "w", encoding="ascii") as f:
        f.write("of the host\n")
    os.symlink(host, host + "-link")
    c = e.run(s, mounts=[{"container_path": "/data", "host_path": host + "-link"}, {"container_path": "/fixed", "host_path": host, "readonly": True},
                         {"container_path": "/deep", "host_path": host, "readonly": True, "recursive_read_only": True}, {"container_path": "/slave", "host_path": host, "propagation": 1}],
              devices=[{"container_path": "/dev/void", "host_path": "/dev/null", "permissions": "rw"}], envs=[{"key": "PATH", "value": "/bin:/x"}], working_dir="/data")
    eq(e.out(c, "cat", "file"), "of the host\n")
    e.out(c, "sh", "-c", "echo more > /data/new")
    eq(os.path.exists(host + "/new"), True)
    for path in ("/fixed", "/deep"):
        eq(e.exec(c, "touch", path + "/new")[0], 1)
    eq(e.out(c, "sh", "-c", "echo $PATH; echo x > /dev/void; pwd"), "/bin:/x\n/data\n")
    eq(e.out(c, "cat", "/etc/resolv.conf").split("\n")[:3], ["search example.org", "nameserver 10.10.10.10", "options ndots:8"])
    eq(len(e.status(c)["mounts"]), 4)
    for wrong, code in (({"container_path": "/x", "host_path": "/no/such/path"}, NOT_FOUND), ({"container_path": "x", "host_path": host}, INVALID),
                        ({"container_path": "/x", "host_path": host, "recursive_read_only": True}, INVALID), ({"container_path": "/x", "host_path": host, "uidMappings": [{"length": 1}]}, INVALID)):
        eq(e.cri.refused("CreateContainer", pod_sandbox_id=s[0], config={"metadata": {"name": "w"}, "image": {"image": "hello:1"}, "mounts": [wrong]}).code, code)
    e.cri.call("RemovePodSandbox", pod_sandbox_id=s[0])


def resources():
    s = e.run_sandbox()
    c = e.run(s, resources={"memory_limit_in_bytes": 64 << 20, "cpu_shares": 512, "oom_score_adj": 500}, security=PID_OWN)
    eq(e.out(c, "cat", "/proc/1/oom_score_adj").strip(), "500")
    limit = lambda: cgroup_file(c, "memory", "memory.limit_in_bytes") or cgroup_file(c, "memory", "memory.max")  # noqa: E731
    eq(limit(), str(64 << 20))
    e.cri.call("UpdateContainerResources", container_id=c, linux={"memory_limit_in_bytes": 96 << 20})
    eq(limit(), str(96 << 20))
    now = e.status(c)["resources"]["linux"]
    eq((now["memory_limit_in_bytes"], now["cpu_shares"]), (96 << 20, 512))
    greedy = e.run(s, ["sh", "-c", "head -c 200000000 /dev/zero | tail"], resources={"memory_limit_in_bytes": 16 << 20, "memory_swap_limit_in_bytes": 16 << 20}, security=PID_OWN)
    st = e.exited(greedy)
    eq((st["reason"], st["exit_code"] != 0), ("OOMKilled", True))
    stats = e.cri.call("ContainerStats", container_id=c)["stats"]
    eq((stats["cpu"]["usage_core_nano_seconds"]["value"] > 0, stats["memory"]["working_set_bytes"]["value"] > 0, stats["attributes"]["labels"]), (True, True, e.status(c)["labels"]))
    eq({x["attributes"]["id"] for x in e.cri.call("ListContainerStats", filter={"pod_sandbox_id": s[0]})["stats"]}, {c})
    pod = e.cri.call("PodSandboxStats", pod_sandbox_id=s[0])["stats"]["linux"]
    eq((len(pod["containers"]), pod["process"]["process_count"]["value"] > 0, pod["network"]["default_interface"]["name"]), (1, True, "eth0"))
    eq(len(e.cri.call("ListPodSandboxStats", filter={"id": s[0]})["stats"]), 1)
    names = {d["name"] for d in e.cri.call("ListMetricDescriptors")["descriptors"]}
    metrics = e.cri.call("ListPodSandboxMetrics")["pod_metrics"][0]
    told = {m["name"] for m in metrics["metrics"] + metrics["container_metrics"][0]["metrics"]}
    eq(told <= names and "container_memory_working_set_bytes" in told, True)
    for method, member in (("StreamContainers", "containers"), ("StreamPodSandboxes", "pod_sandboxes"), ("StreamContainerStats", "container_stats"), ("StreamPodSandboxStats", "pod_sandbox_stats"),
                           ("StreamPodSandboxMetrics", "pod_sandbox_metrics"), ("StreamImages", "images")):
        eq(len(e.cri.stream(method)[0][member]) > 0, True)
    e.cri.call("RemovePodSandbox", pod_sandbox_id=s[0])
    eq(e.cri.stream("StreamContainers"), [])
    parents_of_clients()


def parents_of_clients():
    """A kubelet's own group: containers are in it, from the top, and it stays when they are gone."""
    parent = f"/monopod-cri-{os.getpid()}/pod"
    tops = [t for t in ["/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/memory", "/sys/fs/cgroup/cpu", "/sys/fs/cgroup/pids"] if os.path.exists(t)]
    s = e.run_sandbox(linux={"cgroup_parent": parent})
    c = e.run(s)
    pid = json.loads(e.cri.call("ContainerStatus", container_id=c, verbose=True)["info"]["info"])["pid"]
    with open(f"/proc/{pid}/cgroup", encoding="ascii") as f:
        eq(any(line.strip().endswith(f"{parent}/{c}") for line in f), True)
    eq(e.cri.call("ContainerStats", container_id=c)["stats"]["memory"]["working_set_bytes"]["value"] > 0, True)
    e.kill_child()
    eq(e.out(c, "echo", "x"), "x\n")
    e.cri.call("UpdatePodSandboxResources", pod_sandbox_id=s[0], resources={"cpu_shares": 100})
    e.cri.call("RemovePodSandbox", pod_sandbox_id=s[0])
    left = [t + parent for t in tops if os.path.exists(t + parent)]
    eq(len(left) > 0, True)
    for group in left:
        eq([d for d in os.listdir(group) if os.path.isdir(os.path.join(group, d))], [])
        os.rmdir(group)
        os.rmdir(os.path.dirname(group))


def logs():
    s = e.run_sandbox()
    c = e.run(s, ["sh", "-c", "head -c 20000 /dev/zero | tr '\\0' x; echo; echo problem >&2; while true; do echo tick; sleep 0.02; done"])
    path = e.status(c)["log_path"]
    eq(path, f"{s[1]['log_directory']}/{e.status(c)['metadata']['name']}/0.log")
    until("lines come", lambda: "tick" in open(path, encoding="utf-8").read())
    with open(path, encoding="utf-8") as f:
        lines = [line.rstrip("\n").split(" ", 3) for line in f]
    eq([(x[1], x[2], len(x[3])) for x in lines[:2]], [("stdout", "P", 16384), ("stdout", "F", 20000 - 16384)])
    eq(["stderr", "F", "problem"] in [x[1:] for x in lines], True)
    os.rename(path, path + ".1")
    e.cri.call("ReopenContainerLog", container_id=c)
    until("the new file is written", lambda: "tick" in open(path, encoding="utf-8").read())
    size = os.path.getsize(path + ".1")
    until("more comes", lambda: os.path.getsize(path) > 500)
    eq(os.path.getsize(path + ".1"), size)
    e.cri.call("StopContainer", container_id=c)
    eq(e.cri.refused("ReopenContainerLog", container_id=c).code, PRECONDITION)
    e.cri.call("RemovePodSandbox", pod_sandbox_id=s[0])


def host_ports():
    s = e.run_sandbox(port_mappings=[{"container_port": 80, "host_port": 18099}, {"container_port": 81}])
    e.run(s, ["sh", "-c", "mkdir /www; echo page > /www/index.html; exec httpd -f -p 80 -h /www"])
    ip = e.cri.call("PodSandboxStatus", pod_sandbox_id=s[0])["status"]["network"]["ip"]
    for address in (f"{ip}:80", "127.0.0.1:18099", "10.85.0.1:18099"):
        until(f"{address} answers", lambda a=address: e.inside("busybox", "wget", "-qO-", f"http://{a}/") == "page\n")
    taken = e.cri.refused("RunPodSandbox", config=e.sandbox_config(port_mappings=[{"container_port": 80, "host_port": 18099}]))
    eq("18099" in taken.message, True)
    e.kill_child()
    until("the port answers again", lambda: e.inside("busybox", "wget", "-qO-", "http://127.0.0.1:18099/") == "page\n")
    e.cri.call("RemovePodSandbox", pod_sandbox_id=s[0])
    eq(e.cri.refused("RunPodSandbox", config=e.sandbox_config(port_mappings=[{"container_port": 80, "host_port": 70000}])).code, INVALID)


def images():
    listed = lambda: {t for i in e.cri.call("ListImages")["images"] for t in i["repo_tags"]}  # noqa: E731
    registry = subprocess.Popen(["nsenter", "-t", str(e.holder.pid), "-m", "-n", e.binary, "registry", "--listen", "127.0.0.1:5000", "--data-dir", e.dir + "/registry"], stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL)
    try:
        until("the registry answers", lambda: "{}" in e.inside("busybox", "wget", "-qO-", "http://127.0.0.1:5000/v2/"))
        e.docker("tag", "hello:1", "127.0.0.1:5000/team/hello:2")
        e.docker("push", "127.0.0.1:5000/team/hello:2")
        e.docker("rmi", "127.0.0.1:5000/team/hello:2")
        eq(e.cri.call("ImageStatus", image={"image": "127.0.0.1:5000/team/hello:2"})["image"], None)
        ref = e.cri.call("PullImage", image={"image": "127.0.0.1:5000/team/hello:2"}, auth={"auth": "dXNlcjpwYXNz"})["image_ref"]
        image = e.cri.call("ImageStatus", image={"image": "127.0.0.1:5000/team/hello:2"}, verbose=True)
        eq((image["image"]["id"], image["image"]["size"] > 0, "imageSpec" in image["info"]["info"]), (ref, True, True))
        digest = next(d for d in image["image"]["repo_digests"] if "team" in d)
        eq(e.cri.call("PullImage", image={"image": digest})["image_ref"], ref)
        eq(len(e.cri.call("ListImages", filter={"image": {"image": ref}})["images"]), 1)
        eq(e.cri.call("ListImages", filter={"image": {"image": "none:1"}})["images"], [])
        eq(e.cri.refused("PullImage", image={"image": "127.0.0.1:5000/team/none:1"}).code, NOT_FOUND)
        eq(e.cri.refused("PullImage", image={"image": "UPPER CASE"}).code, INVALID)
        eq(e.cri.refused("PullImage", image={}).code, INVALID)
        eq(e.cri.refused("PullImage", image={"image": "x"}, auth={"auth": "%%"}).code, INVALID)
        e.cri.call("RemoveImage", image={"image": "127.0.0.1:5000/team/hello:2"})
        e.cri.call("RemoveImage", image={"image": "127.0.0.1:5000/team/hello:2"})
        eq(listed(), set())  # all names of it
        e.cri.call("PullImage", image={"image": "127.0.0.1:5000/team/hello:2"})
        e.docker("tag", "127.0.0.1:5000/team/hello:2", "hello:1")  # one store
    finally:
        registry.terminate()
        registry.wait()
    fs = e.cri.call("ImageFsInfo")["image_filesystems"][0]
    eq((fs["timestamp"] > 0, fs["used_bytes"]["value"] > 1 << 20, fs["fs_id"]["mountpoint"]), (True, True, e.dir + "/data"))
    s = e.run_sandbox()
    c = e.run(s, image={"image": e.cri.call("ImageStatus", image={"image": "hello:1"})["image"]["id"]})
    eq(e.cri.refused("RemoveImage", image={"image": "hello:1"}).code, PRECONDITION)
    eq(e.docker("ps", "-aq"), "")  # docker has its own containers
    eq(e.out(c, "echo", "x"), "x\n")
    e.cri.call("RemovePodSandbox", pod_sandbox_id=s[0])


def events():
    number = e.cri.begin("GetContainerEvents", {}, stream=True, seconds=50)
    e.cri.wait(number)  # begun
    s = e.run_sandbox()
    c = e.run(s, ["true"])
    e.exited(c)
    e.cri.call("RemovePodSandbox", pod_sandbox_id=s[0])
    told = []
    while len(told) < 8:
        told.append(e.cri.wait(number, 20)["answer"])
    eq([x["container_event_type"] for x in told if x["container_id"] == c], [0, 1, 2, 3])
    eq([x["container_event_type"] for x in told if x["container_id"] == s[0]], [0, 1, 2, 3])
    stopped = next(x for x in told if x["container_id"] == c and x["container_event_type"] == 2)
    eq((stopped["pod_sandbox_status"]["id"], stopped["containers_statuses"][0]["state"]), (s[0], 2))


def many_at_once():
    """Pods made and removed side by side, as a kubelet does after a restart."""
    def one():
        s = e.run_sandbox()
        c = e.run(s, ["sh", "-c", "echo done"])
        e.exited(c)
        e.cri.call("RemovePodSandbox", pod_sandbox_id=s[0])
    e.at_once(6, one)


def another_engine():
    s = e.run_sandbox()
    other = CriEngine()
    try:
        other.start()
    finally:
        other.close()
    cid = e.run(s)  # its group is still there
    eq(e.out(cid, "echo", "here"), "here\n")
    e.cri.call("RemovePodSandbox", pod_sandbox_id=s[0])


def huge_pages():
    """On control groups v2 alone: an engine that sees nothing else, in a group of its own."""
    root = next((p for p in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified") if os.path.exists(p + "/cgroup.controllers")), None)
    if root is None or "hugetlb" not in open(root + "/cgroup.controllers", encoding="ascii").read().split():
        print("SKIPPED: huge pages: no control group v2 has hugetlb")
        return
    with open(root + "/cgroup.subtree_control", encoding="ascii") as f:
        had = "hugetlb" in f.read().split()
    own = f"{root}/huge-{os.getpid()}"

    def write(path, text):
        with open(path, "w", encoding="ascii") as f:
            f.write(text)
    write(root + "/cgroup.subtree_control", "+hugetlb")
    os.mkdir(own)
    other = CriEngine()
    try:
        other.inside("umount", "--recursive", "--lazy", "/sys/fs/cgroup")
        other.inside("mount", "-t", "cgroup2", "none", "/sys/fs/cgroup")
        write(own + "/cgroup.procs", str(os.getpid()))  # what is started next is there, too
        try:
            other.start()
        finally:
            write(root + "/cgroup.procs", str(os.getpid()))
        with open(other.load_image(), "rb") as f:
            other.docker("load", stdin=f.read())
        s = other.run_sandbox()
        limits = [{"page_size": "2MB", "limit": 4194304}, {"page_size": "1GB", "limit": 0}]
        c = other.run(s, resources={"hugepage_limits": limits})
        pid = json.loads(other.cri.call("ContainerStatus", container_id=c, verbose=True)["info"]["info"])["pid"]
        with open(f"/proc/{pid}/cgroup", encoding="ascii") as f:
            group = root + next(line.split("::", 1)[1] for line in f if line.startswith("0::")).strip()
        read = lambda size: open(f"{group}/hugetlb.{size}.max", encoding="ascii").read()  # noqa: E731
        eq((read("2MB"), read("1GB")), ("4194304\n", "0\n"))
        other.cri.call("UpdateContainerResources", container_id=c, linux={"hugepage_limits": [{"page_size": "2MB", "limit": 2097152}]})
        eq(read("2MB"), "2097152\n")
        eq(other.cri.refused("UpdateContainerResources", container_id=c, linux={"hugepage_limits": [{"page_size": "../x", "limit": 1}]}).code, INVALID)
        other.cri.call("RemovePodSandbox", pod_sandbox_id=s[0])
    finally:
        other.close()
        for base, _, _ in os.walk(own, topdown=False):
            os.rmdir(base)
        if not had:
            write(root + "/cgroup.subtree_control", "-hugetlb")


def main():
    with e.serving(checks):
        for name, function in (("the runtime tells what it is", tell_runtime), ("sandboxes live and die, each call again too", sandboxes), ("containers live and die", containers),
                               ("ExecSync: output, exit code, timeout, limit", exec_sync), ("namespaces of pod, container, node and target", namespaces), ("the security context", security),
                               ("mounts, devices, environment, DNS", mounts), ("resources, OOM, stats and metrics", resources), ("limits of huge pages", huge_pages), ("logs are CRI's, and reopened", logs),
                               ("host ports, also on loopback and after a crash", host_ports), ("images: pulled, shown, removed, shared with docker", images), ("events of a life", events),
                               ("many at once", many_at_once), ("another engine sweeps nothing of this one's", another_engine), ("nothing is left", e.nothing_left)):
            checks.run(name, function)
    return checks.finish()


sys.exit(main())
