// What perf(1) wants to know of code that is in no file: names of functions (a perf map), or names, bytes and, for calls and what can trap, lines of the source (a jitdump).
//
//   perf record -e cpu-clock monopod wasm run --profile=perfmap app.wasm;  perf report
//   perf record -k mono -e cpu-clock monopod wasm run --profile=jitdump app.wasm;  perf inject --jit -i perf.data -o jit.data;  perf annotate -i jit.data
//
// Source: Linux, tools/perf/Documentation/jit-interface.txt and jitdump-specification.txt (version 1).
#pragma once

#include <memory>
#include <string>

#include "base/error.h"
#include "wasm/profile/code_listener.h"

namespace monopod::wasm {

// /tmp/perf-PID.map: "start size name", hexadecimal numbers. The path is perf's; what stood there is replaced, and it stays for perf to read.
Result<std::shared_ptr<CodeListener>> make_perf_map(const std::string& path);
std::string perf_map_path();

// directory/jit-PID.dump. perf record sees it because it is mapped.
Result<std::shared_ptr<CodeListener>> make_jit_dump(const std::string& directory);

}  // namespace monopod::wasm
