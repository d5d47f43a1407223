"""What a pod's spec asks of its containers: namespaces, users, capabilities, environment, volumes, resources."""
import base64
import json
import os

from harness import until
from pods_support import case, condition_of, config_map, container, expect, pod, secret


def node_ip(c):
    _, nodes = c.request("GET", "/api/v1/nodes")
    return next(a["address"] for a in nodes["items"][0]["status"]["addresses"] if a["type"] == "InternalIP")


WEB = "mkdir -p /www; echo page of $HOSTNAME > /www/index.html; exec httpd -f -p {} -h /www"


@case("host ports", pod("host-port", container(script=WEB.format(8080), ports=[{"containerPort": 8080, "hostPort": 18080}])))
def host_ports(c):
    c.ready("host-port")
    fetch = lambda: c.node.inside("busybox", "wget", "-q", "-O", "-", f"http://{node_ip(c)}:18080/", check=False).stdout  # noqa: E731
    until("an answer on the node's port", lambda: "page of host-port" in fetch(), 10)
    second = pod("host-port-2", container(ports=[{"containerPort": 8080, "hostPort": 18080}]))
    c.create(second)
    c.wait_event("host-port-2", "didn't have free ports")
    c.delete("host-port-2")


@case("host network", pod("host-net", container(script="hostname; cat /etc/resolv.conf; ls /sys/class/net; " + WEB.format(18091)), hostNetwork=True))
def host_network(c):
    p = c.ready("host-net")
    assert p["status"]["podIP"] == p["status"]["hostIP"] == node_ip(c), p["status"]
    text = c.logs("host-net")
    expect(text, p["spec"]["nodeName"], "monopod0")
    assert "10.43.0.10" not in text, "dnsPolicy ClusterFirst on the host's network means the host's DNS"
    until("an answer on loopback", lambda: "page of" in c.node.inside("busybox", "wget", "-q", "-O", "-", "http://127.0.0.1:18091/", check=False).stdout, 10)


@case("host process and IPC namespaces", pod("host-pid", container(script="echo self $$$$; readlink /proc/self/ns/ipc; cat /proc/1/comm; exec sleep 1000"), hostPID=True, hostIPC=True),
      pod("own-pid", container(script="echo self $$$$; readlink /proc/self/ns/ipc; ls -d /proc/[0-9]*; exec sleep 1000")))
def host_pid(c):
    c.ready("host-pid")
    c.ready("own-pid")
    host, own = c.logs("host-pid").split("\n"), c.logs("own-pid")
    assert host[0] != "self 1" and own.startswith("self 1\n"), (host, own)
    with open("/proc/1/comm", encoding="ascii") as f:
        assert host[2] == f.read().strip()
    assert host[1] == os.readlink(f"/proc/{c.node.supervisor_pid()}/ns/ipc") and host[1] not in own
    c.exec("host-pid", "test", "-d", f"/proc/{c.node.node_pid()}")
    c.delete("host-pid")
    c.gone("host-pid")


@case("privileged", pod("privileged", container(script="grep -E 'CapEff|Seccomp:|NoNewPrivs' /proc/self/status; mkdir /m; mount -t tmpfs t /m && echo mounted; ls /dev; echo 1 > /proc/sys/net/ipv4/ip_forward && echo sysctl",
                                                securityContext={"privileged": True})))
def privileged(c):
    text = c.output("privileged")
    expect(text, "Seccomp:\t0", "NoNewPrivs:\t0", "mounted", "kmsg", "sysctl")
    with open(f"/proc/{c.node.supervisor_pid()}/status", encoding="ascii") as f:
        expect(text, next(line for line in f if line.startswith("CapEff:")).strip())


@case("confined by default", pod("confined", container(script="grep -E 'CapEff|Seccomp:' /proc/self/status; mount -t tmpfs t /mnt || echo no mount; busybox unshare -U true || echo no unshare; "
                                                              "echo 1 > /proc/sys/kernel/panic || echo no sysctl; ls /proc/kcore -l; head -c 1 /proc/kcore | wc -c")))
def confined(c):
    expect(c.output("confined"), "Seccomp:\t2", "CapEff:\t00000000a80425fb", "no mount", "no unshare", "no sysctl", "\n0\n")


@case("capabilities and seccomp", pod("caps", container(script="grep CapEff /proc/self/status; ip link set lo mtu 1400 && echo link; touch /f; chown 1:1 /f || echo no chown",
                                                        securityContext={"capabilities": {"add": ["NET_ADMIN"], "drop": ["CHOWN"]}})),
      pod("unconfined", container(script="grep Seccomp: /proc/self/status", securityContext={"seccompProfile": {"type": "Unconfined"}})),
      pod("no-profile", container(securityContext={"seccompProfile": {"type": "Localhost", "localhostProfile": "absent.json"}})),
      pod("bad-cap", container(securityContext={"capabilities": {"add": ["NO_SUCH_THING"]}})),
      pod("user-namespace", container(), hostUsers=False))
def capabilities(c):
    expect(c.output("caps"), "CapEff:\t00000000a80435fa", "link", "no chown")
    expect(c.output("unconfined"), "Seccomp:\t0")
    for name, text in [("no-profile", "absent.json"), ("bad-cap", "NO_SUCH_THING"), ("user-namespace", "user namespaces are not supported")]:
        p = c.wait(name, "an error", lambda p: "message" in p["status"].get("containerStatuses", [{}])[0].get("state", {}).get("waiting", {}))
        waiting = p["status"]["containerStatuses"][0]["state"]["waiting"]
        assert waiting["reason"] in ("CreateContainerError", "CreateContainerConfigError") and text in waiting["message"], waiting
        c.delete(name)


@case("shared process namespace", pod("share-pid", container("one", script="trap 'echo hup in one; exit 0' HUP; sleep 1000 & wait"),
                                      container("two", script="sleep 1; for d in /proc/[0-9]*; do echo $d $(tr '\\0' ' ' < $d/cmdline); done; "
                                                                      "for d in /proc/[0-9]*; do grep -q '[h]up in one' $d/cmdline && kill -HUP ${d#/proc/}; done; true"),
                                      shareProcessNamespace=True))
def share_process_namespace(c):
    c.phase("share-pid", "Succeeded")
    text = c.logs("share-pid", "two")
    expect(text, "/proc/1 ", "hup in one")
    first = next(line for line in text.split("\n") if line.startswith("/proc/1 "))
    assert "sh -c" not in first, "process 1 belongs to the pod, not to a container: " + first
    expect(c.logs("share-pid", "one"), "hup in one")


@case("users, groups, file modes", pod("users", container(script="id; touch /e/new; stat -c '%a %u %g' /e /e/new; stat -L -c '%n %a %g' /s/key /t/token; cat /s/key", volumeMounts=[
    {"name": "e", "mountPath": "/e"}, {"name": "s", "mountPath": "/s"}, {"name": "t", "mountPath": "/t"}]),
    securityContext={"runAsUser": 1000, "runAsGroup": 2000, "fsGroup": 3000, "supplementalGroups": [4000], "runAsNonRoot": True},
    volumes=[{"name": "e", "emptyDir": {}}, {"name": "s", "secret": {"secretName": "users", "defaultMode": 0o400}}, {"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}]),
      secret("users", key="hidden\n"), pod("root-refused", container(), securityContext={"runAsNonRoot": True}))
def users(c):
    text = c.output("users")
    expect(text, "uid=1000 gid=2000 groups=2000,3000,4000" if "groups=2000" in text else "uid=1000 gid=2000 groups=3000,4000", "2777 0 3000", "1000 3000", "/s/key 440 3000", "/t/token 640 3000", "hidden")
    p = c.wait("root-refused", "refused", lambda p: p["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == "CreateContainerConfigError")
    expect(p["status"]["containerStatuses"][0]["state"]["waiting"]["message"], "container has runAsNonRoot and image will run as root")
    c.delete("root-refused")


@case("read-only root", pod("read-only", container(script="touch /x || echo root no; touch /e/x && echo volume yes; touch /dev/shm/x && echo shm yes", securityContext={"readOnlyRootFilesystem": True},
                                                   volumeMounts=[{"name": "e", "mountPath": "/e"}, {"name": "e", "mountPath": "/ro", "readOnly": True}]), volumes=[{"name": "e", "emptyDir": {}}]))
def read_only(c):
    expect(c.output("read-only"), "root no", "volume yes", "shm yes")


@case("environment", config_map("env", A="from map", B="b"), secret("env", S="from secret"), pod("env", container(script="env", env=[
    {"name": "PLAIN", "value": "$(FIRST) $$(FIRST) $(NONE)"}, {"name": "FIRST", "value": "1"}, {"name": "SECOND", "value": "$(FIRST)2"},
    {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}, {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
    {"name": "LABEL", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['team']"}}}, {"name": "MAP", "valueFrom": {"configMapKeyRef": {"name": "env", "key": "A"}}},
    {"name": "SECRET", "valueFrom": {"secretKeyRef": {"name": "env", "key": "S"}}}, {"name": "NOTHING", "valueFrom": {"configMapKeyRef": {"name": "absent", "key": "x", "optional": True}}},
    {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1m"}}}, {"name": "MEM", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}}],
    envFrom=[{"prefix": "P_", "configMapRef": {"name": "env"}}, {"secretRef": {"name": "none", "optional": True}}], resources={"limits": {"cpu": "250m", "memory": "64Mi"}}), labels={"team": "blue"}))
def environment(c):
    lines = c.output("env").split("\n")
    p = c.pod("env")
    for line in ["PLAIN=$(FIRST) $(FIRST) $(NONE)", "FIRST=1", "SECOND=12", f"NODE={p['spec']['nodeName']}", f"IP={p['status']['podIP']}", "LABEL=blue", "MAP=from map", "SECRET=from secret",
                 "CPU=250", "MEM=64", "P_A=from map", "P_B=b", "HOSTNAME=env", "KUBERNETES_SERVICE_HOST=10.43.0.1", "KUBERNETES_SERVICE_PORT=443"]:
        assert line in lines, (line, lines)
    assert not any(line.startswith("NOTHING") for line in lines)


@case("a config map that comes later", pod("late", container(script="echo $X", env=[{"name": "X", "valueFrom": {"configMapKeyRef": {"name": "late", "key": "x"}}}])),
      pod("late-volume", container(script="cat /v/x", volumeMounts=[{"name": "v", "mountPath": "/v"}]), volumes=[{"name": "v", "configMap": {"name": "late"}}]))
def late_config_map(c):
    p = c.wait("late", "CreateContainerConfigError", lambda p: p["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == "CreateContainerConfigError")
    expect(p["status"]["containerStatuses"][0]["state"]["waiting"]["message"], 'configmap "late" not found')
    c.wait_event("late-volume", 'MountVolume.SetUp failed for volume "v" : configmap "late" not found')
    c.create(config_map("late", x="here"))
    expect(c.output("late"), "here")
    expect(c.output("late-volume"), "here")


@case("downward API, also when labels change", pod("downward", container(script="exec sleep 1000", resources={"requests": {"cpu": "100m"}, "limits": {"memory": "32Mi"}}, volumeMounts=[{"name": "d", "mountPath": "/d"}]),
                                                   labels={"colour": "red"}, annotations={"note": "two\nlines"}, volumes=[{"name": "d", "downwardAPI": {"items": [
                                                       {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}, {"path": "notes", "fieldRef": {"fieldPath": "metadata.annotations"}},
                                                       {"path": "deep/ns", "fieldRef": {"fieldPath": "metadata.namespace"}, "mode": 0o400},
                                                       {"path": "mem", "resourceFieldRef": {"containerName": "c", "resource": "limits.memory"}}, {"path": "cpu", "resourceFieldRef": {"containerName": "c", "resource": "requests.cpu", "divisor": "1m"}}]}}]))
def downward(c):
    c.ready("downward")
    text = c.exec("downward", "sh", "-c", "cat /d/labels /d/notes; cat /d/deep/ns; echo; cat /d/mem; echo; cat /d/cpu; echo; stat -L -c %a /d/deep/ns")
    expect(text, 'colour="red"', 'note="two\\nlines"', "default\n", f"{32 << 20}\n", "100\n", "400\n")
    c.patch("downward", {"metadata": {"labels": {"colour": "green"}}})
    until("the new label in the file", lambda: 'colour="green"' in c.exec("downward", "cat", "/d/labels"), 20, 0.5)
    c.delete("downward")


@case("projected token", pod("token", container(script="cat /t/token; echo; cat /t/ca.crt /t/ns; echo; cat /t/a/b", volumeMounts=[{"name": "t", "mountPath": "/t"}]), volumes=[{"name": "t", "projected": {"sources": [
    {"serviceAccountToken": {"path": "token", "audience": "vault", "expirationSeconds": 1200}}, {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
    {"downwardAPI": {"items": [{"path": "ns", "fieldRef": {"fieldPath": "metadata.namespace"}}]}}, {"secret": {"name": "token", "items": [{"key": "k", "path": "a/b"}]}}]}}]), secret("token", k="from secret"))
def projected_token(c):
    text = c.output("token")
    expect(text, "BEGIN CERTIFICATE", "default\n", "from secret")
    claims = text.split("\n")[0].split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
    assert claims["aud"] == ["vault"] and claims["exp"] - claims["iat"] == 1200, claims
    assert claims["sub"] == "system:serviceaccount:default:default" and claims["kubernetes.io"]["pod"]["name"] == "token", claims
    assert claims["kubernetes.io"]["pod"]["uid"] == c.pod("token")["metadata"]["uid"]


@case("emptyDir in memory with a limit", pod("memory", container(script="mount | grep /m; dd if=/dev/zero of=/m/big bs=1M count=8 || echo full; ls -l /m", volumeMounts=[{"name": "m", "mountPath": "/m"}]),
                                             volumes=[{"name": "m", "emptyDir": {"medium": "Memory", "sizeLimit": "4Mi"}}]))
def memory_volume(c):
    expect(c.output("memory"), "tmpfs on /m type tmpfs", "full", f"{4 << 20} ")


@case("subPath and subPathExpr", config_map("sub", one="file one", two="file two"),
      pod("sub-path", container(script="cat /etc/one.conf; ls /etc/two 2>&1; echo x > /data/x; echo y > /expr/y; cat /all/inner/x /all/by-sub-path/y",
                                env=[{"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
                                volumeMounts=[{"name": "m", "mountPath": "/etc/one.conf", "subPath": "one"}, {"name": "e", "mountPath": "/data", "subPath": "inner"},
                                              {"name": "e", "mountPath": "/expr", "subPathExpr": "by-$(NAME)"}, {"name": "e", "mountPath": "/all"}]),
          volumes=[{"name": "m", "configMap": {"name": "sub"}}, {"name": "e", "emptyDir": {}}]),
      pod("sub-escape", container("make", script="ln -s / /e/link"), container("use", script="ls /v", volumeMounts=[{"name": "e", "mountPath": "/v", "subPath": "link"}]), volumes=[{"name": "e", "emptyDir": {}}]))
def sub_path(c):
    expect(c.output("sub-path"), "file one", "No such file", "x\ny\n")
    bad = pod("sub-bad", container(volumeMounts=[{"name": "e", "mountPath": "/v", "subPath": "../up"}]), volumes=[{"name": "e", "emptyDir": {}}])
    status, answer = c.request("POST", "/api/v1/namespaces/default/pods", bad)
    assert status == 422 and "must not contain '..'" in answer["message"], answer
    c.delete("sub-escape")


@case("config volumes: items, modes, read-only", config_map("items", a="A", b="B"), pod("items", container(script="ls /v; cat /v/renamed; stat -L -c %a /v/renamed /w/a; touch /v/x 2>&1", volumeMounts=[
    {"name": "v", "mountPath": "/v"}, {"name": "w", "mountPath": "/w"}]), volumes=[{"name": "v", "configMap": {"name": "items", "items": [{"key": "a", "path": "renamed", "mode": 0o440}]}},
                                                                                   {"name": "w", "configMap": {"name": "items", "defaultMode": 0o640}}, {"name": "o", "configMap": {"name": "absent", "optional": True}}], restartPolicy="OnFailure"))
def items(c):
    c.wait("items", "an end", lambda p: c.status("items", "c")["state"].get("terminated") or c.status("items", "c")["restartCount"] > 0)
    text = c.logs("items")
    expect(text, "renamed\nA", "440\n640\n", "Read-only file system")
    c.delete("items")


@case("host paths and their types", pod("host-path", container(script="echo written > /made/by-pod; cat /made/by-pod", volumeMounts=[{"name": "h", "mountPath": "/made"}]),
                                        volumes=[{"name": "h", "hostPath": {"path": "/tmp/monopod-test-host-path", "type": "DirectoryOrCreate"}}]),
      pod("host-absent", container(volumeMounts=[{"name": "h", "mountPath": "/h"}]), volumes=[{"name": "h", "hostPath": {"path": "/no/such/file", "type": "File"}}]))
def host_path(c):
    expect(c.output("host-path"), "written")
    os.unlink("/tmp/monopod-test-host-path/by-pod")
    os.rmdir("/tmp/monopod-test-host-path")
    c.wait_event("host-absent", "hostPath type check failed: /no/such/file is not a file")
    c.delete("host-absent")


@case("names, hosts and DNS", pod("names", container(script="hostname; cat /etc/hosts /etc/resolv.conf; hostname > /dev/termination-log"), hostname="given", subdomain="sub",
                                  hostAliases=[{"ip": "1.2.3.4", "hostnames": ["alias.example"]}], dnsConfig={"searches": ["more.example"], "options": [{"name": "ndots", "value": "2"}], "nameservers": ["9.9.9.9"]}))
def names(c):
    text = c.output("names")
    expect(text, "given\n", "1.2.3.4\talias.example", "given.sub.default.svc.cluster.local", "nameserver 10.43.0.10", "nameserver 9.9.9.9", "more.example", "ndots:2", "default.svc.cluster.local")
    assert c.ended("names")["message"] == "given\n"


@case("resources reach the control groups", pod("limits", container(script="cat /proc/self/cgroup; cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu.max 2> /dev/null; "
                                                                           "cat /proc/self/oom_score_adj", resources={"requests": {"cpu": "100m", "memory": "32Mi"}, "limits": {"cpu": "500m", "memory": "64Mi"}})),
      pod("guaranteed", container(script="cat /proc/self/oom_score_adj", resources={"limits": {"cpu": "100m", "memory": "64Mi"}})), pod("effort", container(script="cat /proc/self/oom_score_adj")))
def resources(c):
    expect(c.output("limits"), f"{64 << 20}\n", "50000")
    assert [c.pod(n)["status"]["qosClass"] for n in ("limits", "guaranteed", "effort")] == ["Burstable", "Guaranteed", "BestEffort"]
    may_lower = "no CAP_SYS_RESOURCE" not in c.node.log()
    assert int(c.output("guaranteed")) == -997 or not may_lower, c.output("guaranteed")
    assert int(c.output("effort")) == 1000, c.output("effort")


@case("safe sysctls", pod("sysctls", container(script="cat /proc/sys/net/ipv4/ip_unprivileged_port_start"), securityContext={"sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "80"}]}),
      pod("sysctl-bad", container(), securityContext={"sysctls": [{"name": "kernel.panic", "value": "1"}]}))
def sysctls(c):
    assert c.output("sysctls").strip() == "80", c.output("sysctls")
    p = c.wait("sysctl-bad", "refused", lambda p: p["status"].get("phase") == "Failed" or c.events("sysctl-bad"))
    until("a word about the sysctl", lambda: "kernel.panic" in json.dumps(c.pod("sysctl-bad")["status"]) + str(c.events("sysctl-bad")))
    assert condition_of(p, "Ready") != "True"
    c.delete("sysctl-bad")
