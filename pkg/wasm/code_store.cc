#include "wasm/code_store.h"

#include <fcntl.h>
#include <link.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <ctime>

#include "base/bytes.h"
#include "base/strings.h"
#include "pki/digest.h"
#include "sys/files.h"
#include "sys/root.h"
#include "wasm/module.h"

namespace monopod::wasm {
namespace {

constexpr std::size_t kPage = 4096;
constexpr std::time_t kTouchedEachSeconds = 60;  // how exactly a file says when it was last used
constexpr char kMagic[8] = {'m', 'p', 'w', 'c', 'o', 'd', 'e', '2'};
constexpr std::string_view kSuffix = ".code";
#if defined(__x86_64__)
constexpr std::string_view kProcessor = "x86-64-v3";
#else
constexpr std::string_view kProcessor = "aarch64";
#endif

struct FileHead {
  char magic[8] = {};
  CodeKey key{};
  CodeKey build{};
  CodeKey mac{};  // over the whole file, with this as zeros
  std::uint64_t snapshot_bytes = 0;
};
static_assert(sizeof(FileHead) <= kPage);

CodeKey as_key(const std::string& digest) {
  CodeKey out{};
  std::memcpy(out.data(), digest.data(), std::min(out.size(), digest.size()));
  return out;
}
std::string_view as_text(std::span<const std::uint8_t> bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

// What the linker made of this program's content: code depends on where the engine keeps what.
int find_build_id(dl_phdr_info* object, std::size_t, void* out) {
  for (int i = 0; i < object->dlpi_phnum; ++i) {
    const ElfW(Phdr)& segment = object->dlpi_phdr[i];
    if (segment.p_type != PT_NOTE) continue;
    const auto* at = reinterpret_cast<const char*>(object->dlpi_addr + segment.p_vaddr);
    for (const char* end = at + segment.p_memsz; static_cast<std::size_t>(end - at) >= sizeof(ElfW(Nhdr));) {
      ElfW(Nhdr) note{};
      std::memcpy(&note, at, sizeof note);
      const char* name = at + sizeof note;
      const char* value = name + ((note.n_namesz + 3) & ~3U);
      if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 && std::memcmp(name, "GNU", 4) == 0) static_cast<std::string*>(out)->assign(value, note.n_descsz);
      at = value + ((note.n_descsz + 3) & ~3U);
    }
  }
  return 1;  // the first object is the program
}

CodeKey this_build() {
  static const CodeKey build = [] {
    std::string id;
    dl_iterate_phdr(find_build_id, &id);
    return as_key(pki::sha256(cat(MONOPOD_VERSION, "\n", kProcessor, "\n", id)));
  }();
  return build;
}

std::string mac_of(const std::string& key, const std::string& content_key, const FileHead& head, std::span<const std::uint8_t> snapshot) {
  FileHead blank = head;
  blank.mac = {};
  // The content by a hash whose key is secret: authenticated all the same, as nobody sees the hash, in an eighth of a digest's time.
  return pki::hmac_sha256(key, cat(std::string_view(reinterpret_cast<const char*>(&blank), sizeof blank), pki::secret_gmac(content_key, as_text(snapshot))));
}

// Only its owner (us, or root) can have changed what a descriptor says of itself here, and will.
Result<> check_owned(int fd, const std::string& what) {
  struct ::stat st {};
  if (::fstat(fd, &st) != 0) return fail_errno(what);
  if ((st.st_uid != ::geteuid() && st.st_uid != 0) || (st.st_mode & 022) != 0) return fail(Code::kPermissionDenied, cat(what, ": belongs to another user, or others may write to it"));
  return {};
}

Result<std::string> read_key(const std::string& path) {
  sys::Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd) return fail_errno(path);
  TRY(check_owned(fd.get(), path));
  TRY_ASSIGN(std::string key, sys::read_all(fd.get(), 4096));
  if (key.size() != 32) return fail(Code::kDataLoss, cat(path, ": is no key"));
  return key;
}

Result<std::string> make_key(const std::string& directory) {
  std::string path = directory + "/key";
  if (Result<std::string> key = read_key(path); key || key.error().code() != Code::kNotFound) return key;
  std::string bytes(32, '\0'), mine = cat(path, ".", ::getpid());
  if (::getrandom(bytes.data(), bytes.size(), 0) != 32) return fail_errno("getrandom");
  TRY(sys::replace_file(mine, bytes, 0600));
  (void)::link(mine.c_str(), path.c_str());  // the first of several wins
  ::unlink(mine.c_str());
  return read_key(path);
}

}  // namespace

MappedCode::~MappedCode() { ::munmap(const_cast<std::uint8_t*>(whole_.data()), whole_.size()); }
std::span<const std::uint8_t> MappedCode::snapshot() const { return whole_.subspan(kPage); }
std::uint64_t MappedCode::offset() { return kPage; }

std::string CodeStore::default_directory() {
  const char* cache = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  if (::geteuid() == 0) return "/var/cache/monopod/wasm";
  if (cache != nullptr && cache[0] == '/') return cat(cache, "/monopod/wasm");
  return home != nullptr && home[0] == '/' ? cat(home, "/.cache/monopod/wasm") : "";
}

Result<std::unique_ptr<CodeStore>> CodeStore::open(const std::string& directory, std::uint64_t bytes_max) {
  TRY(sys::make_directories(directory, 0700));
  sys::Fd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return fail_errno(directory);
  TRY(check_owned(fd.get(), directory));
  TRY_ASSIGN(std::string key, make_key(directory));
  return std::unique_ptr<CodeStore>(new CodeStore(directory, std::move(key), bytes_max));
}

Result<std::shared_ptr<const MappedCode>> CodeStore::open_file(const std::string& name, const CodeKey* wanted, bool& of_this_build) const {
  std::string path = path_of(name);
  sys::Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd) return fail_errno(path);
  TRY(check_owned(fd.get(), path));
  auto bad = [&path](std::string_view why) { return fail(Code::kDataLoss, cat(path, ": ", why)); };
  struct ::stat st {};
  if (::fstat(fd.get(), &st) != 0) return fail_errno(path);
  auto bytes = static_cast<std::uint64_t>(st.st_size);
  if (!S_ISREG(st.st_mode) || bytes < kPage || bytes > kCodeFileBytesMax) return bad("is no compiled code");
  void* at = ::mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd.get(), 0);
  if (at == MAP_FAILED) return fail_errno(path);
  auto out = std::make_shared<const MappedCode>(std::move(fd), std::span(static_cast<const std::uint8_t*>(at), bytes));
  FileHead head;
  std::memcpy(&head, at, sizeof head);
  if (std::memcmp(head.magic, kMagic, sizeof kMagic) != 0) return bad("is no compiled code");
  if (head.snapshot_bytes != bytes - kPage) return bad("is cut off");
  if (!pki::equal_in_constant_time(as_text(head.mac), mac_of(key_, content_key_, head, out->snapshot()))) return bad("was not written with this cache's key, or was changed");
  of_this_build = head.build == this_build();
  if (wanted != nullptr && (head.key != *wanted || !of_this_build)) return bad("is of another module, build or processor");
  return out;
}

CodeStore::CodeStore(std::string directory, std::string key, std::uint64_t bytes_max)
    : directory_(std::move(directory)), key_(std::move(key)), content_key_(pki::hmac_sha256(key_, "content of files")), module_key_(pki::hmac_sha256(key_, "bytes of modules")), bytes_max_(bytes_max) {}

// As with a file's content: to find two modules with one hash takes its key.
CodeKey CodeStore::key_of(const ModuleData& module, const CodeVariant& variant) const {
  std::string text = pki::secret_gmac(module_key_, as_text(module.bytes));
  text += as_text(this_build());
  for (bool is : {variant.fuel, variant.optimised, variant.deterministic, variant.interruptible}) text += is ? '+' : '-';
  text += module.level == Level::kCore2 ? '2' : '-';  // what was validated
  text.append(reinterpret_cast<const char*>(module.types.data()), module.types.size() * sizeof module.types[0]);
  return as_key(pki::hmac_sha256(key_, text));
}

static std::string name_of(const CodeKey& key) { return format_hex(std::as_bytes(std::span(key)).first(20)) + std::string(kSuffix); }

Result<std::shared_ptr<const MappedCode>> CodeStore::find(const CodeKey& key) const {
  struct ::stat now {};
  std::string name = name_of(key);
  bool there = ::lstat(path_of(name).c_str(), &now) == 0;
  std::shared_ptr<const MappedCode> out = there ? find_verified(key, now) : nullptr;
  if (out == nullptr) {
    bool of_this_build = false;
    TRY_ASSIGN(out, open_file(name, &key, of_this_build));
  } else if (::time(nullptr) - now.st_mtim.tv_sec < kTouchedEachSeconds) {
    return out;
  }
  (void)::futimens(out->fd(), nullptr);  // what is used stays; where it may not be written it only looks older
  remember(key, out);
  return out;
}

std::shared_ptr<const MappedCode> CodeStore::find_verified(const CodeKey& key, const struct ::stat& now) const {
  auto same = [](const timespec& a, const timespec& b) { return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec; };
  std::lock_guard lock(mutex_);
  auto at = std::ranges::find(verified_, key, &Verified::key);
  if (at == verified_.end()) return nullptr;
  const struct ::stat& then = at->status;
  if (then.st_dev != now.st_dev || then.st_ino != now.st_ino || then.st_size != now.st_size || !same(then.st_mtim, now.st_mtim) || !same(then.st_ctim, now.st_ctim)) {
    verified_.erase(at);
    return nullptr;
  }
  verified_.splice(verified_.begin(), verified_, at);
  return at->code;
}

void CodeStore::remember(const CodeKey& key, std::shared_ptr<const MappedCode> code) const {
  Verified made{.key = key, .code = std::move(code)};
  if (::fstat(made.code->fd(), &made.status) != 0) return;
  std::lock_guard lock(mutex_);
  std::erase_if(verified_, [&key](const Verified& v) { return v.key == key; });
  verified_.push_front(std::move(made));
  std::uint64_t bytes = 0;
  std::size_t count = 0;
  std::erase_if(verified_, [&](const Verified& v) { return ++count > kVerifiedFilesMax || (bytes += static_cast<std::uint64_t>(v.status.st_size)) > kVerifiedBytesMax; });
}

Result<> CodeStore::put(const CodeKey& key, std::string_view snapshot) const {
  if (snapshot.size() + kPage > std::min(kCodeFileBytesMax, bytes_max_)) return fail(Code::kResourceExhausted, cat("compiled code of ", snapshot.size(), " bytes is more than the cache takes"));
  FileHead head{.key = key, .build = this_build(), .snapshot_bytes = snapshot.size()};
  std::memcpy(head.magic, kMagic, sizeof kMagic);
  head.mac = as_key(mac_of(key_, content_key_, head, std::span(reinterpret_cast<const std::uint8_t*>(snapshot.data()), snapshot.size())));
  std::string file(kPage, '\0');
  std::memcpy(file.data(), &head, sizeof head);
  file += snapshot;
  TRY(sys::replace_file(path_of(name_of(key)), file, 0600));
  std::uint64_t all = 0;
  for (const Entry& e : list_files()) all += e.bytes;
  if (all > bytes_max_) remove_oldest(bytes_max_);
  return {};
}

std::vector<CodeStore::Entry> CodeStore::list_files() const {
  std::vector<Entry> out;
  for (const std::string& name : sys::list_directory(directory_)) {
    struct ::stat st {};
    if (!name.ends_with(kSuffix) || ::lstat(path_of(name).c_str(), &st) != 0) continue;
    out.push_back({.name = name, .bytes = static_cast<std::uint64_t>(st.st_size), .used_s = st.st_mtim.tv_sec});
  }
  std::ranges::sort(out, [](const Entry& a, const Entry& b) { return a.used_s != b.used_s ? a.used_s > b.used_s : a.name < b.name; });
  return out;
}

std::vector<CodeStore::Entry> CodeStore::list() const {
  std::vector<Entry> out = list_files();
  for (Entry& e : out)
    if (auto opened = open_file(e.name, nullptr, e.of_this_build); !opened) e.damage = opened.error().message();
  return out;
}

std::size_t CodeStore::remove_oldest(std::uint64_t keep_bytes) const {
  std::size_t gone = 0;
  std::uint64_t kept = 0;
  for (const Entry& e : list_files()) {
    kept += e.bytes;
    if (kept <= keep_bytes) continue;
    kept -= e.bytes;
    if (::unlink(path_of(e.name).c_str()) == 0) ++gone;
  }
  return gone;
}

std::size_t CodeStore::clean(std::uint64_t keep_bytes) const {
  std::size_t gone = 0;
  for (const Entry& e : list())
    if ((!e.damage.empty() || !e.of_this_build) && ::unlink(path_of(e.name).c_str()) == 0) ++gone;
  return gone + remove_oldest(keep_bytes);
}

}  // namespace monopod::wasm
