// Reads what protoc writes of a .proto file (--descriptor_set_out).
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "codec/proto_wire.h"

namespace monopod::testing {

// google/protobuf/descriptor.proto, the fields that are asked for here.
struct Fields {
  explicit Fields(std::string_view bytes) {
    ProtoReader reader(bytes);
    while (reader.next().value()) {
      if (reader.is_bytes()) texts.emplace(reader.field(), reader.bytes());
      else numbers[reader.field()] = reader.integer();
    }
  }
  std::string text(std::uint32_t field) const { return texts.contains(field) ? std::string(texts.find(field)->second) : std::string(); }
  std::vector<std::string_view> all(std::uint32_t field) const {
    std::vector<std::string_view> found;
    for (auto [at, end] = texts.equal_range(field); at != end; ++at) found.push_back(at->second);
    return found;
  }
  std::multimap<std::uint32_t, std::string_view> texts{};
  std::map<std::uint32_t, std::int64_t> numbers{};
};

}  // namespace monopod::testing
