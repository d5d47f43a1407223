// `monopod wasm`: what its files share. wasm.cc: the command line; wasm_run.cc: running a guest; wasm_cache.cc: compiled code on disk.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "cmd/command.h"
#include "sys/fd.h"
#include "wasm/engine.h"

namespace monopod::cmd {

inline constexpr int kTrapExit = 134;  // as a native program that aborts: 128 + SIGABRT

struct WasmRunOptions {
  std::vector<std::string> directories, environment, listen, connect;
  std::string memory_max, timeout, invoke, cache_directory, cpu_quota, coredump, profile;
  bool no_cache = false;
  bool sandbox = false;
  int sandboxed = -1;                     // hidden: this is the child; so many listeners are open from descriptor 3 on
  std::vector<std::string> command_line;  // the whole
  bool deterministic = false;             // one NaN, virtual clocks, seeded random numbers
  std::string engine = "auto";
  std::int64_t fuel = 0;
  std::uint64_t stack_kib = wasm::kStackBytesDefault >> 10;
};

Result<std::vector<std::uint8_t>> read_wasm_module(const std::string& path);
Result<std::shared_ptr<const wasm::Module>> load_wasm_module(const wasm::Engine& engine, const std::string& path);
Result<std::uint64_t> parse_byte_count(std::string_view text);  // "64Mi", "1G", "1048576"

// arguments: the module's path and what the guest is given behind it. Returns the exit code of the process.
int run_wasm(const WasmRunOptions& options, const std::vector<std::string>& arguments);

// In a child of its own; the exit code is the child's. listeners: bound already, handed on.
Result<int> run_wasm_in_sandbox(const WasmRunOptions& options, std::span<const sys::Fd> listeners);  // wasm_sandbox.cc

// directory: as --cache-dir says, empty for where it is without being told.
Result<std::shared_ptr<const wasm::CodeStore>> open_code_store(const std::string& directory);
void add_wasm_compile(CLI::App& wasm, Invocation& invocation);  // wasm_cache.cc
void add_wasm_cache(CLI::App& wasm, Invocation& invocation);    // wasm_cache.cc

}  // namespace monopod::cmd
