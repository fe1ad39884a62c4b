// The hash by which nodes that know the same names come to the same choice.
#pragma once

#include <cstdint>
#include <string_view>

namespace viaduct::service {

/// FNV-1a with its bits mixed: the same on every node and in every version.
inline std::uint64_t name_hash(std::string_view text) {
    std::uint64_t hash = 0xcbf29ce484222325;
    for (const char c : text)
        hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
    hash = (hash ^ hash >> 32) * 0x9e3779b97f4a7c15U;
    return hash ^ hash >> 32;
}

}  // namespace viaduct::service
