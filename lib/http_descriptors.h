// Bytes and open descriptors over a Unix socket (unix(7), SCM_RIGHTS), shared by the HTTP client and server.
#pragma once

#include <sys/types.h>

#include <span>
#include <vector>

#include "viaduct/http.h"

namespace viaduct::http {

inline constexpr std::size_t kDescriptorsMost = 16;  ///< in one message

/// recvmsg: bytes received, 0 at the end, -1 with errno. Descriptors that came along are appended.
ssize_t receive_with_descriptors(int socket, std::span<char> into, std::vector<Descriptor>& descriptors);
/// sendmsg with MSG_NOSIGNAL: bytes sent, -1 with errno. The descriptors go with the first byte.
ssize_t send_with_descriptors(int socket, std::span<const char> bytes, std::span<const int> descriptors);

}  // namespace viaduct::http
