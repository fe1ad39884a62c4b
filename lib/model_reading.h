// Values that many of the model's objects have, read from JSON with the same words of refusal everywhere.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "viaduct/address.h"
#include "viaduct/json.h"
#include "viaduct/model.h"

namespace viaduct::model {

/// Each gives nothing, with a fault, for what is not one; without a fault for what is absent and not
/// required.
enum class Need : std::uint8_t { optional, required };
std::optional<std::string> read_name(ObjectReader& reader, const char* key, Need need);
std::optional<MacAddress> read_mac(ObjectReader& reader, const char* key, Need need);
std::optional<IpAddress> read_address(ObjectReader& reader, const char* key, Need need);
std::optional<Prefix> read_network(ObjectReader& reader, const char* key, Need need);  ///< no host bits
void read_vrf(ObjectReader& reader, std::string& vrf);
/// The path of a network namespace.
void read_netns(ObjectReader& reader, std::string& path);
/// A network without host bits, from one string of a list.
std::optional<Prefix> network_from(ObjectReader& reader, const char* key, const std::string& text);

template <typename T>
void set_integer(ObjectReader& reader, const char* key, std::uint64_t low, std::uint64_t high, T& into) {
    if (auto value = reader.integer(key, low, high)) into = static_cast<T>(*value);
}
inline void set_boolean(ObjectReader& reader, const char* key, bool& into) {
    if (const auto value = reader.boolean(key)) into = *value;
}

}  // namespace viaduct::model
