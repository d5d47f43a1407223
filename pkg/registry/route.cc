#include "registry/route.h"

#include <algorithm>

#include "base/strings.h"
#include "registry/limits.h"

namespace monopod::registry {
namespace {

bool is_alnum(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

bool is_component(std::string_view text) {
  std::size_t at = 0;
  for (;;) {
    std::size_t start = at;
    while (at < text.size() && is_alnum(text[at])) ++at;
    if (at == start) return false;
    if (at == text.size()) return true;
    std::size_t separator = at;
    while (at < text.size() && !is_alnum(text[at])) ++at;
    std::string_view between = text.substr(separator, at - separator);
    if (between != "." && between != "_" && between != "__" && between.find_first_not_of('-') != std::string_view::npos) return false;
  }
}

// "<name>/manifests/<reference>": the last such infix, so that names may hold the word.
bool take(std::string_view path, std::string_view infix, Route::Kind kind, Route& out) {
  std::size_t at = path.rfind(infix);
  if (at == std::string_view::npos || at == 0) return false;
  std::string_view rest = path.substr(at + infix.size());
  if (rest.find('/') != std::string_view::npos) return false;
  out = {.kind = kind, .name = std::string(path.substr(0, at)), .reference = std::string(rest)};
  return true;
}

}  // namespace

Route parse_route(std::string_view path) {
  constexpr std::string_view kPrefix = "/v2/";
  if (path == "/v2") return {.kind = Route::Kind::kBase, .name = {}, .reference = {}};
  if (!path.starts_with(kPrefix)) return {};
  path.remove_prefix(kPrefix.size());
  if (path.empty()) return {.kind = Route::Kind::kBase, .name = {}, .reference = {}};
  if (path == "_catalog") return {.kind = Route::Kind::kCatalog, .name = {}, .reference = {}};
  Route out;
  constexpr std::string_view kTags = "/tags/list";
  if (path.ends_with(kTags) && path.size() > kTags.size()) return {.kind = Route::Kind::kTags, .name = std::string(path.substr(0, path.size() - kTags.size())), .reference = {}};
  if (take(path, "/blobs/uploads/", Route::Kind::kUpload, out)) {
    if (out.reference.empty()) out.kind = Route::Kind::kUploads;
    return out;
  }
  if (constexpr std::string_view kUploads = "/blobs/uploads"; path.ends_with(kUploads) && path.size() > kUploads.size())
    return {.kind = Route::Kind::kUploads, .name = std::string(path.substr(0, path.size() - kUploads.size())), .reference = {}};
  if (take(path, "/blobs/", Route::Kind::kBlob, out)) return out;
  if (take(path, "/manifests/", Route::Kind::kManifest, out)) return out;
  if (take(path, "/referrers/", Route::Kind::kReferrers, out)) return out;
  return {};
}

bool is_repository_name(std::string_view name) {
  if (name.empty() || name.size() > kNameBytesMax) return false;
  return std::ranges::all_of(split(name, '/'), is_component);
}

bool is_tag(std::string_view tag) {
  if (tag.empty() || tag.size() > kTagBytesMax || tag.front() == '.' || tag.front() == '-') return false;
  return std::ranges::all_of(tag, [](char c) { return is_alnum(c) || (c >= 'A' && c <= 'Z') || c == '_' || c == '.' || c == '-'; });
}

std::optional<ByteRange> parse_content_range(std::string_view text) {
  text = trim(text);
  if (text.starts_with("bytes ")) text = trim(text.substr(6));
  auto [range, total] = split_once(text, '/');
  auto [first, last] = split_once(range, '-');
  auto a = parse_int<std::uint64_t>(first), b = parse_int<std::uint64_t>(last.value_or(""));
  if (!a || !b || *a > *b || *b == UINT64_MAX) return std::nullopt;
  return ByteRange{*a, *b};
}

RangeAnswer parse_range(std::string_view text, std::uint64_t size) {
  constexpr std::string_view kUnit = "bytes=";
  text = trim(text);
  if (!text.starts_with(kUnit) || text.find(',') != std::string_view::npos) return {};
  auto [first, last] = split_once(trim(text.substr(kUnit.size())), '-');
  if (!last) return {};
  RangeAnswer out{.kind = RangeAnswer::Kind::kPart, .range = {}};
  if (first.empty()) {  // the last n bytes
    auto n = parse_int<std::uint64_t>(*last);
    if (!n) return {};
    if (*n == 0 || size == 0) return {.kind = RangeAnswer::Kind::kUnsatisfiable, .range = {}};
    out.range = {size - std::min(size, *n), size - 1};
    return out;
  }
  auto a = parse_int<std::uint64_t>(first);
  auto b = last->empty() ? std::optional<std::uint64_t>(UINT64_MAX) : parse_int<std::uint64_t>(*last);
  if (!a || !b) return {};
  if (*a > *b || *a >= size) return {.kind = RangeAnswer::Kind::kUnsatisfiable, .range = {}};
  out.range = {*a, std::min(*b, size - 1)};
  return out;
}

}  // namespace monopod::registry
