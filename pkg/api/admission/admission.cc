#include "api/admission/admission.h"

namespace monopod::api {

async::Task<Outcome<>> AdmissionPlugin::mutate(AdmissionRequest&) { co_return Outcome<>(); }
async::Task<Outcome<>> AdmissionPlugin::validate(AdmissionRequest&) { co_return Outcome<>(); }

async::Task<Outcome<>> AdmissionChain::mutate(AdmissionRequest& request) {
  for (const auto& plugin : plugins_)
    if (plugin->handles(request)) CO_OUT(co_await plugin->mutate(request));
  co_return Outcome<>();
}

async::Task<Outcome<>> AdmissionChain::validate(AdmissionRequest& request) {
  for (const auto& plugin : plugins_)
    if (plugin->handles(request)) CO_OUT(co_await plugin->validate(request));
  co_return Outcome<>();
}

bool AdmissionChain::idle(const AdmissionRequest& request) const {
  return std::ranges::none_of(plugins_, [&](const auto& plugin) { return plugin->handles(request); });
}

}  // namespace monopod::api
