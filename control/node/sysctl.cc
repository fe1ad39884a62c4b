#include "node/sysctl.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace viaduct::node {

namespace {

std::string path_of(const std::string& family, const std::string& ifname, const std::string& name) {
    return "/proc/sys/net/" + family + "/conf/" + ifname + "/" + name;
}

/// The file shows the namespace of whoever opens it.
http::Descriptor open_in(const Namespace& ns, const std::string& path, int flags) {
    const Inside inside(ns);
    return http::Descriptor(::open(path.c_str(), flags | O_CLOEXEC));
}

std::optional<std::string> value_in(const http::Descriptor& file) {
    std::array<char, 64> text{};
    const auto got = file.valid() ? ::pread(file.get(), text.data(), text.size(), 0) : -1;
    if (got < 0) return std::nullopt;
    std::string value(text.data(), static_cast<std::size_t>(got));
    while (!value.empty() && value.back() == '\n')
        value.pop_back();
    return value;
}

}  // namespace

std::optional<std::string> read_sysctl(const Namespace& ns, const std::string& family,
                                       const std::string& ifname, const std::string& name) {
    return value_in(open_in(ns, path_of(family, ifname, name), O_RDONLY));
}

void write_sysctl(const Namespace& ns, const std::string& family, const std::string& ifname,
                  const std::string& name, const std::string& value) {
    const auto path = path_of(family, ifname, name);
    const auto file = open_in(ns, path, O_RDWR);
    if (!file.valid() && errno == ENOENT) return;
    if (file.valid() && value_in(file) == value) return;
    if (!file.valid() ||
        ::pwrite(file.get(), value.data(), value.size(), 0) != static_cast<ssize_t>(value.size())) {
        throw Error("the kernel refused to set " + path + " to " + value + ": " + std::strerror(errno));
    }
}

}  // namespace viaduct::node
