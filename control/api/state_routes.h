// What is looked at rather than configured: the dataplane's state passed through, health, and the logs'
// levels.
#pragma once

#include <string>

#include "api/router.h"

namespace viaduct::store {
class Database;
}
namespace viaduct::reconcile {
class Reconciler;
}

namespace viaduct::api {

/// /v1/state/{info,ports,stats,fdb,neighbours} and /v1/state/{fdb,neighbours}/flush, asked of the dataplane
/// as they come.
void add_state_routes(Router& router, const std::string& dataplane_socket);

/// /v1/health and /v1/log. References must outlive the router.
void add_service_routes(Router& router, const std::string& dataplane_socket, store::Database& database,
                        const reconcile::Reconciler& reconciler);

}  // namespace viaduct::api
