// Protobuf wire format: varints, tags, length-delimited pieces. Bounds are checked at every step.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace monopod::api::wire {

enum Kind : std::uint32_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

struct Piece {
  std::uint32_t number = 0;
  std::uint32_t kind = 0;
  std::uint64_t value = 0;   // kVarint, kFixed64, kFixed32
  std::string_view bytes;    // kBytes
};

class Reader {
 public:
  explicit Reader(std::string_view bytes) : rest_(bytes) {}
  // The next field; nullopt at the end or where the bytes are malformed: ok() tells which.
  std::optional<Piece> next();
  bool ok() const { return ok_; }

 private:
  bool varint(std::uint64_t& value);
  bool fixed(std::size_t bytes, std::uint64_t& value);
  std::string_view rest_;
  bool ok_ = true;
};

void put_varint(std::string& out, std::uint64_t value);
void put_tag(std::string& out, std::uint32_t number, Kind kind);
void put_bytes(std::string& out, std::uint32_t number, std::string_view bytes);
void put_number(std::string& out, std::uint32_t number, std::uint64_t value);
void put_double(std::string& out, std::uint32_t number, double value);

}  // namespace monopod::api::wire
