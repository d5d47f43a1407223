// `monopod wasm compile` and `monopod wasm cache`: machine code on disk (pkg/wasm/code_store.h).
#include <chrono>
#include <cstdio>
#include <ctime>

#include "base/strings.h"
#include "cmd/wasm/wasm.h"

namespace monopod::cmd {

Result<std::shared_ptr<const wasm::CodeStore>> open_code_store(const std::string& directory) {
  std::string where = directory.empty() ? wasm::CodeStore::default_directory() : directory;
  if (where.empty()) return fail(Code::kFailedPrecondition, "no directory for compiled code: neither HOME nor XDG_CACHE_HOME is set; name one with --cache-dir");
  TRY_ASSIGN(std::unique_ptr<wasm::CodeStore> store, wasm::CodeStore::open(where));
  return std::shared_ptr<const wasm::CodeStore>(std::move(store));
}

namespace {

Result<> compile_to_store(const std::string& path, const std::string& directory, bool fuel) {
  if (std::string_view why = wasm::jit_unavailable(); !why.empty()) return fail(Code::kUnimplemented, cat("compile ", path, ": ", why));
  TRY_ASSIGN(std::shared_ptr<const wasm::CodeStore> store, open_code_store(directory));
  auto from = std::chrono::steady_clock::now();
  wasm::Engine engine({.fuel = fuel, .engine = wasm::EngineKind::kBaseline, .code_store = store});
  TRY_ASSIGN(std::shared_ptr<const wasm::Module> module, load_wasm_module(engine, path));
  std::size_t found = module->tier()->functions_compiled();
  module->tier()->compile_all();
  TRY_ASSIGN(bool kept, module->keep_code());
  const wasm::ModuleData& data = module->data();
  std::size_t all = data.functions.size() - data.imported_functions;
  double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - from).count();
  std::printf("%s: %zu of %zu functions compiled, %zu of them before; %zu bytes of code %s %s, %.2f s\n", path.c_str(), module->tier()->functions_compiled(), all, found, module->tier()->bytes(),
              kept ? "written to" : "are in", store->directory().c_str(), seconds);
  return {};
}

Result<> list_store(const std::string& directory) {
  TRY_ASSIGN(std::shared_ptr<const wasm::CodeStore> store, open_code_store(directory));
  std::uint64_t all = 0;
  std::printf("%-46s %10s  %-16s  %s\n", "NAME", "BYTES", "LAST USED", "STATE");
  for (const wasm::CodeStore::Entry& e : store->list()) {
    char when[32] = "";
    std::time_t at = e.used_s;
    std::tm parts{};
    if (::gmtime_r(&at, &parts) != nullptr) std::strftime(when, sizeof when, "%Y-%m-%d %H:%M", &parts);
    std::printf("%-46s %10llu  %-16s  %s\n", e.name.c_str(), static_cast<unsigned long long>(e.bytes), when, !e.damage.empty() ? e.damage.c_str() : e.of_this_build ? "good" : "of another build");
    all += e.bytes;
  }
  std::printf("%llu bytes in %s\n", static_cast<unsigned long long>(all), store->directory().c_str());
  return {};
}

Result<> clean_store(const std::string& directory, const std::string& keep) {
  TRY_ASSIGN(std::uint64_t keep_bytes, parse_byte_count(keep));
  TRY_ASSIGN(std::shared_ptr<const wasm::CodeStore> store, open_code_store(directory));
  std::printf("%zu files removed\n", store->clean(keep_bytes));
  return {};
}

}  // namespace

void add_wasm_compile(CLI::App& wasm, Invocation& invocation) {
  struct Options {
    std::string file, directory;
    bool fuel = false;
  };
  auto options = std::make_shared<Options>();
  CLI::App* app = add_command(wasm, "compile", "Compile all of a module ahead, for the runs to come", "  monopod wasm compile tool.wasm\n  monopod wasm compile --cache-dir /var/cache/wasm tool.wasm");
  app->add_option("FILE", options->file, "The module")->required();
  app->add_option("--cache-dir", options->directory, "Where code is kept; else in the user's cache");
  app->add_flag("--fuel", options->fuel, "For runs with --fuel: their code counts instructions");
  app->callback([options, &invocation] { invocation.run = [options] { return report(compile_to_store(options->file, options->directory, options->fuel)); }; });
}

void add_wasm_cache(CLI::App& wasm, Invocation& invocation) {
  CLI::App* app = add_command(wasm, "cache", "Look at compiled code on disk, and remove it", "  monopod wasm cache list\n  monopod wasm cache clean --keep 100Mi");
  app->require_subcommand(1);
  auto directory = std::make_shared<std::string>(), keep = std::make_shared<std::string>("0");
  CLI::App* list = add_command(*app, "list", "What is kept, the most recently used first", "");
  list->add_option("--cache-dir", *directory, "Where code is kept; else in the user's cache");
  list->callback([directory, &invocation] { invocation.run = [directory] { return report(list_store(*directory)); }; });
  CLI::App* clean = add_command(*app, "clean", "Remove what is damaged or of another build, then what was used longest ago", "");
  clean->add_option("--cache-dir", *directory, "Where code is kept; else in the user's cache");
  clean->add_option("--keep", *keep, "How much may stay, such as 100Mi")->capture_default_str();
  clean->callback([directory, keep, &invocation] { invocation.run = [directory, keep] { return report(clean_store(*directory, *keep)); }; });
}

}  // namespace monopod::cmd
