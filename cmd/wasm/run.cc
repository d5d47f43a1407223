// `monopod wasm run`: a guest, and what of the host it is granted.
#include <arpa/inet.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <mutex>
#include <optional>
#include <thread>

#include "base/duration.h"
#include "base/strings.h"
#include "cmd/wasm/quota.h"
#include "cmd/wasm/wasm.h"
#include "sys/files.h"
#include "wasm/coredump.h"
#include "wasm/profile/guest.h"
#include "wasm/profile/perf.h"
#include "wasm/sandbox.h"
#include "wasm/wasi/wasi.h"

namespace monopod::cmd {
namespace {

// "host:guest", "host:guest:ro", "host" (under its own name).
Result<wasm::WasiDirectory> open_directory(const std::string& grant) {
  std::vector<std::string_view> parts = split(grant, ':');
  bool read_only = parts.size() > 1 && parts.back() == "ro";
  if (read_only) parts.pop_back();
  if (parts.size() > 2 || parts[0].empty()) return fail(Code::kInvalidArgument, cat("--dir ", grant, ": want HOST[:GUEST][:ro]"));
  TRY_ASSIGN(sys::Root root, sys::Root::open(std::string(parts[0])));
  return wasm::WasiDirectory{std::string(parts.size() == 2 ? parts[1] : parts[0]), std::move(root), read_only};
}

Result<wasm::WasiEndpoint> parse_endpoint(std::string_view text) {
  std::size_t colon = text.rfind(':');
  std::optional<std::uint16_t> port = colon == std::string_view::npos ? std::nullopt : parse_int<std::uint16_t>(text.substr(colon + 1));
  std::string_view host = text.substr(0, std::min(colon, text.size()));
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  in6_addr parsed{};
  std::string address(host);
  if (!port || (::inet_pton(AF_INET, address.c_str(), &parsed) != 1 && ::inet_pton(AF_INET6, address.c_str(), &parsed) != 1))
    return fail(Code::kInvalidArgument, cat("\"", text, "\" is no ADDRESS:PORT (numeric: names are not looked up for a guest)"));
  return wasm::WasiEndpoint{std::move(address), *port};
}

Result<sys::Fd> listen_on(const std::string& text) {
  TRY_ASSIGN(wasm::WasiEndpoint at, parse_endpoint(text));
  bool v6 = at.address.find(':') != std::string::npos;
  sys::Fd fd(::socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return fail_errno(cat("listen on ", text));
  int one = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  sockaddr_in6 six{.sin6_family = AF_INET6, .sin6_port = htons(at.port)};
  sockaddr_in four{.sin_family = AF_INET, .sin_port = htons(at.port)};
  ::inet_pton(v6 ? AF_INET6 : AF_INET, at.address.c_str(), v6 ? static_cast<void*>(&six.sin6_addr) : &four.sin_addr);
  int bound = v6 ? ::bind(fd.get(), reinterpret_cast<sockaddr*>(&six), sizeof six) : ::bind(fd.get(), reinterpret_cast<sockaddr*>(&four), sizeof four);
  if (bound != 0 || ::listen(fd.get(), 128) != 0) return fail_errno(cat("listen on ", text));
  return fd;
}

wasm::EngineKind engine_kind(std::string_view name) {
  return name == "jit" ? wasm::EngineKind::kJit : name == "baseline" ? wasm::EngineKind::kBaseline : name == "auto" ? wasm::EngineKind::kAuto : wasm::EngineKind::kInterpreter;
}

// Interrupts the guest when its time is up; the destructor calls it off.
class Deadline {
 public:
  Deadline(wasm::Store& store, wasm::Wasi& wasi, Duration after) {
    if (after <= Duration::zero()) return;
    thread_ = std::thread([this, &store, &wasi, after] {
      std::unique_lock lock(mutex_);
      if (changed_.wait_for(lock, after, [this] { return over_; })) return;
      passed_ = true;
      store.interrupt();
      wasi.interrupt();
    });
  }
  ~Deadline() { stop(); }
  bool stop() {
    {
      std::lock_guard lock(mutex_);
      over_ = true;
    }
    changed_.notify_all();
    if (thread_.joinable()) thread_.join();
    return passed_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::thread thread_;
  bool over_ = false;
  bool passed_ = false;
};

Result<std::vector<wasm::Value>> parse_arguments(const wasm::FuncType& type, const std::vector<std::string>& texts) {
  std::vector<wasm::Value> out;
  if (texts.size() - 1 != type.params.size()) return fail(Code::kInvalidArgument, cat("the function takes ", format_type(type), ", given are ", texts.size() - 1, " arguments"));
  for (std::size_t i = 0; i < type.params.size(); ++i) {
    const std::string& text = texts[i + 1];
    wasm::ValType t = type.params[i];
    bool good = true;
    if (t == wasm::kI32 || t == wasm::kI64) {
      std::optional<std::int64_t> n = parse_int<std::int64_t>(text);
      good = n.has_value() && (t == wasm::kI64 || (*n >= INT32_MIN && *n <= UINT32_MAX));
      out.push_back(t == wasm::kI32 ? wasm::Value::i32(static_cast<std::int32_t>(n.value_or(0))) : wasm::Value::i64(n.value_or(0)));
    } else if (t == wasm::kF32 || t == wasm::kF64) {
      double number = 0;
      auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), number);
      good = ec == std::errc() && end == text.data() + text.size();
      out.push_back(t == wasm::kF32 ? wasm::Value::f32(static_cast<float>(number)) : wasm::Value::f64(number));
    } else {
      good = false;
    }
    if (!good) return fail(Code::kInvalidArgument, cat("argument ", i + 1, ": \"", text, "\" is no ", format_type(t)));
  }
  return out;
}

std::string value_text(const wasm::Value& v) {
  char text[64];
  char* end = text;
  if (v.type == wasm::kI32) return cat(v.as_i32());
  if (v.type == wasm::kI64) return cat(v.as_i64());
  if (v.type == wasm::kF32) end = std::to_chars(text, text + sizeof text, v.as_f32()).ptr;
  else if (v.type == wasm::kF64) end = std::to_chars(text, text + sizeof text, v.as_f64()).ptr;
  else return cat(format_type(v.type), " ", v.bits[0], " ", v.bits[1]);
  return std::string(text, end);
}

// Compiled code of large modules is kept without being asked for; where it cannot be, the guest runs all the same.
Result<> use_code_store(const WasmRunOptions& options, const std::string& path, wasm::EngineOptions& engine) {
  if (options.no_cache || engine.engine == wasm::EngineKind::kInterpreter) return {};
  struct ::stat st {};
  bool asked = !options.cache_directory.empty();
  if (!asked && (::stat(path.c_str(), &st) != 0 || static_cast<std::uint64_t>(st.st_size) < wasm::kCachedModuleBytesMin)) return {};
  Result<std::shared_ptr<const wasm::CodeStore>> store = open_code_store(options.cache_directory);
  if (!store) return asked ? Result<>(fail(store.error())) : Result<>();
  engine.code_store = std::move(*store);
  return {};
}

// At the end of a run, writes what was compiled where that is worth it: much more than was found.
class CodeKeeper {
 public:
  explicit CodeKeeper(const wasm::Module& module) : module_(module), before_(compiled()) {}
  ~CodeKeeper() {
    if (compiled() > before_ + before_ / 8) (void)module_.keep_code();  // no reason to fail a guest that ran
  }

 private:
  std::size_t compiled() const { return module_.tier() != nullptr ? module_.tier()->functions_compiled() : 0; }
  const wasm::Module& module_;
  std::size_t before_;
};

// Samples the guest while it runs, and writes what was seen at the end of it.
class Sampling {
 public:
  explicit Sampling(std::shared_ptr<wasm::GuestProfiler> profiler) : profiler_(std::move(profiler)) {}
  ~Sampling() {
    if (profiler_ == nullptr) return;
    profiler_->stop();
    std::string path = cat("wasm-", ::getpid(), ".folded");
    Result<> written = sys::replace_file(path, profiler_->folded(), 0644);
    if (written) std::fprintf(stderr, "monopod: profile in %s\n", path.c_str());
    else std::fprintf(stderr, "monopod: %s\n", written.error().message().c_str());
  }
  Result<> start() { return profiler_ != nullptr ? profiler_->start() : Result<>(); }

 private:
  std::shared_ptr<wasm::GuestProfiler> profiler_;
};

// Those that were asked for, or, inside a sandbox, those that the parent has bound.
Result<std::vector<sys::Fd>> open_listeners(const WasmRunOptions& options) {
  std::vector<sys::Fd> out;
  for (int i = 0; i < options.sandboxed; ++i) {
    out.emplace_back(3 + i);
    if (::fcntl(3 + i, F_SETFD, FD_CLOEXEC) != 0) return fail_errno(cat("listener ", 3 + i));
  }
  if (options.sandboxed >= 0) return out;
  for (const std::string& at : options.listen) {
    TRY_ASSIGN(sys::Fd fd, listen_on(at));
    out.push_back(std::move(fd));
  }
  return out;
}

Result<int> run_guest(const WasmRunOptions& options, const std::vector<std::string>& arguments) {
  Duration timeout{};
  if (!options.timeout.empty()) {
    TRY_ASSIGN(timeout, parse_duration(options.timeout));
  }
  unsigned quota_percent = 0;
  if (!options.cpu_quota.empty()) {
    TRY_ASSIGN(quota_percent, parse_cpu_quota(options.cpu_quota));
  }
  wasm::StoreOptions limits{.stack_bytes = options.stack_kib << 10};
  if (!options.memory_max.empty()) {
    TRY_ASSIGN(limits.memory_bytes_max, parse_byte_count(options.memory_max));
  }
  if (options.fuel > 0) limits.fuel = options.fuel;
  wasm::WasiOptions grants{.arguments = arguments, .deterministic = options.deterministic};
  for (const std::string& pair : options.environment) {
    const char* own = pair.find('=') == std::string::npos ? std::getenv(pair.c_str()) : nullptr;
    if (pair.find('=') != std::string::npos) grants.environment.push_back(pair);
    else if (own != nullptr) grants.environment.push_back(cat(pair, "=", own));
  }
  for (const std::string& grant : options.directories) {
    TRY_ASSIGN(wasm::WasiDirectory directory, open_directory(grant));
    grants.directories.push_back(std::move(directory));
  }
  TRY_ASSIGN(grants.listeners, open_listeners(options));
  for (const std::string& to : options.connect) {
    TRY_ASSIGN(wasm::WasiEndpoint endpoint, parse_endpoint(to));
    grants.connect.push_back(std::move(endpoint));
  }
  wasm::EngineOptions engine_options{.fuel = options.fuel > 0, .deterministic = options.deterministic, .engine = engine_kind(options.engine)};
  TRY(use_code_store(options, arguments[0], engine_options));
  std::shared_ptr<wasm::GuestProfiler> profiler;
  if (options.profile == "guest") {
    TRY_ASSIGN(profiler, wasm::GuestProfiler::make());
    engine_options.code_listener = profiler;
  } else if (!options.profile.empty()) {
    TRY_ASSIGN(engine_options.code_listener, options.profile == "perfmap" ? wasm::make_perf_map(wasm::perf_map_path()) : wasm::make_jit_dump("."));
  }
  wasm::Engine engine(engine_options);
  TRY_ASSIGN(std::shared_ptr<const wasm::Module> module, load_wasm_module(engine, arguments[0]));
  std::optional<CodeKeeper> keeper;
  if (options.sandboxed < 0) keeper.emplace(*module);  // nothing can be written from in there
  bool inside = options.sandboxed >= 0;
  if (inside) TRY(wasm::enter_sandbox({.may_connect = !options.connect.empty()}));
  CpuQuota quota(quota_percent);
  wasm::Store store(limits);
  wasm::Wasi wasi(std::move(grants));
  wasm::Linker linker;
  wasi.link(linker);
  Deadline deadline(store, wasi, timeout);
  const wasm::Instance* trapped = nullptr;
  auto ended = [&store, &deadline, &options, &trapped, &arguments](const Error& error) -> Result<int> {
    if (store.trap() == wasm::Trap::kExit) return store.exit_code();
    if (deadline.stop()) return fail(Code::kDeadlineExceeded, cat("the guest ran longer than ", options.timeout));
    if (store.trap() == wasm::Trap::kNone) return fail(error);
    std::fprintf(stderr, "monopod: %s\n", error.message().c_str());
    if (!options.coredump.empty() && trapped != nullptr) TRY(sys::replace_file(options.coredump, wasm::format_coredump(store, *trapped, arguments[0]), 0600));
    return kTrapExit;
  };
  Result<wasm::Instance*> instance = store.instantiate(module, linker);
  if (!instance) return ended(instance.error());
  trapped = *instance;
  Sampling sampling(std::move(profiler));
  TRY(sampling.start());
  std::string name = options.invoke.empty() ? "_start" : options.invoke;
  wasm::FunctionObject* function = (*instance)->function(name);
  if (function == nullptr) {
    if (options.invoke.empty() && (*instance)->function("_initialize") != nullptr) return fail(Code::kFailedPrecondition, cat(arguments[0], " is a library (it exports _initialize, not _start): name a function with --invoke"));
    return fail(Code::kNotFound, cat(arguments[0], " exports no function ", name));
  }
  if (options.invoke.empty()) {
    Result<std::vector<wasm::Value>> done = store.call(*function, {});
    return done ? Result<int>(0) : ended(done.error());
  }
  if (wasm::FunctionObject* initialize = (*instance)->function("_initialize"); initialize != nullptr)
    if (Result<std::vector<wasm::Value>> done = store.call(*initialize, {}); !done) return ended(done.error());
  TRY_ASSIGN(std::vector<wasm::Value> values, parse_arguments(*function->signature, arguments));
  Result<std::vector<wasm::Value>> results = store.call(*function, values);
  if (!results) return ended(results.error());
  for (const wasm::Value& v : *results) std::printf("%s\n", value_text(v).c_str());
  return 0;
}

Result<int> run_in_child(const WasmRunOptions& options) {
  TRY_ASSIGN(std::vector<sys::Fd> listeners, open_listeners(options));
  return run_wasm_in_sandbox(options, listeners);
}

}  // namespace

// Compiled code runs on the host's stack. One that is larger than the main thread's has a thread of its own.
int run_wasm(const WasmRunOptions& options, const std::vector<std::string>& arguments) {
  struct Work {
    const WasmRunOptions& options;
    const std::vector<std::string>& arguments;
    int code = 1;
  } work{options, arguments};
  auto body = [](void* data) -> void* {
    auto& w = *static_cast<Work*>(data);
    Result<int> code = w.options.sandbox && w.options.sandboxed < 0 ? run_in_child(w.options) : run_guest(w.options, w.arguments);
    w.code = code ? *code : report(code.error());
    return nullptr;
  };
  constexpr std::size_t kOfMainThreadKib = 4 << 10, kForHostBytes = 2 << 20;
  pthread_attr_t attributes;
  pthread_t thread{};
  ::pthread_attr_init(&attributes);
  bool large = options.engine != "interpreter" && options.stack_kib > kOfMainThreadKib && ::pthread_attr_setstacksize(&attributes, (options.stack_kib << 10) + kForHostBytes) == 0 &&
               ::pthread_create(&thread, &attributes, body, &work) == 0;
  ::pthread_attr_destroy(&attributes);
  if (large) ::pthread_join(thread, nullptr);
  else body(&work);
  return work.code;
}

}  // namespace monopod::cmd
