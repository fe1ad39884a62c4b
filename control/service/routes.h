// HTTP for services: what manifests ask for, what was made of it, and who is behind.
#pragma once

#include <string>

#include "api/router.h"

namespace viaduct::service {

class Services;

/// GET /v1/services                      all of them, in short
/// GET /v1/services?service=apps/web     one, with its endpoints and what the dataplane counts of them
void register_routes(api::Router& router, const Services& services, const std::string& dataplane_socket);

}  // namespace viaduct::service
