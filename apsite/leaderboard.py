"""Former place of what is in :mod:`apsite.comparable`."""

from apsite.comparable import Setting, by_setting, leader_count, leaders, rankable, ranking, setting_of

__all__ = ["Setting", "by_setting", "leader_count", "leaders", "rankable", "ranking", "setting_of"]
