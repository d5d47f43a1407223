#include "api/openapi/texts.h"

#include "base/log.h"
#include "base/strings.h"
#include "codec/compress.h"

namespace monopod::api::openapi {
namespace {

#include "api/openapi/texts.inc"

}  // namespace

Texts::Texts() {
  auto bytes = codec::decompress(codec::Compression::kGzip, std::string_view(kTexts, sizeof kTexts - 1));
  if (!bytes) {
    log::error("descriptions cannot be read", {{"error", bytes.error()}});
    return;
  }
  expanded_ = std::move(*bytes);
  std::string_view prefix;
  Entry* entry = nullptr;
  for (std::string_view line : split(std::string_view(expanded_), '\n')) {
    if (line == "*") {
      entry = &types_[""];
    } else if (line.starts_with('@')) {
      prefix = line.substr(1);
    } else if (line.starts_with(' ')) {
      std::size_t end = line.find_first_of(" {", 1);
      Text& text = entry->fields[line.substr(1, end - 1)];
      if (line[end] == '{') {
        std::size_t close = line.find('}', end);
        text.values = split(line.substr(end + 1, close - end - 1), ',');
        end = close + 1;
      }
      text.text = line.substr(end + 1);
    } else {
      std::size_t end = line.find(' ');
      std::string_view name = line.substr(0, end), base;
      if (std::size_t equals = name.find('='); equals != std::string_view::npos) {
        base = name.substr(equals + 1);
        name = name.substr(0, equals);
      }
      entry = &types_[cat(prefix, name)];
      if (!base.empty()) *entry = types_[cat(prefix, base)];
      entry->text = line.substr(end + 1);
    }
  }
}

const Texts::Entry* Texts::find(std::string_view type) const {
  auto found = types_.find(type);
  return found == types_.end() ? nullptr : &found->second;
}

std::string_view Texts::of(const Type& type) const {
  const Entry* entry = find(type.name());
  return entry == nullptr ? std::string_view() : entry->text;
}

const Texts::Text* Texts::of(const Type& type, std::string_view field) const {
  for (std::string_view name : {type.name(), std::string_view()})
    if (const Entry* entry = find(name))
      if (auto found = entry->fields.find(field); found != entry->fields.end()) return &found->second;
  return nullptr;
}

}  // namespace monopod::api::openapi
