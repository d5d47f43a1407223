// Request bodies to canonical trees of the type that is expected.
#pragma once

#include "api/schema/decode.h"
#include "api/serve/negotiate.h"
#include "api/status.h"
#include "async/pool.h"

namespace monopod::api {

struct BodyTarget {
  const Type* type;
  std::string group_version;
  std::string kind;
};

// Checks apiVersion and kind against the target, decodes by the encoding, collects warnings. Large bodies are parsed on pool.
async::Task<Outcome<json::Value>> decode_body(async::Pool& pool, std::string body, Encoding encoding, BodyTarget target,
                                              FieldValidation validation, std::vector<std::string>& warnings);
Outcome<json::Value> decode_body_now(const std::string& body, Encoding encoding, const BodyTarget& target, FieldValidation validation,
                                     std::vector<std::string>& warnings);

}  // namespace monopod::api
