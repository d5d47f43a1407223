// Type checking of function bodies and constant expressions: one pass, a stack of types and a stack of blocks (core specification, "Validation Algorithm").
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "wasm/module.h"
#include "wasm/ops.h"

namespace monopod::wasm {

class Validator {
 public:
  explicit Validator(ModuleData& module) : module_(module) {}

  // body: declarations of locals, then code up to the last `end`. Sets function.max_slots. The reader has failed where it is invalid.
  void check_function(Reader& body, Function& function, const FuncType& type);
  // A constant expression of this type; `end` is consumed. globals: how many may be named.
  Range check_constant(Reader& reader, ValType type, std::uint32_t globals);
  // What the reader's failure was about, beyond its text: "expected i32, found f64". Empty where there is nothing to add.
  std::string take_detail() { return std::move(detail_); }

 private:
  struct Block {
    std::uint8_t opcode;
    bool unreachable;
    std::uint32_t height;       // of the operands below
    std::uint32_t initialised;  // entries of set_ at its start
    const ValType* params;
    std::uint32_t param_count;
    const ValType* results;
    std::uint32_t result_count;
  };
  struct Types {
    const ValType* at;
    std::uint32_t count;
  };

  void step(Reader& r);
  void misc(Reader& r);
  void simple(Reader& r, const Op& op);
  void block(Reader& r, std::uint8_t opcode);
  void try_table(Reader& r);
  void end(Reader& r);
  void branch_table(Reader& r);
  void call(Reader& r, const FuncType& type, bool tail);
  void select_typed(Reader& r);

  [[gnu::always_inline]] void push(ValType type) {
    if (size_ == stack_.size()) [[unlikely]] stack_.resize(size_ * 2 + 64);
    stack_[size_++] = type;
    slots_ += type == kV128 ? 2 : 1;
    if (slots_ > max_slots_) max_slots_ = slots_;
  }
  ValType pop(Reader& r);
  void pop(Reader& r, ValType wanted) {
    if (size_ > height_ && stack_[size_ - 1] == wanted) [[likely]] {
      --size_;
      slots_ -= wanted == kV128 ? 2 : 1;
    } else {
      pop_slow(r, wanted);
    }
  }
  void pop_slow(Reader& r, ValType wanted);
  void pop_all(Reader& r, Types types);
  void push_all(Types types) {
    for (std::uint32_t i = 0; i < types.count; ++i) push(types.at[i]);
  }
  void unreachable();
  void enter(std::uint8_t opcode, Types params, Types results);
  Types label(Reader& r, std::uint32_t depth);  // what a branch there carries
  Types label_of(const Block& b) const { return b.opcode == kLoop ? Types{b.params, b.param_count} : Types{b.results, b.result_count}; }
  ValType memory_address(Reader& r, std::uint32_t memory);
  ValType table_address(Reader& r, std::uint32_t table);
  [[gnu::always_inline]] bool known(Reader& r, std::uint32_t index, std::size_t count, const char* why) { return index < count || unknown(r, index, count, why); }
  [[gnu::cold]] bool unknown(Reader& r, std::uint32_t index, std::size_t count, const char* why);  // false
  void mismatch(Reader& r, ValType wanted, ValType found);
  const FuncType* type_at(Reader& r, std::uint32_t index);
  const FuncType* typed_reference(Reader& r, std::uint32_t index);

  ModuleData& module_;
  std::vector<ValType> stack_;
  std::size_t size_ = 0;
  std::uint32_t height_ = 0;  // of the innermost block
  std::uint32_t slots_ = 0, max_slots_ = 0;
  std::vector<Block> blocks_;
  std::vector<ValType> locals_;
  std::vector<bool> unset_;           // locals without a default that have no value yet
  std::vector<std::uint32_t> set_;    // those that got one, in order, to be undone at the end of a block
  bool any_unset_ = false;
  std::vector<std::unique_ptr<ValType>> singles_;  // result types of blocks that are references
  std::string detail_;
  const std::uint8_t* op_at_ = nullptr;
};

// Function::max_slots, counted now where nobody has. Any thread. kSlotsUnknown where the body is not valid, which then must not be compiled.
std::uint32_t slots_of_function(const ModuleData& module, std::uint32_t function);

}  // namespace monopod::wasm
