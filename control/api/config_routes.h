// /v1/config: the configuration, its changes and its history.
#pragma once

#include "api/router.h"

namespace viaduct::store {
class Database;
}
namespace viaduct::reconcile {
class ConfigChanges;
}

namespace viaduct::api {

/// Both must outlive the router.
void add_config_routes(Router& router, store::Database& database, reconcile::ConfigChanges& changes);

}  // namespace viaduct::api
