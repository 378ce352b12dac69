/*
 * One interrupt wire: a device drives a level, an interrupt controller listens.
 *
 * Thread: any; the controller's `set` takes its own lock. A wire without a listener (set == NULL) may be
 * driven and goes nowhere.
 */
#ifndef DOPPEL_BUS_IRQ_H
#define DOPPEL_BUS_IRQ_H

#include <stdbool.h>
#include <stddef.h>

struct irq_line {
	void (*set)(void *controller, unsigned number, bool level);
	void *controller;
	unsigned number;
};

static inline void irq_set(const struct irq_line *line, bool level)
{
	if (line->set)
		line->set(line->controller, line->number, level);
}

#endif
