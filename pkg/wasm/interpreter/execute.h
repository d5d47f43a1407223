// What handlers call when it takes more than a few instructions.
#pragma once

#include "wasm/interpreter/insn.h"

namespace monopod::wasm {

// A call of the host or of another instance, from the instruction at ip of the frame at fp. False: machine.trap says why.
bool call_out(Vm* vm, const Insn* ip, std::uint64_t* fp, const FunctionObject* function, std::uint64_t* slots);

// After a failure in the instruction at ip: for an exception, looks for who catches it, from the innermost frame outwards. Returns where to go on, with fp set;
// null where nobody does, or it is no exception: the run ends.
const Insn* unwind(Vm* vm, const Insn* ip, std::uint64_t*& fp);
const Insn* unwind_caller(Vm* vm, const Insn* ip, std::uint64_t*& fp);  // as if thrown by who called this frame

// To the tier and back, from a frame of register code.
Tier::Outcome call_tier(Vm* vm, std::uint32_t function, std::uint64_t* slots);
Tier::Outcome enter_loop_in_tier(Vm* vm, const Insn* ip, std::uint64_t* fp);

// Runs a function of vm's own module until it returns (results at slots) or fails.
void start(Vm* vm, std::uint32_t function, std::uint64_t* slots);
bool is_halt(const Insn* ip);  // where start()'s function returns to

}  // namespace monopod::wasm
