"""Exit codes, the same for every command."""

OK = 0  # found, or done
ERROR = 1
USAGE = 2
NOTHING = 3  # it all worked, and there is no answer
STOPPED = 130  # 128 + SIGINT, as shells count
UNREAD = 141  # 128 + SIGPIPE
