// What a supervisor hands to the program that replaces it by execve (upgrade, reload). Same process: its children stay children, and
// descriptors stay open under their numbers. Everything else travels in a memory file whose number is in kHandoverVariable.
//
//   | version u16 | count u32 | per process: entry, descriptor numbers, unfinished log lines, unread input |
//   | count u32 | per name: name, count u8, descriptor numbers |        absent from a program of before such were kept
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "supervisor/output_pump.h"
#include "supervisor/process_table.h"

namespace monopod::supervisor {

inline constexpr const char* kHandoverVariable = "MONOPOD_HANDOVER_FD";

struct HandedProcess {
  Entry entry;
  PumpStreams streams;  // of entries with has_output
};

using KeptDescriptors = std::map<std::string, std::vector<sys::Fd>>;  // by name (Supervisor::keep)

struct Handover {
  std::vector<HandedProcess> processes;
  KeptDescriptors kept;
};

// The memory file; it and every descriptor that it names survive execve from here on. The handover keeps owning its descriptors.
Result<sys::Fd> write_handover(const Handover& handover);
// The other side. kUnimplemented for a version that we do not know: records on disk are then what is left.
Result<Handover> read_handover(sys::Fd file);
// The file that our predecessor left, if this process has one. Clears the environment's mention of it.
std::optional<sys::Fd> inherited_handover();
// After a failed execve: descriptors close on exec again.
void retract_handover(const Handover& handover);

}  // namespace monopod::supervisor
