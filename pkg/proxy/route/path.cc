#include "proxy/route/path.h"

#include <array>
#include <cstdint>

namespace monopod::proxy {
namespace {

bool is_unreserved(unsigned char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' || c == '~'; }

int hex(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// Bytes after which a path may be other than it looks.
bool is_plain(std::string_view path, bool merge_slashes) {
  for (std::size_t i = 0; i < path.size(); ++i) {
    char c = path[i];
    if (c == '%' || c == '\\' || static_cast<unsigned char>(c) >= 0x80) return false;
    if (c == '/' && i + 1 < path.size() && (path[i + 1] == '.' || (path[i + 1] == '/' && merge_slashes))) return false;
  }
  return true;
}

// Unescapes what needs none. False: refused.
bool decode(std::string_view path, std::string& out) {
  for (std::size_t i = 0; i < path.size(); ++i) {
    if (path[i] == '\\') return false;
    if (path[i] != '%') {
      out += path[i];
      continue;
    }
    int high = i + 2 < path.size() ? hex(path[i + 1]) : -1;
    int low = i + 2 < path.size() ? hex(path[i + 2]) : -1;
    if (high < 0 || low < 0) return false;
    auto byte = static_cast<unsigned char>(high * 16 + low);
    if (byte < 0x20 || byte == 0x7f || byte == '/' || byte == '\\') return false;
    if (is_unreserved(byte)) {
      out += static_cast<char>(byte);
    } else {
      constexpr std::string_view kDigits = "0123456789ABCDEF";
      out += '%';
      out += kDigits[byte >> 4];
      out += kDigits[byte & 15];
    }
    i += 2;
  }
  return true;
}

// Segments one by one. False: above the root.
bool resolve(std::string_view path, bool merge_slashes, std::string& out) {
  for (std::size_t at = 0; at < path.size();) {
    std::size_t end = std::min(path.find('/', at + 1), path.size());
    std::string_view segment = path.substr(at + 1, end - at - 1);
    bool last = end == path.size();
    at = end;
    if (segment.starts_with("..;") || segment.starts_with(".;")) return false;
    if (segment == ".") {
      if (last) out += '/';
    } else if (segment == "..") {
      std::size_t parent = out.rfind('/');
      if (parent == std::string::npos) return false;
      out.resize(parent);
      if (last) out += '/';
    } else if (!segment.empty() || last || !merge_slashes) {
      out += '/';
      out += segment;
    }
  }
  return true;
}

}  // namespace

PathVerdict normalize_path(std::string_view target, bool merge_slashes, std::string& out) {
  std::size_t query = std::min(target.find('?'), target.size());
  std::string_view path = target.substr(0, query);
  if (is_plain(path, merge_slashes)) return PathVerdict::kAsIs;
  std::string decoded;
  if (!decode(path, decoded)) return PathVerdict::kRefused;
  out.clear();
  if (!resolve(decoded, merge_slashes, out)) return PathVerdict::kRefused;
  if (out.empty()) out = "/";
  if (out == path) return PathVerdict::kAsIs;
  out += target.substr(query);
  return PathVerdict::kRewritten;
}

}  // namespace monopod::proxy
