#include <algorithm>

#include "api/selector/selector.h"
#include "base/strings.h"

namespace monopod::api {
namespace {

// Splits at commas that no backslash escapes.
std::vector<std::string_view> split_terms(std::string_view text) {
  std::vector<std::string_view> terms;
  if (text.empty()) return terms;
  std::size_t begin = 0;
  for (std::size_t i = 0; i <= text.size(); ++i) {
    if (i < text.size() && text[i] == '\\') {
      ++i;
      continue;
    }
    if (i >= text.size() || text[i] == ',') {
      terms.push_back(text.substr(begin, std::min(i, text.size()) - begin));
      begin = i + 1;
    }
  }
  return terms;
}

Result<std::string> unescape(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\') {
      if (i + 1 == text.size() || std::string_view("\\,=").find(text[i + 1]) == std::string_view::npos)
        return fail(Code::kInvalidArgument, cat("invalid field selector: invalid escape sequence in value: ", text));
      out += text[++i];
    } else if (text[i] == ',' || text[i] == '=') {
      return fail(Code::kInvalidArgument, cat("invalid field selector: unescaped character in value: ", text[i]));
    } else {
      out += text[i];
    }
  }
  return out;
}

std::string escape(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (c == '\\' || c == ',' || c == '=') out += '\\';
    out += c;
  }
  return out;
}

}  // namespace

bool FieldSelector::matches(const std::function<std::string(std::string_view field)>& value_of) const {
  return std::ranges::all_of(requirements_, [&](const FieldRequirement& r) { return (value_of(r.field) == r.value) == r.equal; });
}

const std::string* FieldSelector::find_equal(std::string_view field) const {
  for (const FieldRequirement& r : requirements_)
    if (r.equal && r.field == field) return &r.value;
  return nullptr;
}

std::string FieldSelector::format() const {
  std::vector<std::string> parts;
  for (const FieldRequirement& r : requirements_) parts.push_back(cat(r.field, r.equal ? "=" : "!=", escape(r.value)));
  return join(parts, ",");
}

Result<FieldSelector> parse_field_selector(std::string_view text) {
  std::vector<FieldRequirement> out;
  for (std::string_view term : split_terms(text)) {
    if (term.empty()) continue;
    std::size_t at = std::string_view::npos;
    for (std::size_t i = 0; i < term.size(); ++i) {
      if (term[i] == '\\') {
        ++i;
      } else if (term[i] == '=' || (term[i] == '!' && i + 1 < term.size() && term[i + 1] == '=')) {
        at = i;
        break;
      }
    }
    if (at == std::string_view::npos) return fail(Code::kInvalidArgument, cat("invalid selector: '", text, "'; can't understand '", term, "'"));
    bool equal = term[at] == '=';
    std::size_t op = !equal || (at + 1 < term.size() && term[at + 1] == '=') ? 2 : 1;
    TRY_ASSIGN(std::string value, unescape(term.substr(at + op)));
    // "a!=" and "a=" with no value name nothing to compare with, but stay legal as upstream.
    out.push_back({std::string(term.substr(0, at)), equal, std::move(value)});
  }
  return FieldSelector(std::move(out));
}

}  // namespace monopod::api
