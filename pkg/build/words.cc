#include "build/words.h"

#include "base/strings.h"
#include "build/limits.h"
#include "build/wrong.h"

namespace monopod::build {
namespace {

bool is_name_start(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool is_name_char(char c) { return is_name_start(c) || (c >= '0' && c <= '9'); }

// * and ? over the whole text.
bool matches_glob(std::string_view pattern, std::string_view text) {
  std::size_t p = 0, t = 0, star = std::string_view::npos, mark = 0;
  while (t < text.size()) {
    bool escaped = p + 1 < pattern.size() && pattern[p] == '\\';
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      mark = t;
    } else if (p < pattern.size() && (escaped ? pattern[p + 1] == text[t] : pattern[p] == '?' || pattern[p] == text[t])) {
      p += escaped ? 2 : 1;
      ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++mark;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

std::string strip(std::string value, std::string_view pattern, bool prefix, bool longest) {
  std::size_t n = value.size();
  for (std::size_t i = 0; i <= n; ++i) {
    std::size_t size = longest ? n - i : i;
    std::string_view part = prefix ? std::string_view(value).substr(0, size) : std::string_view(value).substr(n - size);
    if (matches_glob(pattern, part)) return prefix ? value.substr(size) : value.substr(0, n - size);
  }
  return value;
}

// Each longest match, from the left; an empty one replaces nothing.
Result<std::string> replace(const std::string& value, std::string_view pattern, std::string_view by, bool all) {
  std::string out;
  std::size_t at = 0;
  for (bool done = false; at < value.size();) {
    std::size_t size = 0;
    if (!done)
      for (std::size_t n = value.size() - at; n > 0 && size == 0; --n)
        if (matches_glob(pattern, std::string_view(value).substr(at, n))) size = n;
    if (size == 0) {
      out += value[at++];
      continue;
    }
    out += by;
    at += size;
    done = !all;
    if (out.size() > kExpandedBytesMax) return wrong("the value grows beyond all bounds");
  }
  return out;
}

class Expander {
 public:
  Expander(std::string_view text, const FindVariable& find, const WordOptions& options, std::size_t depth = 0) : text_(text), find_(find), options_(options), depth_(depth) {}

  Result<std::vector<std::string>> run(bool split_at_spaces) {
    std::vector<std::string> out;
    std::string word;
    bool begun = false;  // '' is a word
    while (at_ < text_.size()) {
      char c = text_[at_];
      if (split_at_spaces && (c == ' ' || c == '\t')) {
        ++at_;
        if (begun) out.push_back(std::exchange(word, {}));
        begun = false;
        continue;
      }
      begun = true;
      if (c == '\'' && !options_.keep_quotes) TRY(single_quotes(word));
      else if (c == '"' && !options_.keep_quotes) TRY(double_quotes(word));
      else if (c == '$') TRY(dollar(word));
      else if (c == options_.escape && at_ + 1 < text_.size() && (!options_.keep_quotes || text_[at_ + 1] == '$' || text_[at_ + 1] == options_.escape)) {
        word += text_[at_ + 1];
        at_ += 2;
      } else {
        word += c;
        ++at_;
      }
      if (word.size() > kExpandedBytesMax) return wrong("the value grows beyond all bounds");
    }
    if (begun || !split_at_spaces) out.push_back(std::move(word));
    return out;
  }

 private:
  Result<> single_quotes(std::string& word) {
    std::size_t end = text_.find('\'', at_ + 1);
    if (end == std::string_view::npos) return wrong("unexpected end of statement while looking for matching single-quote");
    word += text_.substr(at_ + 1, end - at_ - 1);
    at_ = end + 1;
    return {};
  }

  Result<> double_quotes(std::string& word) {
    ++at_;
    while (at_ < text_.size() && text_[at_] != '"') {
      char c = text_[at_];
      if (c == '$') {
        TRY(dollar(word));
      } else if (c == options_.escape && at_ + 1 < text_.size() && (text_[at_ + 1] == '"' || text_[at_ + 1] == '$' || text_[at_ + 1] == options_.escape)) {
        word += text_[at_ + 1];
        at_ += 2;
      } else {
        word += c;
        ++at_;
      }
    }
    if (at_ == text_.size()) return wrong("unexpected end of statement while looking for matching double-quote");
    ++at_;
    return {};
  }

  Result<> dollar(std::string& word) {
    ++at_;
    if (at_ < text_.size() && text_[at_] == '{') return braces(word);
    std::size_t end = at_;
    if (end < text_.size() && is_name_start(text_[end]))
      while (end < text_.size() && is_name_char(text_[end])) ++end;
    if (end == at_) {
      word += '$';  // nothing that could be a name
      return {};
    }
    word += find_(text_.substr(at_, end - at_)).value_or("");
    at_ = end;
    return {};
  }

  // Up to the end character that is not in quotes, escaped, or inside of an inner ${}.
  Result<std::string_view> take_until(std::string_view ends) {
    std::size_t start = at_;
    int depth = 0;
    char quote = 0;
    for (; at_ < text_.size(); ++at_) {
      char c = text_[at_];
      if (c == options_.escape && quote != '\'') {
        ++at_;
        continue;
      }
      if (quote != 0) {
        if (c == quote) quote = 0;
        continue;
      }
      if (c == '\'' || c == '"') quote = c;
      else if (c == '$' && at_ + 1 < text_.size() && text_[at_ + 1] == '{') {
        ++depth;
        ++at_;
      } else if (c == '}' && depth > 0) {
        --depth;
      } else if (depth == 0 && ends.find(c) != std::string_view::npos) {
        return text_.substr(start, at_ - start);
      }
    }
    return wrong("unexpected end of statement while looking for a matching '}'");
  }

  Result<std::string> inner(std::string_view text) {
    if (depth_ >= kExpansionDepthMax) return wrong("variables are nested too deep");
    TRY_ASSIGN(std::vector<std::string> out, Expander(text, find_, options_, depth_ + 1).run(false));
    return std::move(out.front());
  }

  Result<> braces(std::string& word) {
    std::size_t start = ++at_;
    if (at_ < text_.size() && is_name_start(text_[at_]))
      while (at_ < text_.size() && is_name_char(text_[at_])) ++at_;
    std::string_view name = text_.substr(start, at_ - start);
    if (name.empty()) return wrong("bad substitution: no name after ${");
    std::optional<std::string> value = find_(name);
    if (at_ == text_.size()) return wrong("unexpected end of statement while looking for a matching '}'");
    if (text_[at_] == '}') {
      ++at_;
      word += value.value_or("");
      return {};
    }
    const bool colon = text_[at_] == ':';
    if (colon) ++at_;
    char operation = at_ < text_.size() ? text_[at_++] : '\0';
    const bool set = value && !(colon && value->empty());
    const bool twice = !colon && at_ < text_.size() && text_[at_] == operation && (operation == '#' || operation == '%' || operation == '/');
    if (twice) ++at_;
    if (colon && operation != '-' && operation != '+' && operation != '?') return wrong(cat("unsupported modifier (:", std::string(1, operation), ") in substitution"));
    std::string pattern;
    bool has_word = true;
    if (operation == '/') {
      TRY_ASSIGN(std::string_view raw, take_until("/}"));
      TRY_ASSIGN(pattern, inner(raw));
      has_word = text_[at_] == '/';
      if (has_word) ++at_;
    }
    std::string argument;
    if (has_word) {
      TRY_ASSIGN(std::string_view raw, take_until("}"));
      TRY_ASSIGN(argument, inner(raw));
    }
    ++at_;  // '}'
    switch (operation) {
      case '-':
        word += set ? *value : argument;
        return {};
      case '+':
        word += set ? argument : "";
        return {};
      case '?':
        if (!set) return wrong(cat(name, ": ", argument.empty() ? "not allowed to be unset" : argument));
        word += *value;
        return {};
      case '#':
      case '%':
        word += strip(value.value_or(""), argument, operation == '#', twice);
        return {};
      case '/': {
        TRY_ASSIGN(std::string replaced, replace(value.value_or(""), pattern, argument, twice));
        word += replaced;
        return {};
      }
      default:
        return wrong(cat("unsupported modifier (", std::string(1, operation), ") in substitution"));
    }
  }

  std::string_view text_;
  std::size_t at_ = 0;
  const FindVariable& find_;
  const WordOptions& options_;
  std::size_t depth_;
};

}  // namespace

Result<std::string> expand(std::string_view text, const FindVariable& find, const WordOptions& options) {
  TRY_ASSIGN(std::vector<std::string> out, Expander(text, find, options).run(false));
  return std::move(out.front());
}

Result<std::vector<std::string>> expand_words(std::string_view text, const FindVariable& find, const WordOptions& options) { return Expander(text, find, options).run(true); }

std::vector<std::string> split_words(std::string_view text, char escape) {
  std::vector<std::string> out;
  std::string word;
  char quote = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (quote == 0 && (c == ' ' || c == '\t')) {
      if (!word.empty()) out.push_back(std::exchange(word, {}));
      continue;
    }
    word += c;
    if (c == escape && quote != '\'' && i + 1 < text.size()) word += text[++i];
    else if (quote == 0 && (c == '"' || c == '\'')) quote = c;
    else if (c == quote) quote = 0;
  }
  if (!word.empty()) out.push_back(std::move(word));
  return out;
}

Result<std::vector<std::pair<std::string, std::string>>> expand_pairs(std::string_view text, const FindVariable& find, const WordOptions& options) {
  std::vector<std::pair<std::string, std::string>> out;
  std::vector<std::string> words = split_words(text, options.escape);
  if (words.empty()) return wrong("want KEY=value");
  if (words.front().find('=') == std::string::npos) {  // KEY all of the rest
    std::string_view rest = text.substr(text.find_first_not_of(" \t"));  // begins with the first word, as it stands
    rest.remove_prefix(words.front().size());
    if (trim(rest).empty()) return wrong(cat(words.front(), " must have two arguments"));
    TRY_ASSIGN(std::string key, expand(words.front(), find, options));
    TRY_ASSIGN(std::string value, expand(trim(rest), find, options));
    out.emplace_back(std::move(key), std::move(value));
    return out;
  }
  for (const std::string& word : words) {
    std::size_t equals = word.find('=');
    if (equals == std::string::npos || equals == 0) return wrong(cat("can't find = in \"", word.substr(0, 100), "\": want KEY=value"));
    TRY_ASSIGN(std::string key, expand(std::string_view(word).substr(0, equals), find, options));
    TRY_ASSIGN(std::string value, expand(std::string_view(word).substr(equals + 1), find, options));
    out.emplace_back(std::move(key), std::move(value));
  }
  return out;
}

bool matches_path(std::string_view pattern, std::string_view path) {
  // Backtracks over one '*' at a time, within a component.
  std::size_t p = 0, t = 0, star = std::string_view::npos, mark = 0;
  auto one = [&](std::size_t& at) -> bool {  // the pattern's next item against path[t]
    char c = pattern[at];
    if (c == '?') {
      ++at;
      return path[t] != '/';
    }
    if (c == '[') {
      std::size_t i = at + 1;
      bool negated = i < pattern.size() && pattern[i] == '^';
      if (negated) ++i;
      bool hit = false;
      for (bool first = true; i < pattern.size() && (first || pattern[i] != ']'); first = false) {
        char low = pattern[i] == '\\' && i + 1 < pattern.size() ? pattern[++i] : pattern[i];
        char high = low;
        if (i + 2 < pattern.size() && pattern[i + 1] == '-' && pattern[i + 2] != ']') {
          i += 2;
          high = pattern[i] == '\\' && i + 1 < pattern.size() ? pattern[++i] : pattern[i];
        }
        hit = hit || (path[t] >= low && path[t] <= high);
        ++i;
      }
      if (i >= pattern.size()) return false;
      at = i + 1;
      return hit != negated && path[t] != '/';
    }
    if (c == '\\' && at + 1 < pattern.size()) ++at;
    return pattern[at++] == path[t];
  };
  while (t < path.size()) {
    std::size_t at = p;
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      mark = t;
    } else if (p < pattern.size() && one(at)) {
      p = at;
      ++t;
    } else if (star != std::string_view::npos && path[mark] != '/') {
      p = star + 1;
      t = ++mark;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

}  // namespace monopod::build
