"""Traffic shaping: how much may go out now, by which relay, and to which receiving domains.

``TrafficShaper`` brings three things together: the choice of a relay, permits drawn from token buckets, and circuit
breakers that the replies of relays open and close. All workers share the buckets (in Redis) and the breakers (the
table ``throttle``).
"""

from mailer.services.delivery.traffic.limits import TrafficLimits
from mailer.services.delivery.traffic.permits import SendPermit
from mailer.services.delivery.traffic.traffic_shaper import TrafficShaper

__all__ = ["SendPermit", "TrafficLimits", "TrafficShaper"]
