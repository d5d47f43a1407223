#include "wasm/jit/helpers.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "wasm/backtrace.h"
#include "wasm/jit/tier.h"
#include "wasm/limits.h"

namespace monopod::wasm::jit {
namespace {

std::uint32_t low(std::uint64_t pair) { return static_cast<std::uint32_t>(pair); }
std::uint32_t high(std::uint64_t pair) { return static_cast<std::uint32_t>(pair >> 32); }
bool inside(std::uint64_t at, std::uint64_t count, std::uint64_t size) { return at <= size && count <= size - at; }

// Register code runs on the host's stack too, if only with one frame for each switch to it.
bool out_of_stack(Vm& vm) {
  if (reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0)) >= vm.native_limit.load(std::memory_order_relaxed)) [[likely]] return false;
  vm.machine->trap = vm.machine->interrupt.load() != 0 ? Trap::kInterrupted : Trap::kStack;
  return true;
}

// While anything else runs the fuel is the machine's.
class FuelOutside {
 public:
  explicit FuelOutside(Vm& vm) : vm_(vm) { vm_.machine->fuel = vm_.fuel; }
  ~FuelOutside() { vm_.fuel = vm_.machine->fuel; }

 private:
  Vm& vm_;
};

// A tail call into code that is not compiled, or not of this instance, by who was called from C++: goes on there. Else one would be called from the other for ever.
void hand_over(Vm& vm, const FunctionObject& function, const std::uint64_t* slots, const std::uintptr_t* stack, std::uintptr_t link) {
  while (std::uint32_t words = tail_frame_words(link)) {
    link = stack[words - 1];
    stack += words;
  }
  Machine& m = *vm.machine;
  auto* entry = static_cast<std::uintptr_t*>(m.native_frame);
  if (stack != entry - target::kEntryWords) return;
  std::memmove(reinterpret_cast<void*>(entry[target::kEntrySlots]), slots, function.signature->param_slots * sizeof *slots);
  m.tail = &function;
  leave_code(m);
}

}  // namespace

Flag help_interpret(Vm* vm, std::uint32_t function, std::uint64_t* slots, const std::uintptr_t* stack, std::uintptr_t link) {
  hand_over(*vm, *vm->functions[function], slots, stack, link);
  if (out_of_stack(*vm)) return 0;
  FuelOutside outside(*vm);
  return interpret(*vm, function, slots) && follow_tail(*vm->machine, slots);
}

Flag help_foreign(Vm* vm, std::uint32_t, std::uint64_t* slots, const std::uintptr_t* stack, std::uintptr_t link) {
  const FunctionObject& function = *vm->callee;
  if (function.vm != nullptr) hand_over(*vm, function, slots, stack, link);
  if (out_of_stack(*vm)) return 0;
  FuelOutside outside(*vm);
  Machine& m = *vm->machine;
  std::uint64_t* sp = m.sp;
  m.sp = slots + std::max(function.signature->param_slots, function.signature->result_slots);
  bool good = function.vm == nullptr ? call_host(m, vm, function, slots) : call_function(m, function, slots);
  m.sp = sp;
  return good;
}

Flag help_import(Vm* vm, std::uint32_t function, std::uint64_t* slots) {
  FuelOutside outside(*vm);
  return call_object(*vm, *vm->functions[function], slots);
}

// Found by a frame as its own: if no clause there is for it, its backtrace goes on behind that.
static void catch_here(Vm& vm, ExceptionObject* exception, std::uint64_t where) {
  Machine& m = *vm.machine;
  vm.caught = exception;
  Backtrace(m).add(*vm.module, low(where), high(where));
  m.rethrown = true;
}

static void start_unwinding(Machine& m, ExceptionObject* exception) {
  m.exception = exception;
  m.trap = Trap::kException;
  m.fault_address = 0;  // no signal, but what looks at it is the same
}

static void on_its_way(Vm& vm, ExceptionObject* exception, bool in_try, std::uint64_t where) {
  forget_caught(*vm.machine);
  if (in_try) return catch_here(vm, exception, where);
  start_unwinding(*vm.machine, exception);
}

Flag help_throw(Vm* vm, std::uint64_t tag, const std::uint64_t* slots, std::uint64_t where) {
  const TagObject* object = vm->tags[low(tag)];
  ExceptionObject* exception = make_exception(*vm->machine, object, slots, vm->module->registry->type(object->type).param_slots);
  if (exception == nullptr) return 0;
  on_its_way(*vm, exception, high(tag) != 0, where);
  return 1;
}

void help_throw_reference(Vm* vm, std::uint64_t in_try, ExceptionObject* exception, std::uint64_t where) { on_its_way(*vm, exception, in_try != 0, where); }

void help_rethrow(Vm* vm, ExceptionObject* exception) { start_unwinding(*vm->machine, exception); }

Flag help_caught(Vm* vm, std::uint64_t where) {
  Machine& m = *vm->machine;
  if (m.trap != Trap::kException) return 0;
  m.trap = Trap::kNone;
  catch_here(*vm, std::exchange(m.exception, nullptr), where);
  return 1;
}

const void* help_prepare(Vm* vm, std::uint32_t function) { return static_cast<JitTier*>(vm->tier)->prepare(*vm, function); }

Flag help_memory_copy(Vm* vm, std::uint64_t memories, std::uint64_t to, std::uint64_t from, std::uint64_t count) {
  MemoryObject &target = *vm->memories[low(memories)], &source = *vm->memories[high(memories)];
  if (!inside(to, count, target.bytes) || !inside(from, count, source.bytes)) return 0;
  if (count != 0) std::memmove(target.base + to, source.base + from, count);
  return 1;
}

Flag help_memory_fill(Vm* vm, std::uint64_t memory, std::uint64_t at, std::uint64_t value, std::uint64_t count) {
  MemoryObject& m = *vm->memories[memory];
  if (!inside(at, count, m.bytes)) return 0;
  if (count != 0) std::memset(m.base + at, static_cast<int>(value & 0xff), count);
  return 1;
}

Flag help_memory_init(Vm* vm, std::uint64_t memory, std::uint64_t to, std::uint64_t from, std::uint64_t count) { return memory_init(*vm, high(memory), low(memory), to, from, count); }

std::uint64_t help_memory_grow(Vm* vm, std::uint64_t memory, std::uint64_t pages) {
  MemoryObject& m = *vm->memories[memory];
  std::uint64_t old = m.bytes / kPageBytes;
  return m.grow(pages) ? old : m.type.is64 ? ~std::uint64_t{0} : 0xffff'ffffu;
}

void help_data_drop(Vm* vm, std::uint64_t segment) { vm->data_dropped[segment] = true; }

Flag help_table_copy(Vm* vm, std::uint64_t tables, std::uint64_t to, std::uint64_t from, std::uint64_t count) {
  TableObject &target = *vm->tables[low(tables)], &source = *vm->tables[high(tables)];
  if (!inside(to, count, target.size) || !inside(from, count, source.size)) return 0;
  if (count != 0) std::memmove(target.data + to, source.data + from, count * sizeof(std::uint64_t));
  return 1;
}

Flag help_table_fill(Vm* vm, std::uint64_t table, std::uint64_t at, std::uint64_t value, std::uint64_t count) {
  TableObject& t = *vm->tables[table];
  if (!inside(at, count, t.size)) return 0;
  std::fill_n(t.data + at, count, value);
  return 1;
}

Flag help_table_init(Vm* vm, std::uint64_t table, std::uint64_t to, std::uint64_t from, std::uint64_t count) { return table_init(*vm, high(table), low(table), to, from, count); }

std::uint64_t help_table_grow(Vm* vm, std::uint64_t table, std::uint64_t value, std::uint64_t count) {
  TableObject& t = *vm->tables[table];
  std::uint64_t old = table_grow(t, count, value);
  return t.type.limits.is64 ? old : static_cast<std::uint32_t>(old);
}

void help_elements_drop(Vm* vm, std::uint64_t segment) { vm->elements_dropped[segment] = true; }

// ---- by number

static const void* const kHelpers[] = {
    reinterpret_cast<const void*>(&help_interpret), reinterpret_cast<const void*>(&help_foreign), reinterpret_cast<const void*>(&help_import),
    reinterpret_cast<const void*>(&help_prepare), reinterpret_cast<const void*>(&help_memory_copy), reinterpret_cast<const void*>(&help_memory_fill),
    reinterpret_cast<const void*>(&help_memory_init), reinterpret_cast<const void*>(&help_memory_grow), reinterpret_cast<const void*>(&help_data_drop),
    reinterpret_cast<const void*>(&help_table_copy), reinterpret_cast<const void*>(&help_table_fill), reinterpret_cast<const void*>(&help_table_init),
    reinterpret_cast<const void*>(&help_table_grow), reinterpret_cast<const void*>(&help_elements_drop),
    reinterpret_cast<const void*>(&help_throw), reinterpret_cast<const void*>(&help_throw_reference), reinterpret_cast<const void*>(&help_rethrow),
    reinterpret_cast<const void*>(&help_caught), reinterpret_cast<const void*>(&monopod_wasm_raise),
    reinterpret_cast<const void*>(&monopod_wasm_tail_grow),
#define MONOPOD_TAIL(kind) reinterpret_cast<const void*>(&monopod_wasm_tail_to_slots_##kind), reinterpret_cast<const void*>(&monopod_wasm_tail_to_registers_##kind),
    MONOPOD_TAIL(none) MONOPOD_TAIL(int) MONOPOD_TAIL(float) MONOPOD_TAIL(vector)
#undef MONOPOD_TAIL
};
const void* const* helper_table() { return kHelpers; }
std::size_t helper_number(const void* helper) {
  auto at = std::ranges::find(kHelpers, helper);
  if (at == std::end(kHelpers)) std::abort();  // one that is not listed above
  return static_cast<std::size_t>(at - kHelpers);
}

}  // namespace monopod::wasm::jit
