// wasm_bench FOLDER [ROUNDS]: FOLDER/native/* and FOLDER/wasm/*.wasm are the same kernels, each run as "kernel N" = N repetitions. Prints, per kernel, processor
// time of one repetition natively and on each engine, (cpu(N) - cpu(1)) / (N - 1), the least of ROUNDS, as ratios, and their geometric means; then what else the
// engines cost: validation, compilation, instances, calls between host and guest, memory. WASM_BENCH_ENGINES="jit auto": on these only; WASM_BENCH_MODULE=FILE:
// the module that is validated and compiled, instead of the largest kernel.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "base/strings.h"
#include "wasm/engine.h"
#include "wasm/wasi/wasi.h"

namespace monopod::wasm {
namespace {

namespace fs = std::filesystem;

std::vector<std::uint8_t> read_file(const fs::path& path) {
  Result<std::string> bytes = sys::read_host_file(path, kModuleBytesMax);
  if (!bytes) {
    std::fprintf(stderr, "%s\n", bytes.error().message().c_str());
    std::exit(1);
  }
  return {bytes->begin(), bytes->end()};
}

int run_guest(const fs::path& file, const std::string& argument, EngineOptions options) {
  Engine engine(options);
  Result<std::shared_ptr<const Module>> module = Module::load(engine, read_file(file));
  Store store({});
  Wasi wasi({.arguments = {"kernel", argument}});
  Linker linker;
  wasi.link(linker);
  Result<Instance*> instance = module ? store.instantiate(*module, linker) : fail(module.error());
  if (!instance) return 1;
  Result<std::vector<Value>> done = store.call(*(*instance)->function("_start"), {});
  return done || store.trap() == Trap::kExit ? store.exit_code() : 1;
}

struct Cost {
  double cpu_ms = 0;
  long rss_kib = 0;
  bool good = false;
};
template <typename F>
Cost in_child(F body) {
  pid_t child = ::fork();
  if (child == 0) {
    int null = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
    ::dup2(null, 1);
    ::_exit(body());
  }
  int status = 0;
  rusage used{};
  ::wait4(child, &status, 0, &used);
  double ms = static_cast<double>(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1e3 + static_cast<double>(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e3;
  return {ms, used.ru_maxrss, WIFEXITED(status) && WEXITSTATUS(status) == 0};
}

template <typename F>
double per_repetition(F run, int n, int rounds) {
  double best = 1e30;
  for (int i = 0; i < rounds; ++i) {
    Cost one = run(1), many = run(n);
    if (!one.good || !many.good) return -1;
    best = std::min(best, (many.cpu_ms - one.cpu_ms) / (n - 1));
  }
  return best;
}

// Processor time of this thread: other programs on the machine do not count.
double cpu_ns() {
  timespec t{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) * 1e9 + static_cast<double>(t.tv_nsec);
}

template <typename F>
double best_ns(int rounds, int each, F work) {
  double best = 1e30;
  for (int i = 0; i < rounds; ++i) {
    double from = cpu_ns();
    for (int k = 0; k < each; ++k) work();
    best = std::min(best, (cpu_ns() - from) / each);
  }
  return best;
}

void kernels(const fs::path& folder, int rounds) {
  struct Way {
    const char* name;
    EngineOptions options;
    int repetitions;
    double product = 0, worst = 0;
    int count = 0;
  };
  std::vector<Way> ways{{"interpreter", {.engine = EngineKind::kInterpreter}, 3}, {"interpreter_fuel", {.fuel = true, .engine = EngineKind::kInterpreter}, 3}};
  if (jit_unavailable().empty()) {
    ways.push_back({"baseline", {.engine = EngineKind::kBaseline}, 11});
    ways.push_back({"baseline_blind", {.interruptible = false, .engine = EngineKind::kBaseline}, 11});  // loops do not look whether they are interrupted
    ways.push_back({"baseline_fuel", {.fuel = true, .engine = EngineKind::kBaseline}, 11});
    ways.push_back({"jit", {.engine = EngineKind::kJit}, 11});
    ways.push_back({"jit_fuel", {.fuel = true, .engine = EngineKind::kJit}, 11});
    ways.push_back({"auto", {.engine = EngineKind::kAuto}, 11});
  }
  if (const char* only = std::getenv("WASM_BENCH_ENGINES"); only != nullptr) std::erase_if(ways, [only](const Way& w) { return std::strstr(cat(" ", only, " ").c_str(), cat(" ", w.name, " ").c_str()) == nullptr; });
  std::vector<fs::path> files;
  for (const fs::directory_entry& e : fs::directory_iterator(folder / "wasm"))
    if (e.path().extension() == ".wasm" && e.path().stem() != "hello") files.push_back(e.path());
  std::ranges::sort(files);
  for (const fs::path& file : files) {
    fs::path native = folder / "native" / file.stem();
    auto natively = [&](int n) {
      std::string text = std::to_string(n);
      return in_child([&] { return ::execl(native.c_str(), native.c_str(), text.c_str(), nullptr); });
    };
    double base = per_repetition(natively, 11, rounds);
    std::printf("wasm_%-10s native_ms %8.2f", file.stem().c_str(), base);
    for (Way& way : ways) {
      double ours = per_repetition([&](int n) { return in_child([&] { return run_guest(file, std::to_string(n), way.options); }); }, way.repetitions, rounds);
      if (base <= 0 || ours <= 0) {
        std::printf("  %s failed", way.name);
        continue;
      }
      std::printf("  %s %6.2f", way.name, ours / base);
      way.product += std::log(ours / base);
      way.worst = std::max(way.worst, ours / base);
      ++way.count;
    }
    std::printf("\n");
    std::fflush(stdout);
  }
  for (const Way& way : ways)
    if (way.count != 0) std::printf("wasm_%s_geomean %.2f worst %.2f (%d kernels)\n", way.name, std::exp(way.product / way.count), way.worst, way.count);
}

// (module (import "h" "f" (func (param i32 i32) (result i32))) (memory 19) (data 64 KiB)
//   (export "memory" (memory 0)) (func (export "nop") (param i32) (result i32) local.get 0)
//   (func (export "loop") (param i32) (loop … call f …)))
std::vector<std::uint8_t> calling_module() {
  std::vector<std::uint8_t> out{0, 'a', 's', 'm', 1, 0, 0, 0,
                                1, 16, 3, 96, 2, 127, 127, 1, 127, 96, 1, 127, 1, 127, 96, 1, 127, 0,
                                2, 7, 1, 1, 104, 1, 102, 0, 0,
                                3, 3, 2, 1, 2,
                                5, 3, 1, 0, 19,
                                7, 23, 3, 3, 110, 111, 112, 0, 1, 4, 108, 111, 111, 112, 0, 2, 6, 109, 101, 109, 111, 114, 121, 2, 0,
                                10, 28, 2, 4, 0, 32, 0, 11, 21, 0, 3, 64, 32, 0, 65, 1, 16, 0, 26, 32, 0, 65, 1, 107, 34, 0, 13, 0, 11, 11,
                                11, 0x88, 0x80, 4, 1, 0, 65, 0, 11, 0x80, 0x80, 4};
  out.resize(out.size() + 65'536, 7);
  return out;
}

std::uint32_t add(int&, Caller&, std::uint32_t a, std::uint32_t b) { return a + b; }
constexpr HostFunction kRows[] = {host<add>("f")};

void compilation(const Module& module, const char* engine, const std::string& name) {
  const ModuleData& data = module.data();
  std::size_t bytes = 0;
  double ns = best_ns(1, 1, [&] { bytes = module.tier()->compile_all(); });
  std::printf("wasm_%s_compile_mb_s %.2f (%s, %zu of %u bytes of code, %zu of machine code)\n", engine, static_cast<double>(bytes) / ns * 1e3, name.c_str(), bytes, data.code_section.to - data.code_section.from, module.tier()->bytes());
}

std::uint32_t read_leb(std::span<const std::uint8_t> bytes, std::size_t& at) {
  std::uint32_t out = 0;
  for (unsigned shift = 0; at < bytes.size(); shift += 7) {
    std::uint8_t byte = bytes[at++];
    out |= static_cast<std::uint32_t>(byte & 0x7f) << shift;
    if ((byte & 0x80) == 0) break;
  }
  return out;
}
void write_leb(std::vector<std::uint8_t>& out, std::size_t value) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<std::uint8_t>(value | 0x80));
  out.push_back(static_cast<std::uint8_t>(value));
}

// The module with all its functions so many times: their types and their bodies.
std::vector<std::uint8_t> with_functions_again(std::span<const std::uint8_t> bytes, std::size_t times) {
  constexpr std::uint8_t kFunctionSection = 3, kCodeSection = 10;
  std::vector<std::uint8_t> out(bytes.begin(), bytes.begin() + 8);
  for (std::size_t at = 8; at < bytes.size();) {
    std::uint8_t id = bytes[at++];
    std::size_t size = read_leb(bytes, at), end = at + size, from = at;
    std::vector<std::uint8_t> content;
    if (id == kFunctionSection || id == kCodeSection) {
      write_leb(content, read_leb(bytes, from) * times);
      for (std::size_t i = 0; i < times; ++i) content.insert(content.end(), bytes.begin() + static_cast<std::ptrdiff_t>(from), bytes.begin() + static_cast<std::ptrdiff_t>(end));
    } else {
      content.assign(bytes.begin() + static_cast<std::ptrdiff_t>(from), bytes.begin() + static_cast<std::ptrdiff_t>(end));
    }
    out.push_back(id);
    write_leb(out, content.size());
    out.insert(out.end(), content.begin(), content.end());
    at = end;
  }
  return out;
}

// What a module of realistic size takes: one function after the other, each time as a process does it that sees the module first, into memory that nobody touched.
void compilation_of_large(const std::vector<std::uint8_t>& bytes, std::size_t code_bytes, const std::string& name) {
  constexpr std::size_t kCodeBytes = 2 << 20;
  constexpr int kPasses = 15;
  std::vector<std::uint8_t> large = with_functions_again(bytes, kCodeBytes / code_bytes + 1);
  std::vector<double> speeds;
  for (int i = 0; i < kPasses; ++i) {
    Result<std::shared_ptr<const Module>> module = Module::load(Engine({.engine = EngineKind::kBaseline}), large);
    if (!module) return void(std::printf("wasm_baseline_compile_large failed: %s\n", module.error().message().c_str()));
    std::size_t compiled = 0;
    double ns = best_ns(1, 1, [&] { compiled = (*module)->tier()->compile_all(); });
    speeds.push_back(static_cast<double>(compiled) / ns * 1e3);
  }
  std::ranges::sort(speeds);
  std::printf("wasm_baseline_compile_large_mb_s median %.1f least %.1f most %.1f (%d passes over %zu bytes: the functions of %s again and again)\n", speeds[kPasses / 2], speeds.front(), speeds.back(), kPasses, large.size(), name.c_str());
}

void rest(const fs::path& folder, EngineKind kind) {
  const char* name = kind == EngineKind::kJit ? "jit" : "interpreter";
  Engine engine({.engine = kind});
  // Validation: the largest module of the folder, as often as it takes.
  fs::path largest;
  for (const fs::directory_entry& e : fs::directory_iterator(folder / "wasm"))
    if (largest.empty() || fs::file_size(e.path()) > fs::file_size(largest)) largest = e.path();
  if (const char* given = std::getenv("WASM_BENCH_MODULE"); given != nullptr) largest = given;
  std::vector<std::uint8_t> bytes = read_file(largest);
  Result<std::shared_ptr<const Module>> module = Module::load(engine, bytes);
  if (module) {
    double code = (*module)->data().code_section.to - (*module)->data().code_section.from;
    Engine another({.engine = kind});  // which nobody's module is known to
    double ns = best_ns(10, bytes.size() > 1'000'000 ? 1 : 20, [&] { (void)Module::load(another, bytes).has_value(); });
    if (kind == EngineKind::kInterpreter) std::printf("wasm_validate_mb_s %.0f (%s, %.0f bytes of code)\n", code / ns * 1e3, largest.filename().c_str(), code);
    if (kind == EngineKind::kJit) {
      compilation(**module, "jit", largest.filename());
      if (auto quickly = Module::load(Engine({.engine = EngineKind::kBaseline}), bytes); quickly) compilation(**quickly, "baseline", largest.filename());
      compilation_of_large(bytes, static_cast<std::size_t>(code), largest.filename());
    }
  }
  Result<std::shared_ptr<const Module>> calls = Module::load(engine, calling_module());
  if (!calls) {
    std::printf("wasm_calls failed: %s\n", calls.error().message().c_str());
    return;
  }
  Linker linker;
  int self = 0;
  linker.add("h", kRows, &self);
  Pool pool(8);
  for (Pool* from : {static_cast<Pool*>(nullptr), &pool}) {
    double each = best_ns(20, 200, [&] {
      Store store({.pool = from});
      Result<Instance*> instance = store.instantiate(*calls, linker);
      std::uint64_t slot[1] = {1};
      store.call_raw(*(*instance)->function("nop"), slot);
    });
    std::printf("wasm_%s_instance_and_first_call_%s_us %.1f\n", name, from == nullptr ? "fresh" : "pooled", each / 1e3);
  }
  Store store({});
  Result<Instance*> instance = store.instantiate(*calls, linker);
  FunctionObject* nop = (*instance)->function("nop");
  FunctionObject* loop = (*instance)->function("loop");
  double in = best_ns(20, 100'000, [&] {
    std::uint64_t slot[1] = {1};
    store.call_raw(*nop, slot);
  });
  double out = best_ns(20, 1, [&] {
    std::uint64_t slot[1] = {1'000'000};
    store.call_raw(*loop, slot);
  });
  std::printf("wasm_%s_host_to_guest_ns %.1f\nwasm_%s_guest_to_host_ns %.1f (with the loop around it)\n", name, in, name, out / 1e6);
  if (kind != EngineKind::kInterpreter) return;
  Memory memory(*(*instance)->memory("memory"));
  double view = best_ns(20, 100'000, [&] {
    Result<std::span<std::uint8_t>> span = memory.view(0, 1 << 20);
    asm volatile("" : : "r"(span->data()));
  });
  std::printf("wasm_hand_1mb_in_place_us %.4f\n", view / 1e3);
  constexpr std::uint64_t kMapped = 64 << 10;  // what the module's memory has, at least
  sys::Fd buffer(::memfd_create("buffer", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (::ftruncate(buffer.get(), kMapped) != 0 || ::fcntl(buffer.get(), F_ADD_SEALS, F_SEAL_SHRINK) != 0) return;
  double mapped = best_ns(20, 1'000, [&] { (void)memory.map(0, buffer.get(), 0, kMapped, true).has_value(); });
  std::printf("wasm_map_64kb_of_the_host_us %.2f\n", mapped / 1e3);
}

// A start from the cache: from a module's bytes in memory to the end of its first call, in a process that runs, with its code on disk. cold: this process has not seen
// either, so both are hashed and the code is authenticated; verified: an engine's first sight of the module, whose code was authenticated before (it ended and starts
// again); known: somebody holds the module.
void start_from_cache(const fs::path& file) {
  fs::path folder = fs::temp_directory_path() / ("wasm-bench-" + std::to_string(::getpid()));
  Result<std::unique_ptr<CodeStore>> opened = CodeStore::open(folder);
  if (!opened) return;
  EngineOptions options{.engine = EngineKind::kJit, .code_store = std::move(*opened)};
  constexpr const char* kWays[] = {"cold", "verified", "known"};
  std::vector<std::uint8_t> bytes = read_file(file);
  Result<std::shared_ptr<const Module>> compiled = Module::load(Engine(options), bytes);
  if (!compiled) return;
  (*compiled)->tier()->compile_all();
  if (Result<bool> kept = (*compiled)->keep_code(); !kept || !*kept) std::printf("wasm_start: code was not kept\n");
  Pool pool(8);
  // Of no repetition: what a program does before and after its work.
  Wasi wasi({.arguments = {"kernel", "0"}, .inherit_stdio = false});
  Linker linker;
  wasi.link(linker);
  for (std::string_view way : kWays) {
    bool known = way == "known";
    double load = 1e30, all = 1e30;
    Engine shared(options);
    Result<std::shared_ptr<const Module>> held = known ? Module::load(shared, bytes) : fail(Code::kNotFound, "");
    for (int i = 0; i < 200; ++i) {
      std::optional<Engine> fresh;
      if (way == "cold") options.code_store = std::move(*CodeStore::open(folder));
      if (!known) fresh.emplace(options);
      std::vector<std::uint8_t> copy = bytes;
      double from = cpu_ns();
      Result<std::shared_ptr<const Module>> module = Module::load(known ? shared : *fresh, std::move(copy));
      double loaded = cpu_ns();
      Store store({.pool = &pool});
      Result<Instance*> instance = store.instantiate(*module, linker);
      std::uint64_t slot[1] = {};
      if (!(*module)->code_found() || !instance || (!store.call_raw(*(*instance)->function("_start"), slot) && store.trap() != Trap::kExit)) return void(std::printf("wasm_start failed\n"));
      all = std::min(all, cpu_ns() - from);
      load = std::min(load, loaded - from);
    }
    std::printf("wasm_start_%s_us %.1f (%s, %zu bytes; of which loading %.1f)\n", way.data(), all / 1e3, file.filename().c_str(), bytes.size(), load / 1e3);
  }
  fs::remove_all(folder);
}

}  // namespace
}  // namespace monopod::wasm

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: %s FOLDER [ROUNDS]\n", argv[0]);
    return 2;
  }
  monopod::wasm::rest(argv[1], monopod::wasm::EngineKind::kInterpreter);
  if (monopod::wasm::jit_unavailable().empty()) monopod::wasm::rest(argv[1], monopod::wasm::EngineKind::kJit);
  if (monopod::wasm::jit_unavailable().empty())
    for (const char* name : {"hello", "json"})
      if (std::filesystem::path file = std::filesystem::path(argv[1]) / "wasm" / (std::string(name) + ".wasm"); std::filesystem::exists(file)) monopod::wasm::start_from_cache(file);
  monopod::wasm::kernels(argv[1], argc > 2 ? std::atoi(argv[2]) : 2);
}
