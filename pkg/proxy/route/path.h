// One reading of a path, made at the door: routes, policy and upstreams see the same bytes (hardening H3; CVE-2019-9901, CVE-2021-29492,
// CVE-2021-39156).
#pragma once

#include <string>
#include <string_view>

namespace monopod::proxy {

enum class PathVerdict : std::uint8_t { kAsIs, kRewritten, kRefused };

// target: path and query as they came. Resolves "." and "..", merges slashes where asked to, decodes what needs no escape (%41 is A). Refused: an
// escape that is none, of a slash, backslash or control character; a backslash; ".." above the root; "..;". The query stays as it is. kAsIs leaves
// out alone.
PathVerdict normalize_path(std::string_view target, bool merge_slashes, std::string& out);

}  // namespace monopod::proxy
