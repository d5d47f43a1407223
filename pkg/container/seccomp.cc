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

struct ActionName {
  const char* name;
  std::uint32_t value;
  bool takes_errno;
};
constexpr std::array kActions = {
    ActionName{"SCMP_ACT_ALLOW", SCMP_ACT_ALLOW, false},       ActionName{"SCMP_ACT_ERRNO", SCMP_ACT_ERRNO(0), true},
    ActionName{"SCMP_ACT_KILL", SCMP_ACT_KILL_THREAD, false},  ActionName{"SCMP_ACT_KILL_PROCESS", SCMP_ACT_KILL_PROCESS, false},
    ActionName{"SCMP_ACT_KILL_THREAD", SCMP_ACT_KILL_THREAD, false}, ActionName{"SCMP_ACT_LOG", SCMP_ACT_LOG, false},
    ActionName{"SCMP_ACT_NOTIFY", SCMP_ACT_NOTIFY, false},     ActionName{"SCMP_ACT_TRACE", SCMP_ACT_TRACE(0), true},
    ActionName{"SCMP_ACT_TRAP", SCMP_ACT_TRAP, false}};

struct OperatorName {
  const char* name;
  enum scmp_compare value;
};
constexpr std::array kOperators = {
    OperatorName{"SCMP_CMP_EQ", SCMP_CMP_EQ}, OperatorName{"SCMP_CMP_GE", SCMP_CMP_GE}, OperatorName{"SCMP_CMP_GT", SCMP_CMP_GT},
    OperatorName{"SCMP_CMP_LE", SCMP_CMP_LE}, OperatorName{"SCMP_CMP_LT", SCMP_CMP_LT}, OperatorName{"SCMP_CMP_MASKED_EQ", SCMP_CMP_MASKED_EQ},
    OperatorName{"SCMP_CMP_NE", SCMP_CMP_NE}};

struct FlagName {
  const char* name;
  std::uint32_t value;  // 0: nothing to do for a process of one thread
};
constexpr std::array kFlags = {FlagName{"SECCOMP_FILTER_FLAG_LOG", SECCOMP_FILTER_FLAG_LOG}, FlagName{"SECCOMP_FILTER_FLAG_SPEC_ALLOW", SECCOMP_FILTER_FLAG_SPEC_ALLOW},
                               FlagName{"SECCOMP_FILTER_FLAG_TSYNC", 0}, FlagName{"SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", 1U << 5}};

// libseccomp's own names, which OCI spells with SCMP_ARCH_ before them.
constexpr std::array kArchitectures = {"X86",     "X86_64", "X32",       "ARM",  "AARCH64", "MIPS",  "MIPS64",  "MIPS64N32", "MIPSEL", "MIPSEL64",
                                       "MIPSEL64N32", "PPC", "PPC64",    "PPC64LE", "S390", "S390X", "PARISC",  "PARISC64",  "RISCV64"};

template <typename Table>
std::vector<std::string> names_of(const Table& table) {
  std::vector<std::string> out;
  for (const auto& row : table) out.emplace_back(row.name);
  return out;
}

Result<std::uint32_t> parse_action(std::string_view text, std::optional<std::uint32_t> errno_ret) {
  auto row = std::find_if(kActions.begin(), kActions.end(), [&](const ActionName& r) { return text == r.name; });
  if (row == kActions.end()) return fail(Code::kInvalidArgument, cat("seccomp: unknown action \"", text, "\""));
  std::uint32_t number = errno_ret.value_or(EPERM);
  if (number > 4095) return fail(Code::kInvalidArgument, cat("seccomp: errnoRet ", number, " is out of range"));
  return row->takes_errno ? row->value | number : row->value;
}

Result<enum scmp_compare> parse_operator(std::string_view text) {
  auto row = std::find_if(kOperators.begin(), kOperators.end(), [&](const OperatorName& r) { return text == r.name; });
  if (row == kOperators.end()) return fail(Code::kInvalidArgument, cat("seccomp: unknown operator \"", text, "\""));
  return row->value;
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
  if (action == SCMP_ACT_NOTIFY && std::find(rule.names.begin(), rule.names.end(), "sendmsg") != rule.names.end())
    return fail(Code::kInvalidArgument, "seccomp: SCMP_ACT_NOTIFY for sendmsg: the listener itself is handed over by it");
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
    if (std::none_of(kFlags.begin(), kFlags.end(), [&](const FlagName& row) { return flag == row.name; }))
      return fail(Code::kInvalidArgument, cat("seccomp: unknown flag \"", flag, "\""));
  }
  if (profile.default_action == "SCMP_ACT_NOTIFY") return fail(Code::kInvalidArgument, "seccomp: SCMP_ACT_NOTIFY cannot be the default action");
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

bool uses_notify(const SeccompProfile& profile) {
  return std::any_of(profile.rules.begin(), profile.rules.end(), [](const SeccompRule& rule) { return rule.action == "SCMP_ACT_NOTIFY"; });
}

std::uint32_t seccomp_load_flags(const SeccompProfile& profile) {
  std::uint32_t out = 0;
  for (const FlagName& row : kFlags) {
    if (std::find(profile.flags.begin(), profile.flags.end(), row.name) != profile.flags.end()) out |= row.value;
  }
  return out;
}

std::vector<std::string> seccomp_action_names() { return names_of(kActions); }
std::vector<std::string> seccomp_operator_names() { return names_of(kOperators); }
std::vector<std::string> seccomp_flag_names() { return names_of(kFlags); }
std::vector<std::string> seccomp_architecture_names() {
  std::vector<std::string> out;
  for (const char* name : kArchitectures) out.push_back(cat("SCMP_ARCH_", name));
  return out;
}

}  // namespace monopod::container
