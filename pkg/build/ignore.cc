#include "build/ignore.h"

#include <span>

#include "base/strings.h"
#include "build/words.h"

namespace monopod::build {
namespace {

constexpr std::size_t kPatternsMax = 10'000;

using Parts = std::span<const std::string>;

// A prefix of the path suffices: its directory is ignored, and so is all below.
bool matches(Parts pattern, Parts path) {
  if (pattern.empty()) return true;
  if (pattern.front() == "**") {
    if (pattern.size() == 1) return !path.empty();
    for (std::size_t i = 0; i <= path.size(); ++i)
      if (matches(pattern.subspan(1), path.subspan(i))) return true;
    return false;
  }
  return !path.empty() && matches_path(pattern.front(), path.front()) && matches(pattern.subspan(1), path.subspan(1));
}

std::vector<std::string> clean_parts(std::string_view path) {
  std::vector<std::string> out;
  for (std::string_view part : split(path, '/')) {
    if (part.empty() || part == ".") continue;
    if (part == ".." && !out.empty()) out.pop_back();
    else if (part != "..") {
      // "**/**" is "**": no more work than there are components.
      if (part == "**" && !out.empty() && out.back() == "**") continue;
      out.emplace_back(part);
    }
  }
  return out;
}

}  // namespace

Result<IgnoreList> IgnoreList::parse(std::string_view text) {
  IgnoreList out;
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  for (std::string_view line : split(text, '\n')) {
    if (line.starts_with('#')) continue;
    line = trim(line);
    if (line.empty()) continue;
    Pattern pattern;
    pattern.take_back = line.starts_with('!');
    if (pattern.take_back) line = trim(line.substr(1));
    if (line.empty()) return fail(Code::kInvalidArgument, ".dockerignore: illegal exclusion pattern: \"!\"");
    pattern.parts = clean_parts(line);
    std::size_t wild = 0;
    for (const std::string& part : pattern.parts) wild += part == "**" ? 1U : 0U;
    if (wild > 8) return fail(Code::kInvalidArgument, cat(".dockerignore: more than 8 \"**\" in \"", line.substr(0, 100), "\""));
    out.exceptions_ = out.exceptions_ || pattern.take_back;
    if (!pattern.parts.empty()) out.patterns_.push_back(std::move(pattern));
    if (out.patterns_.size() > kPatternsMax) return fail(Code::kInvalidArgument, cat(".dockerignore: more than ", kPatternsMax, " patterns"));
  }
  return out;
}

bool IgnoreList::ignores(std::string_view path) const {
  std::vector<std::string> parts = clean_parts(path);
  bool ignored = false;
  for (const Pattern& pattern : patterns_)
    if (pattern.take_back == ignored && matches(pattern.parts, parts)) ignored = !pattern.take_back;
  return ignored;
}

}  // namespace monopod::build
