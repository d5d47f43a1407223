#include "wasm/jit/signals.h"

#include <signal.h>
#include <ucontext.h>

#include <atomic>
#include <cstdlib>
#include <mutex>

#if defined(__x86_64__)
#include "wasm/jit/x86/trap.h"
#elif defined(__aarch64__)
#include "wasm/jit/a64/trap.h"
#endif

namespace monopod::wasm::jit {
namespace {

struct CodeRange {
  std::atomic<std::uintptr_t> from{0}, to{0};
  std::atomic<CodeOwner*> owner{nullptr};
};
// A signal handler is given nothing but the registers: what it looks up has to be found without them.
constinit CodeRange ranges[kCodeRangesMax];
constinit std::atomic<std::uint32_t> ranges_used{0};  // at most
constinit std::mutex ranges_mutex;
constinit thread_local Machine* running = nullptr;
struct sigaction before_segv, before_ill;

CodeOwner* owner_of(std::uintptr_t pc) {
  std::uint32_t used = ranges_used.load(std::memory_order_acquire);
  for (std::uint32_t i = 0; i < used; ++i)
    if (pc >= ranges[i].from.load(std::memory_order_relaxed) && pc < ranges[i].to.load(std::memory_order_acquire)) return ranges[i].owner.load(std::memory_order_relaxed);
  return nullptr;
}

void pass_on(int signal, siginfo_t* info, void* context, const struct sigaction& before) {
  if ((before.sa_flags & SA_SIGINFO) != 0) return before.sa_sigaction(signal, info, context);
  if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) return before.sa_handler(signal);
  if (before.sa_handler == SIG_IGN && info->si_code <= 0) return;
  // As if nobody had been here: the instruction fails again, or the signal that somebody sent is sent again.
  ::signal(signal, SIG_DFL);
  if (info->si_code <= 0) ::raise(signal);
}

void on_signal(int signal, siginfo_t* info, void* context) {
  mcontext_t& registers = static_cast<ucontext_t*>(context)->uc_mcontext;
  std::uintptr_t pc = pc_of(registers);
  if (running == nullptr || info->si_code <= 0 || owner_of(pc) == nullptr) return pass_on(signal, info, context, signal == SIGSEGV ? before_segv : before_ill);
  running->fault_address = signal == SIGSEGV ? reinterpret_cast<std::uintptr_t>(info->si_addr) : 0;
  go_to(registers, monopod_wasm_trapped);
}

void install() {
  struct sigaction ours {};
  ours.sa_sigaction = on_signal;
  ours.sa_flags = SA_SIGINFO | SA_ONSTACK;
  ::sigemptyset(&ours.sa_mask);
  ::sigaction(SIGSEGV, &ours, &before_segv);
  ::sigaction(SIGILL, &ours, &before_ill);
}

}  // namespace

bool add_code(std::uintptr_t from, std::uintptr_t to, CodeOwner& owner) {
  static std::once_flag once;
  std::call_once(once, install);
  std::lock_guard lock(ranges_mutex);
  for (std::uint32_t i = 0; i < kCodeRangesMax; ++i) {
    if (ranges[i].to.load(std::memory_order_relaxed) != 0) continue;
    ranges[i].owner.store(&owner, std::memory_order_relaxed);
    ranges[i].from.store(from, std::memory_order_relaxed);
    ranges[i].to.store(to, std::memory_order_release);
    if (i >= ranges_used.load(std::memory_order_relaxed)) ranges_used.store(i + 1, std::memory_order_release);
    return true;
  }
  return false;
}

void remove_code(std::uintptr_t from) {
  std::lock_guard lock(ranges_mutex);
  for (CodeRange& r : ranges) {
    if (r.to.load(std::memory_order_relaxed) == 0 || r.from.load(std::memory_order_relaxed) != from) continue;
    r.to.store(0, std::memory_order_relaxed);
    return;
  }
}

// No longer in the signal handler, but as if the failing instruction had called it. Returns where to go on with an exception.
extern "C" void monopod_wasm_on_trap(std::uintptr_t pc, const std::uintptr_t* stack, std::uintptr_t link, void* vm, std::int64_t fuel, SavedRegisters* saved) {
  Machine& machine = *running;
  if (CodeOwner* owner = owner_of(pc); owner != nullptr && owner->on_trap(machine, {pc, stack, link, static_cast<Vm*>(vm), fuel, saved})) return;
  leave(machine.native_frame);
}

void leave_code(Machine& machine) { leave(machine.native_frame); }

Running::Running(Machine& machine) : outer_(running) { running = &machine; }
Running::~Running() { running = outer_; }

}  // namespace monopod::wasm::jit
