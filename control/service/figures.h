// What the dataplane counted of services.
#pragma once

#include <string>

namespace Json {
class Value;
}

namespace viaduct::service {

/// The list that the dataplane tells of one service ("apps/web"), or of all where the name is empty; null
/// when it is away. `socket`: of the dataplane's API.
Json::Value figures_of(const std::string& socket, const std::string& service);

}  // namespace viaduct::service
