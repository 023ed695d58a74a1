"""Every setting, once: name with unit, type, default, help; a section checks itself.

`SCORELINE_SERVER__PORT` is `[server] port`. An unknown key is an error, never a default.
"""

from scoreline.settings.access import Access
from scoreline.settings.drift import Drift
from scoreline.settings.features import Features
from scoreline.settings.latency import Latency
from scoreline.settings.limits import Limits
from scoreline.settings.oauth import OAuth
from scoreline.settings.records import Records
from scoreline.settings.rollout import Notify, Rollout, policy_of
from scoreline.settings.server import Registry, Server, Trust
from scoreline.settings.whole import PREFIX, Settings, load_settings, options

__all__ = [
    "PREFIX",
    "Access",
    "Drift",
    "Features",
    "Latency",
    "Limits",
    "Notify",
    "OAuth",
    "Records",
    "Registry",
    "Rollout",
    "Server",
    "Settings",
    "Trust",
    "load_settings",
    "options",
    "policy_of",
]
