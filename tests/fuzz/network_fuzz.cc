// Networks and Docker's requests out of any bytes: refused or read, never worse; what was read and completed
// is the same after its JSON, and what pods ask for on it makes sense.
#include <cstdlib>
#include <string_view>

#include <json/json.h>

#include "viaduct/json.h"

#include "docker/reading.h"
#include "network/network.h"

namespace {

using namespace viaduct;

void require(bool holds) {
    if (!holds) std::abort();
}

void judge(network::Network network) {
    Faults faults;
    network::complete(network, faults);
    if (!faults.empty()) return;
    require(network::network_from_json(network::to_json(network), faults) == network && faults.empty());
    for (const auto& set : network::request_of(network).ranges) {
        for (const auto& range : set)
            require(range.first <= range.last && range.subnet.contains(range.first) &&
                    range.subnet.contains(range.last));
    }
    if (const auto interface = network::interface_of(network)) require(!interface->addresses.empty());
}

template <typename Read>
void attempt(const Read& read) {
    try {
        read();
    } catch (const Refused&) {
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    Json::Value json;
    try {
        json = parse_json({reinterpret_cast<const char*>(data), size}, "input");
    } catch (const Refused&) {
        return 0;
    }
    Faults faults;
    const auto wanted = network::wanted_from_json(json, faults);
    if (faults.empty()) judge(wanted.network);
    attempt([&] { judge(docker::read_network(json).network); });
    attempt([&] { docker::read_endpoint(json); });
    attempt([&] {
        for (const auto& mapping : docker::read_port_map(json))
            require(mapping.host_port != 0 && mapping.container_port != 0 && mapping.count == 1);
    });
    return 0;
}
