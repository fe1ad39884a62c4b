// What a service is made of beside itself: the node, the pods that are attached here, everybody else's
// manifests.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "viaduct/address.h"
#include "viaduct/labels.h"
#include "viaduct/model.h"

#include "kubernetes/objects.h"
#include "service/drains.h"
#include "service/settings.h"

namespace viaduct::service {

/// A pod that is attached here, as CNI or whoever plugged it in knows it.
struct AttachedPod {
    std::vector<IpAddress> addresses;
    Labels labels;
    friend bool operator==(const AttachedPod&, const AttachedPod&) = default;
};
using AttachedPods = std::map<kubernetes::ObjectName, AttachedPod>;

/// What of this node services are made of. Immutable once it is in use.
struct Here {
    std::vector<IpAddress> node_addresses;  ///< where node ports are found
    std::vector<Prefix> local_networks;     ///< of which an endpoint of no node that is told is on this one
    std::string zone;                       ///< this node's; empty: not known
    /// They supply the addresses of pods whose manifest says none, and are a selector's endpoints themselves
    /// where there is no manifest of their name.
    AttachedPods pods;
    Drained drained;  ///< by hand
};

struct Surroundings {
    const Settings& settings;
    const kubernetes::Objects& objects;
    const Here& here;
    /// Which service has a place that is asked for by hand.
    std::function<kubernetes::ObjectName(const IpAddress&, model::Transport, std::uint16_t)> holder_of;
};

}  // namespace viaduct::service
