#include "codec/yaml.h"

#include <yaml-cpp/anchor.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <cstdio>
#include <istream>
#include <streambuf>

#include "base/bytes.h"
#include "base/strings.h"
#include "base/utf8.h"
#include "codec/yaml_scalar.h"

namespace monopod::yaml {
namespace {

using json::Value;

constexpr std::size_t kTwiceMax = 100;

// Thrown through yaml-cpp's parser and caught in parse_all().
struct Failure {
  Error error;
};

[[noreturn]] void raise(const YAML::Mark& mark, std::string_view why) {
  throw Failure{Error(Code::kInvalidArgument, cat("yaml: line ", mark.line + 1, ", column ", mark.column + 1, ": ", why))};
}

std::string key_text(const YAML::Mark& mark, const Value& v) {
  if (v.is_string()) return std::string(v.get_string());
  if (v.is_null() || v.is_object() || v.is_array()) raise(mark, "a key must be a string, number or boolean");
  return json::format(v);
}

struct Node {
  Value value;
  std::size_t count = 1;  // nodes in it
  bool merge = false;     // the plain scalar "<<"
};

struct Frame {
  bool map = false;
  std::string tag{};  // a local one, which is kept
  YAML::anchor_t anchor = 0;
  YAML::Mark mark;
  Value value;
  std::size_t count = 1;
  std::optional<std::string> key;  // set: the next node is its value
  bool key_is_merge = false;
  std::vector<Value> merges;
};

class Builder final : public YAML::EventHandler {
 public:
  // twice: where keys that stand twice are noted; null: they are an error.
  Builder(const Limits& limits, std::vector<std::string>* twice) : limits_(limits), twice_(twice) {}

  std::vector<Value> documents;
  bool plain_text = false;  // plain scalars stay text, local tags are kept

  void OnDocumentStart(const YAML::Mark& mark) override {
    anchors_.clear();
    has_root_ = false;
    if (documents.size() >= limits_.documents_max) raise(mark, cat("more than ", limits_.documents_max, " documents"));
  }
  void OnDocumentEnd() override {
    if (has_root_) documents.push_back(std::move(root_));
  }
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override { complete(mark, anchor, Node{}); }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    auto found = anchors_.find(anchor);
    if (found == anchors_.end()) raise(mark, "an alias inside the node it names");
    spend(mark, found->second.count);
    complete(mark, 0, Node{found->second.value, found->second.count, false});
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, const std::string& text) override {
    Node node{scalar(mark, is_kept(tag) ? "?" : tag, text)};
    node.merge = tag == "?" && text == "<<";
    if (is_kept(tag)) node.value = boost::json::object{{tag, std::move(node.value)}};
    complete(mark, anchor, std::move(node));
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, YAML::EmitterStyle::value) override {
    push(mark, tag, anchor, false);
  }
  void OnSequenceEnd() override { pop(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, YAML::EmitterStyle::value) override {
    push(mark, tag, anchor, true);
  }
  void OnMapEnd() override { pop(); }

 private:
  void spend(const YAML::Mark& mark, std::size_t nodes) {
    if (nodes > limits_.alias_nodes_max - alias_nodes_) raise(mark, "aliases expand to too many nodes");
    alias_nodes_ += nodes;
  }

  Value scalar(const YAML::Mark& mark, const std::string& tag, const std::string& text) {
    static constexpr std::string_view kPrefix = "tag:yaml.org,2002:";
    if (tag == "?" || tag.empty()) {
      auto value = resolve_plain(text);
      if (plain_text && !(value && value->is_null())) return Value(text);
      if (!value) raise(mark, cat("\"", text, "\" has no JSON form"));
      return std::move(*value);
    }
    if (!std::string_view(tag).starts_with(kPrefix)) return Value(text);  // quoted, or a foreign tag
    std::string_view type = std::string_view(tag).substr(kPrefix.size());
    if (type == "binary") {
      std::string packed;
      for (char c : text)
        if (c != '\n' && c != ' ') packed += c;
      auto bytes = parse_base64(packed);
      if (!bytes) raise(mark, "!!binary is not base64");
      return Value(*bytes);
    }
    if (type != "int" && type != "float" && type != "bool" && type != "null") return Value(text);
    auto value = resolve_plain(text);
    bool fits = value && (type == "bool" ? value->is_bool() : type == "null" ? value->is_null() : type == "int" ? value->is_int64() || value->is_uint64() : value->is_number());
    if (!fits) raise(mark, cat("\"", text, "\" is not a !!", type));
    return std::move(*value);
  }

  bool is_kept(const std::string& tag) const { return plain_text && tag.size() > 1 && tag.starts_with('!'); }

  void push(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, bool map) {
    if (stack_.size() >= limits_.depth_max) raise(mark, cat("nested deeper than ", limits_.depth_max));
    Frame& frame = stack_.emplace_back();
    frame.map = map;
    if (is_kept(tag)) frame.tag = tag;
    frame.anchor = anchor;
    frame.mark = mark;
    if (map) frame.value = boost::json::object();
    else frame.value = boost::json::array();
  }

  void pop() {
    Frame frame = std::move(stack_.back());
    stack_.pop_back();
    if (!frame.merges.empty()) apply_merges(frame);
    if (!frame.tag.empty()) frame.value = boost::json::object{{frame.tag, std::move(frame.value)}};
    complete(frame.mark, frame.anchor, Node{std::move(frame.value), frame.count, false});
  }

  static void apply_merges(Frame& frame) {
    auto& object = frame.value.get_object();
    auto add = [&object, &frame](const Value& from) {
      if (!from.is_object()) raise(frame.mark, "a merge wants a map or a list of maps");
      for (const auto& item : from.get_object())
        if (!object.contains(item.key())) object.emplace(item.key(), item.value());
    };
    for (const Value& merge : frame.merges) {
      if (merge.is_array()) for (const Value& item : merge.get_array()) add(item);
      else add(merge);
    }
  }

  void complete(const YAML::Mark& mark, YAML::anchor_t anchor, Node node) {
    if (anchor != 0) {
      spend(mark, node.count);
      anchors_[anchor] = node;
    }
    if (stack_.empty()) {
      root_ = std::move(node.value);
      has_root_ = true;
      return;
    }
    Frame& frame = stack_.back();
    frame.count += node.count;
    if (!frame.map) {
      frame.value.get_array().push_back(std::move(node.value));
    } else if (!frame.key) {
      frame.key_is_merge = node.merge;
      frame.key = key_text(mark, node.value);
      if (!node.merge && frame.value.get_object().contains(*frame.key)) {
        std::string why = cat("key \"", *frame.key, "\" already set in map");
        if (twice_ == nullptr) raise(mark, why);
        if (twice_->size() < kTwiceMax) twice_->push_back(cat("line ", mark.line + 1, ": ", why));
      }
    } else {
      if (frame.key_is_merge) frame.merges.push_back(std::move(node.value));
      else frame.value.get_object().insert_or_assign(*frame.key, std::move(node.value));
      frame.key.reset();
    }
  }

  const Limits& limits_;
  std::vector<std::string>* twice_;
  std::vector<Frame> stack_;
  std::map<YAML::anchor_t, Node> anchors_;
  std::size_t alias_nodes_ = 0;
  Value root_;
  bool has_root_ = false;
};

class ViewBuffer final : public std::streambuf {
 public:
  explicit ViewBuffer(std::string_view text) {
    char* begin = const_cast<char*>(text.data());
    setg(begin, begin, begin + text.size());
  }
};

}  // namespace

namespace {

Result<std::vector<Value>> parse_documents(std::string_view text, const Limits& limits, std::vector<std::string>* twice, bool plain_text = false) {
  if (text.size() > limits.bytes_max)
    return fail(Code::kInvalidArgument, cat("yaml: ", text.size(), " bytes exceed the limit of ", limits.bytes_max));
  // What names its encoding by a mark is converted by the parser; all else is UTF-8, or JSON made of it would not be.
  bool marked = text.size() > 1 && (text.starts_with("\xfe\xff") || text.starts_with("\xff\xfe") || text.starts_with(std::string_view("\0\0\xfe\xff", 4)));
  if (!marked && !is_utf8(text)) return fail(Code::kInvalidArgument, "yaml: invalid UTF-8");
  Builder builder(limits, twice);
  builder.plain_text = plain_text;
  try {
    ViewBuffer buffer(text);
    std::istream stream(&buffer);
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(builder)) {
    }
  } catch (const Failure& failure) {
    return fail(failure.error);
  } catch (const YAML::Exception& e) {
    std::string where = e.mark.is_null() ? "" : cat("line ", e.mark.line + 1, ", column ", e.mark.column + 1, ": ");
    return fail(Code::kInvalidArgument, cat("yaml: ", where, e.msg));
  }
  std::erase_if(builder.documents, [](const Value& v) { return v.is_null(); });
  return std::move(builder.documents);
}

Result<Value> only_one(std::vector<Value> documents) {
  if (documents.empty()) return Value();
  if (documents.size() > 1) return fail(Code::kInvalidArgument, cat("yaml: ", documents.size(), " documents, want one"));
  return std::move(documents.front());
}

Result<Value> parse_one(std::string_view text, const Limits& limits, std::vector<std::string>* twice, json::Arena* arena = nullptr) {
  // JSON is YAML, and what clients send as YAML is mostly JSON: a tenth of the work.
  if (std::size_t first = text.find_first_not_of(" \t\r\n"); first != std::string_view::npos && text[first] == '{') {
    const json::ParseLimits json{.depth_max = limits.depth_max, .bytes_max = limits.bytes_max};
    if (auto tree = arena != nullptr ? json::parse_into(*arena, text, json) : json::parse(text, json)) return tree;
  }
  TRY_ASSIGN(std::vector<Value> documents, parse_documents(text, limits, twice));
  return only_one(std::move(documents));
}

}  // namespace

Result<std::vector<Value>> parse_all(std::string_view text, const Limits& limits) { return parse_documents(text, limits, nullptr); }
Result<Value> parse(std::string_view text, const Limits& limits) { return parse_one(text, limits, nullptr); }
Result<Value> parse_text(std::string_view text, const Limits& limits) {
  TRY_ASSIGN(std::vector<Value> documents, parse_documents(text, limits, nullptr, true));
  return only_one(std::move(documents));
}
Result<Value> parse_noting_twice(std::string_view text, std::vector<std::string>& twice, const Limits& limits, json::Arena* arena) { return parse_one(text, limits, &twice, arena); }

}  // namespace monopod::yaml
