// Words of an instruction: quotes, escapes and variables, as BuildKit's Dockerfile front end takes them.
//   $name ${name}   ${name:-word} ${name-word}   ${name:+word} ${name+word}   ${name:?text} ${name?text}
//   ${name#pattern} ${name##pattern} ${name%pattern} ${name%%pattern}   ${name/pattern/word} ${name//pattern/word}
// Single quotes keep everything, double quotes keep spaces. A pattern has * and ?.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"

namespace monopod::build {

using FindVariable = std::function<std::optional<std::string>(std::string_view name)>;

struct WordOptions {
  char escape = '\\';
  bool keep_quotes = false;  // heredocs: quotes are text
};

// One word, spaces and all. kInvalidArgument says what is wrong with it.
Result<std::string> expand(std::string_view text, const FindVariable& find, const WordOptions& options = {});
// Split at spaces outside of quotes after the variables were put in: what an unquoted variable holds stays one word.
Result<std::vector<std::string>> expand_words(std::string_view text, const FindVariable& find, const WordOptions& options = {});
// The same without variables, quotes and escapes still in: for "a=1 b='x y'".
std::vector<std::string> split_words(std::string_view text, char escape);

// "KEY=value KEY2=value2", or the old "KEY all of the rest".
Result<std::vector<std::pair<std::string, std::string>>> expand_pairs(std::string_view text, const FindVariable& find, const WordOptions& options = {});

// * any run without '/', ? any one but '/', [a-z], \x: path/filepath.Match of Go. False for a malformed pattern.
bool matches_path(std::string_view pattern, std::string_view path);

}  // namespace monopod::build
