// The syntax of names, labels and the like (RFC 1035/1123 as Kubernetes reads them). Each check returns upstream's messages;
// none means the text is good.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace monopod::api {

using Messages = std::vector<std::string>;

Messages check_dns1123_label(std::string_view name);      // 63 bytes
Messages check_dns1123_subdomain(std::string_view name);  // 253 bytes
Messages check_dns1035_label(std::string_view name);      // 63 bytes, begins with a letter
Messages check_qualified_name(std::string_view name);     // [prefix/]name: label keys, annotation keys, finalizers
Messages check_label_value(std::string_view value);       // 63 bytes
Messages check_config_map_key(std::string_view key);
Messages check_env_var_name(std::string_view name);       // any printable ASCII but '='
Messages check_path_segment_name(std::string_view name);  // RBAC names: one URL path segment
Messages check_port_name(std::string_view name);          // IANA service name
Messages check_port_number(std::int64_t port);            // 1..65535

// "must be no more than 63 characters"
std::string max_length_error(std::size_t bytes_max);

}  // namespace monopod::api
