#include "wasm/jit/stubs.h"

namespace monopod::wasm::jit {

using namespace asmjit;

static constexpr std::size_t kRegisterParametersMax = 12;

bool in_registers(const FuncType& type) {
  if (type.params.size() > kRegisterParametersMax || type.results.size() > 1) return false;
  std::uint32_t floats = 0;
  bool vectors = false;
  for (ValType t : type.params) {
    vectors = vectors || t == kV128;
    if (!is_integer(t)) ++floats;
  }
  return !vectors || floats <= target::kFloats;
}

std::uint32_t stack_words(const FuncType& type) {
  std::uint32_t out = 0;
  each_parameter(type, [&out](ValType, std::uint32_t, int reg, std::uint32_t) { out += reg < 0; });
  return out;
}

ResultKind result_kind(const FuncType& type) {
  if (type.results.empty()) return ResultKind::kNone;
  return is_integer(type.results[0]) ? ResultKind::kInt : type.results[0] == kV128 ? ResultKind::kVector : ResultKind::kFloat;
}

std::uint32_t tail_frame_words(std::uintptr_t link) {
  auto is = [link](void (*stub)()) { return link == reinterpret_cast<std::uintptr_t>(stub); };
  if (is(monopod_wasm_tail_grown)) return target::kGrownWords;
#define MONOPOD_TAIL(kind) is(monopod_wasm_result_kept_##kind) || is(monopod_wasm_result_taken_##kind)
  return MONOPOD_TAIL(none) || MONOPOD_TAIL(int) || MONOPOD_TAIL(float) || MONOPOD_TAIL(vector) ? 2 : 0;
#undef MONOPOD_TAIL
}

void describe(const FuncType& type, FuncSignatureBuilder& out) {
  auto id = [](ValType t) { return t == kF32 ? TypeId::kFloat32 : t == kF64 ? TypeId::kFloat64 : t == kV128 ? TypeId::kInt32x4 : TypeId::kUInt64; };
  out.addArg(TypeId::kUInt64);
  if (!in_registers(type)) return out.addArg(TypeId::kUInt64);
  for (ValType t : type.params) out.addArg(id(t));
  if (!type.results.empty()) out.setRet(id(type.results[0]));
}

}  // namespace monopod::wasm::jit
