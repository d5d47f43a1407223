#include "image/reference.h"

#include "base/strings.h"
#include "image/digest.h"

namespace monopod::image {
namespace {

constexpr std::size_t kNameMax = 255;
constexpr std::size_t kTagMax = 128;

bool is_lower_alnum(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }
bool is_alnum(char c) { return is_lower_alnum(c) || (c >= 'A' && c <= 'Z'); }

// [a-z0-9]+ joined by ".", "_", "__" or any number of "-".
bool is_path_component(std::string_view t) {
  if (t.empty() || !is_lower_alnum(t.front()) || !is_lower_alnum(t.back())) return false;
  for (std::size_t i = 0; i < t.size();) {
    if (is_lower_alnum(t[i])) {
      ++i;
      continue;
    }
    std::size_t end = t.find_first_not_of(t[i], i);
    std::size_t run = end - i;
    bool ok = t[i] == '-' || (t[i] == '.' && run == 1) || (t[i] == '_' && run <= 2);
    if (!ok || !is_lower_alnum(t[end])) return false;
    i = end;
  }
  return true;
}

bool is_domain(std::string_view t) {
  std::string_view host = t;
  if (t.starts_with('[')) {
    std::size_t close = t.find(']');
    if (close == std::string_view::npos || close < 3) return false;
    if (t.substr(1, close - 1).find_first_not_of("0123456789abcdefABCDEF:") != std::string_view::npos) return false;
    host = {};
    t.remove_prefix(close + 1);
    if (t.empty()) return true;
    if (t.front() != ':') return false;
  }
  std::size_t colon = t.rfind(':');
  if (colon != std::string_view::npos) {
    auto port = parse_int<unsigned>(t.substr(colon + 1));
    if (!port || *port > 65535) return false;
    if (!host.empty()) host = host.substr(0, colon);
    else return true;
  }
  for (std::string_view label : split(host, '.')) {
    if (label.empty() || !is_alnum(label.front()) || !is_alnum(label.back())) return false;
    for (char c : label)
      if (!is_alnum(c) && c != '-') return false;
  }
  return true;
}

bool is_tag(std::string_view t) {
  if (t.empty() || t.size() > kTagMax || (!is_alnum(t.front()) && t.front() != '_')) return false;
  for (char c : t)
    if (!is_alnum(c) && c != '_' && c != '.' && c != '-') return false;
  return true;
}

bool is_hex64(std::string_view t) {
  return t.size() == 64 && t.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

}  // namespace

std::string Reference::text() const {
  std::string out = repository();
  if (!tag.empty()) out += ":" + tag;
  if (!digest.empty()) out += "@" + digest;
  return out;
}

Result<Reference> parse_reference(std::string_view text) {
  auto invalid = [text](std::string_view why) {
    return fail(Code::kInvalidArgument, cat("invalid reference format: \"", text.substr(0, 300), "\"", why.empty() ? "" : ": ", why));
  };
  Reference out;
  std::string_view name = text;
  if (std::size_t at = name.find('@'); at != std::string_view::npos) {
    out.digest = name.substr(at + 1);
    if (!is_digest(out.digest)) return invalid("digest must be sha256 and 64 hex digits");
    name = name.substr(0, at);
  }
  std::size_t slash = name.rfind('/');
  std::size_t colon = name.rfind(':');
  if (colon != std::string_view::npos && (slash == std::string_view::npos || colon > slash)) {
    out.tag = name.substr(colon + 1);
    if (!is_tag(out.tag)) return invalid("");
    name = name.substr(0, colon);
  }
  if (is_hex64(name)) return invalid("cannot specify 64-byte hexadecimal strings");
  auto [first, rest] = split_once(name, '/');
  bool has_domain = rest && (first.find_first_of(".:") != std::string_view::npos || first == "localhost" || to_lower(first) != first);
  out.domain = has_domain ? first : std::string_view("docker.io");
  out.path = has_domain ? *rest : name;
  if (out.domain == "index.docker.io") out.domain = "docker.io";
  if (out.domain == "docker.io" && out.path.find('/') == std::string::npos) out.path.insert(0, "library/");
  if (out.domain.size() + 1 + out.path.size() > kNameMax) return invalid("repository name must not be more than 255 characters");
  if (!is_domain(out.domain)) return invalid("");
  for (std::string_view component : split(out.path, '/'))
    if (!is_path_component(component)) return invalid(to_lower(component) != component ? "repository name must be lowercase" : "");
  if (out.tag.empty() && out.digest.empty()) out.tag = "latest";
  return out;
}

}  // namespace monopod::image
