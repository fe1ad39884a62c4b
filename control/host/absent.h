// Taken interfaces that are not there: a card that comes late after a reboot, or not at all. Until one is,
// the dataplane has neither its uplink nor the TAP of its name, which would keep the card from getting that
// name.
#pragma once

#include <mutex>
#include <set>
#include <string>

#include "reconcile/reconciler.h"

namespace viaduct::host {

/// The last source of desired state: it adds nothing. Any thread.
class Absent final : public reconcile::DesiredSource {
public:
    void contribute(store::Transaction& tx, model::Config& desired, Faults& faults) const override;
    /// True when that changed something: the dataplane is to be compared.
    bool set(const std::string& interface, bool absent);

private:
    mutable std::mutex mutex_;  ///< taken inside a transaction, never around one
    std::set<std::string> absent_;
};

}  // namespace viaduct::host
