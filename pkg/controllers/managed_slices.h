// The EndpointSlices that one controller keeps for services: found again by label, written over, made and removed.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "controllers/controllers.h"

namespace monopod::controllers {

inline constexpr std::size_t kSliceEndpointsMax = 100;  // in one slice, as upstream

// One slice as it should be.
struct WantedSlice {
  std::string address_type = "IPv4";
  json::Array ports = {};
  json::Array endpoints = {};
};

// Cuts a slice into ones of at most kSliceEndpointsMax endpoints, appended to out.
void append_slices(const WantedSlice& whole, std::vector<WantedSlice>& out);

class ManagedSlices {
 public:
  // manager: the value of the label endpointslice.kubernetes.io/managed-by. on_change gets "ns/service" of every slice of this manager that changes.
  ManagedSlices(const ControllerParts& parts, std::string_view manager, std::function<void(std::string)> on_change);

  // The cache lags behind our own creations for this service; their arrival calls on_change.
  bool lags(const std::string& key) const;
  void forget(const std::string& key) { unseen_.erase(key); }

  struct Of {
    std::string key;  // "ns/service"
    client::Resource resource;
    const client::Object& object;  // owns the slices
    json::Object labels;           // further ones
    json::Object annotations = {};
  };
  // Makes the service's slices these. of.object outlives the call.
  async::Task<Result<>> put(Of of, std::vector<WantedSlice> wanted);

 private:
  async::Task<Result<>> put_one(const Of& of, const json::Object& labels, WantedSlice& slice, std::vector<client::ObjectPtr>& existing);

  ControllerParts parts_;
  std::string manager_;
  client::Informer& slices_;
  std::map<std::string, std::set<std::string>> unseen_;  // service -> slices we made that the informer has not shown yet
};

}  // namespace monopod::controllers
