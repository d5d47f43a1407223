// Messages between JSON and protobuf's wire format, by schema.h: proto3's JSON mapping as grpc-gateway v1 speaks it.
//
//   bytes               base64; the URL alphabet and missing padding are taken too
//   64-bit integers     written as strings, read as strings or numbers
//   enums               written by name, read by name or number; numbers without a name stay numbers
//   names               written as declared (range_end), read also in camel case (rangeEnd); unknown ones are skipped
//   null                the same as absent
//   defaults            are not written
#pragma once

#include "base/error.h"
#include "etcd/gateway/schema.h"

namespace monopod::etcd {

inline constexpr std::size_t kJsonDepthMax = 100;  // a transaction nested as deep as store's kTxnDepthMax needs 40

// An empty text is the empty message. kInvalidArgument names the field.
Result<std::string> json_to_wire(std::string_view text, const schema::Message& type);
// kInvalidArgument for broken bytes.
Result<std::string> wire_to_json(std::string_view bytes, const schema::Message& type);

// Finds the ends of the JSON values in a stream of them; what is between the ends is for json_to_wire to judge.
class JsonSplitter {
 public:
  void feed(std::string_view bytes) { buffer_ += bytes; }
  // The next complete object, without the white space around it. kInvalidArgument where something else than an object begins.
  Result<bool> next(std::string& value);
  // Nothing but white space is left.
  bool empty() const;
  std::size_t pending() const { return buffer_.size(); }

 private:
  std::string buffer_;
  std::size_t scanned_ = 0;
  std::size_t depth_ = 0;
  bool in_string_ = false;
  bool escaped_ = false;
};

}  // namespace monopod::etcd
