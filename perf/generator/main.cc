// viaduct-pktgen: options, the two ports, one measurement for each number of flows, the report.
#include <signal.h>

#include <atomic>
#include <exception>
#include <fstream>
#include <iostream>
#include <stdexcept>

#include <json/json.h>
#include <rte_cycles.h>

#include "viaduct/fault.h"
#include "viaduct/json.h"

#include "options.h"
#include "ports.h"
#include "report.h"
#include "traffic.h"

namespace viaduct::pktgen {
namespace {

/// The one thing that a signal's handler may touch.
std::atomic<bool> stopped = false;

void stop_on_signals() {
    struct sigaction action {};
    action.sa_handler = [](int) { stopped = true; };
    action.sa_flags = static_cast<int>(SA_RESETHAND);  // a second one ends it at once
    for (const int signal : {SIGINT, SIGTERM})
        ::sigaction(signal, &action, nullptr);
}

void write_report(const std::string& file, const Json::Value& report) {
    if (file.empty()) return;
    const auto text = to_json_text(report, true) + "\n";
    if (file == "-") {
        std::cout << text << std::flush;
        return;
    }
    std::ofstream stream(file, std::ios::trunc);
    stream << text << std::flush;
    if (!stream) throw std::runtime_error("cannot write " + file);
}

int run(const Options& options) {
    std::cerr << "waiting for a device on " << options.paths[0] << " and " << options.paths[1] << std::endl;
    const Ports ports(options);
    stop_on_signals();
    Traffic traffic(options, ports.frames(), stopped);
    Json::Value report(Json::objectValue);
    report["size"] = options.size;
    report["window"] = options.window;
    report["tsc_hz"] = Json::UInt64(rte_get_tsc_hz());
    auto& list = report["measurements"] = Json::arrayValue;
    bool carried = true;
    for (const auto count : options.flows) {
        Flows flows(options, count);
        if (list.empty()) {
            traffic.learn(flows);
            std::cerr << "connected, and a frame came back" << std::endl;
        }
        if (stopped) break;
        const bool last = list.size() + 1 == options.flows.size();
        const auto measurement = traffic.measure(flows, last && options.flood > 0);
        carried = carried && measurement.carried > 0;
        std::cerr << to_text(measurement) << std::endl;
        list.append(to_json(measurement));
    }
    report["complete"] = !stopped;
    write_report(options.json, report);
    return carried && !stopped ? 0 : 1;
}

}  // namespace
}  // namespace viaduct::pktgen

int main(int argc, char** argv) {
    try {
        const auto options = viaduct::pktgen::read_options(argc, argv);
        return options ? viaduct::pktgen::run(*options) : 0;
    } catch (const viaduct::Refused& refused) {
        std::cerr << "viaduct-pktgen: " << refused.what() << std::endl;
        return 2;
    } catch (const std::exception& error) {
        std::cerr << "viaduct-pktgen: " << error.what() << std::endl;
        return 1;
    }
}
