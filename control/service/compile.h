// A service as manifests say it becomes what the dataplane answers at: for each port its places and its
// backends, by the rules of Kubernetes' "Virtual IPs and Service Proxies". A function of what it is given:
// nothing is remembered here.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "viaduct/model.h"

#include "kubernetes/objects.h"
#include "service/allocation.h"
#include "service/settings.h"

namespace viaduct::service {

/// What a service is made of, beside itself.
struct Surroundings {
    const Settings& settings;
    const kubernetes::Objects& objects;
    std::vector<IpAddress> node_addresses;  ///< where node ports are found
    std::string zone;                       ///< this node's; empty: not known
    /// Addresses that a pod got here, of pods whose manifest says none; empty: it is not here.
    std::function<std::vector<IpAddress>(const kubernetes::ObjectName& pod)> addresses_of;
    /// Whether an endpoint of no node that is told is on this one.
    std::function<bool(const IpAddress&)> is_here;
    /// Which service has a place that is asked for by hand.
    std::function<kubernetes::ObjectName(const IpAddress&, model::Transport, std::uint16_t)> holder_of;
};

/// One for each port, in the order of their names; none for services without a virtual IP.
std::vector<model::Service> compile(const kubernetes::Stored<kubernetes::Service>& service,
                                    const Allocated& allocated, const Surroundings& around,
                                    std::vector<Fault>& faults);

/// A service's way of balancing, as its annotation says.
inline constexpr std::string_view kBalanceAnnotation = "viaduct.io/balance";

/// Whether all of a selector's labels are among these; an empty selector selects nothing.
bool selects(const kubernetes::Labels& selector, const kubernetes::Labels& labels);

}  // namespace viaduct::service
