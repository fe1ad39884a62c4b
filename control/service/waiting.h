// Waiting until manifests that were applied or deleted are in force in the dataplane: read, compiled, and
// their transaction committed. Or until it is known which of them is not to be, and why.
#pragma once

#include <chrono>
#include <set>
#include <string>
#include <vector>

#include "kubernetes/reader.h"
#include "reconcile/reconciler.h"
#include "service/services.h"
#include "source/applied.h"
#include "source/merged.h"

namespace viaduct::service {

/// What of a change is not in force.
struct NotInForce {
    kubernetes::ObjectId id;
    std::string reason;  ///< "the dataplane is away: ..."
    friend bool operator==(const NotInForce&, const NotInForce&) = default;
};

/// For one request. All must outlive it.
class Waiting {
public:
    Waiting(const source::Applied& applied, const source::Merged& sources, const Services& services,
            reconcile::Reconciler& reconciler)
        : applied_(applied), sources_(sources), services_(services), reconciler_(reconciler) {}

    /// `all`: what has become of the objects. Returns as soon as each is in force or known not to come
    /// into force, or `patience` is over, or the services are stopped: those that are not in force then. Not
    /// while a lock is held.
    std::vector<NotInForce> wait(const std::vector<source::Applying>& all,
                                 std::chrono::milliseconds patience);

private:
    struct Watched;
    struct Standing;

    Watched watched(const source::Applying& one) const;
    [[nodiscard]] bool is_read(const Watched& one, const View& view) const;
    [[nodiscard]] std::set<kubernetes::ObjectName> services_of(const Watched& one, const View& view) const;
    [[nodiscard]] Standing standing_of(const Watched& one, const View& view, const model::Config& in_force);
    [[nodiscard]] Standing standing_of(const kubernetes::ObjectName& service, const View& view,
                                       const model::Config& in_force);

    const source::Applied& applied_;
    const source::Merged& sources_;
    const Services& services_;
    reconcile::Reconciler& reconciler_;
    /// From this comparison on what the dataplane does not get is told with its reason; 0: not looked yet.
    std::uint64_t told_from_ = 0;
};

}  // namespace viaduct::service
