// etcd's messages as data: what each field is called, its number and its type. The JSON gateway translates by it, and a test holds it
// against vendor-protos/etcd. Facts of the protocol (3.5); messages not listed are not spoken.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string_view>

namespace monopod::etcd::schema {

enum class Type : std::uint8_t { kBytes, kString, kBool, kInt64, kUint64, kUint32, kEnum, kMessage };

struct Field {
  std::string_view name{};
  std::uint32_t number = 0;
  Type type = Type::kBytes;
  std::string_view of{};  // kEnum, kMessage: the full name of that type
  bool repeated = false;
  std::string_view oneof{};  // the union it is a member of
};
struct Message {
  std::string_view name{};  // "etcdserverpb.RangeRequest"
  std::initializer_list<Field> fields{};
};
struct EnumValue {
  std::string_view name{};
  std::int32_t number = 0;
};
struct Enum {
  std::string_view name{};
  std::initializer_list<EnumValue> values{};
};

std::span<const Message> messages();
std::span<const Enum> enums();
// Null where there is none.
const Message* find_message(std::string_view name);
const Enum* find_enum(std::string_view name);

}  // namespace monopod::etcd::schema
