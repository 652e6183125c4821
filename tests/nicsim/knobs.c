// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The knobs of a device: /sys/class/net/DEVICE/nicsim/, where a network namespace sees its own.
 *
 * Each is an atomic of its own; nothing needs two to agree.
 */
#include "nicsim.h"

struct knob {
	struct device_attribute attribute;
	size_t offset;
	int most;
	const char *const *words; /* values have names */
};

static const char *const tx_resync_words[] = {
	[NICSIM_TX_REBUILD] = "rebuild",
	[NICSIM_TX_NEXT] = "next-record",
};

static const char *const rx_resync_words[] = {
	[NICSIM_RX_REQUEST] = "request",
	[NICSIM_RX_HINT] = "hint",
	[NICSIM_RX_ASYNC] = "async",
};

static const char *const forget_words[] = {
	[NICSIM_KEEP] = "nothing",
	[NICSIM_FORGET_POSITION] = "position",
	[NICSIM_FORGET_FLOW] = "flow",
};

static atomic_t *value_of(struct device *device, const struct knob *knob)
{
	struct nicsim *nic = netdev_priv(to_net_dev(device));

	return (void *)&nic->knobs + knob->offset;
}

static ssize_t knob_show(struct device *device, struct device_attribute *attribute, char *buffer)
{
	const struct knob *knob = container_of(attribute, struct knob, attribute);
	int value = atomic_read(value_of(device, knob));

	if (knob->words)
		return sysfs_emit(buffer, "%s\n", knob->words[value]);
	return sysfs_emit(buffer, "%d\n", value);
}

static ssize_t knob_store(struct device *device, struct device_attribute *attribute,
			  const char *buffer, size_t len)
{
	const struct knob *knob = container_of(attribute, struct knob, attribute);
	int value;

	if (knob->words)
		value = __sysfs_match_string(knob->words, knob->most + 1, buffer);
	else if (kstrtoint(buffer, 0, &value))
		value = -EINVAL;
	if (value < 0 || value > knob->most)
		return -EINVAL;
	atomic_set(value_of(device, knob), value);
	return len;
}

static ssize_t flows_show(struct device *device, struct device_attribute *attribute, char *buffer)
{
	struct nicsim *nic = netdev_priv(to_net_dev(device));

	return sysfs_emit(buffer, "%d\n", atomic_read(&nic->flows));
}

static DEVICE_ATTR_RO(flows);

#define KNOB(name, most, words) \
	static struct knob name##_knob = { \
		__ATTR(name, 0644, knob_show, knob_store), \
		offsetof(struct nicsim_knobs, name), \
		most, \
		words, \
	}

KNOB(max_flows, INT_MAX, NULL);
KNOB(add_fails_next, INT_MAX, NULL);
KNOB(resync_lost_next, INT_MAX, NULL);
KNOB(tx_bad_tags_next, INT_MAX, NULL);
KNOB(rx_bad_tags_next, INT_MAX, NULL);
KNOB(drop_after, INT_MAX, NULL);
KNOB(drop_next, INT_MAX, NULL);
KNOB(drop, NICSIM_PER_MILLION, NULL);
KNOB(reorder, NICSIM_PER_MILLION, NULL);
KNOB(rate, INT_MAX, NULL);
KNOB(delay, USEC_PER_SEC, NULL);
KNOB(forget_at_link_down, NICSIM_FORGETS - 1, forget_words);
KNOB(tx_resync, NICSIM_TX_RESYNCS - 1, tx_resync_words);
KNOB(rx_resync, NICSIM_RX_RESYNCS - 1, rx_resync_words);

static struct attribute *knob_attributes[] = {
	&dev_attr_flows.attr,
	&max_flows_knob.attribute.attr,
	&add_fails_next_knob.attribute.attr,
	&resync_lost_next_knob.attribute.attr,
	&tx_bad_tags_next_knob.attribute.attr,
	&rx_bad_tags_next_knob.attribute.attr,
	&drop_after_knob.attribute.attr,
	&drop_next_knob.attribute.attr,
	&drop_knob.attribute.attr,
	&reorder_knob.attribute.attr,
	&rate_knob.attribute.attr,
	&delay_knob.attribute.attr,
	&forget_at_link_down_knob.attribute.attr,
	&tx_resync_knob.attribute.attr,
	&rx_resync_knob.attribute.attr,
	NULL,
};

const struct attribute_group nicsim_knobs_group = {
	.name = "nicsim",
	.attrs = knob_attributes,
};

/**
 * nicsim_knobs_init() - knobs as a new device has them
 * @knobs: zeroed
 */
void nicsim_knobs_init(struct nicsim_knobs *knobs)
{
	atomic_set(&knobs->max_flows, NICSIM_MAX_FLOWS);
}
