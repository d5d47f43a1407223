// What `monopod runtime` remembers of a container: a directory of small files below --root, so that it survives a crash at every step.
//
//   ROOT/ID/            0700
//     lock              flock(2) of whoever changes the container; a dead process holds none
//     record.json       what was decided and what exists; replaced by rename, first written before anything else is made
//     config.json       the config at create: later changes of the bundle's file have no effect
//     start.sock        the first stage waits here; refuses connections once it is the program
#pragma once

#include <string>
#include <vector>

#include "codec/json.h"
#include "container/config.h"
#include "sys/process.h"
#include "sys/root.h"

namespace monopod::container::oci {

struct Record {
  std::string id;
  std::string bundle;
  std::string rootfs;
  std::string created;                    // RFC 3339
  int pid = 0;                            // 0: the first stage was not there when this was written
  std::uint64_t start_ticks = 0;          // with the pid: which process that was
  std::string group;                      // control group below the root of every hierarchy; empty: none
  std::string scope;                      // systemd's unit of the group; empty: the group is ours alone
  std::vector<std::string> controllers;   // besides the usual ones
  json::Value resources;                  // as last set
  std::uint32_t owner = 0;                // uid
  std::map<std::string, std::string> annotations;
  bool plain = false;                     // start and delete find nothing to do in the config: no hooks of theirs, no seccomp listener
};

enum class RuntimeStatus { kCreating, kCreated, kRunning, kPaused, kStopped };
std::string_view format_status(RuntimeStatus status);

class StateDirectory {
 public:
  // kAlreadyExists where the id is taken. Locked.
  static Result<StateDirectory> create(const std::string& root, const std::string& id);
  // kNotFound: "container does not exist". Not locked.
  static Result<StateDirectory> open(const std::string& root, const std::string& id);
  static Result<std::vector<std::string>> list(const std::string& root);  // ids; none where root is absent

  Result<> lock();              // waits for the holder, who is short or dead
  bool locked_by_other() const;

  const std::string& id() const { return id_; }
  const std::string& path() const { return path_; }
  Result<> write(const Record& record) const;
  Result<Record> read() const;  // kNotFound: the creator died before it wrote one
  Result<> write_config(const ContainerConfig& config) const;
  Result<ContainerConfig> read_config() const;
  Result<> remove() const;

  // The first stage's socket: a listener that it inherits, and a connection to it (kNotFound, ECONNREFUSED: it no longer waits).
  Result<sys::Fd> listen() const;
  Result<sys::Fd> connect() const;

 private:
  StateDirectory(std::string path, std::string id, sys::Root directory) : path_(std::move(path)), id_(std::move(id)), directory_(std::move(directory)) {}
  Result<> replace(const char* name, const std::string& text) const;

  std::string path_;
  std::string id_;
  sys::Root directory_;
  sys::Fd lock_;
};

// The process of the record, if it is still that one and not a zombie; kNotFound else. By pidfd from here on.
Result<sys::Pidfd> find_process(const Record& record);
json::Value format_state(const Record& record, RuntimeStatus status);  // runtime-spec "State", with what runc adds

}  // namespace monopod::container::oci
