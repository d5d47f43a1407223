#include "api/crd/json_path.h"

#include "base/strings.h"

namespace monopod::api::crd {
namespace {

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Result<JsonPath> run() {
    if (text_.starts_with("{") && text_.ends_with("}")) text_ = text_.substr(1, text_.size() - 2);
    if (text_.starts_with("$")) ++at_;
    JsonPath out;
    while (at_ < text_.size()) {
      if (out.size() == kPathStepsMax) return bad("too many steps");
      PathStep step;
      if (take("..")) {
        step.kind = PathStep::kDescend;
        step.name = name();
        if (step.name.empty()) return bad("a name must follow ..");
      } else if (take(".")) {
        if (take("*")) step.kind = PathStep::kAll;
        else step.name = name();
        if (step.kind == PathStep::kMember && step.name.empty()) {
          if (at_ < text_.size() && text_[at_] == '[') continue;  // .[0]
          if (at_ == text_.size() && out.empty()) break;          // "." is the object
          return bad("empty member name");
        }
      } else if (take("[")) {
        TRY_ASSIGN(step, bracket());
      } else {
        return bad(cat("unexpected character ", text_.substr(at_, 1)));
      }
      out.push_back(std::move(step));
    }
    return out;
  }

 private:
  std::unexpected<Error> bad(std::string_view what) const { return fail(Code::kInvalidArgument, cat("json path ", text_, ": ", what)); }
  bool take(std::string_view expected) {
    if (!text_.substr(at_).starts_with(expected)) return false;
    at_ += expected.size();
    return true;
  }
  std::string name() {
    std::string out;
    while (at_ < text_.size() && std::string_view(".[]()=!<>&| ").find(text_[at_]) == std::string_view::npos) {
      if (text_[at_] == '\\' && at_ + 1 < text_.size()) ++at_;  // as kubectl's "kubernetes\.io"
      out += text_[at_++];
    }
    return out;
  }

  Result<PathStep> bracket() {
    PathStep step;
    std::size_t close = closing();
    if (close == std::string_view::npos) return bad("unterminated array");
    std::string_view inside = trim(text_.substr(at_, close - at_));
    at_ = close + 1;
    if (inside == "*") {
      step.kind = PathStep::kAll;
    } else if (inside.starts_with("?(") && inside.ends_with(")")) {
      return filter(inside.substr(2, inside.size() - 3));
    } else if (inside.size() >= 2 && (inside[0] == '\'' || inside[0] == '"') && inside.back() == inside[0]) {
      step.name = inside.substr(1, inside.size() - 2);
    } else if (auto index = parse_int<std::int64_t>(inside)) {
      step.kind = PathStep::kIndex;
      step.index = *index;
    } else {
      return bad(cat("cannot read [", inside, "]"));
    }
    return step;
  }

  // The bracket that ends this step; quoted ones are text.
  std::size_t closing() const {
    char quote = 0;
    for (std::size_t i = at_; i < text_.size(); ++i) {
      char c = text_[i];
      if (quote != 0) quote = c == quote ? '\0' : quote;
      else if (c == '\'' || c == '"') quote = c;
      else if (c == ']') return i;
    }
    return std::string_view::npos;
  }

  Result<PathStep> filter(std::string_view text) {
    PathStep step;
    step.kind = PathStep::kFilter;
    std::string_view left = text, right;
    for (std::string_view op : {"==", "!=", "<=", ">=", "<", ">"}) {
      std::size_t at = text.find(op);
      if (at == std::string_view::npos) continue;
      left = text.substr(0, at);
      right = trim(text.substr(at + op.size()));
      step.op = op;
      break;
    }
    left = trim(left);
    if (!left.starts_with("@")) return bad("a filter compares something of @");
    if (left.size() > 1) {
      TRY_ASSIGN(step.left, parse_simple_path(left.substr(1)));
    }
    if (step.op.empty()) return step;
    if (right.size() >= 2 && (right[0] == '\'' || right[0] == '"') && right.back() == right[0]) {
      step.right = right.substr(1, right.size() - 2);
    } else {
      auto value = json::parse(right);
      if (!value || value->is_structured()) return bad("a filter compares with a text or a number");
      step.right = std::move(*value);
    }
    return step;
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

bool compares(const json::Value& left, const std::string& op, const json::Value& right) {
  bool numbers = left.is_number() && right.is_number();
  double a = numbers ? left.to_number<double>() : 0, b = numbers ? right.to_number<double>() : 0;
  bool texts = left.is_string() && right.is_string();
  if (op == "==") return numbers ? a == b : left == right;
  if (op == "!=") return numbers ? a != b : left != right;
  if (!numbers && !texts) return false;
  int order = numbers ? (a < b ? -1 : a > b ? 1 : 0) : std::string_view(left.get_string()).compare(right.get_string());
  if (op == "<") return order < 0;
  if (op == "<=") return order <= 0;
  if (op == ">") return order > 0;
  return order >= 0;
}

void descend(const json::Value& value, const std::string& name, std::vector<const json::Value*>& out, std::size_t& visits) {
  if (out.size() >= kPathResultsMax || visits == 0) return;
  --visits;
  if (const json::Object* object = value.if_object()) {
    for (auto& m : *object) {
      if (std::string_view(m.key()) == name && out.size() < kPathResultsMax) out.push_back(&m.value());
      descend(m.value(), name, out, visits);
    }
  } else if (const json::Array* array = value.if_array()) {
    for (const json::Value& item : *array) descend(item, name, out, visits);
  }
}

void advance(const PathStep& step, const json::Value& value, std::vector<const json::Value*>& out, std::size_t& visits) {
  auto push = [&out](const json::Value* v) {
    if (v != nullptr && out.size() < kPathResultsMax) out.push_back(v);
  };
  const json::Object* object = value.if_object();
  const json::Array* array = value.if_array();
  switch (step.kind) {
    case PathStep::kMember:
      if (object != nullptr) push(object->if_contains(step.name));
      break;
    case PathStep::kIndex: {
      if (array == nullptr) break;
      std::int64_t size = static_cast<std::int64_t>(array->size()), index = step.index < 0 ? size + step.index : step.index;
      if (index >= 0 && index < size) push(&(*array)[static_cast<std::size_t>(index)]);
      break;
    }
    case PathStep::kAll:
      if (array != nullptr)
        for (const json::Value& item : *array) push(&item);
      if (object != nullptr)
        for (auto& m : *object) push(&m.value());
      break;
    case PathStep::kFilter:
      if (array == nullptr) break;
      for (const json::Value& item : *array) {
        const json::Value* left = find_at(item, step.left);
        if (left != nullptr && (step.op.empty() || compares(*left, step.op, step.right))) push(&item);
      }
      break;
    case PathStep::kDescend: descend(value, step.name, out, visits); break;
  }
}

}  // namespace

Result<JsonPath> parse_json_path(std::string_view text) { return Parser(text).run(); }

std::vector<const json::Value*> evaluate(const JsonPath& path, const json::Value& root) {
  std::vector<const json::Value*> now{&root};
  std::size_t visits = kPathVisitsMax;
  for (const PathStep& step : path) {
    std::vector<const json::Value*> next;
    for (const json::Value* value : now) advance(step, *value, next, visits);
    now = std::move(next);
  }
  return now;
}

Result<std::vector<std::string>> parse_simple_path(std::string_view text) {
  if (!text.starts_with('.')) return fail(Code::kInvalidArgument, "must be a simple json path starting with .");
  std::vector<std::string> out;
  for (std::string_view name : split(text.substr(1), '.')) {
    if (name.empty() || name.find_first_of("[]*?()@'\"") != std::string_view::npos) return fail(Code::kInvalidArgument, "must be a json path in the dot notation");
    if (out.size() == kPathStepsMax) return fail(Code::kInvalidArgument, "has too many steps");
    out.emplace_back(name);
  }
  return out;
}

const json::Value* find_at(const json::Value& root, const std::vector<std::string>& path) {
  const json::Value* at = &root;
  for (const std::string& name : path) {
    const json::Object* object = at->if_object();
    at = object == nullptr ? nullptr : object->if_contains(name);
    if (at == nullptr) return nullptr;
  }
  return at;
}

}  // namespace monopod::api::crd
