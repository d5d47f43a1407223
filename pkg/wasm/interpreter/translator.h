// From a validated function body to register code, in one pass. Operands are held back as long as they can: a local.get or a constant emits nothing until an
// instruction takes it as an operand, a local.set turns the destination of the instruction before it, a comparison is folded into the branch on it.
#pragma once

#include <memory>
#include <vector>

#include "wasm/determinism.h"
#include "wasm/interpreter/code.h"
#include "wasm/ops.h"

namespace monopod::wasm {

inline bool is_float(ValType t) { return t == kF32 || t == kF64; }
inline std::uint16_t narrow(std::uint32_t n) {
  if (n > 0xffff) __builtin_trap();  // the validator bounds frames: this cannot be
  return static_cast<std::uint16_t>(n);
}

class Translator {
 public:
  Translator(const ModuleData& module, std::uint32_t function, CodeOptions options);
  std::unique_ptr<RegisterCode> run();

 private:
  enum class Kind : std::uint8_t { kTemp, kLocal, kConst };
  struct Entry {
    Kind kind = Kind::kTemp;
    ValType type;
    std::uint16_t home = 0;   // its slot as an operand
    std::uint32_t local = 0;
    std::int32_t below = -1;  // the entry that holds the same local, further down
    std::uint64_t bits = 0;   // of a constant
  };
  struct Label {
    std::uint8_t opcode = 0;
    bool dead_before = false;  // the block itself was not reached
    std::uint32_t height = 0;  // entries below
    std::uint16_t base = 0;    // first slot of what it carries
    std::uint32_t target = 0;  // of loops
    std::int32_t patches = -1; // list of branches to its end, through their i
    std::int32_t else_patch = -1;
    std::int32_t region = -1;  // of try_table
    std::vector<ValType> params, results;
    const std::vector<ValType>& carried() const { return opcode == kLoop ? params : results; }
  };
  // What the last instruction left in the register.
  struct Last {
    bool valid = false;
    bool is_float = false;
    bool movable = false;  // its `a` is where it stores
    std::uint16_t slot = 0;
    std::uint32_t at = 0;
    Handler alone = nullptr;  // the same without storing
    std::uint8_t compare = 0; // opcode, if it is a comparison
    std::uint8_t pair = 0;
    bool is_sum = false;      // an i32.add of two slots
  };

  // emission
  std::uint32_t emit(Handler handler, std::uint16_t a = 0, std::uint16_t b = 0, std::uint32_t i = 0);
  void word(std::uint64_t bits, std::uint16_t a = 0, std::uint16_t b = 0, std::uint32_t i = 0);
  void produced(std::uint16_t slot, ValType type, Handler alone, bool movable = true);
  void emit_const(ValType type, std::uint64_t bits, std::uint16_t slot);
  void emit_move(ValType type, std::uint16_t to, std::uint16_t from);
  void begin_block();  // fuel is charged here for what follows

  // operands
  Entry& push(ValType type);
  void push_local(std::uint32_t local);
  void push_const(ValType type, std::uint64_t bits);
  Entry pop();
  std::uint16_t slot_of(const Entry& e) const { return e.kind == Kind::kLocal ? local_slots_[e.local] : e.home; }
  std::uint16_t in_slot(Entry& e);         // constants are stored first
  bool take_last(const Entry& e);          // the register holds it: the caller will use it from there
  bool is_last(const Entry& e) const;
  void settle(std::uint32_t index);        // the entry moves to its home
  void settle_top(std::size_t count);
  void flush();                            // every local held back moves to its home
  void truncate(std::uint32_t height);

  // instructions
  void step();
  void simple(std::uint32_t code, const Op& op);
  void binary(std::uint8_t code, const Op& op);
  void unary(std::uint32_t code, const Op& op);
  void canonicalise(NanShape shape);
  void memory_access(std::uint32_t code, const Op& op);
  void simd(std::uint32_t code, const Op& op);
  void select(ValType type);
  void set_local(std::uint32_t local);
  void misc();
  void call(const FuncType& type, std::uint8_t opcode);
  void block(std::uint8_t opcode);
  void finish_block();
  void start_else();

  // branches
  void branch(std::uint32_t depth);
  void branch_if(std::uint32_t depth);
  void branch_on_null(std::uint32_t depth, bool when_not_null);
  void leave_over(std::uint32_t depth, std::uint32_t over);
  void branch_table();
  bool values_in_place(const Label& label) const;
  void move_values(const Label& label);
  void jump_to(Label& label);                                    // unconditional
  std::uint32_t emit_condition(Entry condition, bool when_false, bool back);  // its offset is set later
  void bind(std::uint32_t at, Label& label);                     // the branch at `at` goes there
  void emit_return();
  Label& label_at(std::uint32_t depth) { return labels_[labels_.size() - 1 - depth]; }

  const ModuleData& module_;
  const FuncType& type_;
  const bool fuel_;
  const bool deterministic_;
  const bool counted_;
  Reader reader_;
  std::unique_ptr<RegisterCode> code_;
  std::vector<ValType> locals_;
  std::vector<std::uint16_t> local_slots_;
  std::vector<std::int32_t> pending_;  // per local: the highest entry that holds it
  std::vector<Entry> stack_;
  std::uint32_t flushed_ = 0;  // entries below hold no local
  std::uint32_t top_ = 0, top_max_ = 0;
  std::vector<Label> labels_;
  Last last_;
  bool dead_ = false;
  std::uint32_t fuel_at_ = 0;
  std::vector<TryRegion> open_regions_;
};

}  // namespace monopod::wasm
