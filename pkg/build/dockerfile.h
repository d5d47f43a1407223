// A Dockerfile as instructions (docs.docker.com/reference/dockerfile): directives, comments, continuations, heredocs, flags and JSON forms are
// understood here; variables are not yet replaced (words.h).
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace monopod::build {

// <<NAME, <<-NAME (leading tabs go), <<"NAME" (taken as it stands).
struct Heredoc {
  std::string name;
  std::string content;  // with its last line end
  bool expand = true;
};

struct Flag {
  std::string name;  // "from", of --from=x
  std::string value;
  bool has_value = false;
};

struct Instruction {
  std::string name;                 // uppercase
  std::vector<Flag> flags;          // the --words that stand before the arguments, in order
  std::string arguments;            // continuations joined, flags taken off, trimmed
  bool is_json = false;             // arguments are a JSON list of strings: words holds it
  std::vector<std::string> words;
  std::vector<Heredoc> heredocs;
  std::size_t line = 0, column = 1;  // where it begins, from 1
  std::string source;               // as it stands, lines joined by a space: for people and for the history

  const Flag* find_flag(std::string_view flag) const;
};

struct Dockerfile {
  char escape = '\\';
  std::map<std::string, std::string> directives;  // syntax, escape, check: lowercase names
  std::vector<Instruction> instructions;
};

// Every instruction is one we know, with its flags; FROM comes before all but ARG. kInvalidArgument "line:column: what is wrong".
Result<Dockerfile> parse_dockerfile(std::string_view text);

// The same error form for what is found wrong later.
Error error_at(const Instruction& at, std::string_view why);
// The instruction inside ONBUILD's arguments, by the same rules, at the line of the ONBUILD. No heredocs.
Result<Instruction> parse_trigger(std::string_view text, std::size_t line, char escape);

}  // namespace monopod::build
