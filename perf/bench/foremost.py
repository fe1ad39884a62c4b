"""Words that put a program before others on a shared machine: a session of its own, foremost among the scheduler's
groups and within its own. Not a real-time priority, which would stop the machine."""

COMMAND = ("setsid", "sh", "-c", "(echo -20 >/proc/self/autogroup) 2>/dev/null; exec nice -n -20 \"$@\"", "foremost")
