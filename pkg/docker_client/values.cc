#include "docker_client/values.h"

#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>

#include "base/duration.h"
#include "base/strings.h"
#include "sys/root.h"

namespace monopod::docker_client {
namespace {

constexpr std::size_t kEnvFileBytesMax = 4U << 20;
constexpr int kPortsOfARangeMax = 1000;

std::optional<double> number_of(std::string_view text) {
  double value = 0;
  auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value, std::chars_format::fixed);
  if (text.empty() || ec != std::errc() || end != text.data() + text.size() || !std::isfinite(value)) return std::nullopt;
  return value;
}

struct PortRange {
  int first = 0, last = 0;
};
Result<PortRange> parse_range(std::string_view text, std::string_view whole) {
  auto [first, last] = split_once(text, '-');
  auto a = parse_int<int>(first);
  auto b = last ? parse_int<int>(*last) : a;
  if (!a || !b || *a < 1 || *b > 65535 || *a > *b || *b - *a >= kPortsOfARangeMax) return fail(Code::kInvalidArgument, cat("invalid port \"", whole, "\": want PORT, HOST:PORT or ADDRESS:HOST:PORT"));
  return PortRange{*a, *b};
}

// The protocol behind '/', tcp where none is said.
Result<std::string> take_protocol(std::string_view& text) {
  auto [ports, protocol] = split_once(text, '/');
  std::string out = to_lower(protocol.value_or("tcp"));
  if (out != "tcp" && out != "udp" && out != "sctp") return fail(Code::kInvalidArgument, cat("invalid port \"", text, "\": the protocol is tcp, udp or sctp"));
  text = ports;
  return out;
}

}  // namespace

Result<std::int64_t> parse_size(std::string_view text) {
  std::string lower = to_lower(trim(text));
  std::string_view rest = lower;
  if (rest == "-1") return -1;  // no limit (--memory-swap)
  static constexpr std::string_view kUnits = "kmgtp";
  int power = 0;
  for (std::string_view tail : {"ib", "b"})
    if (rest.ends_with(tail)) {
      rest.remove_suffix(tail.size());
      break;
    }
  if (!rest.empty())
    if (std::size_t unit = kUnits.find(rest.back()); unit != std::string_view::npos) {
      power = static_cast<int>(unit) + 1;
      rest.remove_suffix(1);
    }
  auto value = number_of(trim(rest));
  double bytes = value ? std::ldexp(*value, 10 * power) : -1;
  if (bytes < 0 || bytes > 9e18) return fail(Code::kInvalidArgument, cat("invalid size \"", text, "\": want a number with b, k, m or g"));
  return static_cast<std::int64_t>(bytes);
}

Result<std::int64_t> parse_nanos(std::string_view text) {
  TRY_ASSIGN(Duration d, parse_duration(text));
  return d.count();
}

Result<std::int64_t> parse_cpus(std::string_view text) {
  auto value = number_of(text);
  if (!value || *value < 0 || *value > 1e6) return fail(Code::kInvalidArgument, cat("invalid number of CPUs \"", text, "\""));
  return std::llround(*value * 1e9);
}

Result<> add_exposed_port(std::string_view text, json::Object& exposed) {
  std::string_view ports = text;
  TRY_ASSIGN(std::string protocol, take_protocol(ports));
  TRY_ASSIGN(PortRange range, parse_range(ports, text));
  for (int port = range.first; port <= range.last; ++port) exposed[cat(port, "/", protocol)] = json::Object{};
  return {};
}

Result<> add_published_port(std::string_view text, json::Object& exposed, json::Object& bindings) {
  std::string_view rest = text;
  TRY_ASSIGN(std::string protocol, take_protocol(rest));
  std::size_t colon = rest.rfind(':');
  TRY_ASSIGN(PortRange inside, parse_range(rest.substr(colon == std::string_view::npos ? 0 : colon + 1), text));
  std::string_view address, outside;
  if (colon != std::string_view::npos) {
    outside = rest.substr(0, colon);
    if (std::size_t second = outside.rfind(':'); second != std::string_view::npos) {
      address = outside.substr(0, second);
      outside = outside.substr(second + 1);
      if (address.starts_with('[') && address.ends_with(']')) address = address.substr(1, address.size() - 2);
    } else if (outside.find('.') != std::string_view::npos) {  // an address without a port of the host
      address = outside;
      outside = {};
    }
  }
  PortRange host;
  if (!outside.empty()) {
    TRY_ASSIGN(host, parse_range(outside, text));
    bool one_of_many = inside.first == inside.last && host.first != host.last;  // "8000-9000:80": any of them
    if (!one_of_many && host.last - host.first != inside.last - inside.first) return fail(Code::kInvalidArgument, cat("invalid port \"", text, "\": the ranges differ in length"));
  }
  for (int port = inside.first; port <= inside.last; ++port) {
    std::string key = cat(port, "/", protocol);
    exposed[key] = json::Object{};
    json::Value& list = bindings[key];
    if (!list.is_array()) list = json::Array{};
    list.get_array().push_back(json::Object{{"HostIp", address}, {"HostPort", host.first == 0 ? std::string() : std::to_string(host.first + port - inside.first)}});
  }
  return {};
}

std::string absolute_path(std::string_view path, const std::string& directory) {
  std::string out(path);
  const char* home = std::getenv("HOME");
  if (home != nullptr && (path == "~" || path.starts_with("~/"))) out = cat(home, path.substr(1));
  std::error_code ec;
  std::string base = directory.empty() ? std::filesystem::current_path(ec).string() : directory;
  std::string whole = out.starts_with('/') ? out : cat(base, "/", out);
  out = std::filesystem::path(whole).lexically_normal().string();
  if (out.size() > 1 && out.ends_with('/')) out.pop_back();
  return out;
}

Result<> add_volume(std::string_view text, const std::string& directory, json::Array& binds, json::Object& volumes) {
  if (text.empty()) return fail(Code::kInvalidArgument, "invalid volume \"\": want SOURCE:/target or /target");
  auto [source, target] = split_once(text, ':');
  if (!target) {
    if (!text.starts_with('/')) return fail(Code::kInvalidArgument, cat("invalid volume \"", text, "\": the path in the container must be absolute"));
    volumes[text] = json::Object{};
    return {};
  }
  if (!target->starts_with('/')) return fail(Code::kInvalidArgument, cat("invalid volume \"", text, "\": the path in the container must be absolute"));
  bool is_path = source.starts_with('.') || source.starts_with('~') || source.starts_with('/');
  binds.push_back(json::Value(is_path ? cat(absolute_path(source, directory), ":", *target) : std::string(text)));
  return {};
}

Result<json::Value> parse_mount(std::string_view text) {
  json::Value out = json::Object{{"Type", "volume"}};
  auto truth = [](std::optional<std::string_view> value) { return !value || *value == "true" || *value == "1"; };
  for (std::string_view part : split(text, ',')) {
    auto [key, value] = split_once(part, '=');
    std::string_view v = value.value_or("");
    if (key == "type") out.get_object()["Type"] = v;
    else if (key == "source" || key == "src") out.get_object()["Source"] = v;
    else if (key == "target" || key == "dst" || key == "destination") out.get_object()["Target"] = v;
    else if (key == "readonly" || key == "ro") out.get_object()["ReadOnly"] = truth(value);
    else if (key == "bind-propagation") json::at_path(out, {"BindOptions", "Propagation"}) = v;
    else if (key == "volume-nocopy") json::at_path(out, {"VolumeOptions", "NoCopy"}) = truth(value);
    else if (key == "tmpfs-size") {
      TRY_ASSIGN(std::int64_t bytes, parse_size(v));
      json::at_path(out, {"TmpfsOptions", "SizeBytes"}) = bytes;
    } else if (key == "tmpfs-mode") {
      int mode = 0;
      auto [end, ec] = std::from_chars(v.data(), v.data() + v.size(), mode, 8);
      if (ec != std::errc() || end != v.data() + v.size()) return fail(Code::kInvalidArgument, cat("--mount ", text, ": tmpfs-mode wants octal digits"));
      json::at_path(out, {"TmpfsOptions", "Mode"}) = mode;
    } else {
      return fail(Code::kInvalidArgument, cat("--mount ", text, ": unexpected key '", key, "'"));
    }
  }
  if (json::get_string(out, {"Target"}).empty()) return fail(Code::kInvalidArgument, cat("--mount ", text, ": target is required"));
  if (json::get_string(out, {"Type"}) == "bind") out.get_object()["Source"] = absolute_path(json::get_string(out, {"Source"}), "");
  return out;
}

Result<json::Value> parse_ulimit(std::string_view text) {
  auto [name, limits] = split_once(text, '=');
  auto [soft, hard] = split_once(limits.value_or(""), ':');
  auto s = parse_int<std::int64_t>(soft);
  auto h = hard ? parse_int<std::int64_t>(*hard) : s;
  if (name.empty() || !s || !h) return fail(Code::kInvalidArgument, cat("invalid ulimit \"", text, "\": want NAME=SOFT[:HARD]"));
  return json::Value(json::Object{{"Name", name}, {"Soft", *s}, {"Hard", *h}});
}

Result<json::Value> parse_device(std::string_view text) {
  auto parts = split(text, ':');
  if (parts.size() > 3 || parts[0].empty()) return fail(Code::kInvalidArgument, cat("invalid device \"", text, "\": want PATH[:PATH-INSIDE[:rwm]]"));
  std::string_view inside = parts[0], access = "rwm";
  if (parts.size() == 2 && !parts[1].starts_with('/')) access = parts[1];
  else if (parts.size() > 1) inside = parts[1];
  if (parts.size() == 3) access = parts[2];
  return json::Value(json::Object{{"PathOnHost", parts[0]}, {"PathInContainer", inside}, {"CgroupPermissions", access}});
}

Result<json::Value> parse_restart_policy(std::string_view text) {
  auto [name, retries] = split_once(text, ':');
  auto count = retries ? parse_int<int>(*retries) : 0;
  if (!count) return fail(Code::kInvalidArgument, cat("invalid restart policy \"", text, "\": want no, always, unless-stopped or on-failure[:RETRIES]"));
  return json::Value(json::Object{{"Name", name}, {"MaximumRetryCount", *count}});
}

void add_environment(std::string_view line, std::vector<std::string>& out) {
  if (line.find('=') != std::string_view::npos) {
    out.emplace_back(line);
    return;
  }
  std::string name(line);
  if (const char* own = std::getenv(name.c_str()); own != nullptr) out.push_back(cat(name, "=", own));
}

Result<std::vector<std::string>> read_env_file(const std::string& path) {
  TRY_ASSIGN(std::string text, sys::read_host_file(path, kEnvFileBytesMax));
  std::vector<std::string> out;
  std::size_t number = 0;
  for (std::string_view line : split(text, '\n')) {
    ++number;
    while (!line.empty() && (line.front() == ' ' || line.front() == '\t')) line.remove_prefix(1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty() || line.starts_with('#')) continue;
    std::string_view name = split_once(line, '=').first;
    if (name.empty() || name.find(' ') != std::string_view::npos) return fail(Code::kInvalidArgument, cat(path, ": line ", number, ": want NAME=value"));
    add_environment(line, out);
  }
  return out;
}

json::Object object_of_pairs(const std::vector<std::string>& lines) {
  json::Object out;
  for (const std::string& line : lines) {
    auto [key, value] = split_once(line, '=');
    out[key] = value.value_or("");
  }
  return out;
}

}  // namespace monopod::docker_client
