// A cursor over the binary format. The first failure sticks, with its place; what is read after it is zeros and the cursor stands at the end, so that
// callers check once per item and not per byte. Source: WebAssembly core specification, "Binary Format / Values".
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

namespace monopod::wasm {

class Reader {
 public:
  Reader(const std::uint8_t* begin, const std::uint8_t* from, const std::uint8_t* end) : begin_(begin), at_(from), end_(end) {}

  bool failed() const { return why_ != nullptr; }
  const char* why() const { return why_; }
  std::size_t where() const { return static_cast<std::size_t>(where_ - begin_); }
  void fail(const char* why) { fail_at(why, at_); }
  void fail_at(const char* why, const std::uint8_t* where) {
    if (why_ == nullptr) why_ = why, where_ = where;
    at_ = end_;
  }

  bool done() const { return at_ == end_; }
  std::size_t left() const { return static_cast<std::size_t>(end_ - at_); }
  const std::uint8_t* at() const { return at_; }
  const std::uint8_t* end() const { return end_; }
  std::size_t offset() const { return static_cast<std::size_t>(at_ - begin_); }

  [[gnu::always_inline]] std::uint8_t byte() {
    if (at_ == end_) return fail("unexpected end"), std::uint8_t{0};
    return *at_++;
  }
  std::uint8_t peek() const { return at_ == end_ ? std::uint8_t{0} : *at_; }
  [[gnu::always_inline]] std::uint32_t u32() {
    if (at_ != end_ && *at_ < 0x80) return *at_++;
    return static_cast<std::uint32_t>(leb(32));
  }
  std::uint64_t u64() { return leb(64); }
  [[gnu::always_inline]] std::int32_t s32() {
    if (at_ != end_ && *at_ < 0x80) {
      std::uint8_t b = *at_++;
      return b < 0x40 ? b : b - 0x80;
    }
    return static_cast<std::int32_t>(sleb(32));
  }
  std::int64_t s33() { return sleb(33); }
  std::int64_t s64() { return sleb(64); }
  template <typename T>
  T raw() {
    T out{};
    if (left() < sizeof(T)) return fail("unexpected end"), out;
    std::memcpy(&out, at_, sizeof(T));
    at_ += sizeof(T);
    return out;
  }
  std::span<const std::uint8_t> bytes(std::size_t count) {
    if (left() < count) return fail("length out of bounds"), std::span<const std::uint8_t>();
    std::span<const std::uint8_t> out(at_, count);
    at_ += count;
    return out;
  }
  // A count of things that take at least bytes_each bytes: more than there is room for, or than max, is a failure before anything is allocated.
  std::uint32_t count(std::uint32_t max, std::size_t bytes_each, const char* why) {
    const std::uint8_t* from = at_;
    std::uint32_t n = u32();
    if (n > max) return fail_at(why, from), 0;
    if (n > left() / bytes_each) return fail_at("length out of bounds", from), 0;
    return n;
  }

 private:
  std::uint64_t leb(int bits) {
    const std::uint8_t* from = at_;
    std::uint64_t out = 0;
    for (int shift = 0;; shift += 7) {
      if (at_ == end_) return fail("unexpected end"), 0;
      std::uint8_t b = *at_++;
      if (shift + 7 > bits) {  // the last byte that may come
        if (b & 0x80) return fail_at("integer representation too long", from), 0;
        if ((b >> (bits - shift)) != 0) return fail_at("integer too large", from), 0;
      }
      out |= static_cast<std::uint64_t>(b & 0x7f) << shift;
      if ((b & 0x80) == 0) return out;
    }
  }
  std::int64_t sleb(int bits) {
    const std::uint8_t* from = at_;
    std::uint64_t out = 0;
    for (int shift = 0;; shift += 7) {
      if (at_ == end_) return fail("unexpected end"), 0;
      std::uint8_t b = *at_++;
      if (shift + 7 > bits) {
        if (b & 0x80) return fail_at("integer representation too long", from), 0;
        int used = bits - shift;  // of the seven bits; the others repeat the sign
        int rest = static_cast<std::int8_t>(static_cast<std::uint8_t>(b << 1)) >> used;
        if (rest != 0 && rest != -1) return fail_at("integer too large", from), 0;
      }
      out |= static_cast<std::uint64_t>(b & 0x7f) << shift;
      if ((b & 0x80) == 0) {
        if (shift + 7 < 64 && (b & 0x40)) out |= ~std::uint64_t{0} << (shift + 7);
        return static_cast<std::int64_t>(out);
      }
    }
  }

  const std::uint8_t* begin_;
  const std::uint8_t* at_;
  const std::uint8_t* end_;
  const char* why_ = nullptr;
  const std::uint8_t* where_ = nullptr;
};

}  // namespace monopod::wasm
