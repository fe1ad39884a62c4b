// The API of taken interfaces: POST /v1/uplinks/take, confirm and release, GET /v1/uplinks.
#pragma once

#include "api/router.h"

namespace viaduct::host {

class Taken;

void register_routes(api::Router& router, Taken& taken);

}  // namespace viaduct::host
