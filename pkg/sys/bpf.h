// bpf(2) without a library: programs of a few dozen instructions, assembled by hand, and the maps they use. Callers need CAP_BPF (and what their kind
// of program asks for), or CAP_SYS_ADMIN on older kernels; kPermissionDenied and so on say what is missing.
#pragma once

#include <linux/bpf.h>

#include <vector>

#include "base/error.h"
#include "sys/fd.h"

namespace monopod::sys::bpf {

using Instruction = struct bpf_insn;

Instruction instruction(unsigned code, unsigned dst, unsigned src, int offset, int immediate);
inline Instruction move(unsigned dst, unsigned src) { return instruction(BPF_ALU64 | BPF_MOV | BPF_X, dst, src, 0, 0); }
inline Instruction set(unsigned dst, int value) { return instruction(BPF_ALU64 | BPF_MOV | BPF_K, dst, 0, 0, value); }
inline Instruction leave() { return instruction(BPF_JMP | BPF_EXIT, 0, 0, 0, 0); }

long call(int command, union bpf_attr& attr);
// type: BPF_PROG_TYPE_*; what: for the error.
Result<Fd> load_program(unsigned type, const std::vector<Instruction>& code, const char* what);

struct MapSpec {
  unsigned type = 0;  // BPF_MAP_TYPE_*
  unsigned key_bytes = 0, value_bytes = 0, entries = 0, flags = 0;
};
Result<Fd> make_map(const MapSpec& spec, const char* what);
Result<> update(int map, const void* key, const void* value);
void remove(int map, const void* key);

}  // namespace monopod::sys::bpf
