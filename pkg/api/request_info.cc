#include "api/request_info.h"

#include <iterator>
#include <span>

#include "api/limits.h"
#include "base/strings.h"

namespace monopod::api {
namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool percent_decode(std::string_view text, bool plus_is_space, std::string& out) {
  out.assign(text);
  if (text.find('%') == std::string_view::npos && (!plus_is_space || text.find('+') == std::string_view::npos)) return true;
  out.clear();
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+' && plus_is_space) {
      out += ' ';
    } else if (text[i] == '%') {
      if (i + 2 >= text.size()) return false;
      int high = hex_digit(text[i + 1]), low = hex_digit(text[i + 2]);
      if (high < 0 || low < 0) return false;
      out += static_cast<char>(high * 16 + low);
      i += 2;
    } else {
      out += text[i];
    }
  }
  return true;
}

std::string lower_method(std::string_view method) { return to_lower(method); }

std::string verb_of(std::string_view method) {
  if (method == "POST") return "create";
  if (method == "GET" || method == "HEAD") return "get";
  if (method == "PUT") return "update";
  if (method == "PATCH") return "patch";
  if (method == "DELETE") return "delete";
  return {};
}

// The name that a field selector pins, as upstream hands it to authorisation.
std::string pinned_name(const std::string& field_selector) {
  for (std::string_view term : split(field_selector, ',')) {
    if (!term.starts_with("metadata.name=")) continue;
    term.remove_prefix(14);
    if (term.starts_with('=')) term.remove_prefix(1);
    return std::string(term);
  }
  return {};
}

// parts: what follows /api/v1 or /apis/g/v, decoded. They are taken.
Outcome<void> read_resource(std::string_view method, std::span<std::string> parts, RequestInfo& info) {
  info.verb = verb_of(method);
  if (parts.size() > 1 && parts[0] == "watch" && (method == "GET")) {  // the old /watch/ prefix
    info.verb = "watch";
    parts = parts.subspan(1);
  }
  if (parts[0] == "namespaces" && parts.size() > 1) {
    if (!valid_segment(parts[1])) return refuse(bad_request(cat("invalid namespace \"", parts[1], "\"")));
    info.ns = parts[1];
    if (parts.size() > 2 && parts[2] != "finalize" && parts[2] != "status") parts = parts.subspan(2);
  }
  for (const std::string& part : parts) {
    if (&part - parts.data() < 3 && !valid_segment(part)) return refuse(bad_request(cat("invalid path segment \"", part, "\"")));
  }
  info.resource = parts[0];
  if (parts.size() > 1) info.name = parts[1];
  if (parts.size() > 2) info.subresource = parts[2];
  if (info.resource == "namespaces" && info.group.empty()) info.ns = info.name;
  info.parts.assign(std::make_move_iterator(parts.begin()), std::make_move_iterator(parts.end()));
  if (info.name.empty() && info.verb == "get") info.verb = "list";
  if (info.name.empty() && info.verb == "delete") info.verb = "deletecollection";
  if (info.verb == "list" || info.verb == "watch") {
    if (info.query.flag("watch")) info.verb = "watch";
    if (info.name.empty()) info.name = pinned_name(info.query.get("fieldSelector"));
  }
  return {};
}

}  // namespace

bool valid_segment(std::string_view segment) {
  if (segment.empty() || segment == "." || segment == ".." || segment.size() > 512) return false;
  for (char c : segment)
    if (c == '/' || c == '%' || static_cast<unsigned char>(c) < 0x20 || c == 0x7f) return false;
  return true;
}

std::string percent_encode(std::string_view text) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  std::string out;
  for (char c : text) {
    bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.' || c == '~';
    if (plain) {
      out += c;
    } else {
      auto byte = static_cast<unsigned char>(c);
      out += '%';
      out += kDigits[byte >> 4];
      out += kDigits[byte & 15];
    }
  }
  return out;
}

Outcome<QueryParams> QueryParams::parse(std::string_view raw) {
  QueryParams params;
  if (raw.empty()) return params;
  for (std::string_view pair : split(raw, '&')) {
    if (pair.empty()) continue;
    auto [name, value] = split_once(pair, '=');
    std::string name_text, value_text;
    if (!percent_decode(name, true, name_text) || !percent_decode(value.value_or(""), true, value_text))
      return refuse(bad_request("invalid URL escape in the query"));
    params.pairs_.emplace_back(std::move(name_text), std::move(value_text));
  }
  return params;
}

std::string QueryParams::get(std::string_view name) const {
  for (const auto& [key, value] : pairs_)
    if (key == name) return value;
  return {};
}

std::vector<std::string> QueryParams::all(std::string_view name) const {
  std::vector<std::string> out;
  for (const auto& [key, value] : pairs_)
    if (key == name) out.push_back(value);
  return out;
}

bool QueryParams::has(std::string_view name) const {
  for (const auto& [key, value] : pairs_)
    if (key == name) return true;
  return false;
}

bool QueryParams::flag(std::string_view name) const {
  if (!has(name)) return false;
  std::string value = to_lower(get(name));
  return value != "false" && value != "0";
}

void QueryParams::set(std::string name, std::string value) { pairs_.emplace_back(std::move(name), std::move(value)); }

std::string QueryParams::format() const {
  std::string out;
  for (const auto& [key, value] : pairs_) {
    if (!out.empty()) out += '&';
    out += percent_encode(key);
    out += '=';
    out += percent_encode(value);
  }
  return out;
}

Outcome<RequestInfo> parse_request(std::string_view method, std::string_view target) {
  if (target.size() > kTargetBytesMax) return refuse(Status(414, "BadRequest", "request URI too long"));
  auto [raw_path, raw_query] = split_once(target, '?');
  RequestInfo info;
  OUT_ASSIGN(info.query, QueryParams::parse(raw_query.value_or("")));
  if (raw_path.empty() || raw_path.front() != '/') return refuse(bad_request("the path must begin with a slash"));

  std::vector<std::string_view> segments = split(raw_path.substr(1), '/');
  if (segments.size() > kPathSegmentsMax) return refuse(bad_request("too many path segments"));
  std::vector<std::string> parts(segments.size());
  for (std::size_t i = 0; i < segments.size(); ++i)
    if (!percent_decode(segments[i], false, parts[i])) return refuse(bad_request("invalid URL escape in the path"));
  percent_decode(raw_path, false, info.path);  // the segments were good
  if (parts.size() > 1 && parts.back().empty()) parts.pop_back();  // a trailing slash

  bool core = parts[0] == "api" && parts.size() > 2;
  bool named = parts[0] == "apis" && parts.size() > 3;
  info.verb = lower_method(method);
  if (!core && !named) return info;
  info.is_resource = true;
  std::size_t prefix = core ? 2 : 3;
  info.group = core ? "" : parts[1];
  info.version = core ? parts[1] : parts[2];
  if (!valid_segment(info.version) || (named && !valid_segment(info.group))) return refuse(page_not_found());
  OUT(read_resource(method, std::span(parts).subspan(prefix), info));
  return info;
}

}  // namespace monopod::api
