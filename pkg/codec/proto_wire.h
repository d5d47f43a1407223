// The protobuf wire format (protobuf.dev/programming-guides/encoding), as little of it as the messages of etcd and CRI need.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"

namespace monopod {

// Takes one varint off the front of rest. kInvalidArgument where there is none.
Result<std::uint64_t> read_varint(std::string_view& rest);

// Walks the fields of one message; views point into it. Unknown fields are for the caller to ignore.
class ProtoReader {
 public:
  explicit ProtoReader(std::string_view message) : rest_(message) {}
  // False at the end. kInvalidArgument for broken bytes; groups are refused.
  Result<bool> next();

  std::uint32_t field() const { return field_; }
  std::int64_t integer() const { return static_cast<std::int64_t>(number_); }  // varint and fixed fields
  bool boolean() const { return number_ != 0; }
  std::string_view bytes() const { return bytes_; }  // length-delimited fields
  std::string text() const { return std::string(bytes_); }
  bool is_bytes() const { return wire_type_ == 2; }

 private:
  std::string_view rest_;
  std::uint32_t field_ = 0;
  std::uint32_t wire_type_ = 0;
  std::uint64_t number_ = 0;
  std::string_view bytes_;
};

// Appends fields; those with their default value are left out, as proto3 does.
class ProtoWriter {
 public:
  ProtoWriter& integer(std::uint32_t field, std::int64_t value);
  ProtoWriter& unsigned_integer(std::uint32_t field, std::uint64_t value);
  ProtoWriter& varint_field(std::uint32_t field, std::uint64_t value);  // even if 0
  ProtoWriter& boolean(std::uint32_t field, bool value) { return integer(field, value ? 1 : 0); }
  ProtoWriter& bytes(std::uint32_t field, std::string_view value);
  ProtoWriter& message(std::uint32_t field, std::string_view encoded);  // even if empty
  // The head of a message of size bytes that the caller appends next: no buffer of its own for what nests.
  ProtoWriter& begin_message(std::uint32_t field, std::size_t size);
  void reserve(std::size_t bytes) { out_.reserve(bytes); }

  // Encoded sizes, for begin_message(); zero and empty take nothing, as above.
  static std::size_t size_of_integer(std::uint32_t field, std::int64_t value);
  static std::size_t size_of_bytes(std::uint32_t field, std::size_t size);
  static std::size_t size_of_message(std::uint32_t field, std::size_t size);  // even if empty
  const std::string& str() const { return out_; }
  std::string take() { return std::move(out_); }

 private:
  void varint(std::uint64_t value);
  std::string out_;
};

}  // namespace monopod
