#!/usr/bin/env python3
"""oci_compare.py --binary monopod [--rounds 30]: create + start + wait + delete of a bundle of /bin/true (what `runc spec` writes, without a terminal), by
`monopod runtime` and by Debian's crun and runc in turn: wall and processor time, system calls, and fifty at once. In a mount namespace of its own whose control
groups are v1's alone, since crun refuses the hybrid kind; monopod is also measured on what the machine has. Prints "name value unit".

Processor time is user's and the kernel's, of every process from the first command to the last, the container's own among them. "floor" is what this machine
takes for unshare(1) with the bundle's namespaces and the program, and for three more processes that do nothing: four executions as a runtime has them."""
import argparse
import ctypes
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

PR_SET_CHILD_SUBREAPER = 36
AT_ONCE = 50


def make_bundle(directory):
    rootfs = f"{directory}/rootfs"
    for name in ("bin", "proc", "sys", "dev"):
        os.makedirs(f"{rootfs}/{name}")
    shutil.copy("/bin/busybox", f"{rootfs}/bin/busybox")
    os.symlink("busybox", f"{rootfs}/bin/true")
    subprocess.run([shutil.which("runc", path=os.environ["PATH"] + ":/usr/sbin"), "spec", "--bundle", directory], check=True)
    with open(f"{directory}/config.json") as f:
        config = json.load(f)
    config["process"].update({"terminal": False, "args": ["/bin/true"]})
    # A host without CAP_SYS_RESOURCE may have less than runc's example asks for.
    config["process"]["rlimits"] = []
    with open(f"{directory}/config.json", "w") as f:
        json.dump(config, f)


class Runtime:
    def __init__(self, name, words, directory):
        self.name, self.words = name, [*words, "--root", f"{directory}/state-{name}"]

    def call(self, *words):
        subprocess.run([*self.words, *words], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def create(self, bundle, name):
        self.call("create", "--bundle", bundle, "--pid-file", f"{bundle}/{self.name}-{name}.pid", name)
        self.call("start", name)

    def finish(self, bundle, name):
        with open(f"{bundle}/{self.name}-{name}.pid") as f:
            os.waitpid(int(f.read()), 0)
        self.call("delete", name)

    def once(self, bundle, name="c1"):
        self.create(bundle, name)
        self.finish(bundle, name)


class Floor:
    name = "floor"

    def once(self, bundle):
        run = lambda *words: subprocess.run(words, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        run("unshare", "-pimnuf", "--mount-proc", "chroot", f"{bundle}/rootfs", "/bin/true")
        for _ in range(3):
            run(f"{bundle}/rootfs/bin/true")


def reap_all():
    """What a runtime left to us, so that its time counts too."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0] != 0:
            pass
    except ChildProcessError:
        pass


def spent():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def system_calls(runtime, bundle):
    """Of all processes from create to delete."""
    total = 0
    for words in (("create", "--bundle", bundle, "--pid-file", f"{bundle}/pid", "c1"), ("start", "c1"), ("delete", "c1")):
        log = f"{bundle}/strace"
        # The first stage goes on after create, under the same tracer: it ends with the program.
        if words[0] == "create":
            tracer = subprocess.Popen(["strace", "-f", "-c", "-o", log, *runtime.words, *words], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
            while not os.path.exists(f"{bundle}/pid"):
                time.sleep(0.01)
            time.sleep(0.2)  # asking for the state would have the first stage answer
            continue
        if words[0] == "delete":
            tracer.wait(60)
            total += count(log)
        subprocess.run(["strace", "-f", "-c", "-o", log + words[0], *runtime.words, *words], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        total += count(log + words[0])
    os.remove(f"{bundle}/pid")
    return total


def count(path):
    with open(path) as f:
        for line in f:
            if line.rstrip().endswith("total"):
                return int(line.split()[3])  # % time, seconds, usecs/call, calls
    return 0


def measure(runtimes, bundle, rounds, label):
    wall = {r.name: [] for r in runtimes}
    cpu = {r.name: [] for r in runtimes}
    for r in runtimes:
        r.once(bundle)
        reap_all()
    for _ in range(rounds):
        for r in runtimes:
            before, start = spent(), time.monotonic()
            r.once(bundle)
            wall[r.name].append(time.monotonic() - start)
            reap_all()
            cpu[r.name].append(spent() - before)
    for r in runtimes:
        for what, seconds in (("wall", wall[r.name]), ("cpu", cpu[r.name])):
            print(f"oci_{label}_{r.name}_{what}_min {min(seconds) * 1000:.1f} ms")
            print(f"oci_{label}_{r.name}_{what}_median {statistics.median(seconds) * 1000:.1f} ms")


def at_once(runtime, bundle):
    start = time.monotonic()
    creators = [subprocess.Popen([*runtime.words, "create", "--bundle", bundle, "--pid-file", f"{bundle}/{runtime.name}-m{i}.pid", f"m{i}"],
                                 stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) for i in range(AT_ONCE)]
    starters = []
    for i, process in enumerate(creators):
        if process.wait() != 0:
            raise SystemExit(f"{runtime.name}: create {i} failed")
        starters.append(subprocess.Popen([*runtime.words, "start", f"m{i}"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL))
    for process in starters:
        process.wait()
    seconds = time.monotonic() - start
    for i in range(AT_ONCE):
        runtime.finish(bundle, f"m{i}")
    return seconds


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--binary", required=True)
    arguments.add_argument("--rounds", type=int, default=30)
    arguments.add_argument("--view", default="")
    options = arguments.parse_args()
    if os.geteuid() != 0:
        raise SystemExit("needs root")
    if not options.view:
        for view, script in (("v1", "umount -l /sys/fs/cgroup/unified 2>/dev/null; "), ("host", "")):
            subprocess.run(["unshare", "--mount", "--propagation", "private", "sh", "-c", script + 'exec "$@"', "sh", sys.executable, *sys.argv, "--view", view], check=True)
        return
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    with tempfile.TemporaryDirectory(prefix="monopod-bench-") as directory:
        # State is where each has it by default, in memory; the mount goes with the namespace.
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", directory], check=True)
        make_bundle(directory)
        runtimes = [Runtime("monopod", [os.path.abspath(options.binary), "runtime"], directory)]
        for name in ("crun", "runc"):
            program = shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin")
            if program is None:
                print(f"SKIPPED: {name} is not installed")
            elif options.view == "v1" or name != "crun":
                runtimes.append(Runtime(name, [program], directory))
        measure([Floor(), *runtimes], directory, options.rounds, options.view)
        for runtime in runtimes:
            print(f"oci_{options.view}_{runtime.name}_{AT_ONCE}_at_once {min(at_once(runtime, directory) for _ in range(3)):.2f} s")
            if shutil.which("strace"):
                print(f"oci_{options.view}_{runtime.name}_system_calls {system_calls(runtime, directory)} calls")
        subprocess.run(["umount", "-l", directory], check=True)


main()
