#include <algorithm>
#include <set>

#include "api/kinds/names.h"
#include "api/selector/selector.h"
#include "base/strings.h"

namespace monopod::api {
namespace {

constexpr std::size_t kRequirementsMax = 4096;

enum class Token { kEnd, kIdentifier, kEquals, kDoubleEquals, kNotEquals, kGreater, kLess, kBang, kComma, kOpen, kClose, kIn, kNotIn };

// apimachinery labels.Lexer: words are runs without white space and special characters.
class Lexer {
 public:
  explicit Lexer(std::string_view text) : text_(text) { advance(); }
  Token token() const { return token_; }
  std::string_view literal() const { return literal_; }
  void advance() {
    while (at_ < text_.size() && space(text_[at_])) ++at_;
    std::size_t begin = at_;
    if (at_ >= text_.size()) return set(Token::kEnd, begin);
    char c = text_[at_];
    if (!special(c)) {
      while (at_ < text_.size() && !special(text_[at_]) && !space(text_[at_])) ++at_;
      set(Token::kIdentifier, begin);
      if (literal_ == "in") token_ = Token::kIn;
      if (literal_ == "notin") token_ = Token::kNotIn;
      return;
    }
    bool equals_next = at_ + 1 < text_.size() && text_[at_ + 1] == '=';
    ++at_;
    switch (c) {
      case ',': return set(Token::kComma, begin);
      case '(': return set(Token::kOpen, begin);
      case ')': return set(Token::kClose, begin);
      case '>': return set(Token::kGreater, begin);
      case '<': return set(Token::kLess, begin);
      case '=':
        if (equals_next) ++at_;
        return set(equals_next ? Token::kDoubleEquals : Token::kEquals, begin);
      default:  // '!'
        if (equals_next) ++at_;
        return set(equals_next ? Token::kNotEquals : Token::kBang, begin);
    }
  }

 private:
  static bool space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }
  static bool special(char c) { return std::string_view("=!(),><").find(c) != std::string_view::npos; }
  void set(Token token, std::size_t begin) {
    token_ = token;
    literal_ = text_.substr(begin, at_ - begin);
  }

  std::string_view text_;
  std::size_t at_ = 0;
  Token token_ = Token::kEnd;
  std::string_view literal_;
};

class Parser {
 public:
  explicit Parser(std::string_view text) : lexer_(text) {}

  Result<std::vector<LabelRequirement>> parse() {
    std::vector<LabelRequirement> out;
    if (lexer_.token() == Token::kEnd) return out;
    while (true) {
      switch (lexer_.token()) {
        case Token::kIdentifier:
        case Token::kIn:
        case Token::kNotIn:
        case Token::kBang: break;
        case Token::kEnd: return out;
        default: return found("!, identifier, or 'end of string'");
      }
      if (out.size() == kRequirementsMax) return fail(Code::kInvalidArgument, cat("label selector: more than ", kRequirementsMax, " requirements"));
      TRY_ASSIGN(LabelRequirement r, requirement());
      TRY(check(r));
      out.push_back(std::move(r));
      if (lexer_.token() == Token::kEnd) return out;
      if (lexer_.token() != Token::kComma) return found("',' or 'end of string'");
      lexer_.advance();
      Token next = lexer_.token();
      if (next != Token::kIdentifier && next != Token::kIn && next != Token::kNotIn && next != Token::kBang) return found("identifier after ','");
    }
  }

 private:
  std::unexpected<Error> found(std::string_view expected) {
    return fail(Code::kInvalidArgument, cat("unable to parse requirement: found '", lexer_.literal(), "', expected: ", expected));
  }
  bool word() const { return lexer_.token() == Token::kIdentifier || lexer_.token() == Token::kIn || lexer_.token() == Token::kNotIn; }

  Result<LabelRequirement> requirement() {
    LabelRequirement r;
    bool absent = lexer_.token() == Token::kBang;
    if (absent) lexer_.advance();
    if (!word()) return found("identifier");
    r.key = lexer_.literal();
    lexer_.advance();
    if (absent) {
      r.op = LabelOperator::kDoesNotExist;
      return r;
    }
    Token op = lexer_.token();
    if (op == Token::kEnd || op == Token::kComma) {
      r.op = LabelOperator::kExists;
      return r;
    }
    switch (op) {
      case Token::kEquals:
      case Token::kDoubleEquals: r.op = LabelOperator::kEquals; break;
      case Token::kNotEquals: r.op = LabelOperator::kNotEquals; break;
      case Token::kGreater: r.op = LabelOperator::kGreaterThan; break;
      case Token::kLess: r.op = LabelOperator::kLessThan; break;
      case Token::kIn: r.op = LabelOperator::kIn; break;
      case Token::kNotIn: r.op = LabelOperator::kNotIn; break;
      default: return found("in, notin, =, ==, !=, gt, lt");
    }
    lexer_.advance();
    if (r.op == LabelOperator::kIn || r.op == LabelOperator::kNotIn) {
      TRY(set(r));
    } else {
      std::string value;  // an empty value is legal: "a="
      if (word()) {
        value = lexer_.literal();
        lexer_.advance();
      } else if (lexer_.token() != Token::kEnd && lexer_.token() != Token::kComma) {
        return found("identifier");
      }
      r.values.push_back(std::move(value));
    }
    return r;
  }

  Result<> set(LabelRequirement& r) {
    if (lexer_.token() != Token::kOpen) return found("'('");
    lexer_.advance();
    std::set<std::string> values;
    bool need_value = true;
    while (true) {
      if (word()) {
        values.emplace(lexer_.literal());
        lexer_.advance();
        need_value = false;
        if (lexer_.token() == Token::kComma) {
          lexer_.advance();
          need_value = true;
        } else if (lexer_.token() != Token::kClose) {
          return found("',' or ')'");
        }
      } else if (lexer_.token() == Token::kComma) {
        values.emplace();
        lexer_.advance();
        need_value = true;
      } else if (lexer_.token() == Token::kClose) {
        if (need_value) values.emplace();
        lexer_.advance();
        break;
      } else {
        return found("',', ')' or identifier");
      }
    }
    r.values.assign(values.begin(), values.end());
    return {};
  }

  static Result<> check(const LabelRequirement& r) {
    auto bad = [](std::string_view what, std::string_view value, const std::string& detail) {
      return fail(Code::kInvalidArgument, cat(what, ": Invalid value: \"", value, "\": ", detail));
    };
    if (auto errors = check_qualified_name(r.key); !errors.empty()) return bad("key", r.key, join(errors, "; "));
    if (r.op == LabelOperator::kGreaterThan || r.op == LabelOperator::kLessThan) {
      if (!parse_int<std::int64_t>(r.values[0])) return fail(Code::kInvalidArgument, cat("values[0]: Invalid value: \"", r.values[0], "\": for 'Gt', 'Lt' operators, the value must be an integer"));
    }
    for (std::size_t i = 0; i < r.values.size(); ++i)
      if (auto errors = check_label_value(r.values[i]); !errors.empty()) return bad(cat("values[", i, "][", r.key, "]"), r.values[i], join(errors, "; "));
    return {};
  }

  Lexer lexer_;
};

bool holds(const LabelRequirement& r, const json::Value* value) {
  bool in = value != nullptr && value->is_string() &&
            std::ranges::any_of(r.values, [&](const std::string& v) { return v == std::string_view(value->get_string()); });
  switch (r.op) {
    case LabelOperator::kEquals:
    case LabelOperator::kIn: return in;
    case LabelOperator::kNotEquals:
    case LabelOperator::kNotIn: return !in;
    case LabelOperator::kExists: return value != nullptr;
    case LabelOperator::kDoesNotExist: return value == nullptr;
    case LabelOperator::kGreaterThan:
    case LabelOperator::kLessThan: {
      if (value == nullptr || !value->is_string()) return false;
      std::string_view text = value->get_string();
      auto have = parse_int<std::int64_t>(text);
      auto want = parse_int<std::int64_t>(r.values[0]);
      return have && want && (r.op == LabelOperator::kGreaterThan ? *have > *want : *have < *want);
    }
  }
  return false;
}

}  // namespace

bool LabelSelector::matches(const json::Object* labels) const {
  return std::ranges::all_of(requirements_, [&](const LabelRequirement& r) { return holds(r, labels == nullptr ? nullptr : labels->if_contains(r.key)); });
}

std::string LabelSelector::format() const {
  std::vector<std::string> parts;
  for (const LabelRequirement& r : requirements_) {
    switch (r.op) {
      case LabelOperator::kEquals: parts.push_back(cat(r.key, "=", r.values[0])); break;
      case LabelOperator::kNotEquals: parts.push_back(cat(r.key, "!=", r.values[0])); break;
      case LabelOperator::kIn: parts.push_back(cat(r.key, " in (", join(r.values, ","), ")")); break;
      case LabelOperator::kNotIn: parts.push_back(cat(r.key, " notin (", join(r.values, ","), ")")); break;
      case LabelOperator::kExists: parts.push_back(r.key); break;
      case LabelOperator::kDoesNotExist: parts.push_back("!" + r.key); break;
      case LabelOperator::kGreaterThan: parts.push_back(cat(r.key, ">", r.values[0])); break;
      case LabelOperator::kLessThan: parts.push_back(cat(r.key, "<", r.values[0])); break;
    }
  }
  return join(parts, ",");
}

Result<LabelSelector> parse_label_selector(std::string_view text) {
  TRY_ASSIGN(auto requirements, Parser(text).parse());
  std::ranges::sort(requirements, {}, &LabelRequirement::key);
  return LabelSelector(std::move(requirements));
}

Result<LabelSelector> make_label_selector(const json::Value& selector) {
  std::vector<LabelRequirement> out;
  if (const json::Object* labels = json::get_object(selector, {"matchLabels"}))
    for (auto& m : *labels)
      if (m.value().is_string()) out.push_back({std::string(m.key()), LabelOperator::kEquals, {std::string(m.value().get_string())}});
  if (const json::Array* expressions = json::get_array(selector, {"matchExpressions"})) {
    for (const json::Value& e : *expressions) {
      std::string_view op = json::get_string(e, {"operator"});
      LabelRequirement r{std::string(json::get_string(e, {"key"})), LabelOperator::kExists, {}};
      if (op == "In") r.op = LabelOperator::kIn;
      else if (op == "NotIn") r.op = LabelOperator::kNotIn;
      else if (op == "DoesNotExist") r.op = LabelOperator::kDoesNotExist;
      else if (op != "Exists") return fail(Code::kInvalidArgument, cat("\"", op, "\" is not a valid label selector operator"));
      if (const json::Array* values = json::get_array(e, {"values"}))
        for (const json::Value& v : *values)
          if (v.is_string()) r.values.emplace_back(v.get_string());
      if ((r.op == LabelOperator::kIn || r.op == LabelOperator::kNotIn) && r.values.empty())
        return fail(Code::kInvalidArgument, "values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty");
      std::ranges::sort(r.values);
      out.push_back(std::move(r));
    }
  }
  return LabelSelector(std::move(out));
}

bool map_selects(const json::Object* selector, const json::Object* labels) {
  if (selector == nullptr || selector->empty()) return false;
  return std::ranges::all_of(*selector, [&](const auto& m) {
    const json::Value* v = labels == nullptr ? nullptr : labels->if_contains(m.key());
    return v != nullptr && *v == m.value();
  });
}

}  // namespace monopod::api
