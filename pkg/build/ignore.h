// .dockerignore: patterns of paths that are not part of the context. '#' comments, '!' takes back, "**" any number of components, the last
// pattern that matches decides; a pattern that matches a directory matches all below it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace monopod::build {

class IgnoreList {
 public:
  static Result<IgnoreList> parse(std::string_view text);
  bool ignores(std::string_view path) const;  // "a/b", relative to the context
  // Whether something below an ignored directory may still be taken back.
  bool has_exceptions() const { return exceptions_; }

 private:
  struct Pattern {
    std::vector<std::string> parts;
    bool take_back = false;
  };
  std::vector<Pattern> patterns_;
  bool exceptions_ = false;
};

}  // namespace monopod::build
