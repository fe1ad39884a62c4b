"""Work beside a generator that runs in a thread of its own, from the end of the generator's first measurement on."""
import threading

from viaduct import process


class Beside:
    """A `with`. Subclasses say what `work` is, which ends soon after `ended` is set; an error of it is the scenario's."""

    def __init__(self, traffic, what):
        self.traffic, self.what = traffic, what
        self.error = None
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._run)

    def prepare(self):
        """In the thread, before anything else."""

    def work(self):
        raise NotImplementedError

    def _run(self):
        try:
            self.prepare()
            while "both ways added" not in self.traffic.process.text():
                if self.ended.wait(0.02):
                    return
            self.work()
        except Exception as error:  # told by the thread that measures
            self.error = error

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, kind, *_):
        self.ended.set()
        self.thread.join()
        if self.error and kind is None:
            raise process.Failed(f"{self.what}: {self.error}") from self.error
