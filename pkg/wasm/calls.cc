// Calls that leave an instance, and interruptions: what both engines share.
#include <algorithm>
#include <utility>

#include "base/strings.h"
#include "wasm/engine.h"

namespace monopod::wasm {

bool call_host(Machine& m, Vm* from, const FunctionObject& function, std::uint64_t* slots) {
  Caller caller(m, from);
  function.host(caller, function.data, slots);
  if (m.trap == Trap::kNone) [[likely]] return true;
  forget_caught(m);
  if (m.backtrace.size() <= kBacktraceLinesMax) m.backtrace.push_back({.host = &function});
  return false;
}

bool call_object(Vm& vm, const FunctionObject& function, std::uint64_t* slots) {
  Machine& m = *vm.machine;
  if (function.vm == nullptr) return call_host(m, &vm, function, slots);
  // Register code wants its arguments on the machine's own stack.
  std::uint64_t* base = m.sp;
  std::size_t room = std::max(function.signature->param_slots, function.signature->result_slots);
  if (base + room > m.stack_end) {
    m.trap = Trap::kStack;
    return false;
  }
  std::copy_n(slots, function.signature->param_slots, base);
  m.sp = base + room;
  bool good = call_function(m, function, base);
  m.sp = base;
  if (good) std::copy_n(base, function.signature->result_slots, slots);
  return good;
}

static void call_guest(const FunctionObject& function, std::uint64_t* slots) {
  Vm& vm = *function.vm;
  if (vm.tier == nullptr || vm.tier->call(vm, function.index, slots) == Tier::Outcome::kNotReady) interpret(vm, function.index, slots);
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
    call_guest(function, slots);
    while (m.tail != nullptr) {
      const FunctionObject& next = *std::exchange(m.tail, nullptr);
      m.sp = slots + std::max(next.signature->param_slots, next.signature->result_slots);
      if (m.sp > m.stack_end) m.trap = Trap::kStack;
      else call_guest(next, slots);
    }
  }
  --m.depth;
  return m.trap == Trap::kNone;
}

bool follow_tail(Machine& m, std::uint64_t* slots) {
  if (m.tail == nullptr) return true;
  const FunctionObject& next = *std::exchange(m.tail, nullptr);
  std::uint64_t* sp = m.sp;
  m.sp = slots + std::max(next.signature->param_slots, next.signature->result_slots);
  bool good = m.sp <= m.stack_end;
  if (good) good = call_function(m, next, slots);
  else m.trap = Trap::kStack;
  m.sp = sp;
  return good;
}

void stop(Machine& machine) {
  for (Vm* vm = machine.vms.load(); vm != nullptr; vm = vm->next) {
    vm->epoch.store(forbidden_address());
    vm->native_limit.store(~std::uintptr_t{0});
  }
}

// native_limit stays: the next entry sets it.
void go_on(Machine& machine) {
  for (Vm* vm = machine.vms.load(); vm != nullptr; vm = vm->next) vm->epoch.store(vm);
}

}  // namespace monopod::wasm
