#include "sys/device_filter.h"

#include <cerrno>

#include "sys/bpf.h"

namespace monopod::sys {
namespace {

using bpf::Instruction;
using bpf::instruction;
using bpf::leave;
using bpf::move;
using bpf::set;

Instruction load(unsigned dst, int offset) { return instruction(BPF_LDX | BPF_MEM | BPF_W, dst, 1, offset, 0); }
Instruction and_(unsigned dst, int value) { return instruction(BPF_ALU64 | BPF_AND | BPF_K, dst, 0, 0, value); }
Instruction shift_right(unsigned dst, int bits) { return instruction(BPF_ALU64 | BPF_RSH | BPF_K, dst, 0, 0, bits); }
Instruction jump_unless_equal(unsigned dst, int value) { return instruction(BPF_JMP | BPF_JNE | BPF_K, dst, 0, 0, value); }
Instruction jump_unless_same(unsigned dst, unsigned src) { return instruction(BPF_JMP | BPF_JNE | BPF_X, dst, src, 0, 0); }
Instruction jump_if_equal(unsigned dst, int value) { return instruction(BPF_JMP | BPF_JEQ | BPF_K, dst, 0, 0, value); }

int access_bits(const std::string& access) {
  int bits = 0;
  for (char c : access) bits |= c == 'm' ? BPF_DEVCG_ACC_MKNOD : c == 'r' ? BPF_DEVCG_ACC_READ : c == 'w' ? BPF_DEVCG_ACC_WRITE : 0;
  return bits;
}

// r2 type, r3 access, r4 major, r5 minor, r1 scratch. The last matching rule decides, so they are tested from the end.
std::vector<Instruction> compile(const std::vector<DeviceRule>& rules) {
  std::vector<Instruction> out = {load(2, 0), load(3, 0), load(4, 4), load(5, 8)};
  out.insert(out.begin() + 1, and_(2, 0xffff));
  out.insert(out.begin() + 3, shift_right(3, 16));
  for (auto rule = rules.rbegin(); rule != rules.rend(); ++rule) {
    std::vector<std::size_t> jumps;  // to the next rule
    auto jump = [&](Instruction i) {
      jumps.push_back(out.size());
      out.push_back(i);
    };
    if (rule->type != 'a') jump(jump_unless_equal(2, rule->type == 'b' ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR));
    int bits = access_bits(rule->access);
    if (bits != 7) {
      out.push_back(move(1, 3));
      out.push_back(and_(1, bits));
      // An allowance must cover all that is asked; a denial bites on any part of it.
      jump(rule->allow ? jump_unless_same(1, 3) : jump_if_equal(1, 0));
    }
    if (rule->major) jump(jump_unless_equal(4, static_cast<int>(*rule->major)));
    if (rule->minor) jump(jump_unless_equal(5, static_cast<int>(*rule->minor)));
    out.push_back(set(0, rule->allow ? 1 : 0));
    out.push_back(leave());
    for (std::size_t at : jumps) out[at].off = static_cast<__s16>(out.size() - at - 1);
  }
  out.push_back(set(0, 0));
  out.push_back(leave());
  return out;
}

// Drops what no path reaches (the verifier refuses it): everything after an unconditional rule.
std::vector<DeviceRule> reachable(const std::vector<DeviceRule>& rules) {
  for (std::size_t i = rules.size(); i-- > 0;) {
    const DeviceRule& rule = rules[i];
    if (rule.type == 'a' && access_bits(rule.access) == 7 && !rule.major && !rule.minor) {
      std::vector<DeviceRule> out(rules.begin() + static_cast<std::ptrdiff_t>(i) + 1, rules.end());
      if (rule.allow) out.insert(out.begin(), rule);
      return out;
    }
  }
  return rules;
}

Result<> detach(int cgroup_directory, __u32 id) {
  union bpf_attr get = {};
  get.prog_id = id;
  Fd program(static_cast<int>(bpf::call(BPF_PROG_GET_FD_BY_ID, get)));
  if (!program) return fail_errno("open device filter");
  union bpf_attr attr = {};
  attr.target_fd = static_cast<__u32>(cgroup_directory);
  attr.attach_bpf_fd = static_cast<__u32>(program.get());
  attr.attach_type = BPF_CGROUP_DEVICE;
  if (bpf::call(BPF_PROG_DETACH, attr) < 0) return fail_errno("detach device filter");
  return {};
}

}  // namespace

Result<> attach_device_filter(int cgroup_directory, const std::vector<DeviceRule>& all_rules) {
  std::vector<__u32> old(64);
  union bpf_attr query = {};
  query.query.target_fd = static_cast<__u32>(cgroup_directory);
  query.query.attach_type = BPF_CGROUP_DEVICE;
  query.query.prog_ids = reinterpret_cast<std::uintptr_t>(old.data());
  query.query.prog_cnt = static_cast<__u32>(old.size());
  if (bpf::call(BPF_PROG_QUERY, query) < 0) return fail_errno("query device filter");
  old.resize(query.query.prog_cnt);

  std::vector<DeviceRule> rules = reachable(all_rules);
  bool everything = rules.size() == 1 && rules[0].allow && rules[0].type == 'a' && !rules[0].major && !rules[0].minor && access_bits(rules[0].access) == 7;
  if (!everything) {
    std::vector<Instruction> code = compile(rules);
    // An unconditional allowance stands first in the list, hence last in the program: its successor is unreachable.
    if (!rules.empty() && rules[0].type == 'a' && access_bits(rules[0].access) == 7 && !rules[0].major && !rules[0].minor) code.resize(code.size() - 2);
    TRY_ASSIGN(Fd program, bpf::load_program(BPF_PROG_TYPE_CGROUP_DEVICE, code, "device filter"));
    union bpf_attr attach = {};
    attach.target_fd = static_cast<__u32>(cgroup_directory);
    attach.attach_bpf_fd = static_cast<__u32>(program.get());
    attach.attach_type = BPF_CGROUP_DEVICE;
    attach.attach_flags = BPF_F_ALLOW_MULTI;
    if (bpf::call(BPF_PROG_ATTACH, attach) < 0) return fail_errno("attach device filter");
  }
  for (__u32 id : old) TRY(detach(cgroup_directory, id));
  return {};
}

}  // namespace monopod::sys
