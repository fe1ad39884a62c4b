"""Services as rules of the kernel's: a namespace, and a program that reads a file of rules into it."""
import time

from viaduct import netns

LOAD_SECONDS = 600


class KernelRules:
    """`rules(services)` and `change(service, gone)` write what `command` reads."""

    def __init__(self, directory, command, rules, change):
        self.directory, self.command, self.rules, self.change_text = directory, command, rules, change
        self.space = netns.Netns("rules")

    def __enter__(self):
        self.space.create()
        return self

    def __exit__(self, *_):
        self.space.delete()

    def load(self, services):
        """Seconds until all are in force."""
        return self._read(self.rules(services))

    def changes(self, service, endpoints):
        """A list of seconds: one endpoint of the service replaced by each of `endpoints`."""
        seconds = []
        for endpoint in endpoints:
            gone = service.endpoints[0]
            service.replace(gone, endpoint)
            seconds.append(self._read(self.change_text(service, gone)))
        return seconds

    def _read(self, text):
        file = self.directory / "rules"
        file.write_text(text)
        began = time.monotonic()
        self.space.run(*self.command, file, timeout=LOAD_SECONDS)
        return time.monotonic() - began
