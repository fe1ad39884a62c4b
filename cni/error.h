// CNI's error object: what a plugin says on standard output when it fails.
#pragma once

#include <stdexcept>
#include <string>

#include "viaduct/attachment.h"
#include "viaduct/fault.h"

namespace viaduct::cni {

class Error : public std::runtime_error {
public:
    Error(unsigned code, const std::string& message, std::string details = {})
        : std::runtime_error(message), code_(code), details_(std::move(details)) {}
    Error(unsigned code, const Faults& faults) : Error(code, to_string(faults)) {}
    [[nodiscard]] unsigned code() const { return code_; }  ///< attachment::Code, or a delegate's
    [[nodiscard]] const std::string& details() const { return details_; }

private:
    unsigned code_;
    std::string details_;
};

/// The object as text; `version` is the configuration's, or the newest known while there is none.
std::string error_text(const Error& error, const std::string& version);

}  // namespace viaduct::cni
