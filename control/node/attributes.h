// Attributes of rtnetlink messages (rtnetlink(7)): each shown to a function, and the few values that several
// rooms read or write.
#pragma once

#include <sys/socket.h>

#include <array>
#include <cstring>
#include <optional>
#include <string>

#include <libmnl/libmnl.h>

#include "viaduct/address.h"

namespace viaduct::node {

inline constexpr std::array<unsigned char, 2> kFamilies{AF_INET, AF_INET6};

/// IFA_PROTO, since Linux 5.18: who has made an address.
inline constexpr std::uint16_t kAddressProtocol = 11;

inline std::string text_of(const nlattr* attribute) {
    const auto* text = mnl_attr_get_str(attribute);
    return {text, ::strnlen(text, mnl_attr_get_payload_len(attribute))};
}

inline std::optional<IpAddress> ip_of(const nlattr* attribute) {
    return IpAddress::from_bytes({static_cast<const std::uint8_t*>(mnl_attr_get_payload(attribute)),
                                  mnl_attr_get_payload_len(attribute)});
}

inline std::uint8_t family_of(const IpAddress& address) {
    return static_cast<std::uint8_t>(address.is_v4() ? AF_INET : AF_INET6);
}

inline void put_address(nlmsghdr* header, std::uint16_t type, const IpAddress& address) {
    const auto bytes = address.bytes();
    mnl_attr_put(header, type, bytes.size(), bytes.data());
}

/// The attributes from `at` to `end`, each given to `each(type, attribute)`.
template <typename Each>
void for_each_between(const void* at, const void* end, const Each& each) {
    const auto* attribute = static_cast<const nlattr*>(at);
    const auto left = [&] {
        return static_cast<int>(static_cast<const char*>(end) - reinterpret_cast<const char*>(attribute));
    };
    for (; mnl_attr_ok(attribute, left()); attribute = mnl_attr_next(attribute))
        each(mnl_attr_get_type(attribute), attribute);
}

/// The attributes after a fixed structure of `size` bytes.
template <typename Each>
void for_each_attribute(const nlmsghdr& header, std::size_t size, const Each& each) {
    for_each_between(mnl_nlmsg_get_payload_offset(&header, size), mnl_nlmsg_get_payload_tail(&header), each);
}

/// The same of a message that is being made: `each` may change what an attribute says.
template <typename Each>
void change_attributes(nlmsghdr* header, std::size_t size, const Each& each) {
    for_each_attribute(*header, size, [&](int type, const nlattr* attribute) {
        each(type, const_cast<nlattr*>(attribute));
    });
}

}  // namespace viaduct::node
