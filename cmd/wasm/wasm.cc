#include "cmd/wasm/wasm.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>

#include "base/strings.h"
#include "cmd/commands.h"
#include "sys/root.h"
#include "wasm/text.h"
#include "wasm/wasi/wasi.h"

namespace monopod::cmd {

Result<std::vector<std::uint8_t>> read_wasm_module(const std::string& path) {
  TRY_ASSIGN(std::string bytes, sys::read_host_file(path, wasm::kModuleBytesMax));
  std::vector<std::uint8_t> out(bytes.size());
  if (!bytes.empty()) std::memcpy(out.data(), bytes.data(), bytes.size());
  return out;
}

Result<std::shared_ptr<const wasm::Module>> load_wasm_module(const wasm::Engine& engine, const std::string& path) {
  TRY_ASSIGN(std::vector<std::uint8_t> bytes, read_wasm_module(path));
  Result<std::shared_ptr<const wasm::Module>> module = wasm::Module::load(engine, std::move(bytes));
  if (!module) return fail(std::move(module).error().with(path));
  return module;
}

Result<std::uint64_t> parse_byte_count(std::string_view text) {
  static constexpr struct {
    std::string_view suffix;
    std::uint64_t unit;
  } kUnits[] = {{"Ki", 1 << 10}, {"Mi", 1 << 20}, {"Gi", 1 << 30}, {"K", 1000}, {"M", 1000'000}, {"G", 1000'000'000}};
  std::uint64_t unit = 1;
  std::string_view digits = text;
  for (const auto& [suffix, value] : kUnits) {
    if (!digits.ends_with(suffix)) continue;
    digits.remove_suffix(suffix.size());
    unit = value;
    break;
  }
  std::optional<std::uint64_t> number = parse_int<std::uint64_t>(digits);
  if (!number || *number > (std::uint64_t{1} << 50) / unit) return fail(Code::kInvalidArgument, cat("\"", text, "\" is no size: 64Mi, 1G, 1048576"));
  return *number * unit;
}

namespace {

// Milliseconds of a call of work, the best of several.
template <typename F>
double best_ms(int rounds, F work) {
  double best = 1e30;
  for (int i = 0; i < rounds; ++i) {
    auto from = std::chrono::steady_clock::now();
    work();
    best = std::min(best, std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - from).count());
  }
  return best;
}

Result<> bench_module(const std::string& path) {
  wasm::Engine engine({});
  TRY_ASSIGN(std::vector<std::uint8_t> bytes, read_wasm_module(path));
  TRY_ASSIGN(std::shared_ptr<const wasm::Module> module, load_wasm_module(engine, path));
  const wasm::ModuleData& data = module->data();
  double code = data.code_section.to - data.code_section.from;
  wasm::Engine another({});  // to which the module is not known
  double validate = best_ms(5, [&] { return wasm::Module::load(another, bytes).has_value(); });
  std::printf("validate_ms        %.3f\nvalidate_mb_s      %.1f\n", validate, code / 1e3 / validate);
  for (wasm::EngineKind kind : {wasm::EngineKind::kBaseline, wasm::EngineKind::kJit}) {
    if (!wasm::jit_unavailable().empty()) break;
    const char* name = kind == wasm::EngineKind::kBaseline ? "baseline" : "jit";
    TRY_ASSIGN(std::shared_ptr<const wasm::Module> compiled, load_wasm_module(wasm::Engine({.engine = kind}), path));
    std::size_t compiled_bytes = 0;
    double compile = best_ms(1, [&] { compiled_bytes = compiled->tier()->compile_all(); });
    std::printf("%-8s ms        %.3f\n%-8s mb_s      %.2f (%zu of %.0f bytes of code compiled)\n", name, compile, name, static_cast<double>(compiled_bytes) / 1e3 / compile, compiled_bytes, code);
  }
  wasm::Wasi wasi({.arguments = {path}, .inherit_stdio = false});
  wasm::Linker linker;
  wasi.link(linker);
  bool links = true;
  double fresh = best_ms(200, [&] {
    wasm::Store store({});
    links = store.instantiate(module, linker).has_value() && links;
  });
  if (links) std::printf("instance_us        %.1f\n", fresh * 1e3);
  else std::printf("instance_us        - (does not link)\n");
  return {};
}

}  // namespace

void add_wasm(CLI::App& parent, Invocation& invocation) {
  CLI::App* app = add_command(parent, "wasm", "Run and look at WebAssembly modules", "");
  app->require_subcommand(1);

  CLI::App* run_app = add_command(*app, "run", "Run a WASI (preview 1) program; what it may see of the host is granted piece by piece",
                                  "  monopod wasm run hello.wasm\n  monopod wasm run --dir ./site:/www:ro --tcp-listen 127.0.0.1:8080 server.wasm /www\n"
                                  "  monopod wasm run --invoke add math.wasm 1 2\n  monopod wasm run --memory-max 64Mi --timeout 5s --fuel 1000000000 untrusted.wasm");
  auto options = std::make_shared<WasmRunOptions>();
  run_app->add_option("--dir", options->directories, "Directory of the host, HOST[:GUEST][:ro]; repeatable")->allow_extra_args(false);
  run_app->add_option("--env", options->environment, "NAME=VALUE, or NAME to pass on one's own; repeatable")->allow_extra_args(false);
  run_app->add_option("--tcp-listen", options->listen, "ADDRESS:PORT to accept connections on; repeatable")->allow_extra_args(false);
  run_app->add_option("--allow-connect", options->connect, "ADDRESS:PORT that may be connected to; repeatable")->allow_extra_args(false);
  run_app->add_option("--engine", options->engine, "auto: interpret, compile what runs often; baseline: compile functions when called first; jit: small ones with care; interpreter")->check(CLI::IsMember({"auto", "interpreter", "baseline", "jit"}))->capture_default_str();
  run_app->add_option("--memory-max", options->memory_max, "Most bytes of one linear memory, such as 64Mi");
  run_app->add_option("--fuel", options->fuel, "Most instructions; a run is then the same everywhere")->check(CLI::PositiveNumber);
  run_app->add_flag("--deterministic", options->deterministic, "The same at every run, engine and processor: one NaN, clocks that only the guest moves, random numbers from a seed");
  run_app->add_option("--timeout", options->timeout, "Longest run, such as 5s");
  run_app->add_option("--stack-kib", options->stack_kib, "Size of the guest's call stack")->check(CLI::Range(64, 1 << 20))->capture_default_str();
  run_app->add_option("--invoke", options->invoke, "Call this export with the arguments as numbers, and print what it gives");
  run_app->add_option("--cache-dir", options->cache_directory, "Keep compiled code here; without it, that of modules from 256 KiB on is kept in the user's cache");
  run_app->add_flag("--no-cache", options->no_cache, "Neither use nor keep compiled code");
  run_app->add_option("--coredump", options->coredump, "Where a trap leaves its stack, memory and globals (tool-conventions' Coredump.md)");
  run_app->add_option("--profile", options->profile, "For perf(1): perfmap (/tmp/perf-PID.map), jitdump (./jit-PID.dump); guest: samples of its own stacks (./wasm-PID.folded)")->check(CLI::IsMember({"perfmap", "jitdump", "guest"}));
  run_app->add_flag("--sandbox", options->sandbox, "In a process of its own without files, network, privileges or system calls that were not granted: for what is not trusted");
  run_app->add_option("--sandboxed", options->sandboxed, "")->group("");
  run_app->add_option("--cpu-quota", options->cpu_quota, "Share of a processor, such as 50%");
  run_app->prefix_command();
  run_app->callback([run_app, options, &invocation] {
    std::vector<std::string> arguments = run_app->remaining();
    arguments.insert(arguments.end(), invocation.tail.begin(), invocation.tail.end());
    if (arguments.empty()) throw CLI::RequiredError("FILE");
    if (arguments[0].starts_with("-")) throw CLI::ExtrasError({arguments[0]});
    if (options->sandbox && !options->coredump.empty()) throw CLI::ExcludesError("--sandbox", "--coredump");
    if (options->sandbox && !options->profile.empty()) throw CLI::ExcludesError("--sandbox", "--profile");
    options->command_line = invocation.argv;
    invocation.run = [options, arguments] { return run_wasm(*options, arguments); };
  });

  auto file_command = [app, &invocation](const std::string& name, const std::string& summary, auto action) {
    CLI::App* sub = add_command(*app, name, summary, cat("  monopod wasm ", name, " module.wasm"));
    auto file = std::make_shared<std::string>();
    sub->add_option("FILE", *file, "The module")->required();
    sub->callback([file, action, &invocation] { invocation.run = [file, action] { return report(action(*file)); }; });
  };
  using Loaded = Result<std::shared_ptr<const wasm::Module>>;
  file_command("validate", "Check a module", +[](const std::string& path) -> Result<> {
    Loaded module = load_wasm_module(wasm::Engine({}), path);
    return module ? Result<>() : Result<>(fail(module.error()));
  });
  file_command("inspect", "Print what a module imports, exports and holds", +[](const std::string& path) -> Result<> {
    TRY_ASSIGN(std::shared_ptr<const wasm::Module> module, load_wasm_module(wasm::Engine({}), path));
    std::fputs(wasm::describe(*module).c_str(), stdout);
    return {};
  });
  file_command("wat", "Print a module as text", +[](const std::string& path) -> Result<> {
    TRY_ASSIGN(std::shared_ptr<const wasm::Module> module, load_wasm_module(wasm::Engine({}), path));
    std::fputs(wasm::disassemble(*module).c_str(), stdout);
    return {};
  });
  add_wasm_compile(*app, invocation);
  add_wasm_cache(*app, invocation);
  file_command("bench", "Measure how fast a module is checked and instantiated", +[](const std::string& path) -> Result<> { return bench_module(path); });
}

}  // namespace monopod::cmd
