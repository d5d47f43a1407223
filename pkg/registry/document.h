// A manifest as a registry sees it: what it names, not what it means. Images, indexes and artifacts of OCI image-spec 1.1, and Docker's
// schema 2. A document that could be read as both an image and an index is refused (CVE-2021-41190).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "codec/json.h"

namespace monopod::registry {

struct Document {
  std::string media_type;
  std::string subject;                // digest, or empty
  std::string artifact_type;          // the document's own, else the configuration's media type
  std::vector<std::string> blobs;     // configuration and layers that a registry must hold
  std::vector<std::string> children;  // of an index; they need not be there
  json::Object annotations;
};

// content_type: of the request, may have parameters; empty: the document's own decides. kInvalidArgument says what is wrong.
Result<Document> parse_document(std::string_view text, std::string_view content_type);

}  // namespace monopod::registry
