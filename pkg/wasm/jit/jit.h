// The compiler behind the interpreter: machine code for x86-64 and arm64, by asmjit. Everything else of the package sees it as a Tier (wasm/runtime.h).
//
//   tier.cc       what is compiled when, by whom, and where its code stands      worker.cc     the thread in the background
//   lowering.h    one function to instructions: numeric.cc, access.cc, lowering_calls.cc, and what is of one processor in its folder (target.h); where its values live is
//   compiler.h    asmjit's register allocator's business: control.cc, calls.cc; or decided on the way: x86/baseline.h
//   stubs.h       between register code, the host and machine code               helpers.cc    what machine code calls
//   code_memory.cc, signals.cc   pages that are never writable and executable at one address; traps
#pragma once

#include <memory>
#include <string_view>

#include "wasm/profile/code_listener.h"
#include "wasm/runtime.h"

namespace monopod::wasm {
class Worker;
}

namespace monopod::wasm::jit {

struct Options {
  bool fuel = false;
  bool at_first_call = false;  // compile each function when it is first called; else when it is warm
  bool deterministic = false;  // one NaN for each type
  bool interruptible = true;   // loops look whether the machine was interrupted
  bool optimise = false;       // by the optimising compiler where a body is small enough; else all by the baseline compiler
  std::shared_ptr<CodeListener> listener;  // told of what can run; null: nobody
};

std::string_view missing_features();  // why nothing can be compiled for this processor; empty where it can
std::string_view unavailable();       // the same, also of what the kernel does not allow: tries it
std::shared_ptr<Worker> make_worker();
// worker: null to compile where the heat is noticed. module and code outlive the tier.
std::unique_ptr<Tier> make_tier(const ModuleData& module, CodeCache& code, Options options, std::shared_ptr<Worker> worker);

}  // namespace monopod::wasm::jit
