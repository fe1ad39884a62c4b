#include "node/host_tree.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <sstream>

#include "viaduct/address.h"
#include "viaduct/http.h"

#include "node/netns.h"

namespace viaduct::node {

namespace {

void write_word(const std::filesystem::path& file, const std::string& word) {
    const http::Descriptor descriptor(::open(file.c_str(), O_WRONLY | O_CLOEXEC));
    if (!descriptor.valid() ||
        ::write(descriptor.get(), word.data(), word.size()) != static_cast<ssize_t>(word.size()))
        throw Error(file.string() + ": " + std::strerror(errno));
}

unsigned prefix_length(const sockaddr* mask) {
    if (mask == nullptr) return 0;
    unsigned bits = 0;
    if (mask->sa_family == AF_INET) {
        sockaddr_in v4{};
        std::memcpy(&v4, mask, sizeof v4);
        return static_cast<unsigned>(std::popcount(v4.sin_addr.s_addr));
    }
    sockaddr_in6 v6{};
    std::memcpy(&v6, mask, sizeof v6);
    for (const auto byte : v6.sin6_addr.s6_addr)
        bits += static_cast<unsigned>(std::popcount(byte));
    return bits;
}

std::string words_of(const ifaddrs& one) {
    std::array<char, INET6_ADDRSTRLEN> text{};
    if (one.ifa_addr->sa_family == AF_INET) {
        sockaddr_in v4{};
        std::memcpy(&v4, one.ifa_addr, sizeof v4);
        ::inet_ntop(AF_INET, &v4.sin_addr, text.data(), text.size());
    } else if (one.ifa_addr->sa_family == AF_INET6) {
        sockaddr_in6 v6{};
        std::memcpy(&v6, one.ifa_addr, sizeof v6);
        // Every interface that is up has one.
        if (IN6_IS_ADDR_LINKLOCAL(&v6.sin6_addr)) return {};
        ::inet_ntop(AF_INET6, &v6.sin6_addr, text.data(), text.size());
    } else {
        return {};
    }
    return std::string(text.data()) + "/" + std::to_string(prefix_length(one.ifa_netmask));
}

/// Each interface stands there at least once, for its link.
void for_each_address(const std::function<void(const ifaddrs&)>& each) {
    ifaddrs* all = nullptr;
    if (::getifaddrs(&all) != 0) throw Error(std::string("cannot list interfaces: ") + std::strerror(errno));
    for (const auto* one = all; one != nullptr; one = one->ifa_next)
        each(*one);
    ::freeifaddrs(all);
}

std::vector<std::string> addresses_of(const std::string& interface) {
    std::vector<std::string> found;
    for_each_address([&](const ifaddrs& one) {
        if (one.ifa_addr == nullptr || interface != one.ifa_name) return;
        if (auto words = words_of(one); !words.empty()) found.push_back(std::move(words));
    });
    return found;
}

std::map<std::string, bool> interfaces() {
    std::map<std::string, bool> found;
    for_each_address([&](const ifaddrs& one) { found[one.ifa_name] = (one.ifa_flags & IFF_UP) != 0; });
    return found;
}

void modprobe(const std::string& module) {
    std::string program = "modprobe";
    std::string quiet = "-q";
    std::string name = module;
    std::array<char*, 4> words{program.data(), quiet.data(), name.data(), nullptr};
    pid_t child = 0;
    if (::posix_spawnp(&child, "modprobe", nullptr, nullptr, words.data(), environ) == 0)
        ::waitpid(child, nullptr, 0);
}

using Words = std::vector<std::string>;

/// Whether a table of the kernel's has a line of at least `least` words of which that holds.
bool has_line(const std::filesystem::path& table, std::size_t least,
              const std::function<bool(const Words&)>& holds) {
    std::ifstream file(table);
    for (std::string line; std::getline(file, line);) {
        std::istringstream stream(line);
        const Words words{std::istream_iterator<std::string>(stream), {}};
        if (words.size() >= least && holds(words)) return true;
    }
    return false;
}

/// net/route has interface, destination and, eighth, the mask, in hexadecimal; net/ipv6_route destination,
/// its length and, tenth, the interface.
bool has_default_route(const HostTree& tree, const std::string& interface) {
    const auto zeros = [](std::size_t count) { return std::string(count, '0'); };
    return has_line(tree.proc / "net/route", 8,
                    [&](const Words& words) {
                        return words[0] == interface && words[1] == zeros(8) && words[7] == zeros(8);
                    }) ||
           has_line(tree.proc / "net/ipv6_route", 10, [&](const Words& words) {
               return words[9] == interface && words[0] == zeros(32) && words[1] == zeros(2);
           });
}

}  // namespace

HostTree host_tree() {
    HostTree tree;
    tree.write = write_word;
    tree.interfaces = interfaces;
    tree.addresses = addresses_of;
    tree.load_module = modprobe;
    return tree;
}

std::string line_of(const std::filesystem::path& file) {
    std::ifstream stream(file);
    std::string line;
    std::getline(stream, line);
    return line;
}

std::string target_name(const std::filesystem::path& link) {
    std::error_code error;
    const auto target = std::filesystem::read_symlink(link, error);
    return error ? std::string() : target.filename().string();
}

std::vector<std::string> names_in(const std::filesystem::path& directory) {
    std::vector<std::string> names;
    std::error_code error;
    for (std::filesystem::directory_iterator at(directory, error), end; !error && at != end;
         at.increment(error))
        names.push_back(at->path().filename().string());
    std::sort(names.begin(), names.end());
    return names;
}

std::vector<std::string> uses_of(const HostTree& tree, const std::string& interface) {
    std::vector<std::string> uses;
    std::string list;
    for (const auto& address : tree.addresses(interface))
        list += (list.empty() ? "has " : ", ") + address;
    if (!list.empty()) uses.push_back(std::move(list));
    if (has_default_route(tree, interface)) uses.emplace_back("carries a default route");
    return uses;
}

}  // namespace viaduct::node
