// The last configuration that was taken, with all files it names, as one file: whoever starts while what stands in the configuration is broken starts
// with it. It holds keys: its mode is 0600.
//
//   {"version": 1, "config": TEXT, "files": {"name as in the text": base64}}
#pragma once

#include "proxy/config/load.h"

namespace monopod::proxy {

inline constexpr std::size_t kLastGoodBytesMax = 64U << 20;

std::string format_last_good(const Sources& sources);
// kInvalidArgument: broken, or of another version.
Result<Sources> parse_last_good(std::string_view text);

Result<> save_last_good(const std::string& path, const Sources& sources);
// kNotFound: there is none.
Result<Loaded> load_last_good(const std::string& path, const Snapshot* previous);

}  // namespace monopod::proxy
