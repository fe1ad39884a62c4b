// The words that say how a port is to be: "port" and "uplink" take the same.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/words.h"

namespace Json {
class Value;
}

namespace viaduct::cli {

/// Reads settings to the end of the words into a port as the API has it. Throws Usage.
void read_port_settings(Words& words, Json::Value& port);
/// The same where only `keys` are known; `more` takes those that are no port's, and says whether it did.
void read_port_settings(Words& words, Json::Value& port, const std::vector<std::string_view>& keys,
                        const std::function<bool(const std::string& key)>& more);

/// An uplink's device, or its members and how they are joined.
std::string uplink_place(const Json::Value& port);

}  // namespace viaduct::cli
