"""Leaderboards: rows of runs, ranked within one benchmark, decoding, judge and opponent."""
