# SPDX-License-Identifier: GPL-2.0-or-later
"""Medians, spreads, ratios with confidence, and percentiles of histograms."""
import math
import statistics

# Student's t, two-sided 95 %, by degrees of freedom
T95 = (None, 12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
       2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042)


def quantile_t(freedom):
    """Rounded to fewer degrees of freedom, that is to a wider interval."""
    freedom = int(freedom)
    if freedom < 1:
        return math.inf
    return T95[freedom] if freedom < len(T95) else T95[-1] if freedom < 60 else 2.0


def spread(values):
    """From the least to the most, as part of the median."""
    median = statistics.median(values)
    return (max(values) - min(values)) / median if median else 0.0


def summary(values):
    values = [v for v in values if v is not None]
    if not values:
        return None
    return {"median": statistics.median(values), "low": min(values), "high": max(values), "spread": spread(values),
            "rounds": len(values)}


def interval(logs, freedom, error):
    mean = logs
    margin = quantile_t(freedom) * error
    return (math.exp(mean), math.exp(mean - margin) if margin < 700 else 0.0,
            math.exp(mean + margin) if margin < 700 else math.inf)


def paired_ratio(values, base):
    """Of engines that took turns: (ratio, low, high), 95 %, from the logarithms of each round's ratio; None
    without."""
    logs = [math.log(v / b) for v, b in zip(values, base) if v and b]
    if not logs:
        return None
    error = statistics.stdev(logs) / math.sqrt(len(logs)) if len(logs) > 1 else 0
    if len(logs) == 1:
        return math.exp(logs[0]), 0.0, math.inf
    return interval(statistics.mean(logs), len(logs) - 1, error)


def unpaired_ratio(values, base):
    """Of two runs, by Welch: (ratio, low, high), 95 %; None without."""
    ones, twos = ([math.log(v) for v in side if v] for side in (values, base))
    if not ones or not twos:
        return None
    mean = statistics.mean(ones) - statistics.mean(twos)
    if len(ones) < 2 or len(twos) < 2:
        return math.exp(mean), 0.0, math.inf
    parts = statistics.variance(ones) / len(ones), statistics.variance(twos) / len(twos)
    if not sum(parts):
        return interval(mean, len(ones) + len(twos) - 2, 0)
    freedom = sum(parts) ** 2 / (parts[0] ** 2 / (len(ones) - 1) + parts[1] ** 2 / (len(twos) - 1))
    return interval(mean, freedom, math.sqrt(sum(parts)))


def merge(histograms):
    """Histograms are lists of [highest value, count]."""
    counts = {}
    for histogram in histograms:
        for value, count in histogram:
            counts[value] = counts.get(value, 0) + count
    return sorted(counts.items())


def percentile(histogram, percent):
    """The value that so many percent do not exceed; None: there are no values."""
    total = sum(count for _, count in histogram)
    seen = 0
    for value, count in sorted(histogram):
        seen += count
        if seen >= total * percent / 100:
            return value
    return None
