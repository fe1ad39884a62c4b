// Configurations, transactions and attachments in JSON from strangers: read without fault, they come back the
// same when they are written and read again.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include <json/json.h>

#include "viaduct/attachment.h"
#include "viaduct/json.h"
#include "viaduct/model.h"

using namespace viaduct;

namespace {

void round_trip(const Json::Value& json) {
    Faults faults;
    const auto config = model::config_from_json(json, "", faults);
    Faults between;
    model::check(config, between);
    if (faults.empty()) {
        const auto again = model::config_from_json(model::to_json(config), "", faults);
        if (!faults.empty() || !(again == config)) std::abort();
    }
    faults.clear();
    const auto change = model::change_from_json(json, "", faults, {"dry_run"});
    model::apply({}, change, faults);
    faults.clear();
    const auto request = attachment::request_from_json(json, "", faults);
    if (faults.empty()) {
        const auto again = attachment::request_from_json(attachment::to_json(request), "", faults);
        if (!faults.empty() || !(again == request)) std::abort();
    }
    faults.clear();
    attachment::attached_from_json(json, "", faults);
    attachment::expected_from_json(json, "", faults);
    attachment::owed_from_json(json, "", faults);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    try {
        round_trip(parse_json(text, "input", {1U << 20U, 32}));
    } catch (const Refused& refused) {
        faults_from_text(to_json_text(faults_to_json(refused.faults())));
    }
    return 0;
}
