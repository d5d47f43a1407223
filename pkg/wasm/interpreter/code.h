// A module's register code: made function by function when first called, shared by all its instances.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "wasm/interpreter/insn.h"

namespace monopod::wasm {

struct CatchClause {
  std::uint32_t tag = 0;  // index in the module; kAll for any
  bool with_reference = false;
  std::uint16_t to = 0;      // first slot of what is caught
  std::uint32_t target = 0;  // instruction
  static constexpr std::uint32_t kAll = ~0u;
};
struct TryRegion {  // inner ones stand before outer ones
  std::uint32_t from = 0, to = 0;
  std::vector<CatchClause> clauses;
};

struct RegisterCode {
  std::vector<Insn> insns;
  std::uint16_t header = 0;  // slot of the return address
  std::uint32_t function = 0;
  std::vector<std::pair<std::uint32_t, std::uint32_t>> places;  // instruction -> byte of the module, ascending
  std::vector<TryRegion> tries;
};

struct CodeOptions {
  bool fuel = false;
  bool deterministic = false;  // one NaN for each type (wasm/determinism.h)
  bool counted = false;   // calls and loops heat their function up, for a tier
  bool diverted = false;  // every call asks the tier first
};

struct CodeCache {
  CodeCache(const ModuleData& module, CodeOptions options);
  // The register code of a function; translated now if nobody called it before. Any thread.
  const Insn* code_of(std::uint32_t function);
  const RegisterCode* find(const Insn* ip) const;  // whose code this is; null: of no function of this module
  std::size_t bytes() const { return bytes_.load(std::memory_order_relaxed); }

  void divert(std::uint32_t function, bool to_tier);

  const ModuleData& module;
  const CodeOptions options;
  std::unique_ptr<std::atomic<const Insn*>[]> entries;
  std::unique_ptr<std::atomic<std::uint32_t>[]> heat;  // by function; null where nothing is counted

 private:
  std::vector<Insn> stubs_;
  std::vector<Insn> to_tier_;
  std::vector<const Insn*> translated_;
  mutable std::mutex mutex_;
  std::map<const Insn*, std::unique_ptr<RegisterCode>> by_address_;
  std::atomic<std::size_t> bytes_{0};
};

std::unique_ptr<RegisterCode> translate(const ModuleData& module, std::uint32_t function, CodeOptions options);

}  // namespace monopod::wasm
