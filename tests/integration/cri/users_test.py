"""Pods with user namespaces: ids inside and outside, files, namespaces that belong to it, id-mapped mounts; the whole as a kubelet asks for hostUsers: false."""
import os
import stat
import sys

from support import INVALID, Checks, CriEngine, need_engine_host, skip, until

need_engine_host()
e = CriEngine()
checks = Checks(sys.argv[1] if len(sys.argv) > 1 else None)
POD, CONTAINER, NODE, TARGET = range(4)
SIZE = 65536
FIRST = 1 << 20
SYSCTLS = {"net.ipv4.ip_forward": "1", "kernel.shm_rmid_forced": "1", "fs.mqueue.msg_max": "77"}


def eq(have, want):
    if have != want:
        raise AssertionError(f"have {have!r}, want {want!r}")


def options(first=FIRST, pid=CONTAINER, **more):
    line = [{"host_id": first, "container_id": 0, "length": SIZE}]
    return {"namespace_options": {"pid": pid, "userns_options": {"mode": POD, "uids": line, "gids": line}, **more}}


def pod(first=FIRST, pid=CONTAINER, **linux):
    return e.run_sandbox(linux={"security_context": options(first, pid), **linux})


def run(s, command=("sleep", "1000"), first=FIRST, pid=CONTAINER, security=None, **more):
    return e.run(s, list(command), security={**options(first, pid), **(security or {})}, **more)


def pid_of(c):
    import json
    return json.loads(e.cri.call("ContainerStatus", container_id=c, verbose=True)["info"]["info"])["pid"]


def ids_of(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        lines = dict(line.split(":\t", 1) for line in f if ":\t" in line)
    return lines["Uid"].split()[0], lines["Gid"].split()[0]


def announced():
    eq([h["features"]["user_namespaces"] for h in e.cri.call("Status")["runtime_handlers"]], [True])


def ids_inside_and_outside():
    s = pod()
    c = run(s)
    eq(e.out(c, "cat", "/proc/self/uid_map").split(), ["0", str(FIRST), str(SIZE)])
    eq(e.out(c, "cat", "/proc/self/gid_map").split(), ["0", str(FIRST), str(SIZE)])
    eq(e.out(c, "id", "-u"), "0\n")
    eq(ids_of(pid_of(c)), (str(FIRST), str(FIRST)))
    user = run(s, ["sleep", "1000"], security={"run_as_user": {"value": 1000}, "run_as_group": {"value": 1001}, "supplemental_groups": [5]})
    eq((e.out(user, "id", "-u"), e.out(user, "id", "-g"), sorted(e.out(user, "id", "-G").split())), ("1000\n", "1001\n", ["1001", "5"]))
    eq(ids_of(pid_of(user)), (str(FIRST + 1000), str(FIRST + 1001)))
    eq(os.readlink(f"/proc/{pid_of(c)}/ns/user"), os.readlink(f"/proc/{pid_of(user)}/ns/user"))
    eq(os.readlink(f"/proc/{pid_of(c)}/ns/net"), os.readlink(f"/proc/{pid_of(user)}/ns/net"))
    shown = e.cri.call("PodSandboxStatus", pod_sandbox_id=s[0])["status"]["linux"]["namespaces"]["options"]["userns_options"]
    eq((shown["mode"], shown["uids"][0]["host_id"]), (POD, FIRST))
    other = pod(first=FIRST + SIZE)
    eq(ids_of(pid_of(run(other, first=FIRST + SIZE))), (str(FIRST + SIZE), str(FIRST + SIZE)))
    for one in (s, other):
        e.cri.call("RemovePodSandbox", pod_sandbox_id=one[0])


def files():
    s = pod()
    c = run(s, ["sh", "-c", "echo from the program > /dev/stdout; sleep 1000"])
    eq(e.out(c, "stat", "-c", "%u %g", "/", "/bin", "/bin/busybox", "/etc/hosts", "/proc/1"), "0 0\n" * 5)
    eq(e.out(c, "sh", "-c", "mkdir /made; echo x > /made/file; chown 7:8 /made/file; stat -c '%u %g' /made/file; echo more >> /etc/hosts; cp /bin/busybox /own; rm /bin/false; ls /bin | grep -c false; true"), "7 8\n0\n")
    root = f"/proc/{pid_of(c)}/root"
    st = os.stat(root + "/made/file")
    eq((st.st_uid, st.st_gid, os.stat(root + "/bin/busybox").st_uid), (FIRST + 7, FIRST + 8, FIRST))
    until("the log", lambda: "from the program" in open(e.status(c)["log_path"], encoding="utf-8").read())
    eq(e.exec(c, "sh", "-c", "echo out > /dev/stdout; echo err > /dev/stderr"), (0, "out\n", "err\n"))
    eq(e.exec(c, "sh", "-c", "chown 0 /proc/sys/kernel/core_pattern; echo x > /proc/sys/kernel/core_pattern")[0] != 0, True)
    eq(e.out(c, "sh", "-c", "touch /dev/shm/x && stat -c %u /dev/shm/x"), "0\n")
    # Below a read-only root, too.
    c = run(s, ["sleep", "1000"], security={"readonly_rootfs": True})
    eq(e.exec(c, "touch", "/x")[0] != 0, True)
    e.cri.call("RemovePodSandbox", pod_sandbox_id=s[0])


def namespaces_belong_to_it():
    s = pod(pid=POD, sysctls=SYSCTLS)
    c = run(s, pid=POD, security={"capabilities": {"add_capabilities": ["NET_ADMIN", "SYS_ADMIN"]}})
    for name, value in SYSCTLS.items():
        eq(e.out(c, "cat", "/proc/sys/" + name.replace(".", "/")), value + "\n")
    eq(e.exec(c, "ip", "link", "set", "lo", "down")[0], 0)
    eq(e.exec(c, "hostname", "own")[0], 0)
    other = run(s, pid=POD)
    eq("sleep 1000" in e.out(other, "ps"), True)
    eq(os.readlink(f"/proc/{pid_of(c)}/ns/pid"), os.readlink(f"/proc/{pid_of(other)}/ns/pid"))
    e.kill_child()
    eq(e.out(c, "id", "-u"), "0\n")
    late = run(s, pid=POD)
    eq(e.out(late, "cat", "/proc/self/uid_map").split()[1], str(FIRST))
    e.cri.call("RemovePodSandbox", pod_sandbox_id=s[0])


def mapped_mounts():
    source = e.dir + "/volume"
    os.makedirs(source)
    for name, owner in (("zero", 0), ("five", 5)):
        with open(f"{source}/{name}", "w", encoding="ascii") as f:
            f.write(name)
        os.chown(f"{source}/{name}", owner, owner)
    line = [{"host_id": FIRST, "container_id": 0, "length": SIZE}]
    s = pod()
    c = run(s, mounts=[{"host_path": source, "container_path": "/mapped", "uidMappings": line, "gidMappings": line}, {"host_path": source, "container_path": "/plain"},
                       {"host_path": source, "container_path": "/fixed", "readonly": True, "recursive_read_only": True, "uidMappings": line, "gidMappings": line},
                       {"container_path": "/image", "image": {"image": "hello:1"}, "readonly": True}])
    eq(e.out(c, "stat", "-c", "%u", "/mapped/zero", "/mapped/five", "/plain/zero", "/fixed/five", "/image/bin"), "0\n5\n65534\n5\n0\n")
    eq(e.exec(c, "sh", "-c", "echo new > /mapped/new && chown 9 /mapped/new")[0], 0)
    eq(os.stat(source + "/new").st_uid, 9)
    eq(e.exec(c, "touch", "/plain/new2")[0] != 0, True)
    eq(e.exec(c, "touch", "/fixed/new2")[0] != 0, True)
    # Each is a descriptor that is handed over.
    c = run(s, mounts=[{"host_path": source, "container_path": f"/m/{i}", "uidMappings": line, "gidMappings": line} for i in range(150)])
    eq(e.out(c, "stat", "-c", "%u", "/m/0/five", "/m/149/five"), "5\n5\n")
    e.cri.call("RemovePodSandbox", pod_sandbox_id=s[0])
    # Without a user namespace, as well: ids of one mount alone.
    s = e.run_sandbox()
    c = e.run(s, mounts=[{"host_path": source, "container_path": "/mapped", "uidMappings": [{"host_id": 4000, "container_id": 0, "length": 100}], "gidMappings": [{"host_id": 4000, "container_id": 0, "length": 100}]}])
    eq(e.out(c, "stat", "-c", "%u", "/mapped/zero", "/mapped/five"), "4000\n4005\n")
    e.cri.call("RemovePodSandbox", pod_sandbox_id=s[0])


def scores_and_devices():
    s = pod()
    c = run(s, ["sleep", "1000"], resources={"oom_score_adj": 500})
    with open(f"/proc/{pid_of(c)}/oom_score_adj", encoding="ascii") as f:
        eq(f.read(), "500\n")
    for name in ("null", "zero", "random"):
        eq(stat.S_ISCHR(os.stat(f"/proc/{pid_of(c)}/root/dev/{name}").st_mode), True)
    eq(e.exec(c, "sh", "-c", "echo x > /dev/null; head -c 4 /dev/zero | wc -c 2>/dev/null; true")[0], 0)
    e.cri.call("RemovePodSandbox", pod_sandbox_id=s[0])


def refusals():
    line = {"host_id": FIRST, "container_id": 0, "length": SIZE}

    def refused(users, **more):
        eq(e.cri.refused("RunPodSandbox", config=e.sandbox_config(linux={"security_context": {"namespace_options": {"pid": CONTAINER, "userns_options": users, **more}}})).code, INVALID)
    good = {"mode": POD, "uids": [line], "gids": [line]}
    for users in ({"mode": POD}, {**good, "uids": [line, line]}, {**good, "gids": [{**line, "container_id": 1}]}, {**good, "uids": [{**line, "length": 0}]}, {**good, "uids": [{**line, "host_id": 0}]},
                  {**good, "uids": [{**line, "host_id": 0xffffffff}]}, {"mode": CONTAINER}, {"mode": TARGET}):
        refused(users)
    for which in ("network", "pid", "ipc"):
        refused(good, **{which: NODE})
    s = pod()
    eq(e.cri.refused("CreateContainer", pod_sandbox_id=s[0], sandbox_config=s[1], config={"metadata": {"name": "x"}, "image": {"image": "hello:1"}, "linux": {"security_context": options(FIRST + 1)}}).code, INVALID)
    e.cri.call("RemovePodSandbox", pod_sandbox_id=s[0])


def main():
    with e.serving(checks):
        if not e.cri.call("Status")["runtime_handlers"][0]["features"]["user_namespaces"]:
            skip("needs a file system with id-mapped mounts below the temporary folder")
        for name, test in (("it is announced", announced), ("ids inside and outside", ids_inside_and_outside), ("files are its root's", files), ("the pod's namespaces belong to it", namespaces_belong_to_it),
                           ("mounts are mapped", mapped_mounts), ("scores and devices", scores_and_devices), ("what cannot be is refused", refusals), ("nothing is left", e.nothing_left)):
            checks.run(name, test)
    return checks.finish()


sys.exit(main())
