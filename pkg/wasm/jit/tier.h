// A module's machine code: what is compiled, where it stands, who is told.
//
// natives[f] is what calls of f jump to: at first a stub that asks prepare(), then either the function's code or a stub that interprets it. Code is made for
// memories with guard pages, or, where an instance's memory has none, a second time with comparisons.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <vector>

#include "wasm/jit/code_memory.h"
#include "wasm/jit/compiled.h"
#include "wasm/jit/jit.h"
#include "wasm/jit/signals.h"
#include "wasm/jit/snapshot.h"
#include "wasm/jit/stubs.h"

namespace monopod::wasm::jit {

class JitTier;

struct Job {
  static constexpr std::uint32_t kEntry = ~0u;
  std::uint32_t function = 0;
  std::uint32_t loop = kEntry;  // or the byte of the module where the loop is that it is entered at
  friend auto operator<=>(const Job&, const Job&) = default;
};

// Code for one sort of memory.
class NativeCode : public CodeOwner {
 public:
  NativeCode(const ModuleData& module, const Options& options, bool guarded);
  ~NativeCode() override;
  enum class State : std::uint8_t { kNone, kQueued, kReady, kImpossible };
  State state(std::uint32_t function) const { return states_[function].load(std::memory_order_acquire); }
  // False: it was asked for before.
  bool claim(const Job& job);
  void compile(const Job& job);
  const void* loop_entry(const Job& job) const;
  Enter enter_of(std::uint32_t function) const { return enters_[function].load(std::memory_order_relaxed); }
  Enter enter_by_slots() const { return by_slots_; }
  const std::atomic<const void*>* natives() const { return natives_.get(); }
  // Calls of it that machine code makes are interpreted while it is not compiled. expected: what natives() says now. Returns where to go.
  const void* stay_interpreted(std::uint32_t function, const void* expected);
  // Code of the function that nothing will replace; null where there is none yet.
  const void* final_code(std::uint32_t function) const;
  const std::atomic<const void*>* foreigns() const { return foreigns_.get(); }
  bool make_foreign(std::uint32_t type_index);  // its stub; false: no room
  std::size_t bytes() const;

  // snapshot.cc; see Tier.
  std::string snapshot() const;
  bool adopt(std::span<const std::uint8_t> bytes, int fd, std::uint64_t offset);

  bool on_trap(Machine& machine, const Failure& failure) override;

  const ModuleData& module;
  const bool fuel, guarded;
  const bool deterministic, interruptible, optimise;
  const std::shared_ptr<CodeListener> listener;  // told of what can run; null: nobody

 private:
  // Of a function that was compiled here, or of one that was adopted.
  struct Found {
    std::uint32_t function = 0;
    std::uintptr_t from = 0;
    std::uint32_t frame_bytes = 0, link_bytes = 0, saved = 0, saved_bytes = 0;
    std::span<const Place> places;
  };
  void land(Machine& machine, const Failure& failure, std::uintptr_t pc, const std::uintptr_t* stack) const;
  bool begin();
  bool make_memory();
  std::optional<Found> find(std::uintptr_t pc) const;
  std::optional<Found> find_adopted(std::uintptr_t pc) const;
  template <typename F>
  const std::uint8_t* emit(F body);
  const std::uint8_t* jump_stub(std::uint32_t function, const void* to);
  void tell(const CompiledFunction& made, std::string_view tier) const;
  void tell_adopted() const;

  mutable std::mutex mutex_;
  std::unique_ptr<CodeMemory> memory_;
  std::size_t reserve_ = 0;
  bool begun_ = false;
  std::unique_ptr<std::atomic<const void*>[]> natives_;
  std::unique_ptr<std::atomic<Enter>[]> enters_;
  std::unique_ptr<std::atomic<State>[]> states_;
  std::unique_ptr<std::atomic<const void*>[]> foreigns_;
  std::set<Job> loops_claimed_;
  std::map<Job, const void*> loops_;
  std::map<std::uintptr_t, CompiledFunction> by_address_;
  std::map<std::uint32_t, Enter> enter_stubs_;           // by type number
  std::map<std::uint32_t, const void*> interpret_stubs_, foreign_stubs_;
  Enter by_slots_ = nullptr;
  Snapshot adopted_;
};

class JitTier : public Tier {
 public:
  JitTier(const ModuleData& module, CodeCache& code, Options options, std::shared_ptr<Worker> worker);
  ~JitTier() override;
  void attach(Vm& vm) override;
  Outcome call(Vm& vm, std::uint32_t function, std::uint64_t* slots) override;
  Outcome enter_loop(Vm& vm, std::uint32_t function, std::uint32_t loop, std::uint64_t* frame) override;
  void warm(Vm& vm, std::uint32_t function) override;
  std::size_t compile_all() override;
  std::size_t functions_compiled() const override { return compiled_.load(std::memory_order_relaxed); }
  std::size_t bytes() const override;
  std::string snapshot() const override;
  bool adopt(std::span<const std::uint8_t> snapshot, int fd, std::uint64_t offset) override;
  const void* prepare(Vm& vm, std::uint32_t function);

  void work(NativeCode& code, const Job& job);  // compiles, publishes

 private:
  NativeCode& code_of(const Vm& vm);
  NativeCode& make_code(bool guarded);
  void request(Vm& vm, const Job& job);
  Outcome run(Vm& vm, Enter enter, const void* code, std::uint64_t* slots);

  const ModuleData& module_;
  CodeCache& cache_;
  const Options options_;
  std::shared_ptr<Worker> worker_;
  std::unique_ptr<NativeCode> codes_[2];  // [guarded]
  std::mutex mutex_;
  std::atomic<std::size_t> compiled_{0};
};

struct Compilation {
  virtual ~Compilation() = default;
  asmjit::CodeHolder code;
};
// Compiles the function, or its variant that begins at a loop, with what is known about it in out (but addresses). Null: it cannot be.
std::unique_ptr<Compilation> compile_function(NativeCode& native, const Job& job, CompiledFunction& out);

}  // namespace monopod::wasm::jit
