#include "sys/bpf.h"

#include <sys/syscall.h>
#include <unistd.h>

#include "base/strings.h"

namespace monopod::sys::bpf {

Instruction instruction(unsigned code, unsigned dst, unsigned src, int offset, int immediate) {
  Instruction out = {};
  out.code = static_cast<__u8>(code);
  out.dst_reg = dst & 0xf;
  out.src_reg = src & 0xf;
  out.off = static_cast<__s16>(offset);
  out.imm = immediate;
  return out;
}

long call(int command, union bpf_attr& attr) { return ::syscall(SYS_bpf, command, &attr, sizeof attr); }

Result<Fd> load_program(unsigned type, const std::vector<Instruction>& code, const char* what) {
  union bpf_attr attr = {};
  attr.prog_type = type;
  attr.insns = reinterpret_cast<std::uintptr_t>(code.data());
  attr.insn_cnt = static_cast<__u32>(code.size());
  attr.license = reinterpret_cast<std::uintptr_t>("Apache-2.0");
  Fd program(static_cast<int>(call(BPF_PROG_LOAD, attr)));
  if (!program) return fail_errno(cat("load ", what));
  return program;
}

Result<Fd> make_map(const MapSpec& spec, const char* what) {
  union bpf_attr attr = {};
  attr.map_type = spec.type;
  attr.key_size = spec.key_bytes;
  attr.value_size = spec.value_bytes;
  attr.max_entries = spec.entries;
  attr.map_flags = spec.flags;
  Fd map(static_cast<int>(call(BPF_MAP_CREATE, attr)));
  if (!map) return fail_errno(cat("make ", what));
  return map;
}

Result<> update(int map, const void* key, const void* value) {
  union bpf_attr attr = {};
  attr.map_fd = static_cast<__u32>(map);
  attr.key = reinterpret_cast<std::uintptr_t>(key);
  attr.value = reinterpret_cast<std::uintptr_t>(value);
  if (call(BPF_MAP_UPDATE_ELEM, attr) < 0) return fail_errno("update bpf map");
  return {};
}

void remove(int map, const void* key) {
  union bpf_attr attr = {};
  attr.map_fd = static_cast<__u32>(map);
  attr.key = reinterpret_cast<std::uintptr_t>(key);
  call(BPF_MAP_DELETE_ELEM, attr);
}

}  // namespace monopod::sys::bpf
