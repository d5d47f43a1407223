#include "api/serve/negotiate.h"

#include <algorithm>
#include <cstdlib>

#include "base/strings.h"

namespace monopod::api {
namespace {

constexpr std::size_t kRangesMax = 32;

MediaRange parse_range(std::string_view text) {
  MediaRange range;
  std::vector<std::string_view> parts = split(text, ';');
  range.type = to_lower(trim(parts[0]));
  for (std::size_t i = 1; i < parts.size(); ++i) {
    auto [name, value] = split_once(parts[i], '=');
    std::string key = to_lower(trim(name)), content(trim(value.value_or("")));
    if (key == "q") range.quality = std::min(std::strtod(content.c_str(), nullptr), 1.0);
    else range.params.emplace_back(std::move(key), std::move(content));
  }
  return range;
}

bool matches(const MediaRange& range, const MediaSupport& support, Media& out) {
  out = Media();
  if (range.type == "application/json" || range.type == "*/*" || range.type == "application/*") out.encoding = Encoding::kJson;
  else if (range.type == "application/yaml") out.encoding = Encoding::kYaml;
  else if (range.type == "application/vnd.kubernetes.protobuf") {
    if (!support.protobuf) return false;
    out.encoding = Encoding::kProtobuf;
  } else {
    return false;
  }
  std::string_view as = range.param("as");
  if (as.empty()) return true;
  if (!support.views || range.param("g") != "meta.k8s.io") return false;
  std::string_view version = range.param("v");
  if (version != "v1" && version != "v1beta1") return false;
  out.beta = version == "v1beta1";
  if (as == "Table") out.view = View::kTable;
  else if (as == "PartialObjectMetadata" || as == "PartialObjectMetadataList") out.view = View::kPartial;
  else return false;
  return out.encoding != Encoding::kProtobuf || out.view == View::kPartial;  // tables have no protobuf form
}

}  // namespace

std::string_view MediaRange::param(std::string_view name) const {
  for (const auto& [key, value] : params)
    if (key == name) return value;
  return {};
}

std::vector<MediaRange> parse_accept(std::string_view accept) {
  std::vector<MediaRange> out;
  for (std::string_view part : split(accept, ',')) {
    if (trim(part).empty()) continue;
    if (out.size() == kRangesMax) break;
    MediaRange range = parse_range(part);
    if (range.quality > 0) out.push_back(std::move(range));
  }
  std::stable_sort(out.begin(), out.end(), [](const MediaRange& a, const MediaRange& b) { return a.quality > b.quality; });
  return out;
}

Outcome<Media> negotiate(std::string_view accept, const MediaSupport& support) {
  if (trim(accept).empty()) return Media();
  Media media;
  if (MediaRange first = parse_range(split_once(accept, ',').first); first.quality == 1 && matches(first, support, media)) return media;  // nothing comes before it
  for (const MediaRange& range : parse_accept(accept))
    if (matches(range, support, media)) return media;
  return refuse(not_acceptable(
      "only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf"));
}

Outcome<Encoding> body_encoding(std::string_view content_type) {
  std::string type = to_lower(trim(split_once(content_type, ';').first));
  if (type.empty() || type == "application/json" || type == "text/json") return Encoding::kJson;
  if (type == "application/yaml" || type == "text/yaml") return Encoding::kYaml;
  if (type == "application/vnd.kubernetes.protobuf") return Encoding::kProtobuf;
  return refuse(unsupported_media_type(
      "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, "
      "application/vnd.kubernetes.protobuf"));
}

std::string_view content_type_of(Encoding encoding) {
  switch (encoding) {
    case Encoding::kJson: return "application/json";
    case Encoding::kYaml: return "application/yaml";
    case Encoding::kProtobuf: return "application/vnd.kubernetes.protobuf";
  }
  return "application/json";
}

}  // namespace monopod::api
