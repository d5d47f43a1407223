// What main and the start of the executable (start.cc) say to each other.
#pragma once

namespace monopod {

// Before the first call of OpenSSL or SQLite: their tables of addresses are most of what a start relocates, and the OCI runtime and the first stage of
// containers, which are short and many, use neither. Once, before there are threads.
void relocate_libraries();

}  // namespace monopod
