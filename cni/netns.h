// The pod's network namespace as a descriptor: the plugin sees the path as the runtime means it, control may
// not.
#pragma once

#include "viaduct/http.h"

#include "environment.h"

namespace viaduct::cni {

/// Throws Error 4 when CNI_NETNS cannot be opened or is something else than a network namespace, and, unless
/// CNI_NETNS_OVERRIDE is set, when it is the plugin's own.
http::Descriptor open_netns(const Environment& environment);
/// For DEL: an invalid descriptor where open_netns() would throw; the namespace may be gone.
http::Descriptor open_netns_if_there(const Environment& environment);

}  // namespace viaduct::cni
