// /v1/endpoints: services' endpoints with their states, and operators' word on them.
#pragma once

#include <string>

#include "api/router.h"
#include "service/services.h"

namespace viaduct::service {

/// GET ?service=NAMESPACE/NAME&address=A tells those that there are, used or not, and why not. POST
/// /v1/endpoints/drain {"service", "address", "drained": true or false} takes one out for new connections, or
/// back; in force when it answers.
void add_endpoint_routes(api::Router& router, Services& services, const std::string& dataplane_socket);

}  // namespace viaduct::service
