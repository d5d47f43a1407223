// Memory for machine code. Every page is mapped twice: where it runs it cannot be written, where it is written it cannot run.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

namespace monopod::wasm::jit {

class CodeMemory {
 public:
  // Null where the kernel does not give executable memory (or no addresses).
  // nameless: in no file, so that perf takes names from its map; code is then copied where it would be mapped.
  struct Options {
    bool nameless = false;
  };
  static std::unique_ptr<CodeMemory> make(Options options);
  static std::unique_ptr<CodeMemory> make() { return make({}); }
  ~CodeMemory();
  CodeMemory(const CodeMemory&) = delete;
  CodeMemory& operator=(const CodeMemory&) = delete;

  struct Room {
    std::uint8_t* write = nullptr;
    const std::uint8_t* run = nullptr;
  };
  // The next bytes of it, at a multiple of alignment (a power of two); run is null where it is full. Nothing is taken back before the end.
  Room take(std::size_t bytes, std::size_t alignment = 16);
  // Puts what another CodeMemory had taken at the front of a new one: mapped from the file (at a multiple of the page size), or, where it may not run from there,
  // copied. False: there is no room.
  bool adopt(std::span<const std::uint8_t> code, int fd, std::uint64_t offset);
  // To be called before anybody is told where what was taken since is: makes every thread's instruction fetch see what was written there.
  void publish();
  bool holds(std::uintptr_t address) const { return address - reinterpret_cast<std::uintptr_t>(run_) < bytes_; }
  std::uintptr_t from() const { return reinterpret_cast<std::uintptr_t>(run_); }
  std::uintptr_t to() const { return from() + bytes_; }
  std::size_t used() const { return used_; }
  std::size_t left() const { return bytes_ - used_; }

 private:
  CodeMemory() = default;
  static std::unique_ptr<CodeMemory> make_nameless();
  std::uint8_t* run_ = nullptr;
  std::uint8_t* write_ = nullptr;
  std::size_t bytes_ = 0;
  std::size_t used_ = 0;
  std::size_t published_ = 0;
  bool nameless_ = false;
};

}  // namespace monopod::wasm::jit
