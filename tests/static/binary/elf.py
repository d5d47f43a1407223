#!/usr/bin/env python3
"""elf.py BINARY [MACHINE]: proves from the ELF headers that the executable needs nothing of the host: no interpreter, no shared
library, position independent, relocations read-only before main. MACHINE: x86_64 (default: any) or aarch64.

Reads the file itself (ELF-64 gABI, System V), so that binaries of another machine are judged too."""
import struct
import sys

PT_LOAD, PT_DYNAMIC, PT_INTERP = 1, 2, 3
PT_GNU_STACK, PT_GNU_RELRO = 0x6474E551, 0x6474E552
DT_NEEDED, DT_TEXTREL, DT_FLAGS, DT_RPATH, DT_RUNPATH, DT_FLAGS_1 = 1, 22, 30, 15, 29, 0x6FFFFFFB
DF_TEXTREL, DF_BIND_NOW, DF_1_NOW, DF_1_PIE = 0x4, 0x8, 0x1, 0x08000000
PF_X, PF_W = 1, 2
MACHINES = {"x86_64": 62, "aarch64": 183}
ET_DYN = 3
GOT_BYTES_MAX = 1 << 15  # from the start of its page: what libc.a's code for arm64 reaches of the global offset table (R_AARCH64_LD64_GOTPAGE_LO15)


def section(data, name):
    """Address and size of a section, or zeros."""
    shoff, = struct.unpack_from("<Q", data, 40)
    shentsize, shnum, shstrndx = struct.unpack_from("<HHH", data, 58)
    headers = [struct.unpack_from("<IIQQQQ", data, shoff + i * shentsize) for i in range(shnum)]
    for at, _type, _flags, addr, _offset, size in headers:
        start = headers[shstrndx][4] + at
        if data[start:data.index(b"\0", start)] == name:
            return addr, size
    return 0, 0


def inspect(path):
    """Returns the machine and what is wrong with the file, as a list of sentences."""
    with open(path, "rb") as f:
        data = f.read()
    if data[:4] != b"\x7fELF" or data[4] != 2 or data[5] != 1:
        return 0, ["is no 64-bit little-endian ELF file"]
    kind, machine = struct.unpack_from("<HH", data, 16)
    phoff, = struct.unpack_from("<Q", data, 32)
    phentsize, phnum = struct.unpack_from("<HH", data, 54)
    wrong = []
    if kind != ET_DYN:
        wrong.append("is not position independent")
    segments = []
    for i in range(phnum):
        p_type, flags, offset, _vaddr, _paddr, filesz, _memsz, _align = struct.unpack_from("<IIQQQQQQ", data, phoff + i * phentsize)
        segments.append((p_type, flags, offset, filesz))
    types = [s[0] for s in segments]
    if PT_INTERP in types:
        wrong.append("asks for a program interpreter")
    got, got_bytes = section(data, b".got")
    if machine == MACHINES["aarch64"] and got % 4096 + got_bytes > GOT_BYTES_MAX:
        wrong.append(f"has a global offset table of {got_bytes} bytes, which libc's code does not reach")
    if PT_GNU_RELRO not in types:
        wrong.append("has no RELRO segment")
    if PT_DYNAMIC not in types:
        wrong.append("has no dynamic section: linked -static, not -static-pie")
    for p_type, flags, _offset, _size in segments:
        if p_type == PT_LOAD and flags & PF_X and flags & PF_W:
            wrong.append("has a segment both writable and executable")
        if p_type == PT_GNU_STACK and flags & PF_X:
            wrong.append("asks for an executable stack")
    if PT_GNU_STACK not in types:
        wrong.append("does not say that its stack is not executable")
    tags = {}
    for p_type, _flags, offset, size in segments:
        if p_type != PT_DYNAMIC:
            continue
        for at in range(offset, offset + size, 16):
            tag, value = struct.unpack_from("<qQ", data, at)
            if tag == 0:
                break
            tags.setdefault(tag, []).append(value)
    if DT_NEEDED in tags:
        wrong.append(f"needs {len(tags[DT_NEEDED])} shared libraries")
    if DT_RPATH in tags or DT_RUNPATH in tags:
        wrong.append("carries a library search path")
    flags = tags.get(DT_FLAGS, [0])[0]
    flags_1 = tags.get(DT_FLAGS_1, [0])[0]
    if DT_TEXTREL in tags or flags & DF_TEXTREL:
        wrong.append("relocates its code")
    if not (flags & DF_BIND_NOW or flags_1 & DF_1_NOW):
        wrong.append("does not bind at start (-z now)")
    if PT_DYNAMIC in types and not flags_1 & DF_1_PIE:
        wrong.append("is not marked as a position independent executable")
    return machine, wrong


def main():
    path = sys.argv[1]
    machine, wrong = inspect(path)
    if len(sys.argv) > 2 and machine != MACHINES[sys.argv[2]]:
        wrong.append(f"is for machine {machine}, not {sys.argv[2]}")
    for sentence in wrong:
        print(f"{path}: {sentence}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
