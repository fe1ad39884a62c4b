// /v1/config: the configuration, its changes and its history.
#pragma once

#include "api/router.h"
#include "reconcile/config_changes.h"

namespace viaduct::store {
class Database;
}
namespace viaduct::reconcile {
class Reconciler;
}

namespace viaduct::api {

/// References must outlive the router. /v1/config/desired is what configuration and pods want together, each
/// object with whom it is from.
void add_config_routes(Router& router, store::Database& database, const reconcile::Reconciler& reconciler,
                       reconcile::ConfigChanges& changes);

/// What came of a change, as every request for one is answered.
Json::Value outcome_to_json(const reconcile::ConfigChanges::Outcome& outcome, bool dry_run);

}  // namespace viaduct::api
