// /v1/manifests: objects that people apply by hand, and a look at those of all sources.
#pragma once

#include "api/router.h"
#include "reconcile/reconciler.h"
#include "service/services.h"
#include "source/applied.h"
#include "source/merged.h"
#include "store/database.h"

namespace viaduct::service {

/// All must outlive the router.
struct ManifestRoom {
    source::Applied& applied;
    const source::Merged& all;  ///< `applied` among them
    const Services& services;
    reconcile::Reconciler& reconciler;
    store::Database& database;
};

/// POST {"text": YAML or JSON, "file": its name for messages, "dry_run"} or {"files": [{"text", "file"},
/// ...]} puts all of it or nothing. DELETE takes the same, or {"kind", "namespace", "name"}, and with
/// "ignore_absent" goes on where an object is not there. With "wait_seconds" (1 to 3600) both answer when
/// what was changed is in force, and tell in "not_in_force" [{"object", "reason"}] what is not by then. GET
/// ?kind=&namespace=&name= tells objects as manifests, with their origin.
void add_manifest_routes(api::Router& router, const ManifestRoom& room);

}  // namespace viaduct::service
