// Machine code on disk: modules that were compiled once start compiled. A directory of its owner alone, with a key of its owner alone; every file is authenticated
// with it (HMAC-SHA-256) before anything of it runs, and is for one module, one build of this program and one sort of processor.
//
//   <directory>/key          32 random bytes, mode 0600
//   <directory>/<name>.code  a head of one page: what it is for, its authentication; then Tier::snapshot()'s bytes
//
// A file is written beside its place and renamed. What was used longest ago goes first where there is more than bytes_max. Any number of processes may use a
// directory at once: a file that is removed while it runs stays mapped.
#pragma once

#include <sys/stat.h>

#include <array>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "sys/fd.h"

namespace monopod::wasm {

struct ModuleData;

inline constexpr std::uint64_t kCodeStoreBytesMax = std::uint64_t{512} << 20;
inline constexpr std::uint64_t kCodeFileBytesMax = std::uint64_t{256} << 20;
inline constexpr std::size_t kVerifiedFilesMax = 64;                       // that a process remembers, and keeps mapped,
inline constexpr std::uint64_t kVerifiedBytesMax = std::uint64_t{64} << 20;  // for as many bytes
inline constexpr std::size_t kCachedModuleBytesMin = 256 << 10;  // smaller ones are compiled in less time than is worth a file, unless it is asked for

using CodeKey = std::array<std::uint8_t, 32>;
// What else code of a module depends on.
struct CodeVariant {
  bool fuel = false, optimised = false, deterministic = false, interruptible = true;
};

// A file that was authenticated, mapped.
class MappedCode {
 public:
  MappedCode(sys::Fd fd, std::span<const std::uint8_t> whole) : fd_(std::move(fd)), whole_(whole) {}
  ~MappedCode();
  MappedCode(const MappedCode&) = delete;
  MappedCode& operator=(const MappedCode&) = delete;
  std::span<const std::uint8_t> snapshot() const;
  int fd() const { return fd_.get(); }
  static std::uint64_t offset();  // of the snapshot in the file

 private:
  sys::Fd fd_;
  std::span<const std::uint8_t> whole_;
};

class CodeStore {
 public:
  struct Entry {
    std::string name;  // as above, without its folder
    std::uint64_t bytes = 0;
    std::int64_t used_s = 0;  // since 1970
    std::string damage;       // why it would be refused; empty where it is good
    bool of_this_build = false;
  };

  // Makes what is missing. kPermissionDenied where the directory or the key belong to somebody else, or others may write to them.
  static Result<std::unique_ptr<CodeStore>> open(const std::string& directory, std::uint64_t bytes_max = kCodeStoreBytesMax);
  // Where it is without being told: below $XDG_CACHE_HOME or ~/.cache, for root in /var/cache. Empty where there is neither.
  static std::string default_directory();

  // Of a module's bytes and the numbers of its types, what it was validated as, this build and this processor; each store has keys of its own.
  CodeKey key_of(const ModuleData& module, const CodeVariant& variant) const;
  // kNotFound where there is none; kDataLoss where it is damaged, forged, or for another module, build or processor.
  // What was authenticated once is not again while its file is the same (inode, size, times of its content and its status).
  Result<std::shared_ptr<const MappedCode>> find(const CodeKey& key) const;
  Result<> put(const CodeKey& key, std::string_view snapshot) const;
  std::vector<Entry> list() const;  // the most recently used first
  // Removes damaged files and those of other builds, then the least recently used ones until no more than keep_bytes are left. How many went.
  std::size_t clean(std::uint64_t keep_bytes) const;
  const std::string& directory() const { return directory_; }

 private:
  CodeStore(std::string directory, std::string key, std::uint64_t bytes_max);
  std::string path_of(const std::string& name) const { return directory_ + "/" + name; }
  std::vector<Entry> list_files() const;
  std::size_t remove_oldest(std::uint64_t keep_bytes) const;
  Result<std::shared_ptr<const MappedCode>> open_file(const std::string& name, const CodeKey* wanted, bool& of_this_build) const;

  // A file as it was when it was authenticated.
  struct Verified {
    CodeKey key{};
    struct ::stat status {};
    std::shared_ptr<const MappedCode> code;
  };
  std::shared_ptr<const MappedCode> find_verified(const CodeKey& key, const struct ::stat& now) const;
  void remember(const CodeKey& key, std::shared_ptr<const MappedCode> code) const;

  std::string directory_, key_;
  std::string content_key_, module_key_;  // of hashes; derived from the other
  std::uint64_t bytes_max_;
  mutable std::mutex mutex_;
  mutable std::list<Verified> verified_;  // the last used first
};

}  // namespace monopod::wasm
