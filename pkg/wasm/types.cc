#include "wasm/types.h"

#include "base/strings.h"

namespace monopod::wasm {

bool matches_slow(ValType type, ValType wanted) {
  if (type == wanted || type == kBottom) return true;
  if (!type.is_ref() || !wanted.is_ref()) return false;
  if (type.nullable() && !wanted.nullable()) return false;
  std::uint32_t have = type.heap(), want = wanted.heap();
  if (have == want) return true;
  switch (want) {
    case kHeapFunc: return have < kHeapAbstract || have == kHeapNoFunc;
    case kHeapExtern: return have == kHeapNoExtern;
    case kHeapExn: return have == kHeapNoExn;
    default: return want < kHeapAbstract && have == kHeapNoFunc;
  }
}

std::string format_type(ValType type) {
  switch (type.bits) {
    case kI32.bits: return "i32";
    case kI64.bits: return "i64";
    case kF32.bits: return "f32";
    case kF64.bits: return "f64";
    case kV128.bits: return "v128";
    case kFuncRef.bits: return "funcref";
    case kExternRef.bits: return "externref";
    case kExnRef.bits: return "exnref";
    case kBottom.bits: return "any";
    default: break;
  }
  std::string heap;
  switch (type.heap()) {
    case kHeapFunc: heap = "func"; break;
    case kHeapExtern: heap = "extern"; break;
    case kHeapExn: heap = "exn"; break;
    case kHeapNoFunc: heap = "nofunc"; break;
    case kHeapNoExtern: heap = "noextern"; break;
    case kHeapNoExn: heap = "noexn"; break;
    default: heap = cat("$", type.heap());
  }
  return cat("(ref ", type.nullable() ? "null " : "", heap, ")");
}

std::string format_type(const FuncType& type) {
  std::string out = "(";
  for (std::size_t i = 0; i < type.params.size(); ++i) out += (i != 0 ? ", " : "") + format_type(type.params[i]);
  out += ") -> ";
  if (type.results.size() != 1) out += "(";
  for (std::size_t i = 0; i < type.results.size(); ++i) out += (i != 0 ? ", " : "") + format_type(type.results[i]);
  if (type.results.size() != 1) out += ")";
  return out;
}

std::uint32_t TypeRegistry::number_of(FuncType type) {
  std::vector<std::uint32_t> key;
  key.reserve(type.params.size() + type.results.size() + 1);
  key.push_back(static_cast<std::uint32_t>(type.params.size()));
  for (ValType t : type.params) key.push_back(t.bits);
  for (ValType t : type.results) key.push_back(t.bits);
  std::lock_guard lock(mutex_);
  auto [at, added] = numbers_.try_emplace(std::move(key), static_cast<std::uint32_t>(types_.size()));
  if (!added) return at->second;
  if (types_.size() >= kTypesOfEngineMax) {
    numbers_.erase(at);
    return kTypesOfEngineMax;
  }
  std::uint32_t number = at->second;
  for (std::vector<ValType>* list : {&type.params, &type.results})
    for (ValType& t : *list)
      if (t.is_ref() && t.heap() == kSelf) t = make_ref(number, t.nullable());
  type.param_slots = type.result_slots = 0;
  for (ValType t : type.params) type.param_slots += slots_of(t);
  for (ValType t : type.results) type.result_slots += slots_of(t);
  types_.push_back(std::move(type));
  return number;
}

const FuncType& TypeRegistry::type(std::uint32_t number) const {
  std::lock_guard lock(mutex_);
  return types_[number];
}

}  // namespace monopod::wasm
