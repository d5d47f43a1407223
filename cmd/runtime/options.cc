#include "cmd/runtime/options.h"

#include <algorithm>

#include "base/strings.h"

namespace monopod::cmd {
namespace {

const RuntimeOption* find_option(std::span<const RuntimeOption> options, std::string_view name) {
  for (const RuntimeOption& option : options) {
    for (std::string_view one : split(option.names, ' ')) {
      if (one == name) return &option;
    }
  }
  return nullptr;
}

std::string_view first_name(const RuntimeOption& option) { return split_once(option.names, ' ').first; }

}  // namespace

Result<> RuntimeArguments::parse(std::span<const RuntimeOption> options, std::vector<std::string>& words, bool interleaved) {
  std::vector<std::string> rest;
  std::size_t i = 0;
  for (; i < words.size(); ++i) {
    std::string_view word = words[i];
    if (word == "--") {
      ++i;
      break;
    }
    if (word.size() < 2 || word[0] != '-' || (word[1] >= '0' && word[1] <= '9')) {
      if (!interleaved) break;
      rest.emplace_back(word);
      continue;
    }
    word.remove_prefix(word.starts_with("--") ? 2 : 1);
    auto [name, given] = split_once(word, '=');
    const RuntimeOption* option = find_option(options, name);
    if (option == nullptr) return fail(Code::kInvalidArgument, cat("unknown option ", words[i]));
    std::string text;
    if (option->kind == OptionKind::kFlag) {
      text = given.value_or("true");
      if (text != "true" && text != "false") return fail(Code::kInvalidArgument, cat("option --", name, ": \"", text, "\" is not true or false"));
    } else if (given) {
      text = *given;
    } else if (i + 1 < words.size()) {
      text = words[++i];
    } else {
      return fail(Code::kInvalidArgument, cat("option --", name, " needs a value"));
    }
    std::vector<std::string>& values = values_[std::string(first_name(*option))];
    if (option->kind != OptionKind::kList) values.clear();
    values.push_back(std::move(text));
  }
  rest.insert(rest.end(), words.begin() + static_cast<std::ptrdiff_t>(i), words.end());
  words = std::move(rest);
  return {};
}

bool RuntimeArguments::flag(std::string_view name) const { return value(name) == "true"; }

std::string RuntimeArguments::value(std::string_view name, std::string_view fallback) const {
  auto it = values_.find(name);
  return it == values_.end() ? std::string(fallback) : it->second.back();
}

const std::vector<std::string>& RuntimeArguments::list(std::string_view name) const {
  static const std::vector<std::string> none;
  auto it = values_.find(name);
  return it == values_.end() ? none : it->second;
}

Result<int> RuntimeArguments::number(std::string_view name, int fallback) const {
  if (!has(name)) return fallback;
  auto number = parse_int<int>(value(name));
  if (!number || *number < 0) return fail(Code::kInvalidArgument, cat("option --", name, ": \"", value(name), "\" is not a number"));
  return *number;
}

std::string format_option_help(std::span<const RuntimeOption> options) {
  std::string out;
  for (const RuntimeOption& option : options) {
    if (option.kind == OptionKind::kIgnored) continue;
    std::string names;
    for (std::string_view name : split(option.names, ' ')) names += cat(names.empty() ? "" : ", ", name.size() == 1 ? "-" : "--", name);
    if (option.kind != OptionKind::kFlag) names += " VALUE";
    names.resize(std::max<std::size_t>(names.size() + 1, 30), ' ');
    out += cat("  ", names, option.help, "\n");
  }
  return out;
}

}  // namespace monopod::cmd
