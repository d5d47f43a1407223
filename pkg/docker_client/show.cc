#include "docker_client/show.h"

#include <algorithm>
#include <cstdio>

#include "base/strings.h"
#include "sys/terminal.h"

namespace monopod::docker_client {
namespace {

std::string text_of(const json::Value& v) {
  if (v.is_string()) return std::string(v.get_string());
  if (v.is_null()) return "<no value>";
  return json::format(v);
}

// Words of an action: quoted ones without their quotes.
std::vector<std::string> words_of(std::string_view action) {
  std::vector<std::string> out;
  std::string word;
  bool quoted = false, any = false;
  for (char c : action) {
    if (c == '"') {
      quoted = !quoted;
      any = true;
    } else if (!quoted && (c == ' ' || c == '\t')) {
      if (any) out.push_back(std::move(word));
      word.clear();
      any = false;
    } else {
      word += c;
      any = true;
    }
  }
  if (any) out.push_back(std::move(word));
  return out;
}

Result<const json::Value*> member(const json::Value& from, std::string_view name, std::string_view whole) {
  if (from.is_object())
    if (const json::Value* found = from.get_object().if_contains(name)) return found;
  if (from.is_array())
    if (auto i = parse_int<std::size_t>(name); i && *i < from.get_array().size()) return &from.get_array()[*i];
  return fail(Code::kNotFound, cat("--format ", whole, ": there is no \"", name, "\""));
}

Result<const json::Value*> walk(const json::Value& from, std::string_view path) {
  const json::Value* at = &from;
  if (path != ".")
    for (std::string_view name : split(path.substr(1), '.')) {
      TRY_ASSIGN(at, member(*at, name, path));
    }
  return at;
}

Result<std::string> act(std::string_view action, const json::Value& value) {
  std::vector<std::string> words = words_of(action);
  if (words.size() == 1 && words[0] == "println") return "\n";
  if (words.size() == 1 && words[0].starts_with('.')) {
    TRY_ASSIGN(const json::Value* found, walk(value, words[0]));
    return text_of(*found);
  }
  if (words.size() == 2 && words[0] == "json" && words[1].starts_with('.')) {
    TRY_ASSIGN(const json::Value* found, walk(value, words[1]));
    return json::format(*found);
  }
  if (words.size() > 2 && words[0] == "index" && words[1].starts_with('.')) {
    TRY_ASSIGN(const json::Value* found, walk(value, words[1]));
    for (std::size_t i = 2; i < words.size(); ++i) {
      TRY_ASSIGN(found, member(*found, words[i], action));
    }
    return text_of(*found);
  }
  return fail(Code::kUnimplemented, cat("--format: {{", action, "}} is not supported: there are {{.Name}}, {{json .Name}} and {{index .Name \"key\"}}; -o json prints all"));
}

// \t and \n as people type them in quotes.
std::string unescape(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    bool escape = text[i] == '\\' && i + 1 < text.size() && (text[i + 1] == 't' || text[i + 1] == 'n');
    out += escape ? (text[++i] == 't' ? '\t' : '\n') : text[i];
  }
  return out;
}

std::string header_of(std::string_view member) {
  std::string out;
  for (std::size_t i = 0; i < member.size(); ++i) {
    bool upper = member[i] >= 'A' && member[i] <= 'Z';
    bool after_lower = i > 0 && member[i - 1] >= 'a' && member[i - 1] <= 'z';
    if (upper && after_lower) out += ' ';
    out += static_cast<char>(member[i] >= 'a' && member[i] <= 'z' ? member[i] - 'a' + 'A' : member[i]);
  }
  return out;
}

std::vector<std::string> cells(std::string_view line) {
  std::vector<std::string> out;
  for (std::string_view cell : split(line, '\t')) out.emplace_back(cell);
  return out;
}

// "table {{.ID}}\t{{.Names}}"
Result<> print_table(std::string_view text, const Listing& listing) {
  json::Object heads;
  for (const Column& c : listing.columns) heads[c.member] = c.header != nullptr ? std::string(c.header) : header_of(c.member);
  if (!listing.rows.empty())
    for (const auto& [key, v] : listing.rows.front().get_object())
      if (!heads.contains(key)) heads[key] = header_of(key);
  TRY_ASSIGN(std::string head, fill_template(text, json::Value(std::move(heads))));
  sys::Table table(cells(head));
  for (const json::Value& row : listing.rows) {
    TRY_ASSIGN(std::string line, fill_template(text, row));
    table.add(cells(line));
  }
  table.print();
  return {};
}

std::string format_size_in(double bytes, double base, std::span<const char* const> units) {
  std::size_t i = 0;
  while (bytes >= base && i + 1 < units.size()) {
    bytes /= base;
    ++i;
  }
  char text[32];
  std::snprintf(text, sizeof text, "%.4g%s", bytes, units[i]);
  return text;
}

}  // namespace

Result<std::string> fill_template(std::string_view text, const json::Value& value) {
  std::string plain = unescape(text);
  std::string_view rest = plain;
  std::string out;
  for (;;) {
    std::size_t begin = rest.find("{{");
    out += rest.substr(0, begin);
    if (begin == std::string_view::npos) return out;
    std::size_t end = rest.find("}}", begin);
    if (end == std::string_view::npos) return fail(Code::kInvalidArgument, "--format: unclosed action");
    TRY_ASSIGN(std::string filled, act(trim(rest.substr(begin + 2, end - begin - 2)), value));
    out += filled;
    rest.remove_prefix(end + 2);
  }
}

Result<> print(const Listing& listing, const Flags& flags) {
  if (flags.text("output") == "json") {
    std::printf("%s\n", json::format(listing.raw.is_null() ? json::Value(json::Array(listing.rows.begin(), listing.rows.end())) : listing.raw).c_str());
    return {};
  }
  if (flags.on("quiet")) {
    for (const json::Value& row : listing.rows) std::printf("%s\n", sys::printable(json::get_string(row, {listing.id})).c_str());
    return {};
  }
  std::string format = flags.text("format");
  if (format == "json") format = "{{json .}}";
  if (format.starts_with("table ")) return print_table(std::string_view(format).substr(6), listing);
  if (!format.empty() && format != "table") {
    for (const json::Value& row : listing.rows) {
      TRY_ASSIGN(std::string line, fill_template(format, row));
      std::printf("%s\n", line.c_str());
    }
    return {};
  }
  std::vector<std::string> head;
  for (const Column& c : listing.columns) head.push_back(c.header != nullptr ? std::string(c.header) : header_of(c.member));
  sys::Table table(std::move(head));
  for (const json::Value& row : listing.rows) {
    std::vector<std::string> line;
    for (const Column& c : listing.columns) line.emplace_back(json::get_string(row, {c.member}));
    table.add(std::move(line));
  }
  table.print();
  return {};
}

std::string format_age_words(Duration age) {
  struct Unit {
    std::int64_t from, seconds;
    const char* name;
  };
  static constexpr Unit kUnits[] = {{31'536'000 * 2, 31'536'000, " years"}, {86'400 * 60, 86'400 * 30, " months"}, {86'400 * 14, 86'400 * 7, " weeks"}, {86'400 * 2, 86'400, " days"}, {7'200, 3'600, " hours"}, {120, 60, " minutes"}};
  std::int64_t s = std::chrono::duration_cast<std::chrono::seconds>(age).count();
  if (s >= 3'600 && s < 7'200) return "About an hour";
  if (s >= 60 && s < 120) return "About a minute";
  for (const Unit& unit : kUnits)
    if (s >= unit.from) return cat(s / unit.seconds, unit.name);
  return s < 1 ? "Less than a second" : s == 1 ? "1 second" : cat(s, " seconds");
}

std::string format_decimal_size(double bytes) {
  static constexpr const char* kUnits[] = {"B", "kB", "MB", "GB", "TB", "PB"};
  return format_size_in(bytes, 1000, kUnits);
}

std::string format_binary_size(double bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  return format_size_in(bytes, 1024, kUnits);
}

std::string short_id(std::string_view id) {
  if (id.starts_with("sha256:")) id.remove_prefix(7);
  return std::string(id.substr(0, 12));
}

std::string cut(std::string_view text, std::size_t columns) {
  if (text.size() <= columns) return std::string(text);
  std::size_t end = columns - 1;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U) --end;  // not in the middle of a character
  return cat(text.substr(0, end), "…");
}

std::string format_ports(const json::Array& ports) {
  std::vector<std::string> out;
  for (const json::Value& p : ports) {
    std::string inside = cat(json::get_int(p, {"PrivatePort"}), "/", json::get_string(p, {"Type"}));
    std::int64_t outside = json::get_int(p, {"PublicPort"});
    out.push_back(outside == 0 ? inside : cat(json::get_string(p, {"IP"}), ":", outside, "->", inside));
  }
  std::ranges::sort(out);
  return join(out, ", ");
}

}  // namespace monopod::docker_client
