#include "build/dockerfile.h"

#include <algorithm>
#include <optional>

#include "base/strings.h"
#include "build/limits.h"
#include "codec/json.h"

namespace monopod::build {
namespace {

struct Known {
  std::string_view name, flags;  // flags: space-separated
  bool heredocs = false;
  bool json = false;
};

constexpr Known kKnown[] = {
    {"ADD", "chown chmod link checksum exclude unpack keep-git-dir", true, true},
    {"ARG", ""},
    {"CMD", "", false, true},
    {"COPY", "from chown chmod link exclude parents", true, true},
    {"ENTRYPOINT", "", false, true},
    {"ENV", ""},
    {"EXPOSE", ""},
    {"FROM", "platform"},
    {"HEALTHCHECK", "interval timeout start-period start-interval retries"},
    {"LABEL", ""},
    {"MAINTAINER", ""},
    {"ONBUILD", ""},
    {"RUN", "mount network security", true, true},
    {"SHELL", "", false, true},
    {"STOPSIGNAL", ""},
    {"USER", ""},
    {"VOLUME", "", false, true},
    {"WORKDIR", ""},
};

const Known* find_known(std::string_view name) {
  for (const Known& known : kKnown)
    if (known.name == name) return &known;
  return nullptr;
}

std::unexpected<Error> wrong_at(std::size_t line, std::size_t column, std::string_view why) { return fail(Code::kInvalidArgument, cat(line, ":", column, ": ", why)); }

std::string_view trim_left(std::string_view text) {
  std::size_t at = text.find_first_not_of(" \t");
  return at == std::string_view::npos ? std::string_view() : text.substr(at);
}
std::string_view trim_right(std::string_view text) { return text.substr(0, text.find_last_not_of(" \t\r") + 1); }

bool is_name(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.'; });
}

class Parser {
 public:
  explicit Parser(std::string_view text) {
    if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
    if (text.ends_with('\n')) text.remove_suffix(1);
    for (std::string_view line : split(text, '\n')) lines_.push_back(line.ends_with('\r') ? line.substr(0, line.size() - 1) : line);
  }

  Result<Dockerfile> parse() {
    TRY(read_directives());
    bool stage = false;
    while (at_ < lines_.size()) {
      std::string_view line = trim_left(lines_[at_]);
      if (line.empty() || line.front() == '#') {
        ++at_;
        continue;
      }
      TRY_ASSIGN(Instruction instruction, read_instruction());
      if (instruction.name == "FROM") stage = true;
      else if (!stage && instruction.name != "ARG") return fail(error_at(instruction, cat("no build stage in current context: ", instruction.name, " before the first FROM")));
      out_.instructions.push_back(std::move(instruction));
      if (out_.instructions.size() > kInstructionsMax) return fail(Code::kResourceExhausted, cat("more than ", kInstructionsMax, " instructions"));
    }
    if (!stage) return fail(Code::kInvalidArgument, "the Dockerfile has no FROM");
    return std::move(out_);
  }

 private:
  // "# name=value" lines at the very top.
  Result<> read_directives() {
    for (; at_ < lines_.size(); ++at_) {
      std::string_view line = trim_left(lines_[at_]);
      if (!line.starts_with('#')) return {};
      auto [name, value] = split_once(line.substr(1), '=');
      std::string key = to_lower(trim(name));
      if (!value || (key != "syntax" && key != "escape" && key != "check")) return {};
      if (out_.directives.contains(key)) return wrong_at(at_ + 1, 1, cat("only one ", key, " parser directive can be used"));
      std::string_view text = trim(*value);
      if (key == "escape") {
        if (text != "\\" && text != "`") return wrong_at(at_ + 1, 1, cat("invalid escape token '", text.substr(0, 20), "' does not match ` or \\"));
        out_.escape = text.front();
      }
      // A front end of its own would read the rest; mirrors of Docker's are known by their name.
      if (key == "syntax" && text.find("dockerfile") == std::string_view::npos) return wrong_at(at_ + 1, 1, cat("syntax=", text.substr(0, 200), " is not supported: Dockerfiles are read by this builder alone"));
      out_.directives.emplace(std::move(key), text);
    }
    return {};
  }

  // The instruction's lines as one; at_ ends behind them.
  std::string join_lines() {
    std::string out;
    for (bool first = true; at_ < lines_.size(); first = false) {
      std::string_view line = lines_[at_];
      std::string_view bare = trim_left(line);
      if (!first && (bare.empty() || bare.front() == '#')) {  // inside a continuation: as if it were not there
        ++at_;
        continue;
      }
      ++at_;
      std::string_view end = trim_right(line);
      if (end.empty() || end.back() != out_.escape) {
        out += line;
        return out;
      }
      out += end.substr(0, end.size() - 1);
    }
    return out;
  }

  Result<Instruction> read_instruction() {
    Instruction out;
    out.line = at_ + 1;
    out.column = lines_[at_].size() - trim_left(lines_[at_]).size() + 1;
    std::string joined = join_lines();
    std::string_view text = trim(joined);
    out.source = std::string(text);
    TRY(split_instruction(text, out, out_.escape));
    const Known& known = *find_known(out.name);
    if (known.heredocs) TRY(read_heredocs(out));
    return finish(std::move(out), known);
  }

 public:
  static Result<> split_instruction(std::string_view text, Instruction& out, char escape) {
    std::size_t end = std::min(text.find_first_of(" \t"), text.size());
    for (char c : text.substr(0, end)) out.name += c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
    const Known* known = find_known(out.name);
    if (known == nullptr) return fail(error_at(out, cat("unknown instruction: ", text.substr(0, std::min<std::size_t>(end, 50)))));
    std::string_view rest = trim(text.substr(end));
    while (rest.starts_with("--") && !known->flags.empty()) {
      std::string word;
      std::size_t at = 0;
      char quote = 0;
      for (; at < rest.size() && (quote != 0 || (rest[at] != ' ' && rest[at] != '\t')); ++at) {
        if (quote == 0 && (rest[at] == '"' || rest[at] == '\'')) quote = rest[at];
        else if (rest[at] == quote) quote = 0;
        else if (rest[at] == escape && at + 1 < rest.size() && quote != '\'') word += rest[++at];
        else word += rest[at];
      }
      rest = trim_left(rest.substr(at));
      if (word == "--") break;
      auto [name, value] = split_once(std::string_view(word).substr(2), '=');
      std::vector<std::string_view> allowed = split(known->flags, ' ');
      if (std::ranges::find(allowed, name) == allowed.end()) return fail(error_at(out, cat("unknown flag: --", name.substr(0, 50))));
      out.flags.push_back({.name = std::string(name), .value = std::string(value.value_or("")), .has_value = value.has_value()});
    }
    out.arguments = std::string(rest);
    return {};
  }

  static Result<Instruction> finish(Instruction out, const Known& known) {
    if (out.arguments.empty() && out.name != "CMD" && out.name != "ENTRYPOINT") return fail(error_at(out, cat(out.name, " requires at least one argument")));
    if (!known.json || !out.arguments.starts_with('[')) {
      if (out.name == "SHELL") return fail(error_at(out, "SHELL requires the arguments to be in JSON form"));
      return out;
    }
    // What is no list of strings is meant for the shell ("[ -f x ]").
    auto value = json::parse(out.arguments);
    const json::Array* list = value ? value->if_array() : nullptr;
    if (list == nullptr || !std::ranges::all_of(*list, [](const json::Value& item) { return item.is_string(); })) {
      if (out.name == "SHELL") return fail(error_at(out, "SHELL requires the arguments to be in JSON form"));
      return out;
    }
    out.is_json = true;
    for (const json::Value& item : *list) out.words.emplace_back(item.get_string());
    return out;
  }

 private:
  // Names in the order in which they stand; their contents follow the instruction's last line.
  Result<> read_heredocs(Instruction& out) {
    std::string_view text = out.arguments;
    if (text.starts_with('[')) return {};
    char quote = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
      if (text[i] == out_.escape && quote != '\'') {
        ++i;
        continue;
      }
      if (quote != 0 ? text[i] == quote : text[i] == '"' || text[i] == '\'') quote = quote == 0 ? text[i] : '\0';
      if (quote != 0 || text.substr(i, 2) != "<<") continue;
      if (text.substr(i, 3) == "<<<") {  // a here-string of the shell's
        i += 2;
        continue;
      }
      // "<<" stands at the start of a word, or behind a descriptor's number.
      std::size_t at = i + 2;
      bool strip = at < text.size() && text[at] == '-';
      if (strip) ++at;
      char mark = at < text.size() && (text[at] == '"' || text[at] == '\'') ? text[at] : '\0';
      if (mark != 0) ++at;
      std::size_t end = mark != 0 ? text.find(mark, at) : text.find_first_of(" \t;&|<>()\"'", at);
      if (mark != 0 && end == std::string_view::npos) continue;
      end = std::min(end, text.size());
      std::string name(text.substr(at, end - at));
      if (!is_name(name)) continue;
      i = mark != 0 ? end : end - 1;
      TRY_ASSIGN(Heredoc doc, read_heredoc(out, std::move(name), strip));
      doc.expand = mark == 0;
      out.heredocs.push_back(std::move(doc));
    }
    return {};
  }

  Result<Heredoc> read_heredoc(const Instruction& out, std::string name, bool strip) {
    Heredoc doc{.name = std::move(name), .content = {}};
    for (; at_ < lines_.size(); ++at_) {
      std::string_view line = lines_[at_];
      if (strip) line = line.substr(std::min(line.find_first_not_of('\t'), line.size()));
      if (line == doc.name) {
        ++at_;
        return doc;
      }
      doc.content += cat(line, "\n");
    }
    return fail(error_at(out, cat("unterminated heredoc ", doc.name)));
  }

  std::vector<std::string_view> lines_;
  std::size_t at_ = 0;
  Dockerfile out_;
};

}  // namespace

const Flag* Instruction::find_flag(std::string_view flag) const {
  auto found = std::ranges::find(flags, flag, &Flag::name);
  return found == flags.end() ? nullptr : &*found;
}

Error error_at(const Instruction& at, std::string_view why) { return Error(Code::kInvalidArgument, cat(at.line, ":", at.column, ": ", why)); }

Result<Dockerfile> parse_dockerfile(std::string_view text) {
  if (text.size() > kDockerfileBytesMax) return fail(Code::kResourceExhausted, cat("the Dockerfile has more than ", kDockerfileBytesMax, " bytes"));
  if (text.find('\0') != std::string_view::npos) return fail(Code::kInvalidArgument, "the Dockerfile holds a NUL byte");
  return Parser(text).parse();
}

Result<Instruction> parse_trigger(std::string_view text, std::size_t line, char escape) {
  Instruction out;
  out.line = line;
  out.source = std::string(trim(text));
  TRY(Parser::split_instruction(trim(text), out, escape));
  if (out.name == "ONBUILD" || out.name == "FROM" || out.name == "MAINTAINER") return fail(error_at(out, cat(out.name, " isn't allowed as an ONBUILD trigger")));
  const Known& known = *find_known(out.name);
  return Parser::finish(std::move(out), known);
}

}  // namespace monopod::build
