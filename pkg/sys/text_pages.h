// What a long-lived process mapped of its own program only to start: parsing of options, opening of files, tables of other subcommands.
#pragma once

#include <cstddef>

namespace monopod::sys {

// Unmaps the pages of the program's code and constants from this process; what runs on faults its own back in from the page cache, some
// microseconds each 64 KiB. Once, when a server is up: half of what it holds by then is never looked at again. Returns the bytes that were covered.
std::size_t forget_program_pages();

}  // namespace monopod::sys
