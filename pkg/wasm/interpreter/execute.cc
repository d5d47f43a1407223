#include "wasm/interpreter/execute.h"

#include <algorithm>

#include "base/strings.h"
#include "wasm/engine.h"
#include "wasm/interpreter/code.h"

namespace monopod::wasm {
namespace {

constexpr int kBacktraceLinesMax = 50;

// Lines of a backtrace; what repeats, as recursion does, is counted instead.
class Backtrace {
 public:
  explicit Backtrace(Machine& machine) : m_(machine) {}
  ~Backtrace() { flush(); }
  void again() { ++repeats_; }
  void add(std::string where) {
    flush();
    last_ = std::move(where);
    if (++lines_ <= kBacktraceLinesMax) m_.backtrace += cat("\n  at ", last_);
  }
  bool full() const { return lines_ > kBacktraceLinesMax; }

 private:
  void flush() {
    if (repeats_ != 0 && lines_ <= kBacktraceLinesMax) m_.backtrace += cat("\n  … ", repeats_, " times more");
    repeats_ = 0;
    if (full() && !m_.backtrace.ends_with("…")) m_.backtrace += "\n  …";
  }
  Machine& m_;
  std::string last_;
  std::uint64_t repeats_ = 0;
  int lines_ = 0;
};

std::string hex(std::uint32_t n) {
  std::string out;
  for (; n != 0 || out.empty(); n >>= 4) out.insert(out.begin(), "0123456789abcdef"[n & 15]);
  return "0x" + out;
}

// The frames of one run, from the failing instruction down to where the host called.
void add_frames(Machine& m, const Vm& vm, const Insn* ip, const std::uint64_t* fp) {
  Backtrace trace(m);
  const Insn* before = nullptr;
  const RegisterCode* code = nullptr;
  while (ip != nullptr && !is_halt(ip)) {
    if (ip == before) {
      trace.again();
    } else {
      code = vm.code->find(ip);
      if (code == nullptr) return;
      before = ip;
      auto at = static_cast<std::uint32_t>(ip - code->insns.data());
      auto after = std::ranges::upper_bound(code->places, at, {}, &std::pair<std::uint32_t, std::uint32_t>::first);
      std::uint32_t offset = after == code->places.begin() ? 0 : std::prev(after)->second;
      trace.add(cat(vm.module->describe_function(code->function), " (byte ", hex(offset), ")"));
    }
    if (trace.full()) return;
    const Insn* back = reinterpret_cast<const Insn*>(fp[code->header]);
    if (is_halt(back)) return;
    fp -= back[-1].a;
    ip = back - 1;
  }
}

const CatchClause* find_clause(const Vm& vm, const RegisterCode& code, std::uint32_t at, const ExceptionObject& exception) {
  for (const TryRegion& region : code.tries) {
    if (at < region.from || at >= region.to) continue;
    for (const CatchClause& clause : region.clauses)
      if (clause.tag == CatchClause::kAll || vm.tags[clause.tag] == exception.tag) return &clause;
  }
  return nullptr;
}

}  // namespace

const Insn* unwind(Vm* vm, const Insn* ip, std::uint64_t*& fp) {
  Machine& m = *vm->machine;
  m.trap_ip = ip;
  m.trap_fp = fp;
  if (m.trap != Trap::kException) return nullptr;
  while (true) {
    const RegisterCode* code = vm->code->find(ip);
    if (code == nullptr) return nullptr;
    if (const CatchClause* clause = find_clause(*vm, *code, static_cast<std::uint32_t>(ip - code->insns.data()), *m.exception)) {
      std::uint64_t* to = fp + clause->to;
      if (clause->tag != CatchClause::kAll)
        for (std::uint64_t slot : m.exception->payload) *to++ = slot;
      if (clause->with_reference) *to = reinterpret_cast<std::uint64_t>(m.exception);
      m.trap = Trap::kNone;
      m.exception = nullptr;
      return code->insns.data() + clause->target;
    }
    const Insn* back = reinterpret_cast<const Insn*>(fp[code->header]);
    if (is_halt(back)) return nullptr;
    fp -= back[-1].a;
    ip = back - 1;
  }
}

const Insn* unwind_caller(Vm* vm, const Insn* ip, std::uint64_t*& fp) {
  const RegisterCode* code = vm->code->find(ip);
  const Insn* back = reinterpret_cast<const Insn*>(fp[code->header]);
  if (is_halt(back)) return nullptr;
  fp -= back[-1].a;
  return unwind(vm, back - 1, fp);
}

bool call_out(Vm* vm, const Insn* ip, std::uint64_t* fp, const FunctionObject* function, std::uint64_t* slots) {
  Machine& m = *vm->machine;
  std::uint64_t* sp = m.sp;
  m.sp = slots + std::max(function->signature->param_slots, function->signature->result_slots);
  bool good = true;
  if (function->vm == nullptr) [[likely]] {
    Caller caller(m, vm);
    function->host(caller, function->data, slots);
    good = m.trap == Trap::kNone;
    if (!good) m.backtrace += cat("\n  at ", function->name);
  } else {
    good = call_function(m, *function, slots);
  }
  m.sp = sp;
  if (!good) {
    m.trap_ip = ip;
    m.trap_fp = fp;
  }
  return good;
}

bool call_function(Machine& m, const FunctionObject& function, std::uint64_t* slots) {
  if (m.depth >= kEntryDepthMax) {
    m.trap = Trap::kStack;
    return false;
  }
  ++m.depth;
  m.trap = Trap::kNone;
  if (function.vm == nullptr) {
    Caller caller(m, nullptr);
    function.host(caller, function.data, slots);
  } else {
    start(function.vm, function.index, slots);
    if (m.trap != Trap::kNone && m.trap != Trap::kExit) add_frames(m, *function.vm, m.trap_ip, m.trap_fp);
  }
  --m.depth;
  return m.trap == Trap::kNone;
}

CodeCache::CodeCache(const ModuleData& data, bool with_fuel) : module(data), fuel(with_fuel), entries(std::make_unique<std::atomic<const Insn*>[]>(data.functions.size())), stubs_(data.functions.size()) {
  for (std::uint32_t i = 0; i < stubs_.size(); ++i) {
    stubs_[i] = {handlers::kTranslate, 0, 0, i};
    entries[i].store(&stubs_[i], std::memory_order_relaxed);
  }
}

const Insn* CodeCache::code_of(std::uint32_t function) {
  std::lock_guard lock(mutex_);
  const Insn* now = entries[function].load(std::memory_order_relaxed);
  if (now != &stubs_[function]) return now;
  std::unique_ptr<RegisterCode> code = translate(module, function, fuel);
  const Insn* first = code->insns.data();
  bytes_.fetch_add(code->insns.size() * sizeof(Insn) + code->places.size() * sizeof(code->places[0]) + sizeof(RegisterCode), std::memory_order_relaxed);
  by_address_.emplace(first, std::move(code));
  entries[function].store(first, std::memory_order_release);
  return first;
}

const RegisterCode* CodeCache::find(const Insn* ip) const {
  std::lock_guard lock(mutex_);
  auto after = by_address_.upper_bound(ip);
  if (after == by_address_.begin()) return nullptr;
  const RegisterCode* code = std::prev(after)->second.get();
  return ip < code->insns.data() + code->insns.size() ? code : nullptr;
}

}  // namespace monopod::wasm
