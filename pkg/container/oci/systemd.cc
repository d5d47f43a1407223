#include "container/oci/systemd.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "base/strings.h"
#include "sys/namespaces.h"

namespace monopod::container::oci {
namespace {

constexpr int kAnswerWaitMs = 30'000;  // a manager that takes longer is stuck
constexpr std::uint64_t kInfinity = ~std::uint64_t{0};
constexpr const char* kPath = "/org/freedesktop/systemd1";
constexpr const char* kManager = "org.freedesktop.systemd1.Manager";
constexpr const char* kNoSuchUnit = "org.freedesktop.systemd1.NoSuchUnit";
constexpr const char* kUnitExists = "org.freedesktop.systemd1.UnitExists";
constexpr std::size_t kUnitBytesMax = 255;
constexpr unsigned kSetBitsMax = 8192;  // CPUs of a kernel

bool unit_characters(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || std::string_view(":-_.\\@").find(c) != std::string_view::npos;
  });
}

// "a-b.slice" is in "a.slice": "a.slice/a-b.slice" (systemd.slice(5)).
Result<std::string> expand_slice(std::string_view slice) {
  if (slice == "-.slice") return std::string();
  std::string_view name = slice;
  bool good = name.ends_with(".slice") && slice.size() <= kUnitBytesMax && unit_characters(name);
  if (good) name.remove_suffix(6);
  if (!good || name.empty() || name.starts_with('-') || name.ends_with('-') || name.find("--") != std::string_view::npos)
    return fail(Code::kInvalidArgument, cat("config: linux.cgroupsPath: \"", slice, "\" is no slice"));
  std::string out;
  std::string above;
  for (std::string_view part : split(name, '-')) {
    above += above.empty() ? std::string(part) : cat("-", part);
    out += cat(out.empty() ? "" : "/", above, ".slice");
  }
  return out;
}

// "0-3,7" as a bit for each.
std::string parse_set(std::string_view text) {
  std::string out;
  for (std::string_view range : split(trim(text), ',')) {
    auto [first, last] = split_once(range, '-');
    auto from = parse_int<unsigned>(first);
    auto to = last ? parse_int<unsigned>(*last) : from;
    if (!from || !to || *to >= kSetBitsMax) continue;  // the kernel says what is wrong with it
    for (unsigned bit = *from; bit <= *to; ++bit) {
      if (out.size() <= bit / 8) out.resize(bit / 8 + 1, '\0');
      out[bit / 8] = static_cast<char>(static_cast<unsigned char>(out[bit / 8]) | 1U << bit % 8);
    }
  }
  return out;
}

std::uint64_t number_or_infinity(std::string_view text) { return parse_int<std::uint64_t>(text).value_or(kInfinity); }

// Microseconds of a second; systemd counts in hundredths of a CPU.
std::uint64_t quota_per_second(std::uint64_t quota, std::uint64_t period) {
  constexpr std::uint64_t kStep = 10'000;
  return quota == kInfinity || period == 0 ? kInfinity : (quota * 1'000'000 / period + kStep - 1) / kStep * kStep;
}

// A manager that executes itself anew closes the connection: that is an error, not the end of us.
Result<> send_all(int socket, std::string_view bytes) {
  while (!bytes.empty()) {
    ssize_t n = ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno("write to systemd");
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return {};
}

struct PropertyRow {
  std::string_view file;
  std::string_view property;
  ScopeProperty::Type type;
};
constexpr ScopeProperty::Type kNumber = ScopeProperty::Type::kNumber;
constexpr ScopeProperty::Type kBytes = ScopeProperty::Type::kBytes;
constexpr std::array kPropertyRows = {
    PropertyRow{"memory.max", "MemoryMax", kNumber},           PropertyRow{"memory.low", "MemoryLow", kNumber},   PropertyRow{"memory.swap.max", "MemorySwapMax", kNumber},
    PropertyRow{"cpu.weight", "CPUWeight", kNumber},           PropertyRow{"pids.max", "TasksMax", kNumber},      PropertyRow{"cpuset.cpus", "AllowedCPUs", kBytes},
    PropertyRow{"cpuset.mems", "AllowedMemoryNodes", kBytes},  PropertyRow{"cpu.shares", "CPUShares", kNumber},   PropertyRow{"memory.limit_in_bytes", "MemoryLimit", kNumber},
    PropertyRow{"blkio.weight", "BlockIOWeight", kNumber}};

void put_name(BusWriter& out, std::string_view name, std::string_view signature) {
  out.begin_struct();
  out.put_text(name);
  out.put_signature(signature);
}

void put_text(BusWriter& out, std::string_view name, std::string_view value) {
  put_name(out, name, "s");
  out.put_text(value);
}

void put_true(BusWriter& out, std::string_view name) {
  put_name(out, name, "b");
  out.put_bool(true);
}

void put_property(BusWriter& out, const ScopeProperty& property) {
  if (property.type == kNumber) {
    put_name(out, property.name, "t");
    out.put_u64(property.number);
    return;
  }
  put_name(out, property.name, "ay");
  BusWriter::Array bits = out.begin_array(1);
  for (char byte : property.bytes) out.put_byte(static_cast<std::uint8_t>(byte));
  out.end_array(bits);
}

std::string socket_path(bool of_user) {
  if (!of_user) return "/run/systemd/private";
  const char* directory = std::getenv("XDG_RUNTIME_DIR");
  return directory == nullptr ? std::string() : cat(directory, "/systemd/private");
}

Error error_of(const BusMessage& message, std::string_view method) {
  BusReader in(message.body);
  std::string_view text = message.signature.starts_with('s') ? in.text() : std::string_view();
  Code code = message.error_name == kNoSuchUnit ? Code::kNotFound : message.error_name == kUnitExists ? Code::kAlreadyExists : Code::kFailedPrecondition;
  return Error(code, cat("systemd: ", method, ": ", text.empty() ? std::string_view(message.error_name) : text));
}

}  // namespace

Result<Scope> plan_scope(const std::string& cgroups_path, const std::string& id, bool of_user) {
  std::vector<std::string_view> parts = split(cgroups_path, ':');
  if (cgroups_path.empty()) parts = {"", "monopod", id};
  if (parts.size() != 3)
    return fail(Code::kInvalidArgument, cat("expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got \"", cgroups_path, "\" instead"));
  Scope out;
  out.slice = parts[0].empty() ? (of_user ? "user.slice" : "system.slice") : parts[0];
  out.unit = cat(parts[1], parts[1].empty() ? "" : "-", parts[2], ".scope");
  if (parts[2].empty() || parts[2].ends_with(".slice") || out.unit.size() > kUnitBytesMax || !unit_characters(out.unit))
    return fail(Code::kInvalidArgument, cat("config: linux.cgroupsPath: \"", out.unit, "\" is no name of a scope"));
  TRY_ASSIGN(std::string slice, expand_slice(out.slice));
  out.group = cat(slice, slice.empty() ? "" : "/", out.unit);
  return out;
}

std::vector<ScopeProperty> scope_properties(const std::vector<Setting>& settings) {
  std::vector<ScopeProperty> out;
  std::uint64_t quota = 0;
  std::uint64_t period = 100'000;
  for (const Setting& setting : settings) {
    std::string_view value = setting.value;
    if (setting.file == "cpu.max") {
      auto [first, second] = split_once(value, ' ');
      quota = number_or_infinity(first);
      period = number_or_infinity(second.value_or("100000"));
    }
    if (setting.file == "cpu.cfs_quota_us") quota = number_or_infinity(value);
    if (setting.file == "cpu.cfs_period_us") period = number_or_infinity(value);
    if (setting.file == "io.weight" && value.starts_with("default ")) out.push_back({"IOWeight", kNumber, number_or_infinity(value.substr(8)), {}});
    auto row = std::find_if(kPropertyRows.begin(), kPropertyRows.end(), [&](const PropertyRow& r) { return r.file == setting.file; });
    if (row == kPropertyRows.end()) continue;
    if (row->type == kBytes) out.push_back({row->property, kBytes, 0, parse_set(value)});
    else out.push_back({row->property, kNumber, number_or_infinity(value), {}});
  }
  if (quota != 0) out.push_back({"CPUQuotaPerSecUSec", kNumber, quota_per_second(quota, period), {}});
  return out;
}

Result<Systemd> Systemd::connect() {
  bool of_user = ::geteuid() != 0 || !sys::in_initial_user_namespace();
  std::string path = socket_path(of_user);
  struct sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) return fail(Code::kUnavailable, "systemd does not run here: XDG_RUNTIME_DIR is not set");
  std::memcpy(address.sun_path, path.data(), path.size());
  sys::Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket) return fail_errno("make socket");
  if (::connect(socket.get(), reinterpret_cast<struct sockaddr*>(&address), sizeof address) < 0) {
    std::string why = errno_error(errno, cat("connect to ", path)).message();
    return fail(Code::kUnavailable, cat("systemd does not run here: ", why));
  }
  Systemd out(std::move(socket), of_user);
  TRY(out.log_in());
  return out;
}

// What is there, at least a byte.
Result<> Systemd::fill() {
  struct pollfd wait = {socket_.get(), POLLIN, 0};
  int n;
  do n = ::poll(&wait, 1, kAnswerWaitMs);
  while (n < 0 && errno == EINTR);
  if (n == 0) return fail(Code::kDeadlineExceeded, "systemd does not answer");
  std::array<char, 4096> buffer;
  ssize_t bytes = ::read(socket_.get(), buffer.data(), buffer.size());
  if (bytes < 0 && errno == EINTR) return {};
  if (bytes < 0) return fail_errno("read from systemd");
  if (bytes == 0) return fail(Code::kUnavailable, "systemd closed the connection");
  received_.append(buffer.data(), static_cast<std::size_t>(bytes));
  return received_.size() > 2 * kBusMessageBytesMax ? fail(Code::kDataLoss, "systemd: an endless message") : Result<>();
}

// The kernel says who we are, also from inside a user namespace, where our own number is another one. The answer is "DATA" and "OK <id>".
Result<> Systemd::log_in() {
  constexpr char kWords[] = "\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n";
  TRY(send_all(socket_.get(), std::string_view(kWords, sizeof kWords - 1)));
  for (;;) {
    std::size_t end = received_.find("\r\n");
    if (end == std::string::npos) {
      TRY(fill());
      continue;
    }
    std::string line = received_.substr(0, end);
    received_.erase(0, end + 2);
    if (line.starts_with("OK")) return {};
    if (!line.starts_with("DATA")) return fail(Code::kPermissionDenied, cat("systemd: ", line));
  }
}

Result<BusMessage> Systemd::receive() {
  for (;;) {
    TRY_ASSIGN(std::optional<BusMessage> message, parse_bus_message(received_));
    if (message) return std::move(*message);
    TRY(fill());
  }
}

// JobRemoved(id, job, unit, result) may come before anybody waits for it.
void Systemd::note(const BusMessage& message) {
  if (message.type != BusMessageType::kSignal || message.member != "JobRemoved" || message.signature != "uoss") return;
  BusReader in(message.body);
  in.u32();
  std::string job(in.text());
  in.text();
  ended_.emplace_back(std::move(job), in.text());
}

Result<BusMessage> Systemd::call(std::string_view interface, std::string_view method, std::string_view signature, std::string body) {
  BusMessage message;
  message.serial = ++serial_;
  message.path = kPath;
  message.interface = interface;
  message.member = method;
  message.signature = signature;
  message.body = std::move(body);
  TRY(send_all(socket_.get(), format_bus_message(message)));
  for (;;) {
    TRY_ASSIGN(BusMessage answer, receive());
    note(answer);
    if (answer.reply_serial != message.serial) continue;
    if (answer.type == BusMessageType::kError) return fail(error_of(answer, method));
    if (answer.type == BusMessageType::kReturn) return answer;
  }
}

Result<> Systemd::run_job(std::string_view method, std::string_view signature, std::string body) {
  TRY_ASSIGN(BusMessage answer, call(kManager, method, signature, std::move(body)));
  std::string job(BusReader(answer.body).text());
  for (;;) {
    auto it = std::find_if(ended_.begin(), ended_.end(), [&](const auto& entry) { return entry.first == job; });
    if (it != ended_.end()) return it->second == "done" ? Result<>() : fail(Code::kFailedPrecondition, cat("systemd: ", method, ": the job ended as ", it->second));
    TRY_ASSIGN(BusMessage message, receive());
    note(message);
  }
}

Result<std::string> Systemd::control_group() {
  BusWriter body;
  body.put_text(kManager);
  body.put_text("ControlGroup");
  TRY_ASSIGN(BusMessage answer, call("org.freedesktop.DBus.Properties", "Get", "ss", body.bytes()));
  BusReader in(answer.body);
  if (in.signature() != "s") return fail(Code::kDataLoss, "systemd: Get: ControlGroup is no text");
  std::string group(in.text());
  return group == "/" ? std::string() : group;
}

Result<> Systemd::start_scope(const Scope& scope, const std::string& description, int pid, const std::vector<Setting>& settings) {
  BusWriter body;
  body.put_text(scope.unit);
  body.put_text("replace");
  BusWriter::Array properties = body.begin_array(8);
  put_text(body, "Description", description);
  put_text(body, "Slice", scope.slice);
  put_text(body, "CollectMode", "inactive-or-failed");  // nobody has to forget it when its program failed
  put_name(body, "PIDs", "au");
  BusWriter::Array pids = body.begin_array(4);
  body.put_u32(static_cast<std::uint32_t>(pid));
  body.end_array(pids);
  put_name(body, "DefaultDependencies", "b");
  body.put_bool(false);
  for (const char* name : {"Delegate", "MemoryAccounting", "CPUAccounting", "TasksAccounting", "IOAccounting"}) put_true(body, name);
  for (const ScopeProperty& property : scope_properties(settings)) put_property(body, property);
  body.end_array(properties);
  body.end_array(body.begin_array(8));  // units that come along: none
  return run_job("StartTransientUnit", "ssa(sv)a(sa(sv))", body.bytes());
}

Result<> Systemd::set_limits(const std::string& unit, const std::vector<Setting>& settings) {
  BusWriter body;
  body.put_text(unit);
  body.put_bool(true);  // until the next boot
  BusWriter::Array properties = body.begin_array(8);
  for (const ScopeProperty& property : scope_properties(settings)) put_property(body, property);
  body.end_array(properties);
  TRY(call(kManager, "SetUnitProperties", "sba(sv)", body.bytes()));
  return {};
}

Result<> Systemd::stop_scope(const std::string& unit) {
  BusWriter body;
  body.put_text(unit);
  body.put_text("replace");
  Result<> stopped = run_job("StopUnit", "ss", body.bytes());
  return stopped || stopped.error().code() == Code::kNotFound ? Result<>() : stopped;
}

}  // namespace monopod::container::oci
