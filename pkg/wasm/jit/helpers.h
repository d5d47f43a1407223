// What machine code calls. False: it failed, and machine code traps; those that say so have set machine.trap.
#pragma once

#include "wasm/runtime.h"

namespace monopod::wasm::jit {

using Flag = std::uint32_t;  // a whole register, 0 or 1

// Set machine.trap; slots: at machine.sp. stack, link: the stack pointer as it will be in who called, and the address there. Where that is who entered machine
// code, as after a tail call, they do not return, but leave it to be called from there.
Flag help_interpret(Vm* vm, std::uint32_t function, std::uint64_t* slots, const std::uintptr_t* stack, std::uintptr_t link);
Flag help_foreign(Vm* vm, std::uint32_t, std::uint64_t* slots, const std::uintptr_t* stack, std::uintptr_t link);  // of vm->callee
Flag help_import(Vm* vm, std::uint32_t function, std::uint64_t* slots);     // sets machine.trap; slots: anywhere
// Makes an exception: vm->caught where it is thrown in a try block, else the machine's, on its way. False: too many are alive. tag: with 1 << 32, in a try block.
// where: the function, and << 32 the byte of the module.
Flag help_throw(Vm* vm, std::uint64_t tag, const std::uint64_t* slots, std::uint64_t where);
void help_throw_reference(Vm* vm, std::uint64_t in_try, ExceptionObject* exception, std::uint64_t where);
void help_rethrow(Vm* vm, ExceptionObject* exception);  // by the frame that it had found, where no clause is for it
Flag help_caught(Vm* vm, std::uint64_t where);          // after help_import() failed: an exception is vm->caught, else false
const void* help_prepare(Vm* vm, std::uint32_t function);                   // where to go with a call that found no code

Flag help_memory_copy(Vm* vm, std::uint64_t memories, std::uint64_t to, std::uint64_t from, std::uint64_t count);  // memories: to, from << 32
Flag help_memory_fill(Vm* vm, std::uint64_t memory, std::uint64_t at, std::uint64_t value, std::uint64_t count);
Flag help_memory_init(Vm* vm, std::uint64_t memory, std::uint64_t to, std::uint64_t from, std::uint64_t count);  // memory, segment << 32
std::uint64_t help_memory_grow(Vm* vm, std::uint64_t memory, std::uint64_t pages);
void help_data_drop(Vm* vm, std::uint64_t segment);
Flag help_table_copy(Vm* vm, std::uint64_t tables, std::uint64_t to, std::uint64_t from, std::uint64_t count);
Flag help_table_fill(Vm* vm, std::uint64_t table, std::uint64_t at, std::uint64_t value, std::uint64_t count);
Flag help_table_init(Vm* vm, std::uint64_t table, std::uint64_t to, std::uint64_t from, std::uint64_t count);  // table, segment << 32
std::uint64_t help_table_grow(Vm* vm, std::uint64_t table, std::uint64_t value, std::uint64_t count);
void help_elements_drop(Vm* vm, std::uint64_t segment);

// All of the above, for Vm::helpers, and where in it one stands.
const void* const* helper_table();
std::size_t helper_number(const void* helper);

}  // namespace monopod::wasm::jit
