// The endpoints of a service's port, whoever tells of them: each with its state and, where it gets no new
// flows, the reason. What the dataplane is given is those that are used; people are shown all.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "viaduct/model.h"

#include "kubernetes/objects.h"
#include "service/surroundings.h"

namespace viaduct::service {

/// The share of new flows that endpoints get, 1 to 256, where others get 1: an annotation of a slice or
/// Endpoints, for all in it; an annotation or label of a pod.
inline constexpr std::string_view kWeightName = "viaduct.io/weight";

/// Of which kind what tells of an endpoint is.
enum class EndpointSource : std::uint8_t {
    slice,     ///< an EndpointSlice or Endpoints, at `origin`
    manifest,  ///< the service's selector, and a Pod's manifest at `origin`
    attached,  ///< the service's selector, and the labels of a pod that is attached here
};

struct EndpointState {
    model::Backend backend;  ///< as the dataplane is to have it
    bool used = false;       ///< is among what it has
    // As Kubernetes has them.
    bool ready = false;
    bool serving = false;
    bool terminating = false;
    bool drained = false;         ///< by hand
    const char* why = "";         ///< it is not simply ready, in words
    kubernetes::SharedText node;  ///< empty: not told
    kubernetes::SharedText zone;
    // For which zones and nodes it is meant, where somebody says so, and whether these are this node's.
    bool has_zones = false;
    bool has_nodes = false;
    bool of_zone = false;
    bool of_node = false;
    EndpointSource source = EndpointSource::slice;
    kubernetes::Origin origin;
};

/// In the order in which they are told; one place may come more than once, while an endpoint moves from slice
/// to slice. What keeps a selector from having an endpoint is a fault.
std::vector<EndpointState> endpoints_of(const kubernetes::Stored<kubernetes::Service>& service,
                                        const kubernetes::ServicePort& port, const Surroundings& around,
                                        std::vector<Fault>& faults);

/// Whether all of a selector's labels are among these; an empty selector selects nothing.
bool selects(const kubernetes::Labels& selector, const kubernetes::Labels& labels);

}  // namespace viaduct::service
