#!/usr/bin/env python3
"""size.py BUILD_DIR: what each package and library adds to the executable, in KB, largest first ("size.NAME value KB"), and what the capabilities beyond the
node take together. Links the release executable once more, with a map."""
import collections
import re
import subprocess
import sys
import tempfile

LOADED = (".text", ".rodata", ".eh_frame", ".gcc_except_table", ".data.rel.ro", ".data")
# What a node does not need to run pods: each has its own issue, and its own share of the size.
BEYOND = {"wasm": ["wasm", "asmjit"], "proxy": ["proxy"], "container commands": ["docker_client", "compose"], "engine": ["docker", "cri", "streams"], "build, registry": ["build", "registry", "crypt"]}


def link_with_map(build, directory):
    command = subprocess.run(["ninja", "-C", build, "-t", "commands", "monopod"], capture_output=True, text=True, check=True).stdout.splitlines()[-1]
    command = command.replace("-o cmd/monopod", f"-Wl,-Map={directory}/map -o {directory}/monopod")
    subprocess.run(command, shell=True, cwd=build, check=True)
    with open(f"{directory}/map", encoding="utf-8", errors="replace") as f:
        return f.readlines()


def owner_of(path):
    archive = re.match(r"(?:.*/)?lib([^/]*?)\.a\(", path)
    if archive:
        return archive[1].removeprefix("pkg_")
    return "cmd" if path.startswith("cmd/") else "internal" if path.startswith("<") else "start files"


def sizes_in(lines):
    sizes = collections.Counter()
    section = ""
    for line in lines:
        row = re.match(r"\s*[0-9a-f]+\s+[0-9a-f]+\s+([0-9a-f]+)\s+\d+ (.*)$", line)
        if not row:
            continue
        if not row[2].startswith(" "):
            section = row[2].strip()
        elif section in LOADED and (part := re.match(r"^ {8}(\S.*?):\(", row[2])):
            sizes[owner_of(part[1])] += int(row[1], 16)
    return sizes


def main():
    with tempfile.TemporaryDirectory() as directory:
        sizes = sizes_in(link_with_map(sys.argv[1], directory))
    for name, size in sizes.most_common():
        print(f"size.{name} {size / 1e3:.0f} KB")
    beyond = 0
    for name, parts in BEYOND.items():
        share = sum(sizes[part] for part in parts)
        beyond += share
        print(f"size.of {name} {share / 1e6:.2f} MB")
    print(f"size.of the node {(sum(sizes.values()) - beyond) / 1e6:.2f} MB")


main()
