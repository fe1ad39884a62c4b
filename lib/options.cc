// Command line first, then the JSON file for what the command line left open.
#include "viaduct/options.h"

#include <fstream>
#include <iostream>
#include <sstream>

#include <boost/program_options.hpp>
#include <json/json.h>

#include "viaduct/fault.h"
#include "viaduct/json.h"

namespace viaduct::options {

namespace po = boost::program_options;

namespace {

std::string scalar_text(const std::string& key, const Json::Value& value) {
    if (value.isString() || value.isBool() || value.isNumeric()) return value.asString();
    throw Refused(key, "must be a string, a number, true or false, or an array of them");
}

po::parsed_options read_file(const std::string& path, const po::options_description& described) {
    std::ifstream file(path);
    if (!file) throw Refused("--config", "cannot open " + path);
    std::ostringstream text;
    text << file.rdbuf();
    const auto json = parse_json(text.view(), path);
    if (!json.isObject()) throw Refused(path, "must be an object whose keys are the options' names");
    po::parsed_options parsed(&described);
    for (const auto& key : json.getMemberNames()) {
        if (described.find_nothrow(key, false) == nullptr) {
            throw Refused(path + ": \"" + key + "\"", "is not an option; --help lists them");
        }
        const auto& value = json[key];
        po::option option;
        option.string_key = key;
        if (value.isArray()) {
            for (const auto& item : value)
                option.value.push_back(scalar_text(path + ": " + key, item));
        } else {
            option.value.push_back(scalar_text(path + ": " + key, value));
        }
        parsed.options.push_back(std::move(option));
    }
    return parsed;
}

}  // namespace

bool read(int argc, const char* const* argv, const std::string& usage, const std::string& examples,
          const po::options_description& described, po::variables_map& values) {
    po::options_description all = described;
    po::options_description general("General", 110);
    general.add_options()("help,h", "print this and end")("version", "print the version and end")(
        "config", po::value<std::string>()->value_name("FILE"),
        "JSON file whose keys are the long names of these options; the command line wins");
    all.add(general);
    try {
        po::store(po::command_line_parser(argc, argv).options(all).positional({}).run(), values);
        if (values.count("help") != 0) {
            std::cout << usage << "\n" << all << "\n" << examples;
            return false;
        }
        if (values.count("version") != 0) {
            std::cout << VIADUCT_VERSION << "\n";
            return false;
        }
        if (values.count("config") != 0) {
            const auto path = values["config"].as<std::string>();
            try {
                po::store(read_file(path, described), values);
            } catch (const po::error& error) {
                throw Refused(path, error.what());
            }
        }
        po::notify(values);
    } catch (const po::error& error) {
        throw Refused("", std::string(error.what()) + "; --help lists the options");
    }
    return true;
}

}  // namespace viaduct::options
