// /v1/config: the configuration, its changes and its history.
#pragma once

#include "api/router.h"

namespace viaduct::store {
class Database;
}
namespace viaduct::reconcile {
class ConfigChanges;
class Reconciler;
}  // namespace viaduct::reconcile

namespace viaduct::api {

/// References must outlive the router. /v1/config/desired is what configuration and pods want together, each
/// object with whom it is from.
void add_config_routes(Router& router, store::Database& database, const reconcile::Reconciler& reconciler,
                       reconcile::ConfigChanges& changes);

}  // namespace viaduct::api
