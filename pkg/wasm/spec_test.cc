// The core specification's own test suite: JSON commands and binary modules, as wast2json writes them. Looked for in $MONOPOD_WASM_SPEC, else in
// shared/wasm/spec beside or above the working directory. Each folder in it is a level of the specification.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "base/strings.h"
#include "codec/json.h"
#include "sys/root.h"
#include "wasm/engine.h"

namespace monopod::wasm {
namespace {

namespace fs = std::filesystem;

std::string spec_folder() {
  if (const char* given = std::getenv("MONOPOD_WASM_SPEC"); given != nullptr) return given;
  for (fs::path at = fs::current_path();; at = at.parent_path()) {
    if (fs::path found = at / "shared/wasm/spec"; fs::exists(found / "core-2.0")) return found;
    if (at == at.parent_path()) return "";
  }
}

struct Nothing {};
template <typename... Args>
void print(Nothing&, Caller&, Args...) {}
constexpr HostFunction kSpecTest[] = {
    host<print<>>("print"),
    host<print<std::int32_t>>("print_i32"),
    host<print<std::int64_t>>("print_i64"),
    host<print<float>>("print_f32"),
    host<print<double>>("print_f64"),
    host<print<std::int32_t, float>>("print_i32_f32"),
    host<print<double, double>>("print_f64_f64"),
};

class Script {
 public:
  Script(fs::path file, EngineKind kind)
      : file_(std::move(file)), engine_({.level = file_.string().find("core-2.0") != std::string::npos ? Level::kCore2 : Level::kCurrent, .engine = kind, .background = false, .warm = 1}), store_({}) {
    linker_.add("spectest", kSpecTest, &nothing_);
    linker_.add("spectest", "global_i32", store_.make_global({kI32, false}, Value::i32(666)));
    linker_.add("spectest", "global_i64", store_.make_global({kI64, false}, Value::i64(666)));
    linker_.add("spectest", "global_f32", store_.make_global({kF32, false}, Value::f32(666.6f)));
    linker_.add("spectest", "global_f64", store_.make_global({kF64, false}, Value::f64(666.6)));
    linker_.add("spectest", "table", *store_.make_table({kFuncRef, {.min = 10, .max = 20, .has_max = true}}));
    linker_.add("spectest", "table64", *store_.make_table({kFuncRef, {.min = 10, .max = 20, .has_max = true, .is64 = true}}));
    linker_.add("spectest", "memory", *store_.make_memory({.min = 1, .max = 2, .has_max = true}));
  }

  void run() {
    Result<std::string> text = sys::read_host_file(file_, 64 << 20);
    ASSERT_TRUE(text) << text.error().message();
    Result<json::Value> script = json::parse(*text);
    ASSERT_TRUE(script) << script.error().message();
    for (const json::Value& command : *json::get_array(*script, {"commands"})) step(command);
    for (const std::shared_ptr<const Module>& module : modules_)
      if (module->tier() != nullptr) compiled += module->tier()->functions_compiled(), count_refused(*module);
  }

  std::size_t compiled = 0;  // functions
  std::size_t refused = 0;   // by the compiler
  int done = 0;
  int failed = 0;

 private:
  // Of all that the module has, called or not.
  void count_refused(const Module& module) {
    const ModuleData& data = module.data();
    Result<std::shared_ptr<const Module>> again = Module::load(Engine({.level = engine_.options().level, .engine = engine_.options().engine}), data.bytes);
    ASSERT_TRUE(again);
    (*again)->tier()->compile_all();
    refused += data.functions.size() - data.imported_functions - (*again)->tier()->functions_compiled();
  }

  Result<std::shared_ptr<const Module>> load(const json::Value& command) {
    Result<std::string> bytes = sys::read_host_file(file_.parent_path() / std::string(json::get_string(command, {"filename"})), 64 << 20);
    if (!bytes) return fail(bytes.error());
    Result<std::shared_ptr<const Module>> module = Module::load(engine_, {bytes->begin(), bytes->end()});
    if (module) modules_.push_back(*module);
    return module;
  }

  void wrong(const json::Value& command, std::string_view why) {
    ++failed;
    if (failed <= 10) ADD_FAILURE() << file_.filename().string() << ":" << json::get_int(command, {"line"}) << ": " << json::get_string(command, {"type"}) << ": " << why;
  }

  static std::uint64_t number(std::string_view text) { return parse_int<std::uint64_t>(text).value_or(0); }

  static Value value_of(const json::Value& v) {
    std::string_view type = json::get_string(v, {"type"}), text = json::get_string(v, {"value"});
    if (type == "i32" || type == "f32") return {type == "i32" ? kI32 : kF32, {number(text), 0}};
    if (type == "i64" || type == "f64") return {type == "i64" ? kI64 : kF64, {number(text), 0}};
    if (type == "v128") {
      Value out{kV128, {}};
      const json::Array& lanes = *json::get_array(v, {"value"});
      std::size_t bytes = 16 / lanes.size();
      for (std::size_t i = 0; i < lanes.size(); ++i) {
        std::uint64_t lane = number(std::string_view(lanes[i].as_string()));
        std::memcpy(reinterpret_cast<std::uint8_t*>(out.bits) + i * bytes, &lane, bytes);
      }
      return out;
    }
    // Null is 0 in a slot, so the suite's externref 0 is 1 here.
    ValType ref = type == "externref" ? kExternRef : type == "exnref" ? kExnRef : kFuncRef;
    return {ref, {text == "null" ? 0 : number(text) + 1, 0}};
  }

  template <typename Bits>
  static bool is_nan(Bits bits, Bits quiet, Bits sign, bool canonical) {
    bits &= static_cast<Bits>(~sign);
    return canonical ? bits == quiet : (bits & quiet) == quiet;
  }
  static bool lane_equals(std::string_view type, std::string_view want, std::uint64_t have) {
    if (want.starts_with("nan:")) {
      bool canonical = want == "nan:canonical";
      if (type == "f32") return is_nan<std::uint32_t>(static_cast<std::uint32_t>(have), 0x7fc00000, 0x80000000, canonical);
      return is_nan<std::uint64_t>(have, 0x7ff8000000000000, 0x8000000000000000, canonical);
    }
    return number(want) == have;
  }
  static bool equals(const json::Value& want, const Value& have) {
    if (const json::Array* choices = json::get_array(want, {"either"}); choices != nullptr) return std::ranges::any_of(*choices, [&have](const json::Value& v) { return equals(v, have); });
    std::string_view type = json::get_string(want, {"type"});
    if (type == "v128") {
      const json::Array& lanes = *json::get_array(want, {"value"});
      std::size_t bytes = 16 / lanes.size();
      for (std::size_t i = 0; i < lanes.size(); ++i) {
        std::uint64_t lane = 0;
        std::memcpy(&lane, reinterpret_cast<const std::uint8_t*>(have.bits) + i * bytes, bytes);
        if (!lane_equals(json::get_string(want, {"lane_type"}), std::string_view(lanes[i].as_string()), lane)) return false;
      }
      return true;
    }
    const json::Value* value = json::find(want, {"value"});
    if (type == "i32" || type == "i64" || type == "f32" || type == "f64") return lane_equals(type, json::get_string(want, {"value"}), have.bits[0]);
    if (value == nullptr) return type.ends_with("null") || type == "nullref" || type == "nullfuncref" ? have.bits[0] == 0 : have.bits[0] != 0;
    std::string_view text = json::get_string(want, {"value"});
    if (text == "null") return have.bits[0] == 0;
    return have.type.heap() == kHeapExtern ? have.bits[0] == number(text) + 1 : have.bits[0] != 0;
  }

  Instance* instance_of(const json::Value& of) {
    std::string name(json::get_string(of, {"module"}));
    if (name.empty()) return last_;
    auto at = named_.find(name);
    return at == named_.end() ? nullptr : at->second;
  }

  Result<std::vector<Value>> act(const json::Value& command) {
    const json::Value& action = *json::find(command, {"action"});
    Instance* instance = instance_of(action);
    if (instance == nullptr) return fail(Code::kNotFound, "no such module");
    std::string_view field = json::get_string(action, {"field"});
    if (json::get_string(action, {"type"}) == "get") {
      GlobalObject* global = instance->global(field);
      if (global == nullptr) return fail(Code::kNotFound, "no such global");
      return std::vector<Value>{{global->type.type, {global->type.type == kF32 ? global->value[0] & 0xffff'ffff : global->value[0], global->value[1]}}};
    }
    FunctionObject* function = instance->function(field);
    if (function == nullptr) return fail(Code::kNotFound, cat("no function ", field));
    std::vector<Value> arguments;
    for (const json::Value& v : *json::get_array(action, {"args"})) {
      arguments.push_back(value_of(v));
      // The suite's funcref and exnref arguments are nulls of whatever type is asked for.
      if (std::size_t i = arguments.size() - 1; arguments[i].type.is_ref() && i < function->signature->params.size() && arguments[i].bits[0] == 0) arguments[i].type = function->signature->params[i];
    }
    return store_.call(*function, arguments);
  }

  void step(const json::Value& command) {
    std::string_view type = json::get_string(command, {"type"});
    if (type == "module") {
      last_ = nullptr;
      Result<std::shared_ptr<const Module>> module = load(command);
      if (!module) return wrong(command, module.error().message());
      Result<Instance*> instance = store_.instantiate(*module, linker_);
      if (!instance) return wrong(command, instance.error().message());
      last_ = *instance;
      if (std::string_view name = json::get_string(command, {"name"}); !name.empty()) named_[std::string(name)] = last_;
    } else if (type == "register") {
      std::string name(json::get_string(command, {"name"}));
      Instance* instance = name.empty() ? last_ : named_[name];
      if (instance == nullptr) return wrong(command, "no such module");
      linker_.add(std::string(json::get_string(command, {"as"})), *instance);
    } else if (type == "action") {
      if (Result<std::vector<Value>> got = act(command); !got) wrong(command, got.error().message());
    } else if (type == "assert_return") {
      Result<std::vector<Value>> got = act(command);
      if (!got) return wrong(command, got.error().message());
      const json::Array& want = *json::get_array(command, {"expected"});
      if (want.size() != got->size()) return wrong(command, "another number of results");
      for (std::size_t i = 0; i < want.size(); ++i)
        if (!equals(want[i], (*got)[i])) return wrong(command, cat(json::format(*json::find(command, {"action"})), " wants ", json::format(want[i]), ", got ", (*got)[i].bits[0], " ", (*got)[i].bits[1]));
    } else if (type == "assert_trap" || type == "assert_exhaustion") {
      Result<std::vector<Value>> got = act(command);
      if (got) return wrong(command, "no trap");
      std::string_view want = json::get_string(command, {"text"});
      if (std::size_t number = want.find_first_of("0123456789"); number != std::string_view::npos) want = want.substr(0, number - 1);  // of the element
      if (got.error().message().find(want) == std::string::npos) wrong(command, cat("wants ", want, ", got ", got.error().message()));
    } else if (type == "assert_exception") {
      if (act(command) || store_.trap() != Trap::kException) wrong(command, "no exception");
    } else if (type == "assert_invalid" || type == "assert_malformed") {
      if (json::get_string(command, {"module_type"}) != "binary") return;  // of the text format
      if (Result<std::shared_ptr<const Module>> module = load(command); module) return wrong(command, cat("loads, though ", json::get_string(command, {"text"})));
    } else if (type == "assert_unlinkable" || type == "assert_uninstantiable") {
      Result<std::shared_ptr<const Module>> module = load(command);
      if (!module) return wrong(command, module.error().message());
      Result<Instance*> instance = store_.instantiate(*module, linker_);
      if (instance) return wrong(command, "links and starts");
      std::string_view want = json::get_string(command, {"text"});
      if (instance.error().message().find(want) == std::string::npos) return wrong(command, cat("wants ", want, ", got ", instance.error().message()));
    } else {
      return wrong(command, "unknown command");
    }
    ++done;
  }

  fs::path file_;
  Engine engine_;
  std::vector<std::shared_ptr<const Module>> modules_;
  Store store_;
  Linker linker_;
  Nothing nothing_;
  Instance* last_ = nullptr;
  std::map<std::string, Instance*> named_;
};

class Spec : public ::testing::TestWithParam<EngineKind> {};

TEST_P(Spec, EveryScriptPasses) {
  if (GetParam() != EngineKind::kInterpreter && !jit_unavailable().empty()) GTEST_SKIP() << jit_unavailable();
  std::string folder = spec_folder();
  if (folder.empty()) GTEST_SKIP() << "the core specification's tests are missing: packaging/scripts/get-wasm-spec DIR makes them, and MONOPOD_WASM_SPEC=DIR says where they are";
  std::vector<fs::path> files;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(folder))
    if (entry.path().extension() == ".json") files.push_back(entry.path());
  std::ranges::sort(files);
  const char* only = std::getenv("MONOPOD_WASM_SPEC_ONLY");
  int done = 0, failed = 0;
  std::size_t compiled = 0, refused = 0;
  for (const fs::path& file : files) {
    if (only != nullptr && file.stem() != only) continue;
    Script script(file, GetParam());
    script.run();
    done += script.done;
    failed += script.failed;
    compiled += script.compiled;
    refused += script.refused;
    if (script.refused != 0) std::printf("spec: %s: %zu functions are refused\n", file.filename().c_str(), script.refused);
  }
  std::printf("spec: %zu files, %d commands pass, %d fail, %zu functions compiled, %zu refused\n", files.size(), done, failed, compiled, refused);
  EXPECT_GT(done, only != nullptr ? 0 : 20'000);
  if (GetParam() != EngineKind::kInterpreter && only == nullptr) EXPECT_GT(compiled, 5'000U);
#if defined(__x86_64__)
  EXPECT_EQ(refused, 0U);
#endif
}

INSTANTIATE_TEST_SUITE_P(Engines, Spec, ::testing::Values(EngineKind::kInterpreter, EngineKind::kBaseline, EngineKind::kJit, EngineKind::kAuto), [](const auto& info) { return info.param == EngineKind::kJit ? "Jit" : info.param == EngineKind::kBaseline ? "Baseline" : info.param == EngineKind::kAuto ? "Auto" : "Interpreter"; });

}  // namespace
}  // namespace monopod::wasm
