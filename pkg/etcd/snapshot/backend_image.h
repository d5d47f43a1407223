// What etcd's database file holds of a store (server/storage/schema in etcd's tree: names and encodings are facts of the format): one
// bucket of revisions and some small ones. Snapshots write it, restoring reads it, hashes go over it.
//
//   key     17 bytes: revision u64 big endian | '_' | sub u64 big endian, and 't' behind a tombstone's -> mvccpb.KeyValue
//   lease   id u64 big endian -> leasepb.Lease        meta   scheduledCompactRev, finishedCompactRev: as a key's; consistent_index, term: u64
//   alarm   etcdserverpb.AlarmMember -> ""            members, cluster: who is in it, as JSON and text
//   auth, authUsers, authRoles: auth_image.h
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "etcd/alarms.h"
#include "etcd/snapshot/auth_image.h"
#include "etcd/snapshot/bolt_writer.h"
#include "etcd/snapshot/crc32c.h"
#include "store/dump.h"

namespace monopod::etcd {

// What a file tells besides what is in the store.
struct ImageFacts {
  std::string client_url = "http://127.0.0.1:2379";  // of the member
};

// All but the rows. Blocking: reads the store's state.
Result<Buckets> small_buckets(store::Dump& dump, const ImageFacts& facts);

// Of the bucket "key".
Pair format_row(const store::DumpRow& row);
// A row whose views point into key and value. kDataLoss if they are no record of etcd's.
Result<store::DumpRow> parse_row(std::string_view key, std::string_view value);

// Gathers what the small buckets say about a store; pairs of others are ignored.
class HeadReader {
 public:
  Result<> take(std::string_view bucket, std::string_view key, std::string_view value);
  // current: the newest row's revision.
  store::DumpHead head(std::int64_t current) const;
  const std::vector<Alarm>& alarms() const { return alarms_; }
  const AuthReader& auth() const { return auth_; }

 private:
  store::DumpHead head_;
  AuthReader auth_;
  std::vector<Alarm> alarms_;
};

// What etcd's hashes and counts of a file are.
class ImageHash {
 public:
  void begin_bucket(std::string_view name) { crc_ = crc32c(crc_, name); }
  void add(std::string_view key, std::string_view value) {
    crc_ = crc32c(crc32c(crc_, key), value);
    ++pairs_;
  }
  std::uint32_t value() const { return crc_; }
  std::int64_t pairs() const { return pairs_; }

 private:
  std::uint32_t crc_ = 0;
  std::int64_t pairs_ = 0;
};

// Turns a reading of a store into the image, bucket by bucket.
class ImageWriter {
 public:
  // References outlive the writer. out may be null: then only the hash is made.
  ImageWriter(store::Dump& dump, ImageFacts facts, BoltWriter* out) : dump_(dump), facts_(std::move(facts)), out_(out) {}
  // Blocking: about 1 MiB of it. False: it is complete.
  Result<bool> step();
  std::int64_t revision() const { return revision_; }  // of the newest row so far
  std::int64_t rows() const { return rows_; }
  const ImageHash& hash() const { return hash_; }

 private:
  Result<> write_buckets(Buckets::const_iterator begin, Buckets::const_iterator end);
  Result<> begin_bucket(std::string_view name);
  Result<> add(std::string_view key, std::string_view value);
  Result<> end_bucket() { return out_ ? out_->end_bucket() : Result<>(); }

  store::Dump& dump_;
  ImageFacts facts_;
  Buckets buckets_;
  BoltWriter* out_;
  ImageHash hash_;
  bool started_ = false;
  std::int64_t revision_ = 0;
  std::int64_t rows_ = 0;
};

}  // namespace monopod::etcd
