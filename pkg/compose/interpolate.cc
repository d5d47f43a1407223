#include "compose/interpolate.h"

#include "base/strings.h"

namespace monopod::compose {
namespace {

constexpr std::size_t kTextBytesMax = 1U << 20;
constexpr int kDepthMax = 20;

bool starts_name(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool in_name(char c) { return starts_name(c) || (c >= '0' && c <= '9'); }

std::size_t name_length(std::string_view text) {
  if (text.empty() || !starts_name(text[0])) return 0;
  std::size_t n = 1;
  while (n < text.size() && in_name(text[n])) ++n;
  return n;
}

// Where the brace closes that text stands behind; npos where it does not.
std::size_t closing_brace(std::string_view text) {
  std::size_t depth = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '$' && i + 1 < text.size() && text[i + 1] == '{') ++depth, ++i;
    else if (text[i] == '}' && depth-- == 0) return i;
  }
  return std::string_view::npos;
}

class Interpolation {
 public:
  Interpolation(std::string_view whole, const FindVariable& find) : whole_(whole), find_(find) {}

  Result<std::string> fill(std::string_view text, int depth) {
    if (depth > kDepthMax) return invalid();
    std::string out;
    while (!text.empty()) {
      std::size_t dollar = text.find('$');
      out += text.substr(0, dollar);
      if (dollar == std::string_view::npos) break;
      text.remove_prefix(dollar + 1);
      if (text.starts_with('$')) {
        out += '$';
        text.remove_prefix(1);
      } else if (text.starts_with('{')) {
        std::size_t end = closing_brace(text.substr(1));
        if (end == std::string_view::npos) return invalid();
        TRY_ASSIGN(std::string value, braced(text.substr(1, end), depth));
        out += value;
        text.remove_prefix(end + 2);
      } else {
        std::size_t n = name_length(text);
        if (n == 0) return invalid();
        out += find_(text.substr(0, n)).value_or("");
        text.remove_prefix(n);
      }
      if (out.size() > kTextBytesMax) return fail(Code::kResourceExhausted, "variables expand to more than 1 MiB");
    }
    return out;
  }

 private:
  std::unexpected<Error> invalid() const { return fail(Code::kInvalidArgument, cat("invalid interpolation format for \"", whole_.substr(0, 200), "\": want $NAME, ${NAME} or $$")); }

  // NAME, NAME:-word and so on.
  Result<std::string> braced(std::string_view text, int depth) {
    std::size_t n = name_length(text);
    if (n == 0) return invalid();
    std::string_view name = text.substr(0, n), rest = text.substr(n);
    std::optional<std::string> value = find_(name);
    if (rest.empty()) return value.value_or("");
    if (rest.starts_with(':')) {  // empty is as good as not set
      rest.remove_prefix(1);
      if (value && value->empty()) value.reset();
    }
    if (rest.empty()) return invalid();
    char kind = rest[0];
    std::string_view word = rest.substr(1);
    if (kind == '-') return value ? *value : fill(word, depth + 1);
    if (kind == '+') return value ? fill(word, depth + 1) : std::string();
    if (kind != '?') return invalid();
    if (value) return *value;
    TRY_ASSIGN(std::string why, fill(word, depth + 1));
    return fail(Code::kInvalidArgument, cat("required variable ", name, " is missing a value", why.empty() ? "" : ": ", why));
  }

  std::string_view whole_;
  const FindVariable& find_;
};

Result<> walk(json::Value& at, const FindVariable& find, const std::string& place) {
  if (at.is_string()) {
    auto filled = interpolate(at.get_string(), find);
    if (!filled) return fail(std::move(filled).error().with(place));
    at = *filled;
  } else if (at.is_object()) {
    for (auto& [key, value] : at.get_object()) TRY(walk(value, find, cat(place, place.empty() ? "" : ".", std::string_view(key))));
  } else if (at.is_array()) {
    for (json::Value& value : at.get_array()) TRY(walk(value, find, place));
  }
  return {};
}

// Takes a quoted value off text, which begins behind its quote.
Result<std::string> take_quoted(std::string_view& text, char quote, const FindVariable& find) {
  std::string raw;
  for (std::size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == quote) {
      text.remove_prefix(i + 1);
      return quote == '"' ? interpolate(raw, find) : Result<std::string>(std::move(raw));
    }
    if (c == '\\' && quote == '"' && i + 1 < text.size()) {
      char next = text[++i];
      if (next == '$') raw += "$$";
      else raw += next == 'n' ? '\n' : next == 't' ? '\t' : next == 'r' ? '\r' : next;
    } else {
      raw += c;
    }
  }
  return fail(Code::kInvalidArgument, "unterminated quoted value");
}

}  // namespace

Result<std::string> interpolate(std::string_view text, const FindVariable& find) { return Interpolation(text, find).fill(text, 0); }
Result<> interpolate_all(json::Value& tree, const FindVariable& find) { return walk(tree, find, ""); }

Result<std::map<std::string, std::string>> parse_dotenv(std::string_view text, const FindVariable& find) {
  std::map<std::string, std::string> out;
  FindVariable known = [&](std::string_view name) -> std::optional<std::string> {
    if (auto own = find(name)) return own;
    auto above = out.find(std::string(name));
    return above == out.end() ? std::nullopt : std::optional(above->second);
  };
  std::size_t number = 0;
  while (!text.empty()) {
    ++number;
    std::size_t end = text.find('\n');
    std::string_view line = trim(text.substr(0, end));
    std::string_view after = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    if (line.empty() || line.starts_with('#')) {
      text = after;
      continue;
    }
    if (line.starts_with("export ")) line = trim(line.substr(7));
    auto [name, value] = split_once(line, '=');
    name = trim(name);
    auto wrong = [&](std::string_view why) { return fail(Code::kInvalidArgument, cat("line ", number, ": ", why)); };
    if (!value || name_length(name) == 0 || name.find_first_of(" \t") != std::string_view::npos) return wrong("want NAME=value");
    std::string_view rest = trim(*value);
    if (rest.starts_with('\'') || rest.starts_with('"')) {  // may go over several lines
      std::string_view quoted(rest.data() + 1, static_cast<std::size_t>(text.data() + text.size() - rest.data() - 1));
      auto taken = take_quoted(quoted, rest[0], known);
      if (!taken) return wrong(taken.error().message());
      out[std::string(name)] = *taken;
      std::size_t next = quoted.find('\n');
      text = next == std::string_view::npos ? std::string_view() : quoted.substr(next + 1);
      continue;
    }
    if (std::size_t comment = rest.find(" #"); comment != std::string_view::npos) rest = trim(rest.substr(0, comment));
    auto filled = interpolate(rest, known);
    if (!filled) return wrong(filled.error().message());
    out[std::string(name)] = *filled;
    text = after;
  }
  return out;
}

}  // namespace monopod::compose
