#include <arpa/inet.h>
#include <pthread.h>
#include <sys/socket.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <mutex>
#include <thread>

#include "base/duration.h"
#include "base/strings.h"
#include "commands.h"
#include "wasm/engine.h"
#include "wasm/text.h"
#include "wasm/wasi/wasi.h"

namespace monopod::cmd {
namespace {

constexpr int kTrapExit = 134;  // as a native program that aborts: 128 + SIGABRT

struct RunOptions {
  std::vector<std::string> directories, environment, listen, connect;
  std::string memory_max, timeout, invoke;
  std::string engine = "auto";
  std::int64_t fuel = 0;
  std::uint64_t stack_kib = wasm::kStackBytesDefault >> 10;
};

Result<std::vector<std::uint8_t>> read_module(const std::string& path) {
  TRY_ASSIGN(std::string bytes, sys::read_host_file(path, wasm::kModuleBytesMax));
  return std::vector<std::uint8_t>(bytes.begin(), bytes.end());
}

Result<std::shared_ptr<const wasm::Module>> load(const wasm::Engine& engine, const std::string& path) {
  TRY_ASSIGN(std::vector<std::uint8_t> bytes, read_module(path));
  Result<std::shared_ptr<const wasm::Module>> module = wasm::Module::load(engine, std::move(bytes));
  if (!module) return fail(std::move(module).error().with(path));
  return module;
}

Result<std::uint64_t> parse_bytes(std::string_view text) {
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
  return name == "jit" ? wasm::EngineKind::kJit : name == "auto" ? wasm::EngineKind::kAuto : wasm::EngineKind::kInterpreter;
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

Result<int> run(const RunOptions& options, const std::vector<std::string>& arguments) {
  Duration timeout{};
  if (!options.timeout.empty()) {
    TRY_ASSIGN(timeout, parse_duration(options.timeout));
  }
  wasm::StoreOptions limits{.stack_bytes = options.stack_kib << 10};
  if (!options.memory_max.empty()) {
    TRY_ASSIGN(limits.memory_bytes_max, parse_bytes(options.memory_max));
  }
  if (options.fuel > 0) limits.fuel = options.fuel;
  wasm::WasiOptions grants{.arguments = arguments};
  for (const std::string& pair : options.environment) {
    const char* own = pair.find('=') == std::string::npos ? std::getenv(pair.c_str()) : nullptr;
    if (pair.find('=') != std::string::npos) grants.environment.push_back(pair);
    else if (own != nullptr) grants.environment.push_back(cat(pair, "=", own));
  }
  for (const std::string& grant : options.directories) {
    TRY_ASSIGN(wasm::WasiDirectory directory, open_directory(grant));
    grants.directories.push_back(std::move(directory));
  }
  for (const std::string& at : options.listen) {
    TRY_ASSIGN(sys::Fd fd, listen_on(at));
    grants.listeners.push_back(std::move(fd));
  }
  for (const std::string& to : options.connect) {
    TRY_ASSIGN(wasm::WasiEndpoint endpoint, parse_endpoint(to));
    grants.connect.push_back(std::move(endpoint));
  }
  wasm::Engine engine({.fuel = options.fuel > 0, .engine = engine_kind(options.engine)});
  TRY_ASSIGN(std::shared_ptr<const wasm::Module> module, load(engine, arguments[0]));
  wasm::Store store(limits);
  wasm::Wasi wasi(std::move(grants));
  wasm::Linker linker;
  wasi.link(linker);
  Deadline deadline(store, wasi, timeout);
  auto ended = [&store, &deadline, &options](const Error& error) -> Result<int> {
    if (store.trap() == wasm::Trap::kExit) return store.exit_code();
    if (deadline.stop()) return fail(Code::kDeadlineExceeded, cat("the guest ran longer than ", options.timeout));
    if (store.trap() == wasm::Trap::kNone) return fail(error);
    std::fprintf(stderr, "monopod: %s\n", error.message().c_str());
    return kTrapExit;
  };
  Result<wasm::Instance*> instance = store.instantiate(module, linker);
  if (!instance) return ended(instance.error());
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

// Compiled code runs on the host's stack. One that is larger than the main thread's has a thread of its own.
int run_on_stack(const RunOptions& options, const std::vector<std::string>& arguments) {
  struct Work {
    const RunOptions& options;
    const std::vector<std::string>& arguments;
    int code = 1;
  } work{options, arguments};
  auto body = [](void* data) -> void* {
    auto& w = *static_cast<Work*>(data);
    Result<int> code = run(w.options, w.arguments);
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

Result<> bench(const std::string& path) {
  wasm::Engine engine({});
  TRY_ASSIGN(std::vector<std::uint8_t> bytes, read_module(path));
  TRY_ASSIGN(std::shared_ptr<const wasm::Module> module, load(engine, path));
  const wasm::ModuleData& data = module->data();
  double code = data.code_section.to - data.code_section.from;
  double validate = best_ms(5, [&] { return wasm::Module::load(engine, bytes).has_value(); });
  std::printf("validate_ms        %.3f\nvalidate_mb_s      %.1f\n", validate, code / 1e3 / validate);
  if (wasm::jit_unavailable().empty()) {
    TRY_ASSIGN(std::shared_ptr<const wasm::Module> compiled, load(wasm::Engine({.engine = wasm::EngineKind::kJit}), path));
    std::size_t compiled_bytes = 0;
    double compile = best_ms(1, [&] { compiled_bytes = compiled->tier()->compile_all(); });
    std::printf("compile_ms         %.3f\ncompile_mb_s       %.2f\ncompiled           %zu of %.0f bytes of code\n", compile, static_cast<double>(compiled_bytes) / 1e3 / compile, compiled_bytes, code);
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
  auto options = std::make_shared<RunOptions>();
  run_app->add_option("--dir", options->directories, "Directory of the host, HOST[:GUEST][:ro]; repeatable")->allow_extra_args(false);
  run_app->add_option("--env", options->environment, "NAME=VALUE, or NAME to pass on one's own; repeatable")->allow_extra_args(false);
  run_app->add_option("--tcp-listen", options->listen, "ADDRESS:PORT to accept connections on; repeatable")->allow_extra_args(false);
  run_app->add_option("--allow-connect", options->connect, "ADDRESS:PORT that may be connected to; repeatable")->allow_extra_args(false);
  run_app->add_option("--engine", options->engine, "auto: interpret, and compile what runs often; jit: compile each function when it is first called; interpreter")->check(CLI::IsMember({"auto", "interpreter", "jit"}))->capture_default_str();
  run_app->add_option("--memory-max", options->memory_max, "Most bytes of one linear memory, such as 64Mi");
  run_app->add_option("--fuel", options->fuel, "Most instructions; a run is then the same everywhere")->check(CLI::PositiveNumber);
  run_app->add_option("--timeout", options->timeout, "Longest run, such as 5s");
  run_app->add_option("--stack-kib", options->stack_kib, "Size of the guest's call stack")->check(CLI::Range(64, 1 << 20))->capture_default_str();
  run_app->add_option("--invoke", options->invoke, "Call this export with the arguments as numbers, and print what it gives");
  run_app->prefix_command();
  run_app->callback([run_app, options, &invocation] {
    std::vector<std::string> arguments = run_app->remaining();
    arguments.insert(arguments.end(), invocation.tail.begin(), invocation.tail.end());
    if (arguments.empty()) throw CLI::RequiredError("FILE");
    if (arguments[0].starts_with("-")) throw CLI::ExtrasError({arguments[0]});
    invocation.run = [options, arguments] { return run_on_stack(*options, arguments); };
  });

  auto file_command = [app, &invocation](const std::string& name, const std::string& summary, auto action) {
    CLI::App* sub = add_command(*app, name, summary, cat("  monopod wasm ", name, " module.wasm"));
    auto file = std::make_shared<std::string>();
    sub->add_option("FILE", *file, "The module")->required();
    sub->callback([file, action, &invocation] { invocation.run = [file, action] { return report(action(*file)); }; });
  };
  using Loaded = Result<std::shared_ptr<const wasm::Module>>;
  file_command("validate", "Check a module", +[](const std::string& path) -> Result<> {
    Loaded module = load(wasm::Engine({}), path);
    return module ? Result<>() : Result<>(fail(module.error()));
  });
  file_command("inspect", "Print what a module imports, exports and holds", +[](const std::string& path) -> Result<> {
    TRY_ASSIGN(std::shared_ptr<const wasm::Module> module, load(wasm::Engine({}), path));
    std::fputs(wasm::describe(*module).c_str(), stdout);
    return {};
  });
  file_command("wat", "Print a module as text", +[](const std::string& path) -> Result<> {
    TRY_ASSIGN(std::shared_ptr<const wasm::Module> module, load(wasm::Engine({}), path));
    std::fputs(wasm::disassemble(*module).c_str(), stdout);
    return {};
  });
  file_command("bench", "Measure how fast a module is checked and instantiated", +[](const std::string& path) -> Result<> { return bench(path); });
}

}  // namespace monopod::cmd
