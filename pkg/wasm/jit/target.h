// What the compiler calls the registers and operands of the processor that it is built for. A processor is a folder: target.h, emit.cc (what the shared files ask
// for), frame.cc (what the optimising compiler asks for), access.cc, scalar.cc, simd.cc, stubs.cc, and trap.h, how a signal is left.
#pragma once

#if defined(__x86_64__)
#include "wasm/jit/x86/target.h"
#elif defined(__aarch64__)
#include "wasm/jit/a64/target.h"
#endif
