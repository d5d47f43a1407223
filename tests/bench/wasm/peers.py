#!/usr/bin/env python3
"""peers.py MONOPOD FOLDER [ROUNDS]: the kernels of FOLDER (native/ and wasm/) as programs, natively, under `monopod wasm run` and under node where there is
one (V8 as it comes, and with its optimising compiler alone), interleaved. Each kernel times itself; printed is the best time of all rounds as a ratio to native, and the geometric means."""
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile

REPETITIONS = "12"
SHIM = """
import { readFileSync } from 'node:fs';
import { WASI } from 'node:wasi';
const wasi = new WASI({ version: 'preview1', args: process.argv.slice(2) });
const module = await WebAssembly.compile(readFileSync(process.argv[2]));
process.exitCode = wasi.start(await WebAssembly.instantiate(module, wasi.getImportObject()));
"""


def best_us(*command):
    done = subprocess.run([*command, REPETITIONS], capture_output=True, text=True, timeout=120)
    found = re.search(r"best_us=(\d+)", done.stdout)
    if done.returncode != 0 or found is None:
        raise SystemExit(f"{' '.join(command)}: exit {done.returncode}: {done.stderr.strip()}")
    return int(found.group(1))


def main():
    monopod, folder, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 3
    with tempfile.NamedTemporaryFile("w", suffix=".mjs") as shim:
        shim.write(SHIM)
        shim.flush()
        engines = {"monopod": [monopod, "wasm", "run"]}
        if node := shutil.which("node"):
            engines["node"] = [node, "--no-warnings", shim.name]
            engines["turbofan"] = [node, "--no-warnings", "--no-liftoff", shim.name]
        else:
            print("no node: its column is left out")
        ratios = {name: [] for name in engines}
        for kernel in sorted(os.listdir(os.path.join(folder, "native"))):
            wasm = os.path.join(folder, "wasm", kernel + ".wasm")
            if kernel == "hello" or not os.path.exists(wasm):
                continue
            best = {}
            for _ in range(rounds):
                for name, command in {"native": [os.path.join(folder, "native", kernel)], **{n: [*c, wasm] for n, c in engines.items()}}.items():
                    best[name] = min(best.get(name, 1 << 60), best_us(*command))
            for name in engines:
                ratios[name].append(best[name] / best["native"])
            print(f"wasm_peers_{kernel:10} native_us {best['native']:6d}  " + "  ".join(f"{name} {ratios[name][-1]:5.2f}" for name in engines), flush=True)
    for name, list_ in ratios.items():
        print(f"wasm_peers_{name}_geomean {math.exp(sum(map(math.log, list_)) / len(list_)):.2f} worst {max(list_):.2f} ({len(list_)} kernels)")


main()
