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
// With the envelope. The text or tree must be canonical for the type; of a wider one only what the type has is taken, so that an
// object's text is also that of its PartialObjectMetadata. kInvalidArgument where a value is not the type's.
Result<std::string> encode_protobuf(std::string_view json, std::string_view api_version, std::string_view kind, const Type& type);
Result<std::string> encode_protobuf(const json::Value& object, const Type& type);
// The bare message, and the message as a field of another: what lists are made of. One pass over the text, no tree.
Result<> append_protobuf_message(std::string& out, std::string_view json, const Type& type);
Result<> append_protobuf_field(std::string& out, std::uint32_t number, std::string_view json, const Type& type);
// The envelope's bytes before a message of that size, and those behind it.
std::string protobuf_envelope(std::string_view api_version, std::string_view kind, std::size_t message_bytes);
inline constexpr std::string_view kProtobufEnvelopeEnd("\x1a\x00\x22\x00", 4);

}  // namespace monopod::api
