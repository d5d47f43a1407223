// Whether a request is one of gRPC-Web, and in which form.
#pragma once

namespace monopod::proxy {

struct GrpcWeb {
  bool on = false;            // an answer of gRPC gets its trailers in its body
  bool text_request = false;  // base64, that the endpoint gets as bytes
  bool text_answer = false;
};

}  // namespace monopod::proxy
