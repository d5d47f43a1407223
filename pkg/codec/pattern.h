// Regular expressions of schemas, in the syntax of RE2 as far as schemas use it, in time linear in the text: the pattern is
// compiled to a small program whose states are all followed at once (Thompson, "Regular Expression Search Algorithm", 1968).
// Nothing ever backtracks, and one object's matching is bounded by a budget of steps.
//
// Known: literals, ., [] with ranges, negation, \d \w \s and [:names:], \d \D \w \W \s \S \b \B \A \z, * + ? {n,m} with lazy forms, | () (?:)
// (?P<name>) (?i) (?s) (?m) (?U), ^ $, \x41 \x{…} \Q…\E. (?i) folds ASCII. Refused by name: look-around and back references (as RE2),
// \C and Unicode classes (\p{…}).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace monopod {

inline constexpr std::size_t kPatternProgramMax = 10'000;  // instructions of one compiled pattern
inline constexpr std::size_t kPatternBytesMax = 8U << 10;  // of its text
inline constexpr int kPatternDepthMax = 200;               // of nested groups
inline constexpr int kPatternRepeatMax = 1000;             // as RE2: {n,m}

// Steps that all matching for one request may still take.
struct MatchBudget {
  std::size_t steps;
  bool spent = false;
};

class Pattern {
 public:
  // kInvalidArgument with Go's wording ("error parsing regexp: missing closing ): `(`"); kResourceExhausted: larger than the bounds below.
  static Result<std::unique_ptr<const Pattern>> compile(std::string_view text);
  // True where the text contains a match (anchors decide otherwise). A spent budget is false, and says so.
  bool matches(std::string_view text, MatchBudget& budget) const;
  std::size_t size() const { return program_.size(); }

  struct Range {
    std::uint32_t first, last;
  };
  struct Instruction {
    enum Op : std::uint8_t { kSet, kAny, kSplit, kJump, kAssert, kMatch } op;
    std::uint8_t assertion = 0;   // Assertion
    std::uint32_t x = 0, y = 0;   // kSplit, kJump: targets; kSet: first and count in ranges_
  };
  enum Assertion : std::uint8_t { kTextBegin, kTextEnd, kLineBegin, kLineEnd, kWordBoundary, kNoWordBoundary };

 private:
  friend class PatternCompiler;
  bool holds(Assertion assertion, std::uint32_t before, std::uint32_t after) const;
  std::vector<Instruction> program_;
  std::vector<Range> ranges_;
};

}  // namespace monopod
