// What people are told about services: which there are, who answers there, and what each backend has to do.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "viaduct/service_model.h"

namespace viaduct::dataplane {

/// Of a backend's live flows; what ended is not in it.
struct BackendTraffic {
    std::uint64_t connections = 0;
    std::uint64_t tx_packets = 0;  ///< to the backend
    std::uint64_t tx_bytes = 0;
    std::uint64_t rx_packets = 0;  ///< from the backend
    std::uint64_t rx_bytes = 0;
};

struct ServiceTraffic {
    const model::Service* config = nullptr;  ///< while it is visited
    std::uint64_t flows = 0;                 ///< that were given a backend, since the dataplane has started
    std::uint64_t refused = 0;  ///< packets for which there was no backend, or whose client may not
    std::vector<BackendTraffic> backends;  ///< in the order of the service's
};

/// Services by name: all ports of one, or one port.
struct ServiceName {
    std::string namespace_;
    std::string name;
    std::optional<std::string> port;
    [[nodiscard]] bool matches(const model::Service& service) const {
        return service.namespace_ == namespace_ && service.name == name && (!port || service.port == *port);
    }
};

/// "NAMESPACE/NAME" or "NAMESPACE/NAME/PORT"; nothing: it is neither.
std::optional<ServiceName> service_name(std::string_view text);
std::string to_string(const ServiceName& name);

struct ServiceSum {
    std::string label;  ///< "apps/web/http"
    std::uint64_t flows = 0;
    std::uint64_t refused = 0;
};

struct ServiceSums {
    std::size_t services = 0;
    std::size_t affinities = 0;  ///< clients whose backend is remembered
    std::uint64_t flows = 0;
    std::uint64_t refused = 0;
    std::vector<ServiceSum> each;  ///< sorted by label; none when there are more than were asked for
};

}  // namespace viaduct::dataplane
