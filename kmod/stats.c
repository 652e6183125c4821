// SPDX-License-Identifier: GPL-2.0-only
/* Counters of a port: one set a CPU, summed when somebody asks. */
#include "tlsport.h"

void tlsport_stats_sum(const struct tlsport_stats __percpu *stats, struct tlsport_stats *sum)
{
	int cpu, i;

	memset(sum, 0, sizeof(*sum));
	for_each_possible_cpu(cpu) {
		const struct tlsport_stats *s = per_cpu_ptr(stats, cpu);

		for (i = 0; i < ARRAY_SIZE(sum->count); i++)
			sum->count[i] += READ_ONCE(s->count[i]);
		for (i = 0; i < ARRAY_SIZE(sum->ended); i++)
			sum->ended[i] += READ_ONCE(s->ended[i]);
		for (i = 0; i < ARRAY_SIZE(sum->tx_sw); i++) {
			sum->tx_sw[i] += READ_ONCE(s->tx_sw[i]);
			sum->rx_sw[i] += READ_ONCE(s->rx_sw[i]);
		}
	}
}
