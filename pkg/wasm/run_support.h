// For tests that run guests. Only for *_test.cc.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "base/strings.h"
#include "wasm/engine.h"
#include "wasm/test_support.h"

namespace monopod::wasm::testing {

inline Instance* instantiate(Store& store, const Linker& linker, const Engine& engine, const Bytes& bytes) {
  Result<std::shared_ptr<const Module>> module = Module::load(engine, bytes);
  EXPECT_TRUE(module) << module.error().message();
  Result<Instance*> instance = store.instantiate(*module, linker);
  EXPECT_TRUE(instance) << instance.error().message();
  return *instance;
}

// The bits of its results, with spaces between, or the error.
inline std::string call(Store& store, Instance& instance, std::string_view name, const std::vector<Value>& arguments) {
  Result<std::vector<Value>> got = store.call(*instance.function(name), arguments);
  if (!got) return std::string(got.error().message());
  std::string out;
  for (const Value& v : *got) out += cat(out.empty() ? "" : " ", v.bits[0]);
  return out;
}

}  // namespace monopod::wasm::testing
