#include "etcd/txn_text.h"

#include <algorithm>
#include <array>

#include "base/bytes.h"
#include "base/strings.h"

namespace monopod::etcd {

using namespace store;

namespace {

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r'; }

// What follows a backslash within "…"; at points behind it.
Result<char> parse_escape(std::string_view line, std::size_t& at) {
  static constexpr std::array<std::pair<char, char>, 7> kPlain{{{'n', '\n'}, {'t', '\t'}, {'r', '\r'}, {'"', '"'}, {'\\', '\\'}, {'0', '\0'}, {'\'', '\''}}};
  if (at >= line.size()) return fail(Code::kInvalidArgument, "a backslash at the end of the line");
  char c = line[at++];
  if (c == 'x') {
    std::optional<std::string> byte = parse_hex(line.substr(at, 2));
    if (!byte || byte->size() != 1) return fail(Code::kInvalidArgument, "\\x wants two hex digits");
    at += 2;
    return byte->front();
  }
  for (auto [name, value] : kPlain)
    if (name == c) return value;
  return fail(Code::kInvalidArgument, cat("unknown escape \\", c));
}

// A quoted string that begins at at, which then points behind it.
Result<std::string> parse_quoted(std::string_view line, std::size_t& at) {
  char quote = line[at++];
  std::string text;
  while (at < line.size() && line[at] != quote) {
    char c = line[at++];
    if (c == '\\' && quote == '"') {
      TRY_ASSIGN(c, parse_escape(line, at));
    }
    text += c;
  }
  if (at >= line.size()) return fail(Code::kInvalidArgument, cat("no closing ", quote));
  ++at;
  return text;
}

std::optional<Compare::Target> parse_target(std::string_view name) {
  if (name == "c" || name == "create") return Compare::Target::kCreate;
  if (name == "m" || name == "mod") return Compare::Target::kMod;
  if (name == "ver" || name == "version") return Compare::Target::kVersion;
  if (name == "val" || name == "value") return Compare::Target::kValue;
  if (name == "lease") return Compare::Target::kLease;
  return std::nullopt;
}

std::optional<Compare::Op> parse_comparison(std::string_view text) {
  if (text == "=" || text == "==") return Compare::Op::kEqual;
  if (text == "!=") return Compare::Op::kNotEqual;
  if (text == ">") return Compare::Op::kGreater;
  if (text == "<") return Compare::Op::kLess;
  return std::nullopt;
}

// Leases are shown and read in hex.
std::optional<std::int64_t> parse_lease(std::string_view text) {
  std::int64_t id = 0;
  auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), id, 16);
  if (text.empty() || ec != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return id;
}

// put, get or del with its flags, as words.
class Operation {
 public:
  explicit Operation(std::vector<std::string> words) : words_(std::move(words)) {}

  Result<Op> parse() {
    std::string verb = words_.empty() ? std::string() : words_.front();
    for (std::size_t i = 1; i < words_.size(); ++i) {
      if (words_[i].starts_with("--")) TRY(parse_flag(i));
      else arguments_.push_back(words_[i]);
    }
    Result<Op> op = verb == "put" ? put() : verb == "get" ? get() : verb == "del" ? del() : fail(Code::kInvalidArgument, cat("\"", verb, "\" is none of put, get, del"));
    if (!op) return op;
    for (const Flag& flag : flags_)
      if (!flag.used) return fail(Code::kInvalidArgument, cat(verb, " has no --", flag.name));
    return op;
  }

 private:
  struct Flag {
    std::string name;
    std::string value;
    bool used = false;
  };

  Result<> parse_flag(std::size_t& i) {
    auto [name, value] = split_once(std::string_view(words_[i]).substr(2), '=');
    Flag flag{.name = std::string(name), .value = std::string(value.value_or("true"))};
    bool wants_value = name == "rev" || name == "limit" || name == "lease";
    if (wants_value && !value) {
      if (++i >= words_.size()) return fail(Code::kInvalidArgument, cat("--", flag.name, " wants a value"));
      flag.value = words_[i];
    }
    flags_.push_back(std::move(flag));
    return {};
  }
  Flag* find(std::string_view name) {
    auto at = std::ranges::find(flags_, name, &Flag::name);
    if (at == flags_.end()) return nullptr;
    at->used = true;
    return &*at;
  }
  bool is_set(std::string_view name) {
    Flag* flag = find(name);
    return flag != nullptr && flag->value != "false";
  }
  Result<std::int64_t> number(std::string_view name) {
    Flag* flag = find(name);
    if (flag == nullptr) return 0;
    auto value = name == "lease" ? parse_lease(flag->value) : parse_int<std::int64_t>(flag->value);
    if (!value) return fail(Code::kInvalidArgument, cat("--", name, "=", flag->value, ": want a number"));
    return *value;
  }
  // KEY [RANGE_END], --prefix, --from-key.
  Result<ParsedRange> range() {
    if (arguments_.empty() || arguments_.size() > 2) return fail(Code::kInvalidArgument, "want one key, or a key and the end of its range");
    return parse_key_range({.key = arguments_[0], .range_end = arguments_.size() > 1 ? arguments_[1] : std::string(), .prefix = is_set("prefix"), .from_key = is_set("from-key")});
  }

  Result<Op> put() {
    if (arguments_.empty() || arguments_.size() > 2) return fail(Code::kInvalidArgument, "put wants a key and a value");
    PutRequest request{.key = arguments_[0], .value = share(arguments_.size() > 1 ? arguments_[1] : std::string())};
    TRY_ASSIGN(std::int64_t lease, number("lease"));
    request.lease = LeaseId(lease);
    request.prev_kv = is_set("prev-kv");
    request.ignore_value = is_set("ignore-value");
    request.ignore_lease = is_set("ignore-lease");
    if (request.ignore_value != (arguments_.size() == 1)) return fail(Code::kInvalidArgument, "put wants a key and a value, or a key and --ignore-value");
    return request;
  }
  Result<Op> get() {
    TRY_ASSIGN(ParsedRange bounds, range());
    RangeRequest request{.key = std::move(bounds.key), .range_end = std::move(bounds.range_end)};
    TRY_ASSIGN(std::int64_t revision, number("rev"));
    TRY_ASSIGN(request.limit, number("limit"));
    request.revision = Revision(revision);
    request.keys_only = is_set("keys-only");
    request.count_only = is_set("count-only");
    return request;
  }
  Result<Op> del() {
    TRY_ASSIGN(ParsedRange bounds, range());
    return DeleteRequest{.key = std::move(bounds.key), .range_end = std::move(bounds.range_end), .prev_kv = is_set("prev-kv")};
  }

  std::vector<std::string> words_, arguments_;
  std::vector<Flag> flags_;
};

Error in_line(const Error& error, std::string_view line) { return error.with(cat("\"", line, "\"")); }

}  // namespace

Result<ParsedRange> parse_key_range(const KeyRangeText& text) {
  if (text.prefix && text.from_key) return fail(Code::kInvalidArgument, "--prefix and --from-key exclude each other");
  if ((text.prefix || text.from_key) && !text.range_end.empty()) return fail(Code::kInvalidArgument, "the end of a range excludes --prefix and --from-key");
  ParsedRange range{.key = text.key, .range_end = text.range_end};
  if (text.prefix) range.range_end = prefix_end(text.key);
  if (text.from_key) range.range_end = std::string(1, '\0');
  if (range.key.empty() && range.range_end.empty()) return fail(Code::kInvalidArgument, "the key is empty: want a key, or --prefix for all keys");
  if (range.key.empty()) range.key = std::string(1, '\0');
  return range;
}

Result<std::vector<std::string>> split_words(std::string_view line) {
  std::vector<std::string> words;
  for (std::size_t at = 0;;) {
    while (at < line.size() && is_blank(line[at])) ++at;
    if (at >= line.size()) return words;
    std::string word;
    while (at < line.size() && !is_blank(line[at])) {
      if (line[at] == '"' || line[at] == '\'') {
        TRY_ASSIGN(std::string part, parse_quoted(line, at));
        word += part;
      } else {
        word += line[at++];
      }
    }
    words.push_back(std::move(word));
  }
}

Result<Compare> parse_compare(std::string_view line) {
  auto bad = [line](std::string_view why) { return fail(Code::kInvalidArgument, cat("\"", line, "\": ", why)); };
  std::string_view text = trim(line);
  std::size_t open = text.find('(');
  if (open == std::string_view::npos) return bad("want a comparison such as mod(\"key\") = \"1\"");
  auto target = parse_target(trim(text.substr(0, open)));
  if (!target) return bad(cat("\"", trim(text.substr(0, open)), "\" is none of create, mod, version, value, lease"));
  std::size_t at = open + 1;
  if (at >= text.size() || text[at] != '"') return bad("the key stands in \"…\"");
  Result<std::string> key = parse_quoted(text, at);
  if (!key) return fail(in_line(key.error(), line));
  if (at >= text.size() || text[at] != ')') return bad("no ) after the key");
  std::string_view rest = trim(text.substr(at + 1));
  std::size_t length = rest.find_first_not_of("=!<>");
  auto op = parse_comparison(rest.substr(0, length));
  if (!op || length == std::string_view::npos) return bad("want =, !=, < or > and a value");
  rest = trim(rest.substr(length));
  std::string value(rest);
  if (rest.starts_with('"')) {
    std::size_t from = 0;
    Result<std::string> quoted = parse_quoted(rest, from);
    if (!quoted) return fail(in_line(quoted.error(), line));
    if (from != rest.size()) return bad("something follows the value");
    value = std::move(*quoted);
  }
  Compare compare{.key = std::move(*key), .target = *target, .op = *op};
  if (*target == Compare::Target::kValue) {
    compare.value = std::move(value);
    return compare;
  }
  auto number = *target == Compare::Target::kLease ? parse_lease(value) : parse_int<std::int64_t>(value);
  if (!number) return bad(cat("\"", value, "\" is no number"));
  compare.number = *number;
  return compare;
}

Result<Op> parse_operation(std::string_view line) {
  Result<std::vector<std::string>> words = split_words(line);
  if (!words) return fail(in_line(words.error(), line));
  Result<Op> op = Operation(std::move(*words)).parse();
  if (!op) return fail(in_line(op.error(), line));
  return op;
}

Result<Txn> parse_txn_text(std::string_view text) {
  Txn txn;
  int part = 0;  // comparisons, then, else
  for (std::string_view line : split(text, '\n')) {
    if (trim(line).empty()) {
      if (++part > 2) break;
      continue;
    }
    if (part == 0) {
      TRY_ASSIGN(Compare compare, parse_compare(line));
      txn.compare.push_back(std::move(compare));
      continue;
    }
    TRY_ASSIGN(Op op, parse_operation(line));
    (part == 1 ? txn.success : txn.failure).push_back(std::move(op));
  }
  return txn;
}

}  // namespace monopod::etcd
