// What `monopod proxy top` shows: two readings of the metrics as a table of what happened between them.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

namespace monopod::proxy {

// Listeners, clusters, and the busiest routes. before may be empty: counts since the start, then. Lines are at most `columns` wide, and `rows` in number.
std::string format_top(std::string_view before, std::string_view now, std::chrono::duration<double> between, std::size_t columns, std::size_t rows);

}  // namespace monopod::proxy
