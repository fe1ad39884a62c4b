// A service as manifests say it becomes what the dataplane answers at: for each port its places and its
// backends, by the rules of Kubernetes' "Virtual IPs and Service Proxies". A function of what it is given:
// nothing is remembered here.
#pragma once

#include <string_view>
#include <vector>

#include "viaduct/model.h"

#include "kubernetes/objects.h"
#include "service/allocation.h"
#include "service/surroundings.h"

namespace viaduct::service {

/// One for each port, in the order of their names; none for services without a virtual IP.
std::vector<model::Service> compile(const kubernetes::Stored<kubernetes::Service>& service,
                                    const Allocated& allocated, const Surroundings& around,
                                    std::vector<Fault>& faults);

/// A service's way of balancing, as its annotation says.
inline constexpr std::string_view kBalanceAnnotation = "viaduct.io/balance";

}  // namespace viaduct::service
