// Modules for tests, built byte by byte: Builder().type(…).function(…).build(). Only for *_test.cc and fuzz targets.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace monopod::wasm::testing {

using Bytes = std::vector<std::uint8_t>;

inline Bytes leb(std::uint64_t n) {
  Bytes out;
  do {
    auto b = static_cast<std::uint8_t>(n & 0x7f);
    n >>= 7;
    out.push_back(static_cast<std::uint8_t>(b | (n != 0 ? 0x80 : 0)));
  } while (n != 0);
  return out;
}
inline Bytes sleb(std::int64_t n) {
  Bytes out;
  for (;;) {
    auto b = static_cast<std::uint8_t>(n & 0x7f);
    n >>= 7;
    bool last = (n == 0 && (b & 0x40) == 0) || (n == -1 && (b & 0x40) != 0);
    out.push_back(static_cast<std::uint8_t>(b | (last ? 0 : 0x80)));
    if (last) return out;
  }
}
inline Bytes operator+(Bytes a, const Bytes& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}
inline Bytes name(std::string_view text) { return leb(text.size()) + Bytes(text.begin(), text.end()); }
inline Bytes i32_const(std::int32_t n) { return Bytes{0x41} + sleb(n); }
inline Bytes i64_const(std::int64_t n) { return Bytes{0x42} + sleb(n); }
inline Bytes repeat(const Bytes& part, std::size_t times) {
  Bytes out;
  out.reserve(part.size() * times);
  for (std::size_t i = 0; i < times; ++i) out.insert(out.end(), part.begin(), part.end());
  return out;
}

inline constexpr std::uint8_t I32 = 0x7f, I64 = 0x7e, F32 = 0x7d, F64 = 0x7c, FUNCREF = 0x70, EXNREF = 0x69;

class Builder {
 public:
  Builder& type(const Bytes& params, const Bytes& results) { return add(1, Bytes{0x60} + leb(params.size()) + params + leb(results.size()) + results); }
  Builder& import(std::string_view module, std::string_view field, std::uint32_t type) {
    ++functions_;
    return add(2, name(module) + name(field) + Bytes{0} + leb(type));
  }
  Builder& import_memory(std::string_view module, std::string_view field, std::uint32_t pages) { return add(2, name(module) + name(field) + Bytes{2, 0} + leb(pages)); }
  Builder& import_table(std::string_view module, std::string_view field, std::uint32_t size) { return add(2, name(module) + name(field) + Bytes{1, FUNCREF, 0} + leb(size)); }
  Builder& table(std::uint32_t size) { return add(4, Bytes{FUNCREF, 0} + leb(size)); }
  Builder& memory(std::uint64_t pages, bool is64 = false) { return add(5, Bytes{static_cast<std::uint8_t>(is64 ? 4 : 0)} + leb(pages)); }
  Builder& tag(std::uint32_t type) { return add(13, Bytes{0} + leb(type)); }
  Builder& global(std::uint8_t type, bool is_mutable, const Bytes& init) { return add(6, Bytes{type, is_mutable} + init + Bytes{0x0b}); }
  Builder& export_as(std::string_view what, std::uint8_t kind, std::uint32_t index) { return add(7, name(what) + Bytes{kind} + leb(index)); }
  // Code without its last `end`; locals as groups {count, type}. Exported where exported_as says a name.
  Builder& function(std::uint32_t type, const Bytes& code, std::string_view exported_as = {}, const Bytes& locals = {0}) {
    add(3, leb(type));
    Bytes body = locals + code + Bytes{0x0b};
    add(10, leb(body.size()) + body);
    if (!exported_as.empty()) export_as(exported_as, 0, functions_);
    ++functions_;
    return *this;
  }
  Builder& elements(std::uint32_t at, const std::vector<std::uint32_t>& functions) {
    Bytes list = leb(functions.size());
    for (std::uint32_t f : functions) list = list + leb(f);
    return add(9, Bytes{0} + i32_const(static_cast<std::int32_t>(at)) + Bytes{0x0b} + list);
  }
  Builder& data(std::uint32_t at, std::string_view bytes) { return add(11, Bytes{0} + i32_const(static_cast<std::int32_t>(at)) + Bytes{0x0b} + name(bytes)); }
  Builder& custom(std::string_view title, const Bytes& body) {
    Bytes content = name(title) + body;
    custom_ = custom_ + Bytes{0} + leb(content.size()) + content;
    return *this;
  }
  Bytes build() const {
    Bytes out{0, 'a', 's', 'm', 1, 0, 0, 0};
    for (int section : {1, 2, 3, 4, 5, 13, 6, 7, 8, 9, 12, 10, 11}) {
      auto id = static_cast<std::uint8_t>(section);
      if (counts_[id] == 0) continue;
      Bytes body = leb(counts_[id]) + sections_[id];
      out = out + Bytes{id} + leb(body.size()) + body;
    }
    return out + custom_;
  }

 private:
  Builder& add(std::uint8_t section, const Bytes& entry) {
    sections_[section].insert(sections_[section].end(), entry.begin(), entry.end());
    ++counts_[section];
    return *this;
  }
  Bytes sections_[14];
  std::uint32_t counts_[14] = {};
  Bytes custom_;
  std::uint32_t functions_ = 0;
};

}  // namespace monopod::wasm::testing
