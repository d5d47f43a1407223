// bbolt's file format (go.etcd.io/bbolt; its page and meta layouts are facts of the format), as etcd's member/snap/db and snapshots use it.
//
//   page    id u64 | flags u16 | count u16 | overflow u32 | elements ...      little endian; overflow: pages that follow and belong to it
//   page 0, 1   meta: magic u32 | version u32 | page size u32 | flags u32 | root bucket: page u64, sequence u64 | freelist page u64 |
//               first page never used u64 | transaction u64 | FNV-1a 64 of the meta before this u64.  The higher valid transaction counts.
//   branch  count x (pos u32 | key bytes u32 | page u64), then the keys;  pos counts from the element's own start
//   leaf    count x (flags u32 | pos u32 | key bytes u32 | value bytes u32), then key and value of each; flag 1: the value is a bucket
//   bucket  root page u64 | sequence u64;  root 0: the bucket's only page follows right there (inline)
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace monopod::etcd::bolt {

inline constexpr std::uint32_t kMagic = 0xED0CDAED;
inline constexpr std::uint32_t kVersion = 2;
inline constexpr std::uint16_t kBranchPage = 0x01;
inline constexpr std::uint16_t kLeafPage = 0x02;
inline constexpr std::uint16_t kMetaPage = 0x04;
inline constexpr std::uint16_t kFreelistPage = 0x10;
inline constexpr std::uint32_t kBucketFlag = 0x01;
inline constexpr std::size_t kPageHeaderBytes = 16;
inline constexpr std::size_t kElementBytes = 16;  // of a branch or a leaf
inline constexpr std::size_t kBucketBytes = 16;
inline constexpr std::size_t kMetaBytes = 64;     // checksum included
inline constexpr std::size_t kPageBytes = 4096;   // of files written here
inline constexpr std::size_t kPageBytesMin = 1024;
inline constexpr std::size_t kPageBytesMax = 65536;

template <typename T>
T load(std::string_view bytes, std::size_t at) {  // the caller has checked the bounds
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}
template <typename T>
void append(std::string& out, T value) {
  char bytes[sizeof value];
  std::memcpy(bytes, &value, sizeof value);
  out.append(bytes, sizeof bytes);
}

inline std::uint64_t fnv1a(std::string_view bytes) {
  std::uint64_t hash = 14695981039346656037ULL;
  for (char c : bytes) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
  return hash;
}

}  // namespace monopod::etcd::bolt
