// Texts, paths and CIDRs compiled for matching.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "codec/pattern.h"
#include "proxy/config/spec.h"

namespace monopod::proxy {

class TextMatcher {
 public:
  static Result<TextMatcher> compile(const StringMatch& match);
  // text: null where there is none.
  bool matches(const std::string_view* text, MatchBudget& budget) const;

 private:
  StringMatch match_;
  std::shared_ptr<const Pattern> pattern_;
};

class PathMatcher {
 public:
  static Result<PathMatcher> compile(const PathMatch& match);
  // path: normalised, without the query.
  bool matches(std::string_view path, MatchBudget& budget) const;
  const PathMatch& match() const { return match_; }

 private:
  PathMatch match_;
  std::vector<std::string> segments_;  // of a template
  std::shared_ptr<const Pattern> pattern_;
};

// "10.0.0.0/8", "::1".
class Cidr {
 public:
  static Result<Cidr> parse(std::string_view text);
  bool contains(const unsigned char (&address)[16]) const;  // IPv4 mapped into IPv6

 private:
  unsigned char address_[16] = {};
  int bits_ = 128;
};

}  // namespace monopod::proxy
