#!/usr/bin/env python3
"""redirect_calls.py IN OUT CALLEE INSTEAD: OUT is the x86-64 object IN with each call of its function CALLEE made a call of the undefined INSTEAD.

Calls inside a section are resolved by the assembler: nothing is left for the linker's --wrap. Each gets its relocation back here. The tables that grow
are written anew at the end. It fails where there is no such call."""
import struct
import sys

SECTION, SYMBOL, RELOCATION = "<IIQQQQIIQQ", "<IBBHQQ", "<QQq"
SYMTAB, RELA = 2, 4
GLOBAL_NOTYPE = 0x10
PLT32 = 4
CALL, JUMP = 0xE8, 0xE9


class Object:
    def __init__(self, data):
        self.data = bytearray(data)
        self.table, = struct.unpack_from("<Q", data, 40)
        count, = struct.unpack_from("<H", data, 60)
        self.sections = [list(struct.unpack_from(SECTION, data, self.table + 64 * i)) for i in range(count)]

    def find(self, kind, of=None):
        """The section of this kind, and about that section."""
        return next(s for s in self.sections if s[1] == kind and of in (None, s[7]))

    def content(self, section):
        return bytes(self.data[section[4] : section[4] + section[5]])

    def append(self, section, more):
        content = self.content(section) + more
        self.data += bytes(-len(self.data) % 8)
        section[4], section[5] = len(self.data), len(content)
        self.data += content

    def bytes(self):
        for i, section in enumerate(self.sections):
            struct.pack_into(SECTION, self.data, self.table + 64 * i, *section)
        return bytes(self.data)


def calls(text, callee):
    """Where in text the distance to callee stands, behind a call or a jump."""
    for at in range(1, len(text) - 3):
        if text[at - 1] in (CALL, JUMP) and at + 4 + struct.unpack_from("<i", text, at)[0] == callee:
            yield at


def main():
    source, out, callee, instead = sys.argv[1:]
    with open(source, "rb") as f:
        obj = Object(f.read())
    symbols = obj.find(SYMTAB)
    names = obj.sections[symbols[6]]
    strings = obj.content(names)
    table = list(struct.iter_unpack(SYMBOL, obj.content(symbols)))
    of_callee = [s for s in table if strings[s[0] :].split(b"\0")[0].decode() == callee]
    if not of_callee:
        raise SystemExit(f"{source}: there is no {callee}")
    home, value = of_callee[0][3:5]
    relocations = obj.find(RELA, home)
    known = {r[0] for r in struct.iter_unpack(RELOCATION, obj.content(relocations))}
    found = [at for at in calls(obj.content(obj.sections[home]), value) if at not in known]
    if not found:
        raise SystemExit(f"{source}: nothing calls {callee}")
    obj.append(relocations, b"".join(struct.pack(RELOCATION, at, len(table) << 32 | PLT32, -4) for at in found))
    obj.append(symbols, struct.pack(SYMBOL, len(strings), GLOBAL_NOTYPE, 0, 0, 0, 0))
    obj.append(names, instead.encode() + b"\0")
    with open(out, "wb") as f:
        f.write(obj.bytes())


main()
