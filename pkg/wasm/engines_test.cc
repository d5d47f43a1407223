// The engines against each other: random modules, of every instruction that ops.def has and of all control flow that compiles, do the same on each: results,
// traps, memory, globals, fuel. SEED=n runs that one; MONOPOD_LONG more of them. Hardening row W4, with spec_test.cc.
#include <gtest/gtest.h>

#include <cstdlib>
#include <random>

#include "base/strings.h"
#include "wasm/engine.h"
#include "wasm/ops.h"
#include "wasm/test_support.h"

namespace monopod::wasm {
namespace {

using namespace testing;
using std::uint32_t, std::uint64_t, std::uint8_t;

constexpr uint8_t V128 = 0x7b;
constexpr uint8_t kTypes[] = {I32, I64, F32, F64, V128};

// Bodies are made operand by operand: what an instruction takes is on a stack of types.
class Generator {
 public:
  Generator(uint64_t seed, bool keeps_nans) : rng_(seed), keeps_nans_(keeps_nans) {
    for (uint32_t code = 0; code < 256; ++code) add_op(code, kOps.plain[code]);
    for (uint32_t code = 0; code < 8; ++code) add_op(kPrefixMisc + code, kOps.misc[code]);
    for (uint32_t code = 0; code < kSimdOps; ++code) add_op(kPrefixSimd + code, kOps.simd[code]);
  }

  Bytes module() {
    Builder b;
    // Types: one for each function, of few or many parameters; then what is called through the table.
    for (uint32_t i = 0; i < kFunctions; ++i) {
      Signature s;
      for (uint32_t n = below(below(4) == 0 ? 16 : 5); n-- > 0;) s.params.push_back(any_type());
      for (uint32_t n = below(5) == 0 ? 2 + below(3) : below(2); n-- > 0;) s.results.push_back(any_type());
      if (i > 0 && below(2) == 0) s.results = signatures_[0].results;  // for tail calls
      signatures_.push_back(s);
      b.type(s.params, s.results);
    }
    b.memory(1).table(kFunctions + 1);
    // Of each tag: its own type, then of a block that its payload comes out of, without and with the reference.
    for (uint32_t i = 0; i < kTags; ++i) {
      Bytes payload;
      for (uint32_t n = below(4); n-- > 0;) payload.push_back(any_type());
      tags_.push_back(payload);
      b.type(payload, {}).type({}, payload).type({}, payload + Bytes{EXNREF}).tag(kFunctions + 3 * i);
    }
    for (uint8_t type : kTypes) {
      Bytes init = type == V128 ? Bytes{0xfd, 12} + Bytes(16, 3) : constant(type);
      b.global(type, true, init);
      b.export_as(cat("g", int{type}), 3, static_cast<uint32_t>(globals_++));
    }
    std::vector<uint32_t> list;
    for (uint32_t i = 0; i < kFunctions; ++i) {
      self_ = i;
      list.push_back(i);
      Bytes code = body(signatures_[i]);
      Bytes groups = leb(locals_.size() - signatures_[i].params.size());
      for (std::size_t k = signatures_[i].params.size(); k < locals_.size(); ++k) groups = groups + Bytes{1, locals_[k]};
      b.function(i, code, cat("f", i), groups);
    }
    b.elements(0, list).export_as("memory", 2, 0);
    return b.build();
  }

 private:
  static constexpr uint32_t kFunctions = 5, kTags = 3;
  struct Signature {
    Bytes params, results;
  };
  struct Choice {
    uint32_t code;
    const Op* op;
  };
  struct Label {
    Bytes types;  // what a branch to it takes
  };

  void add_op(uint32_t code, const Op& op) {
    // Relaxed instructions of which the specification leaves open what they are.
    if (op.name != nullptr && op.operand_count != 0 && !(code >= kPrefixSimd && op.immediates == Immediates::Own)) ops_.push_back({code, &op});
  }
  uint32_t below(uint32_t n) { return static_cast<uint32_t>(rng_() % n); }
  uint8_t any_type() { return kTypes[below(8) == 0 ? 4 : below(4)]; }

  Bytes constant(uint8_t type) {
    static constexpr std::int64_t kNumbers[] = {0, 1, -1, 2, 31, 32, 63, 64, 127, 128, 255, 65'535, 65'536, INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN, 1000, -1000};
    static constexpr double kFloats[] = {0.0, -0.0, 1.0, -1.5, 2147483648.0, -2147483648.0, 4294967295.5, 9223372036854775808.0, 1e-40, 3.4e38, 1e300, -1e300, 0.1};
    std::int64_t n = below(3) == 0 ? static_cast<std::int64_t>(rng_()) : kNumbers[below(std::size(kNumbers))];
    double f = kFloats[below(std::size(kFloats))];
    auto raw = [](auto value) {
      const auto* from = reinterpret_cast<const uint8_t*>(&value);
      return Bytes(from, from + sizeof value);
    };
    switch (type) {
      case I32: return i32_const(static_cast<std::int32_t>(n));
      case I64: return i64_const(n);
      case F32: return Bytes{0x43} + raw(static_cast<float>(f));
      case F64: return Bytes{0x44} + raw(f);
      default: return Bytes{0xfd, 12} + raw(rng_()) + raw(rng_());
    }
  }

  // A value of the type on top: a constant, a local, a global.
  void make(uint8_t type) {
    std::vector<uint32_t> fitting;
    for (uint32_t i = 0; i < locals_.size(); ++i)
      if (locals_[i] == type) fitting.push_back(i);
    uint32_t how = below(10);
    if (how < 6 && !fitting.empty()) emit(Bytes{0x20} + leb(fitting[below(static_cast<uint32_t>(fitting.size()))]));
    else if (how == 6) emit(Bytes{0x23} + leb(static_cast<uint32_t>(std::ranges::find(kTypes, type) - kTypes)));
    else emit(constant(type));
    stack_.push_back(type);
  }
  void emit(const Bytes& bytes) { code_.insert(code_.end(), bytes.begin(), bytes.end()); }
  void pop(std::size_t count) { stack_.resize(stack_.size() - count); }

  // Makes the top of the stack these types, with what is there where it fits.
  void want(const Bytes& types) {
    std::size_t have = std::min(types.size(), stack_.size() - floor_);
    while (have > 0 && !std::equal(types.begin(), types.begin() + static_cast<std::ptrdiff_t>(have), stack_.end() - static_cast<std::ptrdiff_t>(have))) --have;
    for (std::size_t i = have; i < types.size(); ++i) make(types[i]);
  }

  uint32_t local_of(uint8_t type) {
    std::vector<uint32_t> fitting;
    for (uint32_t i = 0; i < locals_.size(); ++i)
      if (locals_[i] == type) fitting.push_back(i);
    if (fitting.empty()) {
      locals_.push_back(type);
      return static_cast<uint32_t>(locals_.size() - 1);
    }
    return fitting[below(static_cast<uint32_t>(fitting.size()))];
  }

  // Which NaN an operation gives is not specified: none is kept, but in deterministic code.
  void without_nan(uint8_t type, bool doubles) {
    if (keeps_nans_) return;
    uint32_t t = local_of(type);
    Bytes get = Bytes{0x20} + leb(t);
    emit(Bytes{0x22} + leb(t));
    if (type == V128) emit(get + get + Bytes{0xfd} + leb(doubles ? 0x47 : 0x41) + Bytes{0xfd} + leb(0x4e));
    else emit((type == F32 ? Bytes{0x43, 0, 0, 0, 0} : Bytes{0x44, 0, 0, 0, 0, 0, 0, 0, 0}) + get + get + Bytes{static_cast<uint8_t>(type == F32 ? 0x5b : 0x61), 0x1b});
    emit(Bytes{0x22} + leb(t));
  }

  void operation() {
    const Choice& c = ops_[below(static_cast<uint32_t>(ops_.size()))];
    const Op& op = *c.op;
    Bytes operands;
    for (uint32_t i = 0; i < op.operand_count; ++i) operands.push_back(op.operands[i] == 0 ? I32 : op.operands[i]);
    if (is_memory(op.immediates)) {
      // Mostly inside, sometimes not.
      make(I32);
      if (below(20) != 0) emit(i32_const(0xffff) + Bytes{0x71});
      if (operands.size() > 1) make(operands[1]);
    } else {
      want(operands);
    }
    if (c.code >= kPrefixSimd) emit(Bytes{0xfd} + leb(c.code - kPrefixSimd));
    else if (c.code >= kPrefixMisc) emit(Bytes{0xfc} + leb(c.code - kPrefixMisc));
    else emit({static_cast<uint8_t>(c.code)});
    if (is_memory(op.immediates)) emit(leb(0) + leb(below(10) == 0 ? below(1u << 31) * 2 : below(300)));
    if (has_lane(op.immediates)) {
      std::string_view name = op.name;
      uint32_t lanes = is_memory(op.immediates) ? 16 >> natural_alignment(op.immediates) : name.starts_with("i8") ? 16 : name.starts_with("i16") ? 8 : name.find("32x4") != std::string_view::npos ? 4 : 2;
      emit({static_cast<uint8_t>(below(lanes))});
    }
    pop(operands.size());
    if (op.result == 0) return;
    stack_.push_back(op.result);
    std::string_view name = op.name;
    if (op.result == F32 || op.result == F64) without_nan(op.result, false);
    if (op.result == V128 && name.find("f32x4") == 0) without_nan(V128, false);
    if (op.result == V128 && name.find("f64x2") == 0) without_nan(V128, true);
  }

  void set_local() {
    if (stack_.size() == floor_) make(any_type());
    uint8_t type = stack_.back();
    bool tee = below(2) == 0;
    emit(Bytes{static_cast<uint8_t>(tee ? 0x22 : 0x21)} + leb(local_of(type)));
    if (!tee) pop(1);
  }
  void set_global() {
    uint8_t type = any_type();
    want({type});
    emit(Bytes{0x24} + leb(static_cast<uint32_t>(std::ranges::find(kTypes, type) - kTypes)));
    pop(1);
  }
  void select() {
    uint8_t type = any_type();
    want({type, type, I32});
    emit({0x1b});
    pop(2);
  }
  void call() {
    uint32_t f = below(static_cast<uint32_t>(signatures_.size()));
    const Signature& s = signatures_[f];
    want(s.params);
    if (below(2) == 0) {
      emit(Bytes{0x10} + leb(f));
    } else {
      emit(i32_const(static_cast<std::int32_t>(below(12) == 0 ? below(8) : f)) + Bytes{0x11} + leb(f) + Bytes{0});
    }
    pop(s.params.size());
    stack_.insert(stack_.end(), s.results.begin(), s.results.end());
  }
  void tail_call() {
    std::vector<uint32_t> same;
    for (uint32_t f = 0; f < signatures_.size(); ++f)
      if (signatures_[f].results == signatures_[self_].results) same.push_back(f);
    uint32_t f = same[below(static_cast<uint32_t>(same.size()))];
    want(signatures_[f].params);
    if (below(2) == 0) emit(Bytes{0x12} + leb(f));
    else emit(i32_const(static_cast<std::int32_t>(below(12) == 0 ? below(8) : f)) + Bytes{0x13} + leb(f) + Bytes{0});
    dead_ = true;
  }
  void throw_one() {
    uint32_t tag = below(kTags);
    want(tags_[tag]);
    emit(Bytes{0x08} + leb(tag));
    dead_ = true;
  }
  // block $out (block $in (result payload) (try_table (catch tag $in) (catch_all $out) …) br $out) what is caught to globals, or thrown again
  void try_block(int depth) {
    uint32_t tag = below(kTags);
    bool reference = below(2) == 0, all = below(2) == 0;
    Bytes in = reference ? tags_[tag] + Bytes{EXNREF} : tags_[tag];
    emit(Bytes{0x02, 0x40, 0x02} + leb(kFunctions + 3 * tag + (reference ? 2 : 1)));
    emit(Bytes{0x1f, 0x40, static_cast<uint8_t>(all ? 2 : 1), reference} + leb(tag) + Bytes{0} + (all ? Bytes{2, 1} : Bytes{}));
    labels_.push_back({{}});
    labels_.push_back({in});
    labels_.push_back({{}});
    sequence(depth, 0, {});
    emit({0x0b, 0x0c, 1, 0x0b});
    if (reference) {
      if (below(4) == 0) emit({0x0a});
      else emit({0x1a});
    }
    for (auto t = tags_[tag].rbegin(); t != tags_[tag].rend(); ++t) emit(Bytes{0x24} + leb(static_cast<uint32_t>(std::ranges::find(kTypes, *t) - kTypes)));
    emit({0x0b});
    labels_.resize(labels_.size() - 3);
  }
  void memory_operation() {
    switch (below(4)) {
      case 0: emit({0x3f, 0}), stack_.push_back(I32); break;
      case 1: emit(i32_const(static_cast<std::int32_t>(below(2))) + Bytes{0x40, 0}), stack_.push_back(I32); break;
      case 2: emit(i32_const(static_cast<std::int32_t>(below(70'000))) + i32_const(static_cast<std::int32_t>(below(60'000))) + i32_const(static_cast<std::int32_t>(below(5'000))) + Bytes{0xfc, 10, 0, 0}); break;
      default: emit(i32_const(static_cast<std::int32_t>(below(70'000))) + i32_const(77) + i32_const(static_cast<std::int32_t>(below(5'000))) + Bytes{0xfc, 11, 0});
    }
  }

  // Leaves the block's results and nothing else above `height`.
  void finish(const Bytes& results) {
    std::size_t keep = stack_.size() - floor_;
    if (keep == results.size() && std::equal(results.begin(), results.end(), stack_.end() - static_cast<std::ptrdiff_t>(keep))) return;
    while (stack_.size() > floor_) emit({0x1a}), pop(1);
    for (uint8_t t : results) make(t);
  }

  void branch() {
    auto depth = below(static_cast<uint32_t>(labels_.size()));
    auto target = [this](uint32_t d) -> const Bytes& { return labels_[labels_.size() - 1 - d].types; };
    const Bytes types = target(depth);
    if (!types.empty() && types.back() == EXNREF) return;
    switch (below(3)) {
      case 0:
        want(types + Bytes{I32});
        emit(Bytes{0x0d} + leb(depth));
        pop(1);
        break;
      case 1: {  // to all that take the same
        std::vector<uint32_t> same;
        for (uint32_t d = 0; d < labels_.size(); ++d)
          if (target(d) == types) same.push_back(d);
        want(types + Bytes{I32});
        uint32_t count = below(6);
        emit(Bytes{0x0e} + leb(count));
        for (uint32_t i = 0; i <= count; ++i) emit(leb(same[below(static_cast<uint32_t>(same.size()))]));
        dead_ = true;
        break;
      }
      default:
        want(types);
        emit(Bytes{0x0c} + leb(depth));
        dead_ = true;
    }
  }

  void block(int depth) {
    uint32_t kind = below(3);  // block, loop, if
    Bytes params, results;
    Bytes type{0x40};
    if (uint32_t how = below(4); how == 0) {  // of a function's type: any number of parameters and results
      uint32_t f = below(static_cast<uint32_t>(signatures_.size()));
      params = signatures_[f].params;
      results = signatures_[f].results;
      type = leb(f);
    } else if (how == 1 || how == 2) {
      results.push_back(any_type());
      type = {results[0]};
    }
    want(kind == 2 ? params + Bytes{I32} : params);
    if (kind == 2) pop(1);
    emit(Bytes{static_cast<uint8_t>(0x02 + kind)} + type);
    labels_.push_back({kind == 1 ? params : results});
    sequence(depth, params.size(), results);
    if (kind == 2 && (params != results || below(2) == 0)) {
      emit({0x05});
      stack_.insert(stack_.end(), params.begin(), params.end());
      sequence(depth, params.size(), results);
    }
    emit({0x0b});
    labels_.pop_back();
    stack_.insert(stack_.end(), results.begin(), results.end());
  }

  // The topmost operands are its parameters.
  void sequence(int depth, std::size_t params, const Bytes& results) {
    std::size_t floor = std::exchange(floor_, stack_.size() - params);
    dead_ = false;
    for (uint32_t n = 2 + below(12); n-- > 0 && !dead_;) {
      uint32_t what = below(26);
      if (code_.size() > 5'000) break;
      if (what < 2 && depth < 5) block(depth + 1);
      else if (what < 4) set_local();
      else if (what == 4) set_global();
      else if (what == 5) select();
      else if (what == 6) call();
      else if (what == 7) memory_operation();
      else if (what == 8 && labels_.size() > 1) branch();
      else if (what == 24 && depth < 5) try_block(depth + 1);
      else if (what == 25 && depth > 0 && below(3) == 0) below(2) == 0 ? tail_call() : throw_one();
      else operation();
    }
    if (!dead_) finish(results);
    dead_ = false;
    stack_.resize(floor_);
    floor_ = floor;
  }

  Bytes body(const Signature& s) {
    code_.clear();
    stack_.clear();
    floor_ = 0;
    locals_ = s.params;
    for (uint32_t n = below(6); n-- > 0;) locals_.push_back(any_type());
    labels_ = {{s.results}};
    sequence(0, 0, s.results);
    return code_;
  }

  std::mt19937_64 rng_;
  const bool keeps_nans_;
  std::vector<Choice> ops_;
  std::vector<Signature> signatures_;
  std::vector<Bytes> tags_;  // payloads
  uint32_t globals_ = 0, self_ = 0;
  Bytes code_, stack_, locals_;
  std::size_t floor_ = 0;
  std::vector<Label> labels_;
  bool dead_ = false;
};

struct Outcome {
  std::vector<std::string> calls;  // results or traps
  std::string globals;
  std::uint64_t memory = 0;
  bool out_of_stack = false, out_of_fuel = false;
  std::size_t compiled = 0;
};

Outcome run(const Bytes& bytes, EngineKind kind, bool fuel, bool deterministic) {
  Outcome out;
  Engine engine({.fuel = fuel, .deterministic = deterministic, .engine = kind, .background = false, .warm = 3});
  Result<std::shared_ptr<const Module>> module = Module::load(engine, bytes);
  EXPECT_TRUE(module) << module.error().message();
  if (!module) return out;
  Store store({.stack_bytes = 512 << 10, .memory_bytes_max = 4 << 20, .fuel = 200'000});
  Result<Instance*> instance = store.instantiate(*module, Linker());
  EXPECT_TRUE(instance);
  for (int round = 0; round < 2; ++round) {
    for (int f = 0; f < 5; ++f) {
      const FunctionObject& function = *(*instance)->function(cat("f", f));
      std::vector<std::uint64_t> slots(std::max(function.signature->param_slots, function.signature->result_slots) + 1);
      for (std::size_t i = 0; i < slots.size(); ++i) slots[i] = (i + 1) * static_cast<std::uint64_t>(round) * 77;
      std::uint32_t at = 0;
      for (ValType t : function.signature->params) {
        if (t == kF64) slots[at] = std::bit_cast<std::uint64_t>(1.5 * round);
        if (t == kF32) slots[at] = std::bit_cast<std::uint32_t>(2.5f * static_cast<float>(round));
        at += slots_of(t);
      }
      std::string text;
      if (store.call_raw(function, slots)) {
        at = 0;
        for (ValType t : function.signature->results) {
          text += cat(" ", t == kF32 ? slots[at] & 0xffff'ffff : slots[at], t == kV128 ? slots[at + 1] : 0);
          at += slots_of(t);
        }
      } else {
        std::string whole(store.error().message());
        out.out_of_stack = out.out_of_stack || store.trap() == Trap::kStack;
        out.out_of_fuel = out.out_of_fuel || store.trap() == Trap::kFuel;
        text = whole.substr(0, whole.find("\n", whole.find("\n") + 1));  // where it happened; further lines are counted apart where engines alternate
      }
      if (fuel) text += cat(" fuel ", store.fuel()), store.set_fuel(200'000);
      out.calls.push_back(text);
      if (out.out_of_stack) return out;
    }
  }
  for (std::uint8_t type : kTypes) {
    const GlobalObject& g = *(*instance)->global(cat("g", int{type}));
    out.globals += cat(" ", type == F32 ? g.value[0] & 0xffff'ffff : g.value[0], type == V128 ? g.value[1] : 0);
  }
  Memory memory(*(*instance)->memory("memory"));
  out.memory = std::hash<std::string_view>()({reinterpret_cast<const char*>(memory.bytes().data()), memory.bytes().size()});
  if ((*module)->tier() != nullptr) out.compiled = (*module)->tier()->functions_compiled();
  return out;
}

TEST(Engines, DoTheSameWithRandomModules) {
  if (!jit_unavailable().empty()) GTEST_SKIP() << jit_unavailable();
  std::uint64_t first = 1, count = std::getenv("MONOPOD_LONG") != nullptr ? 20'000 : 300;
  if (const char* seed = std::getenv("SEED"); seed != nullptr) first = std::strtoull(seed, nullptr, 10), count = 1;
  std::size_t compiled = 0, compared = 0;
  for (std::uint64_t seed = first; seed < first + count; ++seed) {
    // Every third keeps the NaNs it meets, in code that makes one of them.
    bool deterministic = seed % 3 == 0;
    Bytes module = Generator(seed, deterministic).module();
    Outcome want = run(module, EngineKind::kInterpreter, true, deterministic);
    if (want.out_of_stack) continue;  // how deep a stack is differs
    auto compare = [&](EngineKind kind, bool fuel, const Outcome& with) {
      Outcome have = run(module, kind, fuel, deterministic);
      compiled += have.compiled;
      if (have.out_of_stack) return;
      ++compared;
      const char* name = kind == EngineKind::kJit ? " jit" : kind == EngineKind::kBaseline ? " baseline" : " auto";
      ASSERT_EQ(have.calls, with.calls) << "SEED=" << seed << name;
      ASSERT_EQ(have.globals, with.globals) << "SEED=" << seed << name;
      ASSERT_EQ(have.memory, with.memory) << "SEED=" << seed << name;
    };
    for (EngineKind kind : {EngineKind::kBaseline, EngineKind::kAuto}) compare(kind, true, want);
    // Where no call used its fuel up it ends without fuel too, which the optimising compiler does not count.
    if (!want.out_of_fuel) compare(EngineKind::kJit, false, run(module, EngineKind::kInterpreter, false, deterministic));
    if (HasFatalFailure()) return;
  }
  EXPECT_GT(compiled, first == 1 ? count * 5 : 0);
  EXPECT_GT(compared, 0U);
}

}  // namespace
}  // namespace monopod::wasm
