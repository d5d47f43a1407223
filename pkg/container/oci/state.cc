#include "container/oci/state.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "base/strings.h"

namespace monopod::container::oci {
namespace {

constexpr std::size_t kIdBytesMax = 255;
constexpr std::size_t kFileBytesMax = 16U << 20;
constexpr const char* kSocket = "start.sock";

Result<> check_id(std::string_view id) {
  bool good = !id.empty() && id.size() <= kIdBytesMax && id != "." && id != ".." && std::all_of(id.begin(), id.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '+' || c == '-' || c == '.';
  });
  if (!good) return fail(Code::kInvalidArgument, cat("container id \"", id, "\" is not 1 to 255 of a-z A-Z 0-9 _ + - ."));
  return {};
}

// Through the descriptor: the names of sockets are short.
struct sockaddr_un socket_address(const sys::Root& directory) {
  struct sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::string path = cat(sys::fd_path(directory.fd()), "/", kSocket);
  std::memcpy(address.sun_path, path.data(), std::min(path.size(), sizeof address.sun_path - 1));
  return address;
}

Result<sys::Fd> make_socket() {
  sys::Fd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!fd) return fail_errno("make socket");
  return fd;
}

}  // namespace

std::string_view format_status(RuntimeStatus status) {
  switch (status) {
    case RuntimeStatus::kCreating: return "creating";
    case RuntimeStatus::kCreated: return "created";
    case RuntimeStatus::kRunning: return "running";
    case RuntimeStatus::kPaused: return "paused";
    case RuntimeStatus::kStopped: return "stopped";
  }
  return "stopped";
}

Result<StateDirectory> StateDirectory::create(const std::string& root, const std::string& id) {
  TRY(check_id(id));
  std::string path = cat(root, "/", id);
  int made = ::mkdir(path.c_str(), 0700);
  if (made < 0 && errno == ENOENT) {
    std::error_code ec;
    std::filesystem::create_directories(root, ec);
    if (ec) return fail(errno_error(ec.value(), cat("make ", root)));
    made = ::mkdir(path.c_str(), 0700);
  }
  if (made < 0) {
    if (errno == EEXIST) return fail(Code::kAlreadyExists, cat("container with id exists: ", id));
    return fail_errno(cat("make ", path));
  }
  TRY_ASSIGN(sys::Root directory, sys::Root::open(path));
  StateDirectory out(std::move(path), id, std::move(directory));
  TRY(out.lock());
  return out;
}

Result<StateDirectory> StateDirectory::open(const std::string& root, const std::string& id) {
  TRY(check_id(id));
  std::string path = cat(root, "/", id);
  Result<sys::Root> directory = sys::Root::open(path);
  if (!directory && directory.error().code() == Code::kNotFound) return fail(Code::kNotFound, cat("container does not exist: ", id));
  if (!directory) return fail(std::move(directory).error());
  return StateDirectory(std::move(path), id, std::move(*directory));
}

Result<std::vector<std::string>> StateDirectory::list(const std::string& root) {
  std::vector<std::string> out;
  Result<sys::Root> directory = sys::Root::open(root);
  if (!directory && directory.error().code() == Code::kNotFound) return out;
  if (!directory) return fail(std::move(directory).error());
  TRY_ASSIGN(std::vector<sys::DirEntry> entries, directory->read_directory("."));
  for (sys::DirEntry& entry : entries) {
    if (check_id(entry.name)) out.push_back(std::move(entry.name));
  }
  std::sort(out.begin(), out.end());
  return out;
}

Result<> StateDirectory::lock() {
  TRY_ASSIGN(lock_, directory_.open_file("lock", O_RDWR | O_CREAT | O_NOFOLLOW, 0600));
  while (::flock(lock_.get(), LOCK_EX) < 0) {
    if (errno != EINTR) return fail_errno("lock container");
  }
  // Whoever held it may have removed the container meanwhile.
  struct ::stat info = {};
  if (::fstat(lock_.get(), &info) == 0 && info.st_nlink == 0) return fail(Code::kNotFound, cat("container does not exist: ", id_));
  return {};
}

bool StateDirectory::locked_by_other() const {
  Result<sys::Fd> file = directory_.open_file("lock", O_RDONLY | O_NOFOLLOW);
  return file && ::flock(file->get(), LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}

// Not synced: after a loss of power there is no process that the text could tell of, and delete --force takes one that cannot be read.
Result<> StateDirectory::replace(const char* name, const std::string& text) const {
  std::string draft = cat(name, ".new");
  TRY_ASSIGN(sys::Fd file, directory_.open_file(draft, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600));
  Result<> written = sys::write_all(file.get(), text);
  if (!written) return fail(std::move(written).error().with(cat("write ", path_, "/", name)));
  if (::renameat(directory_.fd(), draft.c_str(), directory_.fd(), name) < 0) return fail_errno(cat("write ", path_, "/", name));
  return {};
}

Result<> StateDirectory::write(const Record& record) const {
  json::Object annotations;
  for (const auto& [key, value] : record.annotations) annotations[key] = value;
  json::Object out{{"id", record.id},
                   {"bundle", record.bundle},
                   {"rootfs", record.rootfs},
                   {"created", record.created},
                   {"pid", record.pid},
                   {"startTicks", record.start_ticks},
                   {"group", record.group},
                   {"scope", record.scope},
                   {"controllers", json::Array(record.controllers.begin(), record.controllers.end())},
                   {"resources", record.resources},
                   {"owner", record.owner},
                   {"annotations", std::move(annotations)},
                   {"plain", record.plain}};
  return replace("record.json", json::format(out));
}

Result<Record> StateDirectory::read() const {
  Result<std::string> text = directory_.read_file("record.json", kFileBytesMax);
  if (!text) return fail(std::move(text).error().with(cat("container ", id_)));
  TRY_ASSIGN(json::Value value, json::parse(*text));
  Record out;
  out.id = json::get_string(value, {"id"});
  out.bundle = json::get_string(value, {"bundle"});
  out.rootfs = json::get_string(value, {"rootfs"});
  out.created = json::get_string(value, {"created"});
  out.pid = static_cast<int>(json::get_int(value, {"pid"}));
  out.start_ticks = static_cast<std::uint64_t>(json::get_int(value, {"startTicks"}));
  out.group = json::get_string(value, {"group"});
  out.scope = json::get_string(value, {"scope"});
  out.owner = static_cast<std::uint32_t>(json::get_int(value, {"owner"}));
  if (const json::Value* resources = json::find(value, {"resources"})) out.resources = *resources;
  if (const json::Array* controllers = json::get_array(value, {"controllers"})) {
    for (const json::Value& name : *controllers) {
      if (name.is_string()) out.controllers.emplace_back(std::string_view(name.get_string()));
    }
  }
  if (const json::Object* annotations = json::get_object(value, {"annotations"})) {
    for (const auto& item : *annotations) {
      if (item.value().is_string()) out.annotations[std::string(item.key())] = std::string_view(item.value().get_string());
    }
  }
  out.plain = json::get_bool(value, {"plain"});
  if (out.id != id_) return fail(Code::kDataLoss, cat("container ", id_, ": its record is damaged"));
  return out;
}

// Written once, before the record: where that is, this is whole.
Result<> StateDirectory::write_config(const ContainerConfig& config) const { return directory_.write_file("config.json", json::format(format_config(config)), 0600); }

Result<ContainerConfig> StateDirectory::read_config() const {
  TRY_ASSIGN(std::string text, directory_.read_file("config.json", kFileBytesMax));
  TRY_ASSIGN(json::Value value, json::parse(text));
  return parse_config(value);
}

// The record goes last but for the directory: a removal that is cut short can be done again.
Result<> StateDirectory::remove() const {
  auto remove_file = [this](const char* name) -> Result<> {
    if (::unlinkat(directory_.fd(), name, 0) < 0 && errno != ENOENT) return fail_errno(cat("remove ", path_, "/", name));
    return {};
  };
  for (const char* name : {kSocket, "config.json", "record.json", "lock"}) TRY(remove_file(name));
  if (::rmdir(path_.c_str()) == 0 || errno == ENOENT) return {};
  TRY(remove_file("record.json.new"));  // whose writer was killed
  if (::rmdir(path_.c_str()) < 0 && errno != ENOENT) return fail_errno(cat("remove ", path_));
  return {};
}

Result<sys::Fd> StateDirectory::listen() const {
  TRY_ASSIGN(sys::Fd fd, make_socket());
  struct sockaddr_un address = socket_address(directory_);
  // The name gets the mode of the socket.
  if (::fchmod(fd.get(), 0600) < 0 || ::bind(fd.get(), reinterpret_cast<struct sockaddr*>(&address), sizeof address) < 0 || ::listen(fd.get(), 16) < 0) return fail_errno(cat("listen at ", path_, "/", kSocket));
  return fd;
}

Result<sys::Fd> StateDirectory::connect() const {
  TRY_ASSIGN(sys::Fd fd, make_socket());
  struct sockaddr_un address = socket_address(directory_);
  if (::connect(fd.get(), reinterpret_cast<struct sockaddr*>(&address), sizeof address) < 0) return fail_errno(cat("reach container ", id_));
  return fd;
}

Result<sys::Pidfd> find_process(const Record& record) {
  auto gone = [&] { return fail(Code::kNotFound, "container not running"); };
  if (record.pid <= 0) return gone();
  Result<sys::Pidfd> process = sys::Pidfd::open(record.pid);
  if (!process) return gone();
  if (process->exited()) return gone();
  // The number is ours only if it still names the process that started then; the descriptor holds it from before this look.
  Result<std::uint64_t> ticks = sys::process_start_ticks(record.pid);
  if (!ticks || *ticks != record.start_ticks) return gone();
  return process;
}

json::Value format_state(const Record& record, RuntimeStatus status) {
  json::Object annotations;
  for (const auto& [key, value] : record.annotations) annotations[key] = value;
  bool alive = status != RuntimeStatus::kStopped && status != RuntimeStatus::kCreating;
  json::Object out{{"ociVersion", kOciVersion},
                   {"id", record.id},
                   {"pid", alive ? record.pid : 0},
                   {"status", format_status(status)},
                   {"bundle", record.bundle},
                   {"rootfs", record.rootfs},
                   {"created", record.created},
                   {"annotations", std::move(annotations)},
                   {"owner", record.owner == 0 ? "root" : ""}};
  return out;
}

}  // namespace monopod::container::oci
