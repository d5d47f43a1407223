#include "wasm/interpreter/execute.h"

#include <algorithm>

#include "base/strings.h"
#include "wasm/backtrace.h"
#include "wasm/engine.h"
#include "wasm/interpreter/code.h"

namespace monopod::wasm {
namespace {

// The frames of one run, from the failing instruction down to where the host called.
void add_frames(Machine& m, const Vm& vm, const Insn* ip, const std::uint64_t* fp) {
  forget_caught(m);
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
      trace.add(*vm.module, code->function, offset);
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
      m.backtrace.clear();
      m.trap_frames.clear();
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
    good = call_host(m, vm, *function, slots);
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

bool interpret(Vm& vm, std::uint32_t function, std::uint64_t* slots) {
  Machine& m = *vm.machine;
  start(&vm, function, slots);
  if (m.trap != Trap::kNone && m.trap != Trap::kExit) add_frames(m, vm, m.trap_ip, m.trap_fp);
  return m.trap == Trap::kNone;
}

Tier::Outcome call_tier(Vm* vm, std::uint32_t function, std::uint64_t* slots) {
  Machine& m = *vm->machine;
  std::uint64_t* sp = m.sp;
  const FuncType& type = *vm->module->function_types[function];
  m.sp = slots + std::max(type.param_slots, type.result_slots);
  Tier::Outcome outcome = vm->tier->call(*vm, function, slots);
  m.sp = sp;
  return outcome;
}

Tier::Outcome enter_loop_in_tier(Vm* vm, const Insn* ip, std::uint64_t* fp) {
  Machine& m = *vm->machine;
  std::uint64_t* sp = m.sp;
  m.sp = fp + vm->code->find(ip)->insns[0].i;
  Tier::Outcome outcome = vm->tier->enter_loop(*vm, ip->i, ip[1].i, fp);
  m.sp = sp;
  return outcome;
}

CodeCache::CodeCache(const ModuleData& data, CodeOptions with)
    : module(data), options(with), entries(std::make_unique<std::atomic<const Insn*>[]>(data.functions.size())), stubs_(data.functions.size()), translated_(data.functions.size()) {
  bool tiered = with.counted || with.diverted;
  if (tiered) to_tier_.resize(data.functions.size());
  if (with.counted) heat = std::make_unique<std::atomic<std::uint32_t>[]>(data.functions.size());
  for (std::uint32_t i = 0; i < stubs_.size(); ++i) {
    stubs_[i] = {handlers::kTranslate, 0, 0, i};
    if (tiered) to_tier_[i] = {handlers::kToTier, 0, 0, i};
    entries[i].store(with.diverted ? &to_tier_[i] : &stubs_[i], std::memory_order_relaxed);
  }
}

void CodeCache::divert(std::uint32_t function, bool to_tier) {
  std::lock_guard lock(mutex_);
  entries[function].store(to_tier ? &to_tier_[function] : translated_[function] != nullptr ? translated_[function] : &stubs_[function], std::memory_order_release);
}
void divert(CodeCache& code, std::uint32_t function, bool to_tier) { code.divert(function, to_tier); }

const Insn* CodeCache::code_of(std::uint32_t function) {
  std::lock_guard lock(mutex_);
  if (translated_[function] != nullptr) return translated_[function];
  std::unique_ptr<RegisterCode> code = translate(module, function, options);
  const Insn* first = code->insns.data();
  bytes_.fetch_add(code->insns.size() * sizeof(Insn) + code->places.size() * sizeof(code->places[0]) + sizeof(RegisterCode), std::memory_order_relaxed);
  by_address_.emplace(first, std::move(code));
  translated_[function] = first;
  if (entries[function].load(std::memory_order_relaxed) == &stubs_[function]) entries[function].store(first, std::memory_order_release);
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
