// How answers are shown: --format, tables, ages and sizes as docker's client writes them. Pure, but for print().
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "codec/json.h"
#include "docker_client/flags.h"

namespace monopod::docker_client {

// A part of Go's templates: text, {{.A.B}}, {{json .A}}, {{index .A "key" 0}}, {{.}}, {{println}}. kUnimplemented names another action, kNotFound
// a member that is not there.
Result<std::string> fill_template(std::string_view text, const json::Value& value);

// Rows of an answer: each an object of text members, as docker names them ("ID", "Names"). columns: those of the table, in its order, by member;
// its header is the member in capitals where none is given.
struct Column {
  const char* member;
  const char* header = nullptr;
};
struct Listing {
  std::vector<Column> columns;
  const char* id;               // the member that -q prints
  std::vector<json::Value> rows{};
  json::Value raw{};            // what -o json prints; null: the rows
};
// By --quiet, --format and --output.
Result<> print(const Listing& listing, const Flags& flags);

std::string format_age_words(Duration age);                   // "3 minutes"
std::string format_decimal_size(double bytes);                // "1.5MB"
std::string format_binary_size(double bytes);                 // "1.5MiB"
std::string short_id(std::string_view id);                    // twelve digits, without "sha256:"
std::string cut(std::string_view text, std::size_t columns);  // with … where it was longer
// "0.0.0.0:8080->80/tcp" of a member of GET /containers/json
std::string format_ports(const json::Array& ports);

}  // namespace monopod::docker_client
