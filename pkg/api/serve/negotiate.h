// Media types: what the client sent (Content-Type) and what it takes (Accept), RFC 9110 section 12 as far as clients use it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "api/schema/schema.h"
#include "api/status.h"

namespace monopod::api {

enum class Encoding { kJson, kYaml, kProtobuf };
enum class View { kObject, kTable, kPartial };

// One acceptable form of an answer.
struct Media {
  Encoding encoding = Encoding::kJson;
  View view = View::kObject;
  bool beta = false;  // meta.k8s.io/v1beta1 of Table and PartialObjectMetadata
  bool pretty = false;

  std::string_view meta_version() const { return beta ? "meta.k8s.io/v1beta1" : "meta.k8s.io/v1"; }
};

struct MediaRange {
  std::string type;     // "application/json", "*/*"
  std::vector<std::pair<std::string, std::string>> params;
  double quality = 1;
  std::string_view param(std::string_view name) const;
};
// In order of preference (quality, then position). Broken ranges are skipped.
std::vector<MediaRange> parse_accept(std::string_view accept);

struct MediaSupport {
  bool views = false;    // Table and PartialObjectMetadata
  bool protobuf = true;
};
// 406 where nothing the client takes can be given. An empty Accept takes anything.
Outcome<Media> negotiate(std::string_view accept, const MediaSupport& support);

// 415 for a body in a format that is not read here.
Outcome<Encoding> body_encoding(std::string_view content_type);

std::string_view content_type_of(Encoding encoding);

}  // namespace monopod::api
