#include "proxy/route/match.h"

#include <arpa/inet.h>

#include <cstring>

#include "base/strings.h"

namespace monopod::proxy {
namespace {

// The whole text: what is written means what it says, at both ends.
Result<std::shared_ptr<const Pattern>> compile_whole(std::string_view text) {
  TRY_ASSIGN(std::unique_ptr<const Pattern> pattern, Pattern::compile(cat("\\A(?:", text, ")\\z")));
  return std::shared_ptr<const Pattern>(std::move(pattern));
}

bool segments_match(const std::vector<std::string>& segments, std::string_view path) {
  std::size_t i = 0;
  for (std::string_view part : split(path.substr(1), '/')) {
    if (i == segments.size()) return false;
    if (segments[i] == "**") return true;
    bool variable = segments[i] == "*";
    if (variable ? part.empty() : segments[i] != part) return false;
    ++i;
  }
  return i == segments.size();
}

}  // namespace

Result<TextMatcher> TextMatcher::compile(const StringMatch& match) {
  TextMatcher out;
  out.match_ = match;
  if (match.kind == StringMatch::Kind::kRegex) {
    TRY_ASSIGN(out.pattern_, compile_whole(match.text));
  }
  return out;
}

bool TextMatcher::matches(const std::string_view* text, MatchBudget& budget) const {
  using Kind = StringMatch::Kind;
  if (text == nullptr) return match_.invert;  // what is not there matches nothing
  bool found = false;
  switch (match_.kind) {
    case Kind::kExact: found = *text == match_.text; break;
    case Kind::kPrefix: found = text->starts_with(match_.text); break;
    case Kind::kSuffix: found = text->ends_with(match_.text); break;
    case Kind::kContains: found = text->find(match_.text) != std::string_view::npos; break;
    case Kind::kRegex: found = pattern_->matches(*text, budget); break;
    case Kind::kPresent: found = true; break;
  }
  return found != match_.invert;
}

Result<PathMatcher> PathMatcher::compile(const PathMatch& match) {
  PathMatcher out;
  out.match_ = match;
  if (match.kind == PathMatch::Kind::kRegex) {
    TRY_ASSIGN(out.pattern_, compile_whole(match.text));
    return out;
  }
  if (!match.text.starts_with('/')) return fail(Code::kInvalidArgument, "a path begins with a slash");
  if (match.kind != PathMatch::Kind::kTemplate) return out;
  std::vector<std::string_view> parts = split(std::string_view(match.text).substr(1), '/');
  for (std::size_t i = 0; i < parts.size(); ++i) {
    std::string_view part = parts[i];
    bool variable = part.starts_with('{') && part.ends_with('}') && part.size() > 2;
    if (part == "**" && i + 1 != parts.size()) return fail(Code::kInvalidArgument, "** stands at a template's end only");
    if (!variable && part != "*" && part != "**" && part.find_first_of("{}*") != std::string_view::npos)
      return fail(Code::kInvalidArgument, cat("\"", part, "\": a segment of a template is text, {name}, * or, at the end, **"));
    out.segments_.emplace_back(variable ? std::string_view("*") : part);
  }
  return out;
}

bool PathMatcher::matches(std::string_view path, MatchBudget& budget) const {
  switch (match_.kind) {
    case PathMatch::Kind::kExact: return path == match_.text;
    case PathMatch::Kind::kPrefix: {
      if (!path.starts_with(match_.text)) return false;
      return path.size() == match_.text.size() || match_.text.back() == '/' || path[match_.text.size()] == '/';
    }
    case PathMatch::Kind::kRegex: return pattern_->matches(path, budget);
    case PathMatch::Kind::kTemplate: return path.starts_with('/') && segments_match(segments_, path);
  }
  return false;
}

Result<Cidr> Cidr::parse(std::string_view text) {
  auto [address, length] = split_once(text, '/');
  Cidr out;
  std::string host(address);
  bool v4 = host.find(':') == std::string::npos;
  if (v4) out.address_[10] = out.address_[11] = 0xff;
  std::optional<int> bits = length ? parse_int<int>(*length) : std::optional(v4 ? 32 : 128);
  bool good = ::inet_pton(v4 ? AF_INET : AF_INET6, host.c_str(), v4 ? out.address_ + 12 : out.address_) == 1;
  if (!good || !bits || *bits < 0 || *bits > (v4 ? 32 : 128)) return fail(Code::kInvalidArgument, cat("\"", text, "\" is no CIDR"));
  out.bits_ = *bits + (v4 ? 96 : 0);
  return out;
}

bool Cidr::contains(const unsigned char (&address)[16]) const {
  auto whole = static_cast<std::size_t>(bits_ / 8);
  if (std::memcmp(address, address_, whole) != 0) return false;
  if (bits_ % 8 == 0) return true;
  auto mask = static_cast<unsigned char>(0xff << (8 - bits_ % 8));
  return ((address[whole] ^ address_[whole]) & mask) == 0;
}

}  // namespace monopod::proxy
