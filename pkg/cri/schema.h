// CRI's messages as data: what each field is called, its number and its type (kubernetes cri-api, runtime.v1; facts of the protocol). Messages are
// translated by it (messages.h), and a test holds it against vendor-protos/cri. What only Windows has is not listed, and so skipped like any field
// that we do not know.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace monopod::cri {

enum class Kind : std::uint8_t { kString, kBytes, kBool, kInt64, kInt32, kUint64, kUint32, kEnum, kMessage, kMap };

struct Message;
struct Field {
  std::string_view name{};
  std::uint16_t number = 0;
  Kind kind = Kind::kString;
  bool repeated = false;
  std::string_view of{};             // kEnum, kMessage: the name of that type
  const Message* message = nullptr;  // kMessage
};
struct Message {
  std::string_view name{};
  std::vector<Field> fields{};
};

// Made from the text below at first use.
class Schema {
 public:
  // kInvalidArgument where text is no schema (see schema.cc for what it looks like).
  static Result<Schema> parse(std::string_view text);
  static const Schema& get();
  // Null where there is none.
  const Message* find(std::string_view name) const;
  const std::vector<Message>& messages() const { return messages_; }  // by name

 private:
  std::vector<Message> messages_;
};

}  // namespace monopod::cri
