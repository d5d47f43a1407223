#include "codec/yaml_position.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <istream>
#include <streambuf>
#include <string>
#include <vector>

#include "base/strings.h"

namespace monopod::yaml {
namespace {

// Follows the parser's events and keeps the line of the longest part of the path that it met.
class Finder final : public YAML::EventHandler {
 public:
  explicit Finder(std::string_view path) : path_(path) {}
  std::optional<std::size_t> line;

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t) override { scalar(mark, ""); }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override { scalar(mark, ""); }
  void OnScalar(const YAML::Mark& mark, const std::string&, YAML::anchor_t, const std::string& text) override { scalar(mark, text); }
  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override { open(mark, false); }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override { open(mark, true); }
  void OnMapEnd() override { close(); }

 private:
  struct Frame {
    bool map;
    bool in_value = false;
    std::size_t index = 0;
    std::string path;  // of this node
  };

  // The path of the node that begins now.
  std::string here() const {
    if (frames_.empty()) return {};
    const Frame& top = frames_.back();
    if (top.map) return top.path.empty() ? key_ : cat(top.path, ".", key_);
    return cat(top.path, "[", top.index, "]");
  }
  void note(const YAML::Mark& mark, const std::string& at) {
    bool part = at.empty() || (path_.starts_with(at) && (path_.size() == at.size() || path_[at.size()] == '.' || path_[at.size()] == '['));
    if (!part || (line && at.size() < best_)) return;
    best_ = at.size();
    line = static_cast<std::size_t>(mark.line + 1);
  }
  void done() {
    if (frames_.empty()) return;
    if (!frames_.back().map) ++frames_.back().index;
    frames_.back().in_value = false;
  }
  void scalar(const YAML::Mark& mark, const std::string& text) {
    if (!frames_.empty() && frames_.back().map && !frames_.back().in_value) {
      key_ = text;
      frames_.back().in_value = true;
      note(mark, here());
      return;
    }
    if (frames_.empty() || !frames_.back().map) note(mark, here());
    done();
  }
  void open(const YAML::Mark& mark, bool map) {
    if (frames_.size() > 100) throw YAML::ParserException(mark, "too deep");
    std::string at = here();
    if (frames_.empty() || !frames_.back().map) note(mark, at);
    frames_.push_back({.map = map, .path = std::move(at)});
  }
  void close() {
    frames_.pop_back();
    done();
  }

  std::string_view path_;
  std::size_t best_ = 0;
  std::string key_;
  std::vector<Frame> frames_;
};

class Reading final : public std::streambuf {
 public:
  explicit Reading(std::string_view text) {
    char* begin = const_cast<char*>(text.data());
    setg(begin, begin, begin + text.size());
  }
};

}  // namespace

std::optional<std::size_t> find_line(std::string_view text, std::string_view path) {
  Finder finder(path);
  try {
    Reading buffer(text);
    std::istream stream(&buffer);
    YAML::Parser parser(stream);
    parser.HandleNextDocument(finder);
  } catch (const YAML::Exception&) {
    return std::nullopt;
  }
  return finder.line;
}

}  // namespace monopod::yaml
