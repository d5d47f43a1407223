// Handlers of everything but arithmetic: control flow, calls, globals, tables, memories, exceptions. What is rare or slow is a plain C++ function, called
// from a handler that is nothing else, so that the fast ones need no stack frame.
#include <cstring>

#include "wasm/interpreter/code.h"
#include "wasm/interpreter/execute.h"
#include "wasm/limits.h"

namespace monopod::wasm {
namespace {

using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;
using i32 = std::int32_t;
typedef u64 U128 __attribute__((vector_size(16)));

[[gnu::always_inline]] inline void to_last_float(u64 bits, V128& facc) {
  U128 v = {bits, bits};
  facc = reinterpret_cast<V128>(__builtin_shufflevector(v, v, 0, -1));
}
[[gnu::always_inline]] inline V128 vector_at(const u64* slot) {
  V128 v;
  std::memcpy(&v, slot, sizeof v);
  return v;
}
[[gnu::always_inline]] inline u64 wide(const Insn* word) { return reinterpret_cast<u64>(word->handler); }

#define RELOAD_MEMORY()                                     \
  do {                                                      \
    if (vm->memories != nullptr) {                          \
      mem = vm->memories[0]->base;                          \
      msize = vm->memories[0]->bytes;                       \
    }                                                       \
  } while (false)

// ---- jumps

[[gnu::noinline]] MONOPOD_WASM_HANDLER interrupted(MONOPOD_WASM_STATE) { MONOPOD_WASM_TRAP(Trap::kInterrupted); }
#define CHECK_INTERRUPT() \
  if (vm->interrupt->load(std::memory_order_relaxed) != 0) [[unlikely]] [[clang::musttail]] return interrupted(MONOPOD_WASM_PASS(ip))

template <bool kBack>
MONOPOD_WASM_HANDLER jump(MONOPOD_WASM_STATE) {
  if constexpr (kBack) CHECK_INTERRUPT();
  MONOPOD_WASM_JUMP(ip + static_cast<i32>(ip->i));
}

template <bool kFromLast, bool kWhenFalse, bool kBack>
MONOPOD_WASM_HANDLER branch_if(MONOPOD_WASM_STATE) {
  u32 condition = static_cast<u32>(kFromLast ? acc : fp[ip->a]);
  if ((condition != 0) != kWhenFalse) {
    if constexpr (kBack) CHECK_INTERRUPT();
    MONOPOD_WASM_JUMP(ip + static_cast<i32>(ip->i));
  }
  MONOPOD_WASM_NEXT(1);
}

template <bool kWhenNotNull, bool kBack>
MONOPOD_WASM_HANDLER branch_null(MONOPOD_WASM_STATE) {
  if ((fp[ip->a] == 0) != kWhenNotNull) {
    if constexpr (kBack) CHECK_INTERRUPT();
    MONOPOD_WASM_JUMP(ip + static_cast<i32>(ip->i));
  }
  MONOPOD_WASM_NEXT(1);
}

template <bool kFromLast>
MONOPOD_WASM_HANDLER branch_table(MONOPOD_WASM_STATE) {
  u32 index = static_cast<u32>(kFromLast ? acc : fp[ip->a]);
  if (index > ip->i) index = ip->i;
  i32 offset = static_cast<i32>(ip[1 + index].i);
  if (offset <= 0) CHECK_INTERRUPT();
  MONOPOD_WASM_JUMP(ip + offset);
}

// ---- values

MONOPOD_WASM_HANDLER move(MONOPOD_WASM_STATE) {
  acc = fp[ip->b];
  fp[ip->a] = acc;
  MONOPOD_WASM_NEXT(1);
}
MONOPOD_WASM_HANDLER move_vector(MONOPOD_WASM_STATE) {
  V128 v = vector_at(fp + ip->b);
  std::memcpy(fp + ip->a, &v, sizeof v);
  MONOPOD_WASM_NEXT(1);
}
MONOPOD_WASM_HANDLER const_int(MONOPOD_WASM_STATE) {
  acc = u64{ip->i} | u64{ip->b} << 48 | u64{ip->b} << 32;
  fp[ip->a] = acc;
  MONOPOD_WASM_NEXT(1);
}
MONOPOD_WASM_HANDLER const_float(MONOPOD_WASM_STATE) {
  to_last_float(ip->i, facc);
  fp[ip->a] = ip->i;
  MONOPOD_WASM_NEXT(1);
}
MONOPOD_WASM_HANDLER const_64(MONOPOD_WASM_STATE) {
  acc = wide(ip + 1);
  fp[ip->a] = acc;
  MONOPOD_WASM_NEXT(2);
}
MONOPOD_WASM_HANDLER const_64_float(MONOPOD_WASM_STATE) {
  u64 bits = wide(ip + 1);
  to_last_float(bits, facc);
  fp[ip->a] = bits;
  MONOPOD_WASM_NEXT(2);
}
MONOPOD_WASM_HANDLER const_vector(MONOPOD_WASM_STATE) {
  std::memcpy(fp + ip->a, ip + 1, 16);
  MONOPOD_WASM_NEXT(2);
}

enum class As { kInt, kFloat };
template <As kAs, bool kFromLast>
MONOPOD_WASM_HANDLER select(MONOPOD_WASM_STATE) {
  u32 condition = static_cast<u32>(kFromLast ? acc : fp[ip->d()]);
  u64 first = fp[ip->b], second = fp[ip->c()];
  u64 value = condition != 0 ? first : second;
  fp[ip->a] = value;
  if constexpr (kAs == As::kInt) acc = value;
  else to_last_float(value, facc);
  MONOPOD_WASM_NEXT(1);
}
template <bool kFromLast>
MONOPOD_WASM_HANDLER select_vector(MONOPOD_WASM_STATE) {
  u32 condition = static_cast<u32>(kFromLast ? acc : fp[ip->d()]);
  V128 v = vector_at(fp + (condition != 0 ? ip->b : ip->c()));
  std::memcpy(fp + ip->a, &v, sizeof v);
  MONOPOD_WASM_NEXT(1);
}

// ---- calls

[[gnu::noinline]] MONOPOD_WASM_HANDLER stack_or_interrupt(MONOPOD_WASM_STATE) {
  if (vm->interrupt->load(std::memory_order_relaxed) != 0) MONOPOD_WASM_TRAP(Trap::kInterrupted);
  MONOPOD_WASM_TRAP(Trap::kStack);
}

// acc: the return address. Beyond the limit there is room for one more frame, so that the header can always be written.
MONOPOD_WASM_HANDLER enter(MONOPOD_WASM_STATE) {
  fp[ip->a] = acc;
  if (fp + ip->i > vm->stack_limit->load(std::memory_order_relaxed)) [[unlikely]] [[clang::musttail]] return stack_or_interrupt(MONOPOD_WASM_PASS(ip));
  MONOPOD_WASM_NEXT(1);
}
MONOPOD_WASM_HANDLER enter_zero(MONOPOD_WASM_STATE) {  // b locals below the header are not parameters
  fp[ip->a] = acc;
  if (fp + ip->i > vm->stack_limit->load(std::memory_order_relaxed)) [[unlikely]] [[clang::musttail]] return stack_or_interrupt(MONOPOD_WASM_PASS(ip));
  u64* end = fp + ip->a;
  u64* at = end - ip->b;
  do *at++ = 0;
  while (at != end);
  MONOPOD_WASM_NEXT(1);
}

[[gnu::noinline]] MONOPOD_WASM_HANDLER translate_first(MONOPOD_WASM_STATE) {
  const Insn* code = vm->code->code_of(ip->i);
  MONOPOD_WASM_JUMP(code);
}

#define RETURN_TO(address)                               \
  do {                                                   \
    const Insn* back = reinterpret_cast<const Insn*>(address); \
    fp -= back[-1].a;                                    \
    MONOPOD_WASM_JUMP(back);                             \
  } while (false)

MONOPOD_WASM_HANDLER return_none(MONOPOD_WASM_STATE) { RETURN_TO(fp[ip->a]); }
template <bool kFromLast>
MONOPOD_WASM_HANDLER return_int(MONOPOD_WASM_STATE) {
  u64 address = fp[ip->a];
  if constexpr (!kFromLast) acc = fp[ip->b];
  fp[0] = acc;
  RETURN_TO(address);
}
template <bool kFromLast>
MONOPOD_WASM_HANDLER return_float(MONOPOD_WASM_STATE) {
  u64 address = fp[ip->a];
  if constexpr (!kFromLast) to_last_float(fp[ip->b], facc);
  fp[0] = reinterpret_cast<U128>(facc)[0];
  RETURN_TO(address);
}
MONOPOD_WASM_HANDLER return_vector(MONOPOD_WASM_STATE) {
  u64 address = fp[ip->a];
  V128 v = vector_at(fp + ip->b);
  std::memcpy(fp, &v, sizeof v);
  RETURN_TO(address);
}
MONOPOD_WASM_HANDLER return_many(MONOPOD_WASM_STATE) {  // i slots from b on
  u64 address = fp[ip->a];
  for (u32 k = 0; k < ip->i; ++k) fp[k] = fp[ip->b + k];
  RETURN_TO(address);
}

MONOPOD_WASM_HANDLER call(MONOPOD_WASM_STATE) {
  const Insn* entry = vm->entries[ip->i].load(std::memory_order_relaxed);
  acc = reinterpret_cast<u64>(ip + 1);
  fp += ip->a;
  MONOPOD_WASM_JUMP(entry);
}

// After a failed call out: an exception may be caught here, everything else ends the run.
[[gnu::noinline]] MONOPOD_WASM_HANDLER unwind_here(MONOPOD_WASM_STATE) {
  ip = unwind(vm, ip, fp);
  if (ip == nullptr) return;
  MONOPOD_WASM_JUMP(ip);
}

template <int kWords>
[[gnu::noinline]] MONOPOD_WASM_HANDLER call_out_of(MONOPOD_WASM_STATE) {  // acc: the function; of the host or of another instance
  if (!call_out(vm, ip, fp, reinterpret_cast<FunctionObject*>(acc), fp + ip[kWords - 1].a)) [[unlikely]] [[clang::musttail]] return unwind_here(MONOPOD_WASM_PASS(ip));
  RELOAD_MEMORY();
  MONOPOD_WASM_NEXT(kWords);
}
MONOPOD_WASM_HANDLER call_import(MONOPOD_WASM_STATE) {
  acc = reinterpret_cast<u64>(vm->functions[ip->i]);
  [[clang::musttail]] return call_out_of<1>(MONOPOD_WASM_PASS(ip));
}

// b = index, i = type; then a = arguments, i = table.
MONOPOD_WASM_HANDLER call_indirect(MONOPOD_WASM_STATE) {
  const TableObject* table = vm->tables[ip[1].i];
  u64 index = fp[ip->b];
  if (index >= table->elements.size()) [[unlikely]] MONOPOD_WASM_TRAP(Trap::kUndefined);
  const FunctionObject* f = reinterpret_cast<const FunctionObject*>(table->elements[index]);
  if (f == nullptr) [[unlikely]] MONOPOD_WASM_TRAP(Trap::kUninitialized);
  if (f->type != ip->i) [[unlikely]] MONOPOD_WASM_TRAP(Trap::kSignature);
  acc = reinterpret_cast<u64>(f);
  if (f->vm != vm) [[unlikely]] [[clang::musttail]] return call_out_of<2>(MONOPOD_WASM_PASS(ip));
  const Insn* entry = vm->entries[f->index].load(std::memory_order_relaxed);
  acc = reinterpret_cast<u64>(ip + 2);
  fp += ip[1].a;
  MONOPOD_WASM_JUMP(entry);
}

MONOPOD_WASM_HANDLER call_reference(MONOPOD_WASM_STATE) {
  const FunctionObject* f = reinterpret_cast<const FunctionObject*>(fp[ip->b]);
  if (f == nullptr) [[unlikely]] MONOPOD_WASM_TRAP(Trap::kNullReference);
  acc = reinterpret_cast<u64>(f);
  if (f->vm != vm) [[unlikely]] [[clang::musttail]] return call_out_of<1>(MONOPOD_WASM_PASS(ip));
  const Insn* entry = vm->entries[f->index].load(std::memory_order_relaxed);
  acc = reinterpret_cast<u64>(ip + 1);
  fp += ip->a;
  MONOPOD_WASM_JUMP(entry);
}

// ---- the seam to the tier above

// After a failure of what was called from here, whose activation is gone: the caller's call, whose return address this is, failed.
[[gnu::noinline]] MONOPOD_WASM_HANDLER failed_below(MONOPOD_WASM_STATE) {  // acc: the return address
  const Insn* back = reinterpret_cast<const Insn*>(acc);
  vm->machine->trap_ip = nullptr;
  if (is_halt(back)) return;
  fp -= back[-1].a;
  ip = unwind(vm, back - 1, fp);
  if (ip == nullptr) return;
  MONOPOD_WASM_JUMP(ip);
}
#define RETURN_FROM_TIER(address)                \
  do {                                           \
    const Insn* to_caller_ = reinterpret_cast<const Insn*>(address); \
    RELOAD_MEMORY();                             \
    acc = fp[0];                                 \
    to_last_float(acc, facc);                    \
    fp -= to_caller_[-1].a;                      \
    MONOPOD_WASM_JUMP(to_caller_);               \
  } while (false)

// Compiled code that was called from here made a tail call of what is not compiled, or not of this instance. acc: the return address.
[[gnu::noinline]] MONOPOD_WASM_HANDLER tail_from_tier(MONOPOD_WASM_STATE) {
  const FunctionObject* f = vm->machine->tail;
  RELOAD_MEMORY();
  if (f->vm != vm) {
    if (is_halt(reinterpret_cast<const Insn*>(acc))) return;  // nothing is left here
    vm->machine->tail = nullptr;
    if (!call_out(vm, ip, fp, f, fp)) [[unlikely]] [[clang::musttail]] return failed_below(MONOPOD_WASM_PASS(ip));
    RETURN_FROM_TIER(acc);
  }
  vm->machine->tail = nullptr;
  MONOPOD_WASM_JUMP(vm->entries[f->index].load(std::memory_order_relaxed));
}

[[gnu::noinline]] MONOPOD_WASM_HANDLER to_tier(MONOPOD_WASM_STATE) {  // acc: the return address
  switch (call_tier(vm, ip->i, fp)) {
    case Tier::Outcome::kDone: RETURN_FROM_TIER(acc);
    case Tier::Outcome::kTail: [[clang::musttail]] return tail_from_tier(MONOPOD_WASM_PASS(ip));
    case Tier::Outcome::kFailed: [[clang::musttail]] return failed_below(MONOPOD_WASM_PASS(ip));
    case Tier::Outcome::kNotReady: break;
  }
  const Insn* code = vm->code->code_of(ip->i);
  MONOPOD_WASM_JUMP(code);
}

[[gnu::noinline]] MONOPOD_WASM_HANDLER warm_call_now(MONOPOD_WASM_STATE) {
  vm->heat[ip->i].store(vm->warm / 2, std::memory_order_relaxed);
  vm->tier->warm(*vm, ip->i);
  MONOPOD_WASM_NEXT(1);
}
MONOPOD_WASM_HANDLER warm_call(MONOPOD_WASM_STATE) {
  u32 heat = vm->heat[ip->i].load(std::memory_order_relaxed) + kCallHeat;
  vm->heat[ip->i].store(heat, std::memory_order_relaxed);
  if (heat >= vm->warm) [[unlikely]] [[clang::musttail]] return warm_call_now(MONOPOD_WASM_PASS(ip));
  MONOPOD_WASM_NEXT(1);
}
[[gnu::noinline]] MONOPOD_WASM_HANDLER warm_loop_now(MONOPOD_WASM_STATE) {
  vm->heat[ip->i].store(vm->warm / 2, std::memory_order_relaxed);
  acc = fp[ip->a];
  switch (enter_loop_in_tier(vm, ip, fp)) {
    case Tier::Outcome::kDone: RETURN_FROM_TIER(acc);
    case Tier::Outcome::kTail: [[clang::musttail]] return tail_from_tier(MONOPOD_WASM_PASS(ip));
    case Tier::Outcome::kFailed: [[clang::musttail]] return failed_below(MONOPOD_WASM_PASS(ip));
    case Tier::Outcome::kNotReady: break;
  }
  MONOPOD_WASM_NEXT(2);
}
MONOPOD_WASM_HANDLER warm_loop(MONOPOD_WASM_STATE) {
  u32 heat = vm->heat[ip->i].load(std::memory_order_relaxed) + 1;
  vm->heat[ip->i].store(heat, std::memory_order_relaxed);
  if (heat >= vm->warm) [[unlikely]] [[clang::musttail]] return warm_loop_now(MONOPOD_WASM_PASS(ip));
  MONOPOD_WASM_NEXT(2);
}

// Tail calls: arguments move to the frame's start, the return address stays the caller's. The last word: a = arguments, b = header, c = slots of arguments,
// d = slots of results.
#define TAIL_CALL(word, entry)                                          \
  do {                                                                  \
    acc = fp[(word)->b];                                                \
    for (u32 k = 0; k < (word)->c(); ++k) fp[k] = fp[(word)->a + k];    \
    MONOPOD_WASM_JUMP(entry);                                           \
  } while (false)

template <int kWords>
[[gnu::noinline]] MONOPOD_WASM_HANDLER tail_call_out(MONOPOD_WASM_STATE) {
  const Insn* word = ip + kWords - 1;
  const FunctionObject* f = reinterpret_cast<FunctionObject*>(acc);
  if (f->vm != nullptr && is_halt(reinterpret_cast<const Insn*>(fp[word->b]))) {  // nothing is left here
    for (u32 k = 0; k < word->c(); ++k) fp[k] = fp[word->a + k];
    vm->machine->tail = f;
    return;
  }
  if (!call_out(vm, ip, fp, f, fp + word->a)) [[unlikely]] {
    if (vm->machine->trap != Trap::kException) return;
    ip = unwind_caller(vm, ip, fp);  // this frame is gone, as far as the exception is concerned
    if (ip == nullptr) return;
    MONOPOD_WASM_JUMP(ip);
  }
  u64 address = fp[word->b];
  for (u32 k = 0; k < word->d(); ++k) fp[k] = fp[word->a + k];
  RETURN_FROM_TIER(address);
}
MONOPOD_WASM_HANDLER tail_call(MONOPOD_WASM_STATE) {
  const Insn* entry = vm->entries[ip->i].load(std::memory_order_relaxed);
  TAIL_CALL(ip + 1, entry);
}
MONOPOD_WASM_HANDLER tail_call_indirect(MONOPOD_WASM_STATE) {  // b = index, i = type; i = table; the last word
  const TableObject* table = vm->tables[ip[1].i];
  u64 index = fp[ip->b];
  if (index >= table->elements.size()) [[unlikely]] MONOPOD_WASM_TRAP(Trap::kUndefined);
  const FunctionObject* f = reinterpret_cast<const FunctionObject*>(table->elements[index]);
  if (f == nullptr) [[unlikely]] MONOPOD_WASM_TRAP(Trap::kUninitialized);
  if (f->type != ip->i) [[unlikely]] MONOPOD_WASM_TRAP(Trap::kSignature);
  acc = reinterpret_cast<u64>(f);
  if (f->vm != vm) [[unlikely]] [[clang::musttail]] return tail_call_out<3>(MONOPOD_WASM_PASS(ip));
  const Insn* entry = vm->entries[f->index].load(std::memory_order_relaxed);
  TAIL_CALL(ip + 2, entry);
}
MONOPOD_WASM_HANDLER tail_call_reference(MONOPOD_WASM_STATE) {
  const FunctionObject* f = reinterpret_cast<const FunctionObject*>(fp[ip->b]);
  if (f == nullptr) [[unlikely]] MONOPOD_WASM_TRAP(Trap::kNullReference);
  acc = reinterpret_cast<u64>(f);
  if (f->vm != vm) [[unlikely]] [[clang::musttail]] return tail_call_out<2>(MONOPOD_WASM_PASS(ip));
  const Insn* entry = vm->entries[f->index].load(std::memory_order_relaxed);
  TAIL_CALL(ip + 1, entry);
}

MONOPOD_WASM_HANDLER halt(MONOPOD_WASM_STATE) {
  (void)ip, (void)fp, (void)mem, (void)msize, (void)vm, (void)acc, (void)facc;
}

MONOPOD_WASM_HANDLER fuel(MONOPOD_WASM_STATE) {
  Machine* m = vm->machine;
  m->fuel -= ip->i;
  if (m->fuel < 0) [[unlikely]] MONOPOD_WASM_TRAP(Trap::kFuel);
  MONOPOD_WASM_NEXT(1);
}

// ---- globals

MONOPOD_WASM_HANDLER global_get_int(MONOPOD_WASM_STATE) {
  acc = *vm->globals[ip->i];
  fp[ip->a] = acc;
  MONOPOD_WASM_NEXT(1);
}
MONOPOD_WASM_HANDLER global_get_float(MONOPOD_WASM_STATE) {
  u64 bits = *vm->globals[ip->i];
  fp[ip->a] = bits;
  to_last_float(bits, facc);
  MONOPOD_WASM_NEXT(1);
}
MONOPOD_WASM_HANDLER global_get_vector(MONOPOD_WASM_STATE) {
  V128 v = vector_at(vm->globals[ip->i]);
  std::memcpy(fp + ip->a, &v, sizeof v);
  MONOPOD_WASM_NEXT(1);
}
MONOPOD_WASM_HANDLER global_set(MONOPOD_WASM_STATE) {
  *vm->globals[ip->i] = fp[ip->a];
  MONOPOD_WASM_NEXT(1);
}
MONOPOD_WASM_HANDLER global_set_vector(MONOPOD_WASM_STATE) {
  V128 v = vector_at(fp + ip->a);
  std::memcpy(vm->globals[ip->i], &v, sizeof v);
  MONOPOD_WASM_NEXT(1);
}

// ---- tables

MONOPOD_WASM_HANDLER table_get(MONOPOD_WASM_STATE) {
  const TableObject* table = vm->tables[ip->i];
  u64 index = fp[ip->b];
  if (index >= table->elements.size()) [[unlikely]] MONOPOD_WASM_TRAP(Trap::kTable);
  fp[ip->a] = table->elements[index];
  MONOPOD_WASM_NEXT(1);
}
MONOPOD_WASM_HANDLER table_set(MONOPOD_WASM_STATE) {
  TableObject* table = vm->tables[ip->i];
  u64 index = fp[ip->b];
  if (index >= table->elements.size()) [[unlikely]] MONOPOD_WASM_TRAP(Trap::kTable);
  table->elements[index] = fp[ip->a];
  MONOPOD_WASM_NEXT(1);
}
MONOPOD_WASM_HANDLER table_size(MONOPOD_WASM_STATE) {
  fp[ip->a] = vm->tables[ip->i]->elements.size();
  MONOPOD_WASM_NEXT(1);
}
[[gnu::noinline]] MONOPOD_WASM_HANDLER table_grow_op(MONOPOD_WASM_STATE) {  // a = to, b = value, c = count; then i = table
  TableObject& table = *vm->tables[ip[1].i];
  u64 old = table_grow(table, fp[ip->c()], fp[ip->b]);
  fp[ip->a] = table.type.limits.is64 ? old : static_cast<u32>(old);
  MONOPOD_WASM_NEXT(2);
}
[[gnu::noinline]] MONOPOD_WASM_HANDLER table_fill(MONOPOD_WASM_STATE) {  // a = index, b = value, c = count; then i = table
  TableObject& table = *vm->tables[ip[1].i];
  u64 at = fp[ip->a], count = fp[ip->c()], size = table.elements.size();
  if (at > size || count > size - at) [[unlikely]] MONOPOD_WASM_TRAP(Trap::kTable);
  for (u64 k = 0; k < count; ++k) table.elements[at + k] = fp[ip->b];
  MONOPOD_WASM_NEXT(2);
}
[[gnu::noinline]] MONOPOD_WASM_HANDLER table_copy(MONOPOD_WASM_STATE) {  // a = to, b = from, c = count; then a = table to, i = table from (a is 16 bits: i holds both)
  TableObject& to = *vm->tables[ip[1].i];
  TableObject& from = *vm->tables[ip[2].i];
  u64 t = fp[ip->a], f = fp[ip->b], count = fp[ip->c()];
  if (t > to.elements.size() || count > to.elements.size() - t || f > from.elements.size() || count > from.elements.size() - f) [[unlikely]] MONOPOD_WASM_TRAP(Trap::kTable);
  if (count != 0) std::memmove(to.elements.data() + t, from.elements.data() + f, count * sizeof(u64));
  MONOPOD_WASM_NEXT(3);
}
[[gnu::noinline]] MONOPOD_WASM_HANDLER table_init_op(MONOPOD_WASM_STATE) {  // a = to, b = from, c = count; i = segment; i = table
  if (!table_init(*vm, ip[1].i, ip[2].i, fp[ip->a], fp[ip->b], fp[ip->c()])) [[unlikely]] MONOPOD_WASM_TRAP(Trap::kTable);
  MONOPOD_WASM_NEXT(3);
}
[[gnu::noinline]] MONOPOD_WASM_HANDLER elements_drop(MONOPOD_WASM_STATE) {
  vm->elements_dropped[ip->i] = true;
  MONOPOD_WASM_NEXT(1);
}

// ---- memories

MONOPOD_WASM_HANDLER memory_size(MONOPOD_WASM_STATE) {
  acc = vm->memories[ip->i]->bytes / kPageBytes;
  fp[ip->a] = acc;
  MONOPOD_WASM_NEXT(1);
}
[[gnu::noinline]] MONOPOD_WASM_HANDLER memory_grow(MONOPOD_WASM_STATE) {
  MemoryObject& memory = *vm->memories[ip->i];
  u64 old = memory.bytes / kPageBytes;
  bool grown = memory.grow(fp[ip->b]);
  fp[ip->a] = grown ? old : memory.type.is64 ? ~u64{0} : 0xffff'ffffu;
  RELOAD_MEMORY();
  MONOPOD_WASM_NEXT(1);
}
[[gnu::noinline]] MONOPOD_WASM_HANDLER memory_fill(MONOPOD_WASM_STATE) {  // a = to, b = value, c = count; then i = memory
  MemoryObject& memory = *vm->memories[ip[1].i];
  u64 at = fp[ip->a], count = fp[ip->c()];
  if (at > memory.bytes || count > memory.bytes - at) [[unlikely]] MONOPOD_WASM_TRAP(Trap::kMemory);
  if (count != 0) std::memset(memory.base + at, static_cast<int>(fp[ip->b] & 0xff), count);
  MONOPOD_WASM_NEXT(2);
}
[[gnu::noinline]] MONOPOD_WASM_HANDLER memory_copy(MONOPOD_WASM_STATE) {  // a = to, b = from, c = count; then a = memory to, i = memory from
  MemoryObject& to = *vm->memories[ip[1].a];
  MemoryObject& from = *vm->memories[ip[1].i];
  u64 t = fp[ip->a], f = fp[ip->b], count = fp[ip->c()];
  if (t > to.bytes || count > to.bytes - t || f > from.bytes || count > from.bytes - f) [[unlikely]] MONOPOD_WASM_TRAP(Trap::kMemory);
  if (count != 0) std::memmove(to.base + t, from.base + f, count);
  MONOPOD_WASM_NEXT(2);
}
[[gnu::noinline]] MONOPOD_WASM_HANDLER memory_init_op(MONOPOD_WASM_STATE) {  // a = to, b = from, c = count; then a = memory, i = segment
  if (!memory_init(*vm, ip[1].i, ip[1].a, fp[ip->a], fp[ip->b], fp[ip->c()])) [[unlikely]] MONOPOD_WASM_TRAP(Trap::kMemory);
  MONOPOD_WASM_NEXT(2);
}
[[gnu::noinline]] MONOPOD_WASM_HANDLER data_drop(MONOPOD_WASM_STATE) {
  vm->data_dropped[ip->i] = true;
  MONOPOD_WASM_NEXT(1);
}
// The host's address of what an access of c bytes touches, to acc. a = memory, b = address (a 32-bit one is zero extended); then the offset, 64 bits.
MONOPOD_WASM_HANDLER address(MONOPOD_WASM_STATE) {
  const MemoryObject* memory = vm->memories[ip->a];
  u64 at = fp[ip->b], offset = wide(ip + 1), bytes = ip->i;
  u64 size = memory->bytes;
  if (size < bytes || offset > size - bytes || at > size - bytes - offset) [[unlikely]] MONOPOD_WASM_TRAP(Trap::kMemory);
  acc = reinterpret_cast<u64>(memory->base + at + offset);
  MONOPOD_WASM_NEXT(2);
}

// ---- references and exceptions

MONOPOD_WASM_HANDLER ref_func(MONOPOD_WASM_STATE) {
  acc = reinterpret_cast<u64>(vm->functions[ip->i]);
  fp[ip->a] = acc;
  MONOPOD_WASM_NEXT(1);
}
MONOPOD_WASM_HANDLER ref_as_non_null(MONOPOD_WASM_STATE) {
  if (fp[ip->a] == 0) [[unlikely]] MONOPOD_WASM_TRAP(Trap::kNullReference);
  MONOPOD_WASM_NEXT(1);
}
[[gnu::noinline]] MONOPOD_WASM_HANDLER throw_op(MONOPOD_WASM_STATE) {  // a = payload, b = slots of it, i = tag
  Machine& m = *vm->machine;
  m.sp = fp + ip->a + ip->b;
  m.exception = make_exception(m, vm->tags[ip->i], fp + ip->a, ip->b);
  if (m.exception == nullptr) MONOPOD_WASM_TRAP(Trap::kLimit);
  m.trap = Trap::kException;
  ip = unwind(vm, ip, fp);
  if (ip == nullptr) return;
  MONOPOD_WASM_JUMP(ip);
}
[[gnu::noinline]] MONOPOD_WASM_HANDLER throw_ref(MONOPOD_WASM_STATE) {
  Machine& m = *vm->machine;
  if (fp[ip->a] == 0) [[unlikely]] MONOPOD_WASM_TRAP(Trap::kNullReference);
  m.exception = reinterpret_cast<ExceptionObject*>(fp[ip->a]);
  m.trap = Trap::kException;
  ip = unwind(vm, ip, fp);
  if (ip == nullptr) return;
  MONOPOD_WASM_JUMP(ip);
}
MONOPOD_WASM_HANDLER unreachable(MONOPOD_WASM_STATE) { MONOPOD_WASM_TRAP(Trap::kUnreachable); }

// A call from outside returns here: "the call" stands before, and moves no frame.
const Insn kHaltPad[2] = {{nullptr, 0, 0, 0}, {halt, 0, 0, 0}};

}  // namespace

bool is_halt(const Insn* ip) { return ip == kHaltPad + 1; }

void start(Vm* vm, std::uint32_t function, std::uint64_t* slots) {
  const Insn* entry = vm->entries[function].load(std::memory_order_relaxed);
  std::uint8_t* mem = vm->memories != nullptr ? vm->memories[0]->base : nullptr;
  std::uint64_t msize = vm->memories != nullptr ? vm->memories[0]->bytes : 0;
  entry->handler(entry, slots, mem, msize, vm, reinterpret_cast<u64>(kHaltPad + 1), V128{});
}

namespace handlers {
const Handler kJump = jump<false>, kJumpBack = jump<true>;
const Handler kBranchIf[2][2][2] = {{{branch_if<false, false, false>, branch_if<false, false, true>}, {branch_if<false, true, false>, branch_if<false, true, true>}},
                                    {{branch_if<true, false, false>, branch_if<true, false, true>}, {branch_if<true, true, false>, branch_if<true, true, true>}}};
const Handler kBranchNull[2][2] = {{branch_null<false, false>, branch_null<false, true>}, {branch_null<true, false>, branch_null<true, true>}};
const Handler kBranchTable[2] = {branch_table<false>, branch_table<true>};
const Handler kMove = move, kMoveVector = move_vector, kConstI = const_int, kConstF = const_float, kConst64 = const_64, kConst64F = const_64_float, kConstV = const_vector;
const Handler kSelectInt[2] = {select<As::kInt, false>, select<As::kInt, true>}, kSelectFloat[2] = {select<As::kFloat, false>, select<As::kFloat, true>},
              kSelectVector[2] = {select_vector<false>, select_vector<true>};
const Handler kEnter = enter, kEnterZero = enter_zero, kTranslate = translate_first, kWarmCall = warm_call, kWarmLoop = warm_loop, kToTier = to_tier;
const Handler kReturnNone = return_none, kReturnInt[2] = {return_int<false>, return_int<true>}, kReturnFloat[2] = {return_float<false>, return_float<true>},
              kReturnVector = return_vector, kReturnMany = return_many;
const Handler kCall = call, kCallImport = call_import, kCallIndirect = call_indirect, kCallReference = call_reference, kTailCall = tail_call,
              kTailCallIndirect = tail_call_indirect, kTailCallReference = tail_call_reference, kHalt = halt;
const Handler kUnreachable = unreachable, kFuel = fuel;
const Handler kGlobalGetInt = global_get_int, kGlobalGetFloat = global_get_float, kGlobalGetVector = global_get_vector, kGlobalSet = global_set, kGlobalSetVector = global_set_vector;
const Handler kTableGet = table_get, kTableSet = table_set, kTableSize = table_size, kTableGrow = table_grow_op, kTableFill = table_fill, kTableCopy = table_copy,
              kTableInit = table_init_op, kElementsDrop = elements_drop;
const Handler kMemorySize = memory_size, kMemoryGrow = memory_grow, kMemoryFill = memory_fill, kMemoryCopy = memory_copy, kMemoryInit = memory_init_op, kDataDrop = data_drop,
              kAddress = address;
const Handler kRefFunc = ref_func, kRefAsNonNull = ref_as_non_null, kThrow = throw_op, kThrowRef = throw_ref;
}  // namespace handlers

}  // namespace monopod::wasm
