#include "store/log_damage.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <span>
#include <vector>

#include "base/strings.h"
#include "sys/fd.h"

namespace monopod::store {
namespace {

constexpr std::size_t kHeaderBytes = 32;
constexpr std::size_t kFrameHeadBytes = 24;
constexpr std::uint32_t kMagic = 0x377f0682;  // its last bit: checksums are of big-endian words
constexpr std::uint32_t kPageBytesMax = 65536;
constexpr std::size_t kReadBytes = 256U << 10;

std::uint32_t big_endian(const unsigned char* at) {
  return (std::uint32_t{at[0]} << 24) | (std::uint32_t{at[1]} << 16) | (std::uint32_t{at[2]} << 8) | at[3];
}

struct Sum {
  std::uint32_t first = 0, second = 0;
  bool operator==(const Sum&) const = default;

  static Sum at(const unsigned char* bytes) { return {big_endian(bytes), big_endian(bytes + 4)}; }
  // bytes: a multiple of 8.
  void add(std::span<const unsigned char> bytes, bool big_endian_words) {
    for (std::size_t i = 0; i < bytes.size(); i += 8) {
      std::uint32_t a = 0, b = 0;
      std::memcpy(&a, &bytes[i], 4);
      std::memcpy(&b, &bytes[i + 4], 4);
      if (big_endian_words) a = __builtin_bswap32(a), b = __builtin_bswap32(b);  // this program runs on little-endian machines only
      first += a + second;
      second += b + first;
    }
  }
};

// Goes through the frames one after the other.
class Walk {
 public:
  Walk(const unsigned char* header, std::size_t page_bytes)
      : page_bytes_(page_bytes), big_endian_words_((big_endian(header) & 1) != 0), before_(Sum::at(header + 24)) {
    std::memcpy(salt_, header + 16, sizeof salt_);
  }

  // True once the damage is certain. A frame's checksum goes on from the one stored in the frame before it, so that each can be judged even
  // behind a bad one.
  bool on_frame(std::span<const unsigned char> frame) {
    Sum stored = Sum::at(&frame[16]), sum = before_;
    sum.add(frame.first(8), big_endian_words_);
    sum.add(frame.subspan(kFrameHeadBytes), big_endian_words_);
    bool of_this_log = std::memcmp(&frame[8], salt_, sizeof salt_) == 0;
    bool fits = of_this_log && sum == stored;
    before_ = stored;
    if (!damage_ && !fits) damage_ = offset_;
    bool certain = damage_ && fits && commit_after_damage_;
    if (damage_ && of_this_log && big_endian(&frame[4]) != 0) commit_after_damage_ = true;
    offset_ += static_cast<std::int64_t>(frame.size());
    return certain;
  }
  std::size_t frame_bytes() const { return kFrameHeadBytes + page_bytes_; }
  std::optional<std::int64_t> damage() const { return damage_; }

 private:
  std::size_t page_bytes_;
  bool big_endian_words_;
  Sum before_;  // as the frame before stores it
  unsigned char salt_[8] = {};
  std::int64_t offset_ = kHeaderBytes;
  std::optional<std::int64_t> damage_{};
  bool commit_after_damage_ = false;
};

}  // namespace

Result<std::optional<std::int64_t>> find_log_damage(const std::string& path) {
  sys::Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd && errno == ENOENT) return std::nullopt;
  if (!fd) return fail_errno(cat("open ", path));
  std::vector<unsigned char> buffer(kReadBytes);
  auto fill = [&](std::size_t kept, std::int64_t offset) -> Result<std::size_t> {  // bytes in the buffer
    ssize_t n = ::pread(fd.get(), &buffer[kept], buffer.size() - kept, offset);
    if (n < 0) return fail_errno(cat("read ", path));
    return kept + static_cast<std::size_t>(n);
  };
  TRY_ASSIGN(std::size_t have, fill(0, 0));
  std::uint32_t page_bytes = have >= kHeaderBytes ? big_endian(&buffer[8]) : 0;
  bool is_page = page_bytes >= 512 && page_bytes <= kPageBytesMax && (page_bytes & (page_bytes - 1)) == 0;
  if (!is_page || (big_endian(buffer.data()) & ~1U) != kMagic) return std::nullopt;
  Walk walk(buffer.data(), page_bytes);
  std::int64_t read_to = static_cast<std::int64_t>(have);
  std::size_t at = kHeaderBytes;
  for (;;) {
    for (; have - at >= walk.frame_bytes(); at += walk.frame_bytes())
      if (walk.on_frame(std::span(buffer).subspan(at, walk.frame_bytes()))) return walk.damage();
    std::size_t kept = have - at;
    std::memmove(buffer.data(), &buffer[at], kept);
    at = 0;
    TRY_ASSIGN(have, fill(kept, read_to));
    if (have == kept) return std::nullopt;
    read_to += static_cast<std::int64_t>(have - kept);
  }
}

}  // namespace monopod::store
