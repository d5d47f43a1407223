#include "container/seccomp.h"

#include <linux/filter.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <set>

#include "base/strings.h"
#include "sys/fd.h"
#include "sys/root.h"

namespace monopod::container {
namespace {

// System calls with one number on every architecture that libseccomp 2.5 does not name.
struct NewCall {
  const char* name;
  unsigned number;
};
constexpr std::array kNewCalls = {
    NewCall{"set_mempolicy_home_node", 450}, NewCall{"cachestat", 451},    NewCall{"fchmodat2", 452},
    NewCall{"map_shadow_stack", 453},        NewCall{"futex_wake", 454},   NewCall{"futex_wait", 455},
    NewCall{"futex_requeue", 456},           NewCall{"statmount", 457},    NewCall{"listmount", 458},
    NewCall{"lsm_get_self_attr", 459},       NewCall{"lsm_set_self_attr", 460}, NewCall{"lsm_list_modules", 461},
    NewCall{"mseal", 462},                   NewCall{"setxattrat", 463},   NewCall{"getxattrat", 464},
    NewCall{"listxattrat", 465},             NewCall{"removexattrat", 466}};
// libseccomp takes time that grows with the square of these.
constexpr std::size_t kConditionsMax = 256;
constexpr std::size_t kNamesMax = 8192;
constexpr unsigned kFirstNewCall = 450;
constexpr unsigned kX32Bit = 0x40000000U;

#if defined(__x86_64__)
constexpr unsigned kNativeAudit = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr unsigned kNativeAudit = AUDIT_ARCH_AARCH64;
#endif

Result<std::uint32_t> parse_action(std::string_view text, std::optional<std::uint32_t> errno_ret) {
  std::uint32_t number = errno_ret.value_or(EPERM);
  if (number > 4095) return fail(Code::kInvalidArgument, cat("seccomp: errnoRet ", number, " is out of range"));
  if (text == "SCMP_ACT_ALLOW") return SCMP_ACT_ALLOW;
  if (text == "SCMP_ACT_ERRNO") return SCMP_ACT_ERRNO(number);
  if (text == "SCMP_ACT_KILL" || text == "SCMP_ACT_KILL_THREAD") return SCMP_ACT_KILL_THREAD;
  if (text == "SCMP_ACT_KILL_PROCESS") return SCMP_ACT_KILL_PROCESS;
  if (text == "SCMP_ACT_TRAP") return SCMP_ACT_TRAP;
  if (text == "SCMP_ACT_TRACE") return SCMP_ACT_TRACE(number);
  if (text == "SCMP_ACT_LOG") return SCMP_ACT_LOG;
  return fail(Code::kInvalidArgument, cat("seccomp: unknown action \"", text, "\""));
}

Result<enum scmp_compare> parse_operator(std::string_view text) {
  if (text == "SCMP_CMP_NE") return SCMP_CMP_NE;
  if (text == "SCMP_CMP_LT") return SCMP_CMP_LT;
  if (text == "SCMP_CMP_LE") return SCMP_CMP_LE;
  if (text == "SCMP_CMP_EQ") return SCMP_CMP_EQ;
  if (text == "SCMP_CMP_GE") return SCMP_CMP_GE;
  if (text == "SCMP_CMP_GT") return SCMP_CMP_GT;
  if (text == "SCMP_CMP_MASKED_EQ") return SCMP_CMP_MASKED_EQ;
  return fail(Code::kInvalidArgument, cat("seccomp: unknown operator \"", text, "\""));
}

Result<std::uint32_t> parse_architecture(std::string_view text) {
  if (!text.starts_with("SCMP_ARCH_")) return fail(Code::kInvalidArgument, cat("seccomp: unknown architecture \"", text, "\""));
  std::string name = to_lower(text.substr(10));
  std::uint32_t token = ::seccomp_arch_resolve_name(name.c_str());
  if (token == 0) return fail(Code::kInvalidArgument, cat("seccomp: unknown architecture \"", text, "\""));
  return token;
}

struct Context {
  scmp_filter_ctx ctx = nullptr;
  ~Context() {
    if (ctx != nullptr) ::seccomp_release(ctx);
  }
};

Result<> add_rule(scmp_filter_ctx ctx, const SeccompRule& rule, std::uint32_t default_action, std::set<unsigned>& new_allowed) {
  TRY_ASSIGN(std::uint32_t action, parse_action(rule.action, rule.errno_ret));
  std::vector<struct scmp_arg_cmp> args;
  std::array<int, 6> seen = {};
  bool repeated = false;
  for (const SeccompArg& arg : rule.args) {
    TRY_ASSIGN(enum scmp_compare op, parse_operator(arg.op));
    if (arg.index > 5) return fail(Code::kInvalidArgument, "seccomp: argument index is out of range");
    repeated |= ++seen[arg.index] > 1;
    args.push_back({arg.index, op, arg.value, arg.value_two});
  }
  if (rule.names.empty()) return fail(Code::kInvalidArgument, "seccomp: a rule without names");
  if (action == default_action) return {};  // libseccomp refuses what changes nothing
  for (const std::string& name : rule.names) {
    int number = ::seccomp_syscall_resolve_name(name.c_str());
    if (number == __NR_SCMP_ERROR) {
      auto known = std::find_if(kNewCalls.begin(), kNewCalls.end(), [&](const NewCall& c) { return name == c.name; });
      bool allows = action == SCMP_ACT_ALLOW || action == SCMP_ACT_LOG;
      if (known != kNewCalls.end() && allows && args.empty()) new_allowed.insert(known->number);
      else if (!allows && known == kNewCalls.end()) return fail(Code::kInvalidArgument, cat("seccomp: unknown system call \"", name, "\" cannot be denied"));
      continue;
    }
    int added = 0;
    if (repeated) {
      // Several conditions on one argument mean "any of them" in the OCI form.
      for (const struct scmp_arg_cmp& arg : args) added = std::min(added, ::seccomp_rule_add_array(ctx, action, number, 1, &arg));
    } else {
      added = ::seccomp_rule_add_array(ctx, action, number, static_cast<unsigned>(args.size()), args.data());
    }
    // An architecture of the filter may lack a call that another has.
    if (added < 0 && added != -EDOM && added != -EEXIST) return fail(errno_error(-added, cat("seccomp: rule for ", name)));
  }
  return {};
}

// In front of the program: calls that libseccomp cannot name.
std::vector<struct sock_filter> prologue(const std::set<unsigned>& allowed, bool default_denies) {
  std::vector<struct sock_filter> out;
  if (!default_denies) return out;
  auto statement = [](unsigned code, unsigned k) {
    struct sock_filter f = {};
    f.code = static_cast<__u16>(code);
    f.k = k;
    return f;
  };
  auto jump = [&](unsigned code, unsigned k, std::size_t yes, std::size_t no) {
    struct sock_filter f = statement(code, k);
    f.jt = static_cast<__u8>(yes);
    f.jf = static_cast<__u8>(no);
    return f;
  };
  std::size_t body = 2 * allowed.size();
  //   load arch; not ours -> program; load number; below the new ones or x32 -> program; allowed ones -> allow; rest that we know -> program; newer -> ENOSYS
  out.push_back(statement(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)));
  out.push_back(jump(BPF_JMP | BPF_JEQ | BPF_K, kNativeAudit, 0, body + 5));
  out.push_back(statement(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)));
  out.push_back(jump(BPF_JMP | BPF_JGE | BPF_K, kFirstNewCall, 0, body + 3));
  out.push_back(jump(BPF_JMP | BPF_JGE | BPF_K, kX32Bit, body + 2, 0));
  for (unsigned number : allowed) {
    out.push_back(jump(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1));
    out.push_back(statement(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  }
  out.push_back(jump(BPF_JMP | BPF_JGT | BPF_K, kNewCalls.back().number, 0, 1));
  out.push_back(statement(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS));
  return out;
}

}  // namespace

Result<std::string> compile_seccomp(const SeccompProfile& profile) {
  std::size_t names = 0;
  std::size_t conditions = 0;
  for (const SeccompRule& rule : profile.rules) {
    names += rule.names.size();
    conditions += rule.args.size() * rule.names.size();
  }
  if (names > kNamesMax || conditions > kConditionsMax)
    return fail(Code::kInvalidArgument, cat("seccomp: profile has more than ", kNamesMax, " names or ", kConditionsMax, " conditions"));
  TRY_ASSIGN(std::uint32_t default_action, parse_action(profile.default_action, profile.default_errno_ret));
  Context context{::seccomp_init(default_action)};
  if (context.ctx == nullptr) return fail(Code::kInternal, "seccomp: no filter");
  // A call of an architecture that is not listed kills: it would otherwise pass by numbers that mean something else.
  ::seccomp_attr_set(context.ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
  ::seccomp_attr_set(context.ctx, SCMP_FLTATR_CTL_NNP, 0);
  ::seccomp_attr_set(context.ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
  for (const std::string& flag : profile.flags) {
    if (flag != "SECCOMP_FILTER_FLAG_LOG" && flag != "SECCOMP_FILTER_FLAG_SPEC_ALLOW" && flag != "SECCOMP_FILTER_FLAG_TSYNC")
      return fail(Code::kInvalidArgument, cat("seccomp: unknown flag \"", flag, "\""));
  }
  for (const std::string& name : profile.architectures) {
    TRY_ASSIGN(std::uint32_t token, parse_architecture(name));
    int added = ::seccomp_arch_add(context.ctx, token);
    // Architectures of another byte order or word size family than this machine's cannot run here at all.
    if (added < 0 && added != -EEXIST && added != -EINVAL && added != -EDOM) return fail(errno_error(-added, cat("seccomp: architecture ", name)));
  }
  std::set<unsigned> new_allowed;
  for (const SeccompRule& rule : profile.rules) TRY(add_rule(context.ctx, rule, default_action, new_allowed));

  sys::Fd file(::memfd_create("seccomp", MFD_CLOEXEC));
  if (!file) return fail_errno("seccomp: make memory file");
  if (int done = ::seccomp_export_bpf(context.ctx, file.get()); done < 0) return fail(errno_error(-done, "seccomp: compile"));
  if (::lseek(file.get(), 0, SEEK_SET) < 0) return fail_errno("seccomp: compile");
  TRY_ASSIGN(std::string program, sys::read_all(file.get(), 1 << 20));
  std::vector<struct sock_filter> front = prologue(new_allowed, default_action != SCMP_ACT_ALLOW && default_action != SCMP_ACT_LOG);
  program.insert(0, reinterpret_cast<const char*>(front.data()), front.size() * sizeof(struct sock_filter));
  if (program.size() / sizeof(struct sock_filter) > kSeccompInstructionsMax)
    return fail(Code::kInvalidArgument, cat("seccomp: program has more than ", kSeccompInstructionsMax, " instructions"));
  return program;
}

}  // namespace monopod::container
