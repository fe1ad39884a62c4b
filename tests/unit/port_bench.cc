// One EAL without huge pages: what is tested here is the same with and without them.
#include "port_bench.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <stdexcept>
#include <thread>

#include <rte_eal.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>

namespace viaduct::dataplane::test {

rte_mempool* pool() {
    static rte_mempool* const made = [] {
        std::vector<std::string> words = {"port-tests",  "--no-huge",    "--no-shconf", "--no-pci",
                                          "-m",          "128",          "-l",          "0",
                                          "--log-level", "lib.vhost.*:3"};
        std::vector<char*> arguments;
        for (auto& word : words)
            arguments.push_back(word.data());
        if (rte_eal_init(static_cast<int>(arguments.size()), arguments.data()) < 0)
            throw std::runtime_error("no EAL");
        auto* fresh = rte_pktmbuf_pool_create("frames", 4095, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
        if (fresh == nullptr) throw std::runtime_error("no packet buffers");
        return fresh;
    }();
    return made;
}

unsigned buffers_in_use() {
    return rte_mempool_in_use_count(pool());
}

bool eventually(const std::function<bool()>& condition, double seconds) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
    while (!condition()) {
        if (std::chrono::steady_clock::now() > end) return false;
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return true;
}

Scratch::Scratch() {
    std::string name = (std::filesystem::temp_directory_path() / "vd-port-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("no directory for the test");
    directory_ = name;
}

Scratch::~Scratch() {
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
}

Process::Process(std::vector<std::string> command, const std::string& log) {
    std::array<int, 2> input{};
    if (::pipe2(input.data(), O_CLOEXEC) != 0) throw std::runtime_error("no pipe");
    pid_ = ::fork();
    if (pid_ == 0) {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        ::dup2(input[0], STDIN_FILENO);
        const int output = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
        ::dup2(output, STDOUT_FILENO);
        ::dup2(output, STDERR_FILENO);
        std::vector<char*> arguments;
        for (auto& word : command)
            arguments.push_back(word.data());
        arguments.push_back(nullptr);
        ::execvp(arguments[0], arguments.data());
        ::_exit(127);
    }
    ::close(input[0]);
    input_ = input[1];
}

void Process::kill() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    ::close(input_);
    pid_ = -1;
}

int run(const std::string& command) {
    const int status =
        std::system(command.c_str());  // NOLINT(bugprone-command-processor): fixed words of tests
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

std::vector<std::uint8_t> frame_of(std::size_t size, std::uint8_t seed) {
    std::vector<std::uint8_t> bytes = {2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x88, 0xb5};
    while (bytes.size() < size)
        bytes.push_back(static_cast<std::uint8_t>(seed + bytes.size()));
    return bytes;
}

rte_mbuf* to_chain(const std::vector<std::uint8_t>& bytes) {
    rte_mbuf* head = nullptr;
    for (std::size_t at = 0; at < bytes.size();) {
        rte_mbuf* part = rte_pktmbuf_alloc(pool());
        if (part == nullptr) throw std::runtime_error("no buffer left");
        const auto size = std::min<std::size_t>(bytes.size() - at, rte_pktmbuf_tailroom(part));
        std::copy_n(bytes.data() + at, size, rte_pktmbuf_mtod(part, std::uint8_t*));
        part->data_len = static_cast<std::uint16_t>(size);
        part->pkt_len = static_cast<std::uint32_t>(size);
        at += size;
        if (head == nullptr) {
            head = part;
        } else {
            rte_pktmbuf_chain(head, part);
        }
    }
    return head;
}

std::vector<std::uint8_t> to_bytes(rte_mbuf* frame) {
    std::vector<std::uint8_t> bytes;
    for (const rte_mbuf* part = frame; part != nullptr; part = part->next) {
        const auto* data = rte_pktmbuf_mtod(part, const std::uint8_t*);
        bytes.insert(bytes.end(), data, data + part->data_len);
    }
    if (bytes.size() != frame->pkt_len) throw std::runtime_error("a chain's length is not its parts'");
    rte_pktmbuf_free(frame);
    return bytes;
}

std::vector<std::vector<std::uint8_t>> receive_from(Port& port, std::uint16_t queue, std::size_t count,
                                                    double seconds) {
    std::vector<std::vector<std::uint8_t>> all;
    std::array<rte_mbuf*, kBurst> burst{};
    eventually(
        [&] {
            const auto got = port.receive(queue, burst.data(), kBurst);
            for (std::uint16_t i = 0; i < got; ++i)
                all.push_back(to_bytes(burst[i]));
            return all.size() >= count;
        },
        seconds);
    return all;
}

bool transmit_to(Port& port, std::uint16_t queue, const std::vector<std::uint8_t>& bytes) {
    rte_mbuf* frame = to_chain(bytes);
    if (port.transmit(queue, &frame, 1) == 1) return true;
    rte_pktmbuf_free(frame);
    return false;
}

}  // namespace viaduct::dataplane::test
