"""How short and how long a segment may be (DESIGN, segment): a glance is no event, and a minute hides one."""

SHORTEST = 2.0  # seconds
LONGEST = 30.0  # seconds
