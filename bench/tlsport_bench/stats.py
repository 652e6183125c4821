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


def welch(values, base):
    """Of the logarithms of two runs: (difference, its error, degrees of freedom), error None of a single round; None
    without."""
    ones, twos = ([math.log(v) for v in side if v] for side in (values, base))
    if not ones or not twos:
        return None
    mean = statistics.mean(ones) - statistics.mean(twos)
    if len(ones) < 2 or len(twos) < 2:
        return mean, None, 0
    parts = statistics.variance(ones) / len(ones), statistics.variance(twos) / len(twos)
    if not sum(parts):
        return mean, 0.0, len(ones) + len(twos) - 2
    freedom = sum(parts) ** 2 / (parts[0] ** 2 / (len(ones) - 1) + parts[1] ** 2 / (len(twos) - 1))
    return mean, math.sqrt(sum(parts)), freedom


def unpaired_ratio(values, base):
    """Of two runs, by Welch: (ratio, low, high), 95 %; None without."""
    found = welch(values, base)
    if not found:
        return None
    mean, error, freedom = found
    return (math.exp(mean), 0.0, math.inf) if error is None else interval(mean, freedom, error)


def unpaired_chance(values, base):
    """How probable so great a difference is where there is none; 1 if nothing tells."""
    found = welch(values, base)
    if not found or found[1] is None:
        return 1.0
    mean, error, freedom = found
    if not error:
        return 0.0 if mean else 1.0
    return chance_of_t(mean / error, freedom)


def chance_of_t(t, freedom):
    """Of a t at least so far from 0, by the density's integral over the angle atan(t / sqrt(freedom))."""
    angle, steps = math.atan(abs(t) / math.sqrt(freedom)), 2000
    width = (math.pi / 2 - angle) / steps
    # Simpson's rule; the density of the angle is cos(angle) ** (freedom - 1)
    total = sum((1 if n in (0, steps) else 4 if n % 2 else 2) * max(math.cos(angle + n * width), 0.0) ** (freedom - 1)
                for n in range(steps + 1)) * width / 3
    logs = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)
    return min(2 * total * math.exp(logs) / math.sqrt(math.pi), 1.0)


def discoveries(chances, part=0.05):
    """Of many tests those that are taken for differences, of which that part is none (Benjamini and Hochberg)."""
    most = max((chance for rank, chance in enumerate(sorted(chances), 1) if chance <= part * rank / len(chances)),
               default=-1.0)
    return [chance <= most for chance in chances]


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
