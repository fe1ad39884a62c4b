// Standard input of the CNI plugin: any bytes either become a request that control's own reader takes, or are
// refused with a CNI error. Nothing else may come out, and nothing that was refused by itself may pass on its
// way back.
#include <cstdint>
#include <cstdlib>
#include <string>

#include <json/json.h>

#include "viaduct/json.h"

#include "environment.h"
#include "error.h"
#include "network_config.h"
#include "result.h"

using namespace viaduct;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string text(reinterpret_cast<const char*>(data), size);
    cni::Environment environment;
    environment.container = "c1";
    environment.ifname = "eth0";
    environment.netns = "/ns";
    std::string version;
    try {
        const auto arguments = cni::read_arguments(text.substr(0, text.find('\0')));
        static_cast<void>(arguments);
    } catch (const cni::Error&) {
        // Refused.
    }
    try {
        const auto network = cni::read_network(text, version);
        const auto request = cni::read_request(network, environment, {});
        Faults faults;
        const auto again = attachment::request_from_json(attachment::to_json(request), "", faults);
        if (!faults.empty() || !(again == request)) std::abort();
        if (network.previous != nullptr) {
            cni::make_result(network.version, request, {}, network.previous);
            cni::expected_from(*network.previous, request.key);
        }
        attachment::Request ignored;
        cni::take_ipam_result(text, "any", ignored);
    } catch (const cni::Error& error) {
        cni::error_text(error, version);
    }
    return 0;
}
