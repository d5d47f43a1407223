"""What the public conformance suite of CRI asks (kubernetes-sigs/cri-tools, critest), a row for each of its groups: the same calls, the same words in the answers. What
life_test and streams_test ask already is not here again."""
import json
import os
import shutil
import subprocess
import sys
import tempfile

from support import DEADLINE, INVALID, NOT_FOUND, UNIMPLEMENTED, Checks, CriEngine, Refused, engine_harness, need_engine_host, until

need_engine_host()
e = CriEngine()
checks = Checks(sys.argv[1] if len(sys.argv) > 1 else None)
POD, CONTAINER, NODE, TARGET = range(4)
PRIVATE, SLAVE, SHARED = range(3)
REGISTRY = "127.0.0.1:5000"
BASE = f"{REGISTRY}/test-image-tag:test"  # the image of most tests
engine_harness.APPLETS += ["top", "pidof"]
APPLETS = "sh top cat ps id env echo true sleep mount mkdir touch grep hostname httpd wget netstat ping brctl pidof dd chmod rm umount".split()
TOP = ["sh", "-c", "top"]


def eq(have, want):
    if have != want:
        raise AssertionError(f"have {have!r}, want {want!r}")


def has(text, part):
    if part not in text:
        raise AssertionError(f"{part!r} is not in {text!r}")


def remove(*sandboxes):
    for s in sandboxes:
        e.cri.call("StopPodSandbox", pod_sandbox_id=s[0])
        e.cri.call("RemovePodSandbox", pod_sandbox_id=s[0])


def pod(**linux):
    """As the suite makes one: no hostname, no log directory, no labels."""
    config = e.sandbox_config(linux=linux)
    config.update(hostname="", labels={}, annotations={})
    return e.cri.call("RunPodSandbox", config=config)["pod_sandbox_id"], config


def image_status(name):
    return e.cri.call("ImageStatus", image={"image": name})["image"]


def pull(name):
    return e.cri.call("PullImage", image={"image": name})["image_ref"]


def remove_image(name):
    found = image_status(name)
    if found:
        e.cri.call("RemoveImage", image={"image": found["id"]})
    eq(image_status(name), None)


def publish(name, user="", marker=""):
    """An image in the registry, and not in the store."""
    directory = tempfile.mkdtemp(dir=e.dir)
    with open(directory + "/marker", "w", encoding="ascii") as f:
        f.write(marker)
    with open(directory + "/passwd", "w", encoding="ascii") as f:
        f.write("root::0:0:root:/root:/bin/sh\ndefault-user:x:1000:1000::/:/bin/sh\nnobody:x:65534:65534::/:/bin/false\nwww-data:x:33:33::/:/bin/sh\n")
    with open(directory + "/group", "w", encoding="ascii") as f:
        f.write("root:x:0:root\nwheel:x:10:root\ndefault-user:x:1000:\ngroup-defined-in-image:x:50000:default-user\nwww-data:x:33:\nnogroup:x:65534:\n")
    shutil.copy("/bin/busybox", directory + "/su")
    os.chmod(directory + "/su", 0o4755)
    words = [e.binary, "image", "pack", "--copy", directory + "/su:/bin/su", "--reference", name, "--copy", "/bin/busybox:/bin/busybox", "--copy", "/bin/busybox:/bin/ls", "--copy", directory + "/marker:/etc/marker", "--copy", directory + "/passwd:/etc/passwd",
             "--copy", directory + "/group:/etc/group", "--cmd", "/bin/top", "--env", "PATH=/bin"]
    for applet in APPLETS:
        words += ["--link", f"/bin/{applet}=busybox"]
    if user:
        words += ["--user", user]
    p = subprocess.run([*words, directory + "/image.tar"], capture_output=True, text=True)
    if p.returncode != 0:
        raise AssertionError(p.stdout + p.stderr)
    with open(directory + "/image.tar", "rb") as f:
        e.docker("load", stdin=f.read())
    e.docker("push", name)
    e.docker("rmi", name)


def image_references():
    tagged, plain = BASE, f"{REGISTRY}/test-image-latest"
    remove_image(tagged)
    publish(plain + ":latest", marker="latest")
    ref = pull(tagged)
    status = image_status(tagged)
    eq((status["repo_tags"], status["id"], status["size"] > 0), ([tagged], ref, True))
    for name in [status["id"], *status["repo_tags"], *status["repo_digests"]]:
        eq(image_status(name), status)
    by_digest = status["repo_digests"][0]
    remove_image(tagged)
    pull(plain)
    eq(image_status(plain)["repo_tags"], [plain + ":latest"])
    remove_image(plain)
    pull(by_digest)
    eq((image_status(by_digest)["repo_tags"], image_status(by_digest)["repo_digests"]), ([], [by_digest]))
    remove_image(by_digest)
    eq([i for i in e.cri.call("ListImages")["images"] if by_digest in i["repo_digests"]], [])
    try:
        e.cri.call("PullImage", _seconds=0.001, image={"image": tagged})
        raise AssertionError("pulled in a millisecond")
    except Refused as refused:
        eq(refused.code, DEADLINE)
    for _ in range(2):
        e.cri.call("RemoveImage", image={"image": "0" * 64})
    pull(BASE)


def image_lists():
    different = [f"{REGISTRY}/test-image-{n}:latest" for n in (1, 2, 3)]
    for name in different:
        publish(name, marker=name)
    ids = [pull(name) for name in different]
    eq(len(set(ids)), 3)
    listed = {i["id"]: i["repo_tags"] for i in e.cri.call("ListImages", filter={})["images"]}
    eq([listed[i] for i in ids], [[name] for name in different])
    for name in different:
        remove_image(name)
    same = [f"{REGISTRY}/test-image-tags:{n}" for n in (1, 2, 3)]
    for name in same:
        publish(name, marker="tags")
    ids = {pull(name) for name in same}
    eq(len(ids), 1)
    eq([sorted(i["repo_tags"]) for i in e.cri.call("ListImages")["images"] if i["id"] in ids], [same])
    elsewhere = f"{REGISTRY}/other/test-image-tags:1"
    publish(elsewhere, marker="tags")
    for name in same:
        pull(name)
    eq({pull(elsewhere)}, ids)

    def take():
        e.cri.call("RemoveImage", image={"image": next(iter(ids))})
        eq(image_status(next(iter(ids))), None)
    e.at_once(5, take)


def image_users():
    for name, user, uid, username in (("uid", "1002", {"value": 1002}, ""), ("username", "www-data", None, "www-data"), ("uid-group", "1003:users", {"value": 1003}, ""),
                                      ("username-group", "www-data:100", None, "www-data")):
        name = f"{REGISTRY}/test-image-user-{name}"
        publish(name + ":latest", user=user)
        pull(name)
        eq((image_status(name)["uid"], image_status(name)["username"]), (uid, username))
        remove_image(name)


def image_ids():
    ref = pull(BASE)
    s = pod()
    c = e.run(s, (), image={"image": ref, "user_specified_image": BASE})
    listed = e.cri.call("ListContainers", filter={"id": c})["containers"]
    eq((image_status(BASE)["id"], e.status(c)["image_id"], [x["image_id"] for x in listed]), (ref, ref, [ref]))
    e.cri.call("RemoveContainer", container_id=c)
    remove(s)


def image_volumes():
    ref = pull(BASE)
    spec = {"image": ref, "user_specified_image": BASE}
    s = pod()
    mount = {"container_path": "/mnt/image-volume", "readonly": True, "image": spec}
    c = e.run(s, TOP, image=spec, mounts=[mount])
    eq([m["image"]["image_ref"] for m in e.status(c)["mounts"]], [ref])
    e.out(c, "ls", "-A", "/mnt/image-volume/bin/sh")
    has(e.exec(c, "touch", "/mnt/image-volume/test-write")[2], "Read-only file system")
    e.out(c, "/mnt/image-volume/bin/ls", "/mnt/image-volume")
    sub = e.run(s, TOP, image=spec, mounts=[{**mount, "image_sub_path": "etc"}])
    e.out(sub, "ls", "/mnt/image-volume/passwd")
    eq(e.exec(sub, "ls", "/mnt/image-volume/etc/passwd")[0], 1)
    for wrong, code in (({"readonly": False}, INVALID), ({"image_sub_path": "not-existing"}, NOT_FOUND), ({"image_sub_path": "../etc"}, INVALID), ({"image": {"image": "none:1"}}, NOT_FOUND)):
        config = {"metadata": {"name": "w"}, "image": spec, "command": TOP, "mounts": [{**mount, **wrong}]}
        eq(e.cri.refused("CreateContainer", pod_sandbox_id=s[0], config=config).code, code)
    e.kill_child()
    e.out(sub, "ls", "/mnt/image-volume/passwd")
    e.cri.call("StopContainer", container_id=c)
    e.cri.call("RemoveContainer", container_id=c)
    remove(s)


def declared_volumes():
    """What an image declares as volumes can be written to below a read-only root, and begins with what the image has there."""
    context = tempfile.mkdtemp(dir=e.dir)
    with open(context + "/Dockerfile", "w", encoding="ascii") as f:
        f.write(f"FROM {BASE}\nVOLUME /etc /data\n")
    e.docker("build", "-q", "-t", "declares:1", context)
    s = pod()
    c = e.run(s, TOP, image={"image": "declares:1"}, security={"readonly_rootfs": True})
    e.out(c, "sh", "-c", "grep nobody /etc/passwd && echo more >> /etc/passwd && touch /data/new")
    eq(e.exec(c, "touch", "/new")[0], 1)
    e.kill_child()
    e.out(c, "ls", "/data/new")
    remove(s)


def idempotence():
    for method, request in (("StopPodSandbox", {"pod_sandbox_id": "none"}), ("RemovePodSandbox", {"pod_sandbox_id": "none"}), ("StopContainer", {"container_id": "none", "timeout": 0}),
                            ("RemoveContainer", {"container_id": "none"})):
        e.cri.call(method, **request)
    s = pod()
    c = e.run(s, TOP)
    for _ in range(2):
        e.cri.call("StopContainer", container_id=c, timeout=60)
        eq(e.status(c)["state"], 2)
    for _ in range(2):
        e.cri.call("RemoveContainer", container_id=c)
    for _ in range(2):
        e.cri.call("StopPodSandbox", pod_sandbox_id=s[0])
        eq(e.cri.call("PodSandboxStatus", pod_sandbox_id=s[0])["status"]["state"], 1)
    remove(s)


def stats():
    s = pod()
    ids = [e.run(s, ["top"], labels={"foo": str(n)}) for n in range(3)]
    one = e.cri.call("ContainerStats", container_id=ids[0])["stats"]
    eq((one["attributes"]["id"], one["cpu"]["timestamp"] > 0, one["memory"]["timestamp"] > 0), (ids[0], True, True))
    listed = lambda method="ListContainerStats", **f: {x["attributes"]["id"] for x in e.cri.call(method, **f)["stats"]}  # noqa: E731
    eq((listed() >= set(ids), listed(filter={"id": ids[1]}), listed(filter={"label_selector": {"foo": "2"}}), listed(filter={"label_selector": {"foo": "baz"}})),
       (True, {ids[1]}, {ids[2]}, set()))
    eq((listed("ListPodSandboxStats", filter={"id": s[0]}), s[0] in listed("ListPodSandboxStats")), ({s[0]}, True))
    eq(s[0] in {m["pod_sandbox_id"] for part in e.cri.stream("StreamPodSandboxMetrics") for m in part["pod_sandbox_metrics"]}, True)
    eq(e.cri.stream("StreamPodSandboxes", filter={"id": "non-existent-id"}), [])
    eq([x["id"] for part in e.cri.stream("StreamContainers", filter={"pod_sandbox_id": s[0], "state": {"state": 1}}) for x in part["containers"]], ids[::-1])
    remove(s)


METRICS = """cpu_cfs_periods_total cpu_cfs_throttled_periods_total cpu_cfs_throttled_seconds_total cpu_system_seconds_total cpu_usage_seconds_total cpu_user_seconds_total file_descriptors
fs_inodes_free fs_inodes_total fs_limit_bytes fs_usage_bytes last_seen memory_cache memory_failcnt memory_failures_total memory_kernel_usage memory_mapped_file memory_max_usage_bytes memory_rss
memory_swap memory_usage_bytes memory_working_set_bytes network_receive_bytes_total network_receive_errors_total network_receive_packets_dropped_total network_receive_packets_total
network_transmit_bytes_total network_transmit_errors_total network_transmit_packets_dropped_total network_transmit_packets_total oom_events_total processes sockets spec_cpu_period spec_cpu_quota
spec_cpu_shares spec_memory_limit_bytes spec_memory_swap_limit_bytes start_time_seconds threads threads_max ulimits_soft"""
OPTIONAL_METRICS = "blkio_device_usage_total fs_reads_bytes_total fs_reads_total fs_writes_bytes_total fs_writes_total"  # counted where the io controller is


def metrics():
    """Every metric that the suite names has a description, a value, and as many labels as it says."""
    s = pod()
    limits = {"cpu_period": 100000, "cpu_quota": 20000, "cpu_shares": 1024, "memory_limit_in_bytes": 64 << 20, "memory_swap_limit_in_bytes": 64 << 20}
    c = e.run(s, TOP, resources=limits)
    e.out(c, "sh", "-c", "mkdir -p /var/lib/test && for i in 1 2 3; do echo hi >> /var/lib/test/file_$i; done; i=0; while [ $i -lt 50000 ]; do i=$((i+1)); done")  # for some periods of its quota
    described = {d["name"]: d for d in e.cri.call("ListMetricDescriptors")["descriptors"]}
    eq([n for n in (METRICS + " " + OPTIONAL_METRICS).split() if not described.get("container_" + n, {}).get("help")], [])
    told = next(m for m in e.cri.call("ListPodSandboxMetrics")["pod_metrics"] if m["pod_sandbox_id"] == s[0])
    values = {}
    for m in told["metrics"] + told["container_metrics"][0]["metrics"]:
        eq(len(m["label_values"]), len(described[m["name"]]["label_keys"]))
        values.setdefault(m["name"][10:], m["value"]["value"])
    eq([n for n in METRICS.split() if n not in values], [])
    have = {n: values[n] for n in ("spec_cpu_quota", "spec_cpu_shares", "spec_memory_limit_bytes", "processes", "threads", "sockets")}
    eq(have, {"spec_cpu_quota": 20000, "spec_cpu_shares": 1024, "spec_memory_limit_bytes": 64 << 20, "processes": 1, "threads": 1, "sockets": 0})
    eq([n for n in ("file_descriptors", "memory_usage_bytes", "memory_failures_total", "start_time_seconds", "last_seen", "fs_limit_bytes", "ulimits_soft", "cpu_cfs_periods_total") if not values[n]], [])
    remove(s)


def propagation():
    s = pod(security_context={"privileged": True})
    for number, mode in ((PRIVATE, "rprivate"), (SLAVE, "rshared"), (SHARED, "rshared")):
        host = tempfile.mkdtemp(dir=e.dir)
        source, point = host + "/mnt", host + "/mnt/propagationMnt"
        os.makedirs(point)
        os.makedirs(host + "/src")
        open(host + "/src/flagFile", "w", encoding="ascii").close()
        e.inside("mount", "--rbind", source, source)
        e.inside("mount", "--make-" + mode, source)
        c = e.run(s, TOP, security={"privileged": True}, mounts=[{"host_path": source, "container_path": source, "propagation": number}])
        told = e.status(c)["mounts"]
        eq([(m["container_path"], m["host_path"], m["readonly"], m["selinux_relabel"], m["propagation"]) for m in told], [(source, source, False, False, number)])
        e.inside("mount", "--rbind", host + "/src", point)
        eq(e.out(c, "ls", "-A", point) != "", number != PRIVATE)
        e.out(c, "sh", "-c", f"mkdir -p {source}/containerMntPoint")
        e.out(c, "sh", "-c", f"mount --bind /etc {source}/containerMntPoint")
        eq(e.inside("ls", "-A", source + "/containerMntPoint") != "", number == SHARED)
        e.cri.call("RemoveContainer", container_id=c)
        e.inside("umount", "-R", "-l", source)
    remove(s)


def readonly_mounts():
    s = pod(security_context={"privileged": True})
    host = tempfile.mkdtemp(dir=e.dir)
    os.makedirs(host + "/tmpfs")
    e.inside("mount", "-t", "tmpfs", "none", host + "/tmpfs")
    mount = {"host_path": host, "container_path": "/mnt", "readonly": True, "selinux_relabel": True}
    plain = e.run(s, TOP, mounts=[mount])
    e.out(plain, "touch", "/mnt/tmpfs/file")
    deep = e.run(s, TOP, mounts=[{**mount, "recursive_read_only": True}])
    e.out(deep, "sh", "-c", 'touch /mnt/tmpfs/foo 2>&1 | grep -q "Read-only file system"')
    for wrong in ({"propagation": SLAVE}, {"propagation": SHARED}, {"readonly": False}):
        config = {"metadata": {"name": "w"}, "image": {"image": "hello:1"}, "command": TOP, "mounts": [{**mount, "recursive_read_only": True, **wrong}]}
        eq(e.cri.refused("CreateContainer", pod_sandbox_id=s[0], config=config).code, INVALID)
    remove(s)
    e.inside("umount", "-l", host + "/tmpfs")


def volumes():
    host = tempfile.mkdtemp(dir="/tmp", prefix="test")  # the name inside is that of the link, too
    e.inside("true")
    open(host + "/testVolume.file", "w", encoding="ascii").close()
    os.symlink(host, host + "-symlink")
    s = pod()
    for path in (host, host + "-symlink"):
        c = e.run(s, TOP, mounts=[{"host_path": path, "container_path": path, "selinux_relabel": True}])
        eq(e.out(c, "ls", "-A", path), "testVolume.file\n")
    remove(s)
    os.unlink(host + "-symlink")
    subprocess.run(["rm", "-r", host], check=True)


def out_of_memory():
    s = pod(security_context={"privileged": True})
    c = e.run(s, ["sh", "-c", "dd if=/dev/zero of=/dev/null bs=20M"], resources={"memory_limit_in_bytes": 15 << 20, "memory_swap_limit_in_bytes": 15 << 20})
    status = e.exited(c)
    eq((status["reason"], status["exit_code"]), ("OOMKilled", 137))
    remove(s)


def timeouts():
    s = pod()
    c = e.run(s, ["top"])
    eq(e.exec(c, "echo", "-n", "hello"), (0, "hello", ""))
    eq(e.cri.refused("ExecSync", container_id=c, cmd=["sleep", "4321"], timeout=1).code, DEADLINE)
    eq(e.exec(c, "sh", "-c", "pidof sleep || true"), (0, "", ""))
    remove(s)


def sysctls():
    s = pod(sysctls={"kernel.shm_rmid_forced": "1", "fs.mqueue.msg_max": "100"})
    c = e.run(s, ["top"])
    eq(e.out(c, "cat", "/proc/sys/kernel/shm_rmid_forced", "/proc/sys/fs/mqueue/msg_max"), "1\n100\n")
    remove(s)


def networking():
    config = e.sandbox_config(dns_config={"servers": ["10.10.10.10"], "searches": ["google.com"], "options": ["ndots:8"]}, port_mappings=[{"container_port": 80, "host_port": 12000}])
    config["hostname"] = "test-hostname"
    s = e.cri.call("RunPodSandbox", config=config)["pod_sandbox_id"], config
    c = e.run(s, ["sh", "-c", "mkdir /www; echo page > /www/index.html; exec httpd -f -p 80 -h /www"], image={"image": BASE})
    eq(e.exec(c, "hostname"), (0, "test-hostname\n", ""))
    code, out, err = e.exec(c, "cat", "/etc/resolv.conf")
    for line in ("nameserver 10.10.10.10", "search google.com", "options ndots:8"):
        has(out, line)
    eq((code, err), (0, ""))
    ip = e.cri.call("PodSandboxStatus", pod_sandbox_id=s[0])["status"]["network"]["ip"]
    for address in (f"{ip}:80", "127.0.0.1:12000"):
        until(f"{address} answers", lambda a=address: e.inside("busybox", "wget", "-qO-", f"http://{a}/") == "page\n")
    remove(s)


def shared_memory():
    """Of System V, made on the node."""
    e.inside("ipcmk", "-M", "1048576")
    keys = lambda text: {line.split()[0] for line in text.splitlines()[1:]}  # noqa: E731
    on_node = keys(e.inside("cat", "/proc/sysvipc/shm"))
    for mode in (NODE, POD):
        options = {"namespace_options": {"pid": POD, "ipc": mode, "network": POD}}
        s = pod(security_context=options)
        c = e.run(s, TOP, security=options)
        eq(on_node <= keys(e.out(c, "cat", "/proc/sysvipc/shm")), mode == NODE)
        remove(s)


def process_namespaces():
    for mode in (NODE, POD, CONTAINER):
        options = {"namespace_options": {"pid": mode}}
        s = pod(security_context=options)
        main = e.run(s, ["sh", "-c", "sleep 7171"], security=options)
        first = e.out(main, "cat", "/proc/1/cmdline").replace("\0", " ")
        eq("sleep 7171" in first, mode == CONTAINER)
        other = e.run(s, ["sh", "-c", "sleep 1000"], security=options)
        eq("sleep 7171" in e.out(other, "ps"), mode != CONTAINER)
        remove(s)


def host_network():
    listener = subprocess.Popen(["nsenter", "-t", str(e.holder.pid), "-n", "busybox", "nc", "-ll", "-p", "12345", "-e", "cat"])
    try:
        for mode in (NODE, POD):
            options = {"namespace_options": {"network": mode}}
            s = pod(security_context=options)
            until("it listens", lambda: ":12345" in e.inside("busybox", "netstat", "-ln"))
            said = e.output_of(s, ["sh", "-c", "netstat -ln"], security=options, image={"image": BASE})
            eq(":12345" in said, mode == NODE)
            remove(s)
    finally:
        listener.kill()
        listener.wait()


def groups_and_users():
    s = e.run_sandbox()
    run = lambda command, **security: e.run(s, command, image={"image": BASE}, security=security)  # noqa: E731
    for policy, want in ((0, [1000, 1234, 50000]), (1, [1000, 1234])):
        c = run(["sh", "-c", "id -G; sleep 1000"], run_as_user={"value": 1000}, supplemental_groups=[1234], supplemental_groups_policy=policy)
        user = e.status(c)["user"]["linux"]
        eq((user["uid"], user["gid"], sorted(user["supplemental_groups"])), (1000, 1000, want))
        words = " ".join(map(str, want)) + "\n"
        until("it has spoken", lambda c=c: os.path.getsize(e.status(c)["log_path"]) > 0)
        with open(e.status(c)["log_path"], encoding="utf-8") as f:
            eq(f.read().split(" ", 3)[3], words)
        eq(e.out(c, "id", "-G"), words)
    eq(e.out(run(TOP, run_as_user={"value": 1001}), "id", "-u"), "1001\n")
    eq(e.out(run(TOP, run_as_username="nobody"), "id", "-nu"), "nobody\n")
    eq({"1234", "5678"} <= set(e.out(run(TOP, supplemental_groups=[1234, 5678]), "id", "-G").split()), True)
    eq(e.output_of(s, ["sh", "-c", "echo $(id -u):$(id -g)"], image={"image": BASE}, security={"run_as_user": {"value": 1001}, "run_as_group": {"value": 1002}}), "1001:1002\n")
    remove(s)


def capabilities():
    s, strong = pod(), pod(security_context={"privileged": True})
    run = lambda where=s, **security: e.run(where, TOP, image={"image": BASE}, security=security)  # noqa: E731
    bridge = lambda c: e.exec(c, "brctl", "addbr", "foobar")[0] == 0  # noqa: E731
    eq((bridge(run()), bridge(run(strong, privileged=True)), bridge(run(capabilities={"add_capabilities": ["NET_ADMIN"]}))), (False, True, True))
    code, out, err = e.exec(run(capabilities={"drop_capabilities": ["NET_RAW"]}), "ping", "127.0.0.1", timeout=5)
    eq((code != 0, out != ""), (True, True))
    has(err, "permission denied")
    bound = lambda **c: e.out(run(capabilities=c), "cat", "/proc/self/status").split("CapBnd:\t")[1][:16]  # noqa: E731
    eq((bound(add_capabilities=["ALL"]) != "0" * 16, bound(drop_capabilities=["ALL"])), (True, "0" * 16))
    remove(s, strong)


def paths():
    s = e.run_sandbox()
    run = lambda **security: e.run(s, TOP, image={"image": BASE}, security=security)  # noqa: E731
    code, _, err = e.exec(run(masked_paths=["/bin/ls"]), "/bin/sh", "-c", "/bin/ls")  # by its path: this busybox has an own ls in its shell
    eq((code, "ermission denied" in err), (126, True))
    code, _, err = e.exec(run(readonly_paths=["/etc"]), "touch", "/etc/test")
    eq((code, err), (1, "touch: /etc/test: Read-only file system\n"))
    for fixed, want in ((False, "Found\n"), (True, "touch: test.go: Read-only file system\n")):
        eq(e.output_of(s, ["sh", "-c", "touch test.go && [ -f test.go ] && echo 'Found'"], image={"image": BASE}, security={"readonly_rootfs": fixed}), want)
    remove(s)


def seccomp():
    profile = lambda names: {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": names, "action": "SCMP_ACT_ERRNO"}]}  # noqa: E731
    files = {}
    for key, names in (("chmod", ["chmod", "fchmodat"]), ("hostname", ["sethostname"])):
        files[key] = {"profile_type": 2, "localhost_ref": f"{e.dir}/block-{key}.json"}
        with open(files[key]["localhost_ref"], "w", encoding="ascii") as f:
            json.dump(profile(names), f)
    made = []

    def run(asked, privileged=False, capabilities=()):
        s = pod(security_context={"privileged": privileged, **({"seccomp": asked} if asked is not None else {})})
        made.append(s)
        security = {"privileged": privileged, "capabilities": {"add_capabilities": list(capabilities)}, **({"seccomp": asked} if asked is not None else {})}
        return e.run(s, TOP, image={"image": BASE}, security=security)
    for asked, want in (({"profile_type": 1}, "0"), ({}, "2"), (None, "0")):
        eq(e.out(run(asked), "grep", "Seccomp:", "/proc/self/status").split()[1], want)
    code, _, err = e.exec(run(files["chmod"]), "chmod", "400", "/")
    eq(code != 0, True)
    has(err, "Operation not permitted")
    rename = lambda c: e.exec(c, "hostname", "ANewHostName")[0] == 0  # noqa: E731
    eq((rename(run({"profile_type": 1}, capabilities=["SYS_ADMIN"])), rename(run(files["hostname"], capabilities=["SYS_ADMIN"])), rename(run(files["hostname"], privileged=True))), (True, False, True))
    remove(*made)


def privileges():
    """A program that is its owner's whoever starts it, as the suite's image has one."""
    s = e.run_sandbox()
    for kept, want in ((False, "0\n"), (True, "")):
        c = e.run(s, ["su", "-c", "id -u", "root"], image={"image": BASE}, security={"run_as_user": {"value": 1000}, "no_new_privs": kept})
        status = e.exited(c)
        eq(status["exit_code"] == 0, not kept)
        with open(status["log_path"], encoding="utf-8") as f:
            eq("".join(line.split(" ", 3)[3] for line in f if " stdout " in line), want)
    remove(s)


def user_namespaces():
    one = {"host_id": 1000, "container_id": 0, "length": 100000}
    if e.cri.call("Status")["runtime_handlers"][0]["features"]["user_namespaces"]:
        s = e.run_sandbox(linux={"security_context": {"namespace_options": {"userns_options": {"mode": POD, "uids": [one], "gids": [one]}}}})
        eq(e.output_of(s, ["cat", "/proc/self/uid_map"], security={"namespace_options": {"userns_options": {"mode": POD, "uids": [one], "gids": [one]}}}).split(), ["0", "1000", "100000"])
        remove(s)
    for options in ({"mode": POD, "uids": [one, one], "gids": [one, one]}, {"mode": POD, "uids": [{**one, "container_id": 1}], "gids": [one]}, {"mode": CONTAINER}, {"mode": TARGET}):
        e.cri.refused("RunPodSandbox", config=e.sandbox_config(linux={"security_context": {"namespace_options": {"userns_options": options}}}))
    s = e.run_sandbox(linux={"security_context": {"namespace_options": {"userns_options": {"mode": NODE}}}})
    with open("/proc/self/uid_map", encoding="ascii") as f:
        eq(e.output_of(s, ["cat", "/proc/self/uid_map"], security={"namespace_options": {"userns_options": {"mode": NODE}}}).split(), f.read().split())
    remove(s)


def logs():
    """The file is there as soon as StartContainer answers, whole when the container has exited, and there again when ReopenContainerLog answers."""
    s = e.run_sandbox()
    c = e.run(s, ["sh", "-c", "while true; do echo hello World; sleep 0.1; done"])
    path = e.status(c)["log_path"]
    eq(os.path.exists(path), True)
    until("it has spoken", lambda: os.path.getsize(path) > 0)
    os.rename(path, path + ".new")
    e.cri.call("ReopenContainerLog", container_id=c)
    eq(os.path.exists(path), True)
    until("it goes on", lambda: os.path.getsize(path) > 0)
    for _ in range(5):
        eq(e.output_of(s, ["echo", "hello World"]), "hello World\n")
    remove(s)


def kubelet_starts():
    """What a kubelet calls before its first pod, and for each of them after."""
    version = e.cri.call("Version", version="0.1.0")
    eq([key for key in ("version", "runtime_name", "runtime_version", "runtime_api_version") if not version[key]], [])
    eq(e.cri.call("RuntimeConfig")["linux"]["cgroup_driver"], 1)
    e.cri.call("UpdateRuntimeConfig", runtime_config={"network_config": {"pod_cidr": ""}})
    eq([(c["type"], c["status"]) for c in e.cri.call("Status")["status"]["conditions"]], [("RuntimeReady", True), ("NetworkReady", True)])
    info = e.cri.call("ImageFsInfo")
    for one in info["image_filesystems"] + info["container_filesystems"]:
        eq((os.path.isdir(one["fs_id"]["mountpoint"]), one["timestamp"] > 0), (True, True))
    for method in ("ListContainers", "ListPodSandbox"):
        e.cri.call(method, filter={"label_selector": {"io.kubernetes.pod.uid": "none"}})
    s = e.run_sandbox(linux={"resources": {"cpu_shares": 2}, "overhead": {}})
    c = e.run(s, TOP, resources={"cpu_period": 100000, "cpu_shares": 2, "oom_score_adj": 1000, "hugepage_limits": [{"page_size": "2MB", "limit": 0}, {"page_size": "1GB", "limit": 0}]},
              envs=[{"key": "KUBERNETES_PORT", "value": "tcp://10.0.0.1:443"}], annotations={"io.kubernetes.container.restartCount": "0"}, image={"image": pull(BASE), "user_specified_image": BASE})
    status = e.cri.call("PodSandboxStatus", pod_sandbox_id=s[0])
    eq(([x["id"] for x in status["containers_statuses"]], status["timestamp"] > 0, status["status"]["created_at"] > 0), ([c], True, True))
    one = e.status(c)
    eq((one["image"]["image"], one["image_ref"] in image_status(BASE)["repo_digests"], 0 < one["created_at"] <= one["started_at"], one["finished_at"]), (BASE, True, True, 0))
    remove(s)


def crictl_flows():
    s = e.run_sandbox()
    c = e.run(s, TOP, image={"image": BASE})
    told = {"Status": {}, "PodSandboxStatus": {"pod_sandbox_id": s[0]}, "ContainerStatus": {"container_id": c}, "ImageStatus": {"image": {"image": BASE}}}
    for method, request in told.items():  # info, inspectp, inspect, inspecti
        for text in e.cri.call(method, verbose=True, **request)["info"].values():
            eq(isinstance(json.loads(text), dict), True)
        eq(e.cri.call(method, **request)["info"], {})
    eq(json.loads(e.cri.call("ContainerStatus", container_id=c, verbose=True)["info"]["info"])["pid"] > 1, True)
    eq(e.cri.call("ContainerStatus", container_id=c[:13])["status"]["id"], c)  # as people write them
    eq(len(e.cri.call("PodSandboxStats", pod_sandbox_id=s[0])["stats"]["linux"]["containers"]), 1)
    eq({m["name"] for m in e.cri.call("ListPodSandboxMetrics")["pod_metrics"][0]["metrics"]} <= {d["name"] for d in e.cri.call("ListMetricDescriptors")["descriptors"]}, True)
    e.cri.call("UpdateContainerResources", container_id=c, linux={"cpu_shares": 100})
    eq(e.cri.refused("CheckpointContainer", container_id=c, location="/tmp/x.tar").code, UNIMPLEMENTED)
    used = {x["image_id"] for x in e.cri.call("ListContainers")["containers"]}  # rmi --prune
    for image in e.cri.call("ListImages")["images"]:
        if image["id"] not in used:
            e.cri.call("RemoveImage", image={"image": image["id"]})
    eq({i["id"] for i in e.cri.call("ListImages")["images"]}, used)
    remove(s)  # rmp -f


def several_containers():
    s = e.run_sandbox(port_mappings=[{"container_port": 80}])
    image = {"image": BASE}
    server = e.run(s, ["sh", "-c", "mkdir /www; echo page > /www/index.html; exec httpd -f -p 80 -h /www"], image=image)
    other = e.run(s, ["sh", "-c", "echo hello World; sleep 1000"], image=image)
    ip = e.cri.call("PodSandboxStatus", pod_sandbox_id=s[0])["status"]["network"]["ip"]
    until("the page comes", lambda: e.inside("busybox", "wget", "-qO-", f"http://{ip}/") == "page\n")
    until("it has spoken", lambda: "hello World" in open(e.status(other)["log_path"], encoding="utf-8").read())
    eq((e.out(server, "echo", "httpd"), e.out(other, "echo", "busybox")), ("httpd\n", "busybox\n"))
    remove(s)


def main():
    with e.serving(checks):
        registry = subprocess.Popen(["nsenter", "-t", str(e.holder.pid), "-m", "-n", e.binary, "registry", "--listen", REGISTRY, "--data-dir", e.dir + "/registry"], stdout=subprocess.DEVNULL,
                                    stderr=subprocess.DEVNULL)
        try:
            until("the registry answers", lambda: "{}" in e.inside("busybox", "wget", "-qO-", f"http://{REGISTRY}/v2/"))
            publish(BASE)
            pull(BASE)
            for test in (image_references, image_lists, image_users, image_ids, image_volumes, declared_volumes, idempotence, stats, metrics, propagation, readonly_mounts, volumes, out_of_memory, timeouts, sysctls, networking,
                         shared_memory, process_namespaces, host_network, groups_and_users, capabilities, paths, seccomp, privileges, user_namespaces, logs, several_containers, kubelet_starts, crictl_flows):
                checks.run(test.__name__, test)
        finally:
            registry.kill()
            registry.wait()
    return checks.finish()


sys.exit(main())
