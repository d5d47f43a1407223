// Kubernetes protobuf (application/vnd.kubernetes.protobuf) to and from JSON trees, by the tables.
//   "k8s\0" | runtime.Unknown { 1: TypeMeta { 1: apiVersion, 2: kind }, 2: raw, 3: contentEncoding, 4: contentType }
// raw is the object's own message. Depth is limited to 100 messages; lengths are checked before anything is allocated.
#pragma once

#include <string>
#include <string_view>

#include "api/schema/decode.h"
#include "api/schema/schema.h"
#include "base/error.h"
#include "codec/json.h"

namespace monopod::api {

inline constexpr std::string_view kProtobufContentType = "application/vnd.kubernetes.protobuf";

// Reads the envelope only: which type the body claims to be.
Result<TypeMeta> peek_protobuf_type(std::string_view bytes);
// The body as a canonical tree. The type is the target's; apiVersion and kind are the envelope's, or the target's where it has none.
// kInvalidArgument for anything malformed. Unknown field numbers are skipped, as proto2 does.
Result<json::Value> decode_protobuf(std::string_view bytes, const DecodeTarget& target);
// With the envelope. The tree must be canonical for the type.
Result<std::string> encode_protobuf(const json::Value& object, const Type& type);
// The bare message, for list items and watch frames.
Result<std::string> encode_protobuf_message(const json::Value& object, const Type& type);

}  // namespace monopod::api
