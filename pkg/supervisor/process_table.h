// The supervisor's memory of one process, and its record on disk (a tmpfs), from which a new supervisor adopts what a lost one left running.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "supervisor/protocol.h"
#include "sys/process.h"

namespace monopod::supervisor {

struct Entry {
  Process process;
  StdioOptions stdio;
  sys::Pidfd pidfd;
  std::uint64_t number = 0;       // names its files: NUMBER.rec, .in, .out, .err
  bool has_output = false;        // the pump holds its streams
  bool of_one_node = false;       // exec: nobody asks for it once its node process is gone
  bool adopted = false;           // not our child: the exit code cannot be had
  // While the first stage runs:
  sys::Fd sync;
  sys::Fd terminal;               // kept until the spawn is answered
  bool return_terminal = false;
  bool hold = false;
  bool ready = false;
  bool about_to_exec = false;
  bool failed = false;            // its spawn was answered with an error: no exit event, no trace
  std::optional<std::uint32_t> waiting;  // request to answer when the stage is done
  std::optional<std::uint32_t> forgetting;  // forget of a failed one: answered when it is reaped and its id free again
};

class ProcessTable {
 public:
  explicit ProcessTable(std::string directory) : directory_(std::move(directory)) {}

  // Makes the directory (0700). Reads records; entries have a pidfd where the process lives, else are kExited with code -1.
  Result<> load();
  // Removes FIFOs and records of the entry, too.
  void erase(const std::string& id);
  void save(const Entry& entry) const;  // a failure costs only re-adoption: logged

  Entry* find(const std::string& id);
  Entry* find_pid(int pid);
  Entry& add(Entry entry);  // gives it its number
  std::map<std::string, Entry>& all() { return entries_; }

  std::string path(const Entry& entry, const char* suffix) const;

 private:
  std::string directory_;
  std::map<std::string, Entry> entries_;
  std::uint64_t next_number_ = 1;
};

}  // namespace monopod::supervisor
