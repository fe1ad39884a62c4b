// One function a kind: a document's fields into the typed object. What is wrong goes into the value's
// report; what comes back is of use only when nothing was.
#pragma once

#include <vector>

#include "kubernetes/fields.h"
#include "kubernetes/objects.h"

namespace viaduct::kubernetes {

// Lists of hostile length end here; the API bounds them by the 1.5 MiB of an object.
inline constexpr std::size_t kListMost = 10'000;

Service read_service(const Value& root, ObjectMeta meta);
EndpointSlice read_slice(const Value& root, ObjectMeta meta, TextPool& pool);
/// One slice a subset and family.
std::vector<EndpointSlice> read_endpoints(const Value& root, const ObjectMeta& meta, TextPool& pool);
Pod read_pod(const Value& root, ObjectMeta meta);
Node read_node(const Value& root, ObjectMeta meta);

/// An address that packets can go to: none of loopback, link-local, multicast, "any" (as the API's
/// ValidateNonSpecialIP).
void require_ordinary(const Value& value, const IpAddress& address);

}  // namespace viaduct::kubernetes
