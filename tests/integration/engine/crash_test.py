"""The engine's process dies at each named step between create and remove, its supervisor too; the next engine knows the container whole, or nothing of it is left."""
import os
import random
import re
import subprocess
import sys

from harness import ROOT, Checks, Engine, need_engine_host, running, until

need_engine_host()
engine = Engine()


def points():
    with open(os.path.join(ROOT, "pkg", "base", "failpoint.cc"), encoding="utf-8") as f:
        return re.findall(r'"(docker\.[a-z_]+)"', f.read())


def nothing_left():
    left = engine.leftovers()
    if any(left.values()):
        raise AssertionError(left)
    return True


def dies_at(point, words):
    engine.start({"MONOPOD_FAILPOINTS": f"{point}=crash"})
    p = subprocess.Popen([engine.client, "run", "-v", "/anonymous", "-p", "8099:80", *words, "hello:1", "true"], env=engine.env(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until(f"death at {point}", lambda: "exit_code=98" in engine.log()[mark():])
    engine.process.kill()
    engine.process.wait()
    p.wait(timeout=30)
    engine.start()
    for cid in engine.docker("ps", "-aq").split():
        engine.docker("rm", "-fv", cid)
    until(f"nothing is left after {point}", nothing_left)
    engine.docker("run", "--rm", "-p", "8099:80", "hello:1", "true")
    engine.stop()


def a_step_of_a_killed_build_ends():
    engine.start()
    context, word = engine.dir + "/context", str(10_000_000 + os.getpid())
    os.makedirs(context)
    with open(context + "/Dockerfile", "w", encoding="ascii") as f:
        f.write(f"FROM hello:1\nRUN sleep {word}\n")
    p = subprocess.Popen([engine.client, "build", context], env=engine.env(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until("the step runs", lambda: running(word))
    engine.kill_child()
    p.wait(timeout=30)
    until("the step has ended", lambda: not running(word))
    until("its files are gone", lambda: not os.listdir(engine.dir + "/data/build") and not os.listdir(engine.dir + "/data/content/snapshots"))
    engine.stop()


offset = [0]


def mark():
    return offset[0]


def main():
    checks = Checks(sys.argv[1] if len(sys.argv) > 1 else None)
    names = points()
    if len(names) < 10:
        raise SystemExit(f"failpoints are missing: {names}")
    try:
        engine.start()
        with open(engine.load_image(), "rb") as f:
            engine.docker("load", stdin=f.read())
        engine.stop()
        checks.run("build", a_step_of_a_killed_build_ends)
        if not checks.only and "MONOPOD_LONG" not in os.environ:
            names = random.sample(names, 4)
        for point in names:
            offset[0] = len(engine.log())
            checks.run(point, lambda p=point: dies_at(p, ["--rm"]))
            if engine.process:
                engine.process.kill()
                engine.process.wait()
                engine.process = None
    finally:
        if checks.failed:
            print("--- engine log\n" + engine.log()[-6000:])
        engine.close()
    return checks.finish()


sys.exit(main())
