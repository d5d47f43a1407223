// How `monopod store` shows keys: as etcdctl does for people and scripts, or as JSON, one document a line.
#pragma once

#include <string>

#include "cmd/command.h"
#include "codec/json.h"
#include "store/types.h"

namespace monopod::cmd {

// -o text|json into output.
void add_output_option(CLI::App& app, std::string& output);

// {"key":…,"value":…,"create_revision":…,"mod_revision":…,"version":…,"lease":…}; bytes that are no UTF-8 stand in key_base64 and value_base64.
// Without a value (keys only) that member is missing.
json::Object describe_key_value(const store::KeyValue& kv);

// One line to stdout.
void print_json(const json::Value& value);
// A line to stdout; to a terminal control characters go escaped.
void print_line(std::string_view text);

std::string format_lease_id(store::LeaseId id);                      // 16 hex digits
Result<store::LeaseId> parse_lease_id(const std::string& text);      // hex

}  // namespace monopod::cmd
